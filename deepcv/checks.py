"""Numbers that are asked for: a sentence for each that can't be used."""

from __future__ import annotations

import math
from numbers import Integral, Real

from deepcv.errors import InputError

LARGEST_SEED = 2**31 - 1
"""OpenCV's generator takes no larger one."""


def check_whole(name: str, value, least: int, most: int | None = None) -> None:
    """Raise `InputError` unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, Integral) or value < least or (most is not None and value > most):
        upto = "" if most is None else f" and at most {most}"
        raise InputError(f"{name} is {_told(value)}; it must be a whole number of at least {least}{upto}")


def check_real(name: str, value, least: float = 0, *, above: bool = False) -> None:
    """Raise `InputError` unless `value` is a finite number of at least `least`, or `above` it."""
    if not isinstance(value, Real) or not least <= value < math.inf or (above and value == least):
        raise InputError(
            f"{name} is {_told(value)}; it must be a finite number {'above' if above else 'of at least'} {least:g}"
        )


def check_seed(seed) -> None:
    """Raise `InputError` unless every generator takes the seed."""
    check_whole("seed", seed, 0, LARGEST_SEED)


def _told(value) -> str:
    return str(value) if isinstance(value, Real) else repr(value)
