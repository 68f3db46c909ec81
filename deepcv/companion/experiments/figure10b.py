"""Figure 10b: seconds against image size, ours and Double-DIP.

The paper's claims (section 6): ours takes less time than Double-DIP [18] "for all image sizes", 29.73 s against
549.39 s at 128×128 on a GTX 1080 Ti, and Double-DIP's time grows "more drastically". Here both are timed on one
machine, and `seconds = a · pixelsᵖ` is fitted to each. Ours is timed twice: with the package's settings, and with the
paper's, which is what the paper timed.

An image is resized to a square. Of the loops that take minutes, Double-DIP's and that of the paper's settings, a few
iterations are timed and scaled to all; one before them isn't counted. Of Double-DIP's one third are of step 1, two
thirds of step 2, as in a full run. It may end a run before its last iteration, when its composite is good enough, so
its seconds are the most it takes. The hint that all start from is not counted, nor, in what is scaled, the filter at
the end.

A row is one image, seed and side. The three have their turns one after the other in one process, so that a noisy
machine is as noisy for each; the median of the turns counts. Seconds mean something when the rows, too, are computed
one after the other, on a machine with nothing else to do.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from deepcv.baselines import double_dip
from deepcv.companion.claims import Claim, Estimate, Verdict, judged, listed, not_run
from deepcv.companion.compute import only_measured
from deepcv.companion.experiments import experiment as experiments
from deepcv.companion.experiments.experiment import Variant, complete, grid
from deepcv.companion.recorded import paper
from deepcv.companion.store import Item
from deepcv.data import Sample, load_dataset
from deepcv.devices import torch_device
from deepcv.images import as_image, resize
from deepcv.methods import title
from deepcv.model import settings as model_settings
from deepcv.model import solver
from deepcv.model.segment import deep_chan_vese, pose
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

# -- Figure 10b --------------------------------------------------------------------------------------------------------


def less_time(rows: DataFrame) -> Verdict:
    """Does Double-DIP take longer at every size, with our settings and with the paper's?"""

    table = ratios(rows).drop(columns="paper, 128")
    table.index = [title(CONTENDERS[column]) for column in ("ours", "ours_paper")]
    slower = [(row.dropna() > 1).all() for _, row in table.iterrows()]
    evidence = "; ".join(
        f"in those of {name} {', '.join(f'{ratio:.3g} at {side}' for side, ratio in row.dropna().items())}"
        for name, row in table.iterrows()
    )
    numbers = {f"{name}, {side}": float(ratio) for name, row in table.iterrows() for side, ratio in row.items()}
    return Verdict(judged(all(slower), any(slower)), f"Double-DIP's seconds {evidence} pixels a side.", numbers)


def grows_less(rows: DataFrame) -> Verdict:
    """Is the exponent of our time in the number of pixels the smaller one, with our settings and with the paper's?"""

    table = summary(rows)
    exponents = {
        column: Estimate(*table.loc[title(name), ["exponent", "low", "high"]], images=rows["image"].nunique())
        for column, name in CONTENDERS.items()
    }
    theirs = exponents["double_dip"]
    ours = [exponents[column] for column in ("ours", "ours_paper")]
    status = judged(all(each.high < theirs.low for each in ours), any(each.mean < theirs.mean for each in ours))
    named = {title(CONTENDERS[column]): each for column, each in exponents.items()}
    return Verdict(status, f"Exponent of the number of pixels: {listed(named, '')}.", named)


def printed_ratio(rows: DataFrame) -> Verdict:
    """Does Double-DIP take as many times our time at 128×128 as printed, to a factor of 2?"""

    printed = paper("seconds").set_index("method")["seconds"]
    printed = printed["double-dip"] / printed["deep-cv"]
    at_128 = rows[rows["preset"] == "128"]
    if at_128.empty:
        return not_run("128×128 pixels")
    found = {column: float((at_128["double_dip"] / at_128[column]).median()) for column in ("ours_paper", "ours")}
    status = judged(printed / 2 <= found["ours_paper"] <= 2 * printed, max(found.values()) >= printed / 2)
    evidence = ", ".join(f"{ratio:.3g} times that of {title(CONTENDERS[each])}" for each, ratio in found.items())
    evidence = f"At 128×128 Double-DIP's time is {evidence}; printed {printed:.3g} times."
    return Verdict(status, evidence, found | {"printed": float(printed)})


CONTENDERS = {"ours": "deep-cv", "ours_paper": "deep-cv:paper", "double_dip": "double-dip"}
"""The columns of the rows that hold seconds, and which "method:preset" each is of."""


PRINTED = {"ours_paper": "deep-cv", "double_dip": "double-dip"}
"""Which of the seconds that the paper prints stand beside ours."""


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise.

    Attributes
    ----------
    images : tuple of str
        Of the embedded ones, unless another data set is asked for.
    sides : tuple of int
        In pixels; multiples of 32, to which Double-DIP would pad the image.
    turns : int
        How many turns each contender has.
    iterations : dict of str to int
        How many of a scaled loop are timed in a turn; of Double-DIP's a multiple of 3.
    """

    images: tuple[str, ...]
    sides: tuple[int, ...]
    turns: int
    iterations: dict[str, int]


_ITERATIONS = {"ours_paper": 1, "double_dip": 6}


PROFILES = {
    "quick": Profile(("coffee",), (64, 96, 128), 1, _ITERATIONS),
    "cpu": Profile(("astronaut", "coffee"), (64, 96, 128, 192, 256), 2, _ITERATIONS),
    "paper": Profile(("astronaut", "coffee"), (64, 96, 128, 192, 256, 384), 3, {"ours_paper": 20, "double_dip": 60}),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; `size` is the side of the square image, one in place of the profile's several."""

    profiles = PROFILES


def items(settings: Settings) -> list[Item]:
    """A row for each image, seed and side; `Item.preset` is the side."""
    profile = settings.defaults
    samples = load_dataset(settings.dataset or "samples")
    if not settings.dataset:
        samples = [samples[samples.names.index(name)] for name in profile.images]
    timed = {"turns": profile.turns, "iterations": profile.iterations}
    sides = (settings.size,) if settings.size else profile.sides
    variants = [Variant("deep-cv", str(side), {"size": side, **timed}) for side in sides]
    return grid("figure10b", settings, (samples[: settings.n_images], variants))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, seed and side; as `table1.run`, but by default one by one."""
    return complete(items(settings), settings, workers=workers or 1, progress=progress, description="Figure 10b")


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """Seconds of a run of each contender, under the names of `CONTENDERS`, and the number of `threads`."""
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
    """Seconds of our model with the package's settings, at the image's size. A first call allocates and isn't timed."""
    segment = functools.partial(deep_chan_vese, image, hint, seed=seed, device=str(device), size=max(image.shape[:2]))
    segment(rounds=1, steps=2)
    while True:
        yield segment().seconds


Loop = Callable[[], Iterator]


def _papers_loop(image: np.ndarray, hint: np.ndarray, seed: int, device: torch.device) -> tuple[Loop, int]:
    """Our loop with the paper's settings at the image's size, and how many steps it has."""
    settings = model_settings.Settings.paper(size=max(image.shape[:2]))
    posed = pose(image, hint, settings, seed, str(device))
    return functools.partial(solver.iterate, posed, settings), settings.steps


def _double_dips_loop(
    image: np.ndarray, hint: np.ndarray, seed: int, device: torch.device, iterations: int
) -> tuple[Loop, int, tuple[int, int]]:
    """A short run of Double-DIP, how many iterations a full one has at most, and how many to time of its two steps."""
    full = double_dip.Settings()
    first = iterations * full.first_steps // (full.first_steps + full.second_steps)
    timed = first, iterations - first
    short = double_dip.resolve(dict(zip(("first_steps", "second_steps"), (1 + each for each in timed), strict=True)))
    posed = double_dip.pose(image, hint, short, seed, str(device))
    return functools.partial(double_dip.iterate, posed, short), full.first_steps + full.second_steps, timed


def _scaled(loop: Loop, steps: int, parts: tuple[int, ...], device: torch.device) -> Iterator[float]:
    """Seconds of a loop of so many steps, scaled from some of each part of it.

    A part's first step makes networks or, on a GPU, records its graph, and isn't counted.
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


def _sides(rows: DataFrame) -> DataFrame:
    """The rows with a number `side`."""
    return rows.assign(side=rows["preset"].astype(int))


def fit(side: np.ndarray, seconds: np.ndarray) -> tuple[float, float, float, float]:
    """`seconds = a · pixelsᵖ` by least squares of the logarithms.

    Parameters
    ----------
    side, seconds : numpy.ndarray, `(n,)`
        `side²` is the number of pixels.

    Returns
    -------
    p, low, high, a
        With the 95 % interval of p, by Student's t, NaN for fewer than three points; all NaN for a single side. It says
        how well the line is known, not whether a line is right.
    """
    from scipy.stats import linregress, t

    if len(np.unique(side)) < 2:
        return (float("nan"),) * 4
    line = linregress(2 * np.log(side), np.log(seconds))
    half = t.ppf(0.975, len(side) - 2) * line.stderr if len(side) > 2 else float("nan")
    return line.slope, line.slope - half, line.slope + half, float(np.exp(line.intercept))


def summary(rows: DataFrame) -> DataFrame:
    """Seconds of a run by contender and side, and how they grow.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by title: a column for each side, medians over images and seeds; `exponent` of the number of pixels with
        `low` and `high`, its 95 % interval (`fit`); and `paper, 128`, the printed seconds, on another machine.
    """
    import pandas as pd

    rows, printed = _sides(rows), paper("seconds").set_index("method")["seconds"]
    table = {}
    for column, name in CONTENDERS.items():
        exponent, low, high, _ = fit(rows["side"].to_numpy(float), rows[column].to_numpy(float))
        table[title(name)] = {
            **rows.groupby("side")[column].median().to_dict(),
            **{"exponent": exponent, "low": low, "high": high},
            "paper, 128": float(printed[PRINTED[column]]) if column in PRINTED else float("nan"),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def ratios(rows: DataFrame) -> DataFrame:
    """How many times as long Double-DIP takes as ours, by side: medians over images and seeds of each row's ratio.

    Indexed by our settings; `paper, 128` is the ratio of the printed seconds.
    """
    import pandas as pd

    rows, printed = _sides(rows), paper("seconds").set_index("method")["seconds"]
    table = {}
    for column in ("ours", "ours_paper"):
        ratio = (rows["double_dip"] / rows[column]).groupby(rows["side"]).median()
        told = printed["double-dip"] / printed["deep-cv"] if column in PRINTED else float("nan")
        table[f"Double-DIP / {title(CONTENDERS[column])}"] = {**ratio.to_dict(), "paper, 128": told}
    return pd.DataFrame.from_dict(table, orient="index")


def plot(rows: DataFrame) -> Figure:
    """Seconds against the side, both axes logarithmic, with the fitted line; stars are the paper's, on its machine."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    rows, printed = _sides(rows), paper("seconds").set_index("method")["seconds"]
    colours = sns.color_palette("colorblind", len(CONTENDERS))
    figure, axis = plt.subplots(figsize=(7.2, 5.2))
    sides = np.array(sorted(rows["side"].unique()), float)
    for (column, name), colour, marker, line in zip(CONTENDERS.items(), colours, "osD", ("-", "--", ":"), strict=True):
        exponent, low, high, factor = fit(rows["side"].to_numpy(float), rows[column].to_numpy(float))
        label = f"{title(name)}: pixels^{exponent:.2f} ({low:.2f} to {high:.2f})"
        axis.scatter(rows["side"], rows[column], color=colour, marker=marker, s=18, alpha=0.7)
        axis.plot(sides, factor * sides ** (2 * exponent), color=colour, ls=line, lw=1.2)
        axis.plot([], [], color=colour, ls=line, lw=1.2, marker=marker, ms=4, label=label)
        if column in PRINTED:
            axis.scatter(128, printed[PRINTED[column]], color=colour, marker="*", s=140, edgecolors="black", lw=0.6,
                         zorder=3)  # fmt: skip
    axis.scatter(
        [], [], color="white", marker="*", s=100, edgecolors="black", lw=0.6, label="the paper's (GTX 1080 Ti)"
    )
    axis.set(xscale="log", yscale="log", xlabel="side of the square image, pixels", xticks=sides,
             ylabel="seconds of a run, without the hint")  # fmt: skip
    axis.set_xticklabels([f"{side:.0f}" for side in sides])
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))  # beside it lie points everywhere
    figure.tight_layout()
    return figure


CLAIMS = (
    Claim(
        id="figure10b/less-time",
        section="6, Figure 10b",
        says="Ours needs less time than Double-DIP for all image sizes.",
        test="Double-DIP's seconds in ours, both on one machine, the median at each size. Reproduced: above 1 at "
        "every size with our settings and with the paper's. Partly: with one of the two.",
        decide=less_time,
    ),
    Claim(
        id="figure10b/grows-less",
        section="6, Figure 10b",
        says="With the size of the image Double-DIP's time grows “more drastically” than ours.",
        test="The exponent p in seconds ∝ pixelsᵖ. Reproduced: Double-DIP's 95 % interval lies above ours, with our "
        "settings and with the paper's. Partly: its exponent is the greater one with one of the two.",
        decide=grows_less,
    ),
    Claim(
        id="figure10b/ratio",
        section="6, Figure 10b",
        says="For 128×128 pixels ours takes 30 s and Double-DIP 549 s.",
        test="The ratio of the two on one machine, since seconds are the machine's. Reproduced: with the paper's "
        "settings it is the printed one to a factor of 2. Partly: with one of the two at least half of it.",
        decide=printed_ratio,
        printed="seconds",
    ),
)
