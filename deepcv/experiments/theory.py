"""The mathematics of section 3 and appendix 7, checked in numbers on small images in double precision.

`elbo`        Proposition 3.1: the closed form (3.13) against the definition (3.10), sampled. Networks, u, means and
              variances are random.
`dataset`     Proposition 7.4: the loss (4.9) of a trained 𝓤 against the definition (7.17), sampled likewise.
`shrinkage`   Proposition 3.2: the formula (3.21) against a minimiser that knows nothing of it.
`descent`     Theorem 3.3, step by step as its proof goes: gradient steps (3.19) with α below 2/L, then w by (3.21), on
              networks as in (3.22) with sigmoid activations. Is (7.8) kept, and (7.9), and is the path's length finite?
`normalised`  The same with an instance normalisation before each activation, as in section 5.1.
`adam`        The same problem as `descent` with Adam at 1e-1, which the theorem doesn't cover.
`redrawn`     That, and η drawn anew for each step, as Algorithm 1 does it; the theorem is about gradients without
              noise. The energy that is watched has the same η throughout.

L is estimated, not guessed: the greatest modulus of an eigenvalue of the Hessian in (θ, γ, φ), by Lanczos iteration (a
power iteration that keeps its history) on Hessian-vector products, at points along the path. Where L comes out greater
than the one α was made from, the descent starts anew with a smaller α (`bounded_descent`). This is a local L, of the
path alone: nothing is known of the set 𝓜 of Assumption 1.

What we found in reading the proofs, none of which touches what the theorem says in the end:

- (3.23) has `∇_{θ,γ,u}` where `∇_{θ,γ,φ}` is meant: the energy that is split is a function of φ.
- `c₀ = min(1/max α - L/2, λ/2)` under (7.8) is positive only for α strictly below 2/L; the text allows α = 2/L.
- The proof of (7.9) takes `(yᵏ - yᵏ⁺¹)/α` for the gradient at xᵏ⁺¹; by (3.19) it is the one at xᵏ. With the
  c₁ = 1/min α that is printed, (7.9) can fail where the gradient grows. Adding how far the gradient can change within a
  step, L in y and at most λ/√2 in w, gives a c₁ that holds.
- (7.13) lacks a square at its right-hand side: (7.8) has it, and so has the theorem that is cited.
- (7.24) and (7.31) have a minus between the two KL terms where (4.9) has the plus that follows from (7.21).
- (7.20) with u of 0 and 1 wants a 𝓤(I) of 0 and 1, so that the entropy in (7.28) is 0. A network's lies between. If u
  is drawn with these probabilities, (4.9) lacks u's entropy, which would draw 𝓤 towards ½; and 𝓡 would have to be the
  mean of 𝓡(u). AuI is no function of the mask alone, so no p(u) ∝ exp(-𝓡(u)) has it.
- A last layer with a sigmoid, which (3.22) has, could not reach latent means of ±10, so ours is linear. The max pooling
  of a U-Net isn't smooth, and an instance normalisation is not in (3.22).
- With ν = 1 and the released code's λ = 0.1, the threshold ν/λ = 10 of (3.21) is above √2, the greatest `‖∇S(φ)‖` there
  is: w is 0 throughout, and ν has no effect at all.
"""

from __future__ import annotations

import functools
import math
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv import energy, experiments, phases
from deepcv.data import Sample, load_dataset
from deepcv.experiments._scored import Variant, complete, grid, load_sample, only_measured
from deepcv.hints import hint_for
from deepcv.images import as_image, resize
from deepcv.networks import StackedConv2d, UNet
from deepcv.results import Item
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

NU, LATENT_MEAN = 1.0, 10.0
"""ν and the latent means ±10 of section 5.1."""

PENALTY = 10.0
"""λ. The released code's 0.1 would leave w at 0 throughout."""

CLOSE_TO_BOUND = 0.9
"""α in units of 2/L."""

ATTEMPTS = 20
"""How often at most a descent is begun, each time with a larger L."""

PAPERS_THRESHOLD = 10.0
"""ν/λ with the paper's ν and the released code's λ."""


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise.

    Attributes
    ----------
    dataset : str
    n_images : int
    size : int
        Side, in pixels, of the square that an image is reduced to.
    width : int
        Channels of the networks.
    steps : int
        Of the descents.
    draws : int
        Of η, for Propositions 3.1 and 7.4.
    """

    dataset: str
    n_images: int
    size: int
    width: int
    steps: int
    draws: int


PROFILES = {
    "quick": Profile("samples", 1, 10, 4, 120, 300),
    "cpu": Profile("samples", 3, 16, 4, 600, 2000),
    "paper": Profile("samples", 3, 16, 4, 600, 2000),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; `size` is the side of the square that an image is reduced to."""

    profiles = PROFILES


def items(settings: Settings) -> list[Item]:
    """A check of `CHECKS` for each image and seed; `Item.preset` is its name."""
    profile = settings.defaults
    samples = load_dataset(settings.dataset or profile.dataset)[: settings.n_images or profile.n_images]
    size = settings.size or profile.size
    descent = {"size": size, "width": profile.width, "steps": profile.steps}
    sampled = {"size": size, "width": profile.width, "draws": profile.draws}
    given = {
        "elbo": sampled,
        "dataset": sampled,
        "shrinkage": {"size": size},
        "normalised": descent | {"steps": profile.steps // 2},  # done most often, and slow
    }
    variants = [Variant("deep-cv", name, given.get(name, descent)) for name in CHECKS]
    return grid("theory", settings, (samples, variants))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per check, image and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Theory")


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Do the check on the reduced image, always on the CPU; nothing is segmented."""
    started = time.perf_counter()
    found = CHECKS[item.preset](*_given(item, sample, hint))
    return only_measured(time.perf_counter() - started), found


def _given(item: Item, sample: Sample, hint: np.ndarray) -> tuple[Tensor, Tensor, int, dict[str, Any]]:
    """What a check takes; each image has random numbers of its own."""
    own = zlib.crc32(f"{item.image} {item.seed}".encode())
    return *reduced(sample.image, hint, item.settings["size"]), own, item.settings


def reduced(image: np.ndarray, hint: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Image `(1, C, size, size)` and hint `(1, size, size)` in double precision."""
    image = np.atleast_3d(resize(as_image(image), (size, size))).transpose(2, 0, 1)
    hint = resize(hint, (size, size))
    return tuple(torch.from_numpy(np.ascontiguousarray(each))[None].double() for each in (image, hint))


# -- Proposition 3.1 ---------------------------------------------------------------------------------------------------


def elbo(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """The closed form (3.13) and the definition (3.10), each from its own draws of η.

    Encoder, decoder, u, the two means and the variances of encoder and prior are random (`RandomModel`). (3.13)
    isn't closed entirely: its first term is an expectation over η, so both sides have a standard error.

    Returns
    -------
    dict
        `closed` and `sampled` per pixel, the `error` of their difference (one standard error), and `z`, the difference
        in standard errors without its sign.
    """
    generator = torch.Generator().manual_seed(seed)
    u = torch.randint(2, hint.shape, generator=generator).double()
    model = RandomModel.draw(image, seed, settings["width"], generator)
    noise = model.noise(2, settings["draws"], generator)
    with torch.no_grad():
        closed = model.reconstructed(noise[0]) - model.of_regions(u)
        sampled = model.sampled([u] * settings["draws"], noise[1])
    pixels, error = hint.numel(), _error(closed, sampled)
    return {
        "closed": closed.mean() / pixels,
        "sampled": sampled.mean() / pixels,
        "error": error / pixels,
        "z": _z(closed, sampled),
    }


class RandomModel(NamedTuple):
    """An image with random networks and a random prior, of two latent dimensions, in double precision.

    Attributes
    ----------
    image : Tensor, `(1, C, H, W)`
    decoder : callable
        𝓕, `(1, 2, H, W)` to `(1, C, H, W)`.
    mean, variance : Tensor, `(1, 2, H, W)`
        Of q(Z|I), which the random encoder gives.
    prior_mean, prior_variance : Tensor, `(2, 2)`
        Of each phase in each dimension, the background first.
    """

    image: Tensor
    decoder: Callable[[Tensor], Tensor]
    mean: Tensor
    variance: Tensor
    prior_mean: Tensor
    prior_variance: Tensor

    @classmethod
    def draw(cls, image: Tensor, seed: int, width: int, generator: torch.Generator) -> RandomModel:
        """Networks of the seed and `width` channels; the prior's numbers are the generator's next."""
        dimensions = 2
        encoder = smooth_network(image.shape[1], 2 * dimensions, width, 2 * seed)
        decoder = smooth_network(dimensions, image.shape[1], width, 2 * seed + 1)
        with torch.no_grad():
            mean, log_variance = encoder(image).chunk(2, dim=1)
        prior_mean = torch.randn((2, dimensions), generator=generator, dtype=torch.double)
        prior_variance = 0.5 + torch.rand((2, dimensions), generator=generator, dtype=torch.double)
        return cls(image, decoder, mean, log_variance.exp(), prior_mean, prior_variance)

    def noise(self, kinds: int, draws: int, generator: torch.Generator) -> Tensor:
        """η of Z, `(kinds, draws, 1, 2, H, W)`."""
        return torch.randn((kinds, draws, *self.mean.shape), generator=generator, dtype=torch.double)

    def reconstructed(self, noise: Tensor) -> np.ndarray:
        """`E ln p(I|Z)` by the first term of (3.13), a number for each draw of η."""
        constant = -self.image.numel() * np.log(2 * np.pi) / 2
        terms = [energy.reconstruction(self.decoder, self.mean, self.variance, self.image, eta[None]) for eta in noise]
        return constant - torch.cat(terms).numpy()

    def of_regions(self, u: Tensor, background: int = 1) -> float:
        """`Σ u KL₁ ± (1 - u) KL₂`, the second term of (3.13), (4.9) and, with -1, (7.24); u `(1, H, W)` in [0, 1]."""
        kl = energy.gaussian_kl(self.mean, self.variance, self.prior_mean, self.prior_variance)
        return energy.region(torch.stack((background * (1 - u), u), dim=1), kl).item()

    def sampled(self, masks: Iterable[Tensor], noise: Tensor) -> np.ndarray:
        """`ln p(I, Z|u) - ln q(Z|I)` as in (3.10), for each mask u and draw of Z, from torch's normal distributions."""
        from torch.distributions import Normal

        given_image = Normal(self.mean, self.variance.sqrt())
        ratios = []
        for u, eta in zip(masks, noise, strict=True):
            chosen = u.long()  # which row of the prior each pixel has
            mean, variance = (each[chosen].permute(0, 3, 1, 2) for each in (self.prior_mean, self.prior_variance))
            latent = self.mean + self.variance.sqrt() * eta
            likelihood = Normal(self.decoder(latent), 1.0).log_prob(self.image).sum()
            prior = Normal(mean, variance.sqrt()).log_prob(latent).sum()
            ratios.append((likelihood + prior - given_image.log_prob(latent).sum()).item())
        return np.array(ratios)


def _error(*samples: np.ndarray) -> float:
    """Standard error of the difference of two means."""
    return float(np.sqrt(sum(each.var(ddof=1) / len(each) for each in samples)))


def _z(first: np.ndarray, second: np.ndarray) -> float:
    """The difference of two means in standard errors, without its sign."""
    return float(abs(first.mean() - second.mean()) / _error(first, second))


# -- Proposition 7.4 ---------------------------------------------------------------------------------------------------


def dataset_elbo(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """The loss (4.9) of one image, as a bound, against the definition (7.17), where the mask u is a latent variable.

    Networks and priors are random as in `elbo`, and so is what 𝓤 gives. 𝓡 is 0: p(u) is the same for every mask, and
    its constant is left out on both sides. For 𝓤 of 0 and 1, q(u|I) is all on the mask 𝓤(I), as in (7.20). Between 0
    and 1, where a network's 𝓤 lies, (7.21) has no density; there u is drawn pixel by pixel, 1 with probability 𝓤(I),
    for which Σ 𝓤 KL₁ + (1 - 𝓤) KL₂ is the right mean.

    Returns
    -------
    dict
        Differences in standard errors without their sign: `z_binary` for 𝓤 of 0 and 1, `z_printed` with the minus that
        (7.24) has between its two KL terms, `z_between` for 𝓤 between 0 and 1, and `z_entropy` when the entropy of
        q(u|I) is added to the bound.
    """
    from torch.distributions import Bernoulli

    generator = torch.Generator().manual_seed(seed)
    between = torch.rand(hint.shape, generator=generator, dtype=torch.double)
    binary = (between > 0.5).double()
    model = RandomModel.draw(image, seed, settings["width"], generator)
    noise = model.noise(3, settings["draws"], generator)
    of_u = Bernoulli(between)
    drawn = [torch.bernoulli(between, generator=generator) for _ in noise[2]]
    with torch.no_grad():
        reconstructed = model.reconstructed(noise[0])
        one = model.sampled([binary] * len(drawn), noise[1])
        many = model.sampled(drawn, noise[2]) - np.array([of_u.log_prob(u).sum().item() for u in drawn])
    bound = reconstructed - model.of_regions(between)
    return {
        "z_binary": _z(reconstructed - model.of_regions(binary), one),
        "z_printed": _z(reconstructed - model.of_regions(binary, -1), one),
        "z_between": _z(bound, many),
        "z_entropy": _z(bound + of_u.entropy().sum().item(), many),
    }


# -- Proposition 3.2 ---------------------------------------------------------------------------------------------------

THRESHOLDS = (0.01, 0.05, 0.2)
"""ν/λ that leave some vectors and set others to 0."""

_VECTORS = 40  # so many are minimised by search, for each threshold


def shrinkage(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """The formula (3.21) against a search for the minimum of (3.20), for vectors of `∇S(φ)`, φ from hint and noise.

    Returns
    -------
    dict
        `deviation`: the greatest distance between the two minimisers, as its decimal logarithm. `excess`: the most by
        which the formula's energy is above the one that the search reached, likewise, and -16 if it never is. `zeroed`:
        the share of all vectors that `THRESHOLDS` set to 0; `zeroed_paper`: that `PAPERS_THRESHOLD` does.
    """
    generator = torch.Generator().manual_seed(seed)
    phi = phases.initial_phi(hint) + 0.1 * torch.randn(hint.shape, generator=generator, dtype=torch.double)
    vectors = energy.gradient(torch.sigmoid(phi))
    chosen = torch.randperm(hint.numel(), generator=generator)[:_VECTORS]
    deviation, excess, zeroed = 0.0, 0.0, []
    for threshold in THRESHOLDS:
        zeroed.append(_zeroed(vectors, threshold))
        found = energy.shrink(vectors, threshold).flatten(-2)[0, 0, :, chosen].T.numpy()
        for v, w in zip(vectors.flatten(-2)[0, 0, :, chosen].T.numpy(), found, strict=True):
            searched = searched_minimum(v, threshold)
            deviation = max(deviation, float(np.linalg.norm(searched - w)))
            excess = max(excess, _shrunk_energy(w, v, threshold) - _shrunk_energy(searched, v, threshold))
    return {
        "deviation": np.log10(max(deviation, 1e-16)),
        "excess": np.log10(max(excess, 1e-16)),
        "zeroed": float(np.mean(zeroed)),
        "zeroed_paper": _zeroed(vectors, PAPERS_THRESHOLD),
    }


def _zeroed(vectors: Tensor, threshold: float) -> float:
    return (torch.linalg.vector_norm(energy.shrink(vectors, threshold), dim=-3) == 0).double().mean().item()


def _shrunk_energy(w: np.ndarray, v: np.ndarray, threshold: float) -> float:
    return float(threshold * np.linalg.norm(w) + 0.5 * np.sum((w - v) ** 2))


def searched_minimum(v: np.ndarray, threshold: float) -> np.ndarray:
    """`argmin_w threshold·‖w‖₂ + ½‖w - v‖₂²` for one vector `(2,)`, by a search that uses no derivative."""
    from scipy.optimize import minimize

    start = v + 0.1  # beside the ray through v, where the formula has the solution
    options = {"xatol": 1e-12, "fatol": 1e-18, "maxiter": 2000}
    found = minimize(_shrunk_energy, start, (v, threshold), "Nelder-Mead", options=options).x
    return min((found, np.zeros(2)), key=lambda w: _shrunk_energy(w, v, threshold))  # the kink at 0


# -- Theorem 3.3 -------------------------------------------------------------------------------------------------------


def smooth_network(in_channels: int, out_channels: int, width: int, seed: int, normalised: bool = False) -> nn.Module:
    """A network as in (3.22) with sigmoid activations, `(1, in, H, W)` to `(1, out, H, W)`, in double precision.

    Two 3×3 convolutions of `width` channels and a linear 1×1 one; `normalised` puts an instance normalisation before
    each activation, which is the U-Net [39] of no level.
    """
    if normalised:
        return UNet(in_channels, out_channels, width=width, levels=0, seeds=[seed], activation=torch.sigmoid).double()
    generators = [torch.Generator().manual_seed(seed)]
    return nn.Sequential(
        StackedConv2d(in_channels, width, 3, generators),
        nn.Sigmoid(),
        StackedConv2d(width, width, 3, generators),
        nn.Sigmoid(),
        StackedConv2d(width, out_channels, 1, generators),
    ).double()


class SplitEnergy(nn.Module):
    """`E_LS` (3.18) of one image, sums over pixels, as a function of its parameters y = (θ, γ, φ) and of w.

    Parameters
    ----------
    image : Tensor, `(1, C, H, W)`, double
    hint : Tensor, `(1, H, W)`, double
        Where φ starts.
    seed : int
        Of the networks and of η, which is drawn once; `draw` draws anew.
    width : int
    normalised : bool
        As in `smooth_network`.
    """

    def __init__(self, image: Tensor, hint: Tensor, seed: int, *, width: int, normalised: bool = False):
        super().__init__()
        self.image = image
        self.encoder = smooth_network(image.shape[1], 1, width, 2 * seed, normalised)
        self.decoder = smooth_network(1, image.shape[1], width, 2 * seed + 1, normalised)
        self.phi = nn.Parameter(phases.initial_phi(hint))
        self.prior = phases.LatentPrior.two_phase(LATENT_MEAN)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = self.draw()

    def draw(self) -> Tensor:
        """Another η, `(1, 1, 1, H, W)`."""
        shape = (1, 1, 1, *self.image.shape[2:])
        return torch.randn(shape, generator=self.generator, dtype=torch.double)

    def forward(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """What (3.19) differentiates, all of (3.18) but `ν‖w‖₁,₂`; with the η that was drawn first, or another."""
        mean, u = self.encoder(self.image), phases.sigmoid_memberships(self.phi)
        kl = energy.gaussian_kl(mean, 1.0, self.prior.mean, self.prior.variance)
        fit = energy.reconstruction(self.decoder, mean, 1.0, self.image, self.noise if noise is None else noise)
        return (fit + energy.region(u, kl) + energy.splitting(phases.contours(u), w, PENALTY)).sum()

    @torch.no_grad()
    def total(self, w: Tensor) -> float:
        """`E_LS`."""
        return (self(w) + NU * energy.norm_12(w).sum()).item()

    @torch.no_grad()
    def best_w(self) -> Tensor:
        """(3.21)."""
        contours = phases.contours(phases.sigmoid_memberships(self.phi))
        return energy.shrink(energy.gradient(contours), NU / PENALTY)

    def gradient(self, w: Tensor, noise: Tensor | None = None, create_graph: bool = False) -> Tensor:
        """The gradient in y as one vector."""
        parts = torch.autograd.grad(self(w, noise), list(self.parameters()), create_graph=create_graph)
        return torch.cat([part.reshape(-1) for part in parts])


def lipschitz(model: SplitEnergy, w: Tensor, start: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """How fast the gradient in y changes here at most: the spectral norm of the Hessian, to 1 %, and its vector.

    A Lanczos iteration estimates it from below.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    gradient = model.gradient(w, create_graph=True)
    parameters, size = list(model.parameters()), len(gradient)

    def hessian_times(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1))
        parts = torch.autograd.grad(gradient, parameters, direction, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in parts]).numpy()

    start = np.ones(size) if start is None else start
    operator = LinearOperator((size, size), matvec=hessian_times, dtype=float)
    values, vectors = eigsh(operator, k=1, which="LM", tol=1e-2, v0=start)
    return float(abs(values[0])), vectors[:, 0]


class Path(NamedTuple):
    """Where a descent has gone, K steps.

    Attributes
    ----------
    energy : numpy.ndarray, `(K + 1,)`
        `E_LS(xᵏ)`.
    gradient : numpy.ndarray, `(K + 1,)`
        `‖∇_y E_LS(xᵏ)‖`; as w is at its best, the distance of 0 to the subdifferential.
    moved : numpy.ndarray, `(K, 2)`
        `‖yᵏ⁺¹ - yᵏ‖` and `‖wᵏ⁺¹ - wᵏ‖`.
    lipschitz : dict of int to float
        The local L at some of the steps, and wherever the energy rose: a step under 2/L can't make it rise, so there L
        is greater than was seen at the other points.
    """

    energy: np.ndarray
    gradient: np.ndarray
    moved: np.ndarray
    lipschitz: dict[int, float]

    @property
    def lengths(self) -> np.ndarray:
        """`‖xᵏ⁺¹ - xᵏ‖`, `(K,)`."""
        return np.hypot(*self.moved.T)


ESTIMATES = 15
"""At so many points along a path L is estimated."""


def descend(
    model: SplitEnergy,
    optimiser: torch.optim.Optimizer,
    steps: int,
    *,
    estimates: int = ESTIMATES,
    bound: float = math.inf,
    redrawn: bool = False,
) -> Path:
    """Alternate a step of the optimiser on y, (3.19), and w by (3.21).

    Parameters
    ----------
    model : SplitEnergy
    optimiser : torch.optim.Optimizer
        Of the model's parameters.
    steps : int
    estimates : int
        At so many points L is estimated.
    bound : float
        Where the local L is greater, the descent is broken off.
    redrawn : bool
        Whether each step has an η of its own.
    """
    w, vector, local = model.best_w(), None, {}
    energies, gradients, moved = [model.total(w)], [], []
    every = -(-steps // estimates) if estimates else 0
    for step in range(steps):
        if every and step % every == 0:
            local[step], vector = lipschitz(model, w, vector)
            if local[step] > bound:
                break
        before = nn.utils.parameters_to_vector(model.parameters()).detach()
        gradient = model.gradient(w)
        gradients.append(gradient.norm().item())
        _set_gradient(model, model.gradient(w, model.draw()) if redrawn else gradient)
        optimiser.step()
        after, new = nn.utils.parameters_to_vector(model.parameters()).detach(), model.best_w()
        moved.append(((after - before).norm().item(), (new - w).norm().item()))
        energies.append(model.total(new))
        if energies[-1] > energies[-2] and every:
            local[step] = _lipschitz_between(model, before, after, w, vector)
            if local[step] > bound:
                moved.pop()
                break
        w = new
    gradients.append(model.gradient(w).norm().item())
    if every and len(moved) == steps:
        local[steps], _ = lipschitz(model, w, vector)
    return Path(np.array(energies), np.array(gradients), np.array(moved), local)


def _lipschitz_between(model: SplitEnergy, before: Tensor, after: Tensor, w: Tensor, start: np.ndarray | None) -> float:
    """The greatest L at both ends and in the middle of a step that the model has made."""
    found = []
    for share in (0.0, 0.5, 1.0):
        nn.utils.vector_to_parameters(torch.lerp(before, after, share), model.parameters())
        value, start = lipschitz(model, w, start)
        found.append(value)
    return max(found)


def _set_gradient(model: nn.Module, gradient: Tensor) -> None:
    parameters = list(model.parameters())
    parts = gradient.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


class BoundedDescent(NamedTuple):
    """Gradient steps, the L that their α was made from, and the number of the attempt with that L."""

    path: Path
    bound: float
    attempts: int

    @property
    def alpha(self) -> float:
        """The step size."""
        return CLOSE_TO_BOUND * 2 / self.bound


def bounded_descent(make: Callable[[], SplitEnergy], steps: int) -> BoundedDescent:
    """Gradient steps with α = `CLOSE_TO_BOUND` · 2/L for an L that no estimate on the path exceeds.

    The first L is the one where the path starts. As soon as a greater one turns up on the path, L is raised by a
    quarter, and the descent starts anew; the last of `ATTEMPTS` goes to its end in any case.
    """
    model = make()
    bound = lipschitz(model, model.best_w())[0]
    for attempt in range(1, ATTEMPTS + 1):
        model = make()
        optimiser = torch.optim.SGD(model.parameters(), lr=CLOSE_TO_BOUND * 2 / bound)
        path = descend(model, optimiser, steps, bound=bound if attempt < ATTEMPTS else math.inf)
        if len(path.moved) == steps and max(path.lipschitz.values()) <= bound:
            break
        if attempt < ATTEMPTS:
            bound *= 1.25
    return BoundedDescent(path, bound, attempt)


def _of_path(path: Path) -> dict[str, float]:
    """What is measured of any descent.

    `falls`: the share of steps at which the energy falls. `rise`: the farthest it climbs above an earlier value, as a
    share of how far it is in all from the first to the least. `first`, `last`: the energy. `length`: that
    of the path; `tail`: the second half's share in it. `decay`: the power of k with which the
    steps of the second half shrink; their sum stays finite if it is below -1 and stays so.
    """
    energies, lengths = path.energy, path.lengths
    half, steps = len(lengths) // 2, np.arange(1, len(lengths) + 1)
    fall = energies[0] - energies.min()
    return {
        "falls": float((np.diff(energies) < 0).mean()),
        "rise": float((energies - np.minimum.accumulate(energies)).max() / max(fall, 1e-12)),
        "first": energies[0],
        "last": energies[-1],
        "length": float(lengths.sum()),
        "tail": float(lengths[half:].sum() / lengths.sum()),
        "decay": float(np.polyfit(np.log(steps[half:]), np.log(lengths[half:]), 1)[0]),
    }


def _of_descent(found: BoundedDescent) -> dict[str, float]:
    """What is measured of gradient steps besides.

    `attempts`: how often the descent was begun. `bound`: the L that α was made from; `sharpening`: the greatest L found
    on the path, in that one.

    `decrease`: over all steps the least of `(E(xᵏ) - E(xᵏ⁺¹)) / ((1/α - L/2)‖Δy‖² + λ/2‖Δw‖²)`, which is at least 1
    by the line of the proof of (7.8) before its last; `decrease_c0`: with c₀‖Δx‖² of (7.8) as the denominator.

    `relative`: the greatest of `dist(0, ∂E(xᵏ⁺¹)) / (c₁‖Δx‖)`, at most 1 by (7.9); `exceeded`: the share of steps at
    which it is above 1; `relative_c1`: the greatest with `c₁ = 1/α + L + λ/√2`.
    """
    path, alpha, bound = found.path, found.alpha, found.bound
    squares, lengths = path.moved**2, path.lengths
    fall = -np.diff(path.energy)
    decreases = fall / (squares @ np.array([1 / alpha - bound / 2, PENALTY / 2]))
    c0 = min(1 / alpha - bound / 2, PENALTY / 2)
    relative = path.gradient[1:] / lengths
    return {
        "attempts": found.attempts,
        "bound": bound,
        "sharpening": max(path.lipschitz.values()) / bound,
        "decrease": float(decreases.min()),
        "decrease_c0": float((fall / (c0 * lengths**2)).min()),
        "relative": float((alpha * relative).max()),
        "exceeded": float((alpha * relative > 1).mean()),
        "relative_c1": float((relative / (1 / alpha + bound + PENALTY / np.sqrt(2))).max()),
    }


def gradient_descent(
    image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], normalised: bool = False
) -> BoundedDescent:
    """Gradient steps, on networks with or without instance normalisation."""
    make = functools.partial(SplitEnergy, image, hint, seed, width=settings["width"], normalised=normalised)
    return bounded_descent(make, settings["steps"])


def adam_descent(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], redrawn: bool = False) -> Path:
    """Adam at 1e-1 for everything (section 5.1) in place of the gradient steps, without estimates of L."""
    model = SplitEnergy(image, hint, seed, width=settings["width"])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-1)
    return descend(model, optimiser, settings["steps"], estimates=0, redrawn=redrawn)


def _descent(*given, normalised: bool = False) -> dict[str, float]:
    found = gradient_descent(*given, normalised)
    return _of_path(found.path) | _of_descent(found)


def _adam(*given, redrawn: bool = False) -> dict[str, float]:
    return _of_path(adam_descent(*given, redrawn))


CHECKS: dict[str, Callable[[Tensor, Tensor, int, dict[str, Any]], dict[str, float]]] = {
    "elbo": elbo,
    "dataset": dataset_elbo,
    "shrinkage": shrinkage,
    "descent": _descent,
    "normalised": functools.partial(_descent, normalised=True),
    "adam": _adam,
    "redrawn": functools.partial(_adam, redrawn=True),
}
"""What is checked, by name: from image, hint, seed and settings to numbers."""


# -- what was found ----------------------------------------------------------------------------------------------------


class Statement(NamedTuple):
    """A statement, the check and the number that decide it, and what the number must be: "≤" or "≥" the limit."""

    says: str
    check: str
    number: str
    sense: str
    limit: float

    def worst(self, values: Series) -> float:
        """Of the numbers the one that is nearest to breaking the limit, or farthest beyond it."""
        return values.max() if self.sense == "≤" else values.min()

    def holds(self, values: Series) -> Series:
        """Which of the numbers keep the limit, but for rounding."""
        return values <= self.limit + 1e-6 if self.sense == "≤" else values >= self.limit - 1e-6


STATEMENTS = (
    Statement("Proposition 3.1: difference of (3.13) and (3.10) in standard errors", "elbo", "z", "≤", 3),
    Statement("Proposition 7.4, u of 0 and 1: difference of (4.9) and (7.17)", "dataset", "z_binary", "≤", 3),
    Statement("Proposition 7.4, u of 0 and 1: the same with the minus of (7.24)", "dataset", "z_printed", "≤", 3),
    Statement("Proposition 7.4, u drawn from 𝓤: difference of (4.9) and (7.17)", "dataset", "z_between", "≤", 3),
    Statement("Proposition 7.4, u drawn from 𝓤: the same, u's entropy added", "dataset", "z_entropy", "≤", 3),
    Statement("Proposition 3.2: log₁₀ of the distance to a search's minimiser", "shrinkage", "deviation", "≤", -6),
    Statement("Proposition 3.2: log₁₀ of the excess over a search's minimum", "shrinkage", "excess", "≤", -12),
    Statement("α < 2/L: L on the path over the L that α was made from", "descent", "sharpening", "≤", 1),
    Statement("α < 2/L: share of steps at which the energy falls", "descent", "falls", "≥", 1),
    Statement("(7.8) before c₀: least decrease over its bound", "descent", "decrease", "≥", 1),
    Statement("(7.8): least decrease over its bound", "descent", "decrease_c0", "≥", 1),
    Statement("(7.9), c₁ as printed: greatest distance over its bound", "descent", "relative", "≤", 1),
    Statement("(7.9), c₁ + L + λ/√2: greatest distance over its bound", "descent", "relative_c1", "≤", 1),
    Statement("(7.16): share of the second half of the steps in the path's length", "descent", "tail", "≤", 0.5),
    Statement("(7.16): power of k with which the second half's steps shrink", "descent", "decay", "≤", -1),
    Statement("normalised: L on the path over the L that α was made from", "normalised", "sharpening", "≤", 1),
    Statement("normalised: share of steps at which the energy falls", "normalised", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of steps at which the energy falls", "adam", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of the second half of the steps in the path's length", "adam", "tail", "≤", 0.5),
    Statement("Adam, η redrawn: share of steps at which the energy falls", "redrawn", "falls", "≥", 1),
)
"""What the numbers decide."""


def summary(rows: DataFrame) -> DataFrame:
    """A row per statement of `STATEMENTS`: the `worst` number over images and seeds, and how many `of` them keep it.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.
    """
    import pandas as pd

    table = {}
    for statement in STATEMENTS:
        values = rows.loc[rows["preset"] == statement.check].get(statement.number, pd.Series(dtype=float))
        if len(values):
            table[statement.says] = {
                "must be": f"{statement.sense} {statement.limit:g}",
                "worst": statement.worst(values),
                "holds": int(statement.holds(values).sum()),
                "of": len(values),
            }
    return pd.DataFrame.from_dict(table, orient="index", columns=["must be", "worst", "holds", "of"])


_RATIOS = {
    "decrease": "(7.8) before c₀, must be ≥ 1",
    "decrease_c0": "(7.8), must be ≥ 1",
    "relative": "(7.9), c₁ as printed, ≤ 1",
    "relative_c1": "(7.9), c₁ + L + λ/√2, ≤ 1",
}


def plot(rows: DataFrame) -> Figure:
    """Proposition 3.1's difference in standard errors, and the inequalities of the proof as ratios to their bounds.

    A mark for each image and seed; a filled one keeps the statement, an empty one doesn't.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 2.6), width_ratios=(1, 2))
    by_number = {statement.number: statement for statement in STATEMENTS if statement.check in ("elbo", "descent")}
    colours = sns.color_palette("colorblind")
    for axis, labels, limit in ((left, {"z": "(3.13) − (3.10)"}, 3), (right, _RATIOS, 1)):
        for row, number in enumerate(labels):
            values = rows.loc[rows["preset"] == by_number[number].check, number]
            filled = [colours[row] if kept else "none" for kept in by_number[number].holds(values)]
            heights = row + np.linspace(-0.2, 0.2, len(values))
            axis.scatter(values, heights, s=22, marker="o^sD"[row], edgecolors=[colours[row]], facecolors=filled)
        axis.axvline(limit, color="0.3", ls="--", lw=0.8)
        axis.set(ylim=(len(labels) - 0.5, -0.5), yticks=range(len(labels)), yticklabels=list(labels.values()))
        axis.grid(axis="x", alpha=0.25)
    left.set(xlabel="difference, standard errors", xlim=(0, 3.5))
    right.set(xscale="log", xlabel="over all steps, the ratio to the bound nearest to breaking it (log scale)")
    figure.tight_layout()
    return figure


def plot_descents(settings: Settings) -> Figure:
    """Energy, length of the steps and local L along the descents of the first image and seed, computed anew."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    first = next(item for item in items(settings) if item.preset == "descent")
    sample = load_sample(first.dataset, first.image)
    given = _given(first, sample, hint_for(as_image(sample.image)))
    bounded = {
        "gradient, α = 0.9 · 2/L": gradient_descent(*given),
        "the same, instance normalisation": gradient_descent(*given, normalised=True),
    }
    paths = {name: found.path for name, found in bounded.items()}
    paths |= {"Adam at 1e-1": adam_descent(*given), "the same, η redrawn": adam_descent(*given, redrawn=True)}
    styles = dict(zip(paths, ("-", "--", "-.", ":"), strict=True))
    colours = dict(zip(paths, sns.color_palette("colorblind", len(paths)), strict=True))
    figure, (energies, lengths, local) = plt.subplots(1, 3, figsize=(13, 3.6))
    for name, path in paths.items():
        style = {"color": colours[name], "ls": styles[name], "lw": 1.2}
        energies.plot(path.energy, label=name, **style)
        lengths.plot(np.arange(1, len(path.lengths) + 1), path.lengths, **style)
    for name, found in bounded.items():
        local.plot(*zip(*found.path.lipschitz.items(), strict=True), color=colours[name], marker="o", ms=3, lw=1,
                   ls=styles[name])  # fmt: skip
        local.axhline(found.bound, color=colours[name], lw=0.8, ls=styles[name])
    energies.set(yscale="log", xlabel="step", ylabel="$E_{LS}$, sum over pixels")
    lengths.set(xscale="log", yscale="log", xlabel="step", ylabel="length of the step $\\|x^{k+1} - x^k\\|$")
    local.set(yscale="log", xlabel="step", ylabel="local L (marks); line: the L that α is from")
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    energies.legend(fontsize=7)
    figure.tight_layout()
    return figure
