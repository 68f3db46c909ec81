"""Figure 8: the latent image, and the distribution of its values in foreground and background.

The paper's claim (section 6, from pictures): in the latent space "the contrast between fg and bg is magnified", and
both are "more like Gaussian distributions". We measure contrast, overlap and distance to a Gaussian
(`deepcv.companion.distributions`) in the image and in the latent image `𝒢^μ(I)`, at the model's working size, for two
pairs of regions: the true ones and those that the model found. The model found the second pair in the latent image
itself, so its good separation there proves nothing.

The package's solver has a decoder here, as in the paper.

A colour image has no single distribution. We take its grey values (the mean of the channels), as the paper's
histograms do, and its projection on the axis in colour space that separates the two regions best
(`deepcv.companion.distributions.discriminant`). That axis is fitted to the regions, and the encoder has to beat it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepcv.checks import resolve
from deepcv.companion.claims import (
    ALL_PARTS,
    FOLLOWS,
    PARTS,
    Claim,
    Estimate,
    Status,
    Verdict,
    above,
    below,
    judged,
    listed,
    not_run,
)
from deepcv.companion.compute import sample_of
from deepcv.companion.distributions import contrast, discriminant, distance_to_fit, distance_to_normal, overlap
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, REDUCED, Group, Images, Reduction, by_title
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, head_grid
from deepcv.companion.recorded import full_names
from deepcv.data import Sample
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize
from deepcv.metrics import bootstrap_interval
from deepcv.model import solver
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import Settings as ModelSettings
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

QUANTITIES = {
    "contrast": "contrast",
    "overlap": "overlap",
    "distance": "distance to its own Gaussian",
    "prior": "distance to its prior",
}
"""Titles of the quantities, whose columns are `QUANTITY_SPACE_REGIONS`. Distances are the mean of foreground and
background."""

SPACES = ("grey", "colour", "latent", "drawn")
"""The grey values; the best axis in colour space; the latent image `𝒢^μ(I)`; the latent variable `𝒢^μ(I) + η`, one
draw of η ~ N(0, 1) per pixel."""

REGIONS = ("truth", "found")

_MEASURES = {
    "contrast": contrast,
    "overlap": overlap,
    "distance": lambda first, second: (distance_to_fit(first) + distance_to_fit(second)) / 2,
}


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    solvers : dict of str to Reduction
        By "method:preset", how each of our solvers is run.
    """

    profiles = {
        "quick": {"dataset": "samples", "solvers": {"deep-cv": Reduction({"decoder": True, "size": 100}, 2)}},
        "cpu": {
            "dataset": "weizmann",
            "solvers": {
                "deep-cv": Reduction({"decoder": True}, N_TUNING_IMAGES),
                "deep-cv:paper": replace(REDUCED["deep-cv:paper"], n_images=10),
            },
        },
        "paper": {
            "dataset": "weizmann",
            "solvers": {"deep-cv": Reduction({"decoder": True}), "deep-cv:paper": Reduction()},
        },
    }

    solvers: Mapping[str, Reduction] | None = None


def groups(settings: Settings) -> list[Group]:
    """Each solver on its own number of images, none of which settings were chosen on."""
    images = Images.load(settings.dataset).unseen()
    return [
        Group(images.first(settings.n_images or how.n_images), [how.variant(name, settings.size)])
        for name, how in settings.solvers.items()
    ]


# -- what is measured --------------------------------------------------------------------------------------------------


class Latent(NamedTuple):
    """An image and its latent image, at the working size."""

    image: np.ndarray
    """float32 in [0, 1], `(h, w)` or `(h, w, 3)`."""
    mean: np.ndarray
    """`𝒢^μ(I)` at the networks' last step, `(h, w)`."""
    drawn: np.ndarray
    """A draw of the latent variable, of this mean and variance 1, `(h, w)`."""
    prior: float
    """μ of the foreground's prior N(μ, 1); the background's is N(-μ, 1)."""
    regions: dict[str, np.ndarray]
    """The foreground by `REGIONS`, bool `(h, w)`; "truth" only where it is known."""


def encode(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, Latent]:
    """Solve the two-phase model as `deep_chan_vese` does, and keep the latent image; arguments as in `Measure`."""
    image, settings = as_image(sample.image), resolve(ModelSettings, item.settings)
    started = time.perf_counter()
    [state] = deque(solver.iterate(pose(image, hint, settings, item.seed, device), settings), maxlen=1)
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


def latent_of(item: Item, device: str | None) -> Latent:
    """The latent image of an item, computed anew because the store keeps only numbers."""
    sample = sample_of(item)
    return encode(item, sample, hint_for(as_image(sample.image)), device)[1]


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The method's result, and `measured` of its latent image."""
    found, latent = encode(item, sample, hint, device)
    return found, measured(latent)


def measured(latent: Latent) -> dict[str, float]:
    """Each quantity by its column; none for a pair with an empty region.

    The distance to the prior is that of the latent variable: it is 0, up to chance, if the KL (3.14) is 0 at every
    pixel.
    """
    numbers = {}
    for regions, mask in latent.regions.items():
        if mask.all() or not mask.any():
            continue
        for space in SPACES:
            values = in_space(latent, space, mask)
            for quantity, of in _MEASURES.items():
                numbers[f"{quantity}_{space}_{regions}"] = of(values[mask], values[~mask])
        foreground = distance_to_normal(latent.drawn[mask], latent.prior, 1)
        background = distance_to_normal(latent.drawn[~mask], -latent.prior, 1)
        numbers[f"prior_drawn_{regions}"] = (foreground + background) / 2
    return numbers


def in_space(latent: Latent, space: str, mask: np.ndarray) -> np.ndarray:
    """The image in one of `SPACES`, `(h, w)`; "colour" is the axis that separates the mask best."""
    if space in ("latent", "drawn"):
        return latent.mean if space == "latent" else latent.drawn
    if space == "colour":
        return discriminant(latent.image, mask)
    return latent.image if latent.image.ndim == 2 else latent.image.mean(axis=2)


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """Each quantity in the image and in the latent image, means over images; by solver, regions and quantity.

    Columns: the value in each of `SPACES`; `change`, latent minus grey on the same images, with `low` and `high` (95 %,
    bootstrap over images, seeds of an image averaged first); `better`, the share of images whose contrast is higher, or
    whose other quantity is lower, in the latent image; `images`, `seeds`. NaN where a quantity has no meaning.
    """
    import pandas as pd

    table = {}
    for name, group in by_title(rows).items():
        for regions in REGIONS:
            for quantity, label in QUANTITIES.items():
                columns = [f"{quantity}_{space}_{regions}" for space in SPACES]
                values = group.reindex(columns=["image", *columns]).groupby("image").mean().set_axis(SPACES, axis=1)
                values = values.dropna(how="all")
                if len(values):
                    counts = {"images": len(values), "seeds": group["seed"].nunique()}
                    table[name, regions, label] = values.mean().to_dict() | _change(values, quantity) | counts
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
    better = change > 0 if quantity == "contrast" else change < 0
    return {"change": change.mean(), "low": low, "high": high, "better": better.mean()}


def style(table: DataFrame, name: str):
    """Format a table from `summary`, or from that of Figure 1: two digits, and a dash for a missing number.

    `name` must be unique in a page; with it the HTML is the same in every run.
    """
    return compact(table.style.format(precision=2, na_rep="–"), name)


def plot(rows: DataFrame) -> Figure:
    """Each image's contrast, overlap and distance to a Gaussian, in the latent image against the grey values.

    A row of panels per solver, a point per image and pair of regions, seeds averaged. Large marks are means over images
    with their 95 % bootstrap intervals. The dashed line marks no change.
    """
    import matplotlib.pyplot as plt

    solvers = by_title(rows)
    figure, axes = plt.subplots(len(solvers), 3, figsize=(10.5, 3.5 * len(solvers)), squeeze=False)
    colours = COLOURS
    for (name, group), row in zip(solvers.items(), axes, strict=True):
        for axis, quantity in zip(row, _MEASURES, strict=True):
            for regions, colour, marker in zip(REGIONS, colours, "o^", strict=False):
                columns = [f"{quantity}_{space}_{regions}" for space in ("grey", "latent")]
                if set(columns) <= set(group):
                    _against(axis, group.groupby("image")[columns].mean().dropna(), regions, colour, marker)
            axis.axline((0, 0), slope=1, color="0.4", lw=0.8, ls="--")
            axis.set(xlabel=f"{QUANTITIES[quantity]},\nin the grey values", ylabel="in the latent image")
            axis.grid(alpha=0.25)
        row[0].set_ylabel(f"{name}\nin the latent image")
        row[0].legend(title="regions", fontsize=8)
    figure.tight_layout()
    return figure


def _against(axis: Axes, by_image: DataFrame, label: str, colour, marker: str) -> None:
    x, y = by_image.to_numpy().T
    axis.scatter(x, y, s=14, color=colour, marker=marker, alpha=0.6, lw=0)
    xerr, yerr = (np.abs(np.subtract(bootstrap_interval(each), each.mean()))[:, None] for each in (x, y))
    axis.errorbar(x.mean(), y.mean(), xerr=xerr, yerr=yerr, color="black", lw=1, capsize=2)
    axis.scatter(x.mean(), y.mean(), s=80, color=colour, marker=marker, edgecolors="black", label=label, zorder=4)


def plot_latent(settings: Settings, images: tuple[str, ...] | None = None) -> Figure:
    """As in Figure 8: image, latent image, and the distributions of both in the true regions; the first seed.

    `images` are the names to show; default the first three.
    """
    import matplotlib.pyplot as plt

    items = {item.image: item for item in reversed(EXPERIMENT.items(settings)) if item.seed == settings.seeds[0]}
    images = images or sorted(items)[:3]
    figure, axes = plt.subplots(len(images), 4, figsize=(10.5, 2.5 * len(images)), squeeze=False)
    for row, name in zip(axes, images, strict=True):
        latent = latent_of(items[name], settings.device)
        show_pair(row[0], row[1], latent, name)
        show_distributions(row[2], latent, "grey")
        show_distributions(row[3], latent, "latent")
    head_grid(figure, axes[:, :2], ["image", "latent image"])
    head_distributions(figure, axes[0, 2:], ["grey values", "values of the latent image"])
    return figure


def show_pair(left: Axes, right: Axes, latent: Latent, name: str) -> None:
    """The image and the latent image, black at the background prior's mean and white at the foreground prior's."""
    left.imshow(latent.image, cmap="gray", vmin=0, vmax=1)
    left.set_ylabel(name, fontsize=8)
    right.imshow(latent.mean, cmap="gray", vmin=-latent.prior, vmax=latent.prior)


def show_distributions(axis: Axes, latent: Latent, space: str) -> None:
    """Histograms of the true foreground (filled) and background (outlined), and the Gaussians fitted to them (dashed).

    In the latent space also the priors (dotted).
    """
    from scipy.stats import norm

    mask = latent.regions["truth"]
    values = in_space(latent, space, mask)
    low, high = np.quantile(values, (0.001, 0.999))
    along = np.linspace(low, high, 301)
    regions: dict[str, tuple[np.ndarray, float, dict[str, Any]]] = {
        "background": (values[~mask], -latent.prior, {"histtype": "step", "lw": 1.2}),
        "foreground": (values[mask], latent.prior, {"histtype": "stepfilled", "alpha": 0.5}),
    }
    for (name, (part, prior, fill)), colour in zip(regions.items(), COLOURS, strict=False):
        axis.hist(part, np.linspace(low, high, 41).tolist(), density=True, color=colour, label=name, **fill)
        axis.plot(along, norm.pdf(along, part.mean(), part.std()), color=colour, ls="--", lw=1, label="its Gaussian")
        if space == "latent":
            axis.plot(along, norm.pdf(along, prior), color=colour, ls=":", lw=1.2, label="its prior")
    parts = values[mask], values[~mask]
    distance = _MEASURES["distance"](*parts)
    axis.set_xlabel(f"overlap {overlap(*parts):.2f}, distance to Gaussian {distance:.2f}", fontsize=8)
    axis.set(yticks=[])
    axis.tick_params(labelsize=7)


def head_distributions(figure: Figure, axes: np.ndarray, headings: Sequence[str]) -> None:
    """Finish the columns of distributions: a heading over each, and a legend of the lines below the figure."""
    for axis, heading in zip(axes, headings, strict=True):
        axis.set_title(heading, fontsize=9)
    figure.tight_layout(rect=(0, 0.25 / figure.get_figheight(), 1, 1))
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, fontsize=8, frameon=False)


def finding(rows: DataFrame) -> str:
    """What the encoder does to the true regions' contrast, overlap and distance to Gaussians, in each solver."""
    told = []
    for name, table in summary(rows).xs("truth", level=1).groupby(level=0, sort=False):
        table = table.droplevel(0)
        numbers = [
            f"{each} {row['grey']:.2f} → {row['latent']:.2f} ({row['drawn']:.2f} with η)"
            for each, row in table.iterrows()
            if each in _TOLD
        ]
        told.append(f"{name} ({table['images'].max():.0f} images): {', '.join(numbers)}")
    return f"From the grey values to the latent image, in the true regions: {'; '.join(told)}."


_TOLD = [QUANTITIES[each] for each in _MEASURES]


# -- what the paper claims ---------------------------------------------------------------------------------------------


def changes_to_latent(table: DataFrame) -> tuple[dict[str, Estimate], str]:
    """The change from grey to latent in each row of a summary, and a sentence about all of them."""
    changes = {name: Estimate.from_row(row.rename({"change": "mean"}), row["images"]) for name, row in table.iterrows()}
    evidence = "; ".join(
        f"{name}: {row['grey']:.2f} in the grey values, {row['latent']:.2f} in the latent image, "
        f"change {changes[name]:+} over {changes[name].images} images"
        for name, row in table.iterrows()
    )
    return changes, evidence


def change_in_latent(rows: DataFrame, ours: str, *, quantity: str, rises: bool) -> Verdict:
    """Does a quantity of the true regions rise, or fall, in the latent image, and in the latent variable?"""
    mine = rows[full_names(rows) == ours]
    table = summary(mine).xs("truth", level=1).droplevel(0).loc[[QUANTITIES[quantity]]]
    changes, evidence = changes_to_latent(table)
    (change,) = changes.values()
    claimed = above if rises else below
    status, numbers = judged(claimed(change)), {"change": change}
    evidence = f"{evidence[0].upper()}{evidence[1:]}."
    if f"{quantity}_drawn_truth" in mine:
        drawn = mine[f"{quantity}_drawn_truth"] - mine[f"{quantity}_grey_truth"]
        numbers["with η"] = Estimate.over(drawn.groupby(mine["image"]).mean().dropna())
        evidence += f" In the latent variable, with η, it changes by {numbers['with η']:+}."
        if judged(claimed(numbers["with η"])) != status:
            status = Status.UNDECIDED
    return Verdict(status, evidence, numbers)


def given_priors(rows: DataFrame, ours: str) -> Verdict:
    """Are the latent values of the found and of the true regions near the given priors?"""
    mine, found = rows[full_names(rows) == ours], {}
    for regions, label in (("found", "the found regions"), ("truth", "the true regions")):
        column = f"prior_drawn_{regions}"
        if column in mine and mine[column].notna().any():
            found[label] = Estimate.over(mine.groupby("image")[column].mean().dropna())
    if not found:
        return not_run("distances to the priors")
    parts = [below(each, FOLLOWS) for each in found.values()]
    return Verdict(judged(*parts), f"Distance to N(±10, 1), in standard deviations: {listed(found, '')}.", found)


_EITHER = (
    "Undecided, too, if the latent variable (latent image plus η) says otherwise: the paper doesn't say which of the "
    "two its histograms show."
)

CLAIMS = (
    Claim(
        id="figure08/given-priors",
        section="1.1, Figure 2; 3.2; 5.1",
        says="The mask separates the latent image into the given distributions, N(10, 1) and N(-10, 1).",
        test="The Wasserstein distance of the latent variable's values to their prior, mean of foreground and "
        f"background, is below {FOLLOWS:g} of its standard deviations, in the regions that the model found and in the "
        f"true ones. The priors are 20 apart. {ALL_PARTS}",
        decide=given_priors,
        set_after=True,
    ),
    Claim(
        id="figure08/contrast",
        set_after=True,
        section="6, Figure 8",
        says="In the latent space the contrast between foreground and background is magnified.",
        test="The distance of the true regions' means in pooled standard deviations, in the latent image minus that in "
        f"the grey values, is above 0. {PARTS} {_EITHER}",
        decide=partial(change_in_latent, quantity="contrast", rises=True),
    ),
    Claim(
        id="figure08/more-gaussian",
        set_after=True,
        section="6, Figure 8; 7",
        says="In the latent space foreground and background are more like Gaussians.",
        test="The Wasserstein distance of a true region's values to their own Gaussian, in its standard deviations, in "
        f"the latent image minus that in the grey values, is below 0. {PARTS} {_EITHER}",
        decide=partial(change_in_latent, quantity="distance", rises=False),
    ),
)

EXPERIMENT = experiment.Experiment(
    name="figure08",
    title="Figure 8",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
    claims=CLAIMS,
)
