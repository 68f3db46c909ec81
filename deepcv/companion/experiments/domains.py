"""Table 1 on other pictures: natural scenes, two objects, cell nuclei under a microscope.

Not in the paper, whose Table 1 has one kind of photograph. The methods start from the same saliency hint and have the
settings of Table 1, which were chosen on Weizmann. Images that settings were, or may be, chosen on (`for_choosing`) are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepcv.companion.claims import OURS, SINGLE, Estimate, against_ours, p_value, score_of
from deepcv.companion.experiments import table1
from deepcv.companion.experiments.experiment import REDUCED, Experiment, Group, Images, Reduction, for_choosing
from deepcv.companion.pictures import COLOURS, compact, dataset_title, mask_grid
from deepcv.companion.recorded import full_names, full_run
from deepcv.methods import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

# -- what is run -------------------------------------------------------------------------------------------------------

_CHEAP = ("deep-cv", "saliency", "hint-cut", "ridge", "chan-vese", "grabcut")
_ABLATIONS = ("deep-cv:auto-encoder", "mixture", "mixture:grabcut", "forest", "feature-clustering")
_FAST = (*_CHEAP, *_ABLATIONS, "statistical", "iem")
_SLOW = ("deep-cv:paper",)


@dataclass(frozen=True)
class Settings(table1.Settings):
    """Settings of Table 1, but with several data sets; `dataset` names one instead.

    Attributes
    ----------
    datasets : dict of str to int
        The data sets, and how many of their images that no setting was chosen on are run; None for all.
    """

    profiles = {
        "quick": {"datasets": {"samples": 2, "nuclei": 3}, "methods": _CHEAP, "reduced": {}, "size": 96},
        "cpu": {
            "datasets": {"dsb2018": None, "ecssd": 60, "weizmann2": 60},
            "methods": (*_FAST, *_SLOW),
            "reduced": {name: REDUCED[name] for name in _SLOW},
        },
        "paper": {
            "datasets": dict.fromkeys(("dsb2018", "ecssd", "weizmann2")),
            "methods": (*_FAST, *_SLOW, "double-dip:otsu"),
            "reduced": dict.fromkeys((*_SLOW, "double-dip:otsu"), Reduction()),
        },
    }

    datasets: Mapping[str, int | None] | None = None


def groups(settings: Settings) -> list[Group]:
    """The fast methods on every data set, then each slow one."""
    wanted = {settings.dataset: None} if settings.dataset else settings.datasets
    parts = [Images.load(name).unseen().first(count).first(settings.n_images) for name, count in wanted.items()]
    return [
        Group(images.first(count), variants) for count, variants in table1.fast_then_slow(settings) for images in parts
    ]


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """How each method does on each data set, and our lead over it, image by image.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by data set and title, best mean F first, methods that ran on fewer images than others last. Seeds of an
        image are averaged first. Columns in groups: `F` and `mIoU`, each with `mean`, `low` and `high` (95 %, bootstrap
        over images) and `median`; `ours`, our F minus the method's, paired over images, with `lead`, `low`, `high`, and
        `won` and `p` of `deepcv.companion.claims.against_ours`, NaN for ours; `run` with `s/image`
        (median), `images` and `seeds`.
    """
    import pandas as pd

    table = {}
    for dataset, part in rows.groupby("dataset", sort=False):
        names = full_names(part)
        found = {name: _row(part, name, part[names == name]) for name in names.unique()}
        images = {name: row["run", "images"] for name, row in found.items()}
        for name in sorted(found, key=lambda name: (images[name] < max(images.values()), -found[name]["F", "mean"])):
            table[dataset, title(name)] = found[name]
    result = pd.DataFrame.from_dict(table, orient="index").infer_objects()
    result.columns = pd.MultiIndex.from_tuples(result.columns)
    return result


def _row(rows: DataFrame, name: str, own: DataFrame) -> dict[tuple[str, str], float]:
    row: dict[tuple[str, str], float] = {}
    for short, score in (("F", "f_measure"), ("mIoU", "iou")):
        values = score_of(rows, name, score)
        found = Estimate.over(values)
        row |= {(short, "mean"): found.mean, (short, "low"): found.low, (short, "high"): found.high}
        row[short, "median"] = values.median()
    row |= {("ours", each): np.nan for each in ("lead", "low", "high", "won", "p")}
    ours, theirs = (score_of(rows, each, "f_measure") for each in (OURS, name))
    if name != OURS and len(leads := (ours - theirs).dropna()):
        found = Estimate.over(leads)
        row |= {("ours", "lead"): found.mean, ("ours", "low"): found.low, ("ours", "high"): found.high}
        row["ours", "won"], row["ours", "p"] = against_ours(ours, theirs).values()
    row["run", "s/image"] = own["seconds"].median()
    return row | {("run", "images"): own["image"].nunique(), ("run", "seeds"): own["seed"].nunique()}


def over_kinds(rows: DataFrame) -> DataFrame:
    """F of each method by kind of picture, with Weizmann's 80 unseen photographs where Table 1 is recorded.

    Of the methods that ran on all images of every kind. Indexed by title, best `mean` first; a column for each data
    set, `mean` and `lowest` over them, and `least lead`, our smallest lead in F on any of them, NaN for ours.
    """
    import pandas as pd

    recorded = full_run("table1")
    if len(recorded):
        recorded = recorded[~recorded["image"].isin(for_choosing("weizmann", sorted(recorded["image"].unique())))]
        rows = pd.concat([recorded, rows])
    rows = rows.assign(name=full_names(rows))
    images = rows.groupby("dataset")["image"].nunique()
    means = rows.groupby(["name", "dataset", "image"])["f_measure"].mean().groupby(level=(0, 1)).agg(["mean", "size"])
    complete = (means["size"] == means.index.get_level_values(1).map(images)).groupby(level=0).sum() == len(images)
    table = means["mean"].unstack()[list(images.index)][complete.reindex(means.index.levels[0])]
    kinds = list(table.columns)
    table = table.assign(mean=table[kinds].mean(axis=1), lowest=table[kinds].min(axis=1))
    if OURS in table.index:
        table["least lead"] = (table.loc[OURS, kinds] - table[kinds]).min(axis=1).drop(OURS)
    return table.sort_values("mean", ascending=False).rename(index=title)


def readable_kinds(table: DataFrame) -> Styler:
    """A styled `over_kinds`."""
    leads = [name for name in ("least lead",) if name in table]
    shown = table.rename(columns=dataset_title)
    return compact(shown.style.format(precision=3).format("{:+.3f}", subset=leads, na_rep="–"))


def readable(table: DataFrame) -> Styler:
    """A styled `summary`: each estimate with its interval in one column, without mIoU's median and the times."""
    import pandas as pd

    def joined(group: str, mean: str, how: str):
        numbers = table[group].map(lambda number: format(number, how))
        text = numbers[mean] + " (" + numbers["low"] + " to " + numbers["high"] + ")"
        return text.where(table[group, mean].notna(), "–")

    shown = pd.DataFrame(
        {
            "F": joined("F", "mean", ".3f"),
            "median F": table["F", "median"].map("{:.3f}".format),
            "mIoU": table["mIoU", "mean"].map("{:.3f}".format),
            "our lead in F": joined("ours", "lead", "+.3f"),
            "ours better": table["ours", "won"].map("{:.0%}".format).where(table["ours", "won"].notna(), "–"),
            "p": table["ours", "p"].map(p_value),
            "images": table["run", "images"].astype(int).astype(str),
        }
    )
    return compact(shown.rename(index=dataset_title, level=0).style)


def plot(table: DataFrame) -> Figure:
    """F of each method on each data set: mean, its 95 % interval and, as a bar, the median; `table` from `summary`.

    A dot is white where a method ran on fewer images than others.
    """
    import matplotlib.pyplot as plt

    datasets = list(dict.fromkeys(table.index.get_level_values(0)))
    names = list(dict.fromkeys(table.index.get_level_values(1)))
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(2.4 + 2.1 * len(datasets), 0.32 * len(names) + 1.2), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    places = {name: -place for place, name in enumerate(names)}
    dark, light = COLOURS[:2]
    for axis, dataset in zip(axes[0], datasets, strict=True):
        scores = table.loc[dataset]["F"]
        heights = [places[name] for name in scores.index]
        reach = np.abs(scores[["low", "high"]].to_numpy().T - scores["mean"].to_numpy())
        axis.errorbar(scores["mean"], heights, xerr=reach, fmt="o", color=dark, ms=5, lw=1.2, label="mean and interval")
        fewer = (images := table.loc[dataset]["run", "images"]) < images.max()
        style = {"color": dark, "mfc": "white", "ms": 5, "zorder": 3, "label": "on fewer images"}
        axis.plot(scores["mean"][fewer], np.array(heights)[fewer], "o", **style)
        axis.plot(scores["median"], heights, "|", color=light, ms=11, mew=2, label="median")
        axis.set(title=dataset_title(dataset), xlabel="F", yticks=list(places.values()), yticklabels=list(places))
        axis.grid(axis="x", alpha=0.25)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=7, loc="outside lower right", ncols=3)
    return figure


def plot_masks(rows: DataFrame) -> Figure:
    """The masks of the first seed on the embedded images of nuclei, one line per image."""
    shown = rows[(rows["dataset"] == "nuclei") & (rows["seed"] == rows["seed"].iloc[0])]
    return mask_grid(shown.assign(column=full_names(shown).map(title)))


def finding(rows: DataFrame) -> str:
    """Our F on each data set, and its lead over the best of the other methods that ran on all of its images."""
    found = []
    for dataset, part in rows.groupby("dataset", sort=False):
        by_image = part.groupby([full_names(part), "image"])["f_measure"].mean().unstack(level=0)
        if OURS not in by_image:
            continue
        ours = by_image[OURS].mean()
        others = by_image.mean()[by_image.notna().all()]
        others = others[[name == SINGLE["paper"] or not name.startswith("deep-cv:") for name in others.index]]
        if others.empty:
            continue
        best = others.idxmax()
        ahead = Estimate.over((by_image[OURS] - by_image[best]).dropna())
        found.append(f"{dataset_title(dataset)} {ours:.3f}, {ahead:+} against {title(best)}")
    told = "; ".join(found) or "not recorded yet"
    return f"F of our default on each kind of picture, and its lead over the best other method: {told}."


EXPERIMENT = Experiment(
    name="domains",
    title="Other pictures",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
)
