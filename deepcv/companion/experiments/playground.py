"""Pictures for the playground: every method on two embedded images, over the weight ν of the length and the noise σ.

Not an experiment of the paper: `deepcv.companion.precomputed.precomputed` shows these masks behind its sliders on pages
without Python. The scale of ν differs between methods (300 beside our KL of ±200, 4 beside colours in [0, 1]), so it is
varied as a multiple of each method's default. Methods without a ν run once for each σ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.experiments import figure07, figure08
from deepcv.companion.experiments.experiment import REDUCED, Experiment, Group, Images, Reduction, Variant, variant
from deepcv.companion.items import Item
from deepcv.companion.recorded import full_names
from deepcv.images import to_uint8
from deepcv.methods import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

IMAGES = ("coins", "overlap-disk")
"""One in which ν decides how many coins are found, one whose regions differ in texture alone."""

SIGMAS = (0, 40, 80, 120, 160)
"""On the 0..255 scale."""

MULTIPLES = {"0": 0.0, "1/16": 1 / 16, "1/4": 1 / 4, "1": 1.0, "4": 4.0}
"""Multiples of a method's default ν; the keys are the condition `nu` of the rows, "" for methods without a ν."""

_FAST = ("deep-cv", "chan-vese", "chan-vese:exact", "statistical", "normalized-cuts", "iem", "grabcut", "saliency")
_DOUBLE_DIP = "double-dip:otsu"
_QUICK = {
    "deep-cv": {"size": 64, "rounds": 2},
    "statistical": {"max_iterations": 40},
    "iem": {"size": 64},
    _DOUBLE_DIP: {"size": 48, "first_steps": 20, "second_steps": 20, "ramp": 10},
}


def _profile(reduced: Mapping[str, Reduction]) -> dict[str, Any]:
    return {"dataset": "samples", "sigmas": SIGMAS, "methods": (*_FAST, _DOUBLE_DIP), "reduced": reduced}


@dataclass(frozen=True)
class Settings(figure07.Settings):
    """What to run: as Figure 7, but with clipped noise only, on the two images.

    A `dataset` replaces the two images by its first two, or its first `n_images`.

    Attributes
    ----------
    live : bool
        Whether the notebook shows the part that needs a kernel.
    """

    profiles = {
        "quick": _profile({name: Reduction(changes) for name, changes in _QUICK.items()}) | {"sigmas": SIGMAS[::2]},
        "cpu": _profile({_DOUBLE_DIP: REDUCED[_DOUBLE_DIP]}),
        "paper": _profile({}),
    }

    live: bool = False


def groups(settings: Settings) -> list[Group]:
    """Every image at every σ, image by image, and on it every method with every ν."""
    names = None if "dataset" in settings.given else IMAGES
    levels = [Images.load(settings.dataset, sigma=float(sigma)) for sigma in settings.sigmas]
    noisy = [(each.shown(names) if names else each).first(settings.n_images or len(IMAGES)).each() for each in levels]
    variants = [each for name in settings.methods for each in _variants(name, settings)]
    return [Group(image, variants) for levels in zip(*noisy, strict=True) for image in levels]


def _variants(name: str, settings: Settings) -> list[Variant]:
    """A method with each multiple of its ν, or as it is if it has none."""
    changes = settings.reduced[name].changes if name in settings.reduced else {}
    found = variant(name, settings.size, **changes)
    if "nu" not in found.settings:
        return [replace(found, conditions={"nu": ""})]
    nu = found.settings["nu"]
    return [
        replace(found, settings={**found.settings, "nu": nu * multiple}, conditions={"nu": label})
        for label, multiple in MULTIPLES.items()
    ]


def latent_picture(item: Item, device: str | None) -> np.ndarray:
    """The latent image of an item as grey levels, -μ black and μ white; uint8 at the working size."""
    found = figure08.latent_of(item, device)
    return to_uint8((0.5 + 0.5 * found.mean / found.prior).clip(0, 1))


def summary(rows: DataFrame) -> DataFrame:
    """F, mean over images and seeds, by method and multiple of its default ν, a column for each σ.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`.
    """
    rows = rows.assign(method=full_names(rows).map(title), sigma=rows["sigma"].astype(int))
    table = rows.pivot_table("f_measure", ["method", "nu"], "sigma", sort=False)
    return table[sorted(table.columns)].rename_axis(["", "ν ×"]).rename_axis(columns="σ")


def plot(rows: DataFrame) -> Figure:
    """The table of `summary` as a heat map for each method; methods without a ν have one line."""
    import matplotlib.pyplot as plt

    table = summary(rows)
    methods = list(dict.fromkeys(table.index.get_level_values(0)))
    across = min(4, len(methods))
    down = -(-len(methods) // across)
    figure, axes = plt.subplots(down, across, figsize=(2.9 * across, 2.7 * down), squeeze=False)
    for axis in axes.ravel()[len(methods) :]:
        axis.remove()
    for axis, method in zip(axes.ravel(), methods, strict=False):
        values = table.loc[method]
        axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value < 0.5 else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set(xticks=range(len(values.columns)), xticklabels=values.columns, xlabel="σ of the noise")
        axis.set(yticks=range(len(values)), yticklabels=values.index, ylabel="ν ×" if len(values) > 1 else "no ν")
        axis.tick_params(rotation=0)
        axis.set_title(method, fontsize=9)
    figure.tight_layout()
    return figure


EXPERIMENT = Experiment(
    name="playground",
    title="Playground",
    settings=Settings,
    groups=groups,
    summary=summary,
    plot=plot,
    recorded=False,
)
