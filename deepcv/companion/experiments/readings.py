"""Readings of Algorithm 1 where section 5.1 leaves it open: what each choice does to F.

The reference is a reading that works: φ starts at ±4.6 on the hint's Otsu mask, Adam's learning rates are 1e-3 for the
networks and 1e-1 for φ, as in the released code, and ν = 1. One choice is changed at a time, then pairs that belong
together. Choices are made on the first images of Weizmann and judged on the others, in Table 1: the preset "paper" of
`deepcv.model.settings` is the reference with λ = 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import (
    ALL_PARTS,
    NOTHING_GAINED,
    PARTS,
    SINGLE,
    Claim,
    Estimate,
    Verdict,
    above,
    below,
    judged,
    listed,
    not_run,
)
from deepcv.companion.experiments import variants
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, Experiment, Group, Reduction
from deepcv.companion.experiments.variants import (
    ONLY_THE_IMAGE,
    ONLY_THE_IMAGE_TEST,
    UNIT_VARIANCE,
    changes_of,
    from_the_image_alone,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

REFERENCE = "sure start"

START: dict[str, Any] = {
    "sureness": "otsu",
    "start_limit": 4.6,
    "learning_rate": 1e-3,
    "penalty": 0.1,
    "steps": 150,
}
"""The reference; the other settings are those of the preset "paper"."""


def choices(steps: int = START["steps"]) -> dict[str, dict[str, Any]]:
    """Settings that each variant changes in the reference, for a loop of `steps` steps."""
    third, released = steps // 3, {"start_limit": 1.0, "warmup": steps // 2}
    literal = {"sureness": "map", "learning_rate": 1e-1}
    return {
        REFERENCE: {},
        "φ within ±1": {"start_limit": 1.0},
        "φ within ±2": {"start_limit": 2.0},
        "the map itself": {"sureness": "map"},
        "sharpened map": {"sureness": "sharpened"},
        "warm-up of a third": {"warmup": third},
        "warm-up of half": {"warmup": steps // 2},
        "φ within ±1, warm-up": released,
        "the map itself, warm-up": {"sureness": "map", "warmup": steps // 2},
        "sharpened map, ±1, warm-up": {"sureness": "sharpened"} | released,
        "networks at 1e-4": {"learning_rate": 1e-4},
        "networks at 3e-3": {"learning_rate": 3e-3},
        "networks at 1e-2": {"learning_rate": 1e-2},
        "networks at 1e-1": {"learning_rate": 1e-1},
        "networks at 1e-1, warm-up": {"learning_rate": 1e-1, "warmup": steps // 2},
        "φ at 1e-2": {"learning_rate_phi": 1e-2},
        "φ at 3e-1": {"learning_rate_phi": 3e-1},
        "φ at 1": {"learning_rate_phi": 1.0},
        "λ = 1": {"penalty": 1.0},
        "λ = 10": {"penalty": 10.0},
        "λ = 100": {"penalty": 100.0},
        "ν = 0": {"nu": 0.0},
        "ν = 10, λ = 10": {"nu": 10.0, "penalty": 10.0},
        "ν = 10, λ = 100": {"nu": 10.0, "penalty": 100.0},
        "ν = 100, λ = 100": {"nu": 100.0, "penalty": 100.0},
        "pixels in 0..10": {"pixel_range": 10.0},
        "pixels in 0..255": {"pixel_range": 255.0},
        "mean over channels": {"channel_mean": True},
        "CELU": {"activation": "celu"},
        "softplus": {"activation": "softplus"},
        "arctan": {"relaxation": "arctan"},
        "μ = ±60": {"latent_mean": 60.0},
        "a third of the steps": {"steps": third},
        "twice the steps": {"steps": 2 * steps},
        "no guided filter": {"guided_radius": 0},
        "literal": literal,
        "literal, ±1": literal | {"start_limit": 1.0},
        "no networks' steps": {"learning_rate": 1e-9},
        "learned variance": {"learned_variance": True},
        "no saliency, clusters of colour": {"start": "clusters"},
        "no saliency, clusters of texture": {"start": "textures"},
        "no saliency, random": {"start": "random"},
    }


VARIANTS = choices()
_SOME = (REFERENCE, "the map itself", "φ within ±1, warm-up", "networks at 1e-1", "λ = 10", "softplus", "literal")
_SMALL = START | {"size": 64, "width": 8}


@dataclass(frozen=True)
class Settings(variants.Settings):
    """Settings; the variants are names in `VARIANTS`, and the reference always runs, too."""

    profiles = {
        "quick": {
            "dataset": "samples",
            "solvers": {"paper": Reduction({**_SMALL, "size": 48, "width": 4, "steps": 24}, 2)},
            "variants": _SOME,
        },
        "cpu": {"dataset": "weizmann", "solvers": {"paper": Reduction(_SMALL, N_TUNING_IMAGES)}},
        "paper": {"dataset": "weizmann", "solvers": {"paper": Reduction(START, N_TUNING_IMAGES)}},
    }
    known = VARIANTS


def groups(settings: Settings) -> list[Group]:
    """Each choice changed, in the paper's loop."""
    return variants.groups(settings, choices(settings.solvers["paper"].changes["steps"]), REFERENCE)


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each reading and the paired difference to the reference, as in `variants.by_solver`."""
    return variants.by_solver(rows, VARIANTS, REFERENCE)


def plot(table: DataFrame) -> Figure:
    """F of each reading and its paired difference to the reference; `table` from `summary`."""
    return variants.plot(table, REFERENCE)


def finding(rows: DataFrame) -> str:
    """How many choices matter, and the most costly ones."""
    changes = variants.changes_of(variants.summary(rows, VARIANTS, REFERENCE, "paper").drop(index=REFERENCE))
    lower = [name for name, each in changes.items() if below(each, -NOTHING_GAINED)]
    higher = [name for name, each in changes.items() if above(each, NOTHING_GAINED)]
    worst = sorted(lower, key=lambda name: changes[name].mean)[:3]
    costly = f"; the most costly: {', '.join(f'{name} {changes[name].mean:+.2f}' for name in worst)}" if worst else ""
    return (
        f"Of {len(changes)} choices, {len(lower)} lower F by more than {NOTHING_GAINED:g} with the whole interval, "
        f"{len(higher) or 'none'} raise{'s' if len(higher) < 2 else ''} it as much{costly}."
    )


# -- what the paper claims ---------------------------------------------------------------------------------------------

UNFILTERED, LEARNED, SMOOTH = "no guided filter", "learned variance", ("softplus", "CELU")
UNHINTED = tuple(name for name in VARIANTS if name.startswith("no saliency"))
"""The variants that decide the claims."""


def _changes(rows: DataFrame, *names: str) -> dict[str, Estimate]:
    """The change of F by variants, where they were run."""
    found = changes_of(variants.summary(rows, dict.fromkeys((REFERENCE, *names)), REFERENCE, "paper"))
    return {name: found[name] for name in names if name in found}


def guided_filter(rows: DataFrame, ours: str) -> Verdict:
    """Does the guided filter at the end of the paper's loop raise F?"""
    for loss in _changes(rows, UNFILTERED).values():
        evidence = f"In the paper's loop the filter changes F by {-loss:+} over {loss.images} images."
        return Verdict(judged(above(-loss)), evidence, {"gain": -loss})
    return not_run("the paper's loop without the filter")


def smooth_activations(rows: DataFrame, ours: str) -> Verdict:
    """Is F no lower with smooth activations than with ReLU?"""
    changes = _changes(rows, *SMOOTH)
    if not changes:
        return not_run("smooth activations")
    parts = [above(changes[name], -NOTHING_GAINED) if name in changes else None for name in SMOOTH]
    images = min(each.images for each in changes.values())
    return Verdict(judged(*parts), f"Against ReLU F changes by {listed(changes)} over {images} images.", changes)


def only_the_image(rows: DataFrame, ours: str) -> Verdict:
    """Is F that of a working method, although nothing but the image is given?"""
    return from_the_image_alone(rows, UNHINTED, REFERENCE, "paper")


def unit_variance(rows: DataFrame, ours: str) -> Verdict:
    """Does a learned variance gain nothing over a variance of 1?"""
    for gain in _changes(rows, LEARNED).values():
        evidence = f"With a learned variance F changes by {gain:+} over {gain.images} images."
        return Verdict(judged(below(gain, NOTHING_GAINED)), evidence, {"gain": gain})
    return not_run("a learned variance")


_PAPERS = {"paper": SINGLE["paper"]}

_ROWS = f"The rows have the recommended reading but for λ = {START['penalty']}, with which ν does nothing."

CLAIMS = (
    Claim(
        id="readings/only-the-image",
        section="abstract; 1.1",
        says=ONLY_THE_IMAGE,
        test=f"{ONLY_THE_IMAGE_TEST} {_ROWS}",
        decide=only_the_image,
        ours=_PAPERS,
        set_after=True,
    ),
    Claim(
        id="readings/unit-variance",
        section="5.1",
        says=UNIT_VARIANCE,
        test="The gain in F from a learned variance, paired over images and seeds, is below "
        f"{NOTHING_GAINED:g}. {PARTS} {_ROWS}",
        decide=unit_variance,
        ours=_PAPERS,
    ),
    Claim(
        id="readings/smooth",
        section="3.4, Remark 3",
        says="A smooth activation, as Theorem 3.3 needs, can take the place of ReLU.",
        test="The change of F by softplus, and by CELU, against ReLU, in the paper's loop, paired over images and "
        f"seeds, is above -{NOTHING_GAINED:g}. {ALL_PARTS} Remark 3 names CReLU, which isn't differentiable; the "
        f"released code has CELU. {_ROWS}",
        decide=smooth_activations,
        ours=_PAPERS,
        set_after=True,
    ),
    Claim(
        id="readings/guided-filter",
        section="5.2",
        says="Guided filtering refines the result.",
        test="The gain in F from the filter at the end of the paper's loop, paired over images and seeds, is above 0. "
        f"{PARTS} {_ROWS}",
        decide=guided_filter,
        ours=_PAPERS,
        set_after=True,
    ),
)

EXPERIMENT = Experiment(
    name="readings",
    title="Readings of Algorithm 1",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
)
