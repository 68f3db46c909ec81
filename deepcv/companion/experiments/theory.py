"""The mathematics of section 3 and appendix 7, checked in numbers on small images in double precision.

`elbo`        Proposition 3.1: the closed form (3.13) against the definition (3.10), sampled. Networks, u, means and
              variances are random.
`dataset`     Proposition 7.4: the loss (4.9) of a trained 𝓤 against the definition (7.17), sampled likewise.
`shrinkage`   Proposition 3.2: the formula (3.21) against a minimiser that knows nothing of it.
`descent`     Theorem 3.3, step by step as its proof goes: gradient steps (3.19) with α below 2/L, then w by (3.21), on
              networks as in (3.22) with sigmoid activations. Is (7.8) kept, and (7.9), and is the path's length finite?
`normalised`  The same with an instance normalisation before each activation, as in section 5.1.
`adam`        The same problem as `descent` with Adam at 1e-1, which the theorem doesn't cover.
`redrawn`     That, and η drawn anew for each step, as Algorithm 1 does it; the theorem is about gradients without
              noise. The energy that is watched has the same η throughout.

L is estimated, not guessed: the greatest modulus of an eigenvalue of the Hessian in (θ, γ, φ), by Lanczos iteration (a
power iteration that keeps its history) on Hessian-vector products, at points along the path. Where L comes out greater
than the one α was made from, the descent starts anew with a smaller α (`bounded_descent`). This is a local L, of the
path alone: nothing is known of the set 𝓜 of Assumption 1.

What we found in reading the proofs, none of which touches what the theorem says in the end:

- (3.23) has `∇_{θ,γ,u}` where `∇_{θ,γ,φ}` is meant: the energy that is split is a function of φ.
- `c₀ = min(1/max α - L/2, λ/2)` under (7.8) is positive only for α strictly below 2/L; the text allows α = 2/L.
- The proof of (7.9) takes `(yᵏ - yᵏ⁺¹)/α` for the gradient at xᵏ⁺¹; by (3.19) it is the one at xᵏ. With the
  c₁ = 1/min α that is printed, (7.9) can fail where the gradient grows. Adding how far the gradient can change within a
  step, L in y and at most λ/√2 in w, gives a c₁ that holds.
- (7.13) lacks a square at its right-hand side: (7.8) has it, and so has the theorem that is cited.
- (7.24) and (7.31) have a minus between the two KL terms where (4.9) has the plus that follows from (7.21).
- (7.20) with u of 0 and 1 wants a 𝓤(I) of 0 and 1, so that the entropy in (7.28) is 0. A network's lies between. If u
  is drawn with these probabilities, (4.9) lacks u's entropy, which would draw 𝓤 towards ½; and 𝓡 would have to be the
  mean of 𝓡(u). AuI is no function of the mask alone, so no p(u) ∝ exp(-𝓡(u)) has it.
- A last layer with a sigmoid, which (3.22) has, could not reach latent means of ±10, so ours is linear. The max pooling
  of a U-Net isn't smooth, and an instance normalisation is not in (3.22).
- With ν = 1 and the released code's λ = 0.1, the threshold ν/λ = 10 of (3.21) is above √2, the greatest `‖∇S(φ)‖` there
  is: w is 0 throughout, and ν has no effect at all.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepcv.companion.claims import ON_ALL, Claim, Status, Verdict, judged, not_run
from deepcv.companion.compute import load_sample, only_measured
from deepcv.companion.experiments import experiment as experiments
from deepcv.companion.experiments.experiment import Variant, complete, grid
from deepcv.companion.store import Item
from deepcv.companion.theory.bounds import dataset_elbo, elbo
from deepcv.companion.theory.descent import _adam, _descent, adam_descent, gradient_descent
from deepcv.companion.theory.shrinkage import shrinkage
from deepcv.data import Sample, load_dataset
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

# -- section 3, in numbers ---------------------------------------------------------------------------------------------


def decide_elbo(rows: DataFrame) -> Verdict:
    """Proposition 3.1: is the closed form the evidence lower bound?"""
    return _statements(rows, "elbo", ("z",))


def decide_dataset_elbo(rows: DataFrame) -> Verdict:
    """Proposition 7.4: is the loss (4.9) an evidence lower bound, for masks of 0 and 1 and for those between?"""
    found = _statements(rows, "dataset", ("z_binary", "z_between"), ("z_printed", "z_entropy"))
    if found.status != Status.NOT:
        return found
    binary = _statements(rows, "dataset", ("z_binary",)).status
    return replace(found, status=Status.PARTLY if binary == Status.REPRODUCED else found.status)


def decide_shrinkage(rows: DataFrame) -> Verdict:
    """Proposition 3.2: is the formula the minimiser?"""
    return _statements(rows, "shrinkage", ("deviation", "excess"))


def convergence(rows: DataFrame) -> Verdict:
    """Theorem 3.3 under its assumptions: does the energy fall as (7.8) says, and has the path a finite length?"""
    return _statements(rows, "descent", ("falls", "decrease_c0", "tail"))


def relative_error(rows: DataFrame) -> Verdict:
    """(7.9) with its printed constant."""
    return _statements(rows, "descent", ("relative",), ("relative_c1",))


def _statements(rows: DataFrame, check: str, numbers: tuple[str, ...], beside: tuple[str, ...] = ()) -> Verdict:
    """Do these statements of `theory` hold on every image and seed? What stands beside them is told, not judged."""

    table = summary(rows)
    named = {each.number: each.says for each in STATEMENTS if each.check == check}
    judged_on = table[table.index.isin([named[number] for number in numbers])]
    if judged_on.empty:
        return not_run(check)
    told = table.loc[table.index.isin([named[number] for number in (*numbers, *beside)])]
    evidence = "; ".join(
        f"{says}: {row['worst']:.3g} at worst, must be {row['must be']}, holds in {row['holds']} of {row['of']}"
        for says, row in told.iterrows()
    )
    holds = judged_on["holds"] == judged_on["of"]
    numbers = {says: float(row["worst"]) for says, row in told.iterrows()}
    return Verdict(judged(holds.all(), (judged_on["holds"] > 0).all()), f"{evidence}.", numbers)


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise.

    Attributes
    ----------
    dataset : str
    n_images : int
    size : int
        Side, in pixels, of the square that an image is reduced to.
    width : int
        Channels of the networks.
    steps : int
        Of the descents.
    draws : int
        Of η, for Propositions 3.1 and 7.4.
    """

    dataset: str
    n_images: int
    size: int
    width: int
    steps: int
    draws: int


PROFILES = {
    "quick": Profile("samples", 1, 10, 4, 120, 300),
    "cpu": Profile("samples", 3, 16, 4, 600, 2000),
    "paper": Profile("samples", 3, 16, 4, 600, 2000),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; `size` is the side of the square that an image is reduced to."""

    profiles = PROFILES


def items(settings: Settings) -> list[Item]:
    """A check of `CHECKS` for each image and seed; `Item.preset` is its name."""
    profile = settings.defaults
    samples = load_dataset(settings.dataset or profile.dataset)[: settings.n_images or profile.n_images]
    size = settings.size or profile.size
    descent = {"size": size, "width": profile.width, "steps": profile.steps}
    sampled = {"size": size, "width": profile.width, "draws": profile.draws}
    given = {
        "elbo": sampled,
        "dataset": sampled,
        "shrinkage": {"size": size},
        "normalised": descent | {"steps": profile.steps // 2},  # done most often, and slow
    }
    variants = [Variant("deep-cv", name, given.get(name, descent)) for name in CHECKS]
    return grid("theory", settings, (samples, variants))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per check, image and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Theory")


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Do the check on the reduced image, always on the CPU; nothing is segmented."""
    started = time.perf_counter()
    found = CHECKS[item.preset](*_given(item, sample, hint))
    return only_measured(time.perf_counter() - started), found


def _given(item: Item, sample: Sample, hint: np.ndarray) -> tuple[Tensor, Tensor, int, dict[str, Any]]:
    """What a check takes; each image has random numbers of its own."""
    own = zlib.crc32(f"{item.image} {item.seed}".encode())
    return *reduced(sample.image, hint, item.settings["size"]), own, item.settings


def reduced(image: np.ndarray, hint: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Image `(1, C, size, size)` and hint `(1, size, size)` in double precision."""
    image = np.atleast_3d(resize(as_image(image), (size, size))).transpose(2, 0, 1)
    hint = resize(hint, (size, size))
    return tuple(torch.from_numpy(np.ascontiguousarray(each))[None].double() for each in (image, hint))


CHECKS: dict[str, Callable[[Tensor, Tensor, int, dict[str, Any]], dict[str, float]]] = {
    "elbo": elbo,
    "dataset": dataset_elbo,
    "shrinkage": shrinkage,
    "descent": _descent,
    "normalised": functools.partial(_descent, normalised=True),
    "adam": _adam,
    "redrawn": functools.partial(_adam, redrawn=True),
}
"""What is checked, by name: from image, hint, seed and settings to numbers."""


# -- what was found ----------------------------------------------------------------------------------------------------


class Statement(NamedTuple):
    """A statement, the check and the number that decide it, and what the number must be: "≤" or "≥" the limit."""

    says: str
    check: str
    number: str
    sense: str
    limit: float

    def worst(self, values: Series) -> float:
        """Of the numbers the one that is nearest to breaking the limit, or farthest beyond it."""
        return values.max() if self.sense == "≤" else values.min()

    def holds(self, values: Series) -> Series:
        """Which of the numbers keep the limit, but for rounding."""
        return values <= self.limit + 1e-6 if self.sense == "≤" else values >= self.limit - 1e-6


STATEMENTS = (
    Statement("Proposition 3.1: difference of (3.13) and (3.10) in standard errors", "elbo", "z", "≤", 3),
    Statement("Proposition 7.4, u of 0 and 1: difference of (4.9) and (7.17)", "dataset", "z_binary", "≤", 3),
    Statement("Proposition 7.4, u of 0 and 1: the same with the minus of (7.24)", "dataset", "z_printed", "≤", 3),
    Statement("Proposition 7.4, u drawn from 𝓤: difference of (4.9) and (7.17)", "dataset", "z_between", "≤", 3),
    Statement("Proposition 7.4, u drawn from 𝓤: the same, u's entropy added", "dataset", "z_entropy", "≤", 3),
    Statement("Proposition 3.2: log₁₀ of the distance to a search's minimiser", "shrinkage", "deviation", "≤", -6),
    Statement("Proposition 3.2: log₁₀ of the excess over a search's minimum", "shrinkage", "excess", "≤", -12),
    Statement("α < 2/L: L on the path over the L that α was made from", "descent", "sharpening", "≤", 1),
    Statement("α < 2/L: share of steps at which the energy falls", "descent", "falls", "≥", 1),
    Statement("(7.8) before c₀: least decrease over its bound", "descent", "decrease", "≥", 1),
    Statement("(7.8): least decrease over its bound", "descent", "decrease_c0", "≥", 1),
    Statement("(7.9), c₁ as printed: greatest distance over its bound", "descent", "relative", "≤", 1),
    Statement("(7.9), c₁ + L + λ/√2: greatest distance over its bound", "descent", "relative_c1", "≤", 1),
    Statement("(7.16): share of the second half of the steps in the path's length", "descent", "tail", "≤", 0.5),
    Statement("(7.16): power of k with which the second half's steps shrink", "descent", "decay", "≤", -1),
    Statement("normalised: L on the path over the L that α was made from", "normalised", "sharpening", "≤", 1),
    Statement("normalised: share of steps at which the energy falls", "normalised", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of steps at which the energy falls", "adam", "falls", "≥", 1),
    Statement("Adam at 1e-1: share of the second half of the steps in the path's length", "adam", "tail", "≤", 0.5),
    Statement("Adam, η redrawn: share of steps at which the energy falls", "redrawn", "falls", "≥", 1),
)
"""What the numbers decide."""


def summary(rows: DataFrame) -> DataFrame:
    """A row per statement of `STATEMENTS`: the `worst` number over images and seeds, and how many `of` them keep it.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.
    """
    import pandas as pd

    table = {}
    for statement in STATEMENTS:
        values = rows.loc[rows["preset"] == statement.check].get(statement.number, pd.Series(dtype=float))
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
    """Proposition 3.1's difference in standard errors, and the inequalities of the proof as ratios to their bounds.

    A mark for each image and seed; a filled one keeps the statement, an empty one doesn't.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 2.6), width_ratios=(1, 2))
    by_number = {statement.number: statement for statement in STATEMENTS if statement.check in ("elbo", "descent")}
    colours = sns.color_palette("colorblind")
    for axis, labels, limit in ((left, {"z": "(3.13) − (3.10)"}, 3), (right, _RATIOS, 1)):
        for row, number in enumerate(labels):
            values = rows.loc[rows["preset"] == by_number[number].check, number]
            filled = [colours[row] if kept else "none" for kept in by_number[number].holds(values)]
            heights = row + np.linspace(-0.2, 0.2, len(values))
            axis.scatter(values, heights, s=22, marker="o^sD"[row], edgecolors=[colours[row]], facecolors=filled)
        axis.axvline(limit, color="0.3", ls="--", lw=0.8)
        axis.set(ylim=(len(labels) - 0.5, -0.5), yticks=range(len(labels)), yticklabels=list(labels.values()))
        axis.grid(axis="x", alpha=0.25)
    left.set(xlabel="difference, standard errors", xlim=(0, 3.5))
    right.set(xscale="log", xlabel="over all steps, the ratio to the bound nearest to breaking it (log scale)")
    figure.tight_layout()
    return figure


def plot_descents(settings: Settings) -> Figure:
    """Energy, length of the steps and local L along the descents of the first image and seed, computed anew."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    first = next(item for item in items(settings) if item.preset == "descent")
    sample = load_sample(first.dataset, first.image)
    given = _given(first, sample, hint_for(as_image(sample.image)))
    bounded = {
        "gradient, α = 0.9 · 2/L": gradient_descent(*given),
        "the same, instance normalisation": gradient_descent(*given, normalised=True),
    }
    paths = {name: found.path for name, found in bounded.items()}
    paths |= {"Adam at 1e-1": adam_descent(*given), "the same, η redrawn": adam_descent(*given, redrawn=True)}
    styles = dict(zip(paths, ("-", "--", "-.", ":"), strict=True))
    colours = dict(zip(paths, sns.color_palette("colorblind", len(paths)), strict=True))
    figure, (energies, lengths, local) = plt.subplots(1, 3, figsize=(13, 3.6))
    for name, path in paths.items():
        style = {"color": colours[name], "ls": styles[name], "lw": 1.2}
        energies.plot(path.energy, label=name, **style)
        lengths.plot(np.arange(1, len(path.lengths) + 1), path.lengths, **style)
    for name, found in bounded.items():
        local.plot(*zip(*found.path.lipschitz.items(), strict=True), color=colours[name], marker="o", ms=3, lw=1,
                   ls=styles[name])  # fmt: skip
        local.axhline(found.bound, color=colours[name], lw=0.8, ls=styles[name])
    energies.set(yscale="log", xlabel="step", ylabel="$E_{LS}$, sum over pixels")
    lengths.set(xscale="log", yscale="log", xlabel="step", ylabel="length of the step $\\|x^{k+1} - x^k\\|$")
    local.set(yscale="log", xlabel="step", ylabel="local L (marks); line: the L that α is from")
    for axis in figure.axes:
        axis.grid(alpha=0.25)
    energies.legend(fontsize=7)
    figure.tight_layout()
    return figure


CLAIMS = (
    Claim(
        id="theory/closed-form",
        section="3.2, Proposition 3.1",
        says="With Gaussian latent variables the evidence lower bound has the closed form (3.13).",
        test="The closed form against the definition (3.10), sampled, with random networks, masks and variances: "
        f"their difference in standard errors. {ON_ALL}",
        decide=decide_elbo,
    ),
    Claim(
        id="theory/shrinkage",
        section="3.3, Proposition 3.2",
        says="Shrinkage (3.21) solves the sub-problem (3.20).",
        test=f"The formula against a search for the minimum that uses no derivative. {ON_ALL}",
        decide=decide_shrinkage,
    ),
    Claim(
        id="theory/convergence",
        section="3.4, Theorem 3.3; 7.2",
        says="With step sizes of at most 2/L and smooth networks, Algorithm 1 converges to a stationary point.",
        test="Gradient steps below 2/L, L estimated along the path: the energy falls at every step, by as much as "
        f"(7.8) says, and the second half of the steps adds at most half of the path's length (7.16). {ON_ALL} No "
        "finite run can show that a limit is reached.",
        decide=convergence,
    ),
    Claim(
        id="theory/relative-error",
        section="7.2, (7.9)",
        says="A step bounds the distance of 0 to the subdifferential, with the constant c₁ = 1/min α.",
        test="The greatest ratio of the distance to its bound along the same paths, which must be at most 1. "
        f"{ON_ALL} Beside it, the ratio to a bound with a larger constant.",
        decide=relative_error,
    ),
    Claim(
        id="theory/dataset-elbo",
        section="4.2, Remark 4; 7.3, Proposition 7.4",
        says="Minimising the loss (4.9) of a trained segmentation function maximises an evidence lower bound.",
        test="The loss of an image against the definition (7.17), sampled, with random networks and masks: their "
        "difference in standard errors. Reproduced: it holds for masks of 0 and 1, and for those between, drawn from "
        "them, on every image and with every seed. Partly: for masks of 0 and 1. Beside it, with the minus that (7.24) "
        "prints, and with the entropy of the mask.",
        decide=decide_dataset_elbo,
    ),
)
