"""ReDO [13]: a mask network trained on a collection; redrawing an object must leave a plausible image.

The mask network divides an image into two regions. A generator redraws one region at a time from a random vector z; the
other is kept. A discriminator tells the result from photographs. An encoder recovers both z from the image with both
regions redrawn, so that the generators can't ignore z and no region can be empty. Which of the two regions is the
object remains open.

After Chen, Artières and Denoyer (NeurIPS 2019, arXiv:1905.13539): networks, losses and settings are those of the
authors' code (github.com/mickaelChen/ReDO) with its command for flowers. As there on a GPU, weights are orthogonal only
in layers without spectral normalisation.

Deviations from that code:

- the discriminator sees the photographs of the step before, in an epoch's first step those that are redrawn; theirs,
  a batch drawn independently;
- the number of residual blocks and the width vary, for images of 32 to 128 pixels per side, to run without a GPU;
- photographs are averaged where they are reduced, as for all methods; theirs takes the nearest pixels;
- training restarts after `patience` collapsed epochs, at any time; theirs, if asked to, in the first 7000 iterations. A
  run counts as collapsed by the smaller side of each thresholded mask, theirs by the mean membership of a batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.checks import Checked, Count, NonNegative, Rate, Width, at_least, between
from deepcv.model.networks import MaskNetwork, make_orthogonal

_SMALLEST = 4  # side of the generator's first feature map


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of ReDO; the defaults are those of the authors' code for flowers."""

    size: Literal[32, 64, 128] = 128
    """Side of the square images."""
    width: Width = 64
    """Fewest channels in discriminator and encoder."""
    generator_width: Width = 32
    """Fewest channels in the generators."""
    mask_width: Width = 16
    """Fewest channels in the mask network."""
    latent: Count = 32
    """Dimension of z."""
    epochs: Count = 600
    """30,000 iterations on a thousand images; the authors stop at 20 to 40 thousand, their code by itself at 50."""
    batch: Count = 20
    """Images per iteration."""
    learning_rate: Rate = 1e-4
    """Of generators, discriminator and encoder (Adam, betas 0 and 0.9)."""
    decay: bool = False
    """Whether the learning rates decay to zero on a cosine schedule."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks' arithmetic."""
    mask_learning_rate: Rate = 1e-5
    """Of the mask network; at a higher rate it collapses more often."""
    mask_decay: NonNegative = 1e-4
    """Weight decay of the mask network."""
    latent_weight: NonNegative = 5.0
    """Weight of recovering z."""
    least_area: Annotated[float, between(0, 0.5)] = 0.1
    """A run has collapsed if the smaller region covers less than this share of an image on average."""
    patience: Count = 2
    """Training restarts with another seed after this many collapsed epochs in a row."""
    restarts: Annotated[int, at_least(0)] = 3
    """Maximum number of restarts. The original collapses in about a third of its runs."""

    def conflicts(self) -> Iterator[str]:
        if self.width % 8 or self.mask_width % 4:
            yield f"width is {self.width} and mask_width {self.mask_width}; choose multiples of 8 and of 4"

    @property
    def doublings(self) -> int:
        """How often the side doubles from the generator's first feature map to the image."""
        return int(math.log2(self.size // _SMALLEST))

    def channels(self, fewest: int) -> list[int]:
        """Channels of feature maps, smallest map first; 16 times `fewest` at most."""
        return [fewest * min(16, 2 ** (self.doublings - level)) for level in range(self.doublings + 1)]


class ConditionalInstanceNorm(nn.Module):
    """Instance normalisation of x, `(B, C, H, W)`, with scale and shift from z, `(B, latent)`."""

    def __init__(self, channels: int, latent: int):
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.scale, self.shift = (nn.Linear(latent, channels) for _ in range(2))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.norm(x) * self.scale(z)[..., None, None] + self.shift(z)[..., None, None]


class SelfAttention(nn.Module):
    """Self-attention over pixels as in SAGAN, initially the identity."""

    def __init__(self, channels: int):
        super().__init__()

        def convolution(inputs: int, outputs: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False))

        few, half = max(1, channels // 8), channels // 2
        self.query, self.key, self.value = (convolution(channels, outputs) for outputs in (few, few, half))
        self.exit = convolution(half, channels)
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)  # (B, HW, C/8)
        key, value = (F.max_pool2d(each(x), 2).flatten(2).transpose(1, 2) for each in (self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, HW, C/2)
        return x + self.weight * self.exit(seen.transpose(1, 2).unflatten(2, x.shape[-2:]))


class GeneratorBlock(nn.Module):
    """Residual block that doubles the side; its normalisations depend on z, and the region's mask joins after one."""

    def __init__(self, inputs: int, outputs: int, latent: int):
        super().__init__()
        self.norms = nn.ModuleList(ConditionalInstanceNorm(channels, latent) for channels in (inputs, outputs))
        self.first = spectral_norm(nn.Conv2d(inputs + 1, outputs, 3, padding=1, bias=False))
        self.second = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.across = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        above = F.interpolate(_joined(F.relu(self.norms[0](x, z)), mask), scale_factor=2)
        above = self.second(F.relu(self.norms[1](self.first(above), z)))
        return above + F.interpolate(self.across(x), scale_factor=2)


def _joined(x: Tensor, mask: Tensor) -> Tensor:
    """Features, and the mask reduced to their size as another channel."""
    return torch.cat((x, F.adaptive_avg_pool2d(mask, (x.shape[-2], x.shape[-1]))), dim=1)


class Generator(nn.Module):
    """Redraws a region: mask `(B, 1, H, W)` and z `(B, latent)` to `(B, 3, H, W)` in [-1, 1], 0 outside."""

    def __init__(self, settings: Settings):
        super().__init__()
        channels, latent = settings.channels(settings.generator_width), settings.latent
        self.enter = nn.Linear(latent, channels[0] * _SMALLEST**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(before, after, latent) for before, after in itertools.pairwise(channels)
        )
        self.attention = SelfAttention(channels[-2])
        self.norm = ConditionalInstanceNorm(channels[-1], latent)
        self.exit = spectral_norm(nn.Conv2d(channels[-1] + 1, 3, 3, padding=1))
        make_orthogonal(self)

    def forward(self, mask: Tensor, z: Tensor) -> Tensor:
        x = self.enter(z).unflatten(1, (-1, _SMALLEST, _SMALLEST))
        *first, last = self.blocks
        for block in first:
            x = block(x, mask, z)
        x = last(self.attention(x), mask, z)
        return torch.tanh(self.exit(_joined(F.relu(self.norm(x, z)), mask))) * mask


class Critic(nn.Module):
    """Discriminator, or encoder of z: `(B, 3, H, W)`, halved down to 4 × 4, to `(B, outputs)`."""

    def __init__(self, settings: Settings, outputs: int, *, attention: bool):
        super().__init__()
        channels = [3, *reversed(settings.channels(settings.width)[1:])]
        blocks: list[nn.Module] = [CriticBlock(*channels[:2], first=True)]
        blocks += [SelfAttention(channels[1])] if attention else []
        blocks += [CriticBlock(before, after) for before, after in itertools.pairwise(channels[1:])]
        self.blocks = nn.Sequential(*blocks, CriticBlock(channels[-1], channels[-1], last=True))
        self.exit = nn.Linear(channels[-1], outputs)
        make_orthogonal(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.exit(self.blocks(image).sum(dim=(2, 3)))


class CriticBlock(nn.Module):
    """Residual block of two convolutions; all but the last halve the side."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False):
        super().__init__()
        self.first, self.last = first, last
        self.one = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.two = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.across = nn.Identity() if last else spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        above = self.two(F.relu(self.one(x if self.first else F.relu(x))))
        return above + x if self.last else F.avg_pool2d(above, 2) + self.across(F.avg_pool2d(x, 2))


class Model(nn.Module):
    """The networks of ReDO and one iteration, for `deepcv.amortized.training.train`; `mask` is the network kept.

    All initial weights are drawn from `seed`.
    """

    def __init__(self, settings: Settings, seed: int = 0):
        super().__init__()
        self.settings = settings
        self._before: Tensor | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mask = MaskNetwork(settings.mask_width)
            self.generators = nn.ModuleList(Generator(settings) for _ in range(2))
            self.encoder = Critic(settings, 2 * settings.latent, attention=False)
            self.discriminator = Critic(settings, 1, attention=True)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for mask network, generators and encoder, one for the discriminator."""
        settings = self.settings
        common: dict[str, Any] = {"lr": settings.learning_rate, "betas": (0.0, 0.9)}
        slow: dict[str, Any] = {"lr": settings.mask_learning_rate, "weight_decay": settings.mask_decay}
        drawing: list[dict[str, Any]] = [
            {"params": list(self.mask.parameters()), **slow},
            {"params": [*self.generators.parameters(), *self.encoder.parameters()]},
        ]
        return {
            "drawing": torch.optim.Adam(drawing, **common),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), **common),
        }

    def memberships(self, x: Tensor) -> Tensor:
        """Memberships of the first region: `(B, 3, S, S)` in [-1, 1] to `(B, S, S)` in [0, 1]."""
        return self.mask(x)[:, 0].float()

    def train(self, mode: bool = True) -> Model:
        """As of every network; it also forgets the photographs of the step before, which a resumed run doesn't have."""
        self._before = None
        return super().train(mode)

    def step(self, images: Tensor, hints: None, descend, noise, generator) -> dict[str, Tensor]:
        """One iteration, as `deepcv.amortized.model.Model.step`: the networks that draw, then the discriminator."""
        x = as_input(images)
        z = torch.stack([noise((self.settings.latent,)) for _ in self.generators])
        losses = generator_losses(self, x, z)
        descend("drawing", losses.adversary + losses.latent)
        judged = discriminator_loss(self, x, z, x if self._before is None else as_input(self._before))
        descend("discriminator", judged)
        self._before = images
        return {name: loss.detach() for name, loss in losses._asdict().items()} | {"discriminator": judged.detach()}

    def as_segmenter(self, foreground: int, card: Mapping) -> Segmenter:
        """The mask network with its current weights, ready for use."""
        architecture = {"kind": "redo", "width": self.settings.mask_width}
        return Segmenter(self.mask, architecture, self.settings.size, foreground, card)


class Redrawn(NamedTuple):
    """The `regions` that the generators draw, 0 outside, and `images` with one of them each: `(2, B, 3, H, W)`."""

    regions: Tensor
    images: Tensor


def redrawn(generators: Iterable[nn.Module], image: Tensor, mask: Tensor, z: Tensor) -> Redrawn:
    """Redraw each region and keep the other.

    For images `(B, 3, H, W)` in [-1, 1], memberships of the first region `(B, 1, H, W)`, and z `(2, B, latent)`.
    """
    masks = torch.stack((mask, 1 - mask))
    regions = torch.stack([generator(*part) for generator, *part in zip(generators, masks, z, strict=True)])
    return Redrawn(regions, regions + (1 - masks) * image)


class Losses(NamedTuple):
    """Scalars of an iteration: `adversary`, weighted `latent`, and `area` of the smaller region."""

    adversary: Tensor
    latent: Tensor
    area: Tensor


def generator_losses(model: Model, image: Tensor, z: Tensor) -> Losses:
    """The losses of mask network, generators and encoder, which minimise the sum of the first two.

    For images `(B, 3, H, W)` in [-1, 1] and z `(2, B, latent)`, standard normal, one per region.
    """
    mask = model.mask(image)
    drawn = redrawn(model.generators, image, mask, z)
    adversary = -model.discriminator(drawn.images.flatten(0, 1)).mean()
    found = model.encoder(drawn.regions.sum(dim=0)).unflatten(1, (2, -1)).transpose(0, 1)
    latent = model.settings.latent_weight * (found - z).square().mean()
    area = mask.detach().mean()
    return Losses(adversary, latent, torch.minimum(area, 1 - area))


def discriminator_loss(model: Model, image: Tensor, z: Tensor, photographs: Tensor) -> Tensor:
    """Hinge loss of the discriminator, a scalar: photographs against images with one region redrawn."""
    with torch.no_grad():
        drawn = redrawn(model.generators, image, model.mask(image), z).images.flatten(0, 1)
    return F.relu(1 - model.discriminator(photographs)).mean() + F.relu(1 + model.discriminator(drawn)).mean()
