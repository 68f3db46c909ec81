"""How far can a mask be trusted, without a truth?

Not in the paper. A *confidence* is one number for a mask, which should rank pictures by their F; a *belief* is a soft
membership, which should be calibrated: of the pixels with 0.7, 70 % should be the object's (`deepcv.confidence`).

Both were chosen on images of `deepcv.companion.experiments.experiment.for_choosing`, seed 0; those are reported apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.compute import segment
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Experiment, Group, Images, for_choosing, variant
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, dataset_title
from deepcv.confidence import DOUBTFUL, belief, confidence
from deepcv.data import Sample
from deepcv.hints.hint import otsu_mask
from deepcv.images import resize
from deepcv.metrics import iou
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

CHOSEN, UNSEEN, EMBEDDED = "chosen on", "unseen", "embedded"
BINS = 10
"""Intervals of belief, of equal width, in which belief and truth are compared."""

RANKED = {
    "confidence": "second opinion (the confidence)",
    "with_hint": "IoU with the hint's own Otsu mask",
    "region": "KL per pixel, negative",
    "bound": "energy per pixel, negative",
}
"""Numbers that may rank pictures, by column; the last is the evidence's lower bound with length and hint prior."""

# -- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    datasets : dict of str to tuple
        The data sets, and how many images that settings were chosen on, and how many others, are run; `dataset` names
        one instead.
    """

    profiles = {
        "quick": {"datasets": {"samples": (0, 2)}},
        "cpu": {"datasets": {"weizmann": (20, 80), "ecssd": (50, 60)}},
        "paper": {"datasets": {"weizmann": (20, 80), "ecssd": (200, 800)}},
    }

    datasets: Mapping[str, tuple[int, int]] | None = None


def groups(settings: Settings) -> list[Group]:
    """Our model on what nothing was chosen on, then on the rest."""
    return [
        Group(images, [variant("deep-cv", settings.size, conditions={"images": part})])
        for part, images in both_parts(settings)
    ]


def both_parts(settings: Any) -> list[tuple[str, Images]]:
    """Images of each data set that nothing was chosen on, then evenly spread ones of those for choosing.

    `settings` have `dataset`, `datasets` and `n_images` as here.
    """
    datasets = settings.datasets or {}
    if settings.dataset:
        datasets = {settings.dataset: datasets.get(settings.dataset, (0, 10))}
    parts = [
        (EMBEDDED if name == "samples" else UNSEEN, Images.load(name).unseen().first(counts[1]))
        for name, counts in datasets.items()
    ]
    for name, (count, _) in datasets.items():
        if count:
            images = Images.load(name)
            names = for_choosing(name, images.samples.names)
            kept = names[:: max(1, len(names) // count)][:count]
            parts.append((CHOSEN, replace(images, samples=images.samples.only(kept))))
    return [(part, images.first(settings.n_images)) for part, images in parts]


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Segment; what may rank pictures (`RANKED`); Brier scores; and in each bin, shares of pixels and of foreground.

    "share_3" is the share of the scored pixels whose belief is in the fourth bin, "true_3" that of those which are
    foreground too, "sum_3" their belief's sum over all scored pixels.
    """
    assert sample.mask is not None
    found = segment(item, sample, hint, device)
    scored = np.ones(sample.mask.shape, bool) if sample.ignore is None else ~sample.ignore
    truth, mask = sample.mask[scored], found.mask
    membership = resize(found.memberships[1], mask.shape)
    believed, of_hint = belief(membership, hint)[scored], hint[scored]
    numbers: dict[str, float] = {
        "confidence": confidence(sample.image, mask),
        "with_hint": iou(mask, otsu_mask(hint)),
        "region": -float(found.trace["region"][-1]),
        "bound": -float(sum(found.trace[term][-1] for term in ("reconstruction", "region", "length", "hint"))),
    }
    for name, values in (("belief", believed), ("mask", mask[scored]), ("hint", of_hint)):
        numbers[f"brier_{name}"] = float(np.mean((values.astype(np.float32) - truth) ** 2))
    place = np.minimum((believed * BINS).astype(int), BINS - 1)
    for name, weights in (("share", None), ("true", truth.astype(float)), ("sum", believed.astype(float))):
        for number, total in enumerate(np.bincount(place, weights, minlength=BINS) / len(truth)):
            numbers[f"{name}_{number}"] = float(total)
    return found, numbers


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """How well each number of `RANKED` ranks pictures by F, and what F is above and below `DOUBTFUL`.

    Indexed by data set, images and number. Spearman's rank correlation with its 95 % bootstrap interval over images,
    seeds of an image averaged first; of the confidence also the number of doubtful images, their mean F and that of
    the others.
    """
    import pandas as pd

    table = {}
    for dataset, part, own in _parts(rows):
        for name, text in RANKED.items():
            rho = _spearman(own[name].to_numpy(), own["f_measure"].to_numpy())
            row: dict[str, Any] = dict(zip(("rho", "low", "high"), rho, strict=True)) | {"images": len(own)}
            if name == "confidence":
                doubtful = own[name] < DOUBTFUL
                row |= {"doubtful": int(doubtful.sum())}
                row |= {"F doubtful": own["f_measure"][doubtful].mean(), "F others": own["f_measure"][~doubtful].mean()}
            table[dataset, part, text] = row
    return pd.DataFrame.from_dict(table, orient="index")


def calibration(rows: DataFrame) -> DataFrame:
    """By data set and images: the expected calibration error of the belief, and Brier scores, means over images.

    The error is the mean over pixels, all images together, of the distance between their bin's mean belief and its
    share of foreground.
    """
    import pandas as pd

    table = {}
    for dataset, part, own in _parts(rows):
        _, _, gaps = reliability(own)
        row = {"ECE": float(np.nansum(gaps))}
        table[dataset, part] = row | {name: own[f"brier_{name}"].mean() for name in ("belief", "mask", "hint")}
    return pd.DataFrame.from_dict(table, orient="index")


def reliability(rows: DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean belief, share of foreground, and weighted gap of each bin over images, `(BINS,)`; NaN in empty bins."""
    share, true, total = (rows[[f"{name}_{bin_}" for bin_ in range(BINS)]].mean().to_numpy() for name in _COUNTED)
    safe = np.where(share > 0, share, np.nan)
    return total / safe, true / safe, np.abs(total - true)


_COUNTED = ("share", "true", "sum")


def _parts(rows: DataFrame) -> Iterator[tuple[str, str, DataFrame]]:
    for (dataset, part), own in rows.groupby(["dataset", "images"], sort=False):
        yield dataset, part, own.groupby("image").mean(numeric_only=True)


def _spearman(values: np.ndarray, scores: np.ndarray, resamples: int = 2000) -> tuple[float, float, float]:
    """Rank correlation with its 95 % percentile bootstrap interval; NaN for fewer than three images."""
    from scipy.stats import rankdata

    if len(values) < 3:
        return np.nan, np.nan, np.nan
    chosen = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    chosen = np.concatenate((np.arange(len(values))[None], chosen))  # the images themselves come first
    a, b = (rankdata(each[chosen], axis=1) - (len(values) + 1) / 2 for each in (values, scores))
    with np.errstate(invalid="ignore"):  # equal values have no rank correlation
        rho = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    low, high = np.nanquantile(rho[1:], (0.025, 0.975))
    return float(rho[0]), float(low), float(high)


def readable(table: DataFrame) -> Styler:
    """A styled `summary`."""
    shown = table.rename(index=dataset_title, level=0)
    text = shown["rho"].map("{:.2f}".format)
    text += shown["low"].map(" ({:.2f}".format) + shown["high"].map(" to {:.2f})".format)
    shown = shown.assign(rho=text.where(shown["rho"].notna(), "–"))
    shown = shown.drop(columns=["low", "high"]).rename(columns={"rho": "Spearman with F"})
    counts = [name for name in ("images", "doubtful") if name in shown]
    style = shown.style.format(precision=3, na_rep="–").format("{:.0f}", subset=counts, na_rep="–")
    return compact(style)


def readable_calibration(table: DataFrame) -> Styler:
    """A styled `calibration`."""
    names = {"belief": "Brier, belief", "mask": "Brier, mask", "hint": "Brier, hint"}
    return compact(table.rename(index=dataset_title, level=0).rename(columns=names).style.format(precision=3))


def plot(rows: DataFrame) -> Figure:
    """F against confidence, a point per image, and the reliability diagram, of images that nothing was chosen on."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    parts = [each for each in _parts(rows) if each[1] == UNSEEN] or list(_parts(rows))
    for number, (dataset, _, own) in enumerate(parts):
        style = {"color": COLOURS[number], "marker": "os^D"[number % 4], "label": dataset_title(dataset)}
        left.plot(own["confidence"], own["f_measure"], ls="", ms=4, alpha=0.7, **style)
        believed, true, _ = reliability(own)
        right.plot(believed, true, ms=4, lw=1, **style)
    left.axvline(DOUBTFUL, color="0.5", ls="--", lw=1)
    left.set(xlabel="confidence", ylabel="F, mean over seeds", xlim=(0, 1.02), ylim=(0, 1.02))
    right.plot([0, 1], [0, 1], color="0.5", ls="--", lw=1)
    right.set(xlabel="mean belief in a tenth", ylabel="share of pixels that are the object's", aspect="equal")
    left.legend(loc="lower left", fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.25)
    return figure


def finding(rows: DataFrame) -> str:
    """How well the confidence ranks unseen images, and how well the belief is calibrated."""
    ranks = summary(rows).xs(RANKED["confidence"], level=2)
    errors, told = calibration(rows)["ECE"], []
    for dataset, part in ranks.index:
        if part == UNSEEN:
            row = ranks.loc[(dataset, part)]
            told.append(
                f"{row['rho']:.2f} ({row['low']:.2f} to {row['high']:.2f}) on {row['images']:.0f} images of "
                f"{dataset_title(dataset)}, where the belief's calibration error is {errors[dataset, part]:.3f}"
            )
    return f"Spearman's correlation of confidence and F, where nothing was chosen: {'; '.join(told)}."


EXPERIMENT = Experiment(
    name="confidence",
    title="How sure is a mask?",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
)
