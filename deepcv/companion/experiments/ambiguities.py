"""Where the paper is silent or the authors' released code differs: what each difference does to F.

Each setting in which `deepcv.model.settings.Settings.paper` and `Settings.released` differ is changed alone, in the
paper's loop, from the paper's value to the released one; then all of them together. The guided filter, which both have,
is left out once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import Claim, Estimate, Verdict, judged, not_run
from deepcv.companion.experiments import variants
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, Experiment, Group, Reduction
from deepcv.companion.experiments.variants import changes_of
from deepcv.model.settings import Settings as ModelSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

REFERENCE = "paper"

RELEASED = "released"

UNFILTERED = "no guided filter"

_PAPER = ModelSettings.paper()


def switches(steps: int = _PAPER.steps) -> dict[str, dict[str, Any]]:
    """Settings that each variant changes in the preset "paper"; the warm-up is a share of the loop's `steps`."""
    paper, released = dataclasses.asdict(_PAPER), dataclasses.asdict(ModelSettings.released())
    different = {name: value for name, value in released.items() if value != paper[name]}
    different["warmup"] = steps * released["warmup"] // released["steps"]
    names = {name: f"{name} = {str(value).removesuffix('.0')}" for name, value in different.items()}
    names["warmup"] = "warmup of half the steps"
    alone = {names[name]: {name: value} for name, value in different.items()}
    return {REFERENCE: {}, **alone, RELEASED: different, UNFILTERED: {"guided_radius": 0}}


VARIANTS = switches()


@dataclass(frozen=True)
class Settings(variants.Settings):
    """Settings; the variants are names in `VARIANTS`, and the paper's settings always run, too."""

    profiles = {
        "quick": {"dataset": "samples", "solvers": {"paper": Reduction({"size": 64, "width": 8, "steps": 24}, 3)}},
        "cpu": {"dataset": "weizmann", "solvers": {"paper": Reduction({"size": 64, "width": 8}, 5)}},
        "paper": {"dataset": "weizmann", "solvers": {"paper": Reduction({}, N_TUNING_IMAGES)}},
    }
    known = VARIANTS


def groups(settings: Settings) -> list[Group]:
    """Each difference changed, in the paper's loop."""
    steps = settings.solvers["paper"].changes.get("steps", _PAPER.steps)
    return variants.groups(settings, switches(steps), REFERENCE)


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each variant and the paired difference to the paper's settings, as in `variants.by_solver`."""
    return variants.by_solver(rows, VARIANTS, REFERENCE)


def plot(table: DataFrame) -> Figure:
    """F of each variant and its paired difference to the paper's settings; `table` from `summary`."""
    return variants.plot(table, "the paper's settings")


def guided_filter(rows: DataFrame) -> Verdict:
    """Does the guided filter at the end of the paper's loop raise F?"""
    changes = changes_of(summary(rows))
    loss = next((each for (_, name), each in changes.items() if name == UNFILTERED), None)
    if loss is None:
        return not_run("the paper's loop without the filter")
    gain = Estimate(-loss.mean, -loss.high, -loss.low, loss.images)
    evidence = f"In the paper's loop, reduced, the filter changes F by {gain:+} over {gain.images} images."
    return Verdict(judged(gain.low > 0, gain.mean > 0), evidence, {"gain": gain})


CLAIMS = (
    Claim(
        id="ambiguities/guided-filter",
        section="5.2",
        says="Guided filtering refines the result.",
        test="The gain in F from the filter at the end of the paper's loop, paired over images and seeds. Reproduced: "
        "its whole 95 % interval is above 0. Partly: its mean is.",
        decide=guided_filter,
    ),
)

EXPERIMENT = Experiment(
    name="ambiguities",
    title="Ambiguities",
    settings=Settings,
    groups=groups,
    summary=summary,
    plot=plot,
    claims=CLAIMS,
)
