"""What experiments over scored images share: checking settings, computing rows, writing an interval."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import time
from collections.abc import Collection
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepcv import execution, solver
from deepcv.baselines.normalized_cuts import best_segment
from deepcv.data import Sample, load_dataset
from deepcv.hints import hint_for
from deepcv.images import SMALLEST_SIDE, InputError, as_image
from deepcv.methods import get_method
from deepcv.metrics import bootstrap_interval, scores
from deepcv.results import Item, Store, Unit, device_kind, provenance
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from pandas import DataFrame

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
    samples = [_sample(item.dataset, item.image) for item in unit]
    for item, sample in zip(unit, samples, strict=True):
        if sample.hash != item.data_hash:
            raise InputError(f"{item.dataset}/{item.image} is another image here; fetch {item.dataset} anew")
    started = time.perf_counter()
    hints = _hints_of(unit)
    hint_seconds = (time.perf_counter() - started) / len(unit)
    rows = []
    for item, sample, found in zip(unit, samples, _segmented(unit, samples, hints, device), strict=True):
        mask = _scored_mask(item, found, sample.mask)
        rows.append(
            {
                "profile": profile,
                "labels": mask.astype(np.uint8),
                "seconds": found.seconds,
                "made_by": provenance(),
                "extra": {"hint_seconds": hint_seconds},
                **scores(mask, sample.mask),
            }
        )
    return rows


def _scored_mask(item: Item, found: Segmentation, truth: np.ndarray) -> np.ndarray:
    """The method's mask; of regions that it hasn't united the one that fits the truth best, as Weizmann's script."""
    united = item.settings.get("merge", True)
    return found.mask if united else best_segment(found.labels, truth)


def _segmented(unit: Unit, samples: list[Sample], hints: list[np.ndarray], device: str | None) -> list[Segmentation]:
    images, settings = [sample.image for sample in samples], unit[0].settings
    if len(unit) == 1:
        function = get_method(unit[0].method).function
        return [function(images[0], hints[0], seed=unit[0].seed, device=device, **settings)]
    try:
        return solver.deep_chan_vese_batch(images, hints, seeds=[item.seed for item in unit], device=device, **settings)
    except torch.OutOfMemoryError:
        half = len(unit) // 2
    parts = (slice(None, half), slice(half, None))  # outside of `except`, which holds on to the batch's memory
    return [found for part in parts for found in _segmented(Unit(unit[part]), samples[part], hints[part], device)]


@functools.lru_cache(maxsize=_KEPT)
def _sample(dataset: str, name: str) -> Sample:
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
    return hint_for(as_image(_sample(*name).image))


def units(items: list[Item], batch: int | None = None) -> list[Unit]:
    """Items put together that are computed at once: batches first, which are what a GPU is for.

    Parameters
    ----------
    items : list of Item
        Of one experiment.
    batch : int, optional
        How many images of the deep model with the same settings at most; default `BATCH` on a GPU, 1 on the CPU.
        Images of one seed and size come next to each other, those of one size share a batch's arithmetic.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        together = item.method == "deep-cv" and _batch(item, batch) > 1
        groups.setdefault(f"{item.preset} {item.settings}" if together else item.key, []).append(item)
    found = []
    for group in groups.values():
        if len(group) > 1:
            seeds = list(dict.fromkeys(item.seed for item in group))
            group.sort(key=lambda item: (seeds.index(item.seed), _sample(item.dataset, item.image).image.shape))
        size = _batch(group[0], batch)
        found += [Unit(group[first : first + size]) for first in range(0, len(group), size)]
    return sorted(found, key=lambda unit: len(unit) == 1)


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


def complete(
    items: list[Item], settings, *, workers, progress: bool, description: str, batch: int | None = None
) -> DataFrame:
    """The rows of the items; what the store lacks is computed. Parameters as in `deepcv.execution.run` and `units`."""
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
    return rows.assign(profile=settings.profile)  # a row of the same settings may come from another profile


def check(settings, profiles: Collection[str], sequences: tuple[str, ...]) -> None:
    """Check what all experiments' settings have: profile, n_images, size, seeds; make tuples of `sequences`.

    Raises
    ------
    InputError
        For an unknown profile, no seed, or a number out of range.
    """
    if settings.profile not in profiles:
        raise InputError(f"there is no profile {settings.profile!r}; there are {', '.join(profiles)}")
    for name in sequences:  # a notebook's parameters come as lists
        if getattr(settings, name) is not None:
            object.__setattr__(settings, name, tuple(getattr(settings, name)))
    if settings.n_images is not None and settings.n_images < 1:
        raise InputError(f"n_images is {settings.n_images}; it must be at least 1")
    if settings.size is not None and settings.size < SMALLEST_SIDE:
        raise InputError(f"size is {settings.size}; images need at least {SMALLEST_SIDE} pixels a side")
    if not settings.seeds:
        raise InputError("there is no seed; give at least one, three for an interval that means something")


def interval(values) -> str:
    """95 % bootstrap interval of the mean of a series, "0.853–0.891"."""
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"
