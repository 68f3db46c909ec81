"""The playground's pictures: every method on two embedded images, over the weight ν of the length and the noise σ.

Not an experiment of the paper: what `deepcv.companion.widgets.precomputed` shows behind its sliders where no Python is running.
ν means something else to each method (300 beside our KL of ±200, 4 beside colours in [0, 1]), so it is turned as a
multiple of the method's own default. Methods without a ν run once for each σ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deepcv.companion.experiments import figure07
from deepcv.companion.experiments.experiment import SLOW, Variant, complete, grid, variant
from deepcv.companion.store import Item
from deepcv.data import Sample, load_dataset
from deepcv.methods import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

IMAGES = ("overlap-disk", "modes-ring")
"""One image for each way of Figure 1 in which a constant foreground and background go wrong."""


SIGMAS = (0, 40, 80, 120, 160)
"""On the 0..255 scale."""


MULTIPLES = {"0": 0.0, "1/16": 1 / 16, "1/4": 1 / 4, "1": 1.0, "4": 4.0}
"""Of a method's default ν."""


_TURNED = ", ν × "


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise.

    Attributes
    ----------
    methods : tuple of str
        "method" or "method:preset".
    changes : mapping of str to dict
        Settings that make some of them bearable.
    """

    methods: tuple[str, ...]
    changes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    sigmas: tuple[int, ...] = SIGMAS


_FAST = ("deep-cv", "chan-vese", "chan-vese:exact", "statistical", "normalized-cuts", "iem", "grabcut", "saliency")


_DOUBLE_DIP = "double-dip:otsu"


_EVERY = (*_FAST, _DOUBLE_DIP)


_REDUCED = {
    "deep-cv": {"size": 80},
    "statistical": {"max_iterations": 100},
    "iem": {"size": 64},
    _DOUBLE_DIP: {"size": 64, "first_steps": 100, "second_steps": 100, "ramp": 50},
}


PROFILES = {
    "quick": Profile(_EVERY, _REDUCED),
    "cpu": Profile(_EVERY, {_DOUBLE_DIP: SLOW[_DOUBLE_DIP].changes}),
    "paper": Profile(_EVERY),
}


@dataclass(frozen=True)
class Settings(figure07.Settings):
    """What to run: fields as for Figure 7, whose noise is clipped here.

    `dataset` takes the place of the two images, with its first two (or `n_images`).
    """

    profiles = PROFILES


def _samples(settings: Settings) -> list[Sample]:
    """Every image at every σ, image by image."""
    dataset, found = settings.dataset or "samples", []
    for sigma in settings.sigmas or settings.defaults.sigmas:
        samples = load_dataset(f"{dataset}+noise{sigma}" if sigma else dataset)
        names = IMAGES if settings.dataset is None else samples.names
        found += [samples[samples.names.index(name)] for name in names[: settings.n_images or len(IMAGES)]]
    return sorted(found, key=lambda sample: sample.name)


def _variants(name: str, settings: Settings) -> list[Variant]:
    """A method at each multiple of its ν; as it is where it has none."""
    given = variant(name, settings.size, **settings.defaults.changes.get(name, {}))
    if "nu" not in given.settings:
        return [given]
    return [
        Variant(
            given.method, f"{given.preset}{_TURNED}{told}", given.settings | {"nu": given.settings["nu"] * multiple}
        )
        for told, multiple in MULTIPLES.items()
    ]


def items(settings: Settings) -> list[Item]:
    """All results that are needed."""
    names = settings.methods or settings.defaults.methods
    variants = [each for name in names for each in _variants(name, settings)]
    return grid("playground", settings, (_samples(settings), variants))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, σ, method, ν and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Playground")


def turned(preset: str) -> tuple[str, str]:
    """The preset and the multiple of ν that the name of a variant tells; an empty multiple where there is no ν."""
    preset, _, multiple = preset.partition(_TURNED)
    return preset, multiple


def summary(rows: DataFrame) -> DataFrame:
    """F, mean over images and seeds, by method and multiple of its default ν, a column for each σ.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`.
    """
    import pandas as pd

    preset, multiple = zip(*map(turned, rows["preset"]), strict=True)
    told = rows.assign(
        method=[title(f"{method}:{each}") for method, each in zip(rows["method"], preset, strict=True)],
        multiple=multiple,
        sigma=pd.to_numeric(rows["dataset"].str.extract(r"\+noise(\d+)$")[0]).fillna(0).astype(int),
    )
    table = told.pivot_table("f_measure", ["method", "multiple"], "sigma", sort=False)
    return table[sorted(table.columns)].rename_axis(["", "ν ×"]).rename_axis(columns="σ")


def plot(rows: DataFrame) -> Figure:
    """The table of `summary` as a field of shades for each method; those without a ν have one line."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    table = summary(rows)
    methods = list(dict.fromkeys(table.index.get_level_values(0)))
    across = min(4, len(methods))
    down = -(-len(methods) // across)
    figure, axes = plt.subplots(down, across, figsize=(2.9 * across, 2.7 * down), squeeze=False)
    for axis in axes.ravel()[len(methods) :]:
        axis.remove()
    for axis, method in zip(axes.ravel(), methods, strict=False):
        values = table.loc[method]
        sns.heatmap(
            values, ax=axis, cmap="cividis", vmin=0, vmax=1, annot=True, fmt=".2f", annot_kws={"size": 8}, cbar=False
        )
        axis.set(xlabel="σ of the noise", ylabel="ν ×" if len(values) > 1 else "no ν")
        axis.tick_params(rotation=0)
        axis.set_title(method, fontsize=9)
    figure.tight_layout()
    return figure
