"""Recorded timings, their tables and plots.

`make bench` runs the repository's `benchmarks/`, which record them. On two noisy cores only ratios within a run are
reliable, not absolute times.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.checks import check_known
from deepcv.companion.pictures import COLOURS, compact, dataset_title
from deepcv.companion.store import found
from deepcv.data import samples
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize, working_shape
from deepcv.methods import METHODS, split_name, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

NAMES = ("benchmark", "profile")
"""The recorded timings."""

OURS, PEER = "deep-cv", "skimage:chan_vese"
"""The contenders that the others are compared with."""

_PEERS = {
    "hint": "the hint",
    "skimage:chan_vese": "scikit-image, Chan-Vese",
    "skimage:morphological_chan_vese": "scikit-image, morphological",
}

SIDES = {"quick": 64, "cpu": 300, "paper": 300}
"""Longest side, in pixels, of the photograph that `here` segments, by profile; 300 is that of Weizmann's."""


def recorded(name: str) -> tuple[DataFrame, dict[str, Any]]:
    """Recorded timings, one of `NAMES`, and what made them, by part and device: machine, libraries, options.

    The table is empty when nothing is recorded.

    Raises
    ------
    InputError
        When the files can't be read.
    """
    import pandas as pd

    csv = found("recorded", f"{name}.csv")
    if not csv.is_file():
        return pd.DataFrame(columns=["part"]), {}
    try:
        rows = pd.read_csv(csv)
        return rows, json.loads(csv.with_suffix(".json").read_text(encoding="utf-8"))["made_by"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the recorded timings {csv} can't be read ({error}); restore both files from git") from error


def contender_title(name: str) -> str:
    """What a reader calls a contender, "method:preset setting=value" or a peer; other names as they are."""
    method, _, setting = name.partition(" ")
    if method in _PEERS or split_name(method)[0] not in METHODS:
        return _PEERS.get(name, name)
    return f"{title(method)}, {setting.replace('=', ' ')}" if setting else title(method)


def here(profile: str = "quick", device: str | None = None) -> DataFrame:
    """Seconds of each method on one embedded photograph on this machine, now, in this process.

    Indexed by title. `seconds` is the second of two calls; the first row is the hint, which the others exclude.
    Trained methods are left out, and so is Double-DIP, which takes minutes.

    Parameters
    ----------
    profile : {"quick", "cpu", "paper"}
        The photograph's size (`SIDES`).
    device : str, optional

    Raises
    ------
    InputError
        For an unknown profile or a missing device.
    """
    import pandas as pd

    check_known("profile", profile, SIDES)
    image = as_image(samples.load("coffee").image)
    image = resize(image, working_shape(image.shape[:2], SIDES[profile]))
    hint_for(image)
    start = time.perf_counter()
    hint = hint_for(image)
    seconds = {"the hint": time.perf_counter() - start}
    for method in METHODS.values():
        if not method.trained and method.name not in ("saliency", "double-dip"):
            seconds[method.title] = [method.function(image, hint, device=device).seconds for _ in range(2)][1]
    return pd.Series(seconds, name="seconds").to_frame()


def images(rows: DataFrame) -> DataFrame:
    """Part "images": a row per data set and contender.

    Columns: `s/image` (median); `times ours`, the mean ratio of its seconds to our model's on the same images; `F`;
    `peak MiB`, and `before MiB`, the process's memory before; the number of timed `images`; what was `timed` of each;
    `F from`, this run or the recorded one.
    """
    import pandas as pd

    rows = rows[rows["part"] == "images"]
    ours = rows[rows["contender"] == OURS].groupby(["dataset", "image"])["seconds"].median()
    table = {}
    for (dataset, contender), group in rows.groupby(["dataset", "contender"], sort=False):
        seconds = group.groupby(["dataset", "image"])["seconds"].median()
        table[dataset, contender] = {
            "s/image": seconds.median(),
            "times ours": (seconds / ours).mean(),
            "F": group["f_measure"].mean(),
            "peak MiB": group["peak_mib"].max(),
            "before MiB": group["baseline_mib"].max(),
            "images": seconds.count(),
            "timed": _first(group["timed"]),
            "F from": _first(group["f_from"]),
        }
    return pd.DataFrame.from_dict(table, orient="index").sort_index(level=0, sort_remaining=False)


def finding(rows: DataFrame) -> str:
    """Our seconds and the peers', in words; rows of "benchmark"."""
    if not (rows["part"] == "images").any():
        return "How long the methods take on photographs isn't recorded yet."
    table = images(rows)
    table = table.loc[max(table.index.get_level_values(0))]  # Weizmann's photographs, where they are recorded
    ours, others = table.loc[OURS], table["times ours"].drop(index=["hint", OURS], errors="ignore")
    told, scaled = (
        "; ".join(
            f"{contender_title(name)} {ratio:.{0 if ratio >= 10 else 2}f}"
            for name, ratio in others.items()
            if (table.loc[name, "images"] < ours["images"]) == fewer
        )
        for fewer in (False, True)
    )
    told += f"; and scaled from some steps on fewer: {scaled}" if scaled else ""
    exact = ""
    if len(by_nu := energies(rows)):
        faster = by_nu["times faster"].xs("chan-vese:exact", level=1)
        exact = f" Our exact solver of Chan-Vese is {faster.min():.0f} to {faster.max():.0f} times as fast as "
        exact += "scikit-image's."
    hint = f" after the hint's {table.loc['hint', 's/image']:.2f} s" if "hint" in table.index else ""
    return (
        f"On {ours['images']:.0f} photographs our default takes {ours['s/image']:.2f} s per image{hint}; the others, "
        f"as multiples of its seconds on the same images: {told}.{exact}"
    )


def _first(values):
    """The first value that isn't missing, or None."""
    return next(iter(values.dropna()), None)


YARDSTICKS = ("grabcut", "skimage:chan_vese", "skimage:morphological_chan_vese")
"""The peers whose seconds measure the machine in `slower`."""


def slower(rows: DataFrame, before: DataFrame) -> DataFrame:
    """How much slower ours have become, from part "images" of two benchmarks, whichever machines ran them.

    A row per contender of ours that both timed. `here` and `before` are the median over the images that both timed of
    its seconds over the geometric mean of its `YARDSTICKS`', and `times slower` is their ratio. The processor's seconds
    count where they were measured, as other jobs on the machine disturb them less.

    Raises
    ------
    InputError
        If no image was timed in both with all yardsticks.
    """
    import pandas as pd

    def ratios(table: DataFrame) -> DataFrame:
        table = table[(table["part"] == "images") & (table["timed"] == "whole run")]
        seconds = _of_the_processor(table).pivot_table("seconds", ["dataset", "image"], "contender", aggfunc="median")
        peers = np.log(seconds.reindex(columns=list(YARDSTICKS))).mean(axis=1, skipna=False)
        return seconds.drop(columns=list(YARDSTICKS), errors="ignore").div(np.exp(peers), axis=0)

    here, then = (ratios(each) for each in (rows, before))
    here, then = here.align(then, join="inner")
    here, then = (each[here.notna().all(axis=1) & then.notna().all(axis=1)] for each in (here, then))
    if here.empty:
        raise InputError(
            f"no image was timed in both benchmarks with {', '.join(YARDSTICKS)}; time them in part images"
        )
    return pd.DataFrame(
        {"here": here.median(), "before": then.median(), "times slower": (here / then).median(), "images": len(here)}
    )


def _of_the_processor(rows: DataFrame) -> DataFrame:
    """The rows with the processor's seconds for `seconds` where they were measured."""
    return rows.assign(seconds=rows["cpu_seconds"].fillna(rows["seconds"])) if "cpu_seconds" in rows else rows


def energies(rows: DataFrame) -> DataFrame:
    """Part "chan-vese": a row per ν and contender, on the same grey images from the same start.

    Columns: mean `seconds` and `energy` (3.7); `times faster`, the total seconds of scikit-image's `chan_vese` over its
    own; `at most its energy`, the share of images on which its energy is no higher than scikit-image's, to four digits;
    `images`.
    """
    import pandas as pd

    rows = rows[rows["part"] == "chan-vese"]
    table = {}
    for (nu, contender), group in rows.groupby(["nu", "contender"], sort=False):
        by_image = group.groupby(["dataset", "image"])[["seconds", "energy"]].median()
        peer = rows[(rows["nu"] == nu) & (rows["contender"] == PEER)]
        peer = peer.groupby(["dataset", "image"])[["seconds", "energy"]].median().reindex(by_image.index)
        table[f"ν = {nu:g}", contender] = {
            "seconds": by_image["seconds"].mean(),
            "times faster": peer["seconds"].sum() / by_image["seconds"].sum(),
            "energy": by_image["energy"].mean(),
            "at most its energy": (by_image["energy"] <= peer["energy"] * (1 + 1e-4)).mean(),
            "images": len(by_image),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def growth(rows: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Part "scaling": seconds, and the rise of memory to its peak in MiB; a row per contender.

    Columns: the sides of the square image, and `exponent`: p in `seconds ∝ pixels^p`, fitted to the upper two thirds of
    the sizes, where the constant cost of a call matters less.
    """
    rows = _scaling(rows)
    tables = []
    for value in ("seconds", "memory"):
        table = rows.pivot_table(value, "contender", "size", aggfunc="median", sort=False)
        table.columns = [int(size) for size in table.columns]
        table["exponent"] = [_exponent(row.dropna()) for _, row in table.iterrows()]
        tables.append(table)
    return tables[0], tables[1]


def _scaling(rows: DataFrame) -> DataFrame:
    """The rows of part "scaling", with `memory`: the rise to its peak, MiB."""
    rows = _of_the_processor(rows[rows["part"] == "scaling"])
    return rows.assign(memory=rows["peak_mib"] - rows["baseline_mib"])


def _exponent(values) -> float:
    values = values[values > 0].iloc[len(values) // 3 :]
    if len(values) < 2:
        return float("nan")
    return float(np.polyfit(2 * np.log(values.index.to_numpy(float)), np.log(values.to_numpy()), 1)[0])


def style(table: DataFrame):
    """Format any of these tables: readers' names, three significant digits, and a dash for a missing value."""

    def shown(value) -> str:
        if isinstance(value, str):
            return value
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

    named = table.rename(index=lambda label: dataset_title(contender_title(label)))
    named.index.names = [None] * named.index.nlevels
    return compact(named.style.format(shown, na_rep="–"), "timings")


def iteration(rows: DataFrame) -> DataFrame:
    """The milliseconds of a step by phase, from the rows of "profile"; a column per device and image size.

    A size of three numbers is that of training images of Algorithm 3. The last rows are the floor: what convolutions
    must compute and move, at this machine's rates for a large convolution and a large copy.
    """
    shown = rows[rows["kind"].isin(["phase", "step", "rate", "floor"])]
    names = shown["name"].where(shown["kind"] != "step", "the whole step")
    names = names.where(shown["kind"] != "rate", shown["name"] + " a second")
    order = dict.fromkeys(name for kind in ("phase", "step", "rate", "floor") for name in names[shown["kind"] == kind])
    table = shown.assign(name=names).pivot_table("value", "name", ["device", "size"], sort=False)
    return table.reindex(list(order)).rename_axis(None)


def plot_operations(rows: DataFrame) -> Figure:
    """The operations (on a GPU, kernels) that take longest in a step, as bars; a panel per device and size."""
    import matplotlib.pyplot as plt

    groups = list(rows[rows["kind"].isin(["operation", "kernel"])].groupby(["device", "size"], sort=False))
    figure, axes = plt.subplots(1, max(1, len(groups)), figsize=(5.4 * max(1, len(groups)), 3.6), squeeze=False)
    for axis, ((device, size), group) in zip(axes[0], groups, strict=False):
        group = group.nlargest(8, "value").iloc[::-1]
        axis.barh(group["name"].str.slice(0, 34), group["value"], color="0.45")
        axis.set(xlabel="milliseconds per step", title=f"{size.replace('x', '×')} pixels, {device}")
        axis.tick_params(axis="y", labelsize=8)
        axis.grid(axis="x", alpha=0.25)
    figure.tight_layout()
    return figure


def plot_growth(rows: DataFrame) -> Figure:
    """Seconds, and the rise of memory to its peak, against the side of a square image, log-log.

    Dashed lines: timed over some steps and scaled to all. The legend has the exponents of `growth`, of seconds and of
    memory; below stands which contenders are left out from which size on, and why.
    """
    import matplotlib.pyplot as plt

    exponents = [table["exponent"] for table in growth(rows)]
    rows = _scaling(rows)
    names = list(dict.fromkeys(rows["contender"]))
    colours = dict(zip(names, itertools.cycle(COLOURS), strict=False))
    markers = dict(zip(names, "osD^vP<X>*hd"[: len(names)], strict=True))
    left_out = rows[rows["timed"].str.startswith("left out", na=False)].drop_duplicates("contender")
    notes = [
        f"{contender_title(row.contender)}: {row.size:.0f}² pixels and more {row.timed}"
        for row in left_out.itertuples()
    ]
    below = 0.17 * len(notes)  # inches
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4 + below))
    for axis, value in zip(axes, ("seconds", "memory"), strict=True):
        for name, group in rows.groupby("contender", sort=False):
            group = group.dropna(subset=["seconds"]).sort_values("size")
            scaled = group["timed"].str.contains("scaled").any()
            style = {"color": colours[name], "marker": markers[name], "ls": "--" if scaled else "-"}
            powers = ", ".join(f"{exponent.get(name, np.nan):.2f}".replace("nan", "–") for exponent in exponents)
            label = f"{contender_title(name)}: {powers}"
            axis.plot(group["size"], group[value].clip(lower=1e-3), label=label, ms=5, lw=1, **style)
        sides = sorted(rows["size"].dropna().unique())
        axis.set(xscale="log", yscale="log", xlabel="side of the square image, pixels", xticks=sides)
        axis.set_xticklabels([f"{side:.0f}" for side in sides])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("seconds per image, one thread, without the hint")
    axes[1].set_ylabel("peak memory above the start, MiB")
    figure.tight_layout(rect=(0, below / (4.4 + below), 0.7, 1))
    title = "exponents of the pixels:\nseconds, memory"
    legend: dict[str, Any] = {"fontsize": 8, "loc": "center right", "title": title}
    figure.legend(*axes[0].get_legend_handles_labels(), title_fontsize=8, **legend)
    figure.text(0.01, 0.01, "\n".join(notes), fontsize=8, color="0.3")
    return figure
