"""Algorithm 3: a network U, trained on a collection of unlabelled images, that segments new ones in one pass.

    E(U, F, G) = Σ over images of  reconstruction + Σₓ U(I)ₓ KL₁ₓ + (1 - U(I)ₓ) KL₂ₓ + R(U(I))            (4.9)

G encodes an image as a latent image with one number per pixel, and F decodes it. R regularises U: augmentation
invariance (4.10), and conservation of region information (4.11)-(4.12), where a discriminator D tells real images from
decoded ones that are all foreground or all background. `Model` holds the networks and one iteration,
`deepcv.amortized.training` the loop; `Segmenter` is U alone, ready for use.

Deviation: the paper starts U at random; here R may also contain a cross-entropy to hints, masks that another method
found in each training image without labels.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.amortized.settings import Settings
from deepcv.model import energy
from deepcv.model.networks import Discriminator, UNet
from deepcv.model.phases import latent_prior


@dataclass(frozen=True)
class Augmentation:
    """The operator 𝒪 of (4.10): `turns` quarter turns, then a horizontal flip if `flipped`."""

    turns: int
    flipped: bool

    @classmethod
    def draw(cls, generator: torch.Generator) -> Augmentation:
        """One of the three rotations, with or without a flip."""
        chosen = int(torch.randint(6, (), generator=generator))
        return cls(turns=1 + chosen // 2, flipped=chosen % 2 == 1)

    def __call__(self, x: Tensor) -> Tensor:
        """`(..., S, S)` to the same shape."""
        x = torch.rot90(x, self.turns, dims=(-2, -1))
        return x.flip(-1) if self.flipped else x


TURN, VIEW, SHIFT, COLOUR = math.radians(15), (0.7, 1.15), 0.05, 0.3
"""Limits of `distorted` at strength 1: angle in radians; side of the view and shift, as shares of the image's side;
relative change of brightness, contrast and saturation. A symmetric VIEW, (3/4, 4/3), loses most of the gain."""


def distorted(x: Tensor, hints: Tensor | None, drawn: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Random views of images and their hints, the images with other colours; returned like `x` and `hints`.

    Parameters
    ----------
    x : Tensor, `(B, 3, S, S)`, in [-1, 1]
    hints : Tensor, `(B, S, S)`, in [0, 1], or None
    drawn : Tensor, `(B, 8)`, in [0, 1]
        Per image: the view's side; angle, shift across and down, brightness, contrast and saturation, where 1/2 is
        neutral; the last flips left and right above 1/2.
    strength : float, at least 0
        Factor on `TURN`, `VIEW`, `SHIFT` and `COLOUR`. Beyond its edges the image is mirrored.
    """
    turn, across, down, *colours = (strength * (2 * drawn[:, 1:7] - 1)).unbind(1)
    least, most = (strength * math.log(side) for side in VIEW)
    side = (least + (most - least) * drawn[:, 0]).exp()
    cosine, sine = side * (TURN * turn).cos(), side * (TURN * turn).sin()
    across, down = 2 * SHIFT * across, 2 * SHIFT * down  # coordinates run from -1 to 1
    mirror = torch.where(drawn[:, 7] > 0.5, -1.0, 1.0)
    affine = torch.stack((mirror * cosine, -sine, across, mirror * sine, cosine, down), dim=1).unflatten(1, (2, 3))
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)

    def seen(image: Tensor) -> Tensor:
        return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)

    brightness, contrast, saturation = (1 + COLOUR * each[:, None, None, None] for each in colours)
    light = brightness * (seen(x) + 1) / 2
    light = light.mean((1, 2, 3), keepdim=True).lerp(light, contrast)
    light = light.mean(1, keepdim=True).lerp(light, saturation)
    return 2 * light.clamp(0, 1) - 1, None if hints is None else seen(hints[:, None])[:, 0]


class Model(nn.Module):
    """The networks of Algorithm 3; all initial weights are drawn from `seed`."""

    def __init__(self, settings: Settings, seed: int):
        super().__init__()
        self.settings = settings
        self.prior = latent_prior(2, settings.latent_mean)
        unet: dict[str, Any] = {"levels": settings.levels, "shared": True}
        seeds = iter(range(10 * seed, 10 * seed + 6))
        self.segmenter = UNet(3, 1, width=settings.width, seeds=[next(seeds)], **unet)
        unet["width"] = settings.model_width
        outputs = (1, 1) if settings.separate_encoders else (2,)
        self.encoders = nn.ModuleList(UNet(3, out, seeds=[next(seeds)], **unet) for out in outputs)
        decoders = 1 + settings.separate_decoders
        self.decoders = nn.ModuleList(UNet(1, 3, seeds=[next(seeds)], **unet) for _ in range(decoders))
        levels = min(5, settings.size.bit_length() - 2)
        self.discriminator = Discriminator(width=settings.discriminator_width, levels=levels, seed=next(seeds))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam per step of an iteration."""
        settings = self.settings
        groups = {"model": [self.segmenter, *self.encoders, *self.decoders]}
        if settings.conservation:
            groups["discriminator"] = [self.discriminator]
        if not settings.joint:
            groups |= {name: [self.segmenter] for name in ("invariance", "conservation") if getattr(settings, name)}
        return {
            name: torch.optim.Adam([p for net in networks for p in net.parameters()], lr=settings.learning_rate)
            for name, networks in groups.items()
        }

    # --- the terms ----------------------------------------------------------------------------------------------------

    def memberships(self, x: Tensor) -> Tensor:
        """U(I), `(B, 3, S, S)` to `(B, S, S)` in [0, 1]."""
        return self.logits(x).sigmoid()

    def logits(self, x: Tensor) -> Tensor:
        return self.segmenter(x)[:, 0].float()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """𝒢(I), `(B, 3, S, S)` to mean and variance of the latent image, each `(B, 1, S, S)`."""
        mean, log_variance = torch.cat([encoder(x) for encoder in self.encoders], dim=1).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10).exp()  # the KL is infinite at variance 0

    def decode(self, z: Tensor, u: Tensor) -> Tensor:
        """ℱ(z), a latent image `(B, 1, S, S)` and memberships `(B, S, S)` to `(B, 3, S, S)`.

        Memberships matter for separate decoders only: u mixes their outputs. How the released code mixes them is
        unknown.
        """
        if len(self.decoders) == 1:
            return self.decoders[0](z).float()
        u = u[:, None]
        foreground, background = self.decoders
        return u * foreground(u * z).float() + (1 - u) * background((1 - u) * z).float()

    def elbo_loss(self, x: Tensor, u: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL of (4.9), means over pixels and images where the paper sums.

        `Settings.conservation_weight` says what that means for (4.12).
        """
        mean, variance = self.encode(x)
        decoded = energy.reconstruction(lambda z: self.decode(z, u), mean, variance, x, noise[None])
        kl = energy.gaussian_kl(mean, variance, self.prior.mean, self.prior.variance)
        region = energy.region(torch.stack((1 - u, u), dim=1), kl)
        reconstruction = decoded / (x[0].numel() if self.settings.channel_mean else x[0, 0].numel())
        return reconstruction.mean(), (region / x[0, 0].numel()).mean()

    def invariance_loss(self, x: Tensor, u: Tensor, augmentation: Augmentation) -> Tensor:
        """(4.10), a mean over pixels, with the target 𝒪(U(I)) held fixed.

        The second term of the paper's formula has the wrong sign; this is the binary cross-entropy that it names.
        """
        return F.binary_cross_entropy_with_logits(self.logits(augmentation(x)), augmentation(u).detach())

    def discriminator_loss(self, x: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """(4.11), a mean over images, with latent images `foreground` and `background` drawn from the priors."""
        everything = torch.ones_like(foreground[:, 0])
        with torch.no_grad():
            fakes = [self.decode(foreground, everything), self.decode(background, 1 - everything)]
        real, *fake = (self.discriminator(each).float() for each in (x, *fakes))
        return F.softplus(-real).mean() + sum(F.softplus(each).mean() for each in fake)

    def conservation_loss(self, u: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """(4.12), a mean over images, with decoders and discriminator held fixed."""
        with _fixed(self.decoders, self.discriminator):
            composite = foreground * u[:, None] + background * (1 - u[:, None])
            return F.softplus(-self.discriminator(self.decode(composite, u)).float()).mean()

    # --- an iteration -------------------------------------------------------------------------------------------------

    def step(
        self, images: Tensor, hints: Tensor | None, descend: Callable, noise: Callable, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """One iteration of Algorithm 3 (lines 3 to 7); returns the losses, and "area", the mean of U.

        Parameters
        ----------
        images : Tensor of uint8, `(B, S, S, 3)`
        hints : Tensor of uint8, `(B, S, S)`, in 0..255, or None
        descend : callable
            Takes a step, given a key of `optimizers()` and a loss.
        noise : callable
            Returns standard normal numbers, `(B, *shape)` for a shape.
        generator : torch.Generator
            On the CPU, with the same state in every process: for draws shared by the whole batch.
        """
        settings = self.settings
        x = as_input(images)
        h = None if hints is None else hints.float() / 255
        if settings.distortion:
            x, h = distorted(x, h, torch.special.ndtr(noise((8,))), settings.distortion)
        latent = (1, settings.size, settings.size)

        logits = self.logits(x)
        u = logits.sigmoid()
        reconstruction, kl = self.elbo_loss(x, u, noise(latent))
        losses = {"reconstruction": reconstruction, "kl": kl}
        total = reconstruction + kl
        if h is not None:
            losses["hint"] = F.binary_cross_entropy_with_logits(logits, h)
            total = total + settings.hint_weight * losses["hint"]
        augmentation = Augmentation.draw(generator) if settings.invariance else None
        prior = [mean + noise(latent) for mean in self.prior.mean[:, 0].tolist()] if settings.conservation else []
        if settings.joint:
            if augmentation:
                losses["invariance"] = self.invariance_loss(x, u, augmentation)
                total = total + settings.invariance_weight * losses["invariance"]
            if settings.conservation:
                losses["conservation"] = self.conservation_loss(u, *reversed(prior))
                total = total + settings.conservation_weight * losses["conservation"]
        descend("model", total)
        if augmentation and not settings.joint:
            losses["invariance"] = self.invariance_loss(x, self.memberships(x), augmentation)
            descend("invariance", losses["invariance"])
        if settings.conservation:
            losses["discriminator"] = self.discriminator_loss(x, *reversed(prior))
            descend("discriminator", losses["discriminator"])
        if settings.conservation and not settings.joint:
            losses["conservation"] = self.conservation_loss(self.memberships(x), *reversed(prior))
            descend("conservation", losses["conservation"])
        return {name: loss.detach() for name, loss in losses.items()} | {"area": u.detach().mean()}

    def as_segmenter(self, foreground: int, card: Mapping) -> Segmenter:
        """U with the current weights, ready for use."""
        settings = self.settings
        architecture = {"kind": "unet", "width": settings.width, "levels": settings.levels}
        return Segmenter(nn.Sequential(self.segmenter, nn.Sigmoid()), architecture, settings.size, foreground, card)


@contextlib.contextmanager
def _fixed(*networks: nn.Module) -> Iterator[None]:
    """Let gradients pass through these networks without reaching their parameters."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


# --- foreground and collapse ------------------------------------------------------------------------------------------


def foreground_phase(u: np.ndarray) -> int:
    """Which side of U is the foreground: 1 for u, 0 for 1 - u; decided once per collection, without labels.

    From memberships of training images, `(N, S, S)`. The foreground is rarer on the frame, an eighth of the image wide,
    than inside it: photographers place their subject in the middle. With a hint this confirms what U was taught.
    """
    side = u.shape[-1]
    edge = max(1, side // 8)
    mean = u.mean(axis=0)
    inside = np.zeros(mean.shape, bool)
    inside[edge:-edge, edge:-edge] = True
    return int(mean[inside].mean() >= mean[~inside].mean())


def smaller_side(u: np.ndarray) -> float:
    """Share of an image that the smaller side covers, a mean over images `(N, S, S)`; 0 after a collapse."""
    area = (u > 0.5).mean(axis=(1, 2))
    return float(np.minimum(area, 1 - area).mean())
