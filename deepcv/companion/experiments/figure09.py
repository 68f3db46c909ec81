"""Figure 9: the dynamics, energy and mask against iteration.

The paper's claim (section 6): "the total loss has the energy dissipation property, and the result is improving as the
iteration increases". We measure both, by image and seed: how often the energy (3.15) falls and how far it rises, and F
at 0, 10, 20, 40, 100 iterations and at the end. An iteration is an Adam step.

We watch two loops: the package's own, which alternates some steps on the networks with the exact minimum over u, here
with a decoder so that the energy has all its terms; and the paper's (preset "paper", reduced in size and width), in
which φ moves with the networks.

The energy is (3.15) per pixel with our hint term, as in `deepcv.model.solver.State`: networks before the step, u after
it. Neither loop descends exactly this energy: the package's network steps weight the phases by area (`balance`), and
the paper's smooth the length (3.18). The reconstruction is noisy, estimated from one new draw of η per step. So we
judge the fall in three ways: as it is, by its mean over `WINDOW` steps, and without the reconstruction, by the terms
that have no noise. `deepcv.companion.experiments.theory` shows what Adam does to an energy with η fixed.

F is that of the mask u > 1/2 at the image's size, without the guided filter at the end of the paper's loop. A loop that
has ended keeps its last mask.
"""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from deepcv.checks import resolve
from deepcv.companion.claims import (
    ALL_PARTS,
    NEARLY_ALL,
    PARTS,
    SMALL_RISE,
    Claim,
    Estimate,
    Verdict,
    above,
    below,
    judged,
)
from deepcv.companion.experiments import figure08
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, REDUCED, Experiment, Reduction, by_title
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact, head_grid, show_mask
from deepcv.companion.recorded import full_names
from deepcv.data import Sample, samples
from deepcv.hints.hint import hint_for
from deepcv.images import as_image
from deepcv.methods import title
from deepcv.metrics import bootstrap_interval, f_measure
from deepcv.model import solver
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import Settings as ModelSettings
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series
    from pandas.io.formats.style import Styler

WATCHED = (0, 10, 20, 40, 100)
"""The iterations that the paper shows, before the last."""

WINDOW = 10
"""Steps over which the energy is averaged."""

SHOWN = "coffee"
"""The embedded image of the pictures."""

TERMS = {"reconstruction": "reconstruction", "length": "ν · length", "region": "KL", "hint": "hint"}

_UNFILTERED = ModelSettings()
_MILLISECONDS = 250  # per picture of the animation


@dataclass(frozen=True)
class Settings(figure08.Settings):
    """What to run: the fields of Figure 8, whose solvers are the loops here."""

    profiles = {
        "quick": {
            "dataset": "samples",
            "solvers": {
                "deep-cv": Reduction({"decoder": True, "size": 80}, 2),
                "deep-cv:paper": Reduction({"size": 48, "width": 8, "steps": 60}, 1),
            },
        },
        "cpu": {
            "dataset": "weizmann",
            "solvers": {
                "deep-cv": Reduction({"decoder": True}, N_TUNING_IMAGES),
                "deep-cv:paper": replace(REDUCED["deep-cv:paper"], n_images=10),
            },
        },
        "paper": figure08.Settings.profiles["paper"],
    }


# -- what is measured --------------------------------------------------------------------------------------------------


class Course(NamedTuple):
    """A loop of K steps."""

    energy: dict[str, np.ndarray]
    """By term, per pixel, after each step, `(K,)`."""
    masks: list[np.ndarray]
    """K + 1 masks at the image's size, the start first, bool `(H, W)`."""
    memberships: np.ndarray
    """The last, at the working size, `(2, h, w)`."""

    @property
    def total(self) -> np.ndarray:
        """The sum of the terms, `(K,)`."""
        total: Any = sum(self.energy.values())
        return total

    def mask_at(self, step: int) -> np.ndarray:
        """The mask after a step, the last if the loop has ended before."""
        return self.masks[min(step, len(self.masks) - 1)]


def watch(image: np.ndarray, hint: np.ndarray, settings: ModelSettings, seed: int, device: str | None) -> Course:
    """Run the loop on an image and hint, as `as_image` and `as_hint` return them."""
    problem = pose(image, hint, settings, seed, device)
    before, energies = problem.memberships, []
    masks = [_mask(image, before)]
    for state in solver.iterate(problem, settings):
        masks.append(masks[-1] if state.memberships is before else _mask(image, state.memberships))
        before = state.memberships
        energies.append(torch.cat(list(state.energy.values())))
    by_term = dict(zip(state.energy, torch.stack(energies, dim=1).double().cpu().numpy(), strict=True))
    return Course(by_term, masks, before[0].cpu().numpy())


def _mask(image: np.ndarray, memberships: torch.Tensor) -> np.ndarray:
    return at_full_size(image, memberships[0].cpu().numpy(), _UNFILTERED).argmax(0) == 1


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The method's result, and `measured` of its course."""
    image, settings = as_image(sample.image), resolve(ModelSettings, item.settings)
    started = time.perf_counter()
    course = watch(image, hint, settings, item.seed, device)
    memberships = at_full_size(image, course.memberships, settings)
    seconds = time.perf_counter() - started
    labels = memberships.argmax(0).astype(np.uint8)
    return Segmentation(labels, memberships, seconds=seconds), measured(course, sample.mask)


def measured(course: Course, truth: np.ndarray) -> dict[str, float]:
    """The numbers of a course, columns of the rows.

    `f_0` … `f_100`, `f_last`: F. `energy_1`, `energy_10` … `energy_last`: the energy. `falls`, `rise`: `dissipation` of
    the energy; `falls_mean`, `rise_mean`: of its moving mean; `falls_known`, `rise_known`: without the reconstruction.
    `rank`: Spearman's correlation of F with the iteration, NaN when F doesn't change; `rank_energy`: of the energy.
    `steps`: the number of steps.
    """
    scores = [f_measure(mask, truth) for mask in course.masks]
    last, total = len(scores) - 1, course.total
    found = {f"f_{step}": scores[min(step, last)] for step in WATCHED} | {"f_last": scores[-1]}
    found |= {f"energy_{max(step, 1)}": total[min(max(step, 1), last) - 1] for step in WATCHED}
    found |= {"energy_last": total[-1], "steps": last}
    mean = np.convolve(total, np.ones(WINDOW) / WINDOW, "valid") if last > WINDOW else total
    for end, energies in (("", total), ("_mean", mean), ("_known", total - course.energy["reconstruction"])):
        found["falls" + end], found["rise" + end] = dissipation(energies)
    found |= {"rank": _rank(scores), "rank_energy": _rank(total)}
    return {name: float(value) for name, value in found.items()}


def dissipation(energies: np.ndarray) -> tuple[float, float]:
    """The share of steps at which the energy doesn't rise, and its greatest rise above an earlier value.

    The rise is relative to the fall from the first value to the least, and infinite if there is a rise but no fall.
    """
    rise = (energies - np.minimum.accumulate(energies)).max()
    fall = energies[0] - energies.min()
    share = rise / fall if fall > 0 else np.inf if rise > 0 else 0.0
    return float((np.diff(energies) <= 0).mean()), float(share)


def _rank(values) -> float:
    """Spearman's correlation with the index; NaN for equal values."""
    from scipy.stats import spearmanr

    return spearmanr(np.arange(len(values)), values).statistic if np.ptp(values) > 0 else float("nan")


# -- what is shown -----------------------------------------------------------------------------------------------------

_SHARES = {
    f"{what}{label}": column + end
    for column, what in (("falls", "steps falling"), ("rise", "greatest rise"))
    for end, label in (("", ""), ("_mean", ", mean of 10"), ("_known", ", no noise"))
}


def gain(rows: DataFrame) -> Series:
    """F at the end minus F at the start, by image, mean over seeds."""
    return (rows["f_last"] - rows["f_0"]).groupby(rows["image"]).mean()


def summary(rows: DataFrame) -> DataFrame:
    """A row per loop: means over images, seeds of an image averaged first.

    Columns: `energy at 1` and `at the end`, per pixel; the share of falling steps and the greatest rise (`dissipation`)
    of the energy, of its moving mean, and without noise; `F at 0`, `F at the end` and the difference `ΔF` with its 95 %
    interval `low` to `high` (bootstrap over images); `rank of F`, its correlation with the iteration over the rows in
    which F changes; `images`, `seeds`.
    """
    import pandas as pd

    table = {}
    for name, group in by_title(rows).items():
        change = Estimate.over(gain(group))
        table[name] = {
            "energy at 1": group["energy_1"].mean(),
            "energy at the end": group["energy_last"].mean(),
            **{label: group[column].mean() for label, column in _SHARES.items()},
            "F at 0": group["f_0"].mean(),
            "F at the end": group["f_last"].mean(),
            "ΔF": change.mean,
            "low": change.low,
            "high": change.high,
            "rank of F": group["rank"].mean(),
            "images": change.images,
            "seeds": group["seed"].nunique(),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def readable(table: DataFrame) -> Styler:
    """A styled `summary`, a column per loop."""
    shown = table.T
    counts = [shown.index.isin(["images", "seeds"]), list(shown.columns)]
    return compact(shown.style.format(precision=3, na_rep="–").format("{:.0f}", subset=tuple(counts)))


def plot(rows: DataFrame) -> Figure:
    """Energy and F at the iterations that the paper shows, means over images with 95 % bootstrap intervals.

    The energy is drawn as the share of its fall, from the first value to the last, that remains.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    styles = zip(COLOURS, "os", ("-", "--"), strict=False)
    for (name, group), (colour, marker, line) in zip(by_title(rows).items(), styles, strict=False):
        way = group["energy_1"] - group["energy_last"]
        left = {str(step): (group[f"energy_{step}"] - group["energy_last"]) / way for step in (1, *WATCHED[1:])}
        scores = {str(step): group[f"f_{step}"] for step in WATCHED} | {"end": group["f_last"]}
        for axis, values in zip(axes, (left, scores), strict=True):
            by_image = [each.groupby(group["image"]).mean().to_numpy() for each in values.values()]
            mean = np.array([each.mean() for each in by_image])
            bounds = np.array([bootstrap_interval(each) for each in by_image]).T
            axis.errorbar(list(values), mean, yerr=np.abs(bounds - mean), color=colour, marker=marker, ls=line, ms=5,
                          lw=1, elinewidth=0.8, capsize=2, label=name)  # fmt: skip
            axis.grid(alpha=0.25)
    axes[0].set(xlabel="iteration", ylabel="remaining share of the energy's fall")
    axes[1].set(xlabel="iteration", ylabel="F-measure, mean over images", ylim=(0, 1))
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    return figure


def courses(settings: Settings) -> dict[str, Course]:
    """The course of each loop on the image `SHOWN` with the first seed, by the loop's title; computed anew."""
    image = as_image(samples.load(SHOWN).image)
    hint, found = hint_for(image), {}
    for name, how in settings.solvers.items():
        loop = resolve(ModelSettings, how.variant(name, settings.size).settings)
        found[title(name)] = watch(image, hint, loop, settings.seeds[0], settings.device)
    return found


def plot_masks(found: dict[str, Course]) -> Figure:
    """As in Figure 9: each loop's mask of `courses` at the watched iterations and at the last, and its F."""
    import matplotlib.pyplot as plt

    sample = samples.load(SHOWN)
    figure, axes = plt.subplots(len(found), 2 + len(WATCHED), figsize=(10.5, 1.6 * len(found)), squeeze=False)
    for row, (name, course) in zip(axes, found.items(), strict=True):
        row[0].imshow(sample.image, cmap="gray", vmin=0, vmax=255)
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
        for axis, step in zip(row[1:], (*WATCHED, len(course.masks) - 1), strict=True):
            mask = course.mask_at(step)
            show_mask(axis, sample.image, mask)
            axis.set_xlabel(f"F {f_measure(mask, sample.mask):.2f}", fontsize=8)
    head_grid(figure, axes, ["image", *map(str, WATCHED), "last"])
    return figure


def plot_courses(found: dict[str, Course]) -> Figure:
    """The energy of `courses` by term, and F below it, against the iteration; a column per loop."""
    import matplotlib.pyplot as plt

    truth = samples.load(SHOWN).mask
    styles = list(zip(COLOURS[: len(TERMS)], ("-", "--", "-.", ":"), strict=True))
    figure, axes = plt.subplots(
        2, len(found), figsize=(5.4 * len(found), 5), sharex="col", sharey="row", height_ratios=(2, 1), squeeze=False
    )
    for (upper, lower), (name, course) in zip(axes.T, found.items(), strict=True):
        steps = np.arange(1, len(course.masks))
        upper.plot(steps, course.total, color="black", lw=1.8, label="total")
        for (term, label), (colour, line) in zip(TERMS.items(), styles, strict=True):
            upper.plot(steps, course.energy[term], color=colour, ls=line, lw=1.2, label=label)
        lower.plot([f_measure(mask, truth) for mask in course.masks], color="black", lw=1.2)
        upper.set(title=name, yscale="symlog")
        lower.set(xlabel="iteration", ylim=(0, 1))
    axes[0, 0].set_ylabel("energy per pixel (log scale beyond ±2)")
    axes[1, 0].set_ylabel("F-measure")
    axes[0, -1].legend(fontsize=8, ncols=2)
    for axis in axes.ravel():
        axis.grid(alpha=0.25)
    figure.tight_layout()
    return figure


def animation(found: dict[str, Course], count: int = 26) -> str:
    """The outline of each loop's mask and its place on the energy's curve, animated, as HTML that needs no kernel.

    It is an animated WebP of about `count` pictures, early iterations closer together; closing the fold stops it. (The
    play button of ipywidgets doesn't work in the built book: the theme replaces its icon.)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    picture, pictures = samples.load(SHOWN).image, []
    longest = max(len(course.masks) for course in found.values()) - 1
    figure = Figure(figsize=(4 * len(found), 4.4), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(found), height_ratios=(2, 1), squeeze=False)
    colours = COLOURS[: len(found)]
    for step in sorted({0, *np.rint(np.geomspace(1, longest, count)).astype(int).tolist()}):
        for (upper, lower), (name, course), colour in zip(axes.T, found.items(), colours, strict=True):
            upper.clear()
            lower.clear()
            upper.imshow(picture, cmap="gray", vmin=0, vmax=255)
            mask, at = course.mask_at(step), min(step, len(course.total))
            if mask.any() and not mask.all():
                for width, ink in ((3, "black"), (1.4, "#ffe100")):
                    upper.contour(mask, [0.5], colors=ink, linewidths=width)
            upper.set_title(f"{name}, iteration {at}", fontsize=9)
            upper.set_axis_off()
            lower.plot(np.arange(1, len(course.masks)), course.total, color=colour, lw=1.2)
            lower.plot(max(at, 1), course.total[max(at, 1) - 1], "o", color="black", ms=6)
            lower.set(xscale="log", xlim=(0.9, longest * 1.1), xlabel="iteration", ylabel="energy per pixel")
            lower.grid(alpha=0.25)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    duration = [_MILLISECONDS] * (len(pictures) - 1) + [8 * _MILLISECONDS]
    file = io.BytesIO()
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], duration=duration, loop=0, quality=70)
    return (
        "<details open><summary>The masks' outlines and the energy, iteration by iteration; close to stop</summary>"
        f'<img alt="{" and ".join(found)} on {SHOWN}, animated" style="max-width: 100%" '
        f'src="data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"></details>'
    )


def finding(rows: DataFrame) -> str:
    """How steadily each loop descends, and what becomes of F."""
    told = []
    for name, row in summary(rows).iterrows():
        change = Estimate.from_row(row.rename({"ΔF": "mean"}), row["images"])
        told.append(
            f"{name}: the energy falls at {row['steps falling']:.0%} of the steps, F changes by {change:+} over "
            f"{change.images} images"
        )
    return f"{'; '.join(told)}."


# -- what the paper claims ---------------------------------------------------------------------------------------------


def energy_dissipates(rows: DataFrame, ours: str) -> Verdict:
    """Does the energy, averaged over some steps, fall throughout?"""
    mine = rows[full_names(rows) == ours]
    falls = Estimate.share((mine["rise_mean"] <= SMALL_RISE).groupby(mine["image"]).mean())
    change = Estimate.over((mine["energy_last"] - mine["energy_1"]).groupby(mine["image"]).mean())
    evidence = (
        f"Share of runs in which it never rises by more than {SMALL_RISE:.0%} of its fall: {falls:%}. From the first "
        f"step to the last it changes, per pixel, by {change:+} over {change.images} images."
    )
    status = judged(above(falls, NEARLY_ALL), below(change))
    return Verdict(status, evidence, {"falls": falls, "change": change})


def result_improves(rows: DataFrame, ours: str) -> Verdict:
    """Is F higher at the end than at the start?"""
    found = Estimate.over(gain(rows[full_names(rows) == ours]))
    evidence = f"From the first mask to the last F changes by {found:+} over {found.images} images."
    return Verdict(judged(above(found)), evidence, {"gain": found})


CLAIMS = (
    Claim(
        id="figure09/dissipation",
        section="6, Figure 9",
        says="The total loss dissipates: the algorithm is numerically stable and convergent.",
        test="The energy, averaged over ten steps since each step draws a new η. Two parts: in at least "
        f"{NEARLY_ALL:.0%} of the runs it never rises by more than {SMALL_RISE:.0%} of its fall; its change from start "
        f"to end is below 0. {ALL_PARTS}",
        decide=energy_dissipates,
    ),
    Claim(
        id="figure09/improving",
        section="6, Figure 9",
        says="The result improves with the iterations.",
        test=f"F of the last mask minus F of the first is above 0. {PARTS}",
        decide=result_improves,
    ),
)

EXPERIMENT = Experiment(
    name="figure09",
    title="Figure 9",
    settings=Settings,
    groups=figure08.groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
    claims=CLAIMS,
)
