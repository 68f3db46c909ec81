"""The registry: every method by name, so that a table is a loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepcv.baselines import chan_vese, grab_cut, saliency_threshold
from deepcv.images import InputError
from deepcv.segmentation import Segmentation
from deepcv.solver import Settings, deep_chan_vese


@dataclass(frozen=True)
class Method:
    """A segmentation method.

    Attributes
    ----------
    name : str
        Key in the registry and in result rows.
    title : str
        As a table or figure calls it.
    function : callable
        `function(image, hint=None, *, seed=0, device=None, **settings) -> Segmentation`.
    presets : dict of str to dict
        Named settings; "default" is always there.
    random : bool
        Whether the result depends on the seed.
    """

    name: str
    title: str
    function: Callable[..., Segmentation]
    presets: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: {"default": {}})
    random: bool = False

    def preset(self, name: str) -> dict[str, Any]:
        """The settings of a preset.

        Raises
        ------
        InputError
            When there is no such preset.
        """
        if name not in self.presets:
            raise InputError(f"{self.name} has no preset {name!r}; it has {', '.join(self.presets)}")
        return self.presets[name]


def _differences(settings: Settings) -> dict[str, Any]:
    """What a preset changes of the default."""
    default = dataclasses.asdict(Settings())
    return {name: value for name, value in dataclasses.asdict(settings).items() if value != default[name]}


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "deep-cv",
            "Deep Chan-Vese",
            deep_chan_vese,
            {"default": {}, "paper": _differences(Settings.paper()), "released": _differences(Settings.released())},
            random=True,
        ),
        Method("chan-vese", "Chan-Vese [11]", chan_vese),
        Method("grabcut", "GrabCut", grab_cut, random=True),
        Method("saliency", "Saliency [34], Otsu", saliency_threshold),
    )
}


def get_method(name: str) -> Method:
    """The method of that name.

    Raises
    ------
    InputError
        When there is none.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]
