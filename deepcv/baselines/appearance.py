"""Our model with something simpler in the networks' place: ablations that tell what the networks add.

Each takes from the deep model all but its networks: where u starts, the hint prior and the edge weights
(`deepcv.model.segment.pose`), the minimum cut (`deepcv.model.labelling.solve`), the working size, the balance of areas,
the rounds and the rule that ends them. In each round a model of appearance is fitted to the current u; then u solves

    min  Σₓ νₓ ‖∇uₓ‖₂ + Σₓ (costₓ + priorₓ) uₓ                                                             as (3.16)

where `cost` says how much worse foreground is than background at a pixel.

- `hint_cut`: no appearance at all, cost = 0.
- `ridge`: an encoder that is linear in quadratic features of local colour. The latent mean m(x) minimises the weighted
  region term of (3.15) plus a ridge penalty, in closed form, and the cost is the same difference of KL, -2·10·m(x).
- `forest`: m(x) = 10 (2p - 1) by a random forest on the same local colours, p the foreground's weighted share in the
  pixel's leaf, mean over the trees that didn't see the pixel; the same cost.
- `mixture`: a mixture of Gaussians per region in (3.5), the classical way to describe several colours [17]; the cost is
  the difference of log-likelihoods.

None is in the paper. Defaults are the best of a handful of values on the first 20 images of Weizmann, on which ours
were chosen too, with seed 0 and one setting changed at a time; each docstring has F / mIoU there. Ours has 0.873 /
0.790, and differences under 0.01 are noise.

[17] Z. Fu and L. Wang, "Color image segmentation using Gaussian mixture model and EM algorithm", ICMSSP 2012, 61-66.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from deepcv.checks import Count, NonNegative, Positive, Seed, above, at_least, checked_settings
from deepcv.hints.hint import hint_for
from deepcv.images import SMALLEST_SIDE, as_image
from deepcv.model.colours import (
    LATENT_MEAN,
    Appearance,
    kl_difference,
    linear,
    local_colours,
    quadratic,
    weighted_pixels,
)
from deepcv.model.labelling import solve
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import Settings
from deepcv.model.solver import Problem, nonempty
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase

Size = Annotated[int, at_least(SMALLEST_SIDE)]

_EVERY = 3  # a third of the pixels is enough for a mixture

GRABCUT: dict[str, Any] = {"nu": 50 * (1 + math.sqrt(2)), "hint_weight": 10.0, "balance": 1.0, "limit": 1e4}
"""The preset "grabcut" of `mixture`."""


@takes_seeds
def hint_cut(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    size: Size = 200,
    nu: NonNegative = 300.0,
    hint_weight: NonNegative = 100.0,
) -> Segmentation:
    """Segment by the hint prior and the weighted length alone; the colours only place the boundary.

    On the first 20 images of Weizmann the defaults have 0.847 / 0.747, and hardly depend on ν:

        nu           30: 0.844 / 0.745   100: 0.846 / 0.747   200: 0.845 / 0.745
        nu           600: 0.848 / 0.747  1000: 0.835 / 0.728

    Parameters
    ----------
    image, hint, seed, device
        As for every method; seed and device are ignored, here and in the other functions but for the seed of `mixture`
        and `forest`.
    size : int, at least 8
        Longest side, in pixels, at which the cut is computed.
    nu, hint_weight : float, at least 0
        Weights of the length and of the hint, of which only the ratio matters; both are our model's.

    Raises
    ------
    InputError
        For an unusable image or hint, or a parameter out of range; so do the other functions.
    """
    settings = checked_settings(hint_cut, locals())
    return _segment("hint-cut", image, hint, lambda problem: lambda u: np.zeros(1, np.float32), settings, rounds=1)


@takes_seeds
def ridge(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    size: Size = 200,
    nu: NonNegative = 600.0,
    hint_weight: NonNegative = 200.0,
    balance: NonNegative = 1.0,
    rounds: Count = 5,
    scales: Count = 2,
    penalty: Positive = 1e-4,
) -> Segmentation:
    """Segment with a linear encoder of quadratic local colour in the networks' place.

    On the first 20 images of Weizmann the defaults have 0.877 / 0.796. They were chosen in this order, beginning with
    our model's ν and balance, 3 scales and a penalty of 1e-3:

        hint_weight  50: 0.855 / 0.768   100: 0.860 / 0.772   400: 0.855 / 0.764   (200: 0.870 / 0.786)
        nu           100: 0.868 / 0.783  200: 0.870 / 0.786   300: 0.870 / 0.786   (600: 0.869 / 0.787)
        balance      0.5: 0.867 / 0.783  0.75: 0.869 / 0.787  (1: 0.875 / 0.793)
        scales       1: 0.868 / 0.786    3: 0.875 / 0.793     5: 0.874 / 0.791     (2: 0.875 / 0.794)
        penalty      1e-2: 0.868 / 0.785 1e-3: 0.875 / 0.794  (1e-4: 0.877 / 0.796)

    Parameters
    ----------
    image, hint, seed, device, size
        As for `hint_cut`.
    nu, hint_weight, balance, rounds
        As in `deepcv.model.settings.Settings`.
    scales : int, at least 1
        Windows whose mean colours are the features: 3 for 1, 3 and 5 pixels.
    penalty : float, positive
        Of the squared coefficients, for features of variance 1 and weights of sum 1.
    """
    settings = checked_settings(ridge, locals())

    def fitted(problem: Problem) -> Appearance:
        return linear(quadratic(local_colours(problem.image, scales)), balance, penalty)

    return _segment("ridge", image, hint, fitted, settings)


@takes_seeds
def forest(
    image,
    hint=None,
    *,
    seed: Seed = 0,
    device: str | None = None,
    size: Size = 200,
    nu: NonNegative = 300.0,
    hint_weight: NonNegative = 200.0,
    balance: NonNegative = 0.75,
    rounds: Count = 5,
    scales: Count = 3,
    trees: Annotated[int, at_least(10)] = 20,
    leaf: Count = 50,
) -> Segmentation:
    """Segment with a random forest on local colours in the networks' place.

    Each tree sees a tenth of the pixels, and a pixel is judged by the trees that did not see it: judged on what it saw,
    a forest would repeat the hint, errors included. Products of colours, which `ridge` needs, add little to trees.

    On the first 20 images of Weizmann the defaults have 0.873 / 0.790, and with one of them changed

        hint_weight  50: 0.851 / 0.758   100: 0.865 / 0.777   400: 0.861 / 0.772
        leaf         10: 0.873 / 0.791   200: 0.860 / 0.773   500: 0.851 / 0.760
        nu           600: 0.871 / 0.789  100, with a leaf of 10: 0.867 / 0.783
        balance      1: 0.867 / 0.782

    Of the leaves 10 and 50, which differ by noise, the larger is the default.

    Parameters
    ----------
    image, hint, seed, device, size, nu, hint_weight, balance, rounds, scales
        As for `ridge`; the seed is the forest's.
    trees : int, at least 10
        With fewer some pixel may have been seen by every tree.
    leaf : int, at least 1
        Fewest pixels in a leaf.
    """
    settings = checked_settings(forest, locals())

    def fitted(problem: Problem) -> Appearance:
        return voted(local_colours(problem.image, scales), balance, trees, leaf, seed)

    return _segment("forest", image, hint, fitted, settings, seed)


@takes_seeds
def mixture(
    image,
    hint=None,
    *,
    seed: Seed = 0,
    device: str | None = None,
    size: Size = 200,
    nu: NonNegative = 100.0,
    hint_weight: NonNegative = 10.0,
    balance: NonNegative = 0.75,
    rounds: Count = 5,
    components: Count = 5,
    floor: Positive = 1e-4,
    limit: Annotated[float, above(0)] = 200.0,
) -> Segmentation:
    """Segment with a mixture of Gaussians in colour per region in the networks' place.

    Mixtures with full covariance are fitted anew in each round, to a third of the region's pixels. Their likelihoods
    are weighted by the areas to the power of 1 - balance, as the KL of our networks is.

    On the first 20 images of Weizmann the defaults have 0.866 / 0.776, and with one of them changed

        nu           10: 0.860 / 0.770   30: 0.859 / 0.768
        hint_weight  3: 0.854 / 0.761    20: 0.857 / 0.761    40: 0.852 / 0.754
        balance      0: 0.852 / 0.757    1: 0.860 / 0.768
        components   3: 0.859 / 0.768    8: 0.859 / 0.765
        floor        1e-5: 0.858 / 0.766 1e-3: 0.863 / 0.772

    The preset "grabcut" is the energy of GrabCut (Rother, Kolmogorov and Blake 2004) with our hint prior added, which
    OpenCV's implementation can't take: likelihoods without the areas' prior and without a limit, five components and
    five rounds, and ν = γ(1 + √2), what its eight neighbours charge per pixel of a straight boundary for γ = 50. Its
    contrast weight exp(-‖∇I‖² / 2⟨‖∇I‖²⟩) is ours up to the floor of 0.05 (`edge_weights`). It differs in that the
    length is that of (3.16), the working size is ours, and mixtures are fitted by expectation-maximisation instead of
    hard assignment. Of the hint weights 3, 10 and 30 it has 0.862 / 0.772, 0.870 / 0.782 and 0.855 / 0.758.

    Parameters
    ----------
    image, hint, seed, device, size
        As for `hint_cut`; the seed is for the start of the mixtures.
    nu, hint_weight : float, at least 0
        Weights of the length and of the hint against log-likelihoods, which differ by tens where the KL of our networks
        differs by up to 200.
    balance, rounds
        As in `deepcv.model.settings.Settings`.
    components : int, at least 1
        Gaussians per region; a region of fewer pixels repeats them.
    floor : float, positive
        Added to every variance, for pixels in [0, 1].
    limit : float, positive
        Largest magnitude of the difference of log-likelihoods.
    """
    settings = checked_settings(mixture, locals())

    def fitted(problem: Problem) -> Appearance:
        return mixed(local_colours(problem.image, 1), balance, components, floor, limit, seed)

    return _segment("mixture", image, hint, fitted, settings, seed)


# -- The rounds --------------------------------------------------------------------------------------------------------


def _segment(
    method: str,
    image,
    hint,
    fitted: Callable[[Problem], Appearance],
    settings: dict[str, Any],
    seed: int | None = None,
    **changes,
) -> Segmentation:
    ours = Settings(**{name: settings[name] for name in _OURS if name in settings} | changes)
    image = as_image(image)
    hint = hint_for(image, hint)
    start = time.perf_counter()
    problem = pose(image, hint, ours, 0, "cpu")
    u = at_full_size(image, cut_in_rounds(problem, fitted(problem), ours)[0].numpy(), ours)
    ran_with = settings if seed is None else settings | {"seed": seed}
    return two_phase(u[1] > 0.5, u[1], seconds=time.perf_counter() - start, method=method, settings=ran_with)


_OURS = ("size", "nu", "hint_weight", "balance", "rounds")


@torch.no_grad()
def cut_in_rounds(problem: Problem, appearance: Appearance, settings: Settings) -> Tensor:
    """Memberships `(1, 2, H, W)`, 0 or 1, of one image: fit the appearance and solve the cut until labels settle."""
    u, solution = problem.memberships, None
    prior = problem.prior[:, 1] - problem.prior[:, 0]
    for _ in range(settings.rounds):
        cost = prior + torch.from_numpy(appearance(u)).to(prior)
        solution = solve(cost, settings.nu * problem.edges, start=solution)
        found = nonempty(solution.mask, u)
        changed = (found != u).float().mean()
        u = found
        if changed < settings.settled:
            break
    return u


# -- The appearances ---------------------------------------------------------------------------------------------------


def voted(features: np.ndarray, balance: float, trees: int, leaf: int, seed: int) -> Appearance:
    """Costs by the out-of-bag votes of a random forest on features `(H, W, D)`."""
    from sklearn.ensemble import RandomForestClassifier

    x = features.reshape(-1, features.shape[-1])

    def cost(u: Tensor) -> np.ndarray:
        weights, inside = weighted_pixels(u, balance)
        model = RandomForestClassifier(
            trees, min_samples_leaf=leaf, max_samples=0.1, oob_score=True, random_state=seed, n_jobs=1
        )
        votes = model.fit(x, inside, weights).oob_decision_function_[:, 1]
        return kl_difference(LATENT_MEAN * (2 * votes - 1).reshape(features.shape[:2]))

    return cost


def mixed(features: np.ndarray, balance: float, components: int, floor: float, limit: float, seed: int) -> Appearance:
    """Costs by the log-likelihoods of a mixture of Gaussians per region, of features `(H, W, D)`."""
    from sklearn.mixture import GaussianMixture

    x = features.reshape(-1, features.shape[-1])

    def log_density(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels[::_EVERY]
        pixels = np.resize(pixels, (max(len(pixels), components, 2), pixels.shape[1]))  # repeats too few
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few iterations or colours do no harm
            return GaussianMixture(components, reg_covar=floor, random_state=seed).fit(pixels).score_samples(x)

    def cost(u: Tensor) -> np.ndarray:
        weights, inside = weighted_pixels(u, balance)
        background, foreground = (log_density(x[each]) + np.log(weights[each].sum()) for each in (~inside, inside))
        return np.clip(background - foreground, -limit, limit).reshape(features.shape[:2])

    return cost
