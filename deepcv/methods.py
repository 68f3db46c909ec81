"""The registry: every method by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from deepcv.amortized import model as amortized
from deepcv.amortized import pretrained, redo, training
from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.settings import PRESETS as TRAINED_PRESETS
from deepcv.amortized.settings import Settings as AmortizedSettings
from deepcv.amortized.settings import Trained, resolve_trained
from deepcv.baselines import appearance, double_dip
from deepcv.baselines.chan_vese import chan_vese
from deepcv.baselines.feature_clustering import feature_clustering
from deepcv.baselines.grab_cut import grab_cut
from deepcv.baselines.inpainting_error import inpainting_error_maximization, sized
from deepcv.baselines.normalized_cuts import normalized_cuts
from deepcv.baselines.saliency_threshold import saliency_threshold
from deepcv.baselines.statistical import statistical
from deepcv.baselines.vese_chan import vese_chan
from deepcv.checks import check, check_known, resolve
from deepcv.errors import InputError
from deepcv.model.segment import deep_chan_vese, deep_chan_vese_batch
from deepcv.model.settings import PRESETS, Settings, idle
from deepcv.segmentation import Segmentation


def split_name(name: str) -> tuple[str, str]:
    """Method and preset of "method" or "method:preset"; the method as the registry spells it (`get_method`)."""
    method, _, preset = name.partition(":")
    return _registered(method), preset or "default"


def with_preset(name: str, preset: str = "default") -> tuple[Method, str]:
    """The method, and the preset that is named in "method:preset" or beside it.

    Raises
    ------
    InputError
        For an unknown method (`get_method`), or two presets that differ.
    """
    if not isinstance(name, str) or ":" not in name:
        return get_method(name), preset
    name, _, own = name.partition(":")
    if preset not in ("default", own):
        raise InputError(f"{name}:{own} names the preset {own}, and preset is {preset!r}; leave one of them out")
    return get_method(name), own


def title(name: str) -> str:
    """Title of "method:preset" in tables and figures."""
    method, preset = split_name(name)
    found, default = get_method(method).title, preset == "default"
    if default and method not in ("deep-cv", "amortized"):
        return found
    return f"{found}, {'our default' if default else _PRESET_TITLES.get(preset, preset)}"


_PRESET_TITLES = {
    "paper": "paper's settings",
    "printed": "to the letter",
    "released": "released settings",
    "exact": "exact steps",
    "textbook": "disk and grey",
    "regions": "best region",
    "textbook-filter": "textbook filter",
    "otsu": "surer hint",
    "gradient": "gradient step",
    "auto-encoder": "with a decoder",
    "grabcut": "GrabCut's energy",
}


_COMMON = {"image", "hint", "seeds", "seed", "device"}
"""Parameters of every method's function."""


@dataclass(frozen=True)
class Method:
    """A segmentation method."""

    name: str
    """Key in the registry and in result rows."""
    title: str
    """Name in tables and figures."""
    function: Callable[..., Segmentation]
    """`function(image, hint=None, *, seed=0, device=None, **settings)`, each setting a keyword of its own unless the
    method has `resolve`. A CPU-only method ignores the device, a
    deterministic one the seed. A trained method applies the network that comes with the package. An unknown setting
    raises `InputError` where the method has `resolve`, otherwise Python's TypeError."""
    presets: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """Named settings, as changes to the default; "default" is added."""
    random: bool = False
    """Whether the result depends on the seed."""
    several: tuple[str, ...] = ()
    """Presets that give more than two regions, hence no mask."""
    takes_hint: Callable[[Mapping[str, Any]], bool] = lambda settings: True
    """Whether the method uses a hint, given all its settings."""
    idle: Callable[[Mapping[str, Any]], set[str]] = lambda settings: set()
    """Names of the settings without effect, given all of them."""
    batch: Callable[..., list[Segmentation]] | None = None
    """`batch(images, hints, *, seeds, device=None, **settings)`: many images at once, for a GPU."""
    resolve: Callable[[Mapping[str, Any]], Any] | None = None
    """Returns all settings, a dataclass, from those that differ from the default. Without it the settings are the
    function's keywords."""
    sized: Callable[[tuple[int, int]], float] = max
    """Of an image's `(H, W)` the length in pixels that the setting `size` bounds."""
    network: Callable[[Any, int], Any] | None = None
    """`network(settings, seed)`: the untrained networks of a method that is trained on a collection of images
    (`deepcv.amortized.training`)."""

    def __post_init__(self):
        object.__setattr__(self, "presets", {"default": {}, **self.presets})
        if self.resolve:
            return
        parameters = inspect.signature(self.function).parameters.values()
        first = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        several = any(each.kind == each.VAR_POSITIONAL for each in parameters)
        if first != ["image", "hint"] and not several:
            raise InputError(
                f"the function of {self.name} begins with {', '.join(first) or 'nothing'}; it is to begin with "
                "image, hint=None, and settings stand after `*`, by name"
            )

    @property
    def trained(self) -> bool:
        """Whether the method is a network trained on a collection."""
        return self.network is not None

    @property
    def code(self) -> tuple[Callable, ...]:
        """The functions that compute results, from which `deepcv.companion.closure.code_hash` starts."""
        if self.network:
            return self.network, training.train, Segmenter
        return (self.function, self.batch) if self.batch else (self.function,)

    def settings(self, preset: str = "default", **changes) -> dict[str, Any]:
        """All settings: the defaults, overridden by the preset, overridden by `changes`.

        A trained method has those of `deepcv.amortized.settings.Trained`; `changes` may also name settings of its
        training.

        Raises
        ------
        InputError
            For an unknown preset or setting, or a value out of range.
        """
        if preset not in self.presets:
            raise InputError(f"{self.name} has no preset {preset!r}; it has {', '.join(self.presets)}")
        given = {**self.presets[preset], **changes}
        if self.resolve:
            return dataclasses.asdict(self.resolve(given))
        parameters = inspect.signature(self.function).parameters
        known = {
            name: each.default
            for name, each in parameters.items()
            if name not in _COMMON and each.kind == each.KEYWORD_ONLY
        }
        for unknown in (name for name in given if name not in known):
            raise InputError(f"{self.name} has no setting {unknown!r}; it has {', '.join(known) or 'none'}")
        check(self.function, given)
        return known | given

    def has_setting(self, name: str) -> bool:
        """Whether the method has a setting of that name."""
        return name in self.settings()


def _differences(settings: Any) -> dict[str, Any]:
    """The fields in which settings differ from their defaults."""
    default = dataclasses.asdict(type(settings)())
    return {name: value for name, value in dataclasses.asdict(settings).items() if value != default[name]}


def _resolve_amortized(given: Mapping[str, Any]) -> Trained:
    found = resolve_trained(AmortizedSettings, given)
    training: Any = found.training
    if training.hint:
        get_method(training.hint)
    return found


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "deep-cv",
            "Deep Chan-Vese",
            deep_chan_vese,
            PRESETS,
            random=True,
            takes_hint=lambda settings: settings.get("start", "hint") == "hint",
            idle=idle,
            batch=deep_chan_vese_batch,
            resolve=partial(resolve, Settings),
        ),
        Method(
            "chan-vese",
            "Chan-Vese [11]",
            chan_vese,
            {"exact": {"solver": "exact", "nu": 1.0}, "textbook": {"start": "disk", "grey": True}},
            takes_hint=lambda settings: settings["start"] == "hint",
        ),
        Method("statistical", "Statistical model [14]", statistical, {"diagonal": {"covariance": "diagonal"}}),
        Method(
            "normalized-cuts",
            "Normalized cuts [41]",
            normalized_cuts,
            {"regions": {"merge": False}},
            several=("regions",),
            takes_hint=lambda settings: settings["merge"],
        ),
        Method(
            "vese-chan",
            "Multi-phase Chan-Vese [46]",
            vese_chan,
            {"clusters": {"start": "clusters"}},
            random=True,
            several=("default", "clusters"),
            takes_hint=lambda settings: False,
        ),
        Method(
            "double-dip",
            "Double-DIP [18]",
            double_dip.double_dip,
            {
                "textbook-filter": {"guided_filter": "textbook"},
                "otsu": {"sureness": "otsu", "guided_filter": "textbook"},
            },
            random=True,
            batch=double_dip.double_dip_batch,
            resolve=partial(resolve, double_dip.Settings),
        ),
        Method("grabcut", "GrabCut", grab_cut, random=True),
        Method("hint-cut", "Hint prior and cut", appearance.hint_cut),
        Method("ridge", "Ridge regression", appearance.ridge),
        Method("mixture", "Colour mixture [17]", appearance.mixture, {"grabcut": appearance.GRABCUT}, random=True),
        Method("forest", "Random forest", appearance.forest, random=True),
        Method(
            "feature-clustering",
            "Feature clustering",
            feature_clustering,
            {"regions": {"merge": False}},
            random=True,
            several=("regions",),
            takes_hint=lambda settings: settings["merge"],
        ),
        Method(
            "iem",
            "IEM",
            inpainting_error_maximization,
            {"hint": {"start": "hint"}},
            takes_hint=lambda settings: settings["start"] == "hint",
            sized=sized,
        ),
        Method("saliency", "Saliency [34], Otsu", saliency_threshold),
        Method(
            "amortized",
            "Algorithm 3",
            partial(pretrained.segment, "amortized"),
            {name: _differences(make()) for name, make in TRAINED_PRESETS.items()},
            random=True,
            takes_hint=lambda settings: False,
            resolve=_resolve_amortized,
            network=amortized.Model,
        ),
        Method(
            "redo",
            "ReDO [13]",
            partial(pretrained.segment, "redo"),
            random=True,
            takes_hint=lambda settings: False,
            resolve=partial(resolve_trained, redo.Settings),
            network=redo.Model,
        ),
    )
}


def get_method(name: str) -> Method:
    """The method of that name, or of its function's: "grabcut" or "grab_cut", "deep-cv" or "deep_chan_vese".

    Case, hyphens and underscores don't count.

    Raises
    ------
    InputError
        If there is none.
    """
    if not isinstance(name, str):
        raise InputError(f"method is {name!r}; give a name, one of {', '.join(METHODS)}")
    registered = _registered(name)
    check_known("method", registered, METHODS)
    return METHODS[registered]


def _registered(name: str) -> str:
    """The registry's spelling of a method's name; an unknown name as it is."""

    def plain(spelling: str) -> str:
        return spelling.lower().replace("-", "").replace("_", "")

    for key, method in METHODS.items():
        if plain(name) in (plain(key), plain(getattr(method.function, "__name__", key))):
            return key
    return name
