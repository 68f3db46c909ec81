"""Images solved side by side, as one stack of independent networks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from deepcv.checks import Seed, check_value
from deepcv.errors import InputError
from deepcv.images import as_image
from deepcv.segmentation import Segmentation

Problem = TypeVar("Problem", bound=tuple)


def checked_batch(images: Sequence, hints: Sequence | None, seeds: Sequence[int]) -> tuple[list[np.ndarray], Sequence]:
    """The images as `as_image` returns them, and a hint or None for each.

    Raises
    ------
    InputError
        For an unusable image or seed, or when the numbers of images, hints and seeds differ.
    """
    hints = [None] * len(images) if hints is None else hints
    for name, given in (("hints", hints), ("seeds", seeds)):
        if len(given) != len(images):
            raise InputError(f"there are {len(given)} {name} for {len(images)} images; give one for each")
    for seed in seeds:
        check_value("seed", seed, Seed)
    return [as_image(image) for image in images], hints


def solve_alike(keys: Sequence[Hashable], solve: Callable[[list[int]], Sequence[Segmentation]]) -> list[Segmentation]:
    """Solve images with equal keys together; each result gets an equal share of its group's time as `seconds`.

    `solve` maps the indices of a group to its segmentations.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    found = {}
    for indices in groups.values():
        start = time.perf_counter()
        segmentations = solve(indices)
        seconds = (time.perf_counter() - start) / len(indices)
        for index, segmentation in zip(indices, segmentations, strict=True):
            found[index] = dataclasses.replace(segmentation, seconds=seconds)
    return [found[index] for index in range(len(keys))]


def side_by_side(problems: Sequence[Problem]) -> Problem:
    """Problems of single images as one problem: named tuples of tensors `(1, ...)` to `(B, ...)`, the seeds last."""
    *tensors, seeds = zip(*problems, strict=True)
    joined: Any = type(problems[0])
    return joined(*map(torch.cat, tensors), [seed for each in seeds for seed in each])


def watched(states: Iterator, total: int, description: str, progress: bool) -> Iterator:
    """The states of a loop under a progress bar, which is full at the end even if the loop ends early."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit="step", disable=not progress) as bar:
        try:
            for state in states:
                yield state
                bar.update()
        finally:
            bar.total = bar.n
            bar.refresh()


def traces_of(steps: dict[str, list[Tensor]], lengths: Sequence[int]) -> list[dict[str, list[float]]]:
    """Each image's trace from values `(B,)` per step, cut to the number of steps that the image took."""
    columns = {name: torch.stack(values, dim=1).tolist() for name, values in steps.items()}
    return [{name: column[index][:length] for name, column in columns.items()} for index, length in enumerate(lengths)]
