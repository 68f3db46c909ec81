"""Algorithms 1 and 2: the deep Chan-Vese model of one image, two-phase or N-phase.

    E = reconstruction + ν · length of the boundary + Σᵢ uᵢ · KL(latent ‖ N(μᵢ, Σᵢ))            (3.15), (4.1)

`iterate` is the loop, a generator of states, so that a progress bar, a figure or a widget can watch it and stop it.
It holds u in one of two ways:

- "gradient", the paper's: fields φ, u = S(φ) or softmax Φ, everything moved by Adam, the length split off and solved
  by shrinkage. Algorithms 1 and 2.
- "exact": with the networks fixed, u is a minimum cut, or with more phases a Potts problem, and `deepcv.labelling`
  finds it. Networks are fitted to u for a few steps, u is solved, and so on until the labels settle.

`deep_chan_vese` does the rest: hint, working size, the loop to its end, the guided filter where asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv import energy, labelling, phases
from deepcv.checks import check_real, check_seed, check_whole
from deepcv.hints import SURENESS, hint_for, surer
from deepcv.images import SMALLEST_SIDE, InputError, as_image, resize, working_shape
from deepcv.networks import ACTIVATIONS, SkipNetwork, UNet
from deepcv.refinement import guided_filter
from deepcv.saliency import NOTICEABLE_NOISE, noise_level
from deepcv.segmentation import Segmentation


@dataclass(frozen=True)
class Settings:
    """Settings of the deep Chan-Vese model; the default is the package's, `paper()` and `released()` the authors'.

    The reasons for the default are measured: see the book's page on the settings and `results/recorded/`.
    """

    phases: int = 2
    """Number of regions N."""
    start: str = "clusters"
    """Where more than two phases start: clusters of "textures" (`textured_memberships`; what `resolve` chooses),
    "clusters" of colour, or "random" as in the paper. Two start from the hint."""
    u_step: str = "exact"
    """"exact" or "gradient"."""
    size: int = 200
    """Longest side, in pixels, at which the model is solved; the mask has the image's size."""

    nu: float = 300.0
    """Weight ν of the length. Beside data terms of ±200 a pixel the paper's 1 has next to no effect."""
    edge_sensitivity: float = 1.0
    """How much the length costs less along the image's edges, as in [6]; 0 is the paper's plain length."""
    penalty: float = 0.1
    """λ of the splitting (gradient step only). The paper gives none; this is the released code's."""
    hint_weight: float = 100.0
    """How much the hint counts beside the networks at every u-step (`hint_prior`), in the units of the KL, whose
    difference between phases reaches 2·latent_mean² = 200. It keeps the rounds from drifting away. 0 is the paper's:
    the hint is only where u starts. With more than two phases a start from "textures" or "clusters" takes the hint's
    place (`start_prior`)."""
    noise_caution: float = 2.0
    """Factor of `hint_weight` for an image whose noise is noticeable (`saliency.NOTICEABLE_NOISE`): there the networks
    have less to tell, while the hint was found in the blurred image. 1 treats all images alike. Chosen on the first 20
    images of Weizmann at σ = 100 and 160 of 255, where 2 gains 0.02 in F; on the embedded photographs it gains 0.01,
    on the composites, whose hints are worse, it loses 0.015."""
    balance: float = 0.75
    """How far the phases are made to weigh the same while networks are fitted: each phase's KL is weighted by its area
    to the power of minus this, so that a small object isn't drowned by the background. 0 is (3.15), 1 the mean over
    each phase, the likelihood ratio without regard to area. Of 0.5, 0.75 and 1 the best in the mean over three sets:
    the first 20 images of Weizmann, 20 training images of Flowers-17, and the embedded ones."""

    latent_mean: float = 10.0
    """μ of the foreground, -μ of the background; with N > 2 phases μᵢ = latent_mean · eᵢ (section 5.1: 10 and 5)."""
    learned_variance: bool = False
    """Whether the encoder gives 𝒢^σ too; the paper fixes it at 1 for single images (5.1)."""
    latent_unit: float = 10.0
    """The networks work in this unit on the latent axis. The model is the same for any; Adam's steps reach ±10 sooner.
    1 is the authors'."""
    samples: int = 1
    """Draws of η a step, M in the Monte-Carlo estimate (Remark 1)."""
    pixel_range: float = 1.0
    """The image is scaled to [0, pixel_range] for reconstruction: how much the unit-variance likelihood weighs."""
    channel_mean: bool = False
    """Mean over channels instead of the sum, as in the released code; for grey the same."""

    architecture: str = "unet"
    """Of encoder and decoder: "unet" [39], or "skip", the deep image prior's network [45] with `levels` of `width`
    channels each."""
    width: int = 8
    """Channels of the networks' first level."""
    levels: int = 0
    """Halvings in the networks; a U-Net with 0 is two 3×3 convolutions, which see colour and texture but can't learn
    the hint's shape by heart."""
    rounds: int = 5
    """Exact step only: how often networks are fitted and u solved, at most."""
    settled: float = 0.003
    """Exact step only: an image is done when a round changes the labels of less than this share of its pixels; 0 goes
    through all rounds."""
    steps: int = 30
    """Adam steps: in the first round for "exact", altogether for "gradient"."""
    more_steps: int = 10
    """Exact step only: Adam steps in each later round, in which the networks go on from where they are."""
    warmup: int = 0
    """Gradient step only: first steps in which φ rests and KL counts confident hint pixels alone, as released."""
    precision: str = "float32"
    """Of the networks' arithmetic, "float32" or "bfloat16"; weights, energies and u are float32 in any case."""
    learning_rate: float = 1e-2
    """Of the networks."""
    learning_rate_phi: float = 1e-1
    """Of φ."""
    relaxation: str = "sigmoid"
    """Of u in the KL term, gradient step only: "sigmoid", or "arctan" as in the released code."""
    sureness: str = "map"
    """How sure the hint is that φ starts from, gradient step only: the "map" itself, the map "sharpened" by a logistic
    about its Otsu threshold, or its "otsu" mask (`hints.surer`)."""
    start_limit: float = 1.0
    """|φ| at the start at most, gradient step only; 1 is the released code's. A hint of 0 or 1 starts at ±4.6."""
    activation: str = "relu"
    """Of the U-Net: "relu"; "celu" with α = 1e-3 as in the released code; "softplus" or "sigmoid", which are smooth as
    Theorem 3.3 asks."""
    guided_radius: int = 0
    """Radius in pixels of the guided filter on the result; 0 leaves it out."""

    def __post_init__(self):
        phases.check_phases(self.phases)
        if self.start not in ("textures", "clusters", "random"):
            raise InputError(f"start is {self.start!r}; it is 'textures', 'clusters' or 'random'")
        if self.u_step not in ("exact", "gradient"):
            raise InputError(f"u_step is {self.u_step!r}; it is 'exact' or 'gradient'")
        if self.architecture not in ("unet", "skip"):
            raise InputError(f"architecture is {self.architecture!r}; it is 'unet' or 'skip'")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}; it is 'float32' or 'bfloat16'")
        if self.relaxation not in ("sigmoid", "arctan"):
            raise InputError(f"relaxation is {self.relaxation!r}; it is 'sigmoid' or 'arctan'")
        if self.sureness not in SURENESS:
            raise InputError(f"sureness is {self.sureness!r}; it is 'map', 'sharpened' or 'otsu'")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation is {self.activation!r}; it is 'relu', 'celu', 'softplus' or 'sigmoid'")
        if self.relaxation == "arctan" and self.u_step == "gradient" and self.phases > 2:
            raise InputError(
                f"relaxation is 'arctan', which is for two phases, and phases is {self.phases}; take 'sigmoid', or the "
                "preset 'paper'"
            )
        least = {"levels": 0, "warmup": 0, "guided_radius": 0, "size": SMALLEST_SIDE}
        least |= dict.fromkeys(("width", "rounds", "steps", "more_steps", "samples"), 1)
        for name, low in least.items():
            check_whole(name, getattr(self, name), low)
        for name in ("nu", "edge_sensitivity", "hint_weight", "noise_caution", "balance", "settled"):
            check_real(name, getattr(self, name))
        for name in ("penalty", "latent_mean", "latent_unit", "pixel_range", "learning_rate", "learning_rate_phi", "start_limit"):
            check_real(name, getattr(self, name), above=True)
        if self.architecture == "skip" and self.levels == 0:
            raise InputError("levels is 0, and architecture 'skip' needs at least 1; the paper has 2 to 5")

    @classmethod
    def paper(cls, **changes) -> Settings:
        """Algorithm 1 as the paper describes it (section 5.1); what it leaves open is as released.

        ν = 1, μ = ±10, unit variance, 4-level U-Nets of width 64 with instance normalisation, Adam at 1e-1 for
        everything, one loop, guided filter. λ, the number of steps and the activation are the released code's. "sRGB
        space" is read as pixels in [0, 1]: with 0..255 the unit-variance likelihood outweighs the KL a hundredfold and
        nothing is gained (`deepcv.experiments.ambiguities`).

        More than two phases start at random, with μᵢ = 5 eᵢ.
        """
        several = {"start": "random", "latent_mean": 5.0} if changes.get("phases", 2) > 2 else {}
        return cls(**(_AUTHORS | {"nu": 1.0, "learning_rate": 1e-1, "pixel_range": 1.0} | several | changes))

    @classmethod
    def released(cls, **changes) -> Settings:
        """The authors' released code: means ∓60, 200 steps of the networks alone, then φ too.

        Deviations of ours: the foreground is at +60 (they put it at -60, which mirrors the latent axis), and ν is 0:
        theirs is 2.5/(H·W) beside data terms in the thousands.
        """
        released = {"nu": 0.0, "latent_mean": 60.0, "warmup": 200, "learning_rate": 1e-3, "relaxation": "arctan"}
        return cls(**(_AUTHORS | released | {"channel_mean": True} | changes))


def idle(settings: Mapping[str, Any]) -> set[str]:
    """Which of all `Settings`, by name, have no effect beside the others."""
    exact = settings["u_step"] == "exact"
    loop = {"penalty", "warmup", "learning_rate_phi", "relaxation", "sureness", "start_limit"}
    other = loop if exact else {"rounds", "settled", "more_steps"}
    other |= {"start"} if settings["phases"] == 2 else {"sureness", "start_limit"}
    return other | ({"activation"} if settings["architecture"] == "skip" else set())


_AUTHORS = {
    "u_step": "gradient",
    "edge_sensitivity": 0.0,
    "hint_weight": 0.0,
    "latent_unit": 1.0,
    "balance": 0.0,
    "pixel_range": 255.0,
    "width": 64,
    "levels": 4,
    "steps": 401,
    "guided_radius": 50,
    "size": 300,
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
    phi = (phases.initial_phi(u[:, 1], settings.start_limit) if two else torch.log(u.clamp(min=1e-2))).clone().requires_grad_()
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


def adam(parameters, learning_rate: float, device: torch.device) -> torch.optim.Optimizer:
    """Adam as one kernel for all parameters, not some ten for each; fit for a CUDA graph."""
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused, capturable=device.type == "cuda")


class Descent:
    """Adam steps on a loss of tensors that keep their place; on a GPU recorded as a CUDA graph, then replayed.

    A step is hundreds of kernels, most so small that a GPU is done before the next is launched; a graph launches all
    of them at once. On a CPU a step is simply taken.

    Parameters
    ----------
    loss : callable
        Gives the losses `(B,)`, and tensors to be handed on.
    optimiser : torch.optim.Optimizer
    image : Tensor
        Whose pixels the loss is a mean over, and whose device is used.
    afterwards : callable, optional
        What else belongs to a step, without gradients.
    changes : sequence of Tensor
        What `afterwards` changes in place.
    """

    def __init__(
        self,
        loss: Callable[[], tuple[Tensor, tuple[Tensor, ...]]],
        optimiser: torch.optim.Optimizer,
        image: Tensor,
        afterwards: Callable[[], None] | None = None,
        changes: Sequence[Tensor] = (),
    ):
        self.loss, self.optimiser, self.image = loss, optimiser, image
        self.afterwards, self.changes = afterwards, changes
        self.graph = self.handed_on = None

    def __call__(self) -> tuple[Tensor, ...]:
        """Take one step and give what the loss hands on."""
        if self.image.device.type != "cuda":
            return self._step()
        if self.graph is None:
            self._record()
        self.graph.replay()
        return tuple(each.clone() for each in self.handed_on)

    def _step(self) -> tuple[Tensor, ...]:
        losses, handed_on = self.loss()
        _descend(self.optimiser, losses, self.image)
        if self.afterwards:
            with torch.no_grad():
                self.afterwards()
        return tuple(each.detach() for each in handed_on)

    def _record(self) -> None:
        """Record a step. The steps that warm up for it leave no trace."""
        parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        changing = [*parameters, *self.changes]
        before = [each.detach().clone() for each in changing]
        moments = [{k: v.clone() for k, v in self.optimiser.state[each].items()} for each in parameters]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.optimiser.zero_grad()  # so that the graph allots the gradients itself
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.handed_on = self._step()
        with torch.no_grad():
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
            for parameter, old in zip(parameters, moments, strict=True):
                for name, moment in self.optimiser.state[parameter].items():
                    moment.copy_(old[name]) if old else moment.zero_()


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, image: Tensor) -> None:
    """One Adam step on the images' losses `(B,)`, per pixel; each image moves its own parameters only."""
    optimiser.zero_grad()
    (loss.sum() / image[0, 0].numel()).backward()
    optimiser.step()


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


def hint_prior(hint: np.ndarray, weight: float) -> np.ndarray:
    """What background and foreground cost where the hint speaks against them, `(2, H, W)`.

    `±(weight/2) · tanh(2.5 (hint - t))` with t the hint's Otsu threshold: nothing where the hint is undecided, at most
    `weight` between the phases. As a factor of the prior p(u) in (3.3) it is the hint's say in every u-step.
    """
    from skimage.filters import threshold_otsu

    belief = weight / 2 * np.tanh(2.5 * (hint - threshold_otsu(hint)))
    return np.stack((belief, -belief)).astype(np.float32)


def initial_memberships(hint: np.ndarray, settings: Settings) -> np.ndarray:
    """Where u starts, `(2, H, W)`: the saliency map, as sure as asked for, or its Otsu threshold for the exact step.

    The exact step wants a mask: networks fitted to a soft map reproduce its doubts.
    """
    u = surer(hint, "otsu" if settings.u_step == "exact" else settings.sureness)
    return np.stack((1 - u, u))


def random_memberships(shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from at random, as the paper does: smooth fields through a softmax.

    The paper says no more than "random". Fields of white noise average out in the length term and leave the phases
    alike, so these are noise of 8×8 cells, enlarged.
    """
    fields = np.random.default_rng(seed).normal(size=(8, 8, count)).astype(np.float32)
    exponential = np.exp(resize(fields, shape).transpose(2, 0, 1))
    return exponential / exponential.sum(axis=0)


def clustered_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from by k-means of the colours of the slightly blurred image.

    From a random start phases often end up empty or alike; from the colours they are at least different. Each pixel
    starts with membership 0.9 in its cluster.

    Raises
    ------
    InputError
        When the image has fewer different colours than phases.
    """
    from scipy.ndimage import gaussian_filter

    _check_colours(image, count)
    return _clustered(gaussian_filter(np.atleast_3d(image), (2, 2, 0)), count, seed)


def textured_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from by k-means of `local_histograms`.

    Regions of one mean but different textures are told apart, at borders only as wide as the window; the u-steps
    sharpen them. Each pixel starts with membership 0.9 in its cluster.

    Raises
    ------
    InputError
        When the image has fewer different colours than phases.
    """
    _check_colours(image, count)
    # neighbours have nearly the same histograms
    return _clustered(local_histograms(image), count, seed, every=max(1, min(image.shape[:2]) // 36))


def local_histograms(image: np.ndarray, bins: int = 8) -> np.ndarray:
    """How colours, edges and their directions are distributed around each pixel, `(H, W, features)`.

    The local spectral histograms of Liu and Wang (IEEE TIP 15, 2006), with small filters of our own: the channels, and
    at two scales the Laplacian of a Gaussian of the brightness and the three entries of the gradient's outer product.
    Each response falls into bins of equal population. The window is a Gaussian, 7 % of the image's shorter side wide.
    The square root makes the Euclidean distance that of Hellinger.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, C)`
    bins : int
    """
    from scipy.ndimage import gaussian_filter, gaussian_laplace

    channels = np.moveaxis(np.atleast_3d(image), 2, 0)
    responses = list(channels)
    for scale in (0.7, 1.4):
        responses.append(gaussian_laplace(channels.mean(axis=0), scale))
        down, across = (
            np.stack([gaussian_filter(each, scale, order=order) for each in channels]) for order in ((1, 0), (0, 1))
        )
        square, other = (down**2).sum(axis=0), (across**2).sum(axis=0)
        responses += [square + other, square - other, (down * across).sum(axis=0)]
    window = 0.07 * min(image.shape[:2])
    features = []
    for response in responses:
        edges = np.quantile(response, np.arange(1, bins) / bins)
        indicators = np.searchsorted(edges, response) == np.arange(bins)[:, None, None]
        features += [gaussian_filter(each.astype(np.float32), window, truncate=2.5) for each in indicators]
    return np.sqrt(np.stack(features, axis=2).clip(min=0))


def _confident(memberships):
    """Where memberships, an array or tensor, are sure of their phase."""
    return (memberships >= 0.9) | (memberships <= 0.1)


def _check_colours(image: np.ndarray, count: int) -> None:
    different = len(np.unique(image.reshape(image.shape[0] * image.shape[1], -1), axis=0))
    if different < count:
        raise InputError(f"the image has {different} different colours, fewer than phases is ({count}); ask for fewer")


def _clustered(features: np.ndarray, count: int, seed: int, every: int = 1) -> np.ndarray:
    """Memberships `(N, H, W)`, 0.9 in a pixel's cluster of the features `(H, W, ·)`; found from a grid of pixels."""
    from sklearn.cluster import KMeans

    dimensions = features.shape[2]
    found = KMeans(count, n_init=4, random_state=seed).fit(features[::every, ::every].reshape(-1, dimensions))
    labels = found.predict(features.reshape(-1, dimensions)).reshape(features.shape[:2])
    start = np.full((count, *labels.shape), 0.1 / (count - 1), np.float32)
    np.put_along_axis(start, labels[None], 0.9, axis=0)
    return start


_STARTS = {"textures": textured_memberships, "clusters": clustered_memberships}


def start_prior(start: np.ndarray, weight: float) -> np.ndarray:
    """What each phase costs where N > 2 phases didn't start as it, `(N, H, W)`, in the sum over phases 0.

    From the memberships `(N, H, W)` of the start; in place of `hint_prior`.
    """
    return weight * (1 / len(start) - (start == start.max(axis=0))).astype(np.float32)


_DEVICES = ("cpu", "cuda", "mps", "xpu")


def torch_device(name: str | None) -> torch.device:
    """The device of that name; by default the GPU when there is one.

    Raises
    ------
    InputError
        When torch doesn't know or doesn't have it.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in _DEVICES:
        raise InputError(f"there is no device {name!r} here; use {', '.join(_DEVICES[:-1])} or {_DEVICES[-1]}")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"there is no device {name!r} here ({reason}); use cpu, or leave it out") from None
    return device


def pose(image: np.ndarray, hint: np.ndarray | None, settings: Settings, seed: int, device: str | None) -> Problem:
    """The problem of one image at its working size.

    Parameters
    ----------
    image, hint : numpy.ndarray
        As `as_image` and `as_hint` return them; the hint is needed with two phases and not used with more.
    settings : Settings
    seed : int
    device : str, optional
        Default the GPU when there is one.
    """
    shape = working_shape(image.shape[:2], settings.size)
    small = np.atleast_3d(resize(image, shape)).transpose(2, 0, 1)
    prior = np.zeros((settings.phases, *shape), np.float32)
    if settings.phases == 2:
        hint = resize(hint, shape)
        start = initial_memberships(hint, settings)
        if settings.warmup and not _confident(start).any():
            raise InputError(
                "no pixel of the hint is above 0.9 or below 0.1, so the first steps would learn nothing; give a surer "
                "hint, or set warmup to 0"
            )
        if settings.hint_weight:
            noisy = noise_level(np.atleast_3d(image)) >= NOTICEABLE_NOISE
            prior = hint_prior(hint, settings.hint_weight * (settings.noise_caution if noisy else 1))
    else:
        if settings.start == "random":
            _check_colours(small.transpose(1, 2, 0), settings.phases)
            start = random_memberships(shape, settings.phases, seed)
        else:
            start = _STARTS[settings.start](resize(image, shape), settings.phases, seed)
            prior = start_prior(start, settings.hint_weight)
        if settings.u_step == "exact":
            start = (start == start.max(axis=0)).astype(np.float32)
    target = torch_device(device)
    image, start, prior = (
        torch.from_numpy(np.ascontiguousarray(each))[None].to(target) for each in (small, start, prior)
    )
    return Problem(image, start, edge_weights(image, settings.edge_sensitivity), prior, [seed])


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
        than two phases it is not used.
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
        changed, one value an Adam step. With more than two phases `settings["empty"]` lists those without a pixel.

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
    hints = None if hint is None else [hint]
    [found] = deep_chan_vese_batch([image], hints, seeds=[seed], device=device, progress=progress, **settings)
    return found


def deep_chan_vese_batch(
    images: Sequence,
    hints: Sequence | None = None,
    *,
    seeds: Sequence[int],
    device: str | None = None,
    progress: bool = False,
    **settings,
) -> list[Segmentation]:
    """Segment many images side by side; those of one working size are solved as one stack of independent networks.

    For a GPU, which one image alone leaves idle. On a CPU a batch gains little, and more in processes of their own
    (`deepcv.execution`).

    Parameters
    ----------
    images : sequence of array_like, `(H, W)` or `(H, W, 3)`
        As `deep_chan_vese` takes them, of any sizes. All of one working size are in memory at once.
    hints : sequence of array_like `(H, W)` or None, optional
        One for each image; the saliency where there is none.
    seeds : sequence of int
        One for each image. Give an image several times with different seeds to solve it as often.
    device, progress, settings
        As in `deep_chan_vese`.

    Returns
    -------
    list of Segmentation
        In the order of the images; `seconds` is an image's share of its group's time. The same masks as one by one
        but for rounding, which Adam amplifies: less than 1 % of the pixels differ.

    Raises
    ------
    InputError
        As `deep_chan_vese` does, and when there are not as many hints or seeds as images.
    """
    settings = resolve(settings)
    images, hints = checked_batch(images, hints, seeds)
    if settings.phases == 2:
        hints = [hint_for(image, hint) for image, hint in zip(images, hints, strict=True)]
    alike: dict[tuple, list[int]] = {}
    for index, image in enumerate(images):
        alike.setdefault((working_shape(image.shape[:2], settings.size), image.ndim), []).append(index)
    found: list[Segmentation | None] = [None] * len(images)
    for indices in alike.values():
        start = time.perf_counter()
        posed = [pose(images[index], hints[index], settings, seeds[index], device) for index in indices]
        memberships, traces = _solve(side_by_side(posed), settings, progress)
        segmentations = [
            at_full_size(images[index], each, settings) for index, each in zip(indices, memberships, strict=True)
        ]
        seconds = (time.perf_counter() - start) / len(indices)
        for index, segmentation, trace in zip(indices, segmentations, traces, strict=True):
            labels = segmentation.argmax(0).astype(np.uint8)
            ran_with = dataclasses.asdict(settings) | {"seed": seeds[index]}
            if settings.phases > 2:
                ran_with["empty"] = sorted(set(range(settings.phases)) - set(np.unique(labels).tolist()))
            found[index] = Segmentation(
                labels=labels,
                memberships=segmentation,
                trace=trace,
                seconds=seconds,
                method="deep-cv",
                settings=ran_with,
            )
    return found


def checked_batch(images: Sequence, hints: Sequence | None, seeds: Sequence[int]) -> tuple[list[np.ndarray], Sequence]:
    """The images as `as_image` gives them, and a hint or None for each.

    Raises
    ------
    InputError
        For an image or seed that can't be used, or when there are not as many hints or seeds as images.
    """
    hints = [None] * len(images) if hints is None else hints
    for name, given in (("hints", hints), ("seeds", seeds)):
        if len(given) != len(images):
            raise InputError(f"there are {len(given)} {name} for {len(images)} images; give one for each")
    for seed in seeds:
        check_seed(seed)
    return [as_image(image) for image in images], hints


def side_by_side(problems: Sequence) -> NamedTuple:
    """The problems of single images as one of their kind: a named tuple of tensors `(B, ...)`, and last the seeds."""
    *tensors, seeds = zip(*problems, strict=True)
    return type(problems[0])(*map(torch.cat, tensors), [seed for each in seeds for seed in each])


def traces_of(steps: dict[str, list[Tensor]], lengths: Sequence[int]) -> list[dict[str, list[float]]]:
    """Each image's trace from values `(B,)` of each step: as many of the first steps as the image took."""
    columns = {name: torch.stack(values, dim=1).tolist() for name, values in steps.items()}
    return [{name: column[index][:length] for name, column in columns.items()} for index, length in enumerate(lengths)]


def _solve(problem: Problem, settings: Settings, progress: bool) -> tuple[np.ndarray, list[dict[str, list[float]]]]:
    """Run the loop to its end: memberships `(B, N, H, W)`, and each image's trace."""
    before = problem.memberships
    unchanged = torch.zeros(len(before), device=before.device)
    trace: dict[str, list[Tensor]] = {}
    unsettled = []
    for state in _watched(iterate(problem, settings), settings, progress):
        changed = unchanged
        if state.memberships is not before:
            changed = (state.memberships.argmax(1) != before.argmax(1)).float().mean(dim=(1, 2))
        before = state.memberships
        unsettled.append(~state.settled)
        for name, value in (*state.energy.items(), ("changed", changed)):
            trace.setdefault(name, []).append(value)
    # an image's trace ends with the step that settles it, even if its neighbours go on
    lengths = (torch.stack(unsettled).sum(dim=0) + 1).tolist()
    return before.cpu().numpy(), traces_of(trace, lengths)


def at_full_size(image: np.ndarray, memberships: np.ndarray, settings: Settings) -> np.ndarray:
    """Memberships `(N, h, w)` at the image's size, filtered where asked for, `(N, H, W)` in [0, 1]."""
    memberships = np.atleast_3d(resize(memberships.transpose(1, 2, 0), image.shape[:2])).transpose(2, 0, 1)
    if settings.guided_radius:
        memberships = np.stack([guided_filter(image, each, radius=settings.guided_radius) for each in memberships])
        memberships = np.clip(memberships, 0, 1)
        # the filter is linear, so they sum to 1 but for its single precision, which is felt where windows are flat
        return memberships / memberships.sum(axis=0).clip(min=np.finfo(np.float32).tiny)
    return np.clip(memberships, 0, 1)


def resolve(given: dict) -> Settings:
    """The settings for what differs from the default, by name.

    More than two phases bring settings of their own, with u_step "gradient" the paper's (section 5.1).

    Raises
    ------
    InputError
        For an unknown setting or one out of range.
    """
    known = {field.name for field in dataclasses.fields(Settings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InputError(f"there is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if given.get("phases", 2) > 2:
        given = {**(_GRADIENT_PHASES if given.get("u_step") == "gradient" else _EXACT_PHASES), **given}
    return Settings(**given)


# ν, the start's weight and its histograms were chosen on mean-bands, mean-cells, modes-cells, modes-nested,
# texture-bands, texture-cells and texture-nested of `deepcv.data.regions`, and on others of the same textures;
# ν counts each boundary twice, and the KL of two phases differs by 25 at most.
_EXACT_PHASES = {
    "start": "textures",
    "latent_mean": 5.0,
    "latent_unit": 5.0,
    "nu": 20.0,
    "hint_weight": 4.0,
}

_GRADIENT_PHASES = {
    "start": "random",
    "latent_mean": 5.0,
    "latent_unit": 5.0,
    "nu": 1.0,
    "edge_sensitivity": 0.0,
    "hint_weight": 0.0,
    "balance": 0.0,
    "levels": 2,
    "steps": 150,
    "size": 160,
}


def _watched(states: Iterator[State], settings: Settings, progress: bool) -> Iterator[State]:
    from tqdm.auto import tqdm

    more = settings.more_steps * (settings.rounds - 1) if settings.u_step == "exact" else 0
    with tqdm(total=settings.steps + more, desc="deep Chan-Vese", unit="step", disable=not progress) as bar:
        for state in states:
            yield state
            bar.update()
        bar.total = bar.n  # labels may settle early
        bar.refresh()
