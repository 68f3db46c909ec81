"""Settings of Algorithm 3: the default, the presets, and the profiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from deepcv.checks import Checked, Count, NonNegative, Positive, at_least, between, check_known, resolve


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of Algorithm 3; the default is the package's, `paper()` and `released()` the authors'."""

    size: Count = 128
    """Side of the training images in pixels; a shorter side is brought to it, the centre cut out."""
    width: Count = 16
    """Channels of U's first level; 64 in the paper. 16 are a sixteenth of the work and of the file."""
    levels: Count = 4
    """Halvings in the U-Nets."""
    model_width: Count = 16
    """Channels of the encoder's and decoder's first level."""
    discriminator_width: Count = 32
    """Channels of the discriminator's first convolution."""

    latent_mean: Positive = 3.0
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
    hint_weight: NonNegative = 20.0
    """Weight of the cross-entropy to the hint beside the KL, whose difference between phases reaches
    2·latent_mean² = 18 a pixel. In that small run (see `learning_rate`) 2 loses 0.04 of validation IoU and 200 nothing:
    what U learns there comes from the hint."""
    invariance: bool = True
    """AuI, (4.10)."""
    invariance_weight: NonNegative = 1.0
    """Of (4.10) in the joint step; alone in its own step a weight changes nothing, Adam divides by it."""
    conservation: bool = False
    """CRI, (4.11)-(4.12)."""
    conservation_weight: NonNegative = 1.0
    """Of (4.12), likewise. In the joint step (4.9) is a mean over pixels and (4.12) one number an image; beside the sum
    that the paper prints, (4.12) would weigh 1 / size² of this."""
    joint: bool = True
    """One step of one optimiser for (4.9) with its regularisation, the discriminator's apart. False: Algorithm 3's
    steps one after the other, each with an optimiser of its own as in the released code."""
    distortion: NonNegative = 1.0
    """How far a training image and its hint are turned, scaled, shifted and mirrored at random, and the image's colours
    changed, each time anew (`distorted`); 0 leaves them as they are, as the paper does. On 400 training images of
    Flowers-17 at 64 pixels, 16 epochs, 1 has a validation IoU of 0.843 and 0.857 (two seeds), mirroring alone 0.829 and
    0.835."""

    epochs: Count = 50
    batch: Count = 32
    """Images an iteration, over all processes together."""
    learning_rate: Positive = 3e-3
    """Of every Adam; 1e-3 in the paper. On 400 training images of Flowers-17 at 32 pixels, validation IoU 0.825 against
    0.775 after 40 epochs; 1e-2 is as good."""
    decay: bool = True
    """Whether the learning rate falls to nought along a cosine, so that the last epoch is a good one to stop at."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks' arithmetic, "float32" or "bfloat16" (weights stay float32)."""

    least_area: Annotated[float, between(0, 0.5)] = 0.02
    """U counts as collapsed when its masks cover less than this share of the images, or all but it, on the average."""
    patience: Count = 2
    """After so many collapsed epochs in a row training starts again with another seed."""
    restarts: Annotated[int, at_least(0)] = 3
    """How often at most; 0 trains on, collapsed or not."""

    def conflicts(self) -> Iterator[str]:
        if self.size < 2 ** (self.levels + 1):
            yield (
                f"images of {self.size} pixels can't be halved {self.levels} times; "
                f"ask for a size of at least {2 ** (self.levels + 1)} or for fewer levels"
            )

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
    check_known("preset", preset, PRESETS)
    check_known("profile", profile, PROFILES)
    return PRESETS[preset](**PROFILES[profile] | changes)


@dataclass(frozen=True)
class Trained(Checked):
    """Settings of a method that is a trained network."""

    collection: str = "flowers17"
    """The network is trained on this data set's split "train"."""
    images: Count | None = None
    """Use only the first so many images of it."""
    chosen: Literal["last", "validation"] = "last"
    """Which epoch: the last, chosen without labels, or the best on the split "val", the paper's choice."""
    training: Checked = dataclasses.field(default_factory=Settings)
    """Settings of the training."""


def resolve_trained(kind: type[Checked], given: Mapping[str, Any]) -> Trained:
    """All settings of a trained method, given those that differ from the default.

    Parameters
    ----------
    kind : type
        The dataclass of its training's settings.
    given : mapping
        Fields of `Trained`, with `training` as a dict, and fields of `kind`.

    Raises
    ------
    InputError
        For an unknown setting or a value out of range.
    """
    own = {field.name for field in dataclasses.fields(Trained)}
    changes = {name: value for name, value in given.items() if name not in own}
    training = resolve(kind, {**given.get("training", {}), **changes})
    return Trained(**{name: value for name, value in given.items() if name in own} | {"training": training})
