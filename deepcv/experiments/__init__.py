"""A module for each table and figure: `Settings` says what to run, `run` gives rows, `summary` and `plot` show them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from deepcv.checks import check_seed, check_whole
from deepcv.images import SMALLEST_SIDE, InputError


@dataclass(frozen=True)
class Settings:
    """What every experiment over images can be asked for. A field left at None is the profile's.

    Attributes
    ----------
    profile : {"quick", "cpu", "paper"}
        The embedded images; real data at a size two cores can bear; the paper's setting, for a GPU.
    dataset : str
        A name that `deepcv.data.load_dataset` knows.
    n_images : int
        Only the first so many images.
    size : int
        Longest side, in pixels, at which our model is solved.
    seeds : tuple of int
        Of the random methods; the others run once.
    device : str
        "cpu", "cuda" …; default the GPU when there is one.
    recompute : bool
        Compute rows again that are in the store.

    Raises
    ------
    InputError
        For an unknown profile, no seed or an empty list, or a number out of range.
    """

    profiles: ClassVar[Mapping[str, Any]] = {}

    profile: str = "quick"
    dataset: str | None = None
    n_images: int | None = None
    size: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str | None = None
    recompute: bool = False

    def __post_init__(self):
        if self.profile not in self.profiles:
            raise InputError(f"there is no profile {self.profile!r}; there are {', '.join(self.profiles)}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # as a notebook's parameters come
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if value == () and field.name != "seeds":
                raise InputError(f"{field.name} is empty; name at least one, or leave it out")
        if self.n_images is not None:
            check_whole("n_images", self.n_images, 1)
        if self.size is not None and self.size < SMALLEST_SIDE:
            raise InputError(f"size is {self.size}; images need at least {SMALLEST_SIDE} pixels a side")
        if not self.seeds:
            raise InputError("there is no seed; give at least one, three for an interval that means something")
        for seed in self.seeds:
            check_seed(seed)

    @property
    def defaults(self):
        """The profile."""
        return self.profiles[self.profile]
