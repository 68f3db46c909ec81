"""Statistical model [14]: two regions whose colours are Gaussian, from the saliency hint.

    E(φ) = -∫_{φ>0} log p₁(I) - ∫_{φ<0} log p₂(I) + ν |C|,    pᵢ = N(mᵢ, Sᵢ)

of Cremers, Rousson and Deriche (2007): the likelihood (3.5) with a mean and a covariance per region. Updates of both
from the region's pixels alternate with a step of the gradient descent

    φ_t = δ(φ) [ν div(∇φ/|∇φ|) + log p₁(I) - log p₂(I)].

With S₁ = S₂ = s²·1 this is Chan-Vese (3.7) divided by 2s², with a ν of 2s² times this one.

Deviations: the moments are those of φ > 0 and φ ≤ 0 as in `chan_vese`, without smoothing H; S has a floor; the step is
that of `deepcv.baselines.level_set`, without reinitialising φ to a distance function.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from deepcv.baselines.level_set import LevelSet, boundary_length, run_until_settled
from deepcv.checks import Count, NonNegative, Positive, checked_settings
from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import as_image
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase


def moments(products: np.ndarray, covariance: str, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """m `(C,)` and S `(C, C)` of a region, `floor` added to the diagonal of S.

    `products` is Σ x xᵀ `(C + 1, C + 1)` over the region, where x is a pixel with a 1 after its channels; pixels may be
    weighted. With `covariance` "diagonal" the channels are independent.
    """
    mean = products[-1, :-1] / products[-1, -1]
    spread = products[:-1, :-1] / products[-1, -1] - np.outer(mean, mean)
    if covariance == "diagonal":
        spread = np.diag(np.diag(spread))
    return mean, spread + floor * np.eye(len(mean))


def negative_log(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Q `(C + 1, C + 1)` such that `½ xᵀ Q x` is -log N(m, S) of a pixel, up to (C/2) log 2π; x as in `moments`."""
    precision = np.linalg.inv(covariance)
    slope = precision @ mean
    constant = mean @ slope + np.linalg.slogdet(covariance).logabsdet
    return np.block([[precision, -slope[:, None]], [-slope, constant]])


@takes_seeds
def statistical(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    covariance: Literal["full", "diagonal"] = "full",
    nu: NonNegative = 10.0,
    floor: Positive = 1e-3,
    max_iterations: Count = 500,
    settled: NonNegative = 1e-4,
    dt: Positive = 0.5,
) -> Segmentation:
    """Segment into two regions of Gaussian colour.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`). The contour starts at the Otsu
        threshold of the hint, by default the saliency, as in the paper; the hint also decides which side is called
        foreground. Seed and device are ignored: nothing is random, and the descent runs on the CPU.
    covariance : {"full", "diagonal"}
        "diagonal" ignores correlations between channels.
    nu : float, at least 0
        Weight of the length against log-likelihoods. The paper doesn't give its value. The best of 1, 10, 20 and 40 on
        the first 20 images of Weizmann, after 200 steps with "full".
    floor : float, positive
        Added to every variance, for pixels in [0, 1]. Without it a region of one colour, or of its last few pixels, has
        no density. 1e-3 is a standard deviation of 8 grey levels; on the same images 1e-4 gives the same scores within
        0.002.
    max_iterations : int
        Largest number of steps.
    settled : float, at least 0
        The descent stops when at most this share of the pixels has changed sides within 50 steps.
    dt : float, positive
        Step size.

    Returns
    -------
    Segmentation
        `trace["energy"]` is E of the hint's mask and of the mask after each step, without the constant (C/2) log 2π
        per pixel. It may rise in a step.

    Raises
    ------
    InputError
        For an unusable image or hint, or a parameter out of range.
    """
    settings = checked_settings(statistical, locals())
    image = as_image(image)
    mask = otsu_mask(hint_for(image, hint))
    start = time.perf_counter()
    steps = evolve(np.atleast_3d(image), np.where(mask, 1.0, -1.0), nu, dt, max_iterations, covariance, floor)
    mask, energies = run_until_settled(steps, settled)
    return two_phase(
        mask, seconds=time.perf_counter() - start, method="statistical", trace={"energy": energies}, settings=settings
    )


def evolve(
    image: np.ndarray, phi: np.ndarray, nu: float, dt: float, steps: int, covariance: str, floor: float
) -> Iterator[tuple[np.ndarray, float]]:
    """Level-set evolution: yields the mask φ > 0 and its energy at the start and after each step.

    A region that vanishes keeps its last density, or the whole image's if it never had pixels. `image` is `(H, W, C)`,
    `phi` `(H, W)`; the rest is as for `statistical`.
    """
    field = LevelSet(phi)
    pixels = field.in_reading_order(image)
    whole = (pixels.T @ pixels).numpy()
    forms = [negative_log(*moments(whole, covariance, floor))] * 2
    for count in range(steps + 1):
        if count:
            difference = torch.from_numpy(forms[0] - forms[1]) / 2
            field.step(((pixels @ difference) * pixels).sum(dim=1), nu, dt)
        inside = ((pixels * (field.phi > 0)[:, None]).T @ pixels).numpy()
        regions = (inside, whole - inside)
        forms = [
            negative_log(*moments(products, covariance, floor)) if products[-1, -1] else last
            for products, last in zip(regions, forms, strict=True)
        ]
        data = sum(np.vdot(products, form) for products, form in zip(regions, forms, strict=True)) / 2
        mask = field.inside
        yield mask, float(data + nu * boundary_length(mask))
