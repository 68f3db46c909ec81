"""Where the paper is silent or the authors' released code does otherwise: what each difference does to F.

Every setting in which the presets `Settings.paper` and `Settings.released` of `deepcv.model.solver` differ is turned alone,
in the paper's loop, from the paper's value to the released one; then all of them together. Besides, the guided filter
is left out, which both have.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import Estimate, Verdict, _not_run, judged
from deepcv.companion.experiments import variants as _variants
from deepcv.companion.experiments.experiment import CHOSEN_ON, Slow, complete
from deepcv.companion.experiments.variants import Profile, _changes
from deepcv.companion.store import Item
from deepcv.model import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def guided_filter(rows: DataFrame) -> Verdict:
    """Does the guided filter at the end of the paper's loop add to F?"""
    from deepcv.companion.experiments import ambiguities

    changes = _changes(ambiguities.summary(rows))
    loss = next((each for (_, name), each in changes.items() if name == ambiguities.UNFILTERED), None)
    if loss is None:
        return _not_run("the paper's loop without the filter")
    gain = Estimate(-loss.mean, -loss.high, -loss.low, loss.images)
    evidence = f"In the paper's loop, reduced, the filter changes F by {gain:+} over {gain.images} images."
    return Verdict(judged(gain.low > 0, gain.mean > 0), evidence, {"gain": gain})


REFERENCE = "paper"


RELEASED = "released"


UNFILTERED = "no guided filter"


_PAPER = settings.Settings.paper()


def switches(steps: int = _PAPER.steps) -> dict[str, dict[str, Any]]:
    """What each variant changes of the preset "paper", in a loop of so many steps: the warm-up is a share of them."""
    paper, released = dataclasses.asdict(_PAPER), dataclasses.asdict(settings.Settings.released())
    different = {name: value for name, value in released.items() if value != paper[name]}
    different["warmup"] = steps * released["warmup"] // released["steps"]
    names = {name: f"{name} = {str(value).removesuffix('.0')}" for name, value in different.items()}
    names["warmup"] = "warmup of half the steps"
    alone = {names[name]: {name: value} for name, value in different.items()}
    return {REFERENCE: {}, **alone, RELEASED: different, UNFILTERED: {"guided_radius": 0}}


VARIANTS = switches()


PROFILES = {
    "quick": Profile("samples", {"paper": Slow({"size": 64, "width": 8, "steps": 24}, 3)}, tuple(VARIANTS)),
    "cpu": Profile("weizmann", {"paper": Slow({"size": 64, "width": 8}, 5)}, tuple(VARIANTS)),
    "paper": Profile("weizmann", {"paper": Slow({}, CHOSEN_ON)}, tuple(VARIANTS)),
}


@dataclass(frozen=True)
class Settings(_variants.Settings):
    """What to run; the variants are names in `VARIANTS`, and the paper's settings are always run beside them."""

    profiles = PROFILES
    known = VARIANTS


def items(settings: Settings) -> list[Item]:
    """All results that are needed."""
    steps = settings.defaults.solvers["paper"].changes.get("steps", _PAPER.steps)
    return _variants.items("ambiguities", settings, switches(steps), REFERENCE)


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, variant and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Ambiguities")


def summary(rows: DataFrame) -> DataFrame:
    """Scores with each setting turned alone, and the paired difference to the paper's settings.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by the loop and the variant; the columns of `choices.summary`.
    """
    return _variants.by_solver(rows, VARIANTS, REFERENCE)


def plot(table: DataFrame) -> Figure:
    """F with each setting turned, and its paired difference to the paper's settings; `table` from `summary`."""
    return _variants.plot(table, "the paper's settings")
