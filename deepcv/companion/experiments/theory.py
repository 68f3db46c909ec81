"""Section 3 and appendix 7, checked numerically on small images in double precision.

`elbo`        Proposition 3.1: the closed form (3.13) against the definition (3.10), sampled, with random networks, u,
              means and variances.
`dataset`     Proposition 7.4: the loss (4.9) of a random 𝓤 against the definition (7.17), sampled likewise.
`shrinkage`   Proposition 3.2: the formula (3.21) against a search for the minimum that doesn't use it.
`descent`     Theorem 3.3, following its proof: gradient steps (3.19) with α below 2/L, then w by (3.21), on networks
              as in (3.22) with sigmoid activations. Do (7.8) and (7.9) hold, and is the path's length finite?
`normalised`  The same with an instance normalisation before each activation, as in section 5.1.
`adam`        The problem of `descent` with Adam at 1e-1, which the theorem doesn't cover.
`redrawn`     The same with a new η for each step, as in Algorithm 1; the theorem assumes exact gradients. The energy
              is still evaluated with one η throughout.

L is estimated: the largest absolute eigenvalue of the Hessian in (θ, γ, φ), by Lanczos iteration on Hessian-vector
products, at points along the path. When an estimate exceeds the L that sets α, the descent starts again with a smaller
α (`deepcv.companion.theory.descent.bounded_descent`). This is a local L, of the path alone: we know nothing of the set
𝓜 of Assumption 1.

The notebook `theory` lists what we found in reading the proofs.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepcv.checks import Count, at_least
from deepcv.companion.claims import ON_ALL, Claim, Verdict, judged, not_run
from deepcv.companion.compute import only_measured, sample_of
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Group, Images, Variant
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS
from deepcv.companion.theory.bounds import dataset_elbo, elbo
from deepcv.companion.theory.descent import adam_descent, gradient_descent
from deepcv.companion.theory.shrinkage import shrinkage
from deepcv.data import Sample
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

_CPU = {"dataset": "samples", "n_images": 3, "size": 16, "width": 4, "steps": 600, "draws": 2000}


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; `size` is the side of the square that an image is reduced to. Besides every experiment's fields:

    Attributes
    ----------
    width : int
        Channels of the networks.
    steps : int
        Of the descents.
    draws : int
        Of η, for Propositions 3.1 and 7.4.
    """

    profiles = {
        "quick": {"dataset": "samples", "n_images": 1, "size": 10, "width": 4, "steps": 24, "draws": 300},
        "cpu": _CPU,
        "paper": _CPU,
    }

    width: Count | None = None
    steps: Annotated[int, at_least(8)] | None = None
    draws: Annotated[int, at_least(2)] | None = None


def groups(settings: Settings) -> list[Group]:
    """All of `CHECKS` on each image; the check is a condition."""
    size, width, steps = settings.size, settings.width, settings.steps
    descent = {"size": size, "width": width, "steps": steps}
    sampled = {"size": size, "width": width, "draws": settings.draws}
    given = {
        "elbo": sampled,
        "dataset": sampled,
        "shrinkage": {"size": size},
        "normalised": descent | {"steps": steps // 2},  # it starts most often, and is slow
    }
    variants = [Variant("deep-cv", "default", given.get(name, descent), {"check": name}) for name in CHECKS]
    return [Group(Images.load(settings.dataset).first(settings.n_images), variants)]


CHECKS: dict[str, Callable[[Tensor, Tensor, int, dict[str, Any]], dict[str, float]]] = {
    "elbo": elbo,
    "dataset": dataset_elbo,
    "shrinkage": shrinkage,
    "descent": lambda *given: gradient_descent(*given).measured(),
    "normalised": lambda *given: gradient_descent(*given, normalised=True).measured(),
    "adam": lambda *given: adam_descent(*given).measured(),
    "redrawn": lambda *given: adam_descent(*given, redrawn=True).measured(),
}
"""The checks by name: from image, hint, seed and settings to numbers."""


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The numbers of the item's check on the reduced image, always on the CPU; nothing is segmented."""
    started = time.perf_counter()
    found = CHECKS[item.conditions["check"]](*_given(item, sample, hint))
    return only_measured(time.perf_counter() - started), found


def _given(item: Item, sample: Sample, hint: np.ndarray) -> tuple[Any, ...]:
    """The arguments of a check; each image has its own random numbers."""
    own = zlib.crc32(f"{item.image} {item.seed}".encode())
    return *reduced(sample.image, hint, item.settings["size"]), own, item.settings


def reduced(image: np.ndarray, hint: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Image `(1, C, size, size)` and hint `(1, size, size)` in double precision."""
    small = np.atleast_3d(resize(as_image(image), (size, size))).transpose(2, 0, 1)
    given = (small, resize(hint, (size, size)))
    first, second = (torch.from_numpy(np.ascontiguousarray(each))[None].double() for each in given)
    return first, second


# -- what is shown -----------------------------------------------------------------------------------------------------


class Statement(NamedTuple):
    """A statement, the check and the number that decide it, and the limit that the number must keep, "≤" or "≥"."""

    says: str
    check: str
    number: str
    sense: str
    limit: float

    def worst(self, values: Series) -> float:
        """The number nearest to breaking the limit, or farthest beyond it."""
        return values.max() if self.sense == "≤" else values.min()

    def holds(self, values: Series) -> Series:
        """Which numbers keep the limit, up to rounding."""
        return values <= self.limit + 1e-6 if self.sense == "≤" else values >= self.limit - 1e-6


STATEMENTS = (
    Statement("Proposition 3.1: difference of (3.13) and (3.10) in standard errors", "elbo", "z", "≤", 3),
    Statement("Proposition 7.4, binary u: difference of (4.9) and (7.17)", "dataset", "z_binary", "≤", 3),
    Statement(
        "Proposition 7.4, binary u: difference of (4.9), with the minus of (7.24), and (7.17)",
        "dataset",
        "z_printed",
        "≤",
        3,
    ),
    Statement("Proposition 7.4, u drawn from 𝓤: difference of (4.9) and (7.17)", "dataset", "z_between", "≤", 3),
    Statement(
        "Proposition 7.4, u drawn from 𝓤: difference of (4.9), with the entropy of u, and (7.17)",
        "dataset",
        "z_entropy",
        "≤",
        3,
    ),
    Statement("Proposition 3.2: log₁₀ of the distance to a search's minimiser", "shrinkage", "deviation", "≤", -6),
    Statement("Proposition 3.2: log₁₀ of the excess over a search's minimum", "shrinkage", "excess", "≤", -12),
    Statement("α < 2/L: greatest L on the path over the L that sets α", "descent", "sharpening", "≤", 1),
    Statement("α < 2/L: share of steps at which the energy falls", "descent", "falls", "≥", 1),
    Statement("(7.8) before c₀: least decrease over its bound", "descent", "decrease", "≥", 1),
    Statement("(7.8): least decrease over its bound", "descent", "decrease_c0", "≥", 1),
    Statement("(7.9), c₁ as printed: greatest distance over its bound", "descent", "relative", "≤", 1),
    Statement("(7.9), c₁ + L + λ/√2: greatest distance over its bound", "descent", "relative_c1", "≤", 1),
    Statement("(7.16): share of the second half of the steps in the path's length", "descent", "tail", "≤", 0.5),
    Statement("(7.16): power of k with which the second half's steps shrink", "descent", "decay", "≤", -1),
    Statement("normalised: greatest L on the path over the L that sets α", "normalised", "sharpening", "≤", 1),
    Statement("normalised: share of steps at which the energy falls", "normalised", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of steps at which the energy falls", "adam", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of the second half of the steps in the path's length", "adam", "tail", "≤", 0.5),
    Statement("Adam, η redrawn: share of steps at which the energy falls", "redrawn", "falls", "≥", 1),
)


def summary(rows: DataFrame) -> DataFrame:
    """A row per statement that was checked: the `worst` number over images and seeds, and how many `of` them hold."""
    import pandas as pd

    table = {}
    for statement in STATEMENTS:
        values = rows.loc[rows["check"] == statement.check].get(statement.number, pd.Series(dtype=float))
        if len(values):
            table[statement.says] = {
                "must be": f"{statement.sense} {statement.limit:g}",
                "worst": statement.worst(values),
                "holds": int(statement.holds(values).sum()),
                "of": len(values),
            }
    return pd.DataFrame.from_dict(table, orient="index", columns=["must be", "worst", "holds", "of"])


_RATIOS = {
    "decrease": "(7.8) before c₀, must be ≥ 1",
    "decrease_c0": "(7.8), must be ≥ 1",
    "relative": "(7.9), c₁ as printed, ≤ 1",
    "relative_c1": "(7.9), c₁ + L + λ/√2, ≤ 1",
}


def plot(rows: DataFrame) -> Figure:
    """Proposition 3.1's difference in standard errors, and the proof's inequalities as ratios to their bounds.

    A mark per image and seed, filled if the statement holds and empty if it doesn't.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 2.6), width_ratios=(1, 2))
    by_number = {statement.number: statement for statement in STATEMENTS if statement.check in ("elbo", "descent")}
    for axis, labels, limit in ((left, {"z": "(3.13) − (3.10)"}, 3), (right, _RATIOS, 1)):
        for row, number in enumerate(labels):
            values = rows.loc[rows["check"] == by_number[number].check, number]
            filled = [COLOURS[row] if kept else "none" for kept in by_number[number].holds(values)]
            heights = row + np.linspace(-0.2, 0.2, len(values))
            axis.scatter(values, heights, s=22, marker="o^sD"[row], edgecolors=[COLOURS[row]], facecolors=filled)
        axis.axvline(limit, color="0.3", ls="--", lw=0.8)
        axis.set(ylim=(len(labels) - 0.5, -0.5), yticks=range(len(labels)), yticklabels=list(labels.values()))
        axis.grid(axis="x", alpha=0.25)
    left.set(xlabel="difference, standard errors", xlim=(0, 3.5))
    right.set(xscale="log", xlabel="over all steps, the ratio to the bound nearest to breaking it (log scale)")
    figure.tight_layout()
    return figure


def plot_descents(settings: Settings) -> Figure:
    """Energy, step length and local L along the descents of the first image and seed, computed anew."""
    import matplotlib.pyplot as plt

    first = next(item for item in EXPERIMENT.items(settings) if item.conditions["check"] == "descent")
    sample = sample_of(first)
    given = _given(first, sample, hint_for(as_image(sample.image)))
    bounded = {
        "gradient, α = 0.9 · 2/L": gradient_descent(*given),
        "the same, instance normalisation": gradient_descent(*given, normalised=True),
    }
    paths = {name: found.path for name, found in bounded.items()}
    paths |= {"Adam at 1e-1": adam_descent(*given), "the same, η redrawn": adam_descent(*given, redrawn=True)}
    colours = COLOURS[: len(paths)]
    figure, (energies, lengths, local) = plt.subplots(1, 3, figsize=(10.5, 3.4))
    for (name, path), colour, line in zip(paths.items(), colours, ("-", "--", "-.", ":"), strict=True):
        style = {"color": colour, "ls": line}
        energies.plot(path.energy, label=name, lw=1.2, **style)
        lengths.plot(np.arange(1, len(path.lengths) + 1), path.lengths, lw=1.2, **style)
        if name in bounded:
            local.plot(*zip(*path.lipschitz.items(), strict=True), marker="o", ms=3, lw=1, **style)
            local.axhline(bounded[name].bound, lw=0.8, **style)
    energies.set(yscale="log", xlabel="step", ylabel="$E_{LS}$, sum over pixels")
    lengths.set(xscale="log", yscale="log", xlabel="step", ylabel="length of the step $\\|x^{k+1} - x^k\\|$")
    local.set(yscale="log", xlabel="step", ylabel="local L (marks); line: the L that sets α")
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    energies.legend(fontsize=7)
    figure.tight_layout()
    return figure


def finding(rows: DataFrame) -> str:
    """How many of the statements hold in every run, and which don't."""
    table = summary(rows)
    broken = table[table["holds"] < table["of"]]
    told = "; ".join(f"{name} ({row['holds']} of {row['of']})" for name, row in broken.iterrows())
    others = f" The others: {told}." if told else ""
    return f"Of {len(table)} statements, {len(table) - len(broken)} hold in every run.{others}"


# -- what the paper claims ---------------------------------------------------------------------------------------------


def statements_hold(rows: DataFrame, *, check: str, numbers: tuple[str, ...], beside: tuple[str, ...] = ()) -> Verdict:
    """Do the statements on these numbers hold on every image and seed? Those `beside` are reported, not judged."""
    table = summary(rows)
    says = {each.number: each.says for each in STATEMENTS if each.check == check}
    decisive = table[table.index.isin([says[number] for number in numbers])]
    if decisive.empty:
        return not_run(check)
    shown = table.loc[table.index.isin([says[number] for number in (*numbers, *beside)])]
    evidence = "; ".join(
        f"{name}: {row['worst']:.3g} at worst, must be {row['must be']}, holds in {row['holds']} of {row['of']}"
        for name, row in shown.iterrows()
    )
    parts = [at < row["holds"] for _, row in decisive.iterrows() for at in range(row["of"])]
    return Verdict(judged(*parts), f"{evidence}.", shown["worst"].astype(float).to_dict())


CLAIMS = (
    Claim(
        id="theory/closed-form",
        section="3.2, Proposition 3.1",
        says="With Gaussian latent variables the evidence lower bound has the closed form (3.13).",
        test="The closed form against the definition (3.10), sampled, with random networks, masks and variances: "
        f"their difference in standard errors. {ON_ALL}",
        decide=partial(statements_hold, check="elbo", numbers=("z",)),
        ours={},
    ),
    Claim(
        id="theory/shrinkage",
        section="3.3, Proposition 3.2",
        says="Shrinkage (3.21) solves the sub-problem (3.20).",
        test=f"The formula against a search for the minimum that uses no derivative. {ON_ALL}",
        decide=partial(statements_hold, check="shrinkage", numbers=("deviation", "excess")),
        ours={},
    ),
    Claim(
        id="theory/convergence",
        section="3.4, Theorem 3.3; 7.2",
        says="Under Assumption 1, with step sizes of at most 2/L and sigmoid networks, Algorithm 1 converges to a "
        "stationary point.",
        test="Gradient steps below 2/L, L estimated along the path: the energy falls at every step by as much as "
        "(7.8) says, and over the second half of the steps their lengths shrink at least as fast as 1/k; if they went "
        f"on more slowly, the path would have no finite length (7.16). {ON_ALL} Beside it, the share of the second "
        "half in the path's length. No finite run can show, or refute, that a limit is reached.",
        decide=partial(statements_hold, check="descent", numbers=("falls", "decrease_c0", "decay"), beside=("tail",)),
        ours={},
        set_after=True,
    ),
    Claim(
        id="theory/relative-error",
        section="7.2, (7.9)",
        says="The length of a step bounds the distance of 0 to the subdifferential, with the constant c₁ = 1/min α.",
        test="The greatest ratio of the distance to its bound along the same paths, which must be at most 1. "
        f"{ON_ALL} Beside it, the ratio to a bound with a larger constant.",
        decide=partial(statements_hold, check="descent", numbers=("relative",), beside=("relative_c1",)),
        ours={},
    ),
    Claim(
        id="theory/dataset-elbo",
        section="4.2, Remark 4; 7.3, Proposition 7.4",
        says="Minimising the loss (4.9) of a trained segmentation function maximises an evidence lower bound.",
        test="The loss of an image against the definition (7.17), sampled, with random networks and masks. For binary "
        "masks, which (7.20) supposes, their difference is small in standard errors; for masks drawn from values "
        "between 0 and 1 it is the entropy of the mask, which isn't negative: minus the loss is then a looser bound. "
        f"{ON_ALL} Beside it, the difference with the minus that (7.24) prints, and without the entropy.",
        decide=partial(
            statements_hold, check="dataset", numbers=("z_binary", "z_entropy"), beside=("z_printed", "z_between")
        ),
        ours={},
        set_after=True,
    ),
)

EXPERIMENT = experiment.Experiment(
    name="theory",
    title="Theory",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
    claims=CLAIMS,
)
