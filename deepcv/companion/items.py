"""What is computed: single items, and units of items computed together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from deepcv.provenance import provenance

DATA_CONDITIONS = ("split", "side", "sigma", "clipped")
"""The conditions that select the images: arguments of `deepcv.data.load_dataset`."""

OF_THE_IMAGE = (*DATA_CONDITIONS, "truth")
"""The conditions that the image decides, not the method; `truth` is `deepcv.data.Sample.truth`, left out if empty."""


def data_conditions(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The `DATA_CONDITIONS` among the conditions of an item or a row."""
    return {name: value for name, value in conditions.items() if name in DATA_CONDITIONS}


@dataclass(frozen=True)
class Item:
    """One result to compute, described by everything it depends on except the libraries.

    Attributes
    ----------
    experiment : str
        A key of `deepcv.companion.experiments.EXPERIMENTS`.
    dataset, image : str
        Names of the data set and of one of its images.
    method, preset : str
        A key of `deepcv.methods.METHODS`, and one of the method's presets.
    seed : int
    settings : dict
        All settings of the method, including the working size; plain values.
    conditions : dict
        What else the experiment varies: `sigma`, `variant`, `split` …; strings, numbers or bools. Each becomes a
        column of the rows. `DATA_CONDITIONS` select the images.
    data_hash : str
        `Sample.hash`.
    device : str
        The kind of device, from `deepcv.devices.device_kind`.
    code : str
        Hash of the meaning of the code that computes it, from `deepcv.companion.closure.code_hash`.
    """

    experiment: str
    dataset: str
    image: str
    method: str
    preset: str = "default"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    data_hash: str = ""
    device: str = "cpu"
    code: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The `DATA_CONDITIONS` among the conditions."""
        return data_conditions(self.conditions)

    @cached_property
    def key(self) -> str:
        """SHA-256, in hex, over all fields and the versions of the libraries.

        Raises
        ------
        TypeError
            If a setting or condition has no plain value.
        """
        return hashlib.sha256(as_json([self, provenance()["libraries"]]).encode()).hexdigest()

    def __str__(self) -> str:
        varied = "".join(f", {name} {value}" for name, value in self.conditions.items())
        return f"{self.dataset}/{self.image}, {self.method} ({self.preset}{varied}), seed {self.seed}"


class Unit(tuple):
    """Items that are computed together, a tuple of `Item`."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self[0]) if len(self) == 1 else f"{self[0]} and {len(self) - 1} more"


def as_json(value) -> str:
    """Canonical JSON of a value: keys sorted, no spaces.

    Raises
    ------
    TypeError
        For anything but strings, numbers, bools, None, arrays, paths, dataclasses, lists and dicts of these.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain)


def plain(value):
    """What `json` writes in place of an array, a path, a dataclass or a mapping."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} can't be stored; use numbers, strings, lists or dicts")
