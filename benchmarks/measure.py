"""One process of the benchmark: a contender's time and memory on some images.

    python -m benchmarks.measure < JOB

The job is a JSON object with `contender`, `device`, `patience` (seconds for timing single steps), `hints` (the folder
of the hints) and `tasks`. A task has `dataset` and `image`, and optionally `size` (the image resized to a square) or
`nu` (the image in grey, and the energy (3.7) of the mask). A row of JSON per task goes to stdout.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contenders
from deepcv.baselines.chan_vese import chan_vese_energy
from deepcv.data import load_dataset
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize
from deepcv.metrics import f_measure, iou

HINT = "hint"
"""The contender that computes the hint every other one starts from, and saves it in the hints' folder."""

WARM_UP = 48
"""Side of the image on which a contender is called before the clock starts: lazy imports, first allocations."""


def measure(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each task of the job, as soon as it is measured."""
    name, device, hints = job["contender"], job["device"], Path(job["hints"])
    problems = [_problem(task, hints) for task in job["tasks"]]
    if name not in contenders.STEPWISE:
        image = problems[0][0][:WARM_UP, :WARM_UP]
        _call(name, image, np.indices(image.shape[:2])[0] / WARM_UP, device, {})
    baseline = peak_mib()
    for task, (image, hint, truth) in zip(job["tasks"], problems, strict=True):
        row = dict(task, contender=name, device=device, height=image.shape[0], width=image.shape[1])
        _forget_gpu_peak(device)
        if name in contenders.STEPWISE:
            step, timed, steps = contenders.seconds_a_step(name, image, hint, device, job["patience"])
            row |= {"seconds": step * steps, "seconds_a_step": step, "steps_timed": timed, "steps": steps}
        else:
            settings = {"nu": task["nu"]} if "nu" in task and name.split()[0] in contenders.WEIGHTED else {}
            if name == "deep-cv" and "size" in task:
                settings["size"] = task["size"]
            start, spent = time.perf_counter(), time.process_time()
            found = _call(name, image, hint, device, settings)
            contenders.synchronise(device)
            row["seconds"] = time.perf_counter() - start
            row["cpu_seconds"] = time.process_time() - spent if device == "cpu" else None
            if name == HINT:
                np.save(hint_path(hints, task), found)
            else:
                row |= {"f_measure": f_measure(found, truth), "iou": iou(found, truth)}
            if "nu" in task:
                row["energy"] = chan_vese_energy(image, found, task["nu"])
        yield row | {"baseline_mib": baseline, "peak_mib": peak_mib(), "gpu_mib": _gpu_peak_mib(device)}


def _call(name: str, image: np.ndarray, hint: np.ndarray, device: str, settings: dict[str, Any]) -> np.ndarray:
    if name == HINT:
        return hint_for(as_image(image))
    return contenders.function(name, device)(image, hint, **settings)


def _problem(task: dict[str, Any], hints: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Image, hint (None before it is computed) and truth, in the task's shape and colours."""
    samples = load_dataset(task["dataset"])
    sample = samples[samples.names.index(task["image"])]
    image, truth = sample.image, sample.mask
    hint = np.load(hint_path(hints, task)) if hint_path(hints, task).exists() else None
    if "size" in task:
        square = (task["size"], task["size"])
        image, hint = resize(as_image(image), square), resize(hint, square).clip(0, 1)
        truth = resize(truth.astype(np.float32), square) > 0.5
    if "nu" in task:
        image = contenders.grey_in_unit_range(image)
    return image, hint, truth


def hint_path(hints: Path, task: dict[str, Any]) -> Path:
    """The file of the hint of the task's image."""
    return hints / f"{task['dataset']}-{task['image']}.npy"


def peak_mib() -> float:
    """Peak memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _forget_gpu_peak(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()


def _gpu_peak_mib(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    for measured in measure(json.load(sys.stdin)):
        print(json.dumps(measured), flush=True)
