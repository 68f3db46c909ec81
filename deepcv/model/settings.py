"""Settings of the deep Chan-Vese model: the package's default, the authors' presets, what more phases change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from deepcv.checks import Checked, Count, NonNegative, Positive, Rate, Width, above, at_least, at_most, between
from deepcv.images import SMALLEST_SIDE
from deepcv.model.refinement import LARGEST_RADIUS

Whole = Annotated[int, at_least(0)]
_Latent = Annotated[float, above(0), at_most(1000)]


class _ByPhases(NamedTuple):
    two: Any
    exact: Any
    gradient: Any


def by_phases(two: Any, exact: Any, gradient: Any) -> Any:
    """Defaults for two phases, and for more with the exact and with the gradient step."""
    return _ByPhases(two, exact, gradient)


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of the deep Chan-Vese model; the default is the package's; `PRESETS` has the paper's.

    Some defaults depend on the number of phases (`by_phases`); with more than two and the gradient step they are those
    of the paper's Algorithm 2 (section 5.1), but for smaller networks. The measurements behind the defaults are in
    `results/recorded/` and on the book's page on the settings. For more than two phases, ν, `hint_weight` and `start`
    were chosen on mean-bands, mean-cells, modes-cells, modes-nested, texture-bands, texture-cells and texture-nested of
    `deepcv.data.regions`, and on others of the same textures: there ν counts each boundary twice, and the KL of two
    phases differs by at most 25.

    Raises
    ------
    InputError
        For a value out of range, or conflicting settings.
    """

    phases: Annotated[int, between(2, 256)] = 2
    """Number of regions N; labels are uint8."""
    start: Literal["hint", "textures", "clusters", "random"] = by_phases("hint", "textures", "random")
    """Where u starts. Two phases start from the "hint" or, like more phases, from nothing but the image: clusters of
    "textures" (`textured_memberships`) or of colour ("clusters"), or at "random", as Algorithm 2 in the paper."""
    u_step: Literal["exact", "gradient"] = "exact"
    """For fixed networks, the solution of a minimum cut or Potts problem; or the paper's gradient step on φ."""
    size: Annotated[int, at_least(SMALLEST_SIDE)] = by_phases(200, 200, 160)
    """Longest side, in pixels, at which the model is solved; the mask has the image's size."""

    nu: NonNegative = by_phases(300.0, 20.0, 1.0)
    """Weight ν of the length. Data terms reach ±200 per pixel, against which the paper's 1 has almost no effect."""
    edge_sensitivity: NonNegative = by_phases(1.0, 1.0, 0.0)
    """How much less the length costs along the image's edges, as in [6]; 0 is the paper's plain length."""
    penalty: Positive = 0.1
    """λ of the splitting (gradient step only). The paper gives none; this is the released code's. Where ν/λ times the
    edge factor, which is at least 0.05, is √2 or more, the greatest possible ‖∇S(φ)‖, w stays 0. With this λ neither ν
    nor `edge_sensitivity` has any effect then: with the default ν, in "gradient" and in "printed"."""
    hint_weight: NonNegative = by_phases(100.0, 4.0, 0.0)
    """Weight of the hint in every u-step (`hint_prior`), in the units of the KL, whose difference between phases
    reaches 2·latent_mean² = 200. It keeps the rounds from drifting away. With 0, as in the paper, u only starts from
    the hint. A start from "textures" or "clusters" takes the hint's place (`start_prior`)."""
    noise_caution: NonNegative = 2.0
    """Factor of `hint_weight` for an image whose noise is noticeable (`NOTICEABLE_NOISE`): there the networks learn
    less, while the hint comes from the blurred image. 1 treats all images alike. Chosen on the first 20 images of
    Weizmann at σ = 100 and 160 of 255, where 2 gains 0.02 in F; it gains 0.01 on the embedded photographs and loses
    0.015 on the composites, whose hints are worse."""
    balance: Annotated[float, between(0, 1)] = by_phases(0.75, 0.75, 0.0)
    """How equally phases count while networks are fitted: each phase's KL is weighted by its area to the power of
    minus this, so that the background doesn't drown a small object. With the gradient step φ descends the same weighted
    energy. 0 is (3.15), up to a factor of the KL where a phase covers under 2 %; 1 is the mean over each phase, a
    likelihood ratio that ignores area. The best of 0.5, 0.75 and 1 on average over three sets: the first 20 images of
    Weizmann, 20 training images of Flowers-17, and the embedded ones."""

    latent_mean: _Latent = by_phases(10.0, 5.0, 5.0)
    """μ of the foreground, -μ of the background; with N > 2 phases μᵢ = latent_mean · eᵢ (section 5.1: 10 and 5)."""
    learned_variance: bool = False
    """Whether the encoder also gives 𝒢^σ; the paper fixes it at 1 for single images (section 5.1)."""
    latent_unit: _Latent = by_phases(10.0, 5.0, 5.0)
    """Unit of the networks on the latent axis. It doesn't change the model, but Adam reaches ±10 sooner; 1 is the
    authors'."""
    samples: Annotated[int, between(1, 1000)] = 1
    """Draws of η per step, M in the Monte-Carlo estimate (Remark 1)."""
    pixel_range: Annotated[float, above(0), at_most(65535)] = 1.0
    """The image is scaled to [0, pixel_range] for reconstruction, which sets the weight of the unit-variance
    likelihood."""
    channel_mean: bool = False
    """Mean over channels instead of the sum, as in the released code; the same for grey images."""

    decoder: bool = False
    """Whether there is a decoder, hence a reconstruction, as in the paper. Without it the encoder is fitted to u by the
    KL alone, which gives the same masks in three fifths of the time: over four kinds of images F changes by less than
    0.002 on average, on each by less than 0.003."""
    architecture: Literal["unet", "skip"] = "unet"
    """Encoder and decoder: U-Nets [39], or the deep image prior's network [45] with `levels` of `width` channels."""
    width: Width = 8
    """Channels of the networks' first level."""
    levels: Annotated[int, between(0, 16)] = by_phases(0, 0, 2)
    """Halvings in the networks; a U-Net with 0 is two 3×3 convolutions, which see colour and texture but can't
    memorise the hint's shape."""
    rounds: Count = 5
    """Exact step only: networks are fitted and u is solved at most this many times."""
    settled: NonNegative = 0.003
    """Exact step only: an image is done when a round changes the labels of less than this share of its pixels; 0 runs
    all rounds."""
    steps: Count = by_phases(30, 30, 150)
    """Adam steps: in the first round of the exact step; in total with the gradient step."""
    more_steps: Count = 10
    """Exact step only: Adam steps in each later round, which continues with the same networks."""
    warmup: Whole = 0
    """Gradient step only: number of initial steps that leave φ alone and count the KL only where the hint is confident,
    as in the released code."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the networks; weights, energies and u are always float32."""
    learning_rate: Rate = 1e-2
    """Adam's, for the networks: α₁ and α₂ of (3.19)."""
    learning_rate_phi: Rate = 1e-1
    """Adam's, for φ: α₃ of (3.19)."""
    relaxation: Literal["sigmoid", "arctan"] = "sigmoid"
    """Gradient step only: u as a function of φ in the KL term; "arctan" is the released code's, for two phases."""
    sureness: Literal["map", "sharpened", "otsu"] = "map"
    """Gradient step only: φ starts from the hint itself, from it sharpened by a logistic about its Otsu threshold, or
    from its Otsu mask (`hints.hint.surer`)."""
    start_limit: Positive = 1.0
    """Gradient step only: largest magnitude of φ at the start, 1 in the released code; a hint of 0 or 1 has ±4.6."""
    activation: Literal["relu", "celu", "softplus", "sigmoid"] = "relu"
    """Of the U-Net: "relu"; "celu" with α = 1e-3 as in the released code; "softplus" or "sigmoid", which are smooth as
    Theorem 3.3 requires."""
    guided_radius: Annotated[int, between(0, LARGEST_RADIUS)] = 0
    """Radius in pixels of the guided filter on the result; 0 leaves it out."""

    def __post_init__(self):
        """Choose the defaults that depend on the number of phases, then check."""
        for name, value in vars(self).items():
            if isinstance(value, _ByPhases):
                several = value.gradient if self.u_step == "gradient" else value.exact
                object.__setattr__(self, name, value.two if self.phases == 2 else several)
        super().__post_init__()

    def conflicts(self) -> Iterator[str]:
        if self.start == "hint" and self.phases > 2:
            yield (
                f"start is 'hint', which is for two phases, and phases is {self.phases}; take 'textures', 'clusters' "
                "or 'random'"
            )
        if self.relaxation == "arctan" and self.u_step == "gradient" and self.phases > 2:
            yield (
                f"relaxation is 'arctan', which is for two phases, and phases is {self.phases}; take 'sigmoid', or the "
                "preset 'paper'"
            )
        if self.architecture == "skip" and self.levels == 0:
            yield "levels is 0, and architecture 'skip' needs at least 1; the paper has 2 to 5"


_AUTHORS: dict[str, Any] = {
    "u_step": "gradient",
    "decoder": True,
    "edge_sensitivity": 0.0,
    "hint_weight": 0.0,
    "latent_unit": 1.0,
    "balance": 0.0,
    "width": 64,
    "levels": 4,
    "guided_radius": 50,
    "size": 300,
}

PRESETS: dict[str, dict[str, Any]] = {
    "paper": _AUTHORS
    | {"nu": 1.0, "sureness": "otsu", "start_limit": 4.6, "learning_rate": 1e-3, "penalty": 10.0, "steps": 150},
    "printed": _AUTHORS | {"nu": 1.0, "start_limit": 4.6, "learning_rate": 1e-1, "steps": 401},
    "released": _AUTHORS
    | {
        "nu": 0.0,
        "latent_mean": 60.0,
        "pixel_range": 255.0,
        "channel_mean": True,
        "warmup": 200,
        "learning_rate": 1e-3,
        "relaxation": "arctan",
        "sureness": "sharpened",
        "activation": "celu",
        "steps": 401,
    },
    "gradient": {"u_step": "gradient"},
    "auto-encoder": {"decoder": True},
}
"""Readings of Algorithm 1, or of Algorithm 2 with more than two phases, as changes to the package's default.

All but the last two have, unless said below, section 5.1's ν = 1, μ = ±10 (μᵢ = 5eᵢ), unit variance, U-Nets with 4
levels and instance normalisation, one loop and the guided filter; the width of 64 and the filter's radius, which the
paper doesn't give, are the released code's, and so is that the filter gets S(φ), where the paper filters the mask.

"paper" is the reading we recommend. Where section 5.1 is silent it takes what works on the first 20 images of Weizmann
(`deepcv.companion.experiments.readings`): u starts from the saliency map's Otsu mask, λ = 10, 150 steps. In a
second point, after the filter's, it departs from the words: section 5.1 gives Adam's rate of 1e-1 for "the network
parameters", with which the loop loses many objects; here 1e-1 is φ's, and the networks have 1e-3, as in the released
code.

"printed" is section 5.1 to the letter: u starts from the saliency map itself, and 1e-1 is Adam's rate for everything.
λ = 0.1 and 401 steps, which the paper doesn't give, are the released code's. "sRGB space" is read as pixels in [0, 1].

"released" is the authors' single-image code: means of ±60, pixels in 0..255, 200 steps of the networks alone, φ clipped
to ±1, CELU. Deviations: the foreground is at +60 (theirs is at -60, a mirrored latent axis); ν is 0 (theirs is
2.5/(H·W) against data terms in the thousands, with shrinkage of ∇φ itself and central differences); the hint, which
they don't give, is our saliency sharpened about its Otsu threshold. Their batch normalisation of one image is instance
normalisation.

"gradient" is the package's default with the paper's step on φ in place of the cut; with this λ neither ν nor the edges
act in it. "auto-encoder" is the package's default with a decoder ℱ.
"""


def idle(settings: Mapping[str, Any]) -> set[str]:
    """Names of `Settings` that have no effect, given the others; there may be more."""
    exact = settings["u_step"] == "exact"
    loop = {"penalty", "warmup", "learning_rate_phi", "relaxation", "sureness", "start_limit"}
    other = loop if exact else {"rounds", "settled", "more_steps"}
    other |= set() if settings["start"] == "hint" else {"sureness"}
    other |= set() if settings["phases"] == 2 else {"start_limit"}
    other |= set() if settings["decoder"] else {"pixel_range", "samples", "channel_mean"}
    return other | ({"activation"} if settings["architecture"] == "skip" else set())
