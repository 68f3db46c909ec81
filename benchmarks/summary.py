"""Tables of what the benchmark measured, from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

OURS = "deep-cv"
PEER = "skimage:chan_vese"


def images(rows: DataFrame) -> DataFrame:
    """Part "images": a row for each data set and contender.

    Columns: `s/image` (median), `times ours` (its seconds in those of our model, mean over the same images),
    `peak MiB` and what the process had `before MiB`, `F` and where it is from (this run, or the recorded one), the
    number of timed `images`, and what was `timed` of each.
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
            "peak MiB": group["peak_mib"].max(),
            "before MiB": group["baseline_mib"].max(),
            "F": group["f_measure"].mean(),
            "F from": _first(group["f_from"]),
            "images": seconds.count(),
            "timed": _first(group["timed"]),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def _first(values):
    """The first value that isn't missing; None when all are."""
    return next(iter(values.dropna()), None)


def energies(rows: DataFrame) -> DataFrame:
    """Part "chan-vese": a row for each ν and contender, on the same grey images from the same start.

    Columns: `seconds` and `energy` (3.7) in the mean, `times faster` than scikit-image's `chan_vese` over all images
    together, `at most its energy` (the share of images, to four digits).
    """
    import pandas as pd

    rows = rows[rows["part"] == "chan-vese"]
    table = {}
    for (nu, contender), group in rows.groupby(["nu", "contender"], sort=False):
        by_image = group.groupby(["dataset", "image"])[["seconds", "energy"]].median()
        peer = rows[(rows["nu"] == nu) & (rows["contender"] == PEER)]
        peer = peer.groupby(["dataset", "image"])[["seconds", "energy"]].median().reindex(by_image.index)
        table[nu, contender] = {
            "seconds": by_image["seconds"].mean(),
            "times faster": peer["seconds"].sum() / by_image["seconds"].sum(),
            "energy": by_image["energy"].mean(),
            "at most its energy": (by_image["energy"] <= peer["energy"] * (1 + 1e-4)).mean(),
            "images": len(by_image),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def growth(rows: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Part "scaling": seconds, and peak MiB above what the process had before; a row for each contender.

    Columns are the sides of the square image, and `exponent`: p in `seconds ∝ pixels^p`, fitted to the upper
    two thirds of the sizes, where what a call costs at any size counts less.
    """
    rows = rows[rows["part"] == "scaling"].assign(memory=lambda each: each["peak_mib"] - each["baseline_mib"])
    tables = []
    for value in ("seconds", "memory"):
        table = rows.pivot_table(value, "contender", "size", aggfunc="median", sort=False)
        table["exponent"] = [_exponent(row.dropna()) for _, row in table.iterrows()]
        tables.append(table)
    return tables[0], tables[1]


def _exponent(values) -> float:
    values = values[values > 0].iloc[len(values) // 3 :]
    if len(values) < 2:
        return float("nan")
    return float(np.polyfit(2 * np.log(values.index.to_numpy(float)), np.log(values.to_numpy()), 1)[0])
