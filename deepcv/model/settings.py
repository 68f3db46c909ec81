"""Settings of the deep Chan-Vese model: the default, the presets, and what the number of phases changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepcv.checks import check_real, check_whole
from deepcv.errors import InputError
from deepcv.hints.hint import SURENESS
from deepcv.images import SMALLEST_SIDE
from deepcv.model import phases
from deepcv.model.networks import ACTIVATIONS


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
        for name in (
            "penalty",
            "latent_mean",
            "latent_unit",
            "pixel_range",
            "learning_rate",
            "learning_rate_phi",
            "start_limit",
        ):
            check_real(name, getattr(self, name), above=True)
        if self.architecture == "skip" and self.levels == 0:
            raise InputError("levels is 0, and architecture 'skip' needs at least 1; the paper has 2 to 5")

    @classmethod
    def paper(cls, **changes) -> Settings:
        """Algorithm 1 as the paper describes it (section 5.1); what it leaves open is as released.

        ν = 1, μ = ±10, unit variance, 4-level U-Nets of width 64 with instance normalisation, Adam at 1e-1 for
        everything, one loop, guided filter. λ, the number of steps and the activation are the released code's. "sRGB
        space" is read as pixels in [0, 1]: with 0..255 the unit-variance likelihood outweighs the KL a hundredfold and
        nothing is gained (`deepcv.companion.experiments.ambiguities`).

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
