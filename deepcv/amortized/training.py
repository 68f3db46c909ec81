"""Training a network on a collection, on what there is: a core, a GPU, several of either, several machines.

Lightning Fabric starts the processes, or finds those that torchrun started. Each keeps the whole model, takes its
share of every batch, and the gradients are averaged before each step, so N processes compute what one would. Epoch and
seed alone decide what is drawn at random: a run that was stopped goes on from the checkpoint of its last epoch and ends
with the same weights.

What a run leaves in its folder:

    checkpoint.pt                all that is needed to go on
    last.safetensors             U after the last epoch: chosen without any label
    best-validation.safetensors  U after the epoch of the best validation IoU, the paper's choice, which takes labels
    log.csv                      a row an epoch

`train` asks of a model what `deepcv.amortized.model.Model` has: `settings`, `optimizers()`, `step(...)`, `memberships(x)`
and `as_segmenter(...)`.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.util
import io
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepcv import metrics
from deepcv.amortized import model as amortized
from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.data.crops import UNSCORED, Crops
from deepcv.errors import InputError
from deepcv.files import write_whole

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FORMAT, VERSION = "deepcv training", 1


CHECKPOINT, LAST, BEST, LOG = "checkpoint.pt", "last.safetensors", "best-validation.safetensors", "log.csv"
"""The files in a run's folder."""


LOOKED_AT = 128
"""So many training images, evenly spread, tell whether U has collapsed and which side is the foreground."""


RESEEDED = 1000
"""By how much the seed moves at a restart."""


# --- where it runs ----------------------------------------------------------------------------------------------------


def fabric_for(device: str | None = None, devices: int = 1, precision: str = "float32") -> Fabric:
    """Start the processes, or join those that torchrun started.

    Parameters
    ----------
    device : str, optional
        "cpu" or "cuda"; default: the GPU when there is one.
    devices : int
        Processes, a GPU each; the script is started once more for each but the first. Where torchrun started it, on one
        machine or several, there are as many as torchrun says.
    precision : str
        "float32" or "bfloat16".

    Raises
    ------
    InputError
        When Lightning Fabric is not installed, or there are not so many devices.
    """
    kind, here = check_devices(device, devices)
    from lightning_fabric import Fabric

    world = int(os.environ.get("WORLD_SIZE", here))
    torch.set_float32_matmul_precision("high")  # TF32 where the GPU has it
    fabric = Fabric(
        accelerator=kind,
        devices=here,
        num_nodes=world // here,
        strategy="ddp" if world > 1 else "auto",
        precision={"float32": "32-true", "bfloat16": "bf16-mixed"}[precision],
    )
    fabric.launch()
    return fabric


def check_devices(device: str | None = None, devices: int = 1) -> tuple[str, int]:
    """What `fabric_for` would start here, "cpu" or "cuda" and how many processes; it raises what that would raise."""
    if importlib.util.find_spec("lightning_fabric") is None:
        raise InputError("training needs Lightning Fabric; install the extra `train`, or lightning-fabric")
    from deepcv.devices import torch_device

    kind = torch_device(device).type
    here = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    if here < 1:
        raise InputError(f"devices is {devices}; it must be at least 1")
    if kind == "cuda" and here > torch.cuda.device_count():
        raise InputError(f"there are {torch.cuda.device_count()} GPUs here, not {here}; ask for fewer devices")
    return kind, here


def check_folder(out, settings, seed: int) -> None:
    """Refuse a run's folder in which `train` could not write or go on, before hints are computed for nothing.

    Raises
    ------
    InputError
        When it can't be written, or holds a run with other settings or a damaged checkpoint.
    """
    folder = Path(out)
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InputError(f"can't write into {there}; choose another --out")
    if (folder / CHECKPOINT).exists():
        kept = load_checkpoint(folder / CHECKPOINT)
        _check_same(kept["identity"], dataclasses.asdict(settings) | {"seed": seed}, folder)


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """How far a run is.

    Attributes
    ----------
    folder : pathlib.Path
    model : amortized.Model
        Or what has its methods.
    attempt : int
        How often training was started again after a collapse.
    epoch : int
        Epochs done in this attempt.
    collapsed : int
        For how many epochs in a row U has been collapsed.
    history : list of dict
        A row an epoch, of all attempts.
    """

    folder: Path
    model: Any = None
    attempt: int = 0
    epoch: int = 0
    collapsed: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The best validation IoU of this attempt, -1 before the first."""
        scores = [row.get("val_iou", -1.0) for row in self.history if row["attempt"] == self.attempt]
        return max(scores, default=-1.0)

    def summary(self) -> str:
        """What to tell a person: the epochs chosen, by which rule, and how good they are."""
        rows = [row for row in self.history if row["attempt"] == self.attempt]
        lines = [_told(self.folder / LAST, "the last epoch, chosen without labels", rows[-1])]
        if "val_iou" in rows[-1]:
            best = max(rows, key=lambda row: row["val_iou"])
            lines.append(_told(self.folder / BEST, "the best on the validation set, chosen with its labels", best))
        if self.collapsed:
            lines.append(f"collapsed: the smaller side covers {rows[-1]['smaller_side']:.1%} of an image")
        return "\n".join(lines)


def _told(path: Path, chosen: str, row: dict[str, Any]) -> str:
    told = f"{path}: epoch {row['epoch']}, {chosen}"
    if "val_iou" in row:
        told += f"; validation accuracy {row['val_accuracy']:.3f}, IoU {row['val_iou']:.3f}"
    return told


def train(
    settings,
    crops: Crops,
    out,
    *,
    hints: np.ndarray | None = None,
    validation: Crops | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    make: Callable[[Any, int], Any] = amortized.Model,
    dataset: str = "",
    progress: bool = False,
    report: Callable[[str], object] = lambda sentence: None,
) -> Run:
    """Train, or go on with what `out` holds, until all epochs are done.

    Parameters
    ----------
    settings : amortized.Settings
        Or another dataclass with its `epochs`, `batch`, `decay` and what is said of collapse.
    crops : Crops
        The training images; their masks are not looked at.
    out : path
        The run's folder.
    hints : numpy.ndarray of uint8, `(N, S, S)`, optional
        As `hints_of` returns them.
    validation : Crops, optional
        Scored after each epoch where it has masks. Nothing but the choice of `best-validation` depends on it.
    seed : int
    fabric : Fabric, optional
        As `fabric_for` makes it; default: one process on the CPU.
    make : callable
        Gives the model for settings and a seed.
    dataset : str
        The collection's name, for the model's card.
    progress : bool
        Show a bar with losses, area and validation scores.
    report : callable
        Is given a sentence when training starts again, or goes on from a checkpoint.

    Raises
    ------
    InputError
        When `out` holds a run with other settings or data, its checkpoint is damaged or of another version, or the disk
        is full (what was kept before stays as it was); when a batch is smaller than the number of processes.
    """
    fabric = fabric or fabric_for("cpu")
    job = _Job(settings, crops, hints, validation, seed, fabric, make, dataset)
    run = Run(Path(out))
    job.resume(run, report)
    for row in _watched(job, run, settings.epochs, progress and fabric.is_global_zero):
        job.keep(run, row)
        if run.collapsed == settings.patience:
            said = f"collapsed: the smaller side covers {row['smaller_side']:.1%} of an image after epoch {run.epoch}"
            if job.may_restart(run):
                job.begin(run, run.attempt + 1)
                report(f"{said}; starting again with seed {job.seed_of(run.attempt)}")
            else:
                none = "no restart is left" if settings.restarts else "these settings restart nothing"
                report(f"{said}; {none}, training goes on")
    return run


class _Job:
    """What a run is about, and the steps of it."""

    def __init__(self, settings, crops, hints, validation, seed, fabric, make, dataset):
        self.settings, self.crops, self.hints, self.seed = settings, crops, hints, seed
        self.fabric, self.make, self.dataset = fabric, make, dataset
        self.validation = validation if validation is not None and len(validation.marked) else None
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        world, batch = fabric.world_size, min(settings.batch, len(crops))
        if batch < world:
            raise InputError(f"{batch} images a batch can't be shared by {world} processes; use fewer devices")
        if hints is None and getattr(settings, "hint", ""):
            raise InputError(
                f"the settings ask for hints by {settings.hint}; give what `hints_of` finds, or set hint=''"
            )
        self.batch = batch // world * world
        self.iterations = len(crops) // self.batch  # the few images left over are others in each epoch
        self.images = _resident(crops.images, fabric.device)
        self.taught = None if hints is None else _resident(hints, fabric.device)
        self.looked_at = np.unique(np.linspace(0, len(crops) - 1, LOOKED_AT).astype(int))

    # -- before ---

    def seed_of(self, attempt: int) -> int:
        return self.seed + RESEEDED * attempt

    def identity(self) -> dict[str, Any]:
        """What must not change between a checkpoint and going on from it."""
        digest = hashlib.sha256("\0".join(self.crops.names).encode())
        digest.update(np.ascontiguousarray(self.crops.images[self.looked_at]).tobytes())
        if self.hints is not None:
            digest.update(np.ascontiguousarray(self.hints[self.looked_at]).tobytes())
        model = f"{self.make.__module__}.{self.make.__qualname__}"
        made = {"model": model, "seed": self.seed, "data": digest.hexdigest()}
        return dataclasses.asdict(self.settings) | made

    def may_restart(self, run: Run) -> bool:
        return run.attempt < self.settings.restarts

    def begin(self, run: Run, attempt: int) -> None:
        """A new attempt."""
        run.attempt, run.epoch, run.collapsed = attempt, 0, 0
        run.model = self.fabric.to_device(self.make(self.settings, self.seed_of(attempt)))
        self.optimizers = run.model.optimizers()
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]

    def resume(self, run: Run, report) -> None:
        """Begin, or take up what the folder's checkpoint holds."""
        self.begin(run, 0)
        kept = self._found(run.folder / CHECKPOINT)
        if kept is None:
            return
        _check_same(kept["identity"], self.identity(), run.folder)
        self.begin(run, kept["attempt"])
        run.epoch, run.collapsed, run.history = kept["epoch"], kept["collapsed"], kept["history"]
        run.model.load_state_dict(kept["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(kept["optimizers"][name])
        if run.collapsed >= self.settings.patience and self.may_restart(run):
            self.begin(run, run.attempt + 1)
        report(f"{run.folder / CHECKPOINT}: going on after epoch {run.epoch} of {self.settings.epochs}")

    def _found(self, path: Path) -> dict[str, Any] | None:
        """The checkpoint that the first process finds, for all: another machine may have another one, or none."""
        found = None
        if self.fabric.is_global_zero and path.exists():
            try:
                found = load_checkpoint(path)
            except InputError as error:
                found = str(error)
        found = self.fabric.broadcast(found)
        if isinstance(found, str):
            raise InputError(found)
        return found

    # -- an epoch ---

    def epoch(self, run: Run, each: Callable[[dict[str, Tensor]], object]) -> dict[str, float]:
        """One pass over the images: the mean of each loss."""
        rank, world, device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device
        stream = np.random.SeedSequence([self.seed_of(run.attempt), run.epoch]).generate_state(2, np.uint64)
        on_cpu, on_device = (
            torch.Generator(where).manual_seed(int(state >> 1))
            for where, state in zip(("cpu", device), stream, strict=True)
        )
        order = torch.randperm(len(self.crops), generator=on_cpu).numpy()

        def noise(shape: tuple[int, ...]) -> Tensor:
            # drawn for the whole batch, so that how many processes there are makes no difference
            return torch.randn((self.batch, *shape), generator=on_device, device=device)[rank::world]

        total: dict[str, Tensor] = {}
        run.model.train()
        for iteration in range(self.iterations):
            mine = order[iteration * self.batch : (iteration + 1) * self.batch][rank::world]
            self._set_rate((run.epoch + iteration / self.iterations) / self.settings.epochs)
            taught = None if self.taught is None else _take(self.taught, mine, device)
            with self.fabric.autocast():
                losses = run.model.step(_take(self.images, mine, device), taught, self._descend, noise, on_cpu)
            for name, loss in losses.items():
                total[name] = total.get(name, 0) + loss
            each(losses)
        stacked = self._mean_over_processes(torch.stack([value.float() for value in total.values()]))
        return dict(zip(total, (stacked / self.iterations).tolist(), strict=True))

    def _set_rate(self, done: float) -> None:
        share = 0.5 * (1 + math.cos(math.pi * done)) if self.settings.decay else 1.0
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if self.fabric.world_size > 1:
            _average_gradients(optimizer, self._mean_over_processes)
        optimizer.step()

    def _mean_over_processes(self, value: Tensor) -> Tensor:
        return self.fabric.all_reduce(value, reduce_op="mean") if self.fabric.world_size > 1 else value

    def look(self, run: Run) -> dict[str, float]:
        """After an epoch: has U collapsed, which side is the foreground, how good is it."""
        u = self.memberships(run.model, self.crops.images[self.looked_at])
        row = {"smaller_side": amortized.smaller_side(u), "foreground": amortized.foreground_phase(u)}
        run.collapsed = run.collapsed + 1 if row["smaller_side"] < self.settings.least_area else 0
        if self.validation is not None:
            u = self.memberships(run.model, self.validation.images)
            found = mean_scores(u if row["foreground"] else 1 - u, self.validation.truths)
            row |= {f"val_{name}": value for name, value in found.items()}
        return row

    @torch.no_grad()
    def memberships(self, model, images: np.ndarray) -> np.ndarray:
        """U of uint8 `(N, S, S, 3)`, a batch at a time: float32 `(N, S, S)`."""
        model.eval()
        with self.fabric.autocast():
            parts = [
                model.memberships(as_input(_take(images, slice(start, start + 64), self.fabric.device)))
                for start in range(0, len(images), 64)
            ]
        return torch.cat(parts).float().cpu().numpy()

    # -- after it ---

    def keep(self, run: Run, row: dict[str, Any]) -> None:
        """Write what the epoch made; the checkpoint last, so that what it tells of is there."""
        better = row.get("val_iou", -1.0) > run.best
        run.history.append(row)
        if self.fabric.is_global_zero:
            try:
                run.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"can't make {run.folder} ({error.strerror}); choose another folder") from None
            if better:
                self._segmenter(run, row, "best validation IoU").save(run.folder / BEST)
            self._segmenter(run, row, "last epoch").save(run.folder / LAST)
            write_whole(run.folder / LOG, _as_csv(run.history).encode())
            write_whole(run.folder / CHECKPOINT, self._checkpoint(run))
        self.fabric.barrier()

    def _segmenter(self, run: Run, row: dict[str, Any], chosen: str) -> Segmenter:
        about = {"data": self.dataset, "images": len(self.crops), "seed": self.seed_of(run.attempt), "chosen": chosen}
        settings = dataclasses.asdict(self.settings)
        return run.model.as_segmenter(row["foreground"], about | {"settings": settings, "epoch": row})

    def _checkpoint(self, run: Run) -> bytes:
        stream = io.BytesIO()
        kept = {
            "format": FORMAT,
            "version": VERSION,
            "identity": self.identity(),
            "attempt": run.attempt,
            "epoch": run.epoch,
            "collapsed": run.collapsed,
            "history": run.history,
            "model": run.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        torch.save(kept, stream)
        return stream.getvalue()


def _watched(job: _Job, run: Run, epochs: int, progress: bool) -> Iterator[dict[str, Any]]:
    """Do epochs until there are enough, a row for each."""
    from tqdm import tqdm

    shown = ("area", "val_iou", "val_accuracy")
    with tqdm(total=epochs * job.iterations, disable=not progress, desc="training", unit="batch") as bar:
        while run.epoch < epochs:
            bar.n = run.epoch * job.iterations
            started = time.perf_counter()
            losses = job.epoch(run, lambda _: bar.update())
            seconds = time.perf_counter() - started
            run.epoch += 1
            row = {"attempt": run.attempt, "epoch": run.epoch, **losses, **job.look(run)}
            row |= {"seconds": seconds, "images_per_second": job.iterations * job.batch / seconds}
            bar.set_postfix({name: f"{row[name]:.3f}" for name in (*losses, *shown) if name in row})
            yield row


def _average_gradients(optimizer: torch.optim.Optimizer, mean: Callable[[Tensor], Tensor]) -> None:
    """The mean over processes, all gradients in one message."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    averaged = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, averaged.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


# --- images -----------------------------------------------------------------------------------------------------------


def _resident(array: np.ndarray, device: torch.device):
    """The array on the GPU where it takes at most half of what is free there; otherwise as it is, mapped from disk."""
    if device.type != "cuda" or array.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return array
    return torch.from_numpy(np.array(array)).to(device)


def _take(array, index, device: torch.device) -> Tensor:
    if isinstance(array, Tensor):
        return array[torch.from_numpy(index).to(device)] if isinstance(index, np.ndarray) else array[index]
    return torch.from_numpy(np.array(array[index])).to(device)


def mean_scores(u: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """Accuracy and foreground IoU, the mean over the images that have a mask, as decided and with the oracle.

    Parameters
    ----------
    u : numpy.ndarray, `(N, S, S)`
        The foreground's memberships.
    truths : numpy.ndarray of uint8, `(N, S, S)`
        As in `Crops`.
    """
    rows = [
        metrics.scores(each > 0.5, truth == 1, truth == UNSCORED)
        for each, truth in zip(u, truths, strict=True)
        if (truth != UNSCORED).any()
    ]
    wanted = ("accuracy", "iou", "accuracy_oracle", "iou_oracle")
    return {name: float(np.mean([row[name] for row in rows])) for name in wanted}


def load_checkpoint(path) -> dict[str, Any]:
    """What `train` kept: plain values and tensors, never code.

    Raises
    ------
    InputError
        When it is cut short, no checkpoint, or from another version.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError):
        raise InputError(
            f"{path} is cut short or no checkpoint; remove it to begin anew, the trained networks beside it stay"
        ) from None
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of deepcv; choose another --out")
    if kept.get("version") != VERSION:
        raise InputError(
            f"{path} has version {kept.get('version')} of the format, this deepcv goes on from {VERSION}; "
            "begin anew in another --out, or use the deepcv that wrote it"
        )
    return kept


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    changed = [
        "images or hints" if name == "data" else f"{name} {before.get(name)!r}, now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        raise InputError(
            f"{folder} holds a run with other {'; '.join(changed)}; choose another --out, or repeat what it was given"
        )


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
