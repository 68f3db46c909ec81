"""Networks trained on a collection, as methods whose rows go into the store like those of any other method.

A network segments many images and is trained once: its items are one unit of work, so no two workers train the same
one. What training leaves lies in the cache, under a hash of all that it depends on, and a training that was stopped
goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepcv.amortized import model as amortized
from deepcv.amortized import redo, training
from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.settings import PRESETS, Settings
from deepcv.amortized.teaching import hints_of
from deepcv.baselines.chan_vese import chan_vese
from deepcv.companion.store import as_json
from deepcv.data import Sample, cache_folder, load_dataset
from deepcv.data.crops import Crops, crops
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.files import locked
from deepcv.images import as_colour, as_image, resize
from deepcv.provenance import provenance
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from deepcv.companion.store import Item


@dataclass(frozen=True)
class Kind:
    """What is trained under a method's name."""

    title: str
    settings: type
    presets: dict[str, Callable[..., Any]]
    make: Callable[[Any, int], torch.nn.Module]


KINDS = {
    "amortized": Kind("Algorithm 3", Settings, PRESETS, amortized.Model),
    "redo": Kind("ReDO [13]", redo.Settings, {"default": redo.Settings}, redo.Model),
}


CHOSEN = {"last": training.LAST, "validation": training.BEST}
"""Which epoch's network: the last, which takes no label, or the best on the validation set, the paper's choice."""


SIDE, TIMED, TOGETHER = 128, 5, 64
"""Side in pixels of the images that a network and Chan-Vese are timed on, how many of a data set's first ones, and how
many copies of one make a batch."""


def settings(method: str, preset: str, collection: str, images: int | None, chosen: str, **changes) -> dict[str, Any]:
    """Item settings: what is trained, on how many of the first training images of which collection, and which epoch.

    Raises
    ------
    InputError
        For an unknown method, preset or setting, or one out of range.
    """
    kind = KINDS[method]
    if preset not in kind.presets:
        raise InputError(f"{method} has no preset {preset!r}; it has {', '.join(kind.presets)}")
    unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(kind.settings)})
    if unknown:
        raise InputError(f"{method} has no setting {unknown[0]!r}")
    made = kind.presets[preset](**changes)
    return {"collection": collection, "images": images, "chosen": chosen, "training": dataclasses.asdict(made)}


def key(item: Item) -> str:
    """Of the training that the item needs."""
    told = {name: value for name, value in item.settings.items() if name != "chosen"}
    described = [item.method, told, item.seed, item.device, provenance()["source"]]
    return hashlib.sha256(as_json(described).encode()).hexdigest()


def segment(
    unit: Sequence[Item], samples: Sequence[Sample], device: str | None
) -> list[tuple[Segmentation, dict[str, float]]]:
    """Train the network of a unit, or take it from the cache, and segment the unit's images.

    Returns
    -------
    list of (Segmentation, dict)
        The numbers: `collapsed` (1 when one side was empty at the end), `restarts`, the `epoch` chosen,
        `training_seconds` of all attempts; with Algorithm 3's default on `TIMED` test images also `network_128` and
        `chan_vese_128`, the seconds of the two on one core, one after the other, and `network_batch`, the network's
        seconds an image in a batch of `TOGETHER` on the device.
    """
    run = trained(unit[0], device)
    told = {
        "collapsed": float(run.collapsed > 0),
        "restarts": float(run.attempt),
        "training_seconds": sum(row["seconds"] for row in run.history),
    }
    found: list[tuple[Segmentation, dict[str, float]]] = [None] * len(unit)
    for chosen, file in CHOSEN.items():
        places = [place for place, item in enumerate(unit) if item.settings["chosen"] == chosen]
        if not places:
            continue
        segmenter = Segmenter.load(run.folder / file, torch_device(device))
        told["epoch"] = float(segmenter.card["epoch"]["epoch"])
        for place, each in zip(places, segmenter.predict([samples[place].image for place in places]), strict=True):
            found[place] = each, dict(told)
    timed = [place for place, item in enumerate(unit) if _is_timed(item)][:TIMED]
    for place in timed:
        found[place][1].update(_seconds(run, samples[place].image, torch_device(device)))
    return found


def trained(item: Item, device: str | None) -> training.Run:
    """Train what the item needs, as far as that is not done."""
    told, kind = item.settings, KINDS[item.method]
    chosen = kind.settings(**told["training"])
    images = crops(load_dataset(f"{told['collection']}-train")[: told["images"]], chosen.size)
    validation = crops(load_dataset(f"{told['collection']}-val"), chosen.size)
    alone = multiprocessing.parent_process() is None
    progress = alone and sys.stderr.isatty()
    folder = cache_folder() / "trained" / key(item)[:32]
    with locked(folder):  # several pages of the book want the same network
        return training.train(
            chosen,
            images,
            folder,
            hints=_hints(images, getattr(chosen, "hint", ""), item.seed, None if alone else 1, progress),
            validation=validation,
            seed=item.seed,
            fabric=training.fabric_for(device, precision=chosen.precision),
            make=kind.make,
            dataset=told["collection"],
            progress=progress,
        )


def _hints(images: Crops, method: str, seed: int, workers: int | None, progress: bool) -> np.ndarray | None:
    """Hints of the images, in their order; None without a method.

    Two workers that train with two seeds need the same hints: they begin at different images and skip what is there.
    """
    if not method:
        return None
    shift = seed * len(images) // 3
    names = images.names[shift:] + images.names[:shift]
    turned = Crops(names, np.roll(images.images, -shift, 0), np.roll(images.truths, -shift, 0))
    return np.roll(hints_of(turned, method, workers=workers, progress=progress), shift, 0)


def _is_timed(item: Item) -> bool:
    return (item.method, item.preset) == ("amortized", "default") and item.dataset.endswith("-test")


def _seconds(run: training.Run, image: np.ndarray, device: torch.device) -> dict[str, float]:
    """Seconds of the network and of Chan-Vese, from its hint, for an image at 128×128 on one core; and in a batch."""
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
    """Seconds an image of the network alone, images and masks being on the device."""
    x = torch.from_numpy(2 * square - 1).movedim(-1, 0).expand(TOGETHER, -1, -1, -1).contiguous().to(device)
    for _ in range(2):  # a first call allocates
        started = time.perf_counter()
        segmenter.memberships(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / TOGETHER


@functools.lru_cache(maxsize=2)
def _last(folder: Path, device: torch.device) -> Segmenter:
    return Segmenter.load(folder / training.LAST, device)
