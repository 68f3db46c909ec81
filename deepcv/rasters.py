"""Picture files whose samples Pillow would cut or miss: TIFF, DICOM, and deep PNG, PPM and JPEG 2000."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepcv.errors import InputError
from deepcv.levels import CONVERT, Samples

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said once, by us

MOST_PIXELS = 2**28
"""Pixels of the largest picture that is read: a square of 16384, a third more than a phone's 200 megapixels."""

_REDUCED_OR_MASK = 1 | 4  # bits of TIFF's tag NewSubfileType
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CAMERA = 0, 1, 2, (32803, 34892)


class Frame(int):
    """Index of the frame, from 0, that Pillow is to read."""


def check_pixels(name: str, count: int) -> None:
    """Raise `InputError` for a picture with too many pixels to be decoded safely."""
    if count > MOST_PIXELS:
        raise InputError(
            f"{name} has {count / 1e6:.0f} million pixels, more than the {MOST_PIXELS / 1e6:.0f} million that can be "
            "decoded safely; reduce it first"
        )


def _shared(make: Callable[[], Any]) -> Callable[[], Any]:
    """A context for several threads at once, which changes what is global: the first enters it, the last leaves it."""
    lock, users, context = threading.Lock(), 0, None

    @contextlib.contextmanager
    def within():
        nonlocal users, context
        with lock:
            if not users:
                context = make()
                context.__enter__()
            users += 1
        try:
            yield
        finally:
            with lock:
                users -= 1
                if not users:
                    context.__exit__(None, None, None)

    return within


_without_warnings = _shared(lambda: warnings.catch_warnings(action="ignore"))
_opening = threading.Lock()


@contextlib.contextmanager
def opened(path: Path):
    """A picture opened by Pillow, not yet decoded; `MOST_PIXELS` stands in place of Pillow's own limit."""
    from PIL import Image

    # Where a warning matters, Pillow also raises an error.
    with _without_warnings():
        with _opening:  # the limit is a global one
            before = Image.MAX_IMAGE_PIXELS
            try:
                Image.MAX_IMAGE_PIXELS = None
                picture = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = before
        with picture:
            check_pixels(str(path), math.prod(picture.size))
            yield picture


def samples_of(picture) -> np.ndarray:
    """`numpy.asarray` of a picture of Pillow's, in bands: at once it would take twice the memory of the result."""
    width, height = picture.size
    rows = max(1, 2**24 // width)
    bands = (np.asarray(picture.crop((0, top, width, min(top + rows, height)))) for top in range(0, height, rows))
    first = next(bands)
    if len(first) == height:
        return first
    samples = np.empty((height, *first.shape[1:]), first.dtype)
    for number, band in enumerate(itertools.chain([first], bands)):
        samples[number * rows : number * rows + len(band)] = band
    return samples


def chosen_page(name: str, pages: int, page: int | None, convert: bool, notes: list[str], *, kind: str = "page") -> int:
    """Index, from 0, of the page that the user means; the first with `convert`, which a note says.

    Raises
    ------
    InputError
        If there are several and none was chosen, or there is no such page.
    """
    have = f"{pages} {kind}{'s' * (pages > 1)}"
    if page is None and pages > 1:
        if not convert:
            raise InputError(
                f"{name} has {have}; choose one with --page 1 to {pages} (in Python page=), "
                f"or pass {CONVERT} to take the first"
            )
        notes.append(f"the first of {have} is taken; --page chooses one")
    if page is not None and not 1 <= page <= pages:
        raise InputError(f"{name} has {have} and no page {page}; choose one from 1 to {pages}")
    return (page or 1) - 1


# -- TIFF --------------------------------------------------------------------------------------------------------------


def is_tiff(head: bytes) -> bool:
    """Whether a file that starts so is a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff(path: Path, page: int | None, convert: bool, notes: list[str]) -> tuple[Samples, int] | Frame:
    """Samples of a page and its EXIF orientation; of palettes and other colour spaces of 8 bits, the frame to read.

    Pages are all planes but channels: slices, times, positions, and pages of the same kind. Thumbnails, masks and lower
    resolutions are none.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return _tiff_page(file, path, page, convert, notes)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path} doesn't fit in memory; reduce it first") from None
    except Exception as error:  # a damaged header leads anywhere
        raise InputError(f"{path} can't be read to its end ({_first_line(error)}); it may be truncated") from None


def _tiff_page(file, path: Path, page: int | None, convert: bool, notes: list[str]) -> tuple[Samples, int] | Frame:
    stacks = _stacks(file, path)
    counts = [math.prod(length for _, length in _page_axes(stack)) for stack in stacks]
    index = chosen_page(str(path), sum(counts), page, convert, notes)
    place = 0
    while index >= counts[place]:
        index, place = index - counts[place], place + 1
    stack = stacks[place]
    first = stack.keyframe
    photometric, deep = int(first.photometric), np.dtype(first.dtype).itemsize > 1
    if photometric in _CAMERA:
        raise InputError(f"{path} holds a camera's raw samples; develop it and save it as TIFF or PNG")
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or first.bitspersample in (2, 4):
        if deep:
            raise InputError(f"{path} has {first.photometric.name} samples deeper than 8 bits; save it as RGB")
        return Frame(stack.pages[index].index)
    values = _page_of(stack, index, path)
    extra = tuple(map(int, first.extrasamples))
    alpha = {1: "premultiplied", 2: "straight"}.get(extra[-1], "") if extra and "S" in _axes(stack) else ""
    orientation = first.tags.get("Orientation")
    found = Samples(values, photometric == _RGB, alpha, photometric == _WHITE_IS_ZERO, missing=_no_data(first))
    return found, int(orientation.value) if orientation else 1


def _no_data(page) -> float | None:
    """The value of pixels without data, as GDAL writes it into a GeoTIFF."""
    tag = page.tags.get("GDAL_NODATA")
    with contextlib.suppress(AttributeError, ValueError):
        return float(tag.value.strip(" \0"))
    return None


def _stacks(file, path: Path) -> list:
    """The series of pages that show the picture itself, not a thumbnail, mask or lower resolution of it."""
    found = [each for each in file.series if len(each.keyframe.shape) >= 2 and math.prod(each.keyframe.shape)]
    if not found:
        raise InputError(f"{path} says nothing of its width and height; its header is broken or cut off; save it anew")
    found = [each for each in found if not int(each.keyframe.subfiletype) & _REDUCED_OR_MASK] or found
    largest = max(map(_area, found))
    check_pixels(str(path), largest)
    return [each for each in found if 3 * _area(each) > largest]


def _area(stack) -> int:
    return stack.keyframe.imagewidth * stack.keyframe.imagelength


def _axes(stack) -> str:
    """One letter per axis: Y, X, S for samples of a pixel, C for channels, and others."""
    planes = '"truncated": true' in (stack.keyframe.description or "") and stack.axes[0] == "S"
    return "I" + stack.axes[1:] if planes else stack.axes  # several planes in one directory, not one planar picture


def _page_axes(stack) -> list[tuple[int, int]]:
    """Place and length of the axes that number the pages."""
    axes = _axes(stack)
    within = "YXS" if "S" in axes else "YXC"
    return [(place, stack.shape[place]) for place, axis in enumerate(axes) if axis not in within]


def _page_of(stack, index: int, path: Path) -> np.ndarray:
    """The samples of one page, `(H, W)` or `(H, W, C)`."""
    paged = _page_axes(stack)
    where: list[Any] = [slice(None)] * len(stack.shape)
    for (place, _), chosen in zip(paged, np.unravel_index(index, [n for _, n in paged]) if paged else (), strict=True):
        where[place] = int(chosen)
    leading = stack.shape[: len(stack.shape) - len(stack.keyframe.shape)]
    if stack.dataoffset is not None or len(stack.pages) != math.prod(leading):
        values = stack.asarray(out="memmap" if stack.dataoffset is not None else None)[tuple(where)]
    else:  # only the pages needed are decoded
        numbers = np.arange(math.prod(leading)).reshape(leading)[tuple(where[: len(leading)])]
        planes = [_decoded(stack.pages[number], path) for number in numbers.ravel()]
        first = planes[0]
        values = first if len(planes) == 1 else np.stack(planes)  # which would copy it
        values = values.reshape(*numbers.shape, *first.shape)[(..., *where[len(leading) :])]
    left = [axis for axis, chosen in zip(_axes(stack), where, strict=True) if isinstance(chosen, slice)]
    order = [left.index(axis) for axis in ("Y", "X", "S", "C") if axis in left]
    return np.transpose(values, order)


def _decoded(page, path: Path) -> np.ndarray:
    """The samples of one of the file's pages, by tifffile, or where it lacks the codec by OpenCV or Pillow."""
    if page is None:
        raise InputError(f"{path} lacks this page, which is in another file; put all files of the stack in one folder")
    try:
        return page.asarray()
    except Exception as error:  # of several types
        if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
            raise
    values = _by_pillow(page, path) if page.dtype in (np.uint8, bool) else _by_opencv(page, path)
    if values is None or values.shape != page.shape or values.dtype != page.dtype:
        raise InputError(
            f"{path} is compressed ({page.compression.name}) in a way that needs imagecodecs, or truncated; install "
            "the extra `formats`, or imagecodecs, or save it without compression"
        )
    return values


def _by_opencv(page, path: Path) -> np.ndarray | None:
    import cv2

    with _quiet_opencv():
        read, found = cv2.imreadmulti(str(path), start=page.index, count=1, flags=cv2.IMREAD_UNCHANGED)
    return _from_bgr(found[0]) if read and found else None


@_shared
@contextlib.contextmanager
def _quiet_opencv():
    """OpenCV without messages of its own on stderr."""
    import cv2

    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _by_pillow(page, path: Path) -> np.ndarray | None:
    from PIL import UnidentifiedImageError

    try:
        with opened(path) as picture:
            picture.seek(page.index)
            if picture.mode not in ("1", "L", "RGB", "RGBA"):
                return None
            values = samples_of(picture)
    except (UnidentifiedImageError, NotImplementedError):
        return None
    except OSError as error:
        if str(error).startswith("decoder error"):  # libtiff's, which lacks the compression, too
            return None
        raise
    return ~values if int(page.photometric) == _WHITE_IS_ZERO else values  # Pillow has turned it


def _from_bgr(values: np.ndarray) -> np.ndarray:
    if values.ndim == 3 and values.shape[2] in (3, 4):
        return values[..., [2, 1, 0, *range(3, values.shape[2])]]
    return values


# -- deep PNG, PPM, JPEG 2000 ------------------------------------------------------------------------------------------


def is_cut_by_pillow(picture, head: bytes) -> bool:
    """Whether a picture that Pillow has opened, not loaded, has deep colour samples that it would cut to 8 bits."""
    if picture.format == "JPEG2000":
        return len(picture.getbands()) > 1 and _jpeg_2000_bits(head) > 8
    for tile in picture.tile:
        options: Sequence = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if tile[0].startswith("ppm") and len(picture.getbands()) > 1:
            return isinstance(options[-1], int) and options[-1] > 255
        kind = str(options[0]) if options else ""
        if ";16" in kind and not kind.startswith(("I", "BGR")):  # BGR;16: 5 or 6 bits each
            return True
    return False


def _jpeg_2000_bits(head: bytes) -> int:
    start = head.find(b"\xff\x4f\xff\x51")  # the codestream's size segment
    if start >= 0 and len(head) > start + 42:
        return (head[start + 42] & 0x7F) + 1
    start = head.find(b"ihdr")
    return (head[start + 14] & 0x7F) + 1 if start >= 0 and len(head) > start + 14 else 8


def is_float_rgb(head: bytes) -> bool:
    """Whether a file that starts so is a Radiance picture or a PFM in colour, which OpenCV alone reads."""
    return head.startswith((b"#?RADIANCE", b"#?RGBE", b"PF\n", b"PF "))


def read_deep(path: Path) -> Samples | None:
    """The samples of a deep picture by OpenCV; None if it can't decode it either."""
    import cv2

    with _quiet_opencv():
        values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype == np.uint8:
        return None
    values = _from_bgr(values)
    return Samples(values, values.ndim == 3, "straight" if values.ndim == 3 and values.shape[2] in (2, 4) else "")


# -- DICOM -------------------------------------------------------------------------------------------------------------


def is_dicom(head: bytes) -> bool:
    """Whether a file that starts so is a DICOM file."""
    return head[128:132] == b"DICM"


def read_dicom(path: Path, page: int | None, convert: bool, notes: list[str]) -> Samples:
    """A frame of a DICOM file in the units of its rescaling, with its first window, if it has one."""
    try:
        from pydicom import dcmread
    except ImportError:
        raise InputError(f"{path} is a DICOM file; to read it install the extra `formats`, or pydicom") from None
    try:
        with _without_warnings():  # of values that break the standard's rules
            data = dcmread(path)
            if "PixelData" not in data:
                raise InputError(f"{path} is a DICOM file without a picture; name another file of the series")
            check_pixels(str(path), int(data.Rows) * int(data.Columns))
            frames = int(data.get("NumberOfFrames") or 1)
            index = chosen_page(str(path), frames, page, convert, notes, kind="frame")
            return _dicom_frame(data, _dicom_pixels(data, path)[index] if frames > 1 else _dicom_pixels(data, path))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} is a DICOM file that can't be decoded ({_first_line(error)}); save it as PNG"
        ) from None


def _dicom_pixels(data, path: Path) -> np.ndarray:
    try:
        return data.pixel_array
    except RuntimeError:  # no decoder, or none for this many bits
        kind = data.file_meta.TransferSyntaxUID.name
        raise InputError(
            f"{path} is a DICOM file compressed by {kind}, which needs another decoder; "
            "install pylibjpeg with its plugins, or python-gdcm, or save it as PNG"
        ) from None


def _dicom_frame(data, values: np.ndarray) -> Samples:
    """Stored values with the file's slope, intercept, palette and window."""
    kind = str(data.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(values, data)
        return Samples(colours, colour=True, window=(0, np.iinfo(colours.dtype).max))
    if values.ndim == 3:  # pydicom 3 has turned YBR to RGB
        return Samples(values, colour=True)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    found = Samples(values * np.float32(slope) + np.float32(intercept), white_is_zero=kind == "MONOCHROME1")
    if (slope, intercept) == (1, 0):
        found = replace(found, values=values)
    centre, width = (_first(data.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 1:
        bits = int(data.BitsStored)
        if bits < 8:
            return replace(found, window=(0, 2**bits - 1))
        unit = data.get("RescaleType") or ("HU" if data.get("Modality") == "CT" else "")
        what = f"{bits}-bit {data.get('Modality') or ''} samples".replace("  ", " ") + f" in {unit}" * bool(unit)
        return replace(found, kind=f"{what} and no window of its own")
    half = (width - 1) / 2  # PS3.3, C.11.2.1.2
    return replace(found, window=(centre - 0.5 - half, centre - 0.5 + half))


def _first(value) -> float | None:
    """The first of one or several numbers."""
    if value is None or (isinstance(value, str) and not value):
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
