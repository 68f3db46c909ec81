"""Algorithms 1 and 2: the deep Chan-Vese model of one image, for two phases or N.

    E = reconstruction + ν · length of the boundary + Σᵢ uᵢ · KL(latent ‖ N(μᵢ, Σᵢ))            (3.15), (4.1)

`iterate` is the loop: a generator of states, so that a progress bar, a figure or a widget can watch and stop it. It
updates u in one of two ways:

- "gradient", the paper's: φ or Φ with u = S(φ), moved by Adam like the networks; the length is split off and solved by
  shrinkage.
- "exact", ours: for fixed networks u solves a minimum cut or, with more phases, a Potts problem
  (`deepcv.model.labelling`). The networks take some Adam steps with u fixed, then u is solved for, and so on until the
  labels settle.

Also beyond the paper: no reconstruction by default (`Settings.decoder`), a prior from the hint (`Problem.prior`), a
length weighted by the image's edges (`Problem.edges`), and a KL weighted by the phases' areas (`Settings.balance`). The
authors' presets turn all of this off.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepcv.model import energy, labelling, phases
from deepcv.model.descent import Descent, adam
from deepcv.model.networks import ACTIVATIONS, SkipNetwork, UNet
from deepcv.model.settings import Settings
from deepcv.model.start import confident


class Problem(NamedTuple):
    """B images of one size, and what is known of each before the networks are fitted.

    Attributes
    ----------
    image : Tensor, `(B, C, H, W)`, in [0, 1]
    memberships : Tensor, `(B, N, H, W)`
        Where u starts.
    edges : Tensor, `(B, H, W)`
        Factor of ν at each pixel (`edge_weights`); 1 everywhere for the paper's length.
    prior : Tensor, `(B, N, H, W)`
        Cost of each phase at each pixel on top of its KL (`hint_prior`, `start_prior`); 0 everywhere in the paper.
    seeds : sequence of B ints
        Of networks and noise. An image's result depends on its own seed only.
    """

    image: Tensor
    memberships: Tensor
    edges: Tensor
    prior: Tensor
    seeds: Sequence[int]


class State(NamedTuple):
    """The loop after an Adam step, for B images.

    Attributes
    ----------
    step : int
        Adam steps taken.
    memberships : Tensor, `(B, N, H, W)`
    latent_mean : Tensor, `(B, d, H, W)`
        `𝒢^μ(I)`.
    energy : dict of str to Tensor `(B,)`
        The terms of (3.15) per pixel: "reconstruction", "length" (ν included), "region", and "hint" (`Problem.prior`).
    settled : Tensor of bool, `(B,)`
        Whether an image is done; its memberships then stay as they are (`Settings.settled`).
    """

    step: int
    memberships: Tensor
    latent_mean: Tensor
    energy: dict[str, Tensor]
    settled: Tensor


class Model(nn.Module):
    """Encoder 𝒢 and decoder ℱ of each of B images, and the two terms of the energy that depend on them.

    Without a decoder (`Settings.decoder`) the reconstruction term is 0.

    `channels` are those of the image; each image has a seed.
    """

    prior_mean: Tensor
    prior_variance: Tensor

    def __init__(self, channels: int, settings: Settings, seeds: Sequence[int]):
        super().__init__()
        self.settings = settings
        prior = phases.latent_prior(settings.phases, settings.latent_mean)
        self.register_buffer("prior_mean", prior.mean)
        self.register_buffer("prior_variance", prior.variance)
        self.dimensions = prior.mean.shape[1]
        if settings.architecture == "skip":
            network = functools.partial(SkipNetwork, widths=[settings.width] * settings.levels)
        else:
            activation = ACTIVATIONS[settings.activation]
            network = functools.partial(UNet, width=settings.width, levels=settings.levels, activation=activation)
        outputs = self.dimensions * (2 if settings.learned_variance else 1)
        self.encoder = network(channels, outputs, seeds=[2 * seed for seed in seeds])
        if settings.decoder:
            self.decoder = network(self.dimensions, channels, seeds=[2 * seed + 1 for seed in seeds])

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | float]:
        """`𝒢^μ(I)` `(B, d, H, W)`, and `𝒢^σ(I)` of the same shape or, if fixed, 1.0."""
        code = self._in_precision(self.encoder, image)
        mean = code[:, : self.dimensions] * self.settings.latent_unit
        if not self.settings.learned_variance:
            return mean, 1.0
        return mean, code[:, self.dimensions :].clamp(-10, 10).exp()

    def decode(self, latent: Tensor) -> Tensor:
        """ℱ, `(B, d, H, W)` to `(B, C, H, W)`."""
        return self._in_precision(self.decoder, latent / self.settings.latent_unit)

    def _in_precision(self, network: nn.Module, x: Tensor) -> Tensor:
        if self.settings.precision == "float32":
            return network(x)
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):  # a CUDA graph can't hold the cache
            return network(x).float()

    def kl(self, mean: Tensor, variance: Tensor | float) -> Tensor:
        """(3.14) against each phase's prior, `(B, N, H, W)`."""
        return energy.gaussian_kl(mean, variance, self.prior_mean, self.prior_variance)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`𝒢^μ(I)`, the reconstruction term `(B,)` and the KL of each phase `(B, N, H, W)`."""
        mean, variance = self.encode(image)
        if not self.settings.decoder:
            return mean, mean.new_zeros(len(image)), self.kl(mean, variance)
        scale = self.settings.pixel_range**2 / (image.shape[1] if self.settings.channel_mean else 1)
        fit = scale * energy.reconstruction(self.decode, mean, variance, image, noise)
        return mean, fit, self.kl(mean, variance)


def iterate(problem: Problem, settings: Settings) -> Iterator[State]:
    """Minimise the energy of B images; yields the state after each Adam step.

    Raises
    ------
    InputError
        For images too small for the networks' levels.
    """
    return (_gradient if settings.u_step == "gradient" else _exact)(problem, settings)


# -- The paper's u-step ------------------------------------------------------------------------------------------------


def _gradient(problem: Problem, settings: Settings) -> Iterator[State]:
    """Algorithm 1 (two phases) and Algorithm 2 (more); Adam in place of plain gradient steps."""
    two = settings.phases == 2
    # S of (3.17) or (4.2)
    memberships_of = phases.sigmoid_memberships if two else phases.softmax_memberships
    relaxed_of = phases.arctan_memberships if settings.relaxation == "arctan" else memberships_of

    # line 1: initialise networks and region function
    image, u = problem.image, problem.memberships
    model = Model(image.shape[1], settings, problem.seeds).to(image.device)
    phi = phases.initial_phi(u[:, 1], settings.start_limit) if two else torch.log(u.clamp(min=1e-2))
    phi = phi.clone().requires_grad_()
    w = energy.gradient(phases.contours(memberships_of(phi.detach())))
    noise = _Noise(problem, settings, model.dimensions)

    def loss() -> tuple[Tensor, tuple[Tensor, ...]]:
        """E_LS of (3.18) or (4.5), without the term in w alone."""
        mean, fit, kl = model(image, noise.value)
        weights = balanced(relaxed_of(phi), settings.balance)
        split = energy.splitting(phases.contours(memberships_of(phi)), w, settings.penalty)
        return fit + split + energy.region(weights, kl + problem.prior), (mean, fit, kl)

    threshold = (settings.nu / settings.penalty * problem.edges)[:, None, None]  # ν/λ

    def update_w() -> None:
        """Line 4: w by (3.21) or (4.8)."""
        w.copy_(energy.shrink(energy.gradient(phases.contours(memberships_of(phi))), threshold))

    rates = [
        {"params": list(model.parameters()), "lr": settings.learning_rate},
        {"params": [phi], "lr": settings.learning_rate_phi},
    ]
    optimiser = adam(rates, settings.learning_rate, image.device)
    sure = u.round() * confident(u).to(u)
    warm_up = Descent(functools.partial(_fit, model, image, noise, sure), optimiser, image)
    descent = Descent(loss, optimiser, image, afterwards=update_w, changes=[w])
    never = torch.zeros(len(image), dtype=torch.bool, device=image.device)
    for step in range(1, settings.steps + 1):  # line 2
        noise.draw()
        # line 3: networks and region function by (3.19) or (4.6)
        mean, fit, kl = (warm_up if step <= settings.warmup else descent)()
        memberships = memberships_of(phi.detach())
        yield _state(step, memberships, mean, fit, kl, _terms_of(memberships, problem, settings), never)


# -- The exact u-step --------------------------------------------------------------------------------------------------


def _exact(problem: Problem, settings: Settings) -> Iterator[State]:
    """Rounds of Adam steps on the networks with u fixed, then the best u for these networks, until labels settle."""
    image, u = problem.image, problem.memberships
    model = Model(image.shape[1], settings, problem.seeds).to(image.device)
    noise, weights = _Noise(problem, settings, model.dimensions), torch.empty_like(u)
    loss = functools.partial(_fit, model, image, noise, weights)
    descent = Descent(loss, adam(model.parameters(), settings.learning_rate, image.device), image)
    terms, solution, step = _terms_of(u, problem, settings), None, 0
    settled = torch.zeros(len(image), dtype=torch.bool, device=image.device)
    for round_ in range(settings.rounds):
        weights.copy_(balanced(u, settings.balance))
        for left in reversed(range(settings.more_steps if round_ else settings.steps)):
            step += 1
            noise.draw()
            mean, fit, kl = descent()
            if not left:
                solution = _best_partition(model, problem, settings, solution)
                found = torch.where(settled[:, None, None, None], u, nonempty(solution.mask, u))
                changed = (phases.labels_of(found) != phases.labels_of(u)).float().mean(dim=(1, 2))
                settled = settled | (changed < settings.settled)
                u, terms = found, _terms_of(found, problem, settings)
            yield _state(step, u, mean, fit, kl, terms, settled)
        if bool(settled.all()):
            return


@torch.no_grad()
def _best_partition(
    model: Model, problem: Problem, settings: Settings, start: labelling.Labelling | None
) -> labelling.Labelling:
    """The minimiser over u of (3.16), or of (4.1) with more than two phases, for the networks as they are."""
    cost = model.kl(*model.encode(problem.image)) + problem.prior
    if settings.phases > 2:
        return labelling.partition(cost, settings.nu * problem.edges, start=start)
    return labelling.solve(cost[:, 1] - cost[:, 0], settings.nu * problem.edges, start=start)


def nonempty(mask: Tensor, u: Tensor) -> Tensor:
    """The memberships of a mask; u where one of two phases would be empty, as networks can't be fitted to that."""
    if mask.ndim == 4:
        return mask.to(u)
    alive = mask.flatten(1).any(1) & ~mask.flatten(1).all(1)
    foreground = torch.where(alive[:, None, None], mask.to(u), u[:, 1])
    return torch.stack((1 - foreground, foreground), dim=1)


# -- What both share ---------------------------------------------------------------------------------------------------


class _Noise:
    """Draws of η, `(M, B, d, H, W)` in `value`, each image's from its own generator; none without a decoder.

    For seed 0 the generator starts as that of the encoder's weights.
    """

    def __init__(self, problem: Problem, settings: Settings, dimensions: int):
        device = problem.image.device
        samples = settings.samples if settings.decoder else 0
        shape = (samples, len(problem.image), dimensions, *problem.image.shape[-2:])
        self.value = torch.empty(shape, device=device)
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in problem.seeds]

    def draw(self) -> None:
        """Draw again, in place."""
        for index, generator in enumerate(self.generators):
            self.value[:, index].normal_(generator=generator)


def _fit(model: Model, image: Tensor, noise: _Noise, weights: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Loss of the networks with u fixed: reconstruction and the weighted KL of each phase."""
    mean, fit, kl = model(image, noise.value)
    return fit + energy.region(weights, kl), (mean, fit, kl)


def balanced(u: Tensor, power: float) -> Tensor:
    """Memberships `(B, N, H, W)` weighted by their phase's area to the power of `-power`.

    Their total is kept unless an area is under 2 %, which counts as 2 %.
    """
    area = u.detach().mean(dim=(2, 3), keepdim=True).clamp(min=0.02)
    weight = area**-power
    return u * weight / (area * weight).sum(dim=1, keepdim=True)


def _state(
    step: int, memberships: Tensor, mean: Tensor, fit: Tensor, kl: Tensor, terms: dict[str, Tensor], settled: Tensor
) -> State:
    pixels = mean[0, 0].numel()
    of_networks = {"reconstruction": fit / pixels, "region": energy.region(memberships, kl) / pixels}
    return State(step, memberships, mean, of_networks | terms, settled)


def _terms_of(memberships: Tensor, problem: Problem, settings: Settings) -> dict[str, Tensor]:
    """The terms of the energy that depend on u alone, per pixel, `(B,)` each."""
    pixels = memberships[0, 0].numel()
    # torch.linalg.vector_norm over this axis takes twenty times as long
    length = energy.gradient(phases.contours(memberships)).square().sum(dim=-3).sqrt() * problem.edges[:, None]
    return {
        "length": settings.nu * length.sum(dim=(1, 2, 3)) / pixels,
        "hint": energy.region(memberships, problem.prior) / pixels,
    }
