"""Algorithm 3: a network U trained on a collection of images, none of them marked, that segments a new one at once.

    E(U, F, G) = Σ over images of  reconstruction + Σₓ U(I)ₓ KL₁ₓ + (1 - U(I)ₓ) KL₂ₓ + R(U(I))            (4.9)

G encodes an image as a latent image of one number a pixel, F decodes it, and R holds U together: augmentation
invariance (4.10), and conservation of region information (4.11)-(4.12), for which a discriminator D tells real images
from decoded ones without a foreground or a background. `Model` is these networks and one iteration; `deepcv.training`
is the loop; `Segmenter` is what remains of it for use, U alone.

Beside the paper's model there is a hint: R may also hold a cross-entropy to masks that another method found, without
labels, in each training image by itself. The paper starts U at random.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepcv import energy
from deepcv.checks import check_real, check_whole
from deepcv.images import InputError, as_colour, as_image, resize
from deepcv.methods import get_method
from deepcv.networks import Discriminator, UNet
from deepcv.phases import LatentPrior
from deepcv.segmentation import Segmentation, two_phase


@dataclass(frozen=True)
class Settings:
    """Settings of Algorithm 3; the default is the package's, `paper()` and `released()` the authors'."""

    size: int = 128
    """Side of the training images in pixels; a shorter side is brought to it, the centre cut out."""
    width: int = 16
    """Channels of U's first level; 64 in the paper. 16 are a sixteenth of the work and of the file."""
    levels: int = 4
    """Halvings in the U-Nets."""
    model_width: int = 16
    """Channels of the encoder's and decoder's first level."""
    discriminator_width: int = 32
    """Channels of the discriminator's first convolution."""

    latent_mean: float = 3.0
    """μ of the foreground and -μ of the background, variances 1 (section 5.1; its signs, the other way round, are a
    matter of naming)."""
    separate_encoders: bool = False
    """Whether the encoder's mean and log-variance have a network each."""
    separate_decoders: bool = False
    """Whether foreground and background have a decoder each, fed with u·z and (1 - u)·z and put together by u."""
    channel_mean: bool = False
    """Mean over channels in the reconstruction instead of the sum."""

    hint: str = "deep-cv"
    """The method whose masks of the training images U is held to, by its name in the registry (`deepcv methods`); ""
    leaves hints out, as the paper does."""
    hint_weight: float = 20.0
    """Weight of the cross-entropy to the hint beside the KL, whose difference between phases reaches
    2·latent_mean² = 18 a pixel. In that small run (see `learning_rate`) 2 loses 0.04 of validation IoU and 200 nothing:
    what U learns there comes from the hint."""
    invariance: bool = True
    """AuI, (4.10)."""
    invariance_weight: float = 1.0
    """Of (4.10) in the joint step; alone in its own step a weight changes nothing, Adam divides by it."""
    conservation: bool = False
    """CRI, (4.11)-(4.12)."""
    conservation_weight: float = 1.0
    """Of (4.12), likewise. In the joint step (4.9) is a mean over pixels and (4.12) one number an image; beside the sum
    that the paper prints, (4.12) would weigh 1 / size² of this."""
    joint: bool = True
    """One step of one optimiser for (4.9) with its regularisation, the discriminator's apart. False: Algorithm 3's
    steps one after the other, each with an optimiser of its own as in the released code."""
    distortion: float = 1.0
    """How far a training image and its hint are turned, scaled, shifted and mirrored at random, and the image's colours
    changed, each time anew (`distorted`); 0 leaves them as they are, as the paper does. On 400 training images of
    Flowers-17 at 64 pixels, 16 epochs, 1 has a validation IoU of 0.843 and 0.857 (two seeds), mirroring alone 0.829 and
    0.835."""

    epochs: int = 50
    batch: int = 32
    """Images an iteration, over all processes together."""
    learning_rate: float = 3e-3
    """Of every Adam; 1e-3 in the paper. On 400 training images of Flowers-17 at 32 pixels, validation IoU 0.825 against
    0.775 after 40 epochs; 1e-2 is as good."""
    decay: bool = True
    """Whether the learning rate falls to nought along a cosine, so that the last epoch is a good one to stop at."""
    precision: str = "float32"
    """Of the networks' arithmetic, "float32" or "bfloat16" (weights stay float32)."""

    least_area: float = 0.02
    """U counts as collapsed when its masks cover less than this share of the images, or all but it, on the average."""
    patience: int = 2
    """After so many collapsed epochs in a row training starts again with another seed."""
    restarts: int = 3
    """How often at most; 0 trains on, collapsed or not."""

    def __post_init__(self):
        for name in ("size", "width", "levels", "model_width", "discriminator_width", "epochs", "batch", "patience"):
            check_whole(name, getattr(self, name), 1)
        if self.size < 2 ** (self.levels + 1):
            raise InputError(
                f"images of {self.size} pixels can't be halved {self.levels} times; "
                f"ask for a size of at least {2 ** (self.levels + 1)} or for fewer levels"
            )
        if self.hint:
            get_method(self.hint)
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}; it is 'float32' or 'bfloat16'")
        check_real("distortion", self.distortion)
        check_real("learning_rate", self.learning_rate, above=True)

    @classmethod
    def paper(cls, **changes) -> Settings:
        """Section 5.1: three U-Nets, no hint, the steps one after the other; where it is silent, the released code."""
        given = {
            "width": 64,
            "model_width": 64,
            "hint": "",
            "conservation": True,
            "joint": False,
            "distortion": 0.0,
            "batch": 128,
            "learning_rate": 1e-3,
            "decay": False,
            "restarts": 0,
        }
        return cls(**given | changes)

    @classmethod
    def released(cls, **changes) -> Settings:
        """The authors' code: five U-Nets, the mean over channels. Its "flip", a half turn, is here a true one."""
        given = {"separate_encoders": True, "separate_decoders": True, "channel_mean": True}
        return cls.paper(**given | changes)


PRESETS: dict[str, Callable[..., Settings]] = {
    "default": Settings,
    "paper": Settings.paper,
    "released": Settings.released,
}


PROFILES: dict[str, dict] = {
    "quick": {
        "size": 32,
        "levels": 3,
        "width": 8,
        "model_width": 8,
        "discriminator_width": 8,
        "epochs": 10,
        "batch": 16,
    },
    "cpu": {"size": 64, "levels": 4, "width": 8, "model_width": 8, "discriminator_width": 8, "epochs": 30, "batch": 16},
    "paper": {},
}
"""What a profile changes of any preset: "quick" for a few minutes, "cpu" for an hour on two cores."""


def settings_for(preset: str, profile: str, **changes) -> Settings:
    """A preset at the size of a profile, with `changes`.

    Raises
    ------
    InputError
        When there is no such preset or profile, or a value is out of range.
    """
    for name, known, what in ((preset, PRESETS, "preset"), (profile, PROFILES, "profile")):
        if name not in known:
            raise InputError(f"there is no {what} {name!r}; there are {', '.join(known)}")
    return PRESETS[preset](**PROFILES[profile] | changes)


def as_input(images: Tensor) -> Tensor:
    """uint8 `(B, S, S, 3)` in 0..255 as the networks take them: float32 `(B, 3, S, S)` in [-1, 1]."""
    return images.movedim(-1, 1).float() / 127.5 - 1


@dataclass(frozen=True)
class Augmentation:
    """The operator 𝒪 of (4.10): a rotation by `turns` quarters, then, if `flipped`, left and right exchanged."""

    turns: int
    flipped: bool

    @classmethod
    def draw(cls, generator: torch.Generator) -> Augmentation:
        """One of the three rotations, flipped or not."""
        chosen = int(torch.randint(6, (), generator=generator))
        return cls(turns=1 + chosen // 2, flipped=chosen % 2 == 1)

    def __call__(self, x: Tensor) -> Tensor:
        """`(..., S, S)` to the same."""
        x = torch.rot90(x, self.turns, dims=(-2, -1))
        return x.flip(-1) if self.flipped else x


TURN, VIEW, SHIFT, COLOUR = math.radians(15), (0.7, 1.15), 0.05, 0.3
"""How far `distorted` goes at strength 1: angle; side of what is seen and shift, in sides of the image; change of
brightness, contrast and saturation. With views as often wider as narrower, (3/4, 4/3), most of the gain is lost."""


def distorted(x: Tensor, hints: Tensor | None, drawn: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Other views of images and of their hints, the images in other light.

    Parameters
    ----------
    x : Tensor, `(B, 3, S, S)`, in [-1, 1]
    hints : Tensor, `(B, S, S)`, in [0, 1], or None
    drawn : Tensor, `(B, 8)`, in [0, 1]
        What is done to each image: the side of what is seen; angle, shift across and down, brightness, contrast and
        saturation, of which 1/2 changes nothing; above 1/2 the last exchanges left and right.
    strength : float, at least 0
        In `TURN`, `VIEW`, `SHIFT` and `COLOUR`. What comes in from beyond an edge is the image mirrored there.

    Returns
    -------
    Tensor, Tensor or None
        Like `x` and `hints`.
    """
    turn, across, down, *colours = (strength * (2 * drawn[:, 1:7] - 1)).unbind(1)
    least, most = (strength * math.log(side) for side in VIEW)
    side = (least + (most - least) * drawn[:, 0]).exp()
    cosine, sine = side * (TURN * turn).cos(), side * (TURN * turn).sin()
    across, down = 2 * SHIFT * across, 2 * SHIFT * down  # a side goes from -1 to 1
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
    """The networks of Algorithm 3.

    Parameters
    ----------
    settings : Settings
    seed : int
        Of all first weights.
    """

    def __init__(self, settings: Settings, seed: int):
        super().__init__()
        self.settings = settings
        self.prior = LatentPrior.two_phase(settings.latent_mean)
        unet = {"levels": settings.levels, "shared": True}
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
        """One Adam for each update of an iteration that the settings ask for."""
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
        """U(I): `(B, 3, S, S)` to `(B, S, S)`, in [0, 1]."""
        return self.logits(x).sigmoid()

    def logits(self, x: Tensor) -> Tensor:
        return self.segmenter(x)[:, 0].float()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """𝒢: mean and variance of the latent image, two `(B, 1, S, S)`."""
        mean, log_variance = torch.cat([encoder(x) for encoder in self.encoders], dim=1).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10).exp()  # a variance of 0 would cost infinitely much

    def decode(self, z: Tensor, u: Tensor) -> Tensor:
        """ℱ: a latent image `(B, 1, S, S)`, and what the foreground is `(B, S, S)`, to `(B, 3, S, S)`.

        u is used where the two regions have a decoder each; how the released code puts these together is not known,
        here u mixes them.
        """
        if len(self.decoders) == 1:
            return self.decoders[0](z).float()
        u = u[:, None]
        foreground, background = self.decoders
        return u * foreground(u * z).float() + (1 - u) * background((1 - u) * z).float()

    def elbo_loss(self, x: Tensor, u: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL of (4.9), each a mean over pixels and images.

        Over images and pixels the paper sums; what that makes of (4.12) beside it, see `Settings.conservation_weight`.
        """
        mean, variance = self.encode(x)
        decoded = energy.reconstruction(lambda z: self.decode(z, u), mean, variance, x, noise[None])
        kl = energy.gaussian_kl(mean, variance, self.prior.mean, self.prior.variance)
        region = energy.region(torch.stack((1 - u, u), dim=1), kl)
        reconstruction = decoded / (x[0].numel() if self.settings.channel_mean else x[0, 0].numel())
        return reconstruction.mean(), (region / x[0, 0].numel()).mean()

    def invariance_loss(self, x: Tensor, u: Tensor, augmentation: Augmentation) -> Tensor:
        """(4.10), a mean over pixels: 𝒪(U(I)) is the target and held fixed, U(𝒪(I)) moves.

        In the paper's formula the second term has the wrong sign; this is the binary cross-entropy it names.
        """
        return F.binary_cross_entropy_with_logits(self.logits(augmentation(x)), augmentation(u).detach())

    def discriminator_loss(self, x: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """(4.11), a mean over images; `foreground` and `background` are latent images drawn from the priors."""
        everything = torch.ones_like(foreground[:, 0])
        with torch.no_grad():
            fakes = [self.decode(foreground, everything), self.decode(background, 1 - everything)]
        real, *fake = (self.discriminator(each).float() for each in (x, *fakes))
        return F.softplus(-real).mean() + sum(F.softplus(each).mean() for each in fake)

    def conservation_loss(self, u: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """(4.12), a mean over images, with decoder and discriminator held fixed."""
        with _fixed(self.decoders, self.discriminator):
            composite = foreground * u[:, None] + background * (1 - u[:, None])
            return F.softplus(-self.discriminator(self.decode(composite, u)).float()).mean()

    # --- an iteration -------------------------------------------------------------------------------------------------

    def step(
        self,
        images: Tensor,
        hints: Tensor | None,
        descend: Callable[[str, Tensor], None],
        noise: Callable[[tuple[int, ...]], Tensor],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """One iteration of Algorithm 3 (lines 3 to 7).

        Parameters
        ----------
        images : Tensor of uint8, `(B, S, S, 3)`
        hints : Tensor of uint8, `(B, S, S)`, in 0..255, or None
        descend : callable
            Takes a key of `optimizers()` and a loss, and makes that step.
        noise : callable
            Gives standard normal numbers, `(B, *shape)` for a shape.
        generator : torch.Generator
            On the CPU and the same in every process: for what concerns the whole batch.

        Returns
        -------
        dict of str to Tensor
            Each loss, and "area", the mean of U.
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
        background, foreground = prior or (None, None)
        if settings.joint:
            if settings.invariance:
                losses["invariance"] = self.invariance_loss(x, u, augmentation)
                total = total + settings.invariance_weight * losses["invariance"]
            if settings.conservation:
                losses["conservation"] = self.conservation_loss(u, foreground, background)
                total = total + settings.conservation_weight * losses["conservation"]
        descend("model", total)
        if settings.invariance and not settings.joint:
            losses["invariance"] = self.invariance_loss(x, self.memberships(x), augmentation)
            descend("invariance", losses["invariance"])
        if settings.conservation:
            losses["discriminator"] = self.discriminator_loss(x, foreground, background)
            descend("discriminator", losses["discriminator"])
        if settings.conservation and not settings.joint:
            losses["conservation"] = self.conservation_loss(self.memberships(x), foreground, background)
            descend("conservation", losses["conservation"])
        return {name: loss.detach() for name, loss in losses.items()} | {"area": u.detach().mean()}

    def as_segmenter(self, foreground: int, card: Mapping) -> Segmenter:
        """What `deepcv.training` keeps for use: a U of the weights as they are."""
        settings = self.settings
        architecture = {"kind": "unet", "width": settings.width, "levels": settings.levels}
        return Segmenter(nn.Sequential(self.segmenter, nn.Sigmoid()), architecture, settings.size, foreground, card)


@contextlib.contextmanager
def _fixed(*networks: nn.Module) -> Iterator[None]:
    """What is computed inside sends gradients through these networks but not into them."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


# --- which side, and whether there are two ----------------------------------------------------------------------------


def foreground_phase(u: np.ndarray) -> int:
    """Which side of U is the foreground, decided without labels and once for the whole collection.

    The side that is rarer on the frame, an eighth of the image wide all around, than inside it: photographers put what
    they mean in the middle. 1 means u itself, 0 means 1 - u. With a hint this confirms what U was taught.

    Parameters
    ----------
    u : numpy.ndarray, `(N, S, S)`
        Memberships of training images.
    """
    side = u.shape[-1]
    edge = max(1, side // 8)
    mean = u.mean(axis=0)
    inside = np.zeros(mean.shape, bool)
    inside[edge:-edge, edge:-edge] = True
    return int(mean[inside].mean() >= mean[~inside].mean())


def smaller_side(u: np.ndarray) -> float:
    """How much of an image the smaller of the two sides covers, the mean over images `(N, S, S)`: 0 in a collapse."""
    area = (u > 0.5).mean(axis=(1, 2))
    return float(np.minimum(area, 1 - area).mean())


# --- what is kept -----------------------------------------------------------------------------------------------------

FORMAT, VERSION = "deepcv segmenter", "1"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained U, ready for use.

    Attributes
    ----------
    network : torch.nn.Module
        Images in [-1, 1], `(B, 3, H, W)`, to memberships of one side, `(B, 1, H, W)`.
    architecture : dict
        The network's "kind", "unet" or "redo", and what it is made with.
    size : int
        The shorter side, in pixels, of the images it was trained on; others are brought to it.
    foreground : int
        As `foreground_phase` tells.
    card : dict
        What made it: data, settings, seed, epoch, how the epoch was chosen, scores. Plain values.
    """

    network: nn.Module
    architecture: dict[str, Any]
    size: int
    foreground: int = 1
    card: Mapping = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    def memberships(self, x: Tensor) -> Tensor:
        """The foreground's membership of images in [-1, 1], `(B, 3, H, W)` to `(B, H, W)`."""
        u = self.network(x)[:, 0].float()
        return u if self.foreground else 1 - u

    def save(self, path, *, half: bool = False) -> None:
        """Write it as a safetensors file, which holds numbers and text and can't run code.

        Parameters
        ----------
        half : bool
            Keep the weights in half precision, half as large a file.
        """
        from safetensors.torch import save

        from deepcv.training import write_whole

        weights = {name: value.contiguous().cpu() for name, value in self.network.state_dict().items()}
        weights = {name: value.half() if half else value for name, value in weights.items()}
        about = {"architecture": self.architecture, "size": self.size, "foreground": self.foreground, "card": self.card}
        write_whole(path, save(weights, {"format": FORMAT, "version": VERSION, "about": json.dumps(about)}))

    @classmethod
    def load(cls, path, device: str | torch.device = "cpu") -> Segmenter:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
        InputError
            When it is no such file, is cut short, or comes from another version.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; `deepcv train` makes one")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is no model or cut short ({error}); train or copy it again") from None
        if about.get("format") != FORMAT:
            raise InputError(f"{path} is no model of deepcv; name a file that `deepcv train` wrote")
        if about.get("version") != VERSION:
            raise InputError(
                f"{path} has version {about.get('version')} of the format, this deepcv reads {VERSION}; train it "
                "again, or use the deepcv that wrote it"
            )
        try:
            told = json.loads(about["about"])
            if not (isinstance(told["size"], int) and told["size"] > 0):
                raise ValueError
            network = _network(**told["architecture"])
            network.load_state_dict(weights)
            return cls(network.to(device).eval().requires_grad_(False), **told)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(f"{path} doesn't hold the network that it tells of; train or copy it again") from None

    def predict(self, images: Sequence[np.ndarray], *, batch: int = 32) -> list[Segmentation]:
        """Segment images, those of one shape together.

        Parameters
        ----------
        images : sequence of numpy.ndarray, `(H, W)` or `(H, W, 3)`
            uint8 in 0..255 or float in [0, 1], of any sizes. The shorter side is brought to `size` pixels for U; masks
            have the images' sizes.
        batch : int
            Images at a time, at most.

        Raises
        ------
        InputError
            For what `deepcv.images.as_image` refuses.
        """
        import time

        reduced = [self._reduced(image) for image in images]
        found: list[Segmentation | None] = [None] * len(images)
        device = next(self.network.parameters()).device
        for together in _of_one_shape(reduced, batch):
            started = time.perf_counter()
            x = torch.from_numpy(np.stack([reduced[i] for i in together])).to(device).movedim(-1, 1) * 2 - 1
            soft = self.memberships(x).cpu().numpy()
            seconds = (time.perf_counter() - started) / len(together)
            for i, u in zip(together, soft, strict=True):
                u = resize(u, np.shape(images[i])[:2])
                found[i] = two_phase(u > 0.5, u, seconds=seconds, method="amortized", settings={"size": self.size})
        return found

    def _reduced(self, image) -> np.ndarray:
        """The image in colour, its shorter side `size`: float32 `(h, w, 3)` in [0, 1]."""
        image = as_colour(as_image(image))
        scale = self.size / min(image.shape[:2])
        # in fours, so that every network here can halve it twice, and more images share a shape
        return resize(image, tuple(max(self.size, 4 * round(side * scale / 4)) for side in image.shape[:2]))


def _network(kind: str, **sizes) -> nn.Module:
    """A segmenter's network, without its weights."""
    if kind == "unet":
        return nn.Sequential(UNet(3, 1, shared=True, seeds=[0], **sizes), nn.Sigmoid())
    from deepcv.baselines.redo import MaskNetwork

    return MaskNetwork(**sizes)


def _of_one_shape(images: Sequence[np.ndarray], batch: int) -> Iterator[list[int]]:
    """Indices of images that can be stacked, at most `batch` at a time."""
    alike: dict[tuple, list[int]] = {}
    for i, image in enumerate(images):
        alike.setdefault(image.shape, []).append(i)
    for indices in alike.values():
        yield from (indices[start : start + batch] for start in range(0, len(indices), batch))
