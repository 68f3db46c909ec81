"""What a box or clicks are worth, for every method that takes a hint.

Not in the paper. The user is simulated from the ground truth. A box is the mask's bounding box, or one that is 20 %
larger in both directions. Clicks follow the usual rule (Xu, Price, Cohen, Yang and Huang, "Deep interactive object
selection", CVPR 2016): the next one is at the centre, farthest from the border, of the largest connected region that is
wrong, and says which side it is on; the first corrects what was found without marks.

Images that settings were, or may be, chosen on (`deepcv.companion.experiments.experiment.for_choosing`) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.claims import OURS
from deepcv.companion.compute import segment
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Experiment, Group, Images, variant
from deepcv.companion.experiments.variants import mean_of
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, dataset_title, faded, head_grid
from deepcv.companion.recorded import full_names
from deepcv.data import Sample, samples
from deepcv.hints.hint import hint_for
from deepcv.images import as_colour, as_image, resize, to_uint8, working_shape
from deepcv.methods import get_method, title
from deepcv.metrics import f_measure
from deepcv.seeds import Seeds, with_seeds
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

NOTHING, CLICKS = "nothing", "clicks"
BOXES = {"box": 0.0, "box 20 % larger": 0.2}
"""The boxes, and how much larger than the object each is."""
N_CLICKS = 5
SHOWN = (0, 1, 2, 3, 5)
"""Numbers of clicks in tables."""

_BOXED = ("deep-cv", "saliency", "grabcut")
_CLICKED = (
    "deep-cv", "saliency", "grabcut", "hint-cut", "ridge", "mixture", "chan-vese", "statistical", "normalized-cuts",
    "iem:hint", "forest",
)  # fmt: skip


# -- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    boxed, clicked : tuple of str
        Methods that get a box, and that get clicks; "method" or "method:preset".
    datasets : dict of str to tuple
        The data sets, and how many of their unseen images get boxes and clicks; `dataset` names one instead.
    """

    profiles = {
        "quick": {
            "datasets": {"samples": (1, 1)},
            "boxed": ("saliency",),
            "clicked": ("saliency",),
        },
        "cpu": {"datasets": {"weizmann": (80, 6), "ecssd": (60, 6)}, "boxed": _BOXED, "clicked": _CLICKED},
        "paper": {"datasets": {"weizmann": (80, 80), "ecssd": (800, 200)}, "boxed": _CLICKED, "clicked": _CLICKED},
    }

    seeds: tuple[int, ...] = field(default=(0,))
    boxed: tuple[str, ...] | None = None
    clicked: tuple[str, ...] | None = None
    datasets: Mapping[str, tuple[int, int]] | None = None


_BOXES_IN_TURN, _CLICKS_IN_TURN = 6, 3  # images of a data set before the next one's turn


def groups(settings: Settings) -> list[Group]:
    """Boxes, then clicks, on some images of each data set in turn, so that a run may be stopped."""
    datasets = settings.datasets or {}
    if settings.dataset:
        datasets = {settings.dataset: datasets.get(settings.dataset, (10, 5))}
    marked = [_variant(each, settings, how) for each in settings.boxed or () for how in (NOTHING, *BOXES)]
    clicked = [_variant(each, settings, CLICKS) for each in settings.clicked or ()]
    found = []
    for kind, (variants, in_turn) in enumerate(((marked, _BOXES_IN_TURN), (clicked, _CLICKS_IN_TURN))):
        for name, counts in datasets.items():
            images = Images.load(name).unseen().first(settings.n_images).first(counts[kind])
            for turn, at in enumerate(range(0, len(images.samples), in_turn)):
                piece = replace(images, samples=images.samples[at : at + in_turn])
                found.append((turn, Group(piece, variants)))
    return [group for _, group in sorted(found, key=lambda each: each[0])]


def _variant(name: str, settings: Settings, marked: str) -> experiment.Variant:
    return variant(name, settings.size, conditions={"marked": marked})


def box_around(mask: np.ndarray, larger: float = 0.0) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a mask's bounding box, enlarged by a share of its sides within the image."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    found = []
    for lines, side in ((columns, mask.shape[1]), (rows, mask.shape[0])):
        first, past = int(lines[0]), int(lines[-1]) + 1
        more = round(larger * (past - first) / 2)
        found.append((max(0, first - more), min(side, past + more)))
    (left, right), (top, bottom) = found
    return left, top, right, bottom


def next_click(mask: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], bool] | None:
    """Where the next click goes, (x, y), and whether it is on the object; None if nothing is wrong."""
    from scipy.ndimage import distance_transform_edt, label

    largest: np.ndarray | None = None
    for side in (truth, ~truth):
        regions, count = label((mask != truth) & side)
        if count:
            sizes = np.bincount(regions.ravel())[1:]
            if largest is None or sizes.max() > np.count_nonzero(largest):
                largest = regions == sizes.argmax() + 1
    if largest is None:
        return None
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return (int(column), int(row)), bool(truth[row, column])


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Segment with what is marked; with clicks also F after each, "after_0" to "after_5"."""
    assert sample.mask is not None
    marked = item.conditions["marked"]
    found = segment(item, sample, hint, device) if marked in (NOTHING, CLICKS) else None
    if marked in BOXES:
        found = _with(item, sample, hint, device, Seeds(box=box_around(sample.mask, BOXES[marked])))
    assert found is not None
    if marked != CLICKS:
        return found, {}
    scores = {"after_0": f_measure(found.mask, sample.mask, sample.ignore)}
    points: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for count in range(1, N_CLICKS + 1):
        if click := next_click(found.mask, sample.mask):
            points[click[1]].append(click[0])
            found = _with(item, sample, hint, device, Seeds(points[True], points[False]))
        scores[f"after_{count}"] = f_measure(found.mask, sample.mask, sample.ignore)
    return found, scores


def _with(item: Item, sample: Sample, hint: np.ndarray, device: str | None, seeds: Seeds) -> Segmentation:
    method: Any = get_method(item.method).function
    return with_seeds(method, as_image(sample.image), hint, seeds, seed=item.seed, device=device, **item.settings)


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """F by data set, method and what is marked: mean, its 95 % interval over images, and the number of images.

    `gain` is the mean difference to the same method without marks on the same images, with its interval.
    """
    import pandas as pd

    table = {}
    for (dataset, name), part in rows.assign(name=full_names(rows)).groupby(["dataset", "name"], sort=False):
        scores = _scores(part)
        for marked in scores.columns:
            values = scores[marked].dropna()
            if values.empty:
                continue
            without = CLICKS_AT[0] if marked in CLICKS_AT else NOTHING
            gain = (scores[marked] - scores[without]).dropna() if without in scores else values[:0]
            row = {("F", key): number for key, number in mean_of(values).items()}
            row |= {("gain", key): number for key, number in mean_of(gain).items()}
            table[dataset, title(name), marked] = row | {("run", "images"): len(values)}
    result = pd.DataFrame.from_dict(table, orient="index")
    result.columns = pd.MultiIndex.from_tuples(result.columns)
    return result


CLICKS_AT = [f"{count} clicks" if count != 1 else "1 click" for count in SHOWN]


def _scores(rows: DataFrame) -> DataFrame:
    """F by image, a column for each way to mark."""
    import pandas as pd

    boxes = rows[rows["marked"] != CLICKS].pivot_table("f_measure", "image", "marked", sort=False)
    clicks = rows[rows["marked"] == CLICKS].set_index("image")
    if len(clicks):
        clicks = clicks[[f"after_{count}" for count in SHOWN]].groupby(level=0).mean().set_axis(CLICKS_AT, axis=1)
    else:
        clicks = clicks[[]]
    order = [name for name in (NOTHING, *BOXES) if name in boxes]
    return pd.concat([boxes[order], clicks], axis=1)


def readable(table: DataFrame) -> Styler:
    """A styled `summary`: a row per method, a column per way to mark, F and of boxes in brackets the gain."""
    text = table["F", "mean"].map("{:.3f}".format)
    gain = table["gain", "mean"].where(table.index.get_level_values(2).isin(BOXES))
    text = text + gain.map(" ({:+.3f})".format).where(gain.notna(), "")
    wide = text.unstack(sort=False).fillna("–")
    order = [name for name in (NOTHING, *BOXES, *CLICKS_AT) if name in wide]
    return compact(wide[order].rename(index=dataset_title, level=0).style)


def plot(table: DataFrame) -> Figure:
    """F after each number of clicks, a line per method, for each data set; `table` from `summary`."""
    import matplotlib.pyplot as plt

    shown = table[table.index.get_level_values(2).isin(CLICKS_AT)]
    datasets = list(dict.fromkeys(shown.index.get_level_values(0)))
    figure, axes = plt.subplots(
        1, max(1, len(datasets)), figsize=(4.2 * max(1, len(datasets)) + 2, 3.6), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    methods = list(dict.fromkeys(shown.index.get_level_values(1)))
    for axis, dataset in zip(axes[0], datasets, strict=False):
        for number, name in enumerate(methods):
            own = [(where, each) == (dataset, name) for where, each, _ in shown.index]
            if not any(own):
                continue
            scores = shown[own].droplevel((0, 1))["F", "mean"].reindex(CLICKS_AT)
            style = {"color": COLOURS[number % len(COLOURS)], "marker": "osD^vP<X>*h"[number % 11], "ms": 4, "lw": 1}
            style["ls"] = "-" if number < len(COLOURS) else "--"
            axis.plot(SHOWN, scores, label=name, **style)
        axis.set(title=dataset_title(dataset), xlabel="clicks", xticks=SHOWN)
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("F, mean over images")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return figure


EXAMPLES = {"coffee": CLICKS, "rocket": "box"}
"""Embedded photographs, in the public domain, that fail without marks, and the mark that cures each."""


def plot_examples(size: int = 64, longest: int = 160) -> Figure:
    """Photographs with a mark, their hints, and our masks without and with the mark.

    `size` is our model's, `longest` the longer side to which the photographs are reduced.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(EXAMPLES), 4, figsize=(9, 2.6 * len(EXAMPLES)))
    method = get_method("deep-cv").function
    for line, (name, how) in zip(axes, EXAMPLES.items(), strict=True):
        sample = samples.load(name)
        assert sample.mask is not None
        shape = working_shape(sample.mask.shape, longest)
        image, truth = resize(as_image(sample.image), shape), resize(sample.mask.astype(np.float32), shape) > 0.5
        hint = hint_for(image)
        masks = [method(image, hint, size=size).mask]
        seeds = Seeds(box=box_around(truth))
        click = next_click(masks[0], truth)
        if how == CLICKS and click:
            seeds = Seeds([click[0]] if click[1] else (), () if click[1] else [click[0]])
        masks.append(with_seeds(method, image, hint, seeds, size=size).mask)
        pixels = to_uint8(image)
        shown = [_drawn(pixels, seeds), hint, *(faded(pixels, mask) for mask in masks)]
        for axis, picture in zip(line, shown, strict=True):
            axis.imshow(picture, cmap="gray")
        line[0].set_ylabel(name, fontsize=8)
        for axis, mask in zip(line[2:], masks, strict=True):
            axis.set_xlabel(f"F {f_measure(mask, truth):.2f}", fontsize=8)
    head_grid(figure, axes, ["picture and mark", "hint", "mask without", "mask with the mark"])
    return figure


def _drawn(image: np.ndarray, seeds: Seeds) -> np.ndarray:
    """The image with a ring around each point, and with the box."""
    import cv2

    picture, thick = np.ascontiguousarray(as_colour(image)).copy(), max(2, max(image.shape) // 100)
    for points, colour in ((seeds.points, (255, 225, 0)), (seeds.background_points, (0, 160, 255))):
        for x, y in points:
            cv2.circle(picture, (int(x), int(y)), 3 * thick, colour, thick)
    if seeds.box:
        left, top, right, bottom = map(int, seeds.box)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), (255, 225, 0), thick)
    return picture


def finding(rows: DataFrame) -> str:
    """The gain of our default by each mark, by data set, and over how many images."""
    table = summary(rows)
    ours = table[table.index.get_level_values(1) == title(OURS)]
    told = []
    for dataset, part in ours.groupby(level=0, sort=False):
        part = part.drop(index=[NOTHING, CLICKS_AT[0]], level=2, errors="ignore")
        for images, alike in part.groupby(("run", "images"), sort=False):
            gains = ", ".join(f"{key[2]} {gain:+.3f}" for key, gain in alike["gain", "mean"].items())
            told.append(f"{gains} ({images:.0f} images of {dataset_title(dataset)})")
    means, (box, *_) = table["F", "mean"], BOXES
    beside = [
        f"{means[cut]:.3f} on {dataset_title(dataset)} (our default {means[dataset, mine, marked]:.3f})"
        for dataset, mine, marked in ours.index
        if marked == box and (cut := (dataset, title("saliency"), box)) in means.index
    ]
    alone = f" From a box, the cut that all methods start from alone has {' and '.join(beside)}." if beside else ""
    return f"Change of our default's F: {'; '.join(told)}.{alone}"


EXPERIMENT = Experiment(
    name="interaction",
    title="A box, a click",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
)
