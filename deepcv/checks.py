"""Checks of settings and arguments: an annotation says what a value may be.

    nu: Annotated[float, at_least(0)] = 300.0
    u_step: Literal["exact", "gradient"] = "exact"
    seeds: tuple[Seed, ...] = (0, 1, 2)

`int` means a whole number and `float` a finite one, neither a bool; a tuple needs at least one entry.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from deepcv.errors import InputError


class Bounds(NamedTuple):
    """What an annotation may add to a number's type."""

    hold: Callable[[float], bool]
    words: str


def at_least(least: float) -> Bounds:
    """No less than `least`."""
    return Bounds(lambda value: value >= least, f"of at least {least}")


def above(limit: float) -> Bounds:
    """More than `limit`."""
    return Bounds(lambda value: value > limit, f"above {limit}")


def at_most(most: float) -> Bounds:
    """No more than `most`."""
    return Bounds(lambda value: value <= most, f"and at most {most:g}")


def between(least: float, most: float) -> Bounds:
    """From `least` to `most`, both allowed."""
    return Bounds(lambda value: least <= value <= most, f"from {least} to {most}")


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, above(0), at_most(1e9)]  # beyond, squares and sums leave single precision
NonNegative = Annotated[float, at_least(0), at_most(1e9)]
Rate = Annotated[float, above(0), at_most(10)]  # Adam moves a parameter by about this in a step
Width = Annotated[int, between(1, 1024)]
Seed = Annotated[int, between(0, 2**31 - 1)]  # the largest that OpenCV's generator takes


class Checked:
    """Base of dataclasses of settings: each field is checked against its annotation."""

    def __post_init__(self):
        check(type(self), vars(self))
        for conflict in self.conflicts():
            raise InputError(conflict)

    def conflicts(self) -> Iterable[str]:
        """Sentences about conflicting settings, for `InputError`."""
        return ()


def check(owner: type | Callable, values: Mapping[str, Any]) -> None:
    """Raise `InputError` for the first value that its annotation excludes.

    `values` are by name; the annotations are those of a class's fields or a function's parameters.
    """
    for name, allowed in _annotations(owner).items():
        if name in values:
            check_value(name, values[name], allowed)


def checked_settings(method: Callable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Check a method's keyword arguments (`check`) and return all but seed and device.

    `arguments` are its `locals()`.
    """
    names = [*(method.__kwdefaults__ or ())]
    check(method, {name: arguments[name] for name in names if name != "device"})
    return {name: arguments[name] for name in names if name not in ("seed", "device")}


def as_python(value):
    """Python's own number for one of NumPy's, which not every library takes; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def check_value(name: str, value: Any, allowed: Any) -> None:
    """Raise `InputError` unless an annotation allows the value; for a tuple it names the entry."""
    if _allows(allowed, value):
        return
    for kind in (allowed, *get_args(allowed)):
        if get_origin(kind) is tuple and isinstance(value, tuple):
            for entry in value:
                check_value(f"an entry of {name}", entry, get_args(kind)[0])
    shown = str(value) if isinstance(value, Real) else repr(value)
    raise InputError(f"{name} is {shown}; it must be {_in_words(allowed)}")


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise `InputError`, naming the alternatives, unless `name` is one of the known names of its kind."""
    if name not in known:
        raise InputError(f"there is no {kind} {name!r}; there are {', '.join(known)}")


T = TypeVar("T")


def resolve(settings: type[T], given: Mapping[str, Any]) -> T:
    """The dataclass of settings with the given ones in place of defaults; names and values are checked."""
    known = sorted(inspect.signature(settings).parameters)
    for name in given:
        check_known("setting", name, known)
    return settings(**given)


@functools.cache
def _annotations(owner: type | Callable) -> dict[str, Any]:
    return get_type_hints(owner, include_extras=True)


def _allows(allowed: Any, value: Any) -> bool:
    kind, inner = get_origin(allowed), get_args(allowed)
    if kind is Annotated:
        return _allows(inner[0], value) and all(bounds.hold(value) for bounds in inner[1:])
    if kind in (Union, UnionType):
        return any(_allows(each, value) for each in inner)
    if kind is Literal:
        return value in inner
    if kind is tuple:
        return isinstance(value, tuple) and bool(value) and all(_allows(inner[0], each) for each in value)
    if allowed in (int, float):
        number = isinstance(value, Integral if allowed is int else Real) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return isinstance(value, kind or allowed)


def _in_words(allowed: Any) -> str:
    words = _alternatives(allowed)
    if words[-1] == "None" and len(words) > 1:
        return f"{_joined(words[:-1])}, or None"
    return _joined(words)


def _joined(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _alternatives(allowed: Any) -> list[str]:
    kind, inner = get_origin(allowed), get_args(allowed)
    if kind is Annotated:
        return [" ".join((_in_words(inner[0]), *(bounds.words for bounds in inner[1:])))]
    if kind in (Union, UnionType):
        return [words for each in inner for words in _alternatives(each)]
    if kind is Literal:
        return [repr(each) for each in inner]
    if kind is tuple:
        return [f"one or more in a tuple, each {_in_words(inner[0])}"]
    return [_WORDS.get(allowed) or str(allowed)]


_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a string",
    type(None): "None",
    dict: "a dictionary",
}
