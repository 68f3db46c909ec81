"""Algorithm 2 from its random start, and from better ones: does its energy lead to the regions?

The paper starts u at random when it asks for more than two regions (section 5.1). Here Algorithm 2, the preset "paper"
on composites with a known partition (`deepcv.data.regions`), starts from random memberships, from clusters of colour or
of texture, and from the true partition itself. If the loop leaves the truth for another partition, or ends from a
random start with an energy as low as from the truth, no start and no schedule helps: the minimum that it seeks is not
the partition.

There is also a partition that no fit is needed for: one phase everywhere, its latent image constant, the decoder giving
the mean colour. Its KL and its length are 0 and its energy is half the image's variance (`one_region`). Whatever ends
above it hasn't reached the minimum of (4.1). No term of (4.1) is negative, so the true partition costs at least its own
length, whatever the networks do; where that is more, the partition isn't the minimum (`bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from deepcv.checks import resolve
from deepcv.companion.experiments import experiment, figure04
from deepcv.companion.experiments.experiment import Experiment, Group, Images, Reduction
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, interval
from deepcv.data import Sample
from deepcv.images import as_image, resize
from deepcv.metrics import adjusted_rand_index, mean_iou_matched
from deepcv.model.energy import total_variation
from deepcv.model.phases import contours
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import Settings as ModelSettings
from deepcv.model.solver import State, iterate
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

STARTS = ("truth", "textures", "clusters", "random")
"""Where u starts: the true partition, or a value of the setting `start`."""

_LAST = 10
"""The energy is the mean over this many last steps, since the reconstruction is estimated from one draw per step."""

# -- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run, on samples that have `regions`; besides the fields of every experiment:

    Attributes
    ----------
    starts : tuple of str
        From `STARTS`.
    reduction : Reduction
        Size, width and steps of the loop, and the number of images.
    """

    profiles = {
        "quick": {"dataset": "regions", "reduction": Reduction({"size": 48, "width": 4, "steps": 20}, 2)},
        "cpu": {"dataset": "regions", "reduction": figure04.REDUCED[figure04.ALGORITHM_2]},
        "paper": {"dataset": "regions", "reduction": Reduction()},
    }

    starts: tuple[Literal[*STARTS], ...] = STARTS  # type: ignore[valid-type]  # names of a constant
    reduction: Reduction | None = None


def groups(settings: Settings) -> list[Group]:
    """Algorithm 2 from each start, image by image, as the number of phases is the image's."""
    how = settings.reduction or Reduction()
    images = Images.load(settings.dataset).first(settings.n_images or how.n_images)
    sized = {**how.changes, **({"size": settings.size} if settings.size else {})}
    return [
        Group(
            image,
            [
                experiment.variant(
                    "deep-cv:paper",
                    conditions={"start_from": start},
                    **sized,
                    phases=int(image.samples[0].regions.max()) + 1,
                    **({} if start == "truth" else {"start": start}),
                )
                for start in settings.starts
            ],
        )
        for image in images.each()
    ]


def measure(item: Item, sample: Sample, hint: None, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The partition, its scores, its energy and the number of phases left without pixels."""
    settings = resolve(ModelSettings, item.settings)
    image = as_image(sample.image)
    posed = pose(image, None, settings, item.seed, device)
    if item.conditions["start_from"] == "truth":
        start = _one_hot(sample.regions, settings.phases, posed.memberships.shape[-2:])
        posed = posed._replace(memberships=torch.from_numpy(start)[None].to(posed.image))
    energies: list[float] = []
    for state in iterate(posed, settings):
        energies.append(_energy(state))
    memberships = at_full_size(image, state.memberships[0].cpu().numpy(), settings)
    labels = memberships.argmax(axis=0).astype(np.uint8)
    scores = {score.__name__: score(labels, sample.regions) for score in (mean_iou_matched, adjusted_rand_index)}
    left = len(np.unique(labels))
    return Segmentation(labels, memberships), scores | {
        "energy": float(np.mean(energies[-_LAST:])),
        "empty": float(settings.phases - left),
        "one_region": settings.pixel_range**2 / 2 * float(posed.image.var(dim=(2, 3), unbiased=False).sum()),
    }


def bounds(settings: Settings) -> DataFrame:
    """What one region costs at most, and the true partition at least, in (4.1) per pixel, by composite.

    Nothing is fitted: see the module. With pixels from 0 to 255, not to 1, one region would cost 255² times as much.

    Returns
    -------
    pandas.DataFrame
        Indexed by composite. `regions`, their number; `one region, at most`; `the truth, at least`.
    """
    import pandas as pd

    table = {}
    for group in groups(replace(settings, starts=("truth",))):
        [sample], [loop] = group.images.samples, group.variants
        how = resolve(ModelSettings, loop.settings)
        posed = pose(as_image(sample.image), None, how, 0, "cpu")
        truth = torch.from_numpy(_one_hot(sample.regions, how.phases, posed.memberships.shape[-2:]))
        variance = posed.image.var(dim=(2, 3), unbiased=False).sum()
        table[sample.name] = {
            "regions": how.phases,
            "one region, at most": how.pixel_range**2 / 2 * float(variance),
            "the truth, at least": how.nu * float(total_variation(contours(truth[None])).sum()) / truth[0].numel(),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def readable_bounds(table: DataFrame) -> Styler:
    """A styled `bounds`."""
    return compact(table.style.format({name: "{:.3f}" for name in table.columns[1:]}))


def _one_hot(regions: np.ndarray, count: int, shape) -> np.ndarray:
    """Memberships `(N, h, w)` of a partition `(H, W)`, at another size."""
    exact = (regions[..., None] == np.arange(count)).astype(np.float32)
    labels = resize(exact, tuple(shape)).argmax(axis=2)
    return (labels == np.arange(count)[:, None, None]).astype(np.float32)


def _energy(state: State) -> float:
    """E per pixel, (4.1)."""
    return float(sum(state.energy[name] for name in ("reconstruction", "length", "region")))


# -- what is shown -----------------------------------------------------------------------------------------------------

_SHOWN = {
    "mean IoU": "mean_iou_matched",
    "adjusted Rand index": "adjusted_rand_index",
    "energy": "energy",
    "one region": "one_region",
    "empty": "empty",
}


def summary(rows: DataFrame) -> DataFrame:
    """Means over images for each start, with 95 % intervals.

    Returns
    -------
    pandas.DataFrame
        Indexed by start. `mean IoU`, `adjusted Rand index`, `energy` and `one region` (per pixel), `empty` (phases
        without pixels), each with its `interval` (bootstrap over images, seeds of an image averaged first); `lower`,
        the share of runs that end with a lower energy than from the truth on the same image and seed; `images`,
        `seeds`.
    """
    import pandas as pd

    by_start = {start: rows[rows["start_from"] == start].set_index(["image", "seed"]) for start in STARTS}
    truth = by_start["truth"]["energy"] if len(by_start["truth"]) else pd.Series(dtype=float)
    table = {}
    for start, group in by_start.items():
        if group.empty:
            continue
        row: dict[str, object] = {}
        for name, column in _SHOWN.items():
            values = group[column].groupby("image").mean()
            row[name] = values.mean()
            row[f"{name}, interval"] = interval(values)
        difference = (group["energy"] - truth).dropna()
        row["lower"] = float((difference < 0).mean()) if start != "truth" and len(difference) else np.nan
        row["images"] = group.index.get_level_values("image").nunique()
        row["seeds"] = group.index.get_level_values("seed").nunique()
        table[start] = row
    return pd.DataFrame.from_dict(table, orient="index")


def readable(table: DataFrame) -> Styler:
    """A styled `summary`: the scores and the energy with their intervals, the rest without."""
    shown = table[["one region", "empty", "lower", "images", "seeds"]].map("{:.3g}".format).replace("nan", "–")
    for position, name in enumerate(("mean IoU", "adjusted Rand index", "energy")):
        shown.insert(position, name, table[name].map("{:.3f}".format) + " (" + table[f"{name}, interval"] + ")")
    return compact(shown.style)


def plot(rows: DataFrame) -> Figure:
    """Mean IoU against the energy at the end, a point per run; lines join the runs of one image and seed."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for _, runs in rows.groupby(["image", "seed"]):
        first = runs[runs["start_from"] == "truth"]
        for _, other in runs[runs["start_from"] == "random"].iterrows():
            for _, truth in first.iterrows():
                axis.plot(
                    [truth["energy"], other["energy"]],
                    [truth["mean_iou_matched"], other["mean_iou_matched"]],
                    color="0.8",
                    lw=0.7,
                    zorder=1,
                )
    for start, colour, marker in zip(STARTS, COLOURS, "*sDo", strict=False):
        found = rows[rows["start_from"] == start]
        axis.scatter(
            found["energy"], found["mean_iou_matched"], s=28, color=[colour], marker=marker, label=start, zorder=2
        )
    axis.set(xlabel="energy per pixel at the end", ylabel="mean IoU at the end", ylim=(0, 1))
    axis.legend(title="start", fontsize=8, title_fontsize=8)
    axis.grid(alpha=0.25)
    return figure


def finding(rows: DataFrame) -> str:
    """Where the loop ends from each start, with which energy, and whether a partition can be the energy's minimum."""
    table = summary(rows)
    ends = "; ".join(
        f"from {_FROM[start]} {row['mean IoU']:.2f} and {row['energy']:.2f}" for start, row in table.iterrows()
    )
    misled = table["energy"].idxmin() != table["mean IoU"].idxmax()
    told = " The lowest energy isn't that of the best partition, though no run has converged." if misled else ""
    told = f"Mean IoU and energy at the loop's end, over {table['images'].max():.0f} composites: {ends}.{told}"
    least = bounds(Settings(profile=rows["profile"].iloc[0], seeds=(0,)))
    beaten = (least["one region, at most"] < least["the truth, at least"]).sum()
    return (
        f"{told} On {beaten} of {len(least)} composites one region everywhere costs less than the true partition's "
        "length alone: there the partition is not the minimum of the energy, whatever the start."
    )


_FROM = {
    "random": "a random start",
    "clusters": "clusters of colour",
    "textures": "clusters of texture",
    "truth": "the truth",
}


EXPERIMENT = Experiment(
    name="algorithm2",
    title="Algorithm 2",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
)
