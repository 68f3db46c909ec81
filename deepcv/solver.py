"""Algorithms 1 and 2: the deep Chan-Vese model of one image, two-phase or N-phase.

    E = reconstruction + ν · length of the boundary + Σᵢ uᵢ · KL(latent ‖ N(μᵢ, Σᵢ))            (3.15), (4.1)

`iterate` is the loop, a generator of states, so that a progress bar, a figure or a widget can watch it and stop it.
It holds u in one of two ways:

- "gradient", the paper's: fields φ, u = S(φ) or softmax Φ, everything moved by Adam, the length split off and solved
  by shrinkage. Algorithms 1 and 2.
- "exact", for two phases: with the networks fixed, u is a minimum cut and `deepcv.labelling` finds it. Networks are
  fitted to u for a few steps, u is solved, and so on for a few rounds with new networks.

`deep_chan_vese` does the rest: hint, working size, the loop to its end, the guided filter where asked for.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv import energy, labelling, phases
from deepcv.hints import hint_for, otsu_mask
from deepcv.images import SMALLEST_SIDE, InputError, as_colour, as_image, resize, working_shape
from deepcv.networks import UNet
from deepcv.refinement import guided_filter
from deepcv.segmentation import Segmentation


@dataclass(frozen=True)
class Settings:
    """Settings of the deep Chan-Vese model; the default is the package's, `paper()` and `released()` the authors'.

    The reasons for the default are measured: see the book's page on the settings and `results/recorded/`.
    """

    phases: int = 2
    """Number of regions N."""
    u_step: str = "exact"
    """"exact" (two phases only) or "gradient"."""
    size: int = 300
    """Longest side, in pixels, at which the model is solved; the mask has the image's size."""

    nu: float = 300.0
    """Weight ν of the length. Data terms reach 2·latent_mean² = 200 a pixel, so the paper's 1 has next to no effect."""
    edge_sensitivity: float = 1.0
    """How much the length costs less along the image's edges, as in [6]; 0 is the paper's plain length."""
    penalty: float = 0.1
    """λ of the splitting (gradient step only). The paper gives none; this is the released code's."""
    balance: bool = True
    """Weight each phase's KL by one over its area while the networks are fitted, so that a small object isn't drowned
    by the background; a deviation from (3.15)."""

    latent_mean: float = 10.0
    """μ of the foreground, -μ of the background; with N > 2 phases μᵢ = latent_mean · eᵢ (section 5.1: 10 and 5)."""
    learned_variance: bool = False
    """Whether the encoder gives 𝒢^σ too; the paper fixes it at 1 for single images (5.1)."""
    samples: int = 1
    """Draws of η a step, M in the Monte-Carlo estimate (Remark 1)."""
    pixel_range: float = 1.0
    """The image is scaled to [0, pixel_range] for reconstruction: how much the unit-variance likelihood weighs."""
    channel_mean: bool = False
    """Mean over channels instead of the sum, as in the released code; for grey the same."""

    width: int = 8
    """Channels of the networks' first level."""
    levels: int = 0
    """Halvings in the U-Net; 0 leaves two 3×3 convolutions, which see colour and texture but can't learn the hint's
    shape by heart."""
    rounds: int = 5
    """Exact step only: how often networks are fitted and u solved."""
    steps: int = 30
    """Adam steps: a round for "exact", altogether for "gradient"."""
    warmup: int = 0
    """Gradient step only: first steps in which φ rests and KL counts confident hint pixels alone, as released."""
    learning_rate: float = 1e-2
    """Of the networks."""
    learning_rate_phi: float = 1e-1
    """Of φ."""
    relaxation: str = "sigmoid"
    """Of u in the KL term, gradient step only: "sigmoid", or "arctan" as in the released code."""
    guided_radius: int = 0
    """Radius in pixels of the guided filter on the result; 0 leaves it out."""

    def __post_init__(self):
        phases.check_phases(self.phases)
        if self.u_step not in ("exact", "gradient"):
            raise InputError(f"u_step is {self.u_step!r}; it is 'exact' or 'gradient'")
        if self.u_step == "exact" and self.phases > 2:
            raise InputError(f"u_step 'exact' solves two phases, not {self.phases}; ask for u_step 'gradient'")
        if self.relaxation not in ("sigmoid", "arctan"):
            raise InputError(f"relaxation is {self.relaxation!r}; it is 'sigmoid' or 'arctan'")
        least = {"nu": 0, "edge_sensitivity": 0, "levels": 0, "warmup": 0, "guided_radius": 0}
        least |= {"width": 1, "rounds": 1, "steps": 1, "samples": 1, "size": SMALLEST_SIDE}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        for name in ("penalty", "latent_mean", "pixel_range", "learning_rate", "learning_rate_phi"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        if not math.isfinite(self.nu):
            raise InputError(f"nu is {self.nu}; it must be finite")

    @classmethod
    def paper(cls, **changes) -> Settings:
        """Algorithm 1 as the paper describes it (section 5.1); what it leaves open is as released.

        ν = 1, μ = ±10, unit variance, 4-level U-Nets of width 64 with instance normalisation, Adam at 1e-1 for
        everything, one loop, pixels 0..255, guided filter. λ, the number of steps and the activation are the released
        code's.
        """
        return cls(**(_AUTHORS | {"nu": 1.0, "learning_rate": 1e-1} | changes))

    @classmethod
    def released(cls, **changes) -> Settings:
        """The authors' released code: means -60 and +60, ν = 2.5/(H·W), 200 steps of the networks alone, then φ too.

        Deviations of ours: the foreground is at +60 (they put it at -60, which mirrors the latent axis), and their
        length term, of which at this ν and λ nothing is felt, is (3.18)'s on ∇S(φ).
        """
        released = {"nu": 0.0, "latent_mean": 60.0, "warmup": 200, "learning_rate": 1e-3, "relaxation": "arctan"}
        return cls(**(_AUTHORS | released | {"channel_mean": True} | changes))


_AUTHORS = {
    "u_step": "gradient",
    "edge_sensitivity": 0.0,
    "balance": False,
    "pixel_range": 255.0,
    "width": 64,
    "levels": 4,
    "steps": 401,
    "guided_radius": 50,
}


class State(NamedTuple):
    """Where the loop stands; B images side by side.

    Attributes
    ----------
    step : int
        Adam steps taken.
    memberships : Tensor, `(B, N, H, W)`
    latent_mean : Tensor, `(B, d, H, W)`
        `𝒢^μ(I)`.
    energy : dict of str to Tensor `(B,)`
        The terms of (3.15) per pixel: "reconstruction", "length" (ν included), "region".
    """

    step: int
    memberships: Tensor
    latent_mean: Tensor
    energy: dict[str, Tensor]


class Model(nn.Module):
    """Encoder and decoder of B images, and the energies they give."""

    def __init__(self, image: Tensor, settings: Settings, seeds: Sequence[int]):
        super().__init__()
        channels = image.shape[1]
        two = settings.phases == 2
        self.prior = (phases.LatentPrior.two_phase if two else _multi_phase(settings.phases))(settings.latent_mean)
        self.latent = self.prior.mean.shape[1]
        self.learned_variance = settings.learned_variance
        self.settings = settings
        outputs = self.latent * (2 if settings.learned_variance else 1)
        shape = {"width": settings.width, "levels": settings.levels}
        self.encoder = UNet(channels, outputs, seeds=[2 * seed for seed in seeds], **shape)
        self.decoder = UNet(self.latent, channels, seeds=[2 * seed + 1 for seed in seeds], **shape)
        self.to(image.device)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | float]:
        """`𝒢^μ(I)` `(B, d, H, W)` and `𝒢^σ(I)`, 1.0 where it is fixed."""
        code = self.encoder(image)
        if not self.learned_variance:
            return code, 1.0
        mean, log_variance = code.split(self.latent, dim=1)
        return mean, log_variance.clamp(-10, 10).exp()

    def reconstruction(self, mean: Tensor, variance: Tensor | float, image: Tensor, noise: Tensor) -> Tensor:
        """The reconstruction term `(B,)`, on the pixel range of the settings."""
        scale = self.settings.pixel_range**2 / (image.shape[1] if self.settings.channel_mean else 1)
        return scale * energy.reconstruction(self.decoder, mean, variance, image, noise)


def _multi_phase(count: int):
    return lambda mean: phases.LatentPrior.multi_phase(count, mean)


def iterate(
    image: Tensor, u: Tensor, settings: Settings, seeds: Sequence[int], *, edges: Tensor | float = 1.0
) -> Iterator[State]:
    """Minimise the energy of B images, giving the state after each step.

    Parameters
    ----------
    image : Tensor, `(B, C, H, W)`, in [0, 1]
    u : Tensor, `(B, N, H, W)`
        Memberships to start from.
    settings : Settings
    seeds : sequence of B ints
        Of networks and noise, one an image: the result of an image doesn't depend on its neighbours.
    edges : Tensor `(B, H, W)`, or float
        Weight of the length at each pixel, on top of ν.
    """
    loop = _exact if settings.u_step == "exact" else _gradient
    yield from loop(image, u, settings, seeds, edges)


def _exact(image, u, settings, seeds, edges) -> Iterator[State]:
    """Rounds of: new networks, a few Adam steps on them with u fixed, u by a minimum cut."""
    step, solution = 0, None
    generators = [torch.Generator(image.device).manual_seed(seed) for seed in seeds]
    pixels = image.shape[-2] * image.shape[-1]
    for round_ in range(settings.rounds):
        model = Model(image, settings, [seed * settings.rounds + round_ for seed in seeds])
        optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        weights = _balanced(u) if settings.balance else u
        for _ in range(settings.steps):
            mean, variance = model.encode(image)
            kl = energy.gaussian_kl(mean, variance, model.prior.mean, model.prior.variance)
            fit = model.reconstruction(mean, variance, image, _noise(mean, settings.samples, generators))
            optimiser.zero_grad()
            ((fit + energy.region(weights, kl)) / pixels).sum().backward()
            optimiser.step()
            step += 1
            if _ + 1 < settings.steps:
                yield _state(step, u, mean, fit, kl, settings, edges)
        with torch.no_grad():
            mean, variance = model.encode(image)
            kl = energy.gaussian_kl(mean, variance, model.prior.mean, model.prior.variance)
            solution = labelling.solve(kl[:, 1] - kl[:, 0], settings.nu * torch.as_tensor(edges), start=solution)
        found = solution.mask
        # a phase that has emptied can't be fitted again: keep the last mask that had both
        alive = found.flatten(1).any(1) & ~found.flatten(1).all(1)
        foreground = torch.where(alive[:, None, None], found.to(u), u[:, 1])
        u = torch.stack((1 - foreground, foreground), dim=1)
        yield _state(step, u, mean, fit, kl, settings, edges)


def _gradient(image, u, settings, seeds, edges) -> Iterator[State]:
    """Algorithm 1 (two phases) and Algorithm 2 (more)."""
    two = settings.phases == 2
    memberships_of = phases.sigmoid_memberships if two else phases.softmax_memberships
    relaxed_of = phases.arctan_memberships if settings.relaxation == "arctan" else memberships_of
    model = Model(image, settings, seeds)
    phi = phases.initial_phi(u[:, 1]) if two else torch.log(u.clamp(min=1e-2))
    phi = phi.clone().requires_grad_()
    w = energy.gradient(phases.contours(memberships_of(phi.detach())))
    rates = [{"params": list(model.parameters()), "lr": settings.learning_rate}]
    optimiser = torch.optim.Adam([*rates, {"params": [phi], "lr": settings.learning_rate_phi}])
    generators = [torch.Generator(image.device).manual_seed(seed) for seed in seeds]
    pixels = image.shape[-2] * image.shape[-1]
    confident = ((u >= 0.9) | (u <= 0.1)).to(u)
    for step in range(1, settings.steps + 1):
        warm = step <= settings.warmup
        mean, variance = model.encode(image)
        kl = energy.gaussian_kl(mean, variance, model.prior.mean, model.prior.variance)
        fit = model.reconstruction(mean, variance, image, _noise(mean, settings.samples, generators))
        if warm:
            loss = fit + energy.region(u.round() * confident, kl)
        else:
            memberships = memberships_of(phi)
            split = energy.splitting(phases.contours(memberships), w, settings.penalty)
            relaxed = relaxed_of(phi)
            loss = fit + split + energy.region(_balanced(relaxed) if settings.balance else relaxed, kl)
        optimiser.zero_grad()
        (loss / pixels).sum().backward()
        optimiser.step()
        with torch.no_grad():
            memberships = memberships_of(phi.detach())
            if not warm:
                # Proposition 3.2; an edge-dependent weight of the length is an edge-dependent threshold
                threshold = settings.nu / settings.penalty * torch.as_tensor(edges)
                threshold = threshold[:, None, None] if threshold.ndim else threshold
                w = energy.shrink(energy.gradient(phases.contours(memberships)), threshold)
        yield _state(step, memberships, mean, fit, kl, settings, edges)


def _balanced(u: Tensor) -> Tensor:
    """Memberships weighted so that every phase weighs the same in all; `(B, N, H, W)`."""
    area = u.detach().mean(dim=(2, 3), keepdim=True).clamp(min=0.02)
    return u / (u.shape[1] * area)


def _noise(mean: Tensor, samples: int, generators: Sequence[torch.Generator]) -> Tensor:
    """η `(M, B, d, H, W)`, each image's from its own generator."""
    shape = (samples, *mean.shape[1:])
    return torch.stack([torch.randn(shape, generator=g, device=mean.device) for g in generators], dim=1)


@torch.no_grad()
def _state(step, memberships, mean, fit, kl, settings, edges) -> State:
    pixels = mean.shape[-2] * mean.shape[-1]
    field = energy.gradient(phases.contours(memberships))
    length = (
        torch.linalg.vector_norm(field, dim=-3) * torch.as_tensor(edges)[..., None, :, :]
        if torch.is_tensor(edges)
        else torch.linalg.vector_norm(field, dim=-3)
    )
    terms = {
        "reconstruction": fit.detach() / pixels,
        "length": settings.nu * length.sum(dim=(1, 2, 3)) / pixels,
        "region": energy.region(memberships, kl) / pixels,
    }
    return State(step, memberships.detach(), mean.detach(), terms)


def edge_weights(image: Tensor, sensitivity: float) -> Tensor:
    """Weight of the length at each pixel, less where the image itself has an edge (geodesic length, [6]).

    `exp(-s ‖∇Iₓ‖² / (2 mean ‖∇I‖²))`, between a floor of 0.05 and 1.

    Parameters
    ----------
    image : Tensor, `(B, C, H, W)`
    sensitivity : float, at least 0
        s; 0 gives 1 everywhere.

    Returns
    -------
    Tensor, `(B, H, W)`
    """
    squared = (energy.gradient(image) ** 2).sum(dim=(1, 2))
    mean = squared.mean(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    return 0.05 + 0.95 * torch.exp(-sensitivity * squared / (2 * mean))


def initial_memberships(hint: np.ndarray, settings: Settings) -> np.ndarray:
    """Where u starts, `(2, H, W)`: the saliency map itself, as in the paper, or its Otsu threshold for the exact step.

    The exact step wants a mask: networks fitted to a soft map reproduce its doubts.
    """
    u = otsu_mask(hint).astype(np.float32) if settings.u_step == "exact" else hint
    return np.stack((1 - u, u))


def random_memberships(shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from: smooth random fields through a softmax.

    The paper initialises at random and says no more. Fields of white noise average out in the length term and leave
    the phases alike, so these are noise of 8×8 cells, enlarged.
    """
    fields = np.random.default_rng(seed).normal(size=(8, 8, count)).astype(np.float32)
    fields = resize(fields, shape).transpose(2, 0, 1)
    exponential = np.exp(fields)
    return exponential / exponential.sum(axis=0)


def deep_chan_vese(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    progress: bool = False,
    **settings,
) -> Segmentation:
    """Segment one image by the deep Chan-Vese model, without training data.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    hint : array_like, `(H, W)`, optional
        High where the foreground is believed to be, in [0, 1]; default the saliency of `deepcv.saliency`. With more
        than two phases it is not used: those start at random (section 5.1).
    seed : int
        Of networks, noise and random starts. The same seed on the same CPU gives the same mask.
    device : str, optional
        "cpu", "cuda" …; default the GPU when there is one.
    progress : bool
        Show a bar.
    **settings
        Fields of `Settings` that are to differ from the default.

    Returns
    -------
    Segmentation
        At the image's size. `trace` has the energy's terms per pixel and "changed", the share of pixels whose label
        changed, one value an Adam step.

    Raises
    ------
    InputError
        For an image or hint that can't be used, an unknown setting or one out of range.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((40, 60), 0.2)
    >>> image[10:30, 20:45] = 0.8
    >>> deep_chan_vese(image, hint=image, steps=5, rounds=1).mask.sum()
    np.int64(500)
    """
    settings = _settings(settings)
    image = as_image(image)
    full = image.shape[:2]
    two = settings.phases == 2
    hint = hint_for(image, hint) if two else None
    start = time.perf_counter()
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    shape = working_shape(full, settings.size)
    small = resize(image, shape)
    first = (
        initial_memberships(resize(hint, shape), settings) if two else random_memberships(shape, settings.phases, seed)
    )
    pixels = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(small).transpose(2, 0, 1)))[None].to(target)
    u = torch.from_numpy(np.ascontiguousarray(first))[None].to(target)
    edges = edge_weights(pixels, settings.edge_sensitivity) if settings.edge_sensitivity else 1.0
    states = _watched(iterate(pixels, u, settings, [seed], edges=edges), settings, progress)
    trace: dict[str, list[Tensor]] = {}
    before = u.argmax(1)
    for state in states:
        labels = state.memberships.argmax(1)
        changed = (labels != before).float().mean()
        before = labels
        for name, value in (*state.energy.items(), ("changed", changed)):
            trace.setdefault(name, []).append(value)
    memberships = resize(state.memberships[0].permute(1, 2, 0).cpu().numpy(), full)
    memberships = np.atleast_3d(memberships).transpose(2, 0, 1)
    if settings.guided_radius:
        memberships = np.stack([guided_filter(image, each, radius=settings.guided_radius) for each in memberships])
    return Segmentation(
        labels=memberships.argmax(0).astype(np.uint8),
        memberships=np.clip(memberships, 0, 1),
        trace={name: [float(value) for value in values] for name, values in trace.items()},
        seconds=time.perf_counter() - start,
        method="deep-cv",
        settings=dataclasses.asdict(settings) | {"seed": seed},
    )


def _settings(given: dict) -> Settings:
    known = {field.name for field in dataclasses.fields(Settings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"there is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if given.get("phases", 2) > 2:
        # what the paper says of more phases; the exact u-step is for two
        given = {"u_step": "gradient", "latent_mean": 5.0, **_MULTI_PHASE, **given}
    return Settings(**given)


_MULTI_PHASE = {"levels": 2, "steps": 150, "nu": 1.0, "edge_sensitivity": 0.0, "balance": False, "size": 160}


def _watched(states: Iterator[State], settings: Settings, progress: bool) -> Iterator[State]:
    from tqdm.auto import tqdm

    total = settings.steps * (settings.rounds if settings.u_step == "exact" else 1)
    return tqdm(states, total=total, desc="deep Chan-Vese", unit="step", disable=not progress)
