"""Filling the recorded runs with what is missing from them.

An item is missing from a recorded run if the run has no row of its identity with its settings and its image. A setting
missing from a recorded row counts as the preset's value: the code that made the row didn't have it yet. A recorded row
counts as "code changed since" if the meaning of the code that computes it has changed.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcv import parallel
from deepcv.companion import recorded, timings
from deepcv.companion.experiments.experiment import Experiment, kind_at, processes
from deepcv.companion.items import OF_THE_IMAGE, Item, Unit, as_json
from deepcv.companion.networks import is_trained
from deepcv.companion.store import Store, root
from deepcv.errors import InputError
from deepcv.methods import METHODS

if TYPE_CHECKING:
    from pandas import DataFrame

_MERGING = 5  # seconds reserved at the end for merging
_MERGED_EVERY = 300  # seconds
_CACHED = 1e-3  # a hint that took fewer seconds came from memory


# -- what is missing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """What is missing from an experiment's recorded run.

    Attributes
    ----------
    experiment : Experiment
    items : list of Item
        All items of the run.
    missing, outdated : set of str
        Keys of the items that aren't recorded, and of those recorded whose code changed since.
    """

    experiment: Experiment
    items: list[Item]
    missing: set[str]
    outdated: set[str]

    def to_do(self, *, outdated: bool = False) -> list[Item]:
        """The items to compute: the missing ones, then, if asked for, those whose code changed."""
        keys = (self.missing, self.outdated) if outdated else (self.missing,)
        return [item for wanted in keys for item in self.items if item.key in wanted]


def profile_for(device: str | None, workers=None) -> str:
    """The profile for the device: `"paper"` on a GPU, otherwise `"cpu"`."""
    return "cpu" if kind_at(workers, device) == "cpu" else "paper"


def find_gap(experiment: Experiment, *, profile: str, device: str | None = None, workers=None, into=None) -> Gap:
    """Compare an experiment's items with its recorded run in the results folder.

    Parameters
    ----------
    experiment : Experiment
    profile : str
    device, workers
        Where the items would be computed, as in `fill`.
    into : path, optional
        Another folder of recorded runs, whose rows count too.
    """
    items = experiment.items(experiment.settings(profile=profile), device=kind_at(workers, device))
    present: dict[tuple, str] = {}
    for folder in filter(None, (root() / "recorded", into)):
        for found, row in recorded_items(experiment.name, folder):
            if row["profile"] == profile:
                present[_fingerprint(found)] = found.code
    codes = {item.key: (item.code, present.get(_fingerprint(item))) for item in items}
    missing = {key for key, (_, then) in codes.items() if then is None}
    outdated = {key for key, (now, then) in codes.items() if then not in (None, now)}
    return Gap(experiment, items, missing, outdated)


def recorded_items(name: str, folder=None) -> Iterator[tuple[Item, dict[str, Any]]]:
    """The items of a recorded run, each with its row and `note`; `data_hash` is cut to the recorded digits."""
    rows, described = recorded.recorded(name, folder)
    types = {kind.__name__: kind for kind in (str, bool, int, float)}
    conditions = {each: types[kind] for each, kind in described.get("conditions", {}).items()}
    for row in rows.to_dict("records"):
        run = described["runs"][row["run"]]
        given = {each: kind(row[each]) for each, kind in conditions.items() if _is_given(row[each])}
        dataset, image, method, preset, seed = (row[each] for each in ("dataset", "image", "method", "preset", "seed"))
        yield (
            Item(
                name,
                dataset,
                image,
                method,
                preset,
                seed,
                run["settings"],
                given,
                row["data"],
                run["device"],
                run["code"],
            ),
            row | {"note": run.get("note", "")},
        )


def _is_given(value) -> bool:
    return value != "" and value == value  # not NaN


def complete_settings(item: Item) -> dict[str, Any]:
    """The item's settings, completed from its preset."""
    return _merged(_preset(item.method, item.preset), item.settings)


@functools.cache
def _preset(method: str, preset: str) -> dict[str, Any]:
    return METHODS[method].settings(preset)


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    inner = {name: _merged(defaults.get(name) or {}, each) for name, each in given.items() if isinstance(each, Mapping)}
    return {**defaults, **given, **inner}


def _fingerprint(item: Item) -> tuple:
    """What a recorded row and its item have in common."""
    settings = complete_settings(item)
    settings |= dict.fromkeys(METHODS[item.method].idle(settings))  # these have no effect
    given = frozenset((name, value) for name, value in item.conditions.items() if _is_given(value))
    return item.dataset, item.image, item.method, item.preset, item.seed, given, item.data_hash[:8], as_json(settings)


# -- how long it takes -------------------------------------------------------------------------------------------------


class Pace:
    """Seconds per item here: the median over rows of its method, preset and conditions.

    Rows of the store and those learned later override recorded ones, which another machine may have computed.
    """

    def __init__(self, store: Store, names: Iterable[str], *, profile: str, device: str):
        self._recorded: dict[tuple, list[float]] = defaultdict(list)
        self._here: dict[tuple, list[float]] = defaultdict(list)
        self._hints: list[float] = []
        for name in names:
            for item, row in recorded_items(name):
                if (row["profile"], item.device) == (profile, device):
                    self._recorded[_kind(item)].append(row["seconds"])
        for row in store.rows().to_dict("records"):
            if (row["profile"], row["device"]) == (profile, device):
                item = Item("", "", "", row["method"], row["preset"], conditions=row["conditions"])
                self.learn([item], [row])

    def learn(self, items: Iterable[Item], rows: Iterable[Mapping[str, Any]]) -> None:
        """Learn from the rows of a unit."""
        for item, row in zip(items, rows, strict=True):
            self._here[_kind(item)].append(row["seconds"])
            if row.get("hint_seconds", 0) > _CACHED:
                self._hints.append(row["hint_seconds"])

    @property
    def hint(self) -> float:
        """Seconds per hint; 0 while unknown."""
        return statistics.median(self._hints) if self._hints else 0.0

    def of(self, item: Item) -> float:
        """Seconds for an item whose hint is known; NaN if unknown, as that of a network that isn't trained yet is."""
        if METHODS[item.method].trained and not is_trained(item):
            return math.nan
        known = self._here.get(_kind(item)) or self._recorded.get(_kind(item))
        return statistics.median(known) if known else math.nan


def _kind(item: Item) -> tuple:
    conditions = frozenset((name, value) for name, value in item.conditions.items() if name not in OF_THE_IMAGE)
    return item.method, item.preset, conditions


def listing(gaps: Sequence[Gap], *, profile: str, device: str | None = None, workers=None) -> DataFrame:
    """What is recorded and what is missing, one row per experiment; computes nothing.

    Returns
    -------
    pandas.DataFrame
        Indexed by `experiment` and `profile`: `recorded`; of these, `code changed since`; `missing`; and the `minutes`
        for these, NaN if unknown. A hint counts once per image.
    """
    import pandas as pd

    kind = kind_at(workers, device)
    with Store() as store:
        pace = Pace(store, [gap.experiment.name for gap in gaps], profile=profile, device=kind)
    table, hinted = {}, set()
    for gap in gaps:
        at_once = parallel.concurrency(_workers(gap.experiment, workers, kind))
        minutes = 0.0
        for item in gap.to_do():
            image = (item.dataset, *item.data.items(), item.image)
            minutes += (pace.of(item) / at_once + (0.0 if image in hinted else pace.hint)) / 60
            hinted.add(image)
        table[gap.experiment.name, profile] = {
            "recorded": len(gap.items) - len(gap.missing),
            "code changed since": len(gap.outdated),
            "missing": len(gap.missing),
            "minutes": minutes,
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["experiment", "profile"])


def _workers(experiment: Experiment, workers, kind: str):
    return processes(1 if experiment.one_by_one and workers is None else workers, kind)


# -- filling -----------------------------------------------------------------------------------------------------------


def fill(
    gaps: Sequence[Gap],
    *,
    profile: str,
    device: str | None = None,
    until: float = math.inf,
    workers=None,
    into=None,
    outdated: bool = False,
    progress: bool = True,
    report: Callable[[str], Any] = print,
) -> None:
    """Compute what is missing from recorded runs, as far as time allows, and merge it into them.

    An item is started only if it fits into the time left (`Pace`), or if its time is unknown. Items in progress when
    the time is up are dropped (on Windows they are finished). Finished rows are merged every few minutes, at the end,
    after Ctrl-C and if an item fails; the next call continues from there.

    Parameters
    ----------
    gaps : sequence of Gap
        In the order in which to fill them.
    profile : str
        The profile of the gaps.
    device : str, optional
        "cpu", "cuda" …
    until : float
        When to end, on the clock of `time.monotonic`.
    workers, progress
        As in `deepcv.parallel.run`.
    into : path, optional
        The folder to write to; default `results/recorded/`.
    outdated : bool
        Whether to recompute rows whose code changed since, after the missing ones.
    report : callable
        Receives one sentence per run.
    """
    to_do = [(gap.experiment, items) for gap in gaps if (items := gap.to_do(outdated=outdated))]
    if not to_do:
        return report("nothing is missing")
    end = until - _MERGING
    with Store() as store:
        pace = Pace(store, [experiment.name for experiment, _ in to_do], profile=profile, device=to_do[0][1][0].device)
        try:
            for experiment, items in to_do:
                if (merged := time.monotonic()) > end:
                    break
                units = _in_time(experiment.units(store.missing(items)), pace, end)
                options: dict[str, Any] = {"progress": progress, "description": f"{experiment.title}, {profile}"}
                options["workers"] = _workers(experiment, workers, items[0].device)
                filling = store.fill(units, experiment.compute(profile, device), **options)
                with _stopped_at(end), contextlib.closing(filling) as finished:
                    for unit, found in finished:
                        pace.learn(unit, found)
                        if time.monotonic() > merged + _MERGED_EVERY:
                            _merge(store, experiment.name, items, profile, into)
                            merged = time.monotonic()
        finally:
            for experiment, items in to_do:
                report(_merge(store, experiment.name, items, profile, into))


def _in_time(units: Iterable[Unit], pace: Pace, until: float) -> Iterator[Unit]:
    """The units that fit into the time left, decided when a worker is free for the next one."""
    for unit in units:
        needed = sum(map(pace.of, unit)) + len(unit) * pace.hint
        left = until - time.monotonic()
        if left > 0 and not needed > left:  # an unknown time, NaN, fits
            yield unit


def _merge(store: Store, name: str, items: Sequence[Item], profile: str, into) -> str:
    rows = store.rows(items).assign(profile=profile)  # the store may have them from another profile
    if rows.empty:
        return f"{name}: nothing new, {len(items)} left to compute"
    path = recorded.record(rows, name, folder=into)
    return f"{name}: {len(rows)} rows merged into {path}, {len(items) - len(rows)} left to compute"


class _TimeIsOver(BaseException):
    """Raised wherever the main thread is; not an `Exception`, which something there might catch."""


@contextlib.contextmanager
def _stopped_at(moment: float) -> Iterator[None]:
    """Leave the block at this moment, whatever is running in it."""
    main = threading.current_thread() is threading.main_thread()
    if math.isinf(moment) or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, min(max(moment - time.monotonic(), 1e-3), threading.TIMEOUT_MAX))
    try:
        yield
    except _TimeIsOver:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def merge(source, names: Sequence[str] = (), *, into=None, report: Callable[[str], Any] = print) -> None:
    """Merge the recorded runs of another folder into ours; of two rows of one identity the later one stays.

    Parameters
    ----------
    source : path
    names : sequence of str
        Which runs; default all in the folder.
    into : path, optional
        The folder to merge into; default `results/recorded/`.
    report : callable
        Receives one sentence per run.

    Raises
    ------
    InputError
        If there is no recorded run, or one can't be read.
    """
    names = names or sorted({path.stem for path in Path(source).glob("*.csv")} - {*timings.NAMES})
    if not names:
        raise InputError(f"there is no recorded run in {source}; name a folder that --into wrote")
    for name in names:
        counts = recorded.merge(source, name, folder=into)
        report(f"{name}: " + ", ".join(f"{count} rows {what}" for what, count in counts.items()))
