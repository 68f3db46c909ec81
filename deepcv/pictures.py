"""Reading and writing picture files; outlines on a picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepcv.errors import InputError
from deepcv.files import write_together
from deepcv.images import as_colour, check_image, resize, to_uint8

OUTLINE = (255, 225, 0)
"""Colour of the outline in an overlay; its dark rim makes it visible on any picture."""


def enlarged(labels: np.ndarray, phases: int, shape: tuple[int, int]) -> np.ndarray:
    """Labels at a larger size; each pixel gets the phase with the greatest share there."""
    if labels.shape == shape:
        return labels
    largest, enlarged = np.full(shape, -1, np.float32), np.zeros(shape, np.uint8)
    for phase in range(phases):
        share = resize((labels == phase).astype(np.float32), shape)
        enlarged[share > largest] = phase
        np.maximum(largest, share, out=largest)
    return enlarged


def spread(labels: np.ndarray, phases: int) -> np.ndarray:
    """Labels 0..N-1 as equidistant grey levels 0..255, uint8 `(H, W)`."""
    return np.rint(np.linspace(0, 255, phases)).astype(np.uint8)[labels]


def outlined(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A picture, uint8 `(H, W)` or `(H, W, 3)`, with the boundaries between labels drawn on it, uint8 `(H, W, 3)`."""
    import cv2

    boundary = np.zeros(labels.shape, np.uint8)
    boundary[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    boundary[1:] |= labels[1:] != labels[:-1]
    picture = as_colour(pixels).copy()
    width = 1 + max(labels.shape) // 300  # equally visible at any size
    for thickness, colour in ((2 * width + 1, (0, 0, 0)), (width, OUTLINE)):
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
        picture[cv2.dilate(boundary, brush) > 0] = colour
    return picture


_CONVERT = "pass --convert (in Python convert=True)"


def read_image(path, *, convert: bool = False, indices: bool = False) -> np.ndarray:
    """Read a picture file as uint8, `(H, W)` or `(H, W, 3)`, turned upright by its EXIF orientation.

    Parameters
    ----------
    path : str or os.PathLike
        Any still picture that Pillow reads.
    convert : bool
        Allow lossy conversions: the first frame of an animation; 16-bit and float samples stretched between their
        extremes; alpha composited over white; CMYK and other colour spaces to RGB.
    indices : bool
        Of a picture with a palette return the indices, `(H, W)`, not the colours.

    Raises
    ------
    InputError
        When the file is missing or unreadable, can't be decoded to its end, or needs a conversion without `convert`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name one picture file in it")
        # Where a warning matters, Pillow also raises an error.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            # MPO is a phone's JPEG with a preview or second view: a still picture.
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO" and not convert:
                raise InputError(f"{path} has {frames} frames; save one of them, or {_CONVERT} to take the first")
            if _is_deep_colour(picture) and not convert:
                raise InputError(f"{path} has 16-bit samples; save it as 8-bit, or {_CONVERT}")
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            if indices and picture.mode == "P":
                return np.array(picture)
            return _to_grey_or_rgb(picture, path, convert)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; check the spelling and the folder") from None
    except PermissionError:
        raise InputError(f"{path} can't be read for lack of permission; change its permissions") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture in a format that Pillow reads; save it as PNG or JPEG") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more pixels than can be decoded safely; reduce it first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path} can't be read to its end ({error}); it may be truncated; fetch it again") from None


def read_checked(path, *, convert: bool = False) -> np.ndarray:
    """`read_image` for a picture to be segmented; raises the error of `as_image` unless that accepts it."""
    pixels = read_image(path, convert=convert)
    check_image(pixels, str(path))
    return pixels


def _is_deep_colour(picture) -> bool:
    """Whether a picture not yet loaded has 16-bit colour samples, which Pillow silently truncates to 8 bits."""
    kinds = [tile[3] if isinstance(tile[3], str) else str(tile[3][0]) for tile in picture.tile if tile[3]]
    return any(";16" in kind and not kind.startswith(("I", "BGR")) for kind in kinds)  # BGR;16: 5 or 6 bits each


def _to_grey_or_rgb(picture, path: Path, convert: bool) -> np.ndarray:
    from PIL import Image

    mode, lossless = picture.mode, {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}
    has_alpha = mode in ("LA", "RGBA", "PA", "La", "RGBa") or (mode != "1" and "transparency" in picture.info)
    if mode in lossless and not has_alpha:
        return np.asarray(picture.convert(lossless[mode]))
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
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("RGB"))


def write_images(pictures: Mapping[Path, np.ndarray]) -> None:
    """Write uint8 arrays as picture files, all or none.

    `InputError` is raised when a folder is missing, a suffix names no picture format, or a file can't be written.
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
    """`write_images` for a single picture."""
    write_images({Path(path): array})


def check_parent(path: Path) -> None:
    """Raise `InputError` unless the file's folder exists."""
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into; make it first")


def check_picture(path: Path) -> None:
    """Raise `InputError` unless the file's folder exists and its suffix names a format that can be written."""
    from PIL import Image

    check_parent(path)
    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in Image.SAVE:
        raise InputError(f"the suffix of {path} names no picture format; call it {picture_name(path)}.png")


def picture_name(path: Path) -> str:
    """A stem to suggest for a picture whose suffix can't be used."""
    return path.stem if path.stem and not path.name.startswith(".") else "picture"
