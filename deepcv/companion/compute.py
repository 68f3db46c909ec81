"""Compute items: run the method on the image and score the mask at the image's own size."""

from __future__ import annotations

import functools
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from deepcv import parallel
from deepcv.baselines.normalized_cuts import best_segment
from deepcv.companion import networks
from deepcv.companion.closure import code_hash
from deepcv.companion.items import Item, Unit, data_conditions
from deepcv.data import Sample, load_dataset
from deepcv.data.crops import crops
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_image
from deepcv.methods import get_method
from deepcv.metrics import scores
from deepcv.provenance import provenance
from deepcv.segmentation import Segmentation

BATCH = 32
"""Images per batch on a GPU; halved while its memory is too small."""

Measure = Callable[[Item, Sample, Any, str | None], tuple[Segmentation, dict[str, float]]]
"""`measure(item, sample, hint, device)` segments instead of the method and returns further numbers, each a column of
the rows, NaN if undefined. The hint is None if the method uses none."""

_KEPT = 256  # images and hints in memory; 130 MB for Weizmann
_hints: dict[tuple, np.ndarray] = {}


def compute(unit: Unit, profile: str, device: str | None, measure: Measure | None = None) -> list[dict[str, Any]]:
    """Compute the items of a unit; returns the keyword arguments of `Store.put` for each.

    The `seconds` of an image in a batch are the batch's time, without hints, divided by the number of images.

    Raises
    ------
    InputError
        If the device or an image differs from the item's.
    """
    if device_kind(device) != unit[0].device:
        raise InputError(
            f"it is for {unit[0].device}, but the device here is {device_kind(device)}; choose it with --device"
        )
    samples = [sample_of(item) for item in unit]
    for item, sample in zip(unit, samples, strict=True):
        if sample.hash != item.data_hash:
            raise InputError(f"{item.dataset}/{item.image} is another image here; fetch {item.dataset} again")
    hint_seconds = 0.0
    if get_method(unit[0].method).trained:
        measured = networks.segment(unit, samples, device)
    else:
        started = time.perf_counter()
        hints = _hints_of(unit) if takes_hint(unit[0], samples[0]) else [None] * len(unit)
        hint_seconds = (time.perf_counter() - started) / len(unit)
        if measure:
            measured = [measure(*each, device) for each in zip(unit, samples, hints, strict=True)]
        else:
            measured = [(found, {}) for found in _segmented(unit, samples, hints, device)]
    return [
        {
            "profile": profile,
            "seconds": found.seconds,
            "hint_seconds": hint_seconds,
            "measured": numbers,
            "made_by": provenance(),
            **_labels_and_scores(item, found, sample),
        }
        for item, sample, (found, numbers) in zip(unit, samples, measured, strict=True)
    ]


def takes_hint(item: Item, sample: Sample) -> bool:
    """Whether the item starts from a hint; an image with several true regions has no foreground to hint at."""
    return sample.regions is None and get_method(item.method).takes_hint(item.settings)


def code_of(item: Item, sample: Sample, measure: Measure | None) -> str:
    """Hash of the meaning of the code that computes an item (`Item.code`)."""
    return _code(item.method, networks.teacher(item), takes_hint(item, sample), measure)


@functools.cache
def _code(method: str, teacher: str, hinted: bool, measure: Measure | None) -> str:
    functions: list[Callable] = [*get_method(method).code, _labels_and_scores]
    functions += [] if measure is None else [measure]
    parts = [code_hash(*functions, without=_APART)]
    if get_method(method).trained:
        parts += [code_hash(networks.segment, without=(*_APART, *_WITHOUT_NUMBERS)), code_hash(crops)]
    parts += [code_hash(structured_matrix_decomposition)] if hinted else []
    parts += [_code(teacher, "", True, None)] if teacher else []
    return parts[0] if len(parts) == 1 else networks.digest(parts)


_APART = ("deepcv.methods", "deepcv.hints.saliency")
"""Modules that aren't followed: the registry, which names every method, and the hint, which counts only if used."""

_WITHOUT_NUMBERS = ("deepcv.data", "deepcv.companion.closure", "deepcv.files", "deepcv.parallel", "deepcv.provenance")
"""Modules that `networks.segment` uses without effect on numbers; of the data only crops count."""


def _labels_and_scores(item: Item, found: Segmentation, sample: Sample) -> dict[str, Any]:
    if not found.labels.size:
        return {}
    if sample.mask is None:
        return {"labels": found.labels}
    united = item.settings.get("merge", True)
    # of several regions the one that best fits the truth, as in Weizmann's script
    mask = found.mask if united else best_segment(found.labels, sample.mask, sample.ignore)
    return {"labels": mask.astype(np.uint8), **scores(mask, sample.mask, sample.ignore)}


def only_measured(seconds: float) -> Segmentation:
    """A segmentation without a label map, for a `measure` that only measures."""
    return Segmentation(np.zeros((0, 0), np.uint8), np.zeros((0, 0, 0), np.float32), seconds=seconds)


def segment(item: Item, sample: Sample, hint: np.ndarray | None, device: str | None) -> Segmentation:
    """Run the item's method, with its settings and seed, on an image."""
    method = get_method(item.method).function
    return method(sample.image, hint, seed=item.seed, device=device, **item.settings)


def _segmented(
    unit: Unit, samples: Sequence[Sample], hints: Sequence[np.ndarray | None], device: str | None
) -> list[Segmentation]:
    images, settings = [sample.image for sample in samples], unit[0].settings
    if len(unit) == 1:
        return [segment(unit[0], samples[0], hints[0], device)]
    try:
        return get_method(unit[0].method).batch(
            images, hints, seeds=[item.seed for item in unit], device=device, **settings
        )
    except torch.OutOfMemoryError:
        half = len(unit) // 2
    parts = (slice(None, half), slice(half, None))  # outside of `except`, which keeps the batch's memory
    return [found for part in parts for found in _segmented(Unit(unit[part]), samples[part], hints[part], device)]


def sample_of(item: Any) -> Sample:
    """The image of an item, or of a row of a store as a named tuple."""
    return _sample(_name(item))


@functools.lru_cache(maxsize=_KEPT)
def _sample(name: tuple) -> Sample:
    dataset, conditions, image = name
    samples = load_dataset(dataset, **dict(conditions))
    return samples[samples.names.index(image)]


def _name(item: Any) -> tuple:
    return item.dataset, tuple(data_conditions(item.conditions).items()), item.image


def _hints_of(unit: Unit) -> list[np.ndarray]:
    """The hints of a unit's images, for a batch in several processes, so that a GPU waits less."""
    names = [_name(item) for item in unit]
    missing = [name for name in dict.fromkeys(names) if name not in _hints]
    workers = None if multiprocessing.parent_process() is None else 1  # a worker has one core
    for name, hint in parallel.run(_hint, missing, workers=workers, progress=False):
        _hints[name] = hint
    found = [_hints[name] for name in names]
    while len(_hints) > _KEPT:
        del _hints[next(iter(_hints))]
    return found


def _hint(name: tuple) -> np.ndarray:
    return hint_for(as_image(_sample(name).image))


def units(items: Sequence[Item], batch: int | None = None, *, measured: bool = False) -> list[Unit]:
    """Group items that are computed together; batches come first, and trained networks by their stage.

    Parameters
    ----------
    items : sequence of Item
        Of one experiment.
    batch : int, optional
        Largest number of images in a unit of one method and settings; default `BATCH` on a GPU, 1 on the CPU. Sorted by
        seed and size, since images of one size share a batch's arithmetic. All items of a trained network
        at one stage (`deepcv.companion.networks.stage`) are one unit.
    measured : bool
        Whether the experiment has a `Measure`, which takes one image at a time.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(_group(item, batch, measured), []).append(item)
    found = []
    for group in groups.values():
        if get_method(group[0].method).trained:
            found.append(Unit(group))
            continue
        if len(group) > 1:
            seeds = list(dict.fromkeys(item.seed for item in group))
            group.sort(key=lambda item: (seeds.index(item.seed), sample_of(item).image.shape))
        size = _batch(group[0], batch)
        found += [Unit(group[first : first + size]) for first in range(0, len(group), size)]
    return sorted(found, key=lambda unit: (len(unit) == 1, _stage(unit[0])))


def _group(item: Item, batch: int | None, measured: bool) -> str:
    """The group of an item: items of equal group may share a unit."""
    method = get_method(item.method)
    if method.trained:
        return f"{networks.key(item)} {_stage(item)}"
    together = method.batch is not None and not measured and _batch(item, batch) > 1
    return f"{item.method} {item.settings}" if together else item.key


def _stage(item: Item) -> float:
    if not get_method(item.method).trained:
        return 0
    return networks.stage(item) or math.inf


def _batch(item: Item, batch: int | None) -> int:
    return batch or (1 if item.device == "cpu" else BATCH)
