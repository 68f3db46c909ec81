"""Filling the recorded runs: what they lack, how long that takes, and as much of it as a given time allows.

A recorded run holds a row for each profile, data set, image, method, preset and seed. An item is lacking when there is
no such row with its settings and its image; it is then computed into the store and merged into `results/recorded/` from
there. A row with the same settings that older code or other libraries made is not lacking but outdated; a setting that
the older code didn't know counts as left at its default, or the preset's.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcv.companion import compute as _scored
from deepcv.companion import recorded, timings
from deepcv.companion import store as results
from deepcv.companion.recorded import record
from deepcv.companion.recorded import recorded as recorded_run
from deepcv.companion.store import Item, Store, Unit
from deepcv.errors import InputError
from deepcv.methods import METHODS
from deepcv.parallel import concurrency
from deepcv.provenance import MADE_BY, provenance

if TYPE_CHECKING:
    from pandas import DataFrame

WANTED = (
    "table1",
    "figure08",
    "figure01",
    "figure07",
    "figure04",
    "table2",
    "table3",
    "figure10a",
    "figure06",
    "ambiguities",
    "readings",
    "choices",
    "figure09",
    "theory",
    "figure10b",
)
"""The experiments whose full runs are recorded, most wanted first."""


_MERGING = 5  # seconds kept at the end, to write what was computed


_CACHED = 1e-3  # a hint that takes fewer seconds was at hand


@dataclass(frozen=True)
class Gap:
    """What a recorded run lacks.

    Attributes
    ----------
    name : str
        Of the experiment.
    items : list of Item
        All that belongs into the run, in the experiment's order.
    lacking, outdated : set of str
        Keys of the items that are not recorded, and of those that other code or libraries made.
    """

    name: str
    items: list[Item]
    lacking: set[str]
    outdated: set[str]

    def to_do(self, *, outdated: bool = False) -> list[Item]:
        """What to compute: the lacking items, after them the outdated ones if they are wanted, too."""
        keys = (self.lacking, self.outdated) if outdated else (self.lacking,)
        return [item for wanted in keys for item in self.items if item.key in wanted]


class Pace:
    """How long an item takes here: medians over rows of the same method and preset.

    Rows of this code count before older ones, and what is learnt on the way counts with them.

    Parameters
    ----------
    store : Store
    names : sequence of str
        The recorded runs to learn from, too.
    profile, device : str
        Only rows of this profile and kind of device.
    """

    def __init__(self, store: Store, names: Sequence[str], *, profile: str, device: str):
        self._before: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._now: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._hints: list[float] = []
        for name in names:
            rows, described = recorded_run(name)
            here = {digest for digest, run in described.get("runs", {}).items() if run["device"] == device}
            for row in rows[(rows["profile"] == profile) & rows["run"].isin(here)].itertuples():
                self._before[row.method, row.preset].append(row.seconds)
        for row in store.rows(outdated=True, profile=profile, device=device).itertuples():
            self._before[row.method, row.preset].append(row.seconds)
        for row in store.rows(profile=profile, device=device).itertuples():
            self._learn(row.method, row.preset, row.seconds, row.extra)

    def learn(self, unit: Unit, found: Iterable[dict[str, Any]]) -> None:
        """Take in what `Store.fill` gave."""
        for item, row in zip(unit, found, strict=True):
            self._learn(item.method, item.preset, row["seconds"], row["extra"])

    def _learn(self, method: str, preset: str, seconds: float, extra: dict[str, Any]) -> None:
        self._now[method, preset].append(seconds)
        if extra.get("hint_seconds", 0) > _CACHED:
            self._hints.append(extra["hint_seconds"])

    @property
    def hint(self) -> float:
        """Seconds to find a hint; 0 as long as none was seen."""
        return statistics.median(self._hints) if self._hints else 0.0

    def of(self, item: Item) -> float:
        """Seconds for an item that has its hint; NaN when nothing is known."""
        kind = (item.method, item.preset)
        known = self._now.get(kind) or self._before.get(kind)
        return statistics.median(known) if known else math.nan


def profile_for(device: str | None, workers=None) -> str:
    """The profile for the device at hand: `"paper"` on a GPU, otherwise `"cpu"`."""
    return "cpu" if _scored.kind_at(workers, device) == "cpu" else "paper"


def find_gap(experiment, *, profile: str, device: str | None = None, workers=None, into=None) -> Gap:
    """Compare what belongs into an experiment's recorded run with what is there.

    Parameters
    ----------
    experiment : module
        Of `deepcv.companion.experiments.experiment`: its `Settings` and `items`.
    profile : str
    device, workers
        Where the items would be computed, as in `fill`.
    into : path, optional
        Another folder of recorded runs; its rows are there, too.
    """
    name = experiment.__name__.rpartition(".")[2]
    settings = experiment.Settings(profile=profile, device=None if isinstance(workers, Executor) else device)
    items = _scored.placed(experiment.items(settings), _scored.kind_at(workers, device))
    there = _recorded(name, None) | (_recorded(name, into) if into else {})
    current = _made_by(provenance())
    lacking, outdated = set(), set()
    for item in items:
        made_by = there.get(_fingerprint(profile, item.data_hash, item.settings, item))
        if made_by is None:
            lacking.add(item.key)
        elif made_by != current:
            outdated.add(item.key)
    return Gap(name, items, lacking, outdated)


def _recorded(name: str, folder) -> dict[tuple, dict[str, Any]]:
    """What made each recorded row, by the row's fingerprint."""
    rows, described = recorded_run(name, folder)
    runs = [described["runs"][digest] for digest in rows["run"]]
    return {
        _fingerprint(row.profile, row.data, run["settings"], row): _made_by(run)
        for row, run in zip(rows.itertuples(), runs, strict=True)
    }


def _fingerprint(profile: str, data: str, settings: dict[str, Any], row) -> tuple:
    settings = _defaults(row.method, row.preset) | settings
    if row.method in METHODS:
        settings |= dict.fromkeys(METHODS[row.method].idle(settings))
    named = results.as_json(settings)
    return profile, row.dataset, row.image, row.method, row.preset, row.seed, data[:8], named


@functools.cache
def _defaults(method: str, preset: str) -> dict[str, Any]:
    if method not in METHODS:
        return {}
    found = METHODS[method]
    return found.settings(preset if preset in found.presets else "default")


def _made_by(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in MADE_BY}


def listing(gaps: Sequence[Gap], *, profile: str, device: str | None = None, workers=None) -> DataFrame:
    """What is recorded and what lacks, a row per experiment, method and preset; computes nothing.

    Parameters
    ----------
    gaps, profile, device, workers
        As in `fill`.

    Returns
    -------
    pandas.DataFrame
        `recorded`, of these `outdated`; `lacking`, and the `minutes` these would take, NaN when nothing is known. A
        hint counts where its image comes first, and undivided among workers: each finds its own.
    """
    import pandas as pd

    kind = _scored.kind_at(workers, device)
    at_once = concurrency(_scored.processes(workers, kind))
    with Store() as store:
        pace = Pace(store, [gap.name for gap in gaps], profile=profile, device=kind)
    table: dict[tuple[str, str, str], dict[str, float]] = {}
    images = set()
    for gap in gaps:
        for item in gap.items:
            empty = {"recorded": 0, "outdated": 0, "lacking": 0, "minutes": 0.0}
            row = table.setdefault((gap.name, item.method, item.preset), empty)
            lacks = item.key in gap.lacking
            row["lacking" if lacks else "recorded"] += 1
            row["outdated"] += item.key in gap.outdated
            if lacks:
                hint = 0.0 if (item.dataset, item.image) in images else pace.hint
                row["minutes"] += (pace.of(item) / at_once + hint) / 60
                images.add((item.dataset, item.image))
    table = pd.DataFrame.from_dict(table, orient="index", columns=["recorded", "outdated", "lacking", "minutes"])
    return table.rename_axis(["experiment", "method", "preset"])


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
    """Compute what recorded runs lack, as far as the time goes, and merge it into them.

    Nothing is begun that would take longer than the time left, by the median of what is known (`Pace`); what nothing
    is known of is begun. What is still in work when the time is over is given up (on Windows it runs to its end). What
    was computed is merged also after Ctrl-C and when an item fails, and the next call goes on from there.

    Parameters
    ----------
    gaps : sequence of Gap
        Most wanted first.
    profile : str
        That of the gaps.
    device : str, optional
        "cpu", "cuda" …
    until : float
        When to have ended, on the clock of `time.monotonic`.
    workers, progress
        As in `deepcv.parallel.run`.
    into : path, optional
        A folder to write the rows to instead of `results/recorded/`.
    outdated : bool
        Compute outdated rows again, too, after the lacking ones.
    report : callable
        Takes a sentence on each run.
    """
    to_do = {gap.name: gap.to_do(outdated=outdated) for gap in gaps}
    everything = [item for items in to_do.values() for item in items]
    if not everything:
        return report("nothing is lacking")
    kind = everything[0].device
    workers = _scored.processes(workers, kind)
    with Store() as store:
        pace = Pace(store, list(to_do), profile=profile, device=kind)
        units = [unit for items in to_do.values() for unit in _scored.units(store.missing(items))]
        compute = functools.partial(_scored.compute, profile=profile, device=device)
        options = {"workers": workers, "progress": progress, "description": f"Recording, {profile}"}
        try:
            with (
                _given_up_at(until - _MERGING),
                contextlib.closing(store.fill(_in_time(units, pace, until - _MERGING), compute, **options)) as finished,
            ):
                for unit, found in finished:
                    pace.learn(unit, found)
        finally:
            for name, items in to_do.items():
                _merge(store.rows(items).assign(profile=profile), name, len(items), into, report)


def _in_time(units: Iterable[Unit], pace: Pace, until: float) -> Iterator[Unit]:
    """The units that fit into the time left, decided when a worker is free for the next."""
    for unit in units:
        needed = sum(map(pace.of, unit)) + len(unit) * pace.hint
        left = until - time.monotonic()
        if left > 0 and not needed > left:  # NaN is no reason against
            yield unit


def _merge(rows: DataFrame, name: str, wanted: int, into, report: Callable[[str], Any]) -> None:
    if rows.empty:
        return report(f"{name}: nothing new, {wanted} lacking")
    path = record(rows, name, folder=into)
    report(f"{name}: {len(rows)} rows merged into {path}, {wanted - len(rows)} lacking")


class _TimeIsOver(BaseException):
    """Raised in the middle of whatever runs, so it is not an `Exception` that something there may catch."""


@contextlib.contextmanager
def _given_up_at(moment: float) -> Iterator[None]:
    """Leave the block at the moment, whatever runs in it."""
    main = threading.current_thread() is threading.main_thread()
    if math.isinf(moment) or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(*_):
        raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, max(moment - time.monotonic(), 1e-3))
    try:
        yield
    except _TimeIsOver:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def merge(source, names: Sequence[str] = (), *, into=None, report: Callable[[str], Any] = print) -> None:
    """Merge the recorded runs of another folder into ours; of two rows the one computed last stays.

    Parameters
    ----------
    source : path
    names : sequence of str
        Of the runs; default all that are there.
    into : path, optional
        Another folder than `results/recorded/`.
    report : callable
        Takes a sentence on each run.

    Raises
    ------
    InputError
        When there is no recorded run, or it can't be read.
    """
    names = names or sorted({path.stem for path in Path(source).glob("*.csv")} - {*timings.NAMES})
    if not names:
        raise InputError(f"there is no recorded run in {source}; name a folder that --into wrote")
    for name in names:
        counts = recorded.merge(source, name, folder=into)
        report(f"{name}: " + ", ".join(f"{count} rows {what}" for what, count in counts.items()))
