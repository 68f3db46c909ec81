"""What experiments over scored images share: items over a grid, computing their rows, writing an interval."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import torch

from deepcv import parallel as execution
from deepcv.baselines.normalized_cuts import best_segment
from deepcv.companion import networks as _trained
from deepcv.companion.store import Item, Unit
from deepcv.data import Sample, load_dataset
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.images import as_image
from deepcv.methods import get_method
from deepcv.metrics import scores
from deepcv.provenance import provenance
from deepcv.segmentation import Segmentation

BATCH = 32
"""How many images a GPU segments at once; half of them at a time where its memory is too small, and so on."""


_KEPT = 256  # images in memory, and their hints: those of Weizmann take 130 MB


_hints: dict[tuple[str, str], np.ndarray] = {}


def compute(unit: Unit, profile: str, device: str | None) -> list[dict[str, Any]]:
    """A row for each item of a unit: the method on the image, scored at the image's own size.

    `seconds` of an image in a batch is the batch's time divided by its number of images, without the hints.

    Raises
    ------
    InputError
        When the device or an image here is not the one that was asked for.
    """
    if device_kind(device) != unit[0].device:
        raise InputError(f"it is for {unit[0].device}, but here is {device_kind(device)}; choose with --device")
    samples = [load_sample(item.dataset, item.image) for item in unit]
    for item, sample in zip(unit, samples, strict=True):
        if sample.hash != item.data_hash:
            raise InputError(f"{item.dataset}/{item.image} is another image here; fetch {item.dataset} anew")
    hint_seconds = 0.0
    if unit[0].method in _trained.KINDS:
        measured = _trained.segment(unit, samples, device)
    else:
        started = time.perf_counter()
        several = samples[0].regions is not None  # of which none is the foreground that a hint could speak for
        hints = [None] * len(unit) if several else _hints_of(unit)
        hint_seconds = (time.perf_counter() - started) / len(unit)
        measured = _measured(unit, samples, hints, device)
    return [
        {
            "profile": profile,
            "seconds": found.seconds,
            "made_by": provenance(),
            "extra": {"hint_seconds": hint_seconds, "measured": numbers},
            **_labels_and_scores(item, found, sample),
        }
        for item, sample, (found, numbers) in zip(unit, samples, measured, strict=True)
    ]


def _measured(
    unit: Unit, samples: list[Sample], hints: list[np.ndarray | None], device: str | None
) -> list[tuple[Segmentation, dict[str, float]]]:
    measure = _measure_of(unit[0].experiment)
    if measure:
        return [measure(*each, device) for each in zip(unit, samples, hints, strict=True)]
    return [(found, {}) for found in _segmented(unit, samples, hints, device)]


def _labels_and_scores(item: Item, found: Segmentation, sample: Sample) -> dict[str, Any]:
    if not found.labels.size:
        return {}
    if sample.mask is None:
        return {"labels": found.labels}
    mask = _scored_mask(item, found, sample.mask)
    return {"labels": mask.astype(np.uint8), **scores(mask, sample.mask, sample.ignore)}


Measure = Callable[[Item, Sample, np.ndarray | None, str | None], tuple[Segmentation, dict[str, float]]]
"""`measure(item, sample, hint, device)`, which an experiment's module may define, segments in the method's stead and
gives numbers of its own besides; they become columns of the rows, recorded ones too. NaN where there is none."""


def only_measured(seconds: float) -> Segmentation:
    """What `measure` gives where nothing is segmented: there is no label map to keep or to score."""
    return Segmentation(np.zeros((0, 0), np.uint8), np.zeros((0, 0, 0), np.float32), seconds=seconds)


@functools.cache
def _measure_of(experiment: str) -> Measure | None:
    name = f"{__package__}.{experiment}"
    return getattr(importlib.import_module(name), "measure", None) if importlib.util.find_spec(name) else None


def _scored_mask(item: Item, found: Segmentation, truth: np.ndarray) -> np.ndarray:
    """The method's mask; of regions that it hasn't united the one that fits the truth best, as Weizmann's script."""
    united = item.settings.get("merge", True)
    return found.mask if united else best_segment(found.labels, truth)


def _segmented(unit: Unit, samples: list[Sample], hints: list[np.ndarray], device: str | None) -> list[Segmentation]:
    images, settings = [sample.image for sample in samples], unit[0].settings
    if len(unit) == 1:
        return [segment(unit[0], samples[0], hints[0], device)]
    try:
        return get_method(unit[0].method).batch(
            images, hints, seeds=[item.seed for item in unit], device=device, **settings
        )
    except torch.OutOfMemoryError:
        half = len(unit) // 2
    parts = (slice(None, half), slice(half, None))  # outside of `except`, which holds on to the batch's memory
    return [found for part in parts for found in _segmented(Unit(unit[part]), samples[part], hints[part], device)]


def segment(item: Item, sample: Sample, hint: np.ndarray | None, device: str | None) -> Segmentation:
    """The item's method, with its settings and seed, on its image."""
    method = get_method(item.method).function
    return method(sample.image, hint, seed=item.seed, device=device, **item.settings)


@functools.lru_cache(maxsize=_KEPT)
def load_sample(dataset: str, name: str) -> Sample:
    samples = load_dataset(dataset)
    return samples[samples.names.index(name)]


def _hints_of(unit: Unit) -> list[np.ndarray]:
    """The hints of a unit's images; those of a batch are computed in several processes, so that a GPU waits less."""
    names = [(item.dataset, item.image) for item in unit]
    lacking = [name for name in dict.fromkeys(names) if name not in _hints]
    workers = None if multiprocessing.parent_process() is None else 1  # a worker has one core
    for name, hint in execution.run(_hint, lacking, workers=workers, progress=False):
        _hints[name] = hint
    found = [_hints[name] for name in names]
    while len(_hints) > _KEPT:
        del _hints[next(iter(_hints))]
    return found


def _hint(name: tuple[str, str]) -> np.ndarray:
    return hint_for(as_image(load_sample(*name).image))


def units(items: list[Item], batch: int | None = None) -> list[Unit]:
    """Items put together that are computed at once: batches first, which are what a GPU is for.

    Parameters
    ----------
    items : list of Item
        Of one experiment.
    batch : int, optional
        How many images of a method that takes several, with the same settings, at most; default `BATCH` on a GPU, 1
        on the CPU.
        Images of one seed and size come next to each other, those of one size share a batch's arithmetic. All items of
        a trained network are one unit.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(_group(item, batch), []).append(item)
    found = []
    for group in groups.values():
        if group[0].method in _trained.KINDS:
            found.append(Unit(group))
            continue
        if len(group) > 1:
            seeds = list(dict.fromkeys(item.seed for item in group))
            group.sort(key=lambda item: (seeds.index(item.seed), load_sample(item.dataset, item.image).image.shape))
        size = _batch(group[0], batch)
        found += [Unit(group[first : first + size]) for first in range(0, len(group), size)]
    return sorted(found, key=lambda unit: len(unit) == 1)


def _group(item: Item, batch: int | None) -> str:
    """Under what an item is put together with others."""
    if item.method in _trained.KINDS:
        return _trained.key(item)
    together = _can_be_batched(item) and _batch(item, batch) > 1
    return f"{item.method} {item.settings}" if together else item.key


def _can_be_batched(item: Item) -> bool:
    return get_method(item.method).batch is not None and _measure_of(item.experiment) is None


def _batch(item: Item, batch: int | None) -> int:
    return batch or (1 if item.device == "cpu" else BATCH)


def kind_at(workers, device: str | None) -> str:
    """The kind of device that the workers have: on a cluster theirs, not this machine's."""
    return workers.submit(device_kind, device).result() if isinstance(workers, Executor) else device_kind(device)


def placed(items: list[Item], kind: str) -> list[Item]:
    """The items for another kind of device."""
    return [dataclasses.replace(item, device=kind) for item in items]


def processes(workers, kind: str):
    """How many workers, where nobody has said it: one for a GPU, which a batch keeps busy."""
    return 1 if workers is None and kind != "cpu" else workers
