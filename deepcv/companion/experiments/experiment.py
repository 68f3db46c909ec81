"""What every experiment is: its settings, what is run on which images, how that is shown, what it decides."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from deepcv.checks import check_seed, check_whole
from deepcv.companion import compute
from deepcv.companion.claims import Claim
from deepcv.companion.compute import Measure
from deepcv.companion.items import Item, Unit
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Store
from deepcv.data import Dataset, Sample, load_dataset
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.images import SMALLEST_SIDE
from deepcv.methods import get_method, split_name, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

N_TUNING_IMAGES = 20
"""Our settings were chosen on so many first images, by name, of Weizmann; the others are reported apart."""


@dataclass(frozen=True)
class Settings:
    """What every experiment over images can be asked for. What is left at None is the profile's.

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
    given : frozenset of str
        Which fields weren't left to the profile; not an argument.

    Raises
    ------
    InputError
        For an unknown profile, no seed or an empty list, or a number out of range.
    """

    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By profile, the fields that it fixes."""

    profile: str = "quick"
    dataset: str | None = None
    n_images: int | None = None
    size: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str | None = None
    recompute: bool = False
    given: frozenset[str] = field(default=frozenset(), init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.profile not in self.profiles:
            raise InputError(f"there is no profile {self.profile!r}; there are {', '.join(self.profiles)}")
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name, value in values.items():
            if value == () and name != "seeds":
                raise InputError(f"{name} is empty; name at least one, or leave it out")
        given = {name for name, value in values.items() if value is not None}
        values |= {name: value for name, value in self.profiles[self.profile].items() if values[name] is None}
        for name, value in (*values.items(), ("given", frozenset(given))):
            object.__setattr__(self, name, value)
        if self.n_images is not None:
            check_whole("n_images", self.n_images, 1)
        if self.size is not None and self.size < SMALLEST_SIDE:
            raise InputError(f"size is {self.size}; images need at least {SMALLEST_SIDE} pixels a side")
        if not self.seeds:
            raise InputError("there is no seed; give at least one, three for an interval that means something")
        for seed in self.seeds:
            check_seed(seed)


@dataclass(frozen=True)
class Images:
    """Images of a data set.

    Attributes
    ----------
    dataset : str
    samples : Dataset
    conditions : dict
        How they were asked for, arguments of `load_dataset` besides the name; columns of the rows.
    """

    dataset: str
    samples: Dataset
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, dataset: str, **conditions) -> Images:
        """All images of a data set."""
        return cls(dataset, load_dataset(dataset, **conditions), conditions)

    def first(self, count: int | None) -> Images:
        """The first `count` of them; all for None."""
        return dataclasses.replace(self, samples=self.samples[:count])

    def shown(self, names: Sequence[str] | None, count: int = 6) -> Images:
        """Those of these names, in this order, or else `count` of them, evenly spread."""
        return dataclasses.replace(self, samples=self.samples.only(names) if names else self.samples.spread(count))

    def each(self) -> list[Images]:
        """Each image by itself."""
        return [dataclasses.replace(self, samples=self.samples[at : at + 1]) for at in range(len(self.samples))]


@dataclass(frozen=True)
class Variant:
    """What is run on each image.

    Attributes
    ----------
    method, preset : str
    settings : dict
        All of the method's.
    conditions : dict
        What tells it from other variants of the method and preset; columns of the rows.
    once : bool
        Whether it is run with the first seed alone, as every method is in which nothing is random.
    """

    method: str
    preset: str
    settings: Mapping[str, Any]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False


def variant(
    name: str, our_size: int | None = None, *, conditions: Mapping[str, Any] | None = None, **changes
) -> Variant:
    """The variant of "method" or "method:preset" with changed settings; `our_size` is the deep model's alone.

    Raises
    ------
    InputError
        For an unknown method, preset or setting, or one out of range.
    """
    method, preset = split_name(name)
    if our_size and method == "deep-cv":
        changes["size"] = our_size
    found = get_method(method)
    return Variant(method, preset, found.settings(preset, **changes), conditions or {}, once=not found.random)


@dataclass(frozen=True)
class Reduction:
    """How a method that takes long is run: settings that make it bearable, and on how many of the first images."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    n_images: int | None = None

    def variant(self, name: str, size: int | None = None) -> Variant:
        """Of "method:preset" with these changes, at a size of its own where one is asked for."""
        return variant(name, **{**self.changes, **({"size": size} if size else {})})


_DIP = {"size": 96, "first_steps": 500, "second_steps": 1000, "ramp": 250}
_NARROW = {"size": 96, "width": 16}
REDUCED = {
    "double-dip:otsu": Reduction(_DIP),
    "double-dip": Reduction(_DIP, N_TUNING_IMAGES),
    "double-dip:textbook-filter": Reduction(_DIP, N_TUNING_IMAGES),
    "deep-cv:paper": Reduction(_NARROW, N_TUNING_IMAGES),
    "deep-cv:released": Reduction(_NARROW, N_TUNING_IMAGES),
}
"""What takes long, on two cores: the authors' and Double-DIP's networks get smaller images, fewer channels or steps."""


class Group(NamedTuple):
    """Images, and the variants that are run on each of them."""

    images: Images
    variants: Sequence[Variant]


def each_apart(dataset: str, n_images: int | None, reduced: Mapping[str, Reduction], size: int | None) -> list[Group]:
    """A group for each "method:preset", on its own number of images unless `n_images` says another."""
    images = Images.load(dataset)
    return [Group(images.first(n_images or how.n_images), [how.variant(name, size)]) for name, how in reduced.items()]


def by_title(rows: DataFrame) -> dict[str, DataFrame]:
    """The rows of each method and preset, by its title in tables."""
    names = full_names(rows)
    return {title(name): rows[names == name] for name in names.unique()}


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper, or an experiment of our own.

    Attributes
    ----------
    name : str
        "table1": of its module, its notebook, its recorded run.
    title : str
        "Table 1"; what its progress bar says.
    settings : type
        What it can be asked for, a `Settings`.
    groups : callable
        From settings, what is run on which images.
    summary : callable
        From rows to the table that the command line prints.
    plot : callable, optional
    measure : callable, optional
        As `deepcv.companion.compute.Measure`; without it the method's mask is scored, nothing more.
    claims : tuple of Claim
        What the paper claims here, each with the rule that decides it.
    cells : callable, optional
        Gives a claim for each number that the paper prints here.
    rows_of : str
        The experiment whose rows it shows; default its own.
    recorded : bool
        Whether full runs of it are recorded in git.
    one_by_one : bool
        Whether items are computed one after the other unless workers are asked for, so that seconds mean something.
    """

    name: str
    title: str
    settings: type[Settings]
    groups: Callable[[Any], Iterable[Group]]
    summary: Callable[[DataFrame], DataFrame]
    plot: Callable[..., Figure] | None = None
    measure: Measure | None = None
    claims: Sequence[Claim] = ()
    cells: Callable[[], Sequence[Claim]] = tuple
    rows_of: str = ""
    recorded: bool = True
    one_by_one: bool = False

    def items(self, settings: Settings, *, device: str | None = None) -> list[Item]:
        """All results that are needed, in the order in which an interrupted run is most useful.

        Seed by seed; within a seed the groups in their order; within a group image by image.

        Parameters
        ----------
        settings : Settings
        device : str, optional
            The kind of device, from `device_kind`, where that is not this machine's.
        """
        device = device or device_kind(settings.device)
        first = [
            (each, self._item(images, sample, each, settings.seeds[0], device))
            for images, variants in self.groups(settings)
            for sample in images.samples
            for each in variants
        ]
        return [
            dataclasses.replace(item, seed=seed)
            for seed in settings.seeds
            for each, item in first
            if seed == settings.seeds[0] or not each.once
        ]

    def _item(self, images: Images, sample: Sample, each: Variant, seed: int, device: str) -> Item:
        item = Item(
            self.rows_of or self.name,
            images.dataset,
            sample.name,
            each.method,
            each.preset,
            seed,
            each.settings,
            {**images.conditions, **each.conditions},
            sample.hash,
            device,
        )
        return dataclasses.replace(item, code=compute.code_of(item, sample, self.measure))

    def compute(self, profile: str, device: str | None) -> Callable[[Unit], list[dict[str, Any]]]:
        """What computes a unit of its items, in this process or another."""
        return functools.partial(compute.compute, profile=profile, device=device, measure=self.measure)

    def units(self, items: Sequence[Item], batch: int | None = None) -> list[Unit]:
        """Its items put together that are computed at once (`deepcv.companion.compute.units`)."""
        return compute.units(items, batch, measured=self.measure is not None)

    def run(self, settings: Settings, *, workers=None, progress: bool = True, batch: int | None = None) -> DataFrame:
        """Compute what the store misses and return the rows of all items.

        Parameters
        ----------
        settings : Settings
        workers : int or concurrent.futures.Executor, optional
            As in `deepcv.parallel.run`.
        progress : bool
        batch : int, optional
            As in `units`.

        Returns
        -------
        pandas.DataFrame
            A row per image, method, preset, condition and seed; the columns are told in `deepcv.companion.store`.
        """
        kind = kind_at(workers, settings.device)
        with Store() as store:
            rows = store.complete(
                self.items(settings, device=kind),
                self.compute(settings.profile, settings.device),
                units=functools.partial(self.units, batch=batch),
                recompute=settings.recompute,
                workers=processes(1 if self.one_by_one and workers is None else workers, kind),
                progress=progress,
                description=f"{self.title}, {settings.profile}",
            )
        return rows.assign(profile=settings.profile)  # a row of the same settings may come from another profile


def kind_at(workers, device: str | None) -> str:
    """The kind of device that the workers have: on a cluster theirs, not this machine's."""
    return workers.submit(device_kind, device).result() if isinstance(workers, Executor) else device_kind(device)


def processes(workers, kind: str):
    """How many workers, where nobody has said it: one for a GPU, which a batch keeps busy."""
    return 1 if workers is None and kind != "cpu" else workers
