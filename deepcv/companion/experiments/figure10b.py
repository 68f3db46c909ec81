"""Figure 10b: seconds against image size, ours and Double-DIP.

The paper's claims (section 6): ours takes less time than Double-DIP [18] "for all image sizes", 29.73 s against
549.39 s at 128×128 on a GTX 1080 Ti, and Double-DIP's time grows "more drastically". We time both on one machine and
fit `seconds = a · pixelsᵖ` to each. Ours is timed with the package's settings, and with the paper's, which the paper
timed.

An image is resized to a square. Double-DIP and the paper's settings take minutes, so we time a few iterations after the
first and scale them to all; one third of Double-DIP's belong to its step 1 and two thirds to step 2, as in a full run.
Double-DIP may stop early, when its composite is good enough, so its seconds are an upper bound. The hint is not
counted, nor, where seconds are scaled, the final filter.

A row is one image, seed and side. The three take turns in one process, so that a noisy machine affects them alike; we
take the median over turns. Seconds mean something only if rows are computed one by one on an otherwise idle machine.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from deepcv.baselines import double_dip
from deepcv.checks import Count, at_least
from deepcv.companion.claims import Claim, Estimate, Verdict, above, below, judged, listed, not_run
from deepcv.companion.compute import only_measured
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Group, Images, Variant
from deepcv.companion.items import Item
from deepcv.companion.pictures import COLOURS, compact
from deepcv.companion.recorded import paper
from deepcv.data import Sample
from deepcv.devices import torch_device
from deepcv.images import SMALLEST_SIDE, as_image, resize
from deepcv.methods import get_method, title
from deepcv.model import solver
from deepcv.model.segment import deep_chan_vese, pose
from deepcv.model.settings import PRESETS
from deepcv.model.settings import Settings as ModelSettings
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

IMAGES = ("coffee", "astronaut")

CONTENDERS = {"ours": "deep-cv", "ours_paper": "deep-cv:printed", "double_dip": "double-dip"}
"""The columns of seconds, and the "method:preset" of each."""

_PRINTED = {"ours_paper": "deep-cv", "double_dip": "double-dip"}  # the paper's method by column
_FEW = {"ours_paper": 1, "double_dip": 6}


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; `size` replaces `sides` by a single one. Besides the fields of every experiment:

    Attributes
    ----------
    sides : tuple of int
        Of the square image, in pixels; multiples of 32, to which Double-DIP would pad it.
    turns : int
        Of each contender.
    iterations : dict of str to int
        By column, the timed iterations per turn; a multiple of 3 for Double-DIP.
    """

    profiles = {
        "quick": {"n_images": 1, "sides": (32, 64, 96), "turns": 1, "iterations": _FEW},
        "cpu": {"sides": (64, 96, 128, 192, 256), "turns": 2, "iterations": _FEW},
        "paper": {
            "sides": (64, 96, 128, 192, 256, 384),
            "turns": 3,
            "iterations": {"ours_paper": 20, "double_dip": 60},
        },
    }

    sides: tuple[Annotated[int, at_least(SMALLEST_SIDE)], ...] | None = None
    turns: Count | None = None
    iterations: Mapping[str, int] | None = None


def groups(settings: Settings) -> list[Group]:
    """All sides of each image, of `IMAGES` unless a data set is named; the side is the condition `pixels`."""
    images = Images.load(settings.dataset) if settings.dataset else Images.load("samples").shown(IMAGES)
    timed = {"turns": settings.turns, "iterations": settings.iterations}
    sides = (settings.size,) if settings.size else settings.sides
    variants = [Variant("deep-cv", "default", {"size": side, **timed}, {"pixels": side}) for side in sides]
    return [Group(images.first(settings.n_images), variants)]


# -- what is measured --------------------------------------------------------------------------------------------------


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Seconds per run of each of `CONTENDERS`, and the number of `threads`; nothing is segmented."""
    started = time.perf_counter()
    square = (item.settings["size"],) * 2
    given = resize(as_image(sample.image), square), resize(hint, square), item.seed, torch_device(device)
    timed, device = item.settings["iterations"], given[-1]
    stopwatches = {
        "ours": _whole_runs(*given),
        "ours_paper": _scaled(*_papers_loop(*given), (timed["ours_paper"],), device),
        "double_dip": _scaled(*_double_dips_loop(*given, timed["double_dip"]), device),
    }
    taken = [[next(stopwatch) for stopwatch in stopwatches.values()] for _ in range(item.settings["turns"])]
    medians = map(statistics.median, zip(*taken, strict=True))
    found = dict(zip(stopwatches, medians, strict=True)) | {"threads": torch.get_num_threads()}
    return only_measured(time.perf_counter() - started), found


def _whole_runs(image: np.ndarray, hint: np.ndarray, seed: int, device: torch.device) -> Iterator[float]:
    """Seconds of our model with the package's settings, at the image's size, after a short first call to warm up."""
    segment = functools.partial(deep_chan_vese, image, hint, seed=seed, device=str(device), size=max(image.shape[:2]))
    segment(rounds=1, steps=2)
    while True:
        yield segment().seconds


Loop = Callable[[], Iterator]


def _papers_loop(image: np.ndarray, hint: np.ndarray, seed: int, device: torch.device) -> tuple[Loop, int]:
    """Our loop with the paper's settings at the image's size, and its number of steps."""
    settings = ModelSettings(**PRESETS["printed"] | {"size": max(image.shape[:2])})
    posed = pose(image, hint, settings, seed, str(device))
    return functools.partial(solver.iterate, posed, settings), settings.steps


def _double_dips_loop(
    image: np.ndarray, hint: np.ndarray, seed: int, device: torch.device, iterations: int
) -> tuple[Loop, int, tuple[int, int]]:
    """A short run of Double-DIP, the iterations of a full one at most, and those to time in each of its two steps."""
    full = double_dip.Settings()
    first = iterations * full.first_steps // (full.first_steps + full.second_steps)
    timed = first, iterations - first
    short = double_dip.Settings(first_steps=1 + timed[0], second_steps=1 + timed[1])
    posed = double_dip.pose(image, hint, short, seed, str(device))
    return functools.partial(double_dip.iterate, posed, short), full.first_steps + full.second_steps, timed


def _scaled(loop: Loop, steps: int, parts: tuple[int, ...], device: torch.device) -> Iterator[float]:
    """Seconds of a loop of `steps` steps, scaled from some steps of each part.

    The first step of a part isn't counted: it makes networks or, on a GPU, records its graph.
    """
    while True:
        states, seconds = loop(), 0.0
        for timed in parts:
            next(states)
            _wait(device)
            start = time.perf_counter()
            for _ in range(timed):
                next(states)
            _wait(device)
            seconds += time.perf_counter() - start
        yield seconds / sum(parts) * steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# -- what is shown -----------------------------------------------------------------------------------------------------


def printed_seconds() -> dict[str, float]:
    """The paper's seconds at 128×128, on its machine, by our column beside them; NaN if missing."""
    seconds = paper("seconds").set_index("method").get("seconds", {})
    return {column: float(seconds.get(name, "nan")) for column, name in _PRINTED.items()}


def fit(side: np.ndarray, seconds: np.ndarray) -> tuple[float, float, float, float]:
    """Fit `seconds = a · pixelsᵖ` by least squares of the logarithms; `pixels = side²`, both arrays `(n,)`.

    Gives p, the `low` and `high` end of its 95 % interval, and a. The interval, by Student's t, is NaN for fewer than
    three points, and all are NaN for a single side. It says how well the line is known, not whether a line is right.
    """
    from scipy.stats import linregress, t

    if len(np.unique(side)) < 2:
        return (float("nan"),) * 4
    line = linregress(2 * np.log(side), np.log(seconds))
    half = t.ppf(0.975, len(side) - 2) * line.stderr if len(side) > 2 else float("nan")
    return line.slope, line.slope - half, line.slope + half, float(np.exp(line.intercept))


def _fitted(rows: DataFrame, column: str) -> tuple[float, float, float, float]:
    return fit(rows["pixels"].to_numpy(float), rows[column].to_numpy(float))


def summary(rows: DataFrame) -> DataFrame:
    """Seconds per run by contender and side, and how they grow.

    Indexed by title. Columns: each side, medians over images and seeds; `exponent` of the number of pixels, with `low`
    and `high`, its 95 % interval (`fit`); `paper, 128`, the printed seconds, on another machine.
    """
    import pandas as pd

    printed, table = printed_seconds(), {}
    for column, name in CONTENDERS.items():
        growth = dict(zip(("exponent", "low", "high"), _fitted(rows, column), strict=False))
        medians = rows.groupby("pixels")[column].median().to_dict()
        table[title(name)] = medians | growth | {"paper, 128": printed.get(column, float("nan"))}
    return pd.DataFrame.from_dict(table, orient="index")


def readable(table: DataFrame) -> Styler:
    """A styled `summary` or `ratios` table, with dashes for what isn't known: few sides make no interval."""
    return compact(table.style.format(precision=2, na_rep="–"))


def ratios(rows: DataFrame) -> DataFrame:
    """Double-DIP's seconds over ours, by side: medians over images and seeds of each row's ratio.

    Indexed by our settings; `paper, 128` is the ratio of the printed seconds.
    """
    import pandas as pd

    printed, table = printed_seconds(), {}
    for column in ("ours", "ours_paper"):
        ratio = (rows["double_dip"] / rows[column]).groupby(rows["pixels"]).median().to_dict()
        ratio["paper, 128"] = printed["double_dip"] / printed.get(column, float("nan"))
        table[f"Double-DIP / {title(CONTENDERS[column])}"] = ratio
    return pd.DataFrame.from_dict(table, orient="index")


def plot(rows: DataFrame) -> Figure:
    """Seconds against the side, log-log, with the fitted lines; stars are the paper's seconds, on its machine."""
    import matplotlib.pyplot as plt

    printed = printed_seconds()
    colours = COLOURS[: len(CONTENDERS)]
    star: dict[str, Any] = {"marker": "*", "edgecolors": "black", "lw": 0.6}
    figure, axis = plt.subplots(figsize=(7.2, 5.2))
    sides = np.array(sorted(rows["pixels"].unique()), float)
    for (column, name), colour, marker, line in zip(CONTENDERS.items(), colours, "osD", ("-", "--", ":"), strict=True):
        exponent, low, high, factor = _fitted(rows, column)
        label = f"{title(name)}: pixels^{exponent:.2f} ({low:.2f} to {high:.2f})"
        axis.scatter(rows["pixels"], rows[column], color=colour, marker=marker, s=18, alpha=0.7)
        axis.plot(sides, factor * sides ** (2 * exponent), color=colour, ls=line, lw=1.2)
        axis.plot([], [], color=colour, ls=line, lw=1.2, marker=marker, ms=4, label=label)
        if column in printed:
            axis.scatter(128, printed[column], color=colour, s=140, zorder=3, **star)
    axis.scatter([], [], color="white", s=100, label="the paper's (GTX 1080 Ti)", **star)
    axis.set(xscale="log", yscale="log", xlabel="side of the square image, pixels", xticks=sides,
             ylabel="seconds per run, without the hint")  # fmt: skip
    axis.set_xticklabels([f"{side:.0f}" for side in sides])
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))  # there are points all over the axes
    figure.tight_layout()
    return figure


def finding(rows: DataFrame) -> str:
    """Double-DIP's time over ours at 128 pixels, and how each grows."""
    times = [
        f"{ratios_at(rows, ours)['128 px'].mean:.3g} times that of “{title(CONTENDERS[ours])}”"
        for ours in _OURS.values()
    ]
    powers = ", ".join(f"{_fitted(rows, column)[0]:.2f} ({title(name)})" for column, name in CONTENDERS.items())
    return (
        f"At 128×128 pixels Double-DIP's time is {' and '.join(times)}. Times grow as a power of the number of pixels: "
        f"{powers}."
    )


# -- what the paper claims ---------------------------------------------------------------------------------------------


_OURS = {"paper": "ours_paper", "default": "ours"}


def ratios_at(rows: DataFrame, ours: str) -> dict[str, Estimate]:
    """Double-DIP's seconds over ours by side: the median over images and seeds, with their range as its interval."""
    return {
        f"{side} px": Estimate(float(each.median()), float(each.min()), float(each.max()), len(each))
        for side, each in (rows["double_dip"] / rows[ours]).dropna().groupby(rows["pixels"])
    }


def less_time(rows: DataFrame, ours: str) -> Verdict:
    """Does Double-DIP take longer than ours at every size?"""
    found = ratios_at(rows, ours)
    at = ", ".join(f"{each.mean:,.{0 if each.mean >= 100 else 2}f} at {side}" for side, each in found.items())
    status = judged(*(above(each, 1) for each in found.values()))
    return Verdict(status, f"Double-DIP's seconds over ours, by the side of the image: {at}.{fewer_steps(ours)}", found)


def fewer_steps(ours: str) -> str:
    """How the ratio would change with the steps of the reading that we recommend; "" for our default."""
    if ours != "ours_paper":
        return ""
    printed, recommended = (get_method("deep-cv").settings(preset)["steps"] for preset in ("printed", "paper"))
    return (
        f" The paper doesn't print its number of steps; these are {printed}. With {recommended}, as in the reading "
        f"that we recommend, the ratio would be {printed / recommended:.2g} times as great, with the 100 that Figure 9 "
        f"shows {printed / 100:.2g} times."
    )


def grows_less(rows: DataFrame, ours: str) -> Verdict:
    """Is the exponent of our time in the number of pixels smaller?"""
    mine, theirs = (Estimate(*_fitted(rows, column)[:3], len(rows)) for column in (ours, "double_dip"))
    apart = Estimate(theirs.mean - mine.mean, theirs.low - mine.high, theirs.high - mine.low, len(rows))
    numbers = {title(CONTENDERS[ours]): mine, title(CONTENDERS["double_dip"]): theirs}
    return Verdict(judged(above(apart)), f"Exponent of the number of pixels: {listed(numbers, '')}.", numbers)


def printed_ratio(rows: DataFrame, ours: str) -> Verdict:
    """Is Double-DIP's time over ours at 128×128 at least half the printed ratio, and at most twice?"""
    seconds = printed_seconds()
    printed = seconds["double_dip"] / seconds["ours_paper"]
    found = ratios_at(rows, ours).get("128 px")
    if found is None:
        return not_run("128×128 pixels")
    enough = above(found, printed / 2)
    evidence = f"At 128×128 Double-DIP's time is {found.mean:.3g} times ours; printed {printed:.3g} times."
    evidence += fewer_steps(ours)
    status = judged(enough, enough and below(found, 2 * printed))
    return Verdict(status, evidence, {"ratio": found, "printed": printed})


CLAIMS = (
    Claim(
        id="figure10b/less-time",
        section="6, Figure 10b",
        says="Ours needs less time than Double-DIP for all image sizes.",
        test="Double-DIP's seconds over ours, both on one machine, are above 1 at every size, on every image and with "
        "every seed. Partly: at some sizes. The paper doesn't give its number of steps; its algorithm has the released "
        "code's 401 here.",
        decide=less_time,
        ours=_OURS,
        set_after=True,
    ),
    Claim(
        id="figure10b/grows-less",
        section="6, Figure 10b",
        says="Double-DIP's time grows “more drastically” with image size than ours.",
        test="The exponent p in seconds ∝ pixelsᵖ: Double-DIP's 95 % interval lies above ours. "
        "Not reproduced: below it. Undecided: they overlap.",
        decide=grows_less,
        ours=_OURS,
    ),
    Claim(
        id="figure10b/ratio",
        section="6, Figure 10b",
        says="For 128×128 pixels ours takes 29.73 s and Double-DIP 549.39 s.",
        test="The ratio of the two on one machine, since seconds depend on the machine. Reproduced: the printed one "
        "within a factor of 2, on every image and with every seed. Partly: at least half of it. The number of steps is "
        "not printed either, and decides it: 401 for the paper's algorithm, all 6000 for Double-DIP.",
        decide=printed_ratio,
        ours=_OURS,
        set_after=True,
        printed="seconds",
    ),
)

EXPERIMENT = experiment.Experiment(
    name="figure10b",
    title="Figure 10b",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
    claims=CLAIMS,
    one_by_one=True,
)
