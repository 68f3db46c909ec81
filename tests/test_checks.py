"""Annotations say what a setting may be, and errors repeat it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pytest

from deepcv.checks import Checked, Count, NonNegative, Positive, Seed, above, at_least, between, check, resolve
from deepcv.errors import InputError


@dataclass(frozen=True)
class Settings(Checked):
    count: Count = 3
    even: Annotated[int, between(2, 256)] = 2
    weight: NonNegative = 0.0
    rate: Positive = 0.1
    growth: Annotated[float, at_least(1)] = 1.1
    step: Literal["exact", "gradient"] = "exact"
    kind: Literal["a", "b"] | None = None
    size: Annotated[int, at_least(32)] | None = None
    widths: tuple[Annotated[float, above(0)], ...] = (1.0, 2.0)
    seed: Seed = 0
    seeds: tuple[Seed, ...] | None = None
    name: str = "x"
    flag: bool = False

    def conflicts(self):
        if self.even % 2:
            yield f"even is {self.even}; take an even number"


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"count": 0}, "count is 0; it must be a whole number of at least 1"),
        ({"count": 2.0}, "count is 2.0; it must be a whole number of at least 1"),
        ({"count": True}, "count is True; it must be a whole number of at least 1"),
        ({"count": "3"}, "count is '3'; it must be a whole number of at least 1"),
        ({"count": None}, "count is None; it must be a whole number of at least 1"),
        ({"even": 257}, "even is 257; it must be a whole number from 2 to 256"),
        ({"even": 3}, "even is 3; take an even number"),
        ({"weight": -1}, "weight is -1; it must be a finite number of at least 0"),
        ({"weight": np.float64("nan")}, "weight is nan; it must be a finite number of at least 0"),
        ({"weight": float("inf")}, "weight is inf; it must be a finite number of at least 0"),
        ({"rate": 0}, "rate is 0; it must be a finite number above 0"),
        ({"growth": 0.9}, "growth is 0.9; it must be a finite number of at least 1"),
        ({"step": "newton"}, "step is 'newton'; it must be 'exact' or 'gradient'"),
        ({"kind": "c"}, "kind is 'c'; it must be 'a' or 'b', or None"),
        ({"size": 31}, "size is 31; it must be a whole number of at least 32, or None"),
        ({"widths": ()}, "widths is (); it must be one or more in a tuple, each a finite number above 0"),
        ({"widths": (1, 0)}, "an entry of widths is 0; it must be a finite number above 0"),
        ({"seeds": (1, -1)}, "an entry of seeds is -1; it must be a whole number from 0 to 2147483647"),
        (
            {"seeds": ()},
            "seeds is (); it must be one or more in a tuple, each a whole number from 0 to 2147483647, or None",
        ),
        ({"seed": 2**31}, "seed is 2147483648; it must be a whole number from 0 to 2147483647"),
        ({"name": 3}, "name is 3; it must be a string"),
        ({"flag": 1}, "flag is 1; it must be True or False"),
        ({"wieght": 1}, "there is no setting 'wieght'; there are count, even, flag"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(given, sentence):
    with pytest.raises(InputError) as raised:
        resolve(Settings, given)
    assert str(raised.value).startswith(sentence)


def test_what_is_allowed_passes_unchanged():
    given = {"count": np.int64(1), "weight": 0, "rate": np.float32(0.5), "kind": "b", "size": 32, "widths": (1, 2)}
    assert dataclasses.asdict(resolve(Settings, given)) == dataclasses.asdict(Settings()) | given


def test_arguments_are_checked_against_the_annotations_of_their_function():
    def method(image, *, spacing: Annotated[int, at_least(4)] = 8, start: Literal["circles"] = "circles"):
        return image

    check(method, {"spacing": 4, "start": "circles"})
    with pytest.raises(InputError, match="spacing is 3; it must be a whole number of at least 4"):
        check(method, {"spacing": 3})
