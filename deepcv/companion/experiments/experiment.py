"""The parts of an experiment: its settings, what it runs on which images, its table and plot, its claims."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self, get_type_hints

from deepcv import parallel
from deepcv.checks import Checked, Count, Seed, at_least
from deepcv.companion import compute
from deepcv.companion.claims import Claim
from deepcv.companion.compute import Measure
from deepcv.companion.items import Item, Unit
from deepcv.companion.parameters import as_entries, check_parameters
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
"""Our settings were chosen on this many images of Weizmann, the first by name; the others are reported separately."""


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of every experiment over images. Fields left at None take the profile's value.

    Where several values are asked for, a list, a single one, or a text such as "0,1" will do
    (`deepcv.companion.parameters.as_entries`).

    Attributes
    ----------
    profile : {"quick", "cpu", "paper"}
        The embedded images; real data, reduced for two cores; the paper's settings, for a GPU.
    dataset : str
        A name that `deepcv.data.load_dataset` knows.
    n_images : int
        Use only the first `n_images` images.
    size : int
        Longest side, in pixels, at which our model is solved.
    seeds : tuple of int
        Seeds of the random methods; the others run once.
    device : str
        "cpu", "cuda" …; default the GPU if there is one.
    recompute : bool
        Recompute rows that are in the store.
    given : frozenset of str
        The fields that don't come from the profile; not an argument.

    Raises
    ------
    InputError
        For an unknown profile, no seed or an empty list, or a number out of range.
    """

    profiles: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The values of fields, by profile."""

    profile: str = "quick"
    dataset: str | None = None
    n_images: Count | None = None
    size: Annotated[int, at_least(SMALLEST_SIDE)] | None = None
    seeds: tuple[Seed, ...] = (0, 1, 2)
    device: str | None = None
    recompute: bool = False
    given: frozenset[str] = field(default=frozenset(), init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.profile not in self.profiles:
            raise InputError(f"there is no profile {self.profile!r}; choose from {', '.join(self.profiles)}")
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.init}
        allowed = get_type_hints(type(self), include_extras=True)
        values = {name: as_entries(value, allowed[name]) for name, value in values.items()}
        for name, value in values.items():
            if value == () and name != "seeds":
                raise InputError(f"{name} is empty; name at least one, or leave it out")
        given = {name for name, value in values.items() if value is not None}
        values |= {name: value for name, value in self.profiles[self.profile].items() if values[name] is None}
        for name, value in (*values.items(), ("given", frozenset(given))):
            object.__setattr__(self, name, value)
        if not self.seeds:
            raise InputError("there is no seed; give at least one, or three for a useful interval")
        super().__post_init__()

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Self:
        """The settings that a notebook's parameters, or papermill's, give.

        Parameters
        ----------
        namespace : dict
            The notebook's `globals()`; the variables that have the name of a setting are read.

        Raises
        ------
        InputError
            For a parameter of papermill's that is no setting, and for what the settings refuse.
        """
        names = [each.name for each in dataclasses.fields(cls) if each.init and each.name in namespace]
        check_parameters(namespace, names)
        return cls(**{name: namespace[name] for name in names})


@dataclass(frozen=True)
class Images:
    """Images of a data set.

    Attributes
    ----------
    dataset : str
    samples : Dataset
    conditions : dict
        The other arguments of `load_dataset`; columns of the rows.
    """

    dataset: str
    samples: Dataset
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, dataset: str, **conditions) -> Images:
        """All images of a data set."""
        return cls(dataset, load_dataset(dataset, **conditions), conditions)

    def first(self, count: int | None) -> Images:
        """The first `count` images; all if None."""
        return dataclasses.replace(self, samples=self.samples[:count])

    def shown(self, names: Sequence[str] | None, count: int = 6) -> Images:
        """The images of these names, in this order; without names, `count` evenly spread ones."""
        return dataclasses.replace(self, samples=self.samples.only(names) if names else self.samples.spread(count))

    def unseen(self) -> Images:
        """Those that no setting may be chosen on (`for_choosing`)."""
        names = self.samples.names
        left_out = frozenset(for_choosing(self.dataset, names))
        return dataclasses.replace(self, samples=self.samples.only(name for name in names if name not in left_out))

    def each(self) -> list[Images]:
        """One `Images` per image."""
        return [dataclasses.replace(self, samples=self.samples[at : at + 1]) for at in range(len(self.samples))]


def for_choosing(dataset: str, names: Sequence[str]) -> Sequence[str]:
    """Those of a data set's images, sorted by name, that settings may be chosen on.

    Of Weizmann the first 20, of ECSSD 0001 to 0200, of the nuclei those at odd positions; of other data sets none.
    """
    if dataset == "weizmann":
        return names[:N_TUNING_IMAGES]
    if dataset == "ecssd":
        return [name for name in names if name <= "0200"]
    return names[::2] if dataset == "dsb2018" else ()


@dataclass(frozen=True)
class Variant:
    """A method with its settings, to be run on each image.

    Attributes
    ----------
    method, preset : str
    settings : dict
        All settings of the method.
    conditions : dict
        What distinguishes it from other variants of the method and preset; columns of the rows.
    once : bool
        Whether it runs with the first seed only, because nothing in it is random.
    """

    method: str
    preset: str
    settings: Mapping[str, Any]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False


def variant(
    name: str, our_size: int | None = None, *, conditions: Mapping[str, Any] | None = None, **changes
) -> Variant:
    """The variant of "method" or "method:preset" with changed settings; `our_size` applies to the deep model only.

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


def check_scored(name: str) -> None:
    """Raise `InputError` unless "method:preset" exists and gives a mask, or regions of which one is scored."""
    found = variant(name)
    if found.preset in get_method(found.method).several and found.settings.get("merge", True):
        raise InputError(f"{name} gives more than two regions, so there is no mask to score; leave it out")


@dataclass(frozen=True)
class Reduction:
    """How a slow method is run: changed settings, and the number of images; None for all."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    n_images: int | None = None

    def variant(self, name: str, size: int | None = None) -> Variant:
        """The variant of "method:preset" with these changes, and at this size if one is given."""
        return variant(name, **{**self.changes, **({"size": size} if size else {})})


_DIP = {"size": 96, "first_steps": 500, "second_steps": 1000, "ramp": 250}
_NARROW = {"size": 128, "width": 16}
REDUCED = {
    "deep-cv:paper": Reduction(_NARROW),
    "deep-cv:printed": Reduction(_NARROW, N_TUNING_IMAGES),
    "deep-cv:released": Reduction(_NARROW, N_TUNING_IMAGES),
    "double-dip:otsu": Reduction(_DIP),
    "double-dip": Reduction(_DIP, N_TUNING_IMAGES),
    "double-dip:textbook-filter": Reduction(_DIP, N_TUNING_IMAGES),
}
"""Slow methods on two cores: the authors' and Double-DIP's networks get smaller images, fewer channels or steps. What
size and width do to F in the paper's loop: `deepcv.companion.experiments.ladder`."""


class Group(NamedTuple):
    """Images, and the variants to run on each."""

    images: Images
    variants: Sequence[Variant]


def by_title(rows: DataFrame) -> dict[str, DataFrame]:
    """The rows of each method and preset, by title."""
    names = full_names(rows)
    return {title(name): rows[names == name] for name in names.unique()}


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper, or an experiment of our own.

    Attributes
    ----------
    name : str
        "table1"; also names its module, notebook and recorded run.
    title : str
        "Table 1"; stands before the progress bar.
    settings : type
        A subclass of `Settings`.
    groups : callable
        From settings to what is run on which images.
    summary : callable
        From rows to the table that the command line prints.
    finding : callable, optional
        From recorded rows to a sentence or two: what they show. Its page begins with it.
    plot : callable, optional
    measure : callable, optional
        A `deepcv.companion.compute.Measure`; default: score the method's mask.
    claims : tuple of Claim
        The paper's claims that it decides, each with its rule.
    cells : callable, optional
        Returns a claim for each printed number.
    rows_of : str
        The experiment whose rows it shows; default its own.
    recorded : bool
        Whether its full runs are recorded in git.
    one_by_one : bool
        Whether to compute items one by one unless workers are given, so that the seconds are comparable.
    """

    name: str
    title: str
    settings: type[Settings]
    groups: Callable[[Any], Iterable[Group]]
    summary: Callable[[DataFrame], DataFrame]
    finding: Callable[[DataFrame], str] | None = None
    plot: Callable[..., Figure] | None = None
    measure: Measure | None = None
    claims: Sequence[Claim] = ()
    cells: Callable[[], Sequence[Claim]] = tuple
    rows_of: str = ""
    recorded: bool = True
    one_by_one: bool = False

    def items(self, settings: Settings, *, device: str | None = None) -> list[Item]:
        """All items, in the order that makes an interrupted run most useful.

        Seed by seed; within a seed group by group; within a group image by image.

        Parameters
        ----------
        settings : Settings
        device : str, optional
            The kind of device, from `device_kind`; default that of this machine.
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
            {**images.conditions, **({"truth": sample.truth} if sample.truth else {}), **each.conditions},
            sample.hash,
            device,
        )
        return dataclasses.replace(item, code=compute.code_of(item, sample, self.measure))

    def compute(self, profile: str, device: str | None) -> Callable[[Unit], list[dict[str, Any]]]:
        """A function that computes a unit, in this process or another."""
        return functools.partial(compute.compute, profile=profile, device=device, measure=self.measure)

    def units(self, items: Sequence[Item], batch: int | None = None) -> list[Unit]:
        """Group items into units (`deepcv.companion.compute.units`)."""
        return compute.units(items, batch, measured=self.measure is not None)

    def run(self, settings: Settings, *, workers=None, progress: bool = True, batch: int | None = None) -> DataFrame:
        """Compute the items missing in the store and return the rows of all.

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
            One row per item, as from `deepcv.companion.store.Store.rows`.
        """
        kind = kind_at(workers, settings.device)
        workers = processes(1 if self.one_by_one and workers is None else workers, kind)
        parallel.concurrency(workers)  # refuses a wrong number before the store's folder is made
        items = self.items(settings, device=kind)
        with Store() as store:
            rows = store.complete(
                items,
                self.compute(settings.profile, settings.device),
                units=functools.partial(self.units, batch=batch),
                recompute=settings.recompute,
                workers=workers,
                progress=progress,
                description=f"{self.title}, {settings.profile}",
            )
        return rows.assign(profile=settings.profile)  # another profile may have computed a row


def kind_at(workers, device: str | None) -> str:
    """The workers' kind of device, which on a cluster may differ from this machine's."""
    return workers.submit(device_kind, device).result() if isinstance(workers, Executor) else device_kind(device)


def processes(workers, kind: str):
    """The number of workers; by default one for a GPU, which a batch keeps busy."""
    return 1 if workers is None and kind != "cpu" else workers
