"""Segment a picture of any size by any method, as the command line and the napari plugin do."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepcv.errors import InputError
from deepcv.images import SMALLEST_SIDE, as_image, resize, working_shape
from deepcv.methods import Method
from deepcv.pictures import enlarged

WORKING_SIZE = 1024
"""Longest side in pixels for methods without a bound of their own. Every method then needs less than 1 GiB and, except
Double-DIP, a few seconds."""


@dataclass(frozen=True)
class Found:
    """What a method found in a picture.

    Attributes
    ----------
    labels : numpy.ndarray of uint8, `(H, W)`
        The region of each pixel; with two regions 1 is the foreground.
    memberships : numpy.ndarray of float32, `(N, h, w)`
        Soft memberships, at the size that the method worked on or the picture's.
    notes : tuple of str
        What was done to the picture, a clause each.
    """

    labels: np.ndarray
    memberships: np.ndarray
    notes: tuple[str, ...] = ()


def segment_picture(
    method: Method, pixels: np.ndarray, hint: np.ndarray | None, settings: dict[str, Any], *, progress: bool = False
) -> Found:
    """Run a method at a bounded size.

    The size is `WORKING_SIZE` unless one is given or the method has a default. For a method without the setting `size`
    the picture is shrunk and the labels are enlarged here.

    Parameters
    ----------
    pixels : uint8, `(H, W)` or `(H, W, 3)`
    hint : `(H, W)`, optional
    settings
        The method's, with seed and device; also `size` if it doesn't have that.
    progress : bool
        Whether the method may show its steps on stderr.

    Raises
    ------
    InputError
        As the method; for a size below `SMALLEST_SIDE`.
    """
    shape, settings = pixels.shape[:2], dict(settings)
    if not method.has_setting("size"):
        longest = settings.pop("size", WORKING_SIZE)
        if longest < SMALLEST_SIDE:
            raise InputError(f"--size is {longest}; it must be at least {SMALLEST_SIDE} pixels")
        working = working_shape(shape, longest)
        pixels = resize(as_image(pixels), working)
        hint = None if hint is None else resize(hint, working)
    elif settings["size"] is None:  # the image's own size
        settings["size"] = WORKING_SIZE
    if "progress" in inspect.signature(method.function).parameters:
        settings["progress"] = progress
    found = method.function(pixels, hint, **settings)
    return Found(enlarged(found.labels, len(found.memberships), shape), found.memberships)
