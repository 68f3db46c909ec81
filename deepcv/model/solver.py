"""Algorithms 1 and 2: the deep Chan-Vese model of one image, two-phase or N-phase.

    E = reconstruction + ν · length of the boundary + Σᵢ uᵢ · KL(latent ‖ N(μᵢ, Σᵢ))            (3.15), (4.1)

`iterate` is the loop, a generator of states, so that a progress bar, a figure or a widget can watch it and stop it.
It holds u in one of two ways:

- "gradient", the paper's: fields φ, u = S(φ) or softmax Φ, everything moved by Adam, the length split off and solved
  by shrinkage. Algorithms 1 and 2.
- "exact": with the networks fixed, u is a minimum cut, or with more phases a Potts problem, and `deepcv.model.labelling`
  finds it. Networks are fitted to u for a few steps, u is solved, and so on until the labels settle.

`deep_chan_vese` does the rest: hint, working size, the loop to its end, the guided filter where asked for.
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
from deepcv.model.start import _confident


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
        The terms of (3.15) per pixel: "reconstruction", "length" (ν included), "region", and "hint" (`Problem.prior`).
    settled : Tensor of bool, `(B,)`
        Which images are done: their memberships stay as they are (`Settings.settled`).
    """

    step: int
    memberships: Tensor
    latent_mean: Tensor
    energy: dict[str, Tensor]
    settled: Tensor


class Problem(NamedTuple):
    """B images of one size, and what is known of each before the networks are asked.

    Attributes
    ----------
    image : Tensor, `(B, C, H, W)`, in [0, 1]
    memberships : Tensor, `(B, N, H, W)`
        Where u starts.
    edges : Tensor, `(B, H, W)`
        Weight of the length at each pixel, on top of ν (`edge_weights`); 1 everywhere for the paper's length.
    prior : Tensor, `(B, N, H, W)`
        What each phase costs at each pixel whatever the networks say (`hint_prior`); 0 everywhere in the paper.
    seeds : sequence of B ints
        Of networks and noise. An image's result depends on its own seed only, not on its neighbours.
    """

    image: Tensor
    memberships: Tensor
    edges: Tensor
    prior: Tensor
    seeds: Sequence[int]


class Model(nn.Module):
    """Encoders and decoders of B images, and the two terms of the energy that they give.

    Parameters
    ----------
    channels : int
        Of the image.
    settings : Settings
    seeds : sequence of B ints
    """

    def __init__(self, channels: int, settings: Settings, seeds: Sequence[int]):
        super().__init__()
        self.settings = settings
        if settings.phases == 2:
            prior = phases.LatentPrior.two_phase(settings.latent_mean)
        else:
            prior = phases.LatentPrior.multi_phase(settings.phases, settings.latent_mean)
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
        self.decoder = network(self.dimensions, channels, seeds=[2 * seed + 1 for seed in seeds])

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | float]:
        """`𝒢^μ(I)` `(B, d, H, W)` and `𝒢^σ(I)`, 1.0 where it is fixed."""
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
        scale = self.settings.pixel_range**2 / (image.shape[1] if self.settings.channel_mean else 1)
        fit = scale * energy.reconstruction(self.decode, mean, variance, image, noise)
        return mean, fit, self.kl(mean, variance)


def iterate(problem: Problem, settings: Settings) -> Iterator[State]:
    """Minimise the energy of B images, giving the state after each Adam step.

    Raises
    ------
    InputError
        When the images are too small for the networks' levels.
    """
    return (_exact if settings.u_step == "exact" else _gradient)(problem, settings)


def _exact(problem: Problem, settings: Settings) -> Iterator[State]:
    """Rounds of: some Adam steps on the networks with u fixed, u by a minimum cut, until the labels settle."""
    image, u = problem.image, problem.memberships
    model = Model(image.shape[1], settings, problem.seeds).to(image.device)
    noise, weights = _Noise(problem, settings), torch.empty_like(u)
    loss = functools.partial(_fit, model, image, noise, weights)
    descent = Descent(loss, adam(model.parameters(), settings.learning_rate, image.device), image)
    terms, solution, step = _terms_of(u, problem, settings), None, 0
    settled = torch.zeros(len(image), dtype=torch.bool, device=image.device)
    for round_ in range(settings.rounds):
        weights.copy_(_balanced(u, settings.balance))
        for left in reversed(range(settings.more_steps if round_ else settings.steps)):
            step += 1
            noise.draw()
            mean, fit, kl = descent()
            if not left:
                solution = _u_step(model, problem, settings, solution)
                found = torch.where(settled[:, None, None, None], u, _kept_alive(solution.mask, u))
                changed = (found.argmax(dim=1) != u.argmax(dim=1)).float().mean(dim=(1, 2))
                settled = settled | (changed < settings.settled)
                u, terms = found, _terms_of(found, problem, settings)
            yield _state(step, u, mean, fit, kl, terms, settled)
        if bool(settled.all()):
            return


@torch.no_grad()
def _u_step(
    model: Model, problem: Problem, settings: Settings, start: labelling.Labelling | None
) -> labelling.Labelling:
    """The best partitions for the networks as they are: (3.16), or (4.1) with more than two phases."""
    cost = model.kl(*model.encode(problem.image)) + problem.prior
    if settings.phases > 2:
        return labelling.partition(cost, settings.nu * problem.edges, start=start)
    return labelling.solve(cost[:, 1] - cost[:, 0], settings.nu * problem.edges, start=start)


def _fit(model: Model, image: Tensor, noise: _Noise, weights: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the networks are fitted to with u fixed: reconstruction and the KL of each phase, weighted."""
    mean, fit, kl = model(image, noise.value)
    return fit + energy.region(weights, kl), (mean, fit, kl)


def _kept_alive(mask: Tensor, u: Tensor) -> Tensor:
    """The new memberships; the old ones where one of two phases has emptied, which networks couldn't be fitted to."""
    if mask.ndim == 4:
        return mask.to(u)
    alive = mask.flatten(1).any(1) & ~mask.flatten(1).all(1)
    foreground = torch.where(alive[:, None, None], mask.to(u), u[:, 1])
    return torch.stack((1 - foreground, foreground), dim=1)


def _gradient(problem: Problem, settings: Settings) -> Iterator[State]:
    """Algorithm 1 (two phases) and Algorithm 2 (more)."""
    image, u = problem.image, problem.memberships
    two = settings.phases == 2
    memberships_of = phases.sigmoid_memberships if two else phases.softmax_memberships
    relaxed_of = phases.arctan_memberships if settings.relaxation == "arctan" else memberships_of
    model = Model(image.shape[1], settings, problem.seeds).to(image.device)
    phi = (
        (phases.initial_phi(u[:, 1], settings.start_limit) if two else torch.log(u.clamp(min=1e-2)))
        .clone()
        .requires_grad_()
    )
    w = energy.gradient(phases.contours(memberships_of(phi.detach())))
    # (3.20) with a weight of its own at each pixel: a threshold of its own at each pixel
    threshold = (settings.nu / settings.penalty * problem.edges)[:, None, None]
    optimiser = adam(
        [
            {"params": list(model.parameters()), "lr": settings.learning_rate},
            {"params": [phi], "lr": settings.learning_rate_phi},
        ],
        settings.learning_rate,
        image.device,
    )
    noise = _Noise(problem, settings)
    confident = _confident(u).to(u)

    def loss() -> tuple[Tensor, tuple[Tensor, ...]]:
        mean, fit, kl = model(image, noise.value)
        relaxed = relaxed_of(phi)
        weights = _balanced(relaxed, settings.balance)
        split = energy.splitting(phases.contours(memberships_of(phi)), w, settings.penalty)
        return fit + split + energy.region(weights, kl + problem.prior), (mean, fit, kl)

    def split_off() -> None:
        w.copy_(energy.shrink(energy.gradient(phases.contours(memberships_of(phi))), threshold))

    never = torch.zeros(len(image), dtype=torch.bool, device=image.device)
    warm_up = Descent(functools.partial(_fit, model, image, noise, u.round() * confident), optimiser, image)
    descent = Descent(loss, optimiser, image, afterwards=split_off, changes=[w])
    for step in range(1, settings.steps + 1):
        noise.draw()
        mean, fit, kl = (warm_up if step <= settings.warmup else descent)()
        memberships = memberships_of(phi.detach())
        yield _state(step, memberships, mean, fit, kl, _terms_of(memberships, problem, settings), never)


class _Noise:
    """Draws of η `(M, B, d, H, W)` in `value`, each image's from its own generator."""

    def __init__(self, problem: Problem, settings: Settings):
        device = problem.image.device
        dimensions = 1 if settings.phases == 2 else settings.phases
        shape = (settings.samples, len(problem.image), dimensions, *problem.image.shape[-2:])
        self.value = torch.empty(shape, device=device)
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in problem.seeds]

    def draw(self) -> None:
        """Put new numbers in the place of the old."""
        for index, generator in enumerate(self.generators):
            self.value[:, index].normal_(generator=generator)


def _balanced(u: Tensor, power: float) -> Tensor:
    """Memberships `(B, N, H, W)` weighted by their phase's area to the power of minus `power`, the total kept."""
    area = u.detach().mean(dim=(2, 3), keepdim=True).clamp(min=0.02)
    weight = area**-power
    return u * weight / (area * weight).sum(dim=1, keepdim=True)


def _state(step, memberships, mean: Tensor, fit: Tensor, kl: Tensor, terms: dict[str, Tensor], settled) -> State:
    """The state with the terms that depend on the networks beside those that depend on u alone."""
    pixels = mean[0, 0].numel()
    of_networks = {"reconstruction": fit / pixels, "region": energy.region(memberships, kl) / pixels}
    return State(step, memberships, mean, of_networks | terms, settled)


def _terms_of(memberships: Tensor, problem: Problem, settings: Settings) -> dict[str, Tensor]:
    """The terms of the energy that u alone decides, per pixel, `(B,)` each."""
    pixels = memberships[0, 0].numel()
    # torch.linalg.vector_norm over this axis takes twenty times as long
    length = energy.gradient(phases.contours(memberships)).square().sum(dim=-3).sqrt() * problem.edges[:, None]
    return {
        "length": settings.nu * length.sum(dim=(1, 2, 3)) / pixels,
        "hint": energy.region(memberships, problem.prior) / pixels,
    }
