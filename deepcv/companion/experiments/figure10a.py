"""Figure 10a: more Monte-Carlo samples of η for the reconstruction term.

The paper's claim: increasing their number does not greatly increase the accuracy, over 20 images of Weizmann drawn at
random. Here they are the first 20 by name, and every difference to one sample is paired by image and seed. The paper's
loop with 16 samples takes minutes an image on a CPU, so it is left to the profile for a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepcv.companion.claims import Verdict, _named
from deepcv.companion.experiments import variants as _variants
from deepcv.companion.experiments.experiment import CHOSEN_ON, Slow, complete
from deepcv.companion.experiments.variants import Profile, _by_solver, _changes, little_gained
from deepcv.companion.store import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def more_samples(rows: DataFrame) -> Verdict:
    """Do more samples of η add nothing to one, in each solver?"""
    from deepcv.companion.experiments import figure10a

    gains = _changes(figure10a.summary(rows).drop(index=figure10a.REFERENCE, level=1))
    return Verdict(little_gained(gains.values()), f"F changes {_by_solver(gains)}.", _named(gains))


REFERENCE = "1 sample"


SAMPLES = {REFERENCE: {"samples": 1}} | {f"{count} samples": {"samples": count} for count in (2, 4, 8, 16)}
"""How many samples of η a step takes, by name."""


PROFILES = {
    "quick": Profile("samples", {"default": Slow({"size": 96}, 5)}, (REFERENCE, "4 samples", "16 samples")),
    "cpu": Profile("weizmann", {"default": Slow({}, CHOSEN_ON)}, tuple(SAMPLES)),
    "paper": Profile("weizmann", {"default": Slow({}, CHOSEN_ON), "paper": Slow({}, CHOSEN_ON)}, tuple(SAMPLES)),
}


@dataclass(frozen=True)
class Settings(_variants.Settings):
    """What to run; the variants are names in `SAMPLES`, and one sample is always run beside them."""

    profiles = PROFILES
    known = SAMPLES


def items(settings: Settings) -> list[Item]:
    """All results that are needed, those of the package's solver first."""
    return _variants.items("figure10a", settings, SAMPLES, REFERENCE)


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, solver, number and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 10a")


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each solver with each number of samples, and the paired difference to one sample.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by solver and number; the columns of `choices.summary`.
    """
    return _variants.by_solver(rows, SAMPLES, REFERENCE)


def plot(table: DataFrame) -> Figure:
    """F and mIoU against the number of samples with 95 % intervals, a panel for each solver; `table` from `summary`."""
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib import ticker

    solvers = list(dict.fromkeys(table.index.get_level_values(0)))
    figure, axes = plt.subplots(1, len(solvers), figsize=(5 * len(solvers), 3.8), sharey=True, squeeze=False)
    for axis, solver in zip(axes[0], solvers, strict=True):
        of_it = table.loc[solver]
        counts = [SAMPLES[name]["samples"] for name in of_it.index]
        for score, colour, style in zip(("F", "mIoU"), sns.color_palette("colorblind"), ("o-", "s--"), strict=False):
            values = of_it[score]
            error = [values["mean"] - values["low"], values["high"] - values["mean"]]
            axis.errorbar(counts, values["mean"], yerr=error, fmt=style, color=colour, lw=1, capsize=3, label=score)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axis.set(xticks=counts, xlabel="samples of η a step", title=solver)
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("mean over images, 95 % interval")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def plot_changes(table: DataFrame) -> Figure:
    """F with each number of samples, and its paired difference to one sample; `table` from `summary`."""
    return _variants.plot(table, REFERENCE)
