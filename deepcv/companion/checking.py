"""Recompute recorded rows drawn at random and compare the numbers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from deepcv import parallel
from deepcv.companion import networks
from deepcv.companion.compute import sample_of
from deepcv.companion.experiments import get_experiment
from deepcv.companion.experiments.experiment import Experiment
from deepcv.companion.items import Item, Unit
from deepcv.companion.recording import complete_settings, recorded_items
from deepcv.companion.store import SCORES
from deepcv.data import load_dataset
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.methods import METHODS

TOLERANCE = 2e-3
"""Largest difference between numbers that agree, relative for numbers above 1: processors round differently, and Adam
amplifies that."""


def check(
    experiments: Iterable[Experiment],
    count: int,
    *,
    trained: bool = False,
    seed: int = 0,
    device: str | None = None,
    workers=None,
    progress: bool = True,
    report: Callable[[str], Any] = print,
) -> bool:
    """Recompute recorded rows drawn at random, and report whether the numbers agree.

    The rows are drawn from each experiment in turn, so that small ones are checked too. The scores of the
    mask are compared or, in rows without a mask, the measured numbers, within `TOLERANCE`. The store and the recorded
    runs stay unchanged.

    Parameters
    ----------
    experiments : iterable of Experiment
    count : int
        How many rows.
    trained : bool
        Whether to draw rows of networks that aren't in the cache; training one takes hours.
    seed : int
        Of the draw.
    device : str, optional
        "cpu", "cuda" …; default the CPU for rows recorded on one, otherwise the GPU if there is one.
    workers, progress
        As in `deepcv.parallel.run`.
    report : callable
        Receives the findings, sentence by sentence.

    Returns
    -------
    bool
        Whether all recomputed rows agree.

    Raises
    ------
    InputError
        If no row can be recomputed.
    """
    left_out: Counter[str] = Counter()
    drawn = list(itertools.islice(_drawn(experiments, trained, random.Random(seed), left_out), count))
    for why, rows in left_out.items():
        report(f"left out: {rows} rows {why}")
    if not drawn:
        raise InputError("there is no recorded row to recompute here; fetch a data set: deepcv data fetch weizmann")
    rows = {item.key: row for item, row in drawn}
    items: dict[str, list[Item]] = defaultdict(list)
    for item, _ in drawn:
        items[item.experiment].append(item)
    units = [unit for name in items for unit in get_experiment(name).units(items[name])]
    options = {"workers": workers, "progress": progress, "description": "Recomputing"}
    agree: Counter[str] = Counter()
    differ: Counter[str] = Counter()
    for unit, found in parallel.run(functools.partial(_recomputed, device=device), units, **options):
        for item, numbers in zip(unit, found, strict=True):
            wrong = _differences(rows[item.key], numbers)
            (differ if wrong else agree)[item.experiment] += 1
            if wrong:
                note = rows[item.key]["note"]
                report(f"{item.experiment}: {item}: {wrong}{note and f' ({note})'}")
    if differ:
        report("what fits networks moves with the processor, now and then by thousandths: see book/broken.md")
    for name in items:
        report(f"{name}: {agree[name]} of {agree[name] + differ[name]} rows agree")
    report(f"in all {agree.total()} of {len(drawn)} recomputed rows agree")
    return not differ


def _drawn(
    experiments: Iterable[Experiment], trained: bool, generator: random.Random, left_out: Counter[str]
) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Recorded items with their rows, drawn from each experiment in turn; counts those left out."""
    present = functools.cache(_names_of)
    queues = []
    for experiment in experiments:
        queue = []
        for item, row in recorded_items(experiment.name):
            item = dataclasses.replace(item, settings=complete_settings(item))
            if experiment.one_by_one:
                left_out["of seconds, which differ between machines"] += 1
            elif item.image not in present(item.dataset, tuple(item.data.items())):
                left_out["whose image isn't here"] += 1
            elif METHODS[item.method].trained and not trained and not networks.is_trained(item):
                left_out["of networks that aren't trained here; name their experiment to train them"] += 1
            else:
                queue.append((item, row))
        generator.shuffle(queue)
        queues.append(queue)
    for item, row in filter(None, itertools.chain.from_iterable(itertools.zip_longest(*queues))):
        sample = sample_of(item)
        if sample.hash.startswith(item.data_hash):
            yield dataclasses.replace(item, data_hash=sample.hash), row
        else:
            left_out["whose image differs here"] += 1


def _names_of(dataset: str, conditions: tuple) -> frozenset[str]:
    """The names of a data set's images; empty if it isn't here."""
    try:
        return frozenset(load_dataset(dataset, **dict(conditions)).names)
    except InputError:
        return frozenset()


def _recomputed(unit: Unit, device: str | None) -> list[dict[str, Any]]:
    device = device or ("cpu" if unit[0].device == "cpu" else None)
    unit = Unit(dataclasses.replace(item, device=device_kind(device)) for item in unit)
    return get_experiment(unit[0].experiment).compute("", device)(unit)


def _differences(recorded_row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Numbers that don't agree, recorded and found; "" if all do."""
    numbers = {name: found[name] for name in SCORES if name in found and name != "seconds"} or found["measured"]
    wrong = {}
    for name, number in numbers.items():
        before = recorded_row.get(name, math.nan)
        if math.isnan(before) != math.isnan(number) or abs(number - before) > TOLERANCE * max(1, abs(before)):
            wrong[name] = f"{name} {before:.4f} recorded, {number:.4f} here"
    return "; ".join(wrong.values())
