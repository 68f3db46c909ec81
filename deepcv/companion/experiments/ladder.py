"""Size and width in the paper's loop: how F moves from the reduced form that two cores run to the full one.

Table 1 reduces the preset "paper" to 128 px and 16 channels. Here the same loop climbs from 64 px and 8 channels to 300
px and 64 channels, on fewer images the higher it gets, and each step of the ladder is compared with Table 1's form on
the images that both have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepcv.companion.experiments import experiment, variants
from deepcv.companion.experiments.experiment import (
    N_TUNING_IMAGES,
    REDUCED,
    Experiment,
    Group,
    Images,
    Reduction,
    variant,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def _rung(size: int, width: int, n_images: int, steps: int | None = None) -> Reduction:
    return Reduction({"size": size, "width": width} | ({"steps": steps} if steps else {}), n_images)


def _name(rung: Reduction) -> str:
    return f"{rung.changes['size']} px, width {rung.changes['width']}"


REFERENCE = _name(REDUCED["deep-cv:paper"])

_CPU = (
    _rung(64, 8, N_TUNING_IMAGES),
    _rung(96, 16, N_TUNING_IMAGES),
    replace(REDUCED["deep-cv:paper"], n_images=N_TUNING_IMAGES),
    _rung(128, 32, 10),
    _rung(200, 32, 5),
    _rung(300, 64, 2),
)


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    rungs : tuple of Reduction
        Size, width and number of images of each step of the ladder.
    """

    profiles = {
        "quick": {"dataset": "samples", "rungs": (_rung(48, 4, 2, 20), _rung(64, 8, 2, 20))},
        "cpu": {"dataset": "weizmann", "rungs": _CPU},
        "paper": {"dataset": "weizmann", "rungs": tuple(Reduction(each.changes) for each in _CPU)},
    }

    rungs: tuple[Reduction, ...] | None = None


def groups(settings: Settings) -> list[Group]:
    """The paper's loop at each step of the ladder, the smallest first."""
    images = Images.load(settings.dataset)
    return [
        Group(
            images.first(settings.n_images or rung.n_images),
            [variant("deep-cv:paper", conditions={"variant": _name(rung)}, **rung.changes)],
        )
        for rung in settings.rungs or ()
    ]


def summary(rows: DataFrame) -> DataFrame:
    """Scores at each step of the ladder and the paired difference to Table 1's form, as in `variants.summary`.

    Without rows of Table 1's form, the first step is the reference.
    """
    names = _names(rows)
    return variants.summary(rows, names, _reference(names), "paper")


def plot(table: DataFrame) -> Figure:
    """F at each step of the ladder and its paired difference to the reference; `table` from `summary`."""
    import pandas as pd

    return variants.plot(pd.concat({variants.SOLVERS["paper"]: table}), _reference(list(table.index)))


def _names(rows: DataFrame) -> list[str]:
    """The steps of the ladder, by size, then width."""
    return sorted(rows["variant"].unique(), key=lambda name: [int(each) for each in name.split() if each.isdigit()])


def _reference(names: list[str]) -> str:
    return REFERENCE if REFERENCE in names else names[0]


def finding(rows: DataFrame) -> str:
    """The change of F from the form that Table 1 has to each other one."""
    table = summary(rows)
    reference = _reference(list(table.index))
    changes = variants.changes_of(table.drop(index=reference))
    if not changes:
        return f"Only {reference} is recorded yet."
    told = "; ".join(f"by {each:+} with {name}, on {each.images} images" for name, each in changes.items())
    larger = list(table.index)[list(table.index).index(reference) + 1 :]
    unknown = "" if larger else " No larger form is recorded yet, so what the full one would reach isn't known."
    form = ", the form in Table 1," if reference == REFERENCE else ""
    return f"Against {reference}{form} F of the paper's loop changes {told}.{unknown}"


EXPERIMENT = Experiment(
    name="ladder",
    title="Size and width",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
)
