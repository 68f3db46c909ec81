"""How far two truths of one photograph disagree: what a difference in IoU is worth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepcv.data import flowers
from deepcv.errors import InputError
from deepcv.metrics import iou
from deepcv.pictures import read_image

if TYPE_CHECKING:
    from pandas import DataFrame


def disagreement() -> DataFrame:
    """IoU between the truths of photographs of Flowers-102 that have several, and between readings of a trimap.

    Photographs are compared that have masks of two kinds (`deepcv.data.flowers.TRUTHS_102`), and those that Flowers-17
    has twice, with a trimap each (found by `deepcv.data.link`).

    Returns
    -------
    pandas.DataFrame
        A row per comparison: `n` photographs; `median`, `mean` and `lowest` IoU.

    Raises
    ------
    InputError
        When there is nothing to compare; for a mask of another size than its photograph, or an unreadable file.
    """
    import pandas as pd

    found: dict[str, list[float]] = defaultdict(list)
    root = flowers.root_of("flowers102", "jpg")
    names = sorted(path.stem for path in (root / "jpg").glob("*.jpg"))
    masks = {truth.name: truth.masks(root, names) for truth in flowers.TRUTHS_102}
    for first, second in combinations(flowers.TRUTHS_102, 2):
        ours, theirs = masks[first.name], masks[second.name]
        for name in sorted(ours.keys() & theirs.keys()):
            one, other = _read(first, ours[name], root, name), _read(second, theirs[name], root, name)
            found[f"{first.name} and {second.name}"].append(iou(one[0], other[0], one[1] | other[1]))
    (trimap,) = flowers.TRUTHS_17
    for one, other in _twice(root):
        ignored = one[1] | other[1]
        found["two trimaps, boundaries ignored"].append(iou(one[0], other[0], ignored))
        found["two trimaps, boundaries background"].append(iou(one[0], other[0]))
        found["two trimaps, boundaries flower"].append(iou(one[0] | one[1], other[0] | other[1]))
    for name, path in masks["trimap"].items():
        flower, boundary = _read(trimap, path, root, name)
        found["a trimap, boundary background or flower"].append(iou(flower, flower | boundary))
    if not found:
        raise InputError(f"no photograph in {root} has two truths; run `deepcv data link` first")
    table = {
        name: {"n": len(each), "median": np.median(each), "mean": np.mean(each), "lowest": min(each)}
        for name, each in found.items()
    }
    return pd.DataFrame.from_dict(table, orient="index").astype({"n": int})


Marks = tuple[np.ndarray, np.ndarray]
"""Flower and ignored pixels, bool `(H, W)`."""


def _twice(root: Path) -> Iterator[tuple[Marks, Marks]]:
    """The trimaps of photographs that Flowers-17 has twice, at their own size."""
    pairs = root / "trimaps" / flowers.PAIRS
    if not pairs.exists():
        return
    copies = defaultdict(list)
    for ours, theirs in flowers.names_in_both(pairs).items():
        copies[theirs].append(ours)
    seventeen = flowers.root_of("flowers17", "jpg", "trimaps")
    (trimap,) = flowers.TRUTHS_17
    for names in copies.values():
        masks = trimap.masks(seventeen, names)
        for pair in combinations(sorted(masks), 2):
            one, other = (_read(trimap, masks[name], seventeen, name) for name in pair)
            if one[0].shape == other[0].shape:
                yield one, other


def _read(truth: flowers.Truth, path: Path, root: Path, name: str) -> Marks:
    mask, ignore = truth.read(flowers.read_marks(path, read_image(root / "jpg" / f"{name}.jpg")))
    return mask, np.zeros_like(mask) if ignore is None else ignore
