"""What is computed: an item, and items that are computed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Item:
    """One thing to compute, and all that its result depends on but the libraries.

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
        Every setting that the method runs with, the working size among them; plain values.
    conditions : dict
        What the experiment varies besides: each is a column of the rows, `sigma`, `variant`, `split` …; plain values.
        `split`, `side`, `sigma` and `clipped` are arguments of `deepcv.data.load_dataset`.
    data_hash : str
        `Sample.hash`.
    device : str
        The kind of device, from `deepcv.devices.device_kind`.
    code : str
        Hash of the meaning of the code that computes it, from `deepcv.provenance.code_hash`.
    """

    experiment: str
    dataset: str
    image: str
    method: str
    preset: str = "default"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    data_hash: str = ""
    device: str = "cpu"
    code: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """Which images: the arguments of `deepcv.data.load_dataset` besides the name."""
        return {name: value for name, value in self.conditions.items() if name in DATA_CONDITIONS}

    def __str__(self) -> str:
        varied = "".join(f", {name} {value}" for name, value in self.conditions.items())
        return f"{self.dataset}/{self.image}, {self.method} ({self.preset}{varied}), seed {self.seed}"


DATA_CONDITIONS = ("split", "side", "sigma", "clipped")
"""The conditions that say which images, not what is done to them."""


class Unit(tuple):
    """Items that are computed together, a tuple of `Item`."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self[0]) if len(self) == 1 else f"{self[0]} and {len(self) - 1} more"
