"""From samples as a file stores them, of any depth and number of channels, to a picture of 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepcv.errors import InputError
from deepcv.images import resize, to_uint8, working_shape

PERCENTILES = (0.1, 99.9)
"""Percentiles of samples deeper than 8 bits that become black and white: a few hot pixels don't eat the contrast."""

_BLOCK = 2**22  # samples at once: percentiles of more are those of every n-th row and column


@dataclass(frozen=True)
class Samples:
    """A picture, or one page of a stack, with its samples as stored.

    Attributes
    ----------
    values : numpy.ndarray, `(H, W)` or `(H, W, C)`
        Whole or floating numbers of any size.
    colour : bool
        Whether the first three channels are red, green and blue.
    alpha : {"", "straight", "premultiplied"}
        What the last channel is, unless a channel like the others.
    white_is_zero : bool
        Whether small values are bright.
    window : tuple of float, optional
        The values that the file itself declares black and white.
    kind : str
        What the samples are, for sentences, if it isn't said by their type.
    missing : float, optional
        The value, maybe NaN, of samples that were not measured, as satellite images have beside their strip.
    """

    values: np.ndarray
    colour: bool = False
    alpha: str = ""
    white_is_zero: bool = False
    window: tuple[float, float] | None = None
    kind: str = ""
    missing: float | None = None


def eight_bits(
    found: Samples,
    name: str,
    *,
    convert: bool,
    channel: int | None,
    percentiles: tuple[float, float] | None,
    longest: int | None,
) -> tuple[np.ndarray, list[str]]:
    """A picture as uint8, `(H, W)` or `(H, W, 3)`, at most `longest` pixels long, and sentences on what was done.

    Raises
    ------
    InputError
        For samples that aren't numbers of one picture, or need a choice that was not made (`deepcv.read_image`).
    """
    values, notes = found.values, list[str]()
    if values.dtype.kind not in "buif":
        raise InputError(f"{name} has {values.dtype} samples; save their real part or magnitude as float32")
    values, alpha = _channels(found, name, convert, channel, notes)
    values, missing = _without_missing(_native(values), found, name, notes)
    if longest is not None:
        values, alpha = shrunk(values, longest), None if alpha is None else shrunk(alpha, longest)
        missing = None if missing is None else shrunk(missing, longest)
    if not np.isfinite([values.min(), values.max()]).all():
        raise InputError(f"{name} has NaN or infinite samples; replace them first, for example with numpy.nan_to_num")
    pixels = _stretched(values, missing, found, name, convert, percentiles, notes)
    if found.white_is_zero:
        pixels = 255 - pixels
    if alpha is not None:
        share = (alpha / _most(found.values.dtype)).clip(0, 1).astype(np.float32)
        share = share if pixels.ndim == 2 else share[..., None]
        over = pixels * (share if found.alpha == "straight" else np.float32(1)) + 255 * (1 - share)
        pixels = np.rint(over.clip(0, 255)).astype(np.uint8)
    return np.ascontiguousarray(pixels), notes


def _channels(found: Samples, name: str, convert: bool, channel: int | None, notes: list[str]):
    """The channels to show, `(H, W)` or `(H, W, 3)`, and alpha `(H, W)` where it isn't opaque."""
    values, alpha = np.atleast_3d(found.values), None
    if found.alpha:
        values, alpha = values[..., :-1], values[..., -1]
        alpha = None if alpha.min() >= _most(alpha.dtype) else alpha
    count = values.shape[2]
    if channel is not None:
        if not 1 <= channel <= count:
            raise InputError(f"{name} has {channels(count)} and no channel {channel}; choose one from 1 to {count}")
        return values[..., channel - 1], None
    if alpha is not None and not convert:
        raise InputError(f"{name} has an alpha channel; save it as grey or RGB, or pass {CONVERT}")
    if count == 1:
        return values[..., 0], alpha
    if count == 3:
        return values, alpha
    if not convert:
        raise InputError(
            f"{name} has {channels(count)}; choose one with --channel 1 to {count} (in Python channel=), "
            f"or pass {CONVERT} to take {'the first three' if count > 3 else 'both'} as red, green and blue"
        )
    notes.append(f"of {channels(count)}, 1 to {min(count, 3)} are taken as red, green and blue; --channel chooses one")
    if count == 2:
        return np.concatenate([values, np.full_like(values[..., :1], values.min())], axis=2), alpha
    return values[..., :3], alpha


CONVERT = "--convert (in Python convert=True)"


def channels(count: int) -> str:
    """A number of channels in words."""
    return f"{count} channel{'s' * (count > 1)}"


def _native(values: np.ndarray) -> np.ndarray:
    """Bits and signed 8-bit samples as uint8, in their order; others in this machine's order of bytes."""
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype == np.int8:
        return (values.astype(np.int16) + 128).astype(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _most(dtype: np.dtype) -> float:
    """The value of full opacity."""
    return 1 if dtype.kind in "bf" else np.iinfo(dtype).max


def _without_missing(values: np.ndarray, found: Samples, name: str, notes: list[str]):
    """Values with the least that was measured where none was, and 1 there in a uint8 `(H, W)`, None if none is missing.

    So missing parts are black, and where they lie along the sides `deepcv.frames` leaves them out.
    """
    missing = _missing(values, found.missing)
    if missing is None or not missing.any():
        return values, None
    if missing.all():
        raise InputError(
            f"{name} has no data: all its samples are {found.missing:g}, which the file says stands for none"
        )
    notes.append(f"{missing.mean():.1%} of the pixels have no data ({found.missing:g}) and are shown black")
    measured, shown = values[~missing], values.copy()
    shown[missing] = measured.max() if found.white_is_zero else measured.min()
    return shown, missing.astype(np.uint8)


def _missing(values: np.ndarray, value: float | None) -> np.ndarray | None:
    """Where all channels have the value that stands for no data, `(H, W)`; None if samples of this type can't."""
    if value is None:
        return None
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        if not (value.is_integer() and limits.min <= value <= limits.max):
            return None
    found = np.isnan(values) if np.isnan(value) else values == values.dtype.type(value)
    return found if found.ndim == 2 else found.all(axis=2)


def _stretched(
    values: np.ndarray,
    missing: np.ndarray | None,
    found: Samples,
    name: str,
    convert: bool,
    percentiles: tuple[float, float] | None,
    notes: list[str],
) -> np.ndarray:
    """Samples as uint8: those of 8 bits as they are, others with their percentiles, or the file's window, as limits."""
    if percentiles is None and found.window:
        low, high = found.window
        return scaled(values, low, high)
    if percentiles is None and values.dtype == np.uint8:
        return values
    kind = found.kind or f"{'float' if values.dtype.kind == 'f' else f'{8 * values.dtype.itemsize}-bit'} samples"
    if percentiles is None and not convert:
        low_percent, high_percent = PERCENTILES
        raise InputError(
            f"{name} has {kind}; save it as 8-bit, or pass --range {low_percent},{high_percent} (in Python "
            f"percentiles=) or {CONVERT}: these percentiles become black and white"
        )
    chosen = percentiles or PERCENTILES
    step = max(1, round((values.size / _BLOCK) ** 0.5))
    measured = values[::step, ::step]
    if missing is not None and not missing[::step, ::step].all():
        measured = measured[missing[::step, ::step] == 0]
    low, high = np.percentile(measured.astype(float), chosen)
    if low >= high:  # nearly all of it has one value
        low, high = float(values.min()), float(values.max())
    notes.append(f"{kind}, {low:.6g} shown as black and {high:.6g} as white; --range changes this")
    return scaled(values, low, high)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as uint8 0..255; those beyond are clipped."""
    pixels = np.zeros(values.shape, np.uint8)
    if high > low:
        rows = max(1, _BLOCK * len(values) // values.size)
        for first in range(0, len(values), rows):
            block = np.s_[first : first + rows]
            pixels[block] = to_uint8((values[block].astype(np.float64) - low) / (high - low))
    return pixels


def shrunk(values: np.ndarray, longest: int) -> np.ndarray:
    """A picture with any kind of samples reduced to a longer side of at most `longest` pixels, by area averaging."""
    height, width = values.shape[:2]
    if max(height, width) <= longest:
        return values
    shape = tuple(map(min, working_shape((height, width), longest), (height, width)))
    if values.dtype not in (np.uint8, np.uint16, np.int16, np.float32, np.float64):  # what OpenCV averages
        values = values.astype(np.float32)
    return resize(np.ascontiguousarray(values), shape)
