"""The package's own settings: what each choice does to the F-measure and to the time.

Not in the paper. Every setting of the default is changed alone, over the images the settings were chosen on: the first
20 of Weizmann by name. What was read off here is the default of `deepcv.solver.Settings`; Table 1 reports it on the
other 80 images apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv import experiments
from deepcv.data import load_dataset
from deepcv.experiments._scored import Variant, complete, grid
from deepcv.experiments.table1 import CHOSEN_ON
from deepcv.images import InputError
from deepcv.methods import get_method
from deepcv.metrics import bootstrap_interval
from deepcv.results import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

EFFORT = ("size", "rounds", "settled", "steps", "more_steps", "width", "levels", "samples", "precision")
"""The settings that buy score with time; the others are the model."""

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"{name} = {str(value).removesuffix('.0')}": {name: value} for name, values in (
        ("size", (100, 160, 300)),
        ("rounds", (1, 2, 3)),
        ("settled", (0.0, 0.001, 0.01)),
        ("steps", (10, 20, 60)),
        ("more_steps", (5, 20)),
        ("width", (4, 16)),
        ("levels", (1, 2)),
        ("samples", (4,)),
        ("precision", ("bfloat16",)),
        ("balance", (0.0, 0.5, 1.0)),
        ("nu", (0.0, 100.0, 1000.0)),
        ("hint_weight", (0.0, 50.0, 200.0)),
        ("edge_sensitivity", (0.0, 3.0)),
        ("pixel_range", (20.0, 255.0)),
        ("guided_radius", (10, 50)),
    ) for value in values},
    "learned variance": {"learned_variance": True},
}  # fmt: skip


_FARTHEST = -0.15  # changes of F below this are written, not drawn


@dataclass(frozen=True)
class Profile:
    """What a profile fixes: the data set, how many of its first images, the size if not the default, the variants."""

    dataset: str
    n_images: int
    size: int | None
    variants: tuple[str, ...]


_SOME = ("default", "rounds = 1", "steps = 10", "width = 16", "levels = 2", "hint_weight = 0", "balance = 0")

PROFILES = {
    "quick": Profile("samples", 8, 128, _SOME),
    "cpu": Profile("weizmann", CHOSEN_ON, None, tuple(VARIANTS)),
    "paper": Profile("weizmann", CHOSEN_ON, None, tuple(VARIANTS)),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; besides what every experiment takes:

    Attributes
    ----------
    variants : tuple of str
        Names in `VARIANTS`; the default is always run beside them.

    Raises
    ------
    InputError
        For an unknown variant, and as `deepcv.experiments.Settings` does.
    """

    profiles = PROFILES

    variants: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        unknown = sorted(set(self.variants or ()) - set(VARIANTS))
        if unknown:
            raise InputError(f"there is no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")


def items(settings: Settings) -> list[Item]:
    """All results that are needed; `Item.preset` is the variant's name."""
    profile, method = settings.defaults, get_method("deep-cv")
    samples = load_dataset(settings.dataset or profile.dataset)[: settings.n_images or profile.n_images]
    size = settings.size or profile.size
    common = {"size": size} if size else {}
    wanted = dict.fromkeys(("default", *(settings.variants or profile.variants)))
    variants = [Variant("deep-cv", name, method.settings(**common | VARIANTS[name])) for name in wanted]
    return grid("choices", settings, samples, variants)


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks and return a row per image, variant and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Choices")


def summary(rows: DataFrame) -> DataFrame:
    """A row per variant: means over images, and the paired difference to the default on the same images and seeds.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by the variant, in the order of `VARIANTS`: `F`, `mIoU`, `s/image` (median), `ΔF` with `low` and `high`
        (95 %, bootstrap over images), `images`, `seeds`. An interval across 0 says that the choice can't be told
        from the default on so few images.
    """
    import pandas as pd

    table = {}
    default = rows[rows["preset"] == "default"].set_index(["image", "seed"])["f_measure"]
    for variant in (name for name in VARIANTS if name in set(rows["preset"])):
        group = rows[rows["preset"] == variant].set_index(["image", "seed"])
        difference = (group["f_measure"] - default).dropna().groupby("image").mean()
        low, high = bootstrap_interval(difference)
        table[variant] = {
            "F": group["f_measure"].mean(),
            "mIoU": group["iou"].mean(),
            "s/image": group["seconds"].median(),
            "ΔF": difference.mean(),
            "low": low,
            "high": high,
            "images": len(difference),
            "seeds": group.index.get_level_values("seed").nunique(),
        }
    columns = ["F", "mIoU", "s/image", "ΔF", "low", "high", "images", "seeds"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns)


def plot(table: DataFrame) -> Figure:
    """F against seconds for the settings that buy score with time, and what every other choice does to F.

    Parameters
    ----------
    table : pandas.DataFrame
        From `summary`.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib import ticker

    figure, (trade, change) = plt.subplots(1, 2, figsize=(11, 0.28 * len(table) + 2.2), width_ratios=(1.15, 1))
    colours = dict(zip(EFFORT, sns.color_palette("colorblind"), strict=False))
    markers = dict(zip(EFFORT, "osD^vP<X>", strict=True))
    default = table.loc["default"]
    for name in EFFORT:
        variants = table[[index.startswith(f"{name} =") for index in table.index]]
        if variants.empty:
            continue
        along = table.loc[["default", *variants.index]].sort_values("s/image")
        trade.plot(along["s/image"], along["F"], color=colours[name], lw=0.8, alpha=0.6)
        trade.scatter(
            variants["s/image"], variants["F"], color=colours[name], marker=markers[name], label=name, zorder=3
        )
        for label, row in variants.iterrows():
            trade.annotate(
                label.split("= ")[1], (row["s/image"], row["F"]), xytext=(4, 4), textcoords="offset points", fontsize=8
            )
    trade.scatter(default["s/image"], default["F"], color="black", marker="*", s=140, label="default", zorder=4)
    trade.set(xscale="log", xlabel="seconds an image, one core (log scale)", ylabel="F-measure, mean over images")
    trade.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    trade.xaxis.set_major_formatter("{x:g}")
    trade.xaxis.set_minor_formatter(ticker.NullFormatter())
    change.xaxis.set_major_locator(ticker.MaxNLocator(5))
    trade.legend(fontsize=8)
    others = table.drop(index="default").iloc[::-1]
    position = range(len(others))
    error = [others["ΔF"] - others["low"], others["high"] - others["ΔF"]]
    change.errorbar(others["ΔF"], position, xerr=error, fmt="o", color="black", ecolor="0.55", ms=4, lw=1)
    change.axvline(0, color="0.3", lw=0.8, ls="--")
    change.set(
        yticks=list(position), yticklabels=list(others.index), xlabel="change of F against the default, 95 % interval"
    )
    change.tick_params(axis="y", labelsize=8)
    if (others["ΔF"] < _FARTHEST).any():  # one that ruins everything would squeeze the others into a line
        change.set_xlim(left=_FARTHEST)
        for row, value in enumerate(others["ΔF"]):
            if value < _FARTHEST:
                change.annotate(
                    f"← {value:.2f}", (_FARTHEST, row), xytext=(3, -3), textcoords="offset points", fontsize=8
                )
    for axis in (trade, change):
        axis.grid(alpha=0.25)
    figure.tight_layout()
    return figure
