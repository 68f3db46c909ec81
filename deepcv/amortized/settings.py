"""Settings of Algorithm 3: default, presets, profiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from deepcv.checks import (
    Checked,
    Count,
    NonNegative,
    Rate,
    Width,
    above,
    at_least,
    at_most,
    between,
    check_known,
    resolve,
)

Side = Annotated[int, between(1, 2048)]
Levels = Annotated[int, between(1, 10)]


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of Algorithm 3: ours by default, the authors' by `paper()` and `released()`."""

    size: Side = 128
    """Side of the training images in pixels: shorter sides are resized to it and centres cropped."""
    width: Width = 16
    """Channels of U's first level; 64 in `paper()`, though section 5.1 gives none. 16 take a sixteenth of the time and
    of the file size."""
    levels: Levels = 4
    """Halvings in the U-Nets."""
    model_width: Width = 16
    """Channels of encoder and decoder at their first level."""
    discriminator_width: Width = 32
    """Channels of the discriminator's first convolution."""

    latent_mean: Annotated[float, above(0), at_most(1000)] = 3.0
    """Priors N(μ, 1) of the foreground and N(-μ, 1) of the background. Section 5.1 has the signs the other way round,
    which only swaps names."""
    separate_encoders: bool = False
    """Separate networks for the encoder's mean and log-variance."""
    separate_decoders: bool = False
    """Separate decoders for foreground and background, fed u·z and (1 - u)·z, their outputs mixed by u."""
    channel_mean: bool = False
    """Reconstruction error averaged, not summed, over channels."""

    hint: str = "deep-cv"
    """The method (`deepcv methods`) whose masks of the training images guide U; "" for none, as in the paper."""
    hint_weight: NonNegative = 20.0
    """Weight of the cross-entropy to the hint. For comparison, the KLs of the two phases differ by up to
    2·latent_mean² = 18 per pixel. In the small run of `learning_rate`, 2 loses 0.04 of validation IoU and 200 nothing:
    there U learns from the hint."""
    invariance: bool = True
    """Augmentation invariance (AuI), (4.10)."""
    invariance_weight: NonNegative = 1.0
    """Weight of (4.10) in the joint step. In a separate step it has no effect: Adam divides by it."""
    conservation: bool = False
    """Conservation of region information (CRI), (4.11)-(4.12)."""
    conservation_weight: NonNegative = 1.0
    """Weight of (4.12), likewise. In the joint step (4.9) is a mean over pixels; with the paper's sum over them (4.12),
    one number per image, would weigh 1 / size² of this."""
    joint: bool = True
    """One step for (4.9) with its regularisation, and one for the discriminator. False: the steps of Algorithm 3 in
    turn, each with its own optimizer, as in the released code."""
    distortion: Annotated[float, between(0, 10)] = 1.0
    """Strength of random rotation, scaling, shift, mirroring and colour changes of each training image and its hint
    (`distorted`); 0 for none, as in the paper. On 400 training images of Flowers-17 at 64 pixels, after 16 epochs, the
    validation IoU of two seeds is 0.843 and 0.857 with 1, and 0.829 and 0.835 with mirroring alone."""

    epochs: Count = 50
    batch: Count = 32
    """Images per iteration, in all processes together."""
    learning_rate: Rate = 3e-3
    """Of every Adam; 1e-3 in the paper. On 400 training images of Flowers-17 at 32 pixels, after 40 epochs, the
    validation IoU is 0.825 instead of 0.775; 1e-2 is as good."""
    decay: bool = True
    """Whether the learning rate decays to zero on a cosine schedule, so that the last epoch is a good one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks' arithmetic; weights are float32."""

    least_area: Annotated[float, between(0, 0.5)] = 0.02
    """U has collapsed if its masks, or their complements, cover less than this share of the images on average."""
    patience: Count = 2
    """Training restarts with another seed after this many collapsed epochs in a row."""
    restarts: Annotated[int, at_least(0)] = 3
    """Maximum number of restarts; with 0 a collapsed training goes on."""

    def conflicts(self) -> Iterator[str]:
        if self.size < 2 ** (self.levels + 1):
            yield (
                f"size is {self.size}, which can't be halved {self.levels} times; "
                f"choose at least {2 ** (self.levels + 1)}, or fewer levels"
            )

    @classmethod
    def paper(cls, **changes) -> Settings:
        """Section 5.1: three U-Nets, no hint, separate steps; what it leaves open is as in the released code."""
        given: dict[str, Any] = {"width": 64, "model_width": 64, "hint": "", "conservation": True, "joint": False}
        given |= {"distortion": 0.0, "batch": 128, "learning_rate": 1e-3, "decay": False, "restarts": 0}
        return cls(**given | changes)

    @classmethod
    def released(cls, **changes) -> Settings:
        """The authors' code: five U-Nets, mean over channels. Its "flip", a half turn, is a true flip here."""
        given = {"separate_encoders": True, "separate_decoders": True, "channel_mean": True}
        return cls.paper(**given | changes)


PRESETS: Mapping[str, Callable[..., Settings]]
PRESETS = {"default": Settings, "paper": Settings.paper, "released": Settings.released}

_NARROW = {"width": 8, "model_width": 8, "discriminator_width": 8, "batch": 16}
PROFILES: dict[str, dict] = {
    "quick": {**_NARROW, "size": 32, "levels": 3, "epochs": 10},
    "cpu": {**_NARROW, "size": 64, "levels": 4, "epochs": 30},
    "paper": {},
}
"""Changes to any preset: "quick" takes a few minutes, "cpu" an hour on two cores, "paper" needs a GPU."""


def settings_for(preset: str, profile: str, **changes) -> Settings:
    """The settings of a preset and a profile, with `changes`.

    Raises
    ------
    InputError
        For an unknown preset or profile, or a value out of range.
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
    """Number of its images to use, the first ones; None for all."""
    chosen: Literal["last", "validation"] | Count = "last"
    """Which epoch: the last, chosen without labels; the best on the split "val", the paper's choice; or a number."""
    training: Checked = dataclasses.field(default_factory=Settings)
    """Settings of the training."""


def resolve_trained(kind: type[Checked], given: Mapping[str, Any]) -> Trained:
    """All settings of a trained method, given those that differ from the default.

    `kind` is the dataclass of its training's settings; `given` are fields of `Trained`, with `training` as a dict, and
    fields of `kind`.

    Raises
    ------
    InputError
        For an unknown setting or a value out of range.
    """
    own = {field.name for field in dataclasses.fields(Trained)}
    changes = {name: value for name, value in given.items() if name not in own}
    training = resolve(kind, {**given.get("training", {}), **changes})
    return Trained(**{name: value for name, value in given.items() if name in own} | {"training": training})
