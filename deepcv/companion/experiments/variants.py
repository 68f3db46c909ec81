"""Shared by experiments that change settings of our model: their groups, paired differences and plots.

A variant has a name, the condition `variant`, and changes settings, the conditions `setting` and `value`. It runs in
one or more solvers, which are presets of the deep model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deepcv.companion.claims import FAILS, PARTS, Estimate, Verdict, above, judged, listed
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Group, Images, Reduction, Variant, variant
from deepcv.companion.pictures import COLOURS, compact
from deepcv.errors import InputError
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series
    from pandas.io.formats.style import Styler

Variants = Mapping[str, Mapping[str, Any]]
"""The changed settings of each variant, by name."""

SOLVERS = {"default": "our solver", "paper": "the paper's loop"}
"""Titles of the solvers in tables and figures."""

_SCORES = {"F": "f_measure", "mIoU": "iou"}


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """Settings of these experiments, besides those of every experiment.

    Attributes
    ----------
    variants : tuple of str
        Names of variants; the reference always runs, too.
    solvers : dict of str to Reduction
        The presets of the deep model to run, and how they are reduced.

    Raises
    ------
    InputError
        For an unknown variant, and as in `deepcv.companion.experiments.experiment.Settings`.
    """

    known: ClassVar[Variants] = {}
    unseen: ClassVar[bool] = False
    """Whether only images are taken that no setting may be chosen on."""

    variants: tuple[str, ...] | None = None
    solvers: Mapping[str, Reduction] | None = None

    def __post_init__(self):
        super().__post_init__()
        unknown = sorted(set(self.variants or ()) - set(self.known))
        if unknown:
            raise InputError(f"there is no variant {unknown[0]!r}; choose from {', '.join(self.known)}")


def groups(settings: Settings, known: Variants, reference: str) -> list[Group]:
    """The reference and the chosen variants on each image, solver by solver.

    `settings.size` applies to all but the variants that change the size.
    """
    wanted = dict.fromkeys((reference, *(settings.variants or known)))
    sized = {"size": settings.size} if settings.size else {}
    return [
        Group(
            images_of(settings, solver),
            [_variant(solver, name, known[name], {**how.changes, **sized, **known[name]}) for name in wanted],
        )
        for solver, how in settings.solvers.items()
    ]


def _variant(solver: str, name: str, changed: Mapping[str, Any], changes: Mapping[str, Any]) -> Variant:
    conditions = {"variant": name, "setting": "; ".join(changed), "value": "; ".join(map(str, changed.values()))}
    return variant(f"deep-cv:{solver}", conditions=conditions, **changes)


def images_of(settings: Settings, solver: str) -> Images:
    """The images for a solver."""
    images = Images.load(settings.dataset)
    images = images.unseen() if settings.unseen else images
    return images.first(settings.n_images or settings.solvers[solver].n_images)


def changes_of(table: DataFrame) -> dict[Any, Estimate]:
    """The change of F by each variant of a summary."""
    return {name: Estimate.from_row(row["ΔF"], row["ΔF", "images"]) for name, row in table.iterrows()}


ONLY_THE_IMAGE = "It needs no pre-training and no training samples “except for the input image itself”."
ONLY_THE_IMAGE_TEST = (
    "Mean F, where the networks see one image and the saliency map [34] is computed from it alone, is above "
    f"{FAILS:g}. {PARTS} Beside it, the change of F without the map."
)
"""A claim that two experiments decide, each by its solver, and its test."""

UNIT_VARIANCE = "A latent variance of 1, which saves parameters, is good enough for single images."
"""Another one."""


def from_the_image_alone(rows: DataFrame, unhinted: Collection[str], reference: str, solver: str) -> Verdict:
    """Decides `ONLY_THE_IMAGE` by the reference; the variants `unhinted` start without the saliency map."""
    table = summary(rows, (reference, *unhinted), reference, solver)
    ours = table.loc[reference]
    score = Estimate.from_row(ours["F"], ours["run", "images"])
    evidence = f"F {score} over {score.images} images, by networks that saw no other one."
    changes = changes_of(table.drop(index=reference))
    if changes:
        evidence += f" Without the saliency map, itself computed from the image, it changes by {listed(changes)}."
    return Verdict(judged(above(score, FAILS)), evidence, {"F": score} | changes)


def of_solver(rows: DataFrame, solver: str) -> DataFrame:
    """The rows of one solver; other methods have the preset of our default and count as its rows."""
    return rows[rows["preset"] == solver]


def summary(rows: DataFrame, names: Collection[str], reference: str, solver: str = "default") -> DataFrame:
    """Means over images for each variant, and the paired difference to the reference on the same images and seeds.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`, or of a recorded run.
    names : collection of str
        The variants in the order of the table; those without rows are left out.
    reference : str
        The variant that the others are compared with.
    solver : str

    Returns
    -------
    pandas.DataFrame
        Indexed by variant. Columns in groups: `F`, `mIoU` and `ΔF`, each with `mean`, `low` and `high` (95 %, bootstrap
        over images, seeds of an image averaged first), of ΔF also `images`, those that are compared; and `run` with
        `s/image` (median), `images` and `seeds`. If the interval of ΔF includes 0, these images can't tell the variant
        from the reference.
    """
    import pandas as pd

    rows = of_solver(rows, solver)
    found = {name: rows[rows["variant"] == name].set_index(["image", "seed"]) for name in names}
    compared = found[reference]["f_measure"]
    table = {}
    for name, group in found.items():
        if group.empty:
            continue
        values = {title: group[score] for title, score in _SCORES.items()}
        values["ΔF"] = (group["f_measure"] - compared).dropna()
        row = {(title, each): number for title, of in values.items() for each, number in mean_of(of).items()}
        row["ΔF", "images"] = values["ΔF"].index.get_level_values("image").nunique()
        row["run", "s/image"] = group["seconds"].median()
        row["run", "images"] = group.index.get_level_values("image").nunique()
        row["run", "seeds"] = group.index.get_level_values("seed").nunique()
        table[name] = row
    columns = [(title, each) for title in (*_SCORES, "ΔF") for each in ("mean", "low", "high")]
    columns += [("ΔF", "images"), *(("run", each) for each in ("s/image", "images", "seeds"))]
    table = pd.DataFrame.from_dict(table, orient="index", columns=pd.MultiIndex.from_tuples(columns))
    return table.astype({("ΔF", "images"): int, ("run", "images"): int, ("run", "seeds"): int})


def by_solver(rows: DataFrame, names: Collection[str], reference: str) -> DataFrame:
    """`summary` of each solver that has rows, indexed by the solver's title and the variant."""
    import pandas as pd

    present = [solver for solver in SOLVERS if len(of_solver(rows, solver))]
    return pd.concat({SOLVERS[solver]: summary(rows, names, reference, solver) for solver in present})


def readable(table: DataFrame, *, seconds: bool = True) -> Styler:
    """A styled `summary` or `by_solver` table: each score with its interval in one column; times are optional.

    One image has no interval.
    """
    run = (table["run"] if seconds else table["run"].drop(columns="s/image")).round(2)
    shown = run.astype(str).where(run.notna(), "–")
    for position, (title, digits) in enumerate((("F", ".3f"), ("mIoU", ".3f"), ("ΔF", "+.3f"))):
        numbers = table[title].map(lambda number, digits=digits: format(number, digits))
        intervals = " (" + numbers["low"] + " to " + numbers["high"] + ")"
        shown.insert(position, title, numbers["mean"] + intervals.where(table["run", "images"] > 1, ""))
    if shown.index.nlevels > 1 and shown.index.get_level_values(0).nunique() == 1:
        shown = shown.droplevel(0)  # one solver needs no name
    return compact(shown.style)


def mean_of(values: Series) -> dict[str, float]:
    """`mean`, and `low` and `high` of its 95 % bootstrap interval, over images, by which `values` are indexed."""
    by_image = values.groupby("image").mean()
    mean = by_image.mean()
    low, high = bootstrap_interval(by_image) if len(by_image) else (mean, mean)
    return {"mean": mean, "low": min(low, mean), "high": max(high, mean)}  # rounding; error bars can't be negative


def plot(table: DataFrame, reference: str) -> Figure:
    """F of each variant and its paired difference to the reference, for each solver.

    Parameters
    ----------
    table : pandas.DataFrame
        From `by_solver`.
    reference : str
    """
    import matplotlib.pyplot as plt

    solvers, names = (list(dict.fromkeys(table.index.get_level_values(level))) for level in (0, 1))
    height = 0.32 * len(names) + 1.5
    figure, (score, change) = plt.subplots(1, 2, figsize=(10, height), sharey=True, layout="constrained")
    for index, solver in enumerate(solvers):
        shift = 0.24 * (index - (len(solvers) - 1) / 2)
        style = {"color": COLOURS[index], "marker": "os"[index], "label": solver}
        found = table.loc[solver].reindex(names)
        plot_intervals(score, found["F"], shift, **style)
        plot_intervals(change, found["ΔF"], shift, **style)
    for axis in (score, change):
        axis.locator_params(axis="x", nbins=5)
    score.set_xlabel("F-measure, mean and 95 % interval")
    change.set_xlabel(f"change of F against {reference}, 95 % interval")
    change.axvline(0, color="0.3", lw=0.8, ls="--")
    if len(solvers) > 1:
        figure.legend(*score.get_legend_handles_labels(), loc="outside upper center", ncols=len(solvers), fontsize=8)
    return figure


def plot_intervals(axis: Axes, table: DataFrame, shift: float = 0.0, *, least: float = -math.inf, **style) -> None:
    """Draw means with their intervals, first row on top; values below `least` are written at the edge instead.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
    table : pandas.DataFrame
        A group of columns of `summary`: `mean`, `low`, `high`.
    shift : float
        Distance below the row, so that series don't hide one another.
    least : float
    **style
        `color`, `marker`, `label`, as in `errorbar`.
    """
    rows = np.arange(len(table)) + shift
    error = [table["mean"] - table["low"], table["high"] - table["mean"]]
    axis.errorbar(table["mean"], rows, xerr=error, **{"ms": 4, "lw": 1, "ls": "", **style})
    axis.set(yticks=range(len(table)), yticklabels=list(table.index), ylim=(len(table) - 0.4, -0.6))
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(alpha=0.25)
    for row, value in zip(rows, table["mean"], strict=True):
        if value < least:
            axis.set_xlim(left=least)
            axis.annotate(f"← {value:.2f}", (least, row), xytext=(3, -3), textcoords="offset points", fontsize=8)
