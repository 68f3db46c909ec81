"""ReDO [13]: a mask network trained on a collection; redrawing an object must leave a plausible image.

The mask network divides an image into two regions. A generator redraws one region at a time from a random vector z; the
other is kept. A discriminator tells the result from photographs, and an encoder recovers z from it, so that the
generator can't ignore z and no region can be empty. Which of the two regions is the object remains open.

After Chen, Artières and Denoyer (NeurIPS 2019, arXiv:1905.13539), with the settings of the authors' code
(github.com/mickaelChen/ReDO) and the kinds of networks: residual ones as in SAGAN, spectral normalisation, orthogonal
weights, conditional instance normalisation, hinge loss.

Deviations from that code:

- the encoder finds a region's z in the image with this region redrawn; theirs, in one with both redrawn;
- the discriminator sees the photographs that are redrawn; theirs, another batch;
- the generators have no self-attention, and normalise the mask with the features that it joins; theirs joins after
  the normalisation. The last normalisation doesn't depend on z;
- the discriminator has its self-attention a block later. It and the encoder lack the last block, which keeps the side,
  and have a ReLU before the sum over pixels and spectral normalisation in the last layer;
- the mask network normalises within its residual blocks only, and its pyramid has `mask_width` channels at each scale,
  with ReLU, instead of one without;
- the number of residual blocks and the width vary, for images of 32 to 128 pixels per side, to run without a GPU.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
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
    """Fewest channels in generators, discriminator and encoder."""
    mask_width: Width = 16
    """Fewest channels in the mask network."""
    latent: Count = 32
    """Dimension of z."""
    epochs: Count = 600
    """30 000 iterations on a thousand images; the authors' runs take 20 to 40 thousand."""
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

    def channels(self) -> list[int]:
        """Channels of the generator's feature maps, smallest map first; 16 times `width` at most."""
        return [self.width * min(16, 2 ** (self.doublings - level)) for level in range(self.doublings + 1)]


class ConditionalInstanceNorm(nn.Module):
    """Instance normalisation of x, `(B, C, H, W)`, with scale and shift from z, `(B, latent)`."""

    def __init__(self, channels: int, latent: int):
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.affine = nn.Linear(latent, 2 * channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.affine(z)[..., None, None].chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class GeneratorBlock(nn.Module):
    """Doubles the side; its input includes the region's mask, and its normalisations depend on z."""

    def __init__(self, inputs: int, outputs: int, latent: int):
        super().__init__()
        self.norms = nn.ModuleList(ConditionalInstanceNorm(channels, latent) for channels in (inputs + 1, outputs))
        self.first = spectral_norm(nn.Conv2d(inputs + 1, outputs, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.across = spectral_norm(nn.Conv2d(inputs + 1, outputs, 1))

    def forward(self, x: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        x = torch.cat((x, F.adaptive_avg_pool2d(mask, (x.shape[-2], x.shape[-1]))), dim=1)
        above = F.interpolate(F.relu(self.norms[0](x, z)), scale_factor=2)
        above = self.second(F.relu(self.norms[1](self.first(above), z)))
        return above + self.across(F.interpolate(x, scale_factor=2))


class Generator(nn.Module):
    """Redraws a region: mask `(B, 1, H, W)` and z `(B, latent)` to `(B, 3, H, W)` in [-1, 1], 0 outside."""

    def __init__(self, settings: Settings):
        super().__init__()
        channels = settings.channels()
        self.enter = nn.Linear(settings.latent, channels[0] * _SMALLEST**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(before, after, settings.latent) for before, after in itertools.pairwise(channels)
        )
        self.norm = nn.InstanceNorm2d(channels[-1] + 1, affine=True)
        self.exit = spectral_norm(nn.Conv2d(channels[-1] + 1, 3, 3, padding=1))
        make_orthogonal(self)

    def forward(self, mask: Tensor, z: Tensor) -> Tensor:
        x = self.enter(z).unflatten(1, (-1, _SMALLEST, _SMALLEST))
        for block in self.blocks:
            x = block(x, mask, z)
        x = F.relu(self.norm(torch.cat((x, mask), dim=1)))
        return torch.tanh(self.exit(x)) * mask


class SelfAttention(nn.Module):
    """Self-attention over pixels as in SAGAN, initially the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.query, self.key = (spectral_norm(nn.Conv2d(channels, channels // 8, 1)) for _ in range(2))
        self.value = spectral_norm(nn.Conv2d(channels, channels // 2, 1))
        self.exit = spectral_norm(nn.Conv2d(channels // 2, channels, 1))
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)  # (B, HW, C/8)
        key, value = (F.max_pool2d(each(x), 2).flatten(2).transpose(1, 2) for each in (self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, HW, C/2)
        return x + self.weight * self.exit(seen.transpose(1, 2).unflatten(2, x.shape[-2:]))


class Critic(nn.Module):
    """Discriminator, or encoder of z: `(B, 3, H, W)`, halved down to 4 × 4, to `(B, outputs)`."""

    def __init__(self, settings: Settings, outputs: int, *, attention: bool):
        super().__init__()
        channels = [3, *reversed(settings.channels()[1:])]
        blocks: list[nn.Module] = []
        for index, (before, after) in enumerate(itertools.pairwise(channels)):
            blocks.append(CriticBlock(before, after, first=index == 0))
            if attention and index == 1:
                blocks.append(SelfAttention(after))
        self.blocks = nn.Sequential(*blocks)
        self.exit = spectral_norm(nn.Linear(channels[-1], outputs))
        make_orthogonal(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.exit(F.relu(self.blocks(image)).sum(dim=(2, 3)))


class CriticBlock(nn.Module):
    """Residual block of two convolutions that halves the side."""

    def __init__(self, inputs: int, outputs: int, *, first: bool):
        super().__init__()
        self.first = first
        self.one = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.two = spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.across = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        above = self.two(F.relu(self.one(x if self.first else F.relu(x))))
        return F.avg_pool2d(above + self.across(x), 2)


class Model(nn.Module):
    """The networks of ReDO and one iteration, for `deepcv.amortized.training.train`; `mask` is the network kept.

    All initial weights are drawn from `seed`.
    """

    def __init__(self, settings: Settings, seed: int = 0):
        super().__init__()
        self.settings = settings
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

    def step(self, images: Tensor, hints: None, descend, noise, generator) -> dict[str, Tensor]:
        """One iteration, as `deepcv.amortized.model.Model.step`: the networks that draw, then the discriminator."""
        x = as_input(images)
        losses = generator_losses(self, x, self._draw(noise))
        descend("drawing", losses.adversary + losses.latent)
        judged = discriminator_loss(self, x, self._draw(noise))
        descend("discriminator", judged)
        return {name: loss.detach() for name, loss in losses._asdict().items()} | {"discriminator": judged.detach()}

    def _draw(self, noise) -> Tensor:
        return torch.stack([noise((self.settings.latent,)) for _ in self.generators])

    def as_segmenter(self, foreground: int, card: Mapping) -> Segmenter:
        """The mask network with its current weights, ready for use."""
        architecture = {"kind": "redo", "width": self.settings.mask_width}
        return Segmenter(self.mask, architecture, self.settings.size, foreground, card)


def redrawn(image: Tensor, mask: Tensor, generator: nn.Module, z: Tensor) -> Tensor:
    """The image with the mask's region redrawn and the rest kept, `(B, 3, H, W)`."""
    return generator(mask, z) + (1 - mask) * image


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
    memberships = mask, 1 - mask
    adversary = latent = torch.zeros((), device=image.device)
    for index, (region, generator) in enumerate(zip(memberships, model.generators, strict=True)):
        drawn = redrawn(image, region, generator, z[index])
        adversary = adversary - model.discriminator(drawn).mean()
        found = model.encoder(drawn).unflatten(1, (2, -1))[:, index]
        latent = latent + model.settings.latent_weight * (found - z[index]).square().mean()
    area = torch.stack([region.detach().mean() for region in memberships]).min()
    return Losses(adversary, latent, area)


def discriminator_loss(model: Model, image: Tensor, z: Tensor) -> Tensor:
    """Hinge loss of the discriminator, a scalar: photographs against themselves with one region redrawn."""
    with torch.no_grad():
        mask = model.mask(image)
        parts = zip((mask, 1 - mask), model.generators, z, strict=True)
        drawn = [redrawn(image, *part) for part in parts]
    real = F.relu(1 - model.discriminator(image)).mean()
    return real + sum(F.relu(1 + model.discriminator(each)).mean() for each in drawn) / len(drawn)
