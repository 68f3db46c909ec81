"""Images solved side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepcv.checks import check_seed
from deepcv.errors import InputError
from deepcv.images import as_image


def checked_batch(images: Sequence, hints: Sequence | None, seeds: Sequence[int]) -> tuple[list[np.ndarray], Sequence]:
    """The images as `as_image` gives them, and a hint or None for each.

    Raises
    ------
    InputError
        For an image or seed that can't be used, or when there are not as many hints or seeds as images.
    """
    hints = [None] * len(images) if hints is None else hints
    for name, given in (("hints", hints), ("seeds", seeds)):
        if len(given) != len(images):
            raise InputError(f"there are {len(given)} {name} for {len(images)} images; give one for each")
    for seed in seeds:
        check_seed(seed)
    return [as_image(image) for image in images], hints


def side_by_side(problems: Sequence) -> NamedTuple:
    """The problems of single images as one of their kind: a named tuple of tensors `(B, ...)`, and last the seeds."""
    *tensors, seeds = zip(*problems, strict=True)
    return type(problems[0])(*map(torch.cat, tensors), [seed for each in seeds for seed in each])


def traces_of(steps: dict[str, list[Tensor]], lengths: Sequence[int]) -> list[dict[str, list[float]]]:
    """Each image's trace from values `(B,)` of each step: as many of the first steps as the image took."""
    columns = {name: torch.stack(values, dim=1).tolist() for name, values in steps.items()}
    return [{name: column[index][:length] for name, column in columns.items()} for index, length in enumerate(lengths)]
