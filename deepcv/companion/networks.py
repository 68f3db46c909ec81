"""Networks trained on a collection, as methods of the experiments.

A network is trained once and segments many images: its items are one unit of work (`stage`), so no two workers train
the same one. Training is cached under all that it depends on; if interrupted, it resumes.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deepcv.amortized import training
from deepcv.amortized.run import BEST, LAST, Run, at_epoch
from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.teaching import hints_of
from deepcv.baselines.chan_vese import chan_vese
from deepcv.companion.closure import code_hash
from deepcv.companion.items import Item, as_json
from deepcv.data import Sample, cache_folder, load_dataset
from deepcv.data.crops import crops
from deepcv.devices import torch_device
from deepcv.files import locked
from deepcv.images import as_colour, as_image, resize
from deepcv.methods import get_method
from deepcv.metrics import iou
from deepcv.segmentation import Segmentation

CHOSEN = {"last": LAST, "validation": BEST}
"""The network's file for a setting `chosen` (`deepcv.amortized.settings.Trained`) that isn't a number."""


def epochs_kept(epochs: int) -> tuple[int, ...]:
    """The epochs after which a network is kept: powers of two, and the last."""
    return tuple(sorted({2**power for power in range(epochs.bit_length())} | {epochs}))


def stage(item: Item) -> int | None:
    """The epoch after which the item can be computed, if that isn't the last; None where all epochs must be done.

    Items of one network and stage are a unit of work, and early stages of all networks come before late ones: wherever
    a recording stops, curves over epochs are recorded so far. A training that may restart has no stages, as a restart
    makes its early epochs anew.
    """
    chosen, training = item.settings["chosen"], item.settings["training"]
    early = isinstance(chosen, int) and not training["restarts"] and chosen < training["epochs"]
    return chosen if early else None


SIDE, TIMED, TOGETHER = 128, 5, 64
"""For timing: side in pixels, number of test images, copies of an image in a batch."""


def teacher(item: Item) -> str:
    """The method whose masks teach the item's network; "" if none."""
    return item.settings["training"].get("hint", "") if get_method(item.method).trained else ""


def key(item: Item) -> str:
    """Hash of all that the training of the item's network depends on."""
    settings = {name: value for name, value in item.settings.items() if name != "chosen"}
    code = [_code(name) for name in (item.method, teacher(item)) if name]
    return digest([item.method, as_json(settings), str(item.seed), item.device, *code])


def digest(parts: Sequence[str]) -> str:
    """SHA-256, in hex, over several strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _code(method: str) -> str:
    return code_hash(*get_method(method).code)


def segment(
    unit: Sequence[Item], samples: Sequence[Sample], device: str | None
) -> list[tuple[Segmentation, dict[str, float]]]:
    """Segment the images of a unit by its network, trained first unless it is cached.

    Returns
    -------
    list of (Segmentation, dict)
        The numbers: `collapsed` (1 if one side was empty at the end, or after the unit's `stage`), `restarts`, the
        chosen `epoch`, `alike`, the IoU of the mask with the majority of the unit's masks (near 1 in all images if the
        network doesn't look at them), and `training_seconds` of all attempts until then. In Table 2, for Algorithm 3's
        default and `TIMED` test images, also `network_128` and `chan_vese_128`, the seconds of each on one core, and
        `network_batch`, the network's seconds per image in a batch of `TOGETHER` on the device.
    """
    run = trained(unit[0], device)
    history = run.history[: stage(unit[0])]
    least = get_method(unit[0].method).resolve(unit[0].settings).training.least_area
    numbers = {
        "collapsed": float(history[-1]["smaller_side"] < least),
        "restarts": float(run.attempt),
        "training_seconds": sum(row["seconds"] for row in history),
    }
    found: dict[int, tuple[Segmentation, dict[str, float]]] = {}
    for chosen in dict.fromkeys(item.settings["chosen"] for item in unit):
        places = [place for place, item in enumerate(unit) if item.settings["chosen"] == chosen]
        segmenter = Segmenter.load(run.folder / (CHOSEN.get(chosen) or at_epoch(chosen)), torch_device(device))
        epoch = {"epoch": float(segmenter.card["epoch"]["epoch"])}
        masks = segmenter.predict([samples[place].image for place in places])
        for place, mask, overlap in zip(places, masks, _alike([each.mask for each in masks]), strict=True):
            found[place] = mask, numbers | epoch | {"alike": overlap}
    if (unit[0].experiment, unit[0].method, unit[0].preset) == ("table2", "amortized", "default"):
        for place in [place for place, item in enumerate(unit) if item.data.get("split") == "test"][:TIMED]:
            found[place][1].update(_seconds(run, samples[place].image, torch_device(device)))
    return [found[place] for place in range(len(unit))]


def _alike(masks: Sequence[np.ndarray]) -> list[float]:
    """The IoU of each mask with that of their majority; NaN if they differ in size."""
    if len({mask.shape for mask in masks}) > 1:
        return [math.nan] * len(masks)
    majority = np.mean(masks, axis=0) > 0.5
    return [iou(mask, majority) for mask in masks]


def trained(item: Item, device: str | None) -> Run:
    """Train the item's network until its `stage`, unless it is cached."""
    method = get_method(item.method)
    settings = method.resolve(item.settings)
    chosen = settings.training
    images = crops(load_dataset(settings.collection, split="train")[: settings.images], chosen.size)
    validation = crops(load_dataset(settings.collection, split="val"), chosen.size)
    alone = multiprocessing.parent_process() is None
    progress = alone and sys.stderr.isatty()
    hints, workers = None, None if alone else 1
    if teacher(item):  # networks of two seeds may be trained at the same time and share their hints
        start = item.seed % 3 / 3
        by = get_method(teacher(item))
        hints = hints_of(images, by, code=_code(by.name), start=start, workers=workers, progress=progress)
    folder = _folder(item)
    with locked(folder):  # several pages of the book need the same network
        return training.train(
            chosen,
            images,
            folder,
            hints=hints,
            validation=validation,
            seed=item.seed,
            fabric=training.fabric_for(device, precision=chosen.precision),
            make=method.network,
            dataset=settings.collection,
            kept=epochs_kept(chosen.epochs),
            until=stage(item),
            progress=progress,
        )


def is_trained(item: Item) -> bool:
    """Whether the item's network is in the cache, so that its images can be segmented at once."""
    return (_folder(item) / at_epoch(stage(item) or item.settings["training"]["epochs"])).is_file()


def _folder(item: Item) -> Path:
    return cache_folder() / "trained" / key(item)[:32]


def _seconds(run: Run, image: np.ndarray, device: torch.device) -> dict[str, float]:
    """Seconds per image: network and Chan-Vese (with its hint) at 128×128 on one core; the network in a batch."""
    square = resize(as_colour(as_image(image)), (SIDE, SIDE))
    batched = _seconds_in_batch(_last(run.folder, device), square, device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        segmenter = dataclasses.replace(_last(run.folder, torch.device("cpu")), size=SIDE)
        _, network = (segmenter.predict([square])[0].seconds for _ in range(2))  # a first call allocates
        return {"network_128": network, "chan_vese_128": chan_vese(square).seconds, "network_batch": batched}
    finally:
        torch.set_num_threads(threads)


def _seconds_in_batch(segmenter: Segmenter, square: np.ndarray, device: torch.device) -> float:
    """Seconds per image of the network alone, without transfers to and from the device."""
    x = torch.from_numpy(2 * square - 1).movedim(-1, 0).expand(TOGETHER, -1, -1, -1).contiguous().to(device)
    for _ in range(2):  # a first call allocates
        started = time.perf_counter()
        segmenter.memberships(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / TOGETHER


@functools.lru_cache(maxsize=2)
def _last(folder: Path, device: torch.device) -> Segmenter:
    return Segmenter.load(folder / LAST, device)
