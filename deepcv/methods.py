"""The registry: every method by name, so that a table is a loop."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepcv.baselines import double_dip
from deepcv.baselines.chan_vese import chan_vese
from deepcv.baselines.grab_cut import grab_cut
from deepcv.baselines.inpainting_error import inpainting_error_maximization
from deepcv.baselines.normalized_cuts import normalized_cuts
from deepcv.baselines.saliency_threshold import saliency_threshold
from deepcv.baselines.statistical import statistical
from deepcv.baselines.vese_chan import vese_chan
from deepcv.errors import InputError
from deepcv.model.segment import deep_chan_vese, deep_chan_vese_batch
from deepcv.model.settings import Settings, idle, resolve
from deepcv.segmentation import Segmentation


def parted(name: str) -> tuple[str, str]:
    """Method and preset of "method" or "method:preset"."""
    method, _, preset = name.partition(":")
    return method, preset or "default"


def title(name: str) -> str:
    """How the table calls "method:preset"."""
    method, preset = parted(name)
    named = get_method(method).title
    return named if preset == "default" else f"{named}, {_PRESET_TITLES.get(preset, preset)}"


_PRESET_TITLES = {
    "paper": "paper's settings",
    "released": "released settings",
    "exact": "exact steps",
    "regions": "best region",
    "textbook-filter": "textbook filter",
    "otsu": "surer hint",
    "gradient": "Algorithm 2",
}


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
        `function(image, hint=None, *, seed=0, device=None, **settings) -> Segmentation`. Those that only run on the CPU
        ignore the device, those in which nothing is random the seed. An unknown setting is an `InputError` where the
        method has `resolve`, otherwise Python's TypeError.
    presets : dict of str to dict
        Named settings; "default" is always there.
    random : bool
        Whether the result depends on the seed.
    several : tuple of str
        The presets that give more than two regions, and so no mask.
    takes_hint : callable
        Whether the method looks at a hint, given all its settings.
    idle : callable
        Names of the settings, of all of them, that have no effect beside the others.
    batch : callable, optional
        `batch(images, hints, *, seeds, device=None, **settings)`, many images at once, where a GPU gains by it.
    resolve : callable, optional
        Gives all settings, a dataclass, for what differs from the default; without it they are the function's keywords.
    """

    name: str
    title: str
    function: Callable[..., Segmentation]
    presets: dict[str, dict[str, Any]] = dataclasses.field(default_factory=lambda: {"default": {}})
    random: bool = False
    several: tuple[str, ...] = ()
    takes_hint: Callable[[dict[str, Any]], bool] = lambda settings: True
    idle: Callable[[dict[str, Any]], set[str]] = lambda settings: set()
    batch: Callable[..., list[Segmentation]] | None = None
    resolve: Callable[[dict[str, Any]], Any] | None = None

    def settings(self, preset: str = "default", **changes) -> dict[str, Any]:
        """Every setting the method runs with: its defaults, the preset's in their place, and `changes` in theirs.

        Raises
        ------
        InputError
            When there is no such preset or setting, or a value is out of range.
        """
        if preset not in self.presets:
            raise InputError(f"{self.name} has no preset {preset!r}; it has {', '.join(self.presets)}")
        given = {**self.presets[preset], **changes}
        if self.resolve:
            return dataclasses.asdict(self.resolve(given))
        parameters = inspect.signature(self.function).parameters
        known = {name: each.default for name, each in parameters.items() if name not in _COMMON}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise InputError(f"{self.name} has no setting {unknown[0]!r}; it has {', '.join(known) or 'none'}")
        return known | given

    def has_setting(self, name: str) -> bool:
        """Whether the method has a setting of that name."""
        return name in self.settings()


_COMMON = {"image", "hint", "seed", "device"}


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
            takes_hint=lambda settings: settings["phases"] == 2,
            idle=idle,
            batch=deep_chan_vese_batch,
            resolve=resolve,
        ),
        Method("chan-vese", "Chan-Vese [11]", chan_vese, {"default": {}, "exact": {"solver": "exact", "nu": 1.0}}),
        Method(
            "statistical",
            "Statistical model [14]",
            statistical,
            {"default": {}, "diagonal": {"covariance": "diagonal"}},
        ),
        Method(
            "normalized-cuts",
            "Normalized cuts [41]",
            normalized_cuts,
            {"default": {}, "regions": {"merge": False}},
            several=("regions",),
            takes_hint=lambda settings: settings["merge"],
        ),
        Method(
            "vese-chan",
            "Multi-phase Chan-Vese [46]",
            vese_chan,
            {"default": {}, "clusters": {"start": "clusters"}},
            random=True,
            several=("default", "clusters"),
            takes_hint=lambda settings: False,
        ),
        Method(
            "double-dip",
            "Double-DIP [18]",
            double_dip.double_dip,
            {
                "default": {},
                "textbook-filter": {"guided_filter": "textbook"},
                "otsu": {"confidence": "otsu", "guided_filter": "textbook"},
            },
            random=True,
            batch=double_dip.double_dip_batch,
            resolve=double_dip.resolve,
        ),
        Method("grabcut", "GrabCut", grab_cut, random=True),
        Method(
            "iem",
            "IEM",
            inpainting_error_maximization,
            {"default": {}, "hint": {"start": "hint"}},
            takes_hint=lambda settings: settings["start"] == "hint",
        ),
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
