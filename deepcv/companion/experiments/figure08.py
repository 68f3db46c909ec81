"""Figure 8: the latent image, and how its values are distributed in foreground and background.

The paper's claim (section 6, from pictures): in the latent space "the contrast between fg and bg is magnified", and
there both are "more like Gaussian distributions". Here contrast, overlap and distance to a Gaussian are measured
(`deepcv.companion.distributions`) in the image and in the latent image `𝒢^μ(I)`, at the size at which the model works, by two
pairs of regions: the truth's, and those that the model found. The second pair was cut out of the latent image itself,
so that it looks well apart there is no evidence.

An image with colours has no one distribution. It is looked at in two ways: its grey values (the mean of the channels),
as in the paper's histograms, and along the axis in colour space that tells the two regions apart best
(`deepcv.companion.distributions.discriminant`), which the truth, or the result, has chosen, and which the encoder has to beat.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deepcv.companion.claims import Claim, Estimate, Verdict, judged
from deepcv.companion.compute import load_sample
from deepcv.companion.distributions import contrast, discriminant, distance_to_fit, distance_to_normal, overlap
from deepcv.companion.experiments import experiment as experiments
from deepcv.companion.experiments.experiment import CHOSEN_ON, SLOW, Profile, Slow, complete, each_apart, grid
from deepcv.companion.pictures import compact, head_grid
from deepcv.companion.store import Item
from deepcv.data import Sample
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize
from deepcv.methods import title
from deepcv.metrics import bootstrap_interval
from deepcv.model import solver
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import resolve
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

# -- Figure 8 ----------------------------------------------------------------------------------------------------------


def contrast_magnified(rows: DataFrame) -> Verdict:
    """Is the contrast of the true regions greater in the latent image, with every setting that was run?"""
    return _latent(rows, "contrast", more=True)


def more_gaussian(rows: DataFrame) -> Verdict:
    """Are the true regions nearer to Gaussians in the latent image, with every setting that was run?"""
    return _latent(rows, "distance", more=False)


def _latent(rows: DataFrame, quantity: str, *, more: bool) -> Verdict:

    label = QUANTITIES[quantity]
    changes, evidence = _to_latent(summary(rows).xs(("truth", label), level=(1, 2)))
    sign = 1 if more else -1
    whole = [min(sign * each.low, sign * each.high) > 0 for each in changes.values()]
    mean = [sign * each.mean > 0 for each in changes.values()]
    return Verdict(judged(all(whole), any(mean)), f"{label[0].upper()}{label[1:]}, {evidence}.", changes)


def _to_latent(table: DataFrame) -> tuple[dict[str, Estimate], str]:
    """What changes from the grey values to the latent image, by row of a summary, and how that is told."""
    changes = {name: Estimate.told(row.rename({"change": "mean"}), row["images"]) for name, row in table.iterrows()}
    told = "; ".join(
        f"{name}: {row['grey']:.2f} in the grey values, {row['latent']:.2f} in the latent image, "
        f"change {changes[name]:+} over {changes[name].images} images"
        for name, row in table.iterrows()
    )
    return changes, told


QUANTITIES = {
    "contrast": "contrast",
    "overlap": "overlap",
    "distance": "distance to its own Gaussian",
    "prior": "distance to its prior",
}
"""What is measured, by the name in the rows' columns, `QUANTITY_SPACE_REGIONS`. Distances are the mean over foreground
and background."""


SPACES = ("grey", "colour", "latent", "drawn")
"""The image's grey values and best axis in colour space; the latent image `𝒢^μ(I)`; and the latent variable, of which
it is the mean: `𝒢^μ(I) + η` with one draw of η ~ N(0, 1) at each pixel."""


REGIONS = ("truth", "found")


_GREATER_IS_BETTER = {"contrast"}


PROFILES = {
    "quick": Profile("samples", {"deep-cv": Slow(n_images=3)}),
    "cpu": Profile(
        "weizmann", {"deep-cv": Slow({}, CHOSEN_ON), "deep-cv:paper": replace(SLOW["deep-cv:paper"], n_images=5)}
    ),
    "paper": Profile("weizmann", {"deep-cv": Slow(), "deep-cv:paper": Slow()}),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run: nothing besides what every experiment takes."""

    profiles = PROFILES


def items(settings: Settings) -> list[Item]:
    """All results that are needed, seed by seed."""
    return grid("figure08", settings, *each_apart(settings))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks and return a row per image, preset and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 8")


class Latent(NamedTuple):
    """An image and its latent image, at the size at which the model works.

    Attributes
    ----------
    image : numpy.ndarray of float32, `(h, w)` or `(h, w, 3)`, in [0, 1]
    mean : numpy.ndarray of float32, `(h, w)`
        `𝒢^μ(I)` at the last step of the networks.
    drawn : numpy.ndarray, `(h, w)`
        A draw of the latent variable, whose mean that is, and whose variance is 1.
    prior : float
        μ of the foreground's prior N(μ, 1); the background's is -μ.
    regions : dict of str to numpy.ndarray of bool, `(h, w)`
        The foreground by "truth", where it is known, and as "found".
    """

    image: np.ndarray
    mean: np.ndarray
    drawn: np.ndarray
    prior: float
    regions: dict[str, np.ndarray]


def encode(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, Latent]:
    """Solve the model as `deep_chan_vese` does, and keep the latent image.

    Parameters
    ----------
    item : Item
        Of the method "deep-cv" with two phases: its settings and seed.
    sample : Sample
    hint : array_like, `(H, W)`
    device : str, optional
        "cpu", "cuda" …; default the GPU when there is one.
    """
    image, settings = as_image(sample.image), resolve(item.settings)
    started = time.perf_counter()
    problem = pose(image, hint_for(image, hint), settings, item.seed, device)
    [state] = deque(solver.iterate(problem, settings), maxlen=1)
    memberships = at_full_size(image, state.memberships[0].cpu().numpy(), settings)
    seconds = time.perf_counter() - started
    found = Segmentation(memberships.argmax(0).astype(np.uint8), memberships, seconds=seconds)
    mean = state.latent_mean[0, 0].cpu().numpy()
    drawn = mean + np.random.default_rng(item.seed).standard_normal(mean.shape)
    masks = {"truth": sample.mask, "found": found.mask}
    regions = {
        name: resize(mask.astype(np.float32), mean.shape) > 0.5 for name, mask in masks.items() if mask is not None
    }
    return found, Latent(resize(image, mean.shape), mean, drawn, settings.latent_mean, regions)


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The method's result, and `measured` of its latent image."""
    found, latent = encode(item, sample, hint, device)
    return found, measured(latent)


def measured(latent: Latent) -> dict[str, float]:
    """The numbers of one image, by the names of the rows' columns; none by regions of which one is empty.

    The distance to the prior is that of the latent variable: where the KL (3.14) is 0 at every pixel, so is this, but
    for chance.
    """
    numbers = {}
    for regions, mask in latent.regions.items():
        if mask.all() or not mask.any():
            continue
        for space in SPACES:
            values = in_space(latent, space, mask)
            for quantity, of in _MEASURES.items():
                numbers[f"{quantity}_{space}_{regions}"] = of(values[mask], values[~mask])
        distances = [
            distance_to_normal(latent.drawn[where], mean, 1)
            for where, mean in ((mask, latent.prior), (~mask, -latent.prior))
        ]
        numbers[f"prior_drawn_{regions}"] = sum(distances) / 2
    return numbers


_MEASURES = {
    "contrast": contrast,
    "overlap": overlap,
    "distance": lambda first, second: (distance_to_fit(first) + distance_to_fit(second)) / 2,
}


def in_space(latent: Latent, space: str, mask: np.ndarray) -> np.ndarray:
    """One of `SPACES` as an image `(h, w)`; the mask says which regions "colour" is to tell apart."""
    if space in ("latent", "drawn"):
        return latent.mean if space == "latent" else latent.drawn
    if space == "colour":
        return discriminant(latent.image, mask)
    return latent.image if latent.image.ndim == 2 else latent.image.mean(axis=2)


def summary(rows: DataFrame) -> DataFrame:
    """Each quantity in the image and in the latent image, means over images.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by settings, regions and quantity: the values in each of `SPACES`; `change`: latent less grey, on the
        same images, with `low` and `high` (95 %, bootstrap over images, seeds of an image averaged first); `better`:
        the share of images in which contrast is greater, and the others smaller, in the latent image; `images`,
        `seeds`.
        NaN where a quantity has no meaning.
    """
    import pandas as pd

    table = {}
    for (method, preset), group in rows.groupby(["method", "preset"], sort=False):
        for regions in REGIONS:
            for quantity, label in QUANTITIES.items():
                columns = [f"{quantity}_{space}_{regions}" for space in SPACES]
                values = group.reindex(columns=["image", *columns]).groupby("image").mean().set_axis(SPACES, axis=1)
                values = values.dropna(how="all")
                if len(values):
                    table[title(f"{method}:{preset}"), regions, label] = (
                        values.mean().to_dict()
                        | _change(values, quantity)
                        | {"images": len(values), "seeds": group["seed"].nunique()}
                    )
    columns = [*SPACES, "change", "low", "high", "better", "images", "seeds"]
    found = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    found.index = pd.MultiIndex.from_tuples(found.index, names=["", "regions", ""])
    return found


def _change(values: DataFrame, quantity: str) -> dict[str, float]:
    """From grey to latent, image by image."""
    change = (values["latent"] - values["grey"]).dropna()
    if change.empty:
        return {}
    low, high = bootstrap_interval(change)
    better = (change > 0) if quantity in _GREATER_IS_BETTER else (change < 0)
    return {"change": change.mean(), "low": low, "high": high, "better": better.mean()}


def style(table: DataFrame, name: str):
    """`summary`'s table for the eye: a dash where there is nothing.

    Parameters
    ----------
    table : pandas.DataFrame
        From `summary`, also from that of Figure 1.
    name : str
        Its own in a page, so that its HTML is the same in every run.
    """
    return compact(table.style.format(precision=2, na_rep="–"), name, size=0.75, padding=0.4)


def plot(rows: DataFrame) -> Figure:
    """Each image's contrast, overlap and distance to a Gaussian: in the latent image against in its grey values.

    A row of panels for each preset, a point for each image and pair of regions, seeds averaged; the large marks are the
    means over images with their 95 % bootstrap intervals. On the dashed line nothing has changed.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    presets = list(rows.groupby(["method", "preset"], sort=False))
    figure, axes = plt.subplots(len(presets), 3, figsize=(11, 3.6 * len(presets)), squeeze=False)
    colours = sns.color_palette("colorblind")
    for ((method, preset), group), row in zip(presets, axes, strict=True):
        for axis, quantity in zip(row, _MEASURES, strict=True):
            for regions, colour, marker in zip(REGIONS, colours, "o^", strict=False):
                columns = [f"{quantity}_{space}_{regions}" for space in ("grey", "latent")]
                if set(columns) <= set(group):
                    _against(axis, group.groupby("image")[columns].mean().dropna(), regions, colour, marker)
            axis.axline((0, 0), slope=1, color="0.4", lw=0.8, ls="--")
            axis.set(xlabel=f"{QUANTITIES[quantity]},\nin the grey values", ylabel="in the latent image")
            axis.grid(alpha=0.25)
        row[0].set_ylabel(f"{title(f'{method}:{preset}')}\nin the latent image")
        row[0].legend(title="regions", fontsize=8)
    figure.tight_layout()
    return figure


def _against(axis: Axes, by_image: DataFrame, label: str, colour, marker: str) -> None:
    before, after = by_image.to_numpy().T
    axis.scatter(before, after, s=14, color=colour, marker=marker, alpha=0.6, lw=0)
    errors = [np.abs(np.subtract(bootstrap_interval(each), each.mean()))[:, None] for each in (before, after)]
    axis.errorbar(before.mean(), after.mean(), xerr=errors[0], yerr=errors[1], color="black", lw=1, capsize=2)
    axis.scatter(
        before.mean(), after.mean(), s=80, color=colour, marker=marker, edgecolors="black", label=label, zorder=4
    )


def plot_latent(settings: Settings, images: tuple[str, ...] | None = None) -> Figure:
    """As in Figure 8: image, latent image, and the distributions of both by the truth's regions; the first seed.

    Parameters
    ----------
    settings : Settings
    images : tuple of str, optional
        Names of the images to show; default the first three.
    """
    import matplotlib.pyplot as plt

    needed = {item.image: item for item in reversed(items(settings)) if item.seed == settings.seeds[0]}
    images = images or sorted(needed)[:3]
    figure, axes = plt.subplots(len(images), 4, figsize=(12, 2.7 * len(images)), squeeze=False)
    for row, name in zip(axes, images, strict=True):
        latent = latent_of(needed[name], settings.device)
        show_image(row[0], latent.image)
        row[0].set_ylabel(name, fontsize=8)
        show_latent(row[1], latent)
        show_distributions(row[2], latent, "grey")
        show_distributions(row[3], latent, "latent")
    head_grid(figure, axes[:, :2], ["image", "latent image"])
    head_distributions(figure, axes[0, 2:], ["grey values", "values of the latent image"])
    return figure


def latent_of(item: Item, device: str | None) -> Latent:
    """The latent image of an item, computed anew: a store keeps numbers only."""
    sample = load_sample(item.dataset, item.image)
    return encode(item, sample, hint_for(as_image(sample.image)), device)[1]


def show_image(axis: Axes, image: np.ndarray) -> None:
    """An image in [0, 1], grey or in colours."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=1)


def show_latent(axis: Axes, latent: Latent) -> None:
    """The latent image, from black at the mean of the background's prior to white at the foreground's."""
    axis.imshow(latent.mean, cmap="gray", vmin=-latent.prior, vmax=latent.prior)


def show_distributions(axis: Axes, latent: Latent, space: str) -> None:
    """Histograms of the true foreground (filled) and background (outlined), and the Gaussians fitted to them (dashed).

    In the latent space also the priors (dotted).
    """
    import seaborn as sns
    from scipy.stats import norm

    mask = latent.regions["truth"]
    values = in_space(latent, space, mask)
    low, high = np.quantile(values, (0.001, 0.999))
    along = np.linspace(low, high, 301)
    regions = {"background": (values[~mask], -latent.prior), "foreground": (values[mask], latent.prior)}
    fills = {"background": {"histtype": "step", "lw": 1.2}, "foreground": {"histtype": "stepfilled", "alpha": 0.5}}
    for (name, (part, prior)), colour in zip(regions.items(), sns.color_palette("colorblind"), strict=False):
        axis.hist(part, np.linspace(low, high, 41), density=True, color=colour, label=name, **fills[name])
        axis.plot(along, norm.pdf(along, part.mean(), part.std()), color=colour, ls="--", lw=1, label="its Gaussian")
        if space == "latent":
            axis.plot(along, norm.pdf(along, prior), color=colour, ls=":", lw=1.2, label="its prior")
    parts = values[mask], values[~mask]
    axis.set_xlabel(
        f"overlap {overlap(*parts):.2f}, distance to Gaussian {_MEASURES['distance'](*parts):.2f}", fontsize=8
    )
    axis.set(yticks=[])
    axis.tick_params(labelsize=7)


def head_distributions(figure: Figure, axes: Sequence[Axes], headings: Sequence[str]) -> None:
    """Finish the columns of distributions: a heading over each, and what the lines are, below the figure."""
    for axis, heading in zip(axes, headings, strict=True):
        axis.set_title(heading, fontsize=9)
    figure.tight_layout(rect=(0, 0.25 / figure.get_figheight(), 1, 1))
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="lower center", ncols=6, fontsize=8, frameon=False)


CLAIMS = (
    Claim(
        id="figure08/contrast",
        section="6, Figure 8",
        says="In the latent space the contrast between foreground and background is magnified.",
        test="The distance of the two means in pooled standard deviations, between the true regions, in the latent "
        "image less in the grey values. Reproduced: above 0 with its whole 95 % interval, with each of the settings "
        "that were run. Partly: above 0 in the mean with one of them.",
        decide=contrast_magnified,
    ),
    Claim(
        id="figure08/more-gaussian",
        section="6, Figure 8; 7",
        says="In the latent space foreground and background are more like Gaussians.",
        test="The Wasserstein distance of a true region's values to their own Gaussian, in its deviations, in the "
        "latent image less in the grey values. Reproduced: below 0 with its whole 95 % interval, with each of the "
        "settings that were run. Partly: below 0 in the mean with one of them.",
        decide=more_gaussian,
    ),
)
