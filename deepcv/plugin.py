"""The napari plugin: a function that napari makes a widget of (`napari.yaml`); neither needs napari here.

An image layer of any type is seen as napari shows it, between its contrast limits; seeds are a labels layer, 1 on the
object, 2 or more on the background, 0 where undecided.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepcv.door import segment
from deepcv.errors import InputError
from deepcv.levels import scaled
from deepcv.methods import get_method
from deepcv.rasters import check_pixels
from deepcv.seeds import UNDECIDED

if TYPE_CHECKING:
    import napari

OWN = -1.0
"""The value of ν that leaves it to the method: a widget's number has no "none"."""


def segment_layer(
    image: napari.layers.Image,
    method: Literal[
        "deep-cv", "chan-vese", "statistical", "grabcut", "mixture", "ridge", "normalized-cuts"
    ] = "deep-cv",
    nu: float = OWN,
    seeds: napari.layers.Labels | None = None,
    every_plane: bool = False,
    viewer: napari.viewer.Viewer | None = None,
) -> napari.types.LayerDataTuple:
    """Segment the plane that is shown, or each plane of a stack.

    Parameters
    ----------
    image
        Grey or RGB, `(…, H, W)` or `(…, H, W, 3)`.
    method
        As `deepcv.get_method`.
    nu
        Weight of the boundary's length; -1 is the method's own.
    seeds
        Labels on the same pixels, `(…, H, W)` or `(H, W)`: 1 on the object, 2 or more beside it.
    every_plane
        Each plane by itself; one of a single colour is left out.
    viewer
        Says which plane is shown; without one it is the first.

    Returns
    -------
    tuple
        A labels layer: 1 in the foreground, 0 in the background and in planes that weren't segmented.

    Raises
    ------
    InputError
        For a ν that the method doesn't have, seeds of another shape, a picture too large, and as the method does.
    """
    chosen = get_method(method)
    changes: dict[str, Any] = {} if nu == OWN else {"nu": nu}
    if changes and not chosen.has_setting("nu"):
        raise InputError(f"{chosen.name} has no ν; leave it at {OWN:g}")
    data = image.data[0] if image.multiscale else image.data  # of several resolutions the first is the finest
    shape = tuple(data.shape[: -1 if image.rgb else None])
    check_pixels(image.name, math.prod(shape[-2:]))
    stack = shape[:-2]
    labels = np.zeros(shape, np.uint8)
    marks = None if seeds is None else seeds.data
    if marks is not None and tuple(marks.shape) not in (shape, shape[-2:]):
        raise InputError(f"the seeds are {marks.shape} and the image is {shape}; make a labels layer of the same shape")
    # a layer's axes are the viewer's last, which may also reach beyond it
    steps = (0,) * len(stack) if viewer is None else tuple(viewer.dims.current_step)[-len(shape) : -2]
    shown = tuple(min(max(step, 0), side - 1) for step, side in zip(steps, stack, strict=True))
    for place in np.ndindex(stack) if every_plane else [shown]:
        pixels = _eight_bits(np.asarray(data[place]), image.rgb, image.contrast_limits)  # a stack may be on disk
        if every_plane and (pixels == pixels[:1, :1]).all():  # as the empty slices at a stack's ends
            continue
        found = segment(
            pixels,
            method,
            seeds=_seeds(None if marks is None else np.asarray(marks if marks.ndim == 2 else marks[place])),
            **changes,
        )
        labels[place] = found.labels
    about = {"name": f"{image.name}: {chosen.title}", "scale": image.scale, "translate": image.translate}
    return labels, about, "labels"


def _eight_bits(plane: np.ndarray, rgb: bool, limits: Any) -> np.ndarray:
    if rgb and plane.dtype == np.uint8:
        return np.ascontiguousarray(plane[..., :3])
    if rgb:
        return scaled(plane[..., :3], 0, 1 if plane.dtype.kind == "f" else np.iinfo(plane.dtype).max)
    return scaled(np.ascontiguousarray(plane), *map(float, limits))


def _seeds(marks: np.ndarray | None) -> np.ndarray | None:
    """What labels mark, if anything, as `deepcv.seeds.as_marks` takes it."""
    if marks is None or not marks.any():
        return None
    return np.select([marks == 1, marks > 1], [255, 0], UNDECIDED).astype(np.uint8)
