"""What an image and a hint are, checked once at the door; reading and writing picture files.

Inside the package an image is a float32 array `(H, W)` or `(H, W, 3)` with values in [0, 1]; a hint is a
float32 array `(H, W)` in [0, 1], near 1 where the foreground is believed to be.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .files import write_together

SMALLEST_SIDE = 8
"""Fewest pixels a side may have: below this there is no region to speak of, nor a stride-2 network."""


class InputError(ValueError):
    """The input can't be used; the message names the value and says what to do about it."""


def as_image(image) -> np.ndarray:
    """Check an image and bring it to float32 in [0, 1].

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
    array = np.asarray(image)
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise InputError(
            f"an image must be (H, W) or (H, W, 3), this one is {array.shape}; "
            "convert it to grey or RGB first (drop an alpha channel, pick one frame)"
        )
    height, width = array.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the image is {height}×{width} pixels; both sides must have at least {SMALLEST_SIDE}, enlarge or pad it"
        )
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("the image has NaN or infinite values; replace them, for example with numpy.nan_to_num")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise InputError(f"a float image must lie in [0, 1], this one spans [{low:g}, {high:g}]; rescale it")
        array = array.astype(np.float32)
    else:
        raise InputError(
            f"an image must be uint8 or float, this one is {array.dtype}; "
            "scale it to [0, 1], for example with skimage.util.img_as_float"
        )
    if float(array.max()) == float(array.min()) or (array.ndim == 3 and np.ptp(array, axis=(0, 1)).max() == 0):
        raise InputError("the image has one colour throughout, so there is nothing to segment; check the file")
    return np.ascontiguousarray(array)


def as_hint(hint, shape: tuple[int, int]) -> np.ndarray:
    """Check a hint: float32 `(H, W)` in [0, 1] of the image's size.

    Parameters
    ----------
    hint : array_like, `(H, W)`
        bool, uint8 in 0..255, or float in [0, 1]; high where the foreground is believed to be.
    shape : tuple of int
        The image's `(H, W)`.

    Raises
    ------
    InputError
        For another shape or dtype, NaN, values out of range, or a constant hint.
    """
    array = np.asarray(hint)
    if array.shape != tuple(shape):
        raise InputError(
            f"the hint is {array.shape} but the image is {tuple(shape)}; resize the hint to the image's size"
        )
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    elif array.dtype == bool or np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    else:
        raise InputError(f"a hint must be bool, uint8 or float, this one is {array.dtype}; scale it to [0, 1]")
    if not np.isfinite(array).all():
        raise InputError("the hint has NaN or infinite values; replace them, for example with 0.5 (undecided)")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise InputError(f"a hint must lie in [0, 1], this one spans [{low:g}, {high:g}]; rescale it")
    if high - low < 1e-4:  # Otsu's threshold has no room for its histogram in less
        raise InputError(
            f"the hint is {low:g} everywhere and says nothing about the foreground; leave it out to have one computed"
        )
    return np.ascontiguousarray(array)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """A float image in [0, 1] as uint8 in 0..255, rounded to the nearest level."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def as_colour(image: np.ndarray) -> np.ndarray:
    """`(H, W)` as `(H, W, 3)` by repeating the grey channel; colour images pass through."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def resize(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a float `(H, W)` or `(H, W, C)` array to `shape`: area averaging down, bilinear up."""
    import cv2

    if array.shape[:2] == tuple(shape):
        return array
    smaller = shape[0] * shape[1] < array.shape[0] * array.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = cv2.resize(array, (shape[1], shape[0]), interpolation=interpolation)
    return np.clip(resized, array.min(), array.max(), out=resized)  # averages leave the range by rounding only


def working_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """`shape` scaled so that its longer side is at most `longest` pixels; never enlarged.

    Both sides stay at least `SMALLEST_SIDE`, so a very long image may change its proportions.
    """
    scale = min(1.0, longest / max(shape))
    return tuple(max(SMALLEST_SIDE, round(side * scale)) for side in shape)


_CONVERT = "pass --convert (in Python convert=True)"


def read_image(path, *, convert: bool = False) -> np.ndarray:
    """Read a picture file as uint8, `(H, W)` or `(H, W, 3)`, turned upright by its EXIF orientation.

    Parameters
    ----------
    path : str or os.PathLike
        Any still picture that Pillow reads.
    convert : bool
        Accept what would lose information and convert it: the first frame of an animation, 16-bit and float
        samples stretched from their least to their greatest value, alpha laid over white, CMYK and other
        colour spaces to RGB.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    InputError
        When the file can't be decoded to its end, or needs a conversion that was not asked for.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the spelling and the folder")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name one picture file in it")
    try:
        # What Pillow warns of, it raises when it matters.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            # A phone's JPEG with a preview or a second view beside it (MPO) is a still picture all the same.
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO" and not convert:
                raise InputError(
                    f"{path} has {picture.n_frames} frames; save one of them, or {_CONVERT} to take the first"
                )
            if _is_deep_colour(picture) and not convert:
                raise InputError(f"{path} has 16-bit samples; save it as 8-bit, or {_CONVERT}")
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            return _to_grey_or_rgb(picture, path, convert)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture in a format that Pillow reads; save it as PNG or JPEG") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more pixels than can be decoded safely; reduce it first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path} can't be read to its end ({error}); it may be truncated, fetch it again") from None


def _is_deep_colour(picture) -> bool:
    """Whether these are 16-bit colour samples, which Pillow cuts to 8 without a word; asked before it loads them."""
    kinds = [tile[3] if isinstance(tile[3], str) else str(tile[3][0]) for tile in picture.tile if tile[3]]
    return any(";16" in kind and not kind.startswith(("I", "BGR")) for kind in kinds)  # BGR;16 has 5 or 6 bits each


def _to_grey_or_rgb(picture, path: Path, convert: bool) -> np.ndarray:
    from PIL import Image

    mode = picture.mode
    if mode == "1":
        return np.asarray(picture.convert("L"))
    has_alpha = mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in picture.info
    if mode in ("L", "RGB") and not has_alpha:
        return np.asarray(picture)
    if mode == "P" and not has_alpha:
        return np.asarray(picture.convert("RGB"))
    if mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        if not convert:
            raise InputError(f"{path} has 16-bit or float samples (mode {mode}); save it as 8-bit, or {_CONVERT}")
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"{path} has NaN or infinite samples; replace them first")
        low, high = values.min(), values.max()
        return to_uint8((values - low) / (high - low)) if high > low else np.zeros(values.shape, np.uint8)
    if not convert:
        kind = "an alpha channel" if has_alpha else f"colour mode {mode}"
        raise InputError(f"{path} has {kind}; save it as grey or RGB, or {_CONVERT}")
    if has_alpha:
        picture = picture.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def write_images(pictures: Mapping[Path, np.ndarray]) -> None:
    """Write uint8 arrays as picture files, all of them or none.

    Raises
    ------
    InputError
        When a folder does not exist, an ending names no picture format, or a file can't be written.
    """
    from PIL import Image

    encoded = {}
    for path, array in pictures.items():
        check_picture(path)
        stream, picture = io.BytesIO(), Image.fromarray(array)
        try:
            picture.save(stream, Image.EXTENSION[path.suffix.lower()])
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"can't write {path} ({reason}); make room or call it {picture_name(path)}.png") from None
        encoded[path] = stream.getvalue()
    try:
        write_together(encoded)
    except OSError as error:
        names = " and ".join(map(str, encoded))
        raise InputError(f"can't write {names} ({error.strerror}); make room or choose another folder") from None


def write_image(path, array: np.ndarray) -> None:
    """`write_images` of a single one."""
    write_images({Path(path): array})


def check_parent(path: Path) -> None:
    """Raise `InputError` unless there is a folder for the file."""
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into; make it first")


def check_picture(path: Path) -> None:
    """Raise `InputError` unless there is a folder for the file and its ending names a format that can be written."""
    from PIL import Image

    check_parent(path)
    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in Image.SAVE:
        raise InputError(f"{path} has no ending that names a picture format to write; call it {picture_name(path)}.png")


def picture_name(path: Path) -> str:
    """What a picture might be called whose path has an ending that won't do."""
    return path.stem if path.stem and not path.name.startswith(".") else "picture"
