"""Validation and resizing of images and hints.

Inside the package an image is a float32 array `(H, W)` or `(H, W, 3)` in [0, 1]; a hint is a float32 array `(H, W)` in
[0, 1], near 1 where the foreground probably is.
"""

from __future__ import annotations

import numpy as np

from deepcv.errors import InputError

SMALLEST_SIDE = 8
"""Minimum side in pixels; smaller images have no meaningful regions, and are too small for strided networks."""


def as_array(values, what: str) -> np.ndarray:
    """`numpy.asarray`; what it can't read, as a ragged list or a tensor with gradients, raises `InputError`."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{what} is no array ({reason}); pass a NumPy array, (H, W) or (H, W, 3)") from None


ROUNDING = 1e-6
"""How far beyond [0, 1] floats may lie, to be clipped: resized or filtered ones exceed it by rounding."""


def as_image(image) -> np.ndarray:
    """Validate an image and convert it to float32 in [0, 1].

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8 in 0..255, or float in [0, 1]. Both sides at least 8 pixels.

    Returns
    -------
    numpy.ndarray of float32, of the same shape, in [0, 1], C-contiguous.

    Raises
    ------
    InputError
        For another shape or dtype, NaN or infinite values, values out of range, or a constant image.
    """
    array = as_array(image, "the image")
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise InputError(
            f"the image is {array.item()!r}; pass its pixels, as deepcv.read_image reads them"
            if array.ndim == 0 and array.dtype.kind in "UO"  # a file's name, or None from OpenCV for a missing one
            else f"an image must be (H, W) or (H, W, 3), not {array.shape}; "
            "convert it to grey or RGB first (drop an alpha channel, pick one frame)"
        )
    height, width = array.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the image is {height}×{width} pixels; both sides must have at least {SMALLEST_SIDE}; enlarge or pad it"
        )
    if array.dtype == np.uint8:
        array = np.divide(array, np.float32(255), dtype=np.float32)  # in blocks: half the memory of astype
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("the image has NaN or infinite values; replace them, for example with numpy.nan_to_num")
        low, high = float(array.min()), float(array.max())
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise InputError(f"a float image must lie in [0, 1], not [{low:g}, {high:g}]; rescale it")
        array = array.astype(np.float32)
        if low < 0 or high > 1:
            array = array.clip(0, 1)
    else:
        raise InputError(
            f"an image must be uint8 or float, not {array.dtype}; "
            "scale it to [0, 1], for example with skimage.util.img_as_float"
        )
    if (array == array[:1, :1]).all():
        raise InputError("the image has one colour, so there is nothing to segment; check the file")
    return np.ascontiguousarray(array)


def checked(image) -> np.ndarray:
    """An image that `as_image` accepts: of uint8 as it is, not as floats of four times the memory.

    Raises
    ------
    InputError
        As `as_image`.
    """
    array = as_array(image, "the image")
    if array.dtype != np.uint8 or array.ndim < 2:
        return as_image(array)
    every = max(1, min(array.shape[:2]) // 256)
    try:
        as_image(array[::every, ::every])  # if these pixels have two colours, all have
    except InputError:
        as_image(array)
    return array


def check_image(image, name: str) -> None:
    """Raise the error of `as_image`, with the image's name, unless the image can be segmented."""
    try:
        as_image(image)
    except InputError as error:
        raise InputError(f"{name} can't be used: {error}") from None


def as_hint(hint, shape: tuple[int, int]) -> np.ndarray:
    """Validate a hint and convert it to float32 `(H, W)` in [0, 1].

    Parameters
    ----------
    hint : array_like, `(H, W)`
        bool, uint8 in 0..255, or float in [0, 1]; high where the foreground probably is.
    shape : tuple of int
        The image's `(H, W)`.

    Raises
    ------
    InputError
        For another shape or dtype, NaN, values out of range, or a constant hint.
    """
    array = as_array(hint, "the hint")
    if array.ndim != 2 or not array.size:
        raise InputError(f"the hint is {array.shape}; give one value for each pixel, (H, W), grey instead of colour")
    if array.shape != tuple(shape):
        raise InputError(
            f"the hint is {array.shape} but the image is {tuple(shape)}; resize the hint to the image's size"
        )
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    elif array.dtype == bool or np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    else:
        raise InputError(f"a hint must be bool, uint8 or float, not {array.dtype}; scale it to [0, 1]")
    if not np.isfinite(array).all():
        raise InputError("the hint has NaN or infinite values; replace them, for example with 0.5 (undecided)")
    low, high = float(array.min()), float(array.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(f"a hint must lie in [0, 1], not [{low:g}, {high:g}]; rescale it")
    if low < 0 or high > 1:
        array = array.clip(0, 1)
    if high - low < 1e-4:  # Otsu's histogram needs this range
        raise InputError(
            f"the hint is {low:g} everywhere, which says nothing about the foreground; omit it to have one computed"
        )
    return np.ascontiguousarray(array)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Convert a float image in [0, 1] to uint8 in 0..255, rounded to the nearest level."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def as_colour(image: np.ndarray) -> np.ndarray:
    """Repeat the grey channel of `(H, W)` to `(H, W, 3)`; colour images are returned unchanged."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def resize(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize `(H, W)` or `(H, W, C)` to `shape` by area averaging (smaller) or bilinear interpolation (larger)."""
    import cv2

    if array.shape[:2] == tuple(shape):
        return array
    smaller = shape[0] * shape[1] < array.shape[0] * array.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    most = 4 if smaller else 128  # channels that OpenCV takes at once
    if array.ndim == 3 and array.shape[2] > most:
        parts = range(0, array.shape[2], most)
        return np.dstack([resize(np.ascontiguousarray(array[..., i : i + most]), shape) for i in parts])
    resized = cv2.resize(array, (shape[1], shape[0]), interpolation=interpolation)
    return np.clip(resized, array.min(), array.max(), out=resized)  # averages exceed the range only by rounding


def working_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """`shape` reduced to a longer side of at most `longest` pixels.

    Both sides stay at least `SMALLEST_SIDE`, so the aspect ratio of very long images may change.
    """
    scale = min(1.0, longest / max(shape))
    height, width = (max(SMALLEST_SIDE, round(side * scale)) for side in shape)
    return height, width
