"""What every experiment is: settings, items, what is measured, summary, plot, claims."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from deepcv.checks import check_seed, check_whole
from deepcv.companion import networks as _trained
from deepcv.companion.compute import compute, kind_at, placed, processes, units
from deepcv.companion.recorded import with_measured
from deepcv.companion.store import Item, Store
from deepcv.data import Sample, load_dataset
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.images import SMALLEST_SIDE
from deepcv.methods import get_method, parted
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from pandas import DataFrame


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


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is run on each image: a method with all its settings, under a name (`Item.preset`)."""

    method: str
    preset: str
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Slow:
    """How a method that takes long is run: settings that make it bearable, and on how many of the first images."""

    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    n_images: int | None = None

    def variant(self, name: str, size: int | None = None) -> Variant:
        """Of "method:preset" with these changes, at a size of its own where one is asked for."""
        return variant(name, **self.changes | ({"size": size} if size else {}))


def variant(name: str, our_size: int | None = None, **changes) -> Variant:
    """The variant of "method" or "method:preset" with changed settings; `our_size` is the deep model's alone.

    Raises
    ------
    InputError
        For an unknown method, preset or setting, or one out of range.
    """
    method, preset = parted(name)
    if our_size and method == "deep-cv":
        changes["size"] = our_size
    return Variant(method, preset, get_method(method).settings(preset, **changes))


def grid(
    experiment: str, settings: Settings, *groups: tuple[Iterable[Sample], Iterable[Variant]], seeds=None
) -> list[Item]:
    """Items for every seed, sample and variant, in the order in which an interrupted run is most useful.

    Seed by seed; within a seed the groups in their order; within a group image by image. Methods that aren't random
    have the first of `settings.seeds` only.
    """
    device = device_kind(settings.device)
    named = [
        ([(each.dataset, each.name, each.hash) for each in samples], list(variants)) for samples, variants in groups
    ]
    return [
        Item(experiment, dataset, image, each.method, each.preset, seed, each.settings, data_hash, device)
        for seed in seeds or settings.seeds
        for images, variants in named
        for dataset, image, data_hash in images
        for each in variants
        if seed == settings.seeds[0] or each.method in _trained.KINDS or get_method(each.method).random
    ]


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise, where each variant has its own number of images.

    Attributes
    ----------
    dataset : str
    variants : dict of str to Slow
        "method:preset", and how each is run.
    """

    dataset: str
    variants: dict[str, Slow]


def each_apart(settings: Settings) -> list[tuple[Sequence[Sample], list[Variant]]]:
    """Groups for `grid`: every variant of the settings' `Profile` on its number of the images."""
    profile = settings.defaults
    samples = load_dataset(settings.dataset or profile.dataset)
    return [
        (samples[: settings.n_images or how.n_images], [how.variant(name, settings.size)])
        for name, how in profile.variants.items()
    ]


def complete(
    items: list[Item], settings: Settings, *, workers, progress: bool, description: str, batch: int | None = None
) -> DataFrame:
    """The rows of the items; what the store lacks is computed. Parameters as in `deepcv.parallel.run` and `units`."""
    kind = kind_at(workers, settings.device)
    items = placed(items, kind)
    with Store() as store:
        rows = store.complete(
            items,
            functools.partial(compute, profile=settings.profile, device=settings.device),
            units=functools.partial(units, batch=batch),
            recompute=settings.recompute,
            workers=processes(workers, kind),
            progress=progress,
            description=f"{description}, {settings.profile}",
        )
    # a row of the same settings may come from another profile
    return with_measured(rows).assign(profile=settings.profile)


def interval(values) -> str:
    """95 % bootstrap interval of the mean of a series, "0.853–0.891"."""
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"


CHOSEN_ON = 20
"""Our settings were chosen on so many first images, by name, of Weizmann; the others are reported apart."""


_DIP = {"size": 96, "first_steps": 500, "second_steps": 1000, "ramp": 250}


_NARROW = {"size": 96, "width": 16}


SLOW = {
    "double-dip:otsu": Slow(_DIP),
    "double-dip": Slow(_DIP, CHOSEN_ON),
    "double-dip:textbook-filter": Slow(_DIP, CHOSEN_ON),
    "deep-cv:paper": Slow(_NARROW, CHOSEN_ON),
    "deep-cv:released": Slow(_NARROW, CHOSEN_ON),
}
"""What takes long, on two cores: the authors' and Double-DIP's networks smaller images, fewer channels or steps."""
