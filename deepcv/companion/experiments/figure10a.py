"""Figure 10a: more Monte-Carlo samples of η for the reconstruction term.

The paper claims that more samples don't greatly increase the accuracy, over 20 images of Weizmann drawn at random. Here
they are the first 20 by name, and every difference to one sample is paired by image and seed. The package's solver has
a decoder here, as in the paper; without one there is nothing to sample. The paper's loop with 16 samples takes minutes
per image on a CPU, so only the profile for a GPU has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepcv.companion.claims import ALL_PARTS, NOTHING_GAINED, Claim, Verdict, below, judged, listed
from deepcv.companion.experiments import variants
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, Experiment, Group, Reduction
from deepcv.companion.experiments.variants import changes_of
from deepcv.companion.pictures import COLOURS
from deepcv.methods import split_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

REFERENCE = "1 sample"

SAMPLES = {REFERENCE: {"samples": 1}} | {f"{count} samples": {"samples": count} for count in (2, 4, 8, 16)}
"""Number of samples of η per step, by name."""

_FIRST = Reduction({}, N_TUNING_IMAGES)
_DECODED = Reduction({"decoder": True}, N_TUNING_IMAGES)


@dataclass(frozen=True)
class Settings(variants.Settings):
    """Settings; the variants are names in `SAMPLES`, and one sample always runs, too."""

    profiles = {
        "quick": {
            "dataset": "samples",
            "solvers": {"default": Reduction({"decoder": True, "size": 64}, 2)},
            "variants": (REFERENCE, "4 samples"),
        },
        "cpu": {"dataset": "weizmann", "solvers": {"default": _DECODED}},
        "paper": {"dataset": "weizmann", "solvers": {"default": _DECODED, "paper": _FIRST}},
    }
    known = SAMPLES


def groups(settings: Settings) -> list[Group]:
    """Each number of samples, in the package's solver first."""
    return variants.groups(settings, SAMPLES, REFERENCE)


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each number of samples and the paired difference to one sample, as in `variants.by_solver`."""
    return variants.by_solver(rows, SAMPLES, REFERENCE)


def plot(table: DataFrame) -> Figure:
    """F and mIoU against the number of samples with 95 % intervals, a panel per solver; `table` from `summary`."""
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    solvers = list(dict.fromkeys(table.index.get_level_values(0)))
    figure, axes = plt.subplots(1, len(solvers), figsize=(5 * len(solvers), 3.8), sharey=True, squeeze=False)
    for axis, solver in zip(axes[0], solvers, strict=True):
        of_it = table.loc[solver]
        counts = [SAMPLES[name]["samples"] for name in of_it.index]
        for score, colour, style in zip(("F", "mIoU"), COLOURS, ("o-", "s--"), strict=False):
            values = of_it[score]
            error = [values["mean"] - values["low"], values["high"] - values["mean"]]
            axis.errorbar(counts, values["mean"], yerr=error, fmt=style, color=colour, lw=1, capsize=3, label=score)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axis.set(xticks=counts, xlabel="samples of η per step", title=solver)
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("mean over images, 95 % interval")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def plot_changes(table: DataFrame) -> Figure:
    """F of each number of samples and its paired difference to one sample; `table` from `summary`."""
    return variants.plot(table, REFERENCE)


def more_samples(rows: DataFrame, ours: str) -> Verdict:
    """Do more samples of η gain nothing over one?"""
    gains = changes_of(variants.summary(rows, SAMPLES, REFERENCE, split_name(ours)[1]).drop(index=REFERENCE))
    status = judged(*(below(each, NOTHING_GAINED) for each in gains.values()))
    return Verdict(status, f"F changes with {listed(gains)}.", gains)


def finding(rows: DataFrame) -> str:
    """The greatest change of the mean F, and of the seconds."""
    table = summary(rows).loc[variants.SOLVERS["default"]]
    changes = changes_of(table.drop(index=REFERENCE))
    most = max(changes, key=lambda name: abs(changes[name].mean))
    seconds = table["run", "s/image"] / table.loc[REFERENCE, ("run", "s/image")]
    return (
        f"On {changes[most].images} photographs {most} change the mean F most, by {changes[most]:+}; "
        f"{seconds.index[-1]} take {seconds.iloc[-1]:.1f} times as long as one."
    )


CLAIMS = (
    Claim(
        id="figure10a/one-sample",
        section="6, Figure 10a; Remark 1",
        says="More samples of η don't greatly increase the accuracy.",
        test="The gain in F of 2 to 16 samples over one, paired over images and seeds, is below "
        f"{NOTHING_GAINED:g}. {ALL_PARTS}",
        decide=more_samples,
    ),
)

EXPERIMENT = Experiment(
    name="figure10a",
    title="Figure 10a",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
)
