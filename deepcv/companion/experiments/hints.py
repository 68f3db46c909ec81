"""The hint is the bottleneck: how far each idea for a better one went.

Not in the paper. The methods start from the saliency map, and where it errs they do. Each variant is another map of the
same image; none looks at a truth but the last, which says what a perfect hint would be worth.

Reported apart: images of `deepcv.companion.experiments.experiment.for_choosing`, and others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.compute import segment
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.confidence import CHOSEN, UNSEEN, both_parts
from deepcv.companion.experiments.experiment import Experiment, Group, variant
from deepcv.companion.experiments.variants import mean_of, plot_intervals
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, dataset_title
from deepcv.companion.recorded import full_names
from deepcv.data import Sample
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.methods import title
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

REFERENCE, TRUTH = "the map", "the truth"
BY_TRUTH = (TRUTH, "the best, by the truth")
"""Variants that look at the truth; not drawn."""
MAPS: dict[str, tuple[dict[str, Any], ...]] = {
    REFERENCE: (),
    "250 superpixels alone": ({"superpixels": (250,)},),
    "160 pixels": ({"longest_side": 160},),
    "300 and 160 pixels": ({}, {"longest_side": 160}),
    "three sizes, one count each": tuple(
        {"longest_side": side, "superpixels": (count,)} for side, count in ((300, 400), (220, 250), (160, 150))
    ),
    "colours alone": ({"texture_weight": 0.0},),
    "with and without texture": ({}, {"texture_weight": 0.0}),
    "no centre": ({"centre_width": 10.0, "object_bias": 0.0},),
    "with and without centre": ({}, {"centre_width": 10.0, "object_bias": 0.0}),
    TRUTH: (),
}
"""Settings of the saliency map, by variant; several maps are averaged."""

# -- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    methods, maps : tuple of str
        "method" or "method:preset", and keys of `MAPS`.
    datasets : dict of str to tuple
        As of `deepcv.companion.experiments.confidence.Settings`.
    """

    profiles = {
        "quick": {"datasets": {"samples": (0, 1)}, "methods": ("saliency",), "maps": (REFERENCE, "160 pixels", TRUTH)},
        "cpu": {
            "datasets": {"weizmann": (20, 80), "ecssd": (50, 60)},
            "methods": ("saliency", "ridge", "deep-cv"),
            "maps": tuple(MAPS),
        },
        "paper": {
            "datasets": {"weizmann": (20, 80), "ecssd": (200, 800)},
            "methods": ("saliency", "ridge", "deep-cv"),
            "maps": tuple(MAPS),
        },
    }

    seeds: tuple[int, ...] = field(default=(0,))
    methods: tuple[str, ...] | None = None
    maps: tuple[str, ...] | None = None
    datasets: Mapping[str, tuple[int, int]] | None = None


_IN_TURN = 10  # images of a data set before the next one's turn


def groups(settings: Settings) -> list[Group]:
    """Each method from each map, the cheapest first, on some images of each data set in turn."""
    found = []
    for number, name in enumerate(settings.methods or ()):
        for part, images in both_parts(settings):
            conditions = [{"variant": each, "images": part} for each in settings.maps or ()]
            variants = [variant(name, settings.size, conditions=each) for each in conditions]
            for turn, at in enumerate(range(0, len(images.samples), _IN_TURN)):
                piece = replace(images, samples=images.samples[at : at + _IN_TURN])
                found.append(((number, turn), Group(piece, variants)))
    return [group for _, group in sorted(found, key=lambda each: each[0])]


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Segment from the variant's map."""
    assert sample.mask is not None
    wanted = item.conditions["variant"]
    if wanted == TRUTH:
        hint = sample.mask.astype(np.float32)
    elif MAPS[wanted]:
        own = [hint if not each else structured_matrix_decomposition(sample.image, **each) for each in MAPS[wanted]]
        hint = np.mean(own, axis=0)
    return segment(item, sample, hint, device), {}


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame, order: Collection[str] = tuple(MAPS)) -> DataFrame:
    """F from each map, or from other variants in `order`, and its paired difference to the map as it is.

    By data set, images and method, each with its 95 % bootstrap interval over images, seeds averaged first: columns
    `F`, `ΔF` and `images`.
    """
    import pandas as pd

    table = {}
    parts = rows.assign(name=full_names(rows)).groupby(["dataset", "images", "name"], sort=False)
    for (dataset, part, name), own in parts:
        scores = own.pivot_table("f_measure", "image", "variant", sort=False)
        for map_ in [each for each in order if each in scores]:
            row = {("F", key): number for key, number in mean_of(scores[map_].dropna()).items()}
            row["run", "images"] = scores[map_].count()
            if REFERENCE in scores and len(change := (scores[map_] - scores[REFERENCE]).dropna()):
                row |= {("ΔF", key): number for key, number in mean_of(change).items()}
            table[dataset, part, title(name), map_] = row
    result = pd.DataFrame.from_dict(table, orient="index")
    result.columns = pd.MultiIndex.from_tuples(result.columns)
    return result


def readable(table: DataFrame, order: Collection[str] = tuple(MAPS)) -> Styler:
    """A styled `summary`: a row by map and method, a column by data set and part; changes in brackets."""
    text = table["F", "mean"].map("{:.3f}".format) + table["ΔF", "mean"].map(" ({:+.3f})".format)
    wide = text.unstack([0, 1]).fillna("–")
    lines = [(map_, name) for map_ in order for name in dict.fromkeys(table.index.get_level_values(2))]
    wide = wide.reorder_levels([1, 0]).reindex([each for each in lines if each[::-1] in wide.index])
    return compact(wide.rename(columns=dataset_title, level=0).style)


def plot(table: DataFrame, order: Collection[str] = tuple(MAPS)) -> Figure:
    """The change of F with each map, without those that see the truth, a panel for each data set; from `summary`."""
    import matplotlib.pyplot as plt

    shown = table[~table.index.get_level_values(3).isin((REFERENCE, *BY_TRUTH))]
    unseen = shown[shown.index.get_level_values(1) == UNSEEN]
    shown = unseen if len(unseen) else shown
    datasets = list(dict.fromkeys(shown.index.get_level_values(0)))
    methods = list(dict.fromkeys(shown.index.get_level_values(2)))
    maps = [each for each in order if each in set(shown.index.get_level_values(3))]
    figure, axes = plt.subplots(
        1, max(1, len(datasets)), figsize=(3 + 2.6 * max(1, len(datasets)), 0.42 * len(maps) + 1.3), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, dataset in zip(axes[0], datasets, strict=False):
        for number, name in enumerate(methods):
            own = shown[[(where, each) == (dataset, name) for where, _, each, _ in shown.index]].droplevel((0, 1, 2))
            style = {"color": COLOURS[number], "marker": "osD^"[number % 4], "label": name}
            plot_intervals(axis, own["ΔF"].reindex(maps), 0.2 * (number - (len(methods) - 1) / 2), **style)
        axis.axvline(0, color="0.5", ls="--", lw=1)
        axis.set(title=dataset_title(dataset), xlabel="change of F")
        axis.locator_params(axis="x", nbins=4)
    if len(methods) > 1:
        axes[0, 0].legend(fontsize=7, loc="best")
    return figure


def finding(rows: DataFrame) -> str:
    """The best map by its mean change where maps are chosen, what it does on other images; what the truth would do.

    Where nothing is recorded of the images for choosing, the best map of the others.
    """
    changes = summary(rows)["ΔF"].dropna().reset_index()
    changes.columns = ["dataset", "images", "name", "map", "change", "low", "high"]
    solved = changes[changes["name"] != title("saliency")]  # the map's own threshold can only repeat the truth
    means = (solved if len(solved) else changes).groupby(["images", "map"])["change"].mean()
    others = means.drop(index=[REFERENCE, TRUTH], level=1, errors="ignore")
    if others.empty:
        return "No other map is recorded yet."
    part = CHOSEN if CHOSEN in others.index.get_level_values(0) else UNSEEN
    best = others[part].idxmax()
    where = "on the images for choosing" if part == CHOSEN else "on unseen images"
    told = f"Of {len(others[part])} other maps “{best}” is the best {where}: it changes F by {others[part][best]:+.3f}"
    told += f", mean over {solved['name'].nunique()} methods and {solved['dataset'].nunique()} sets of photographs"
    if part == CHOSEN and (UNSEEN, best) in others.index:
        told += f"; on unseen ones {others[UNSEEN, best]:+.3f}"
    if (UNSEEN, TRUTH) in means.index:
        told += f". The truth as hint would change it by {means[UNSEEN, TRUTH]:+.3f} there"
    unseen = solved[(solved["images"] == UNSEEN) & ~solved["map"].isin([REFERENCE, TRUTH])]
    better, worse = (unseen["low"] > 0).sum(), (unseen["high"] < 0).sum()
    if len(unseen):
        told += f". Of {len(unseen)} changes on unseen images, one for each map, method and set, {better} raise F and "
        told += f"{worse} lower it, by intervals that exclude 0"
    return f"{told}."


EXPERIMENT = Experiment(
    name="hints",
    title="A better hint",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
)
