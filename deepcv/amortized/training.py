"""Training a network on a collection of images: on one core, a GPU, several of either, or several machines.

Lightning Fabric starts the processes or joins those that torchrun started. Each keeps the whole model and takes its
share of every batch; gradients are averaged before each step, so N processes compute what one would. All random numbers
depend on seed and epoch alone: an interrupted run resumes from the checkpoint of its last epoch and ends with the same
weights. `deepcv.amortized.run` describes a run's files.

A model for `train` has the interface of `deepcv.amortized.model.Model`: `settings`, `optimizers()`, `step(...)`,
`memberships(x)` and `as_segmenter(...)`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import math
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepcv import metrics
from deepcv.amortized.model import foreground_phase, smaller_side
from deepcv.amortized.run import BEST, CHECKPOINT, LAST, Run, at_epoch, check_same, load_checkpoint
from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.checks import Count, check_value
from deepcv.data.crops import UNSCORED, Crops
from deepcv.devices import torch_device
from deepcv.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

N_ASSESSED = 128
"""Number of training images, evenly spread, that decide whether U has collapsed and which side is the foreground."""

RESEEDED = 1000
"""Added to the seed at each restart."""


# --- processes and devices --------------------------------------------------------------------------------------------


def fabric_for(device: str | None = None, devices: int = 1, precision: str = "float32") -> Fabric:
    """Start the processes, or join those that torchrun started.

    Parameters
    ----------
    device : str, optional
        "cpu" or "cuda"; default: the GPU if there is one.
    devices : int
        Number of processes, one per GPU; the script is started again for each but the first. Under torchrun, on one
        machine or several, torchrun sets the number.
    precision : str
        "float32" or "bfloat16".

    Raises
    ------
    InputError
        If Lightning Fabric is missing, or there are too few devices.
    """
    kind, here = check_devices(device, devices)
    from lightning_fabric import Fabric

    world = int(os.environ.get("WORLD_SIZE", here))
    torch.set_float32_matmul_precision("high")  # TF32 where the GPU has it
    torch.backends.cudnn.benchmark = kind == "cuda"  # all batches have one shape
    fabric = Fabric(
        accelerator=kind,
        devices=here,
        num_nodes=world // here,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


def check_devices(device: str | None = None, devices: int = 1) -> tuple[str, int]:
    """Kind of device and number of processes that `fabric_for` would start on this machine; raises its errors."""
    if importlib.util.find_spec("lightning_fabric") is None:
        raise InputError("training needs Lightning Fabric; install the extra `train`, or lightning-fabric")
    kind = torch_device(device).type
    here = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    check_value("devices", here, Count)
    if kind == "cuda" and here > torch.cuda.device_count():
        raise InputError(f"there are {torch.cuda.device_count()} GPUs here, not {here}; ask for fewer devices")
    return kind, here


# --- the loop ---------------------------------------------------------------------------------------------------------


def train(
    settings,
    crops: Crops,
    out,
    *,
    make: Callable[[Any, int], Any],
    hints: np.ndarray | None = None,
    validation: Crops | None = None,
    seed: int = 0,
    fabric: Fabric | None = None,
    dataset: str = "",
    kept: Collection[int] = (),
    until: int | None = None,
    progress: bool = False,
    report: Callable[[str], object] = lambda sentence: None,
) -> Run:
    """Train, or resume the run in `out`, until all epochs are done, or those asked for.

    Parameters
    ----------
    settings : deepcv.amortized.settings.Settings
        Or another dataclass with its `epochs`, `batch`, `decay` and fields on collapse.
    crops : Crops
        The training images; their masks are not used.
    out : path
        The run's folder.
    make : callable
        Returns the model for settings and a seed.
    hints : numpy.ndarray of uint8, `(N, S, S)`, optional
        From `deepcv.amortized.teaching.hints_of`.
    validation : Crops, optional
        Scored after each epoch where masks exist. Only the choice of `best-validation` depends on it.
    seed : int
    fabric : Fabric, optional
        From `fabric_for`; default: one process on the CPU.
    dataset : str
        The collection's name, for the model card.
    kept : collection of int
        Epochs after which U is kept in a file of its own (`deepcv.amortized.run`).
    until : int, optional
        Stop after this epoch; another call goes on. Default: the settings' `epochs`.
    progress : bool
        Show a bar with area and validation scores.
    report : callable
        Receives a sentence when training restarts or resumes.

    Raises
    ------
    InputError
        If `out` contains a run with other settings or data, or a checkpoint that is damaged or of another version; if
        it can't be written (the old files stay intact); if a batch has fewer images than there are processes; if losses
        or memberships become NaN or infinite.
    """
    fabric = fabric or fabric_for("cpu")
    job = _Job(settings, crops, hints, validation, seed, fabric, make, dataset)
    run = Run(Path(out))
    job.resume(run, report)
    last = min(until or settings.epochs, settings.epochs)
    total, shown = last * job.iterations, progress and fabric.is_global_zero
    with tqdm(total=total, disable=not shown, desc="training", unit="batch") as bar:
        while run.epoch < last:
            bar.n = run.epoch * job.iterations
            row = job.epoch(run, bar.update)
            bar.set_postfix({name: f"{row[name]:.3f}" for name in ("area", "val_iou", "val_accuracy") if name in row})
            job.keep(run, row, kept)
            if run.collapsed != settings.patience:
                continue
            said = f"collapsed: the smaller side covers {row['smaller_side']:.1%} of an image after epoch {run.epoch}"
            if job.may_restart(run):
                job.begin(run, run.attempt + 1)
                report(f"{said}; starting again with seed {job.seed_of(run.attempt)}")
            else:
                reason = "no restart is left" if settings.restarts else "these settings allow no restart"
                report(f"{said}; {reason}, training goes on")
    return run


class _Averaged(nn.Module):
    """The parameters of one optimizer; a loss passes through.

    Wrapped by Fabric in `DistributedDataParallel`, which averages their gradients during the backward pass of that
    loss. Wrapping the model wouldn't do: an iteration makes several backward passes, each for other parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        super().__init__()
        self.updated = nn.ParameterList(p for group in optimizer.param_groups for p in group["params"])

    def forward(self, loss: Tensor) -> Tensor:
        return loss


class _Job:
    """The model, data and settings of a training, and the parts of an epoch."""

    def __init__(self, settings, crops, hints, validation, seed, fabric, make, dataset):
        self.settings, self.crops, self.hints, self.seed = settings, crops, hints, seed
        self.fabric, self.make, self.dataset = fabric, make, dataset
        self.validation = validation if validation is not None and len(validation.marked) else None
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.averaged: dict[str, nn.Module] = {}
        world, batch = fabric.world_size, min(settings.batch, len(crops))
        if batch < world:
            raise InputError(f"{world} processes can't share a batch of {batch}; use fewer devices")
        if hints is None and getattr(settings, "hint", ""):  # type: ignore[arg-type]  # mypy wants a bool, for `if`
            raise InputError(f"the settings ask for hints by {settings.hint}; pass those of `hints_of`, or set hint=''")
        self.batch = batch // world * world
        self.iterations = len(crops) // self.batch  # drops the remainder, different images in each epoch
        self.images = _resident(crops.images, fabric.device)
        self.taught = None if hints is None else _resident(hints, fabric.device)
        self.looked_at = np.unique(np.linspace(0, len(crops) - 1, N_ASSESSED).astype(int))

    # -- start and resume ---

    def seed_of(self, attempt: int) -> int:
        return self.seed + RESEEDED * attempt

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with its checkpoint."""
        digest = hashlib.sha256("\0".join(self.crops.names).encode())
        digest.update(np.ascontiguousarray(self.crops.images[self.looked_at]).tobytes())
        if self.hints is not None:
            digest.update(np.ascontiguousarray(self.hints[self.looked_at]).tobytes())
        model = f"{self.make.__module__}.{self.make.__qualname__}"
        return dataclasses.asdict(self.settings) | {"model": model, "seed": self.seed, "data": digest.hexdigest()}

    def may_restart(self, run: Run) -> bool:
        return run.attempt < self.settings.restarts

    def begin(self, run: Run, attempt: int) -> None:
        """Start an attempt."""
        run.attempt, run.epoch, run.collapsed = attempt, 0, 0
        run.model = self.fabric.to_device(self.make(self.settings, self.seed_of(attempt)))
        self.optimizers = run.model.optimizers()
        self.averaged = {name: self.fabric.setup_module(_Averaged(each)) for name, each in self.optimizers.items()}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]

    def resume(self, run: Run, report) -> None:
        """Start, from the folder's checkpoint if there is one."""
        saved = self._shared_checkpoint(run.folder / CHECKPOINT)
        if saved is None:
            return self.begin(run, 0)
        check_same(saved["identity"], self.identity(), run.folder)
        self.begin(run, saved["attempt"])
        run.restore(saved, self.optimizers, self.settings.epochs)
        if run.collapsed >= self.settings.patience and self.may_restart(run):
            self.begin(run, run.attempt + 1)
        report(f"{run.folder / CHECKPOINT}: resuming after epoch {run.epoch} of {self.settings.epochs}")

    def _shared_checkpoint(self, path: Path) -> dict[str, Any] | None:
        """The first process's checkpoint, for all: another machine may have a different one, or none."""
        found = None
        if self.fabric.is_global_zero and os.path.lexists(path):
            try:
                found = load_checkpoint(path)
            except InputError as error:
                found = str(error)
        found = self.fabric.broadcast(found)
        if isinstance(found, str):
            raise InputError(found)
        return found

    # -- an epoch ---

    def epoch(self, run: Run, after_step: Callable[[], object]) -> dict[str, Any]:
        """One pass over the images; returns its row: the means of the losses, and what `_assess` finds."""
        started = time.perf_counter()
        rank, world, device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device
        states = np.random.SeedSequence([self.seed_of(run.attempt), run.epoch]).generate_state(2, np.uint64)
        on_cpu, on_device = (
            torch.Generator(where).manual_seed(int(state >> 1))
            for where, state in zip(("cpu", device), states, strict=True)
        )
        order = torch.randperm(len(self.crops), generator=on_cpu).numpy()

        def noise(shape: tuple[int, ...]) -> Tensor:
            # drawn for the whole batch, so that it doesn't depend on the number of processes
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
            after_step()
        means = torch.stack([value.float() for value in total.values()]) / self.iterations
        means = self.fabric.all_reduce(means, reduce_op="mean").tolist()
        seconds = time.perf_counter() - started
        run.epoch += 1
        self._check_finite(means, run)
        row = {"attempt": run.attempt, "epoch": run.epoch, **dict(zip(total, means, strict=True)), **self._assess(run)}
        return row | {"seconds": seconds, "images_per_second": self.iterations * self.batch / seconds}

    def _set_rate(self, done: float) -> None:
        share = 0.5 * (1 + math.cos(math.pi * done)) if self.settings.decay else 1.0
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        self.fabric.backward(self.averaged[name](loss))
        self.optimizers[name].step()

    def _assess(self, run: Run) -> dict[str, float]:
        """After an epoch: whether U has collapsed, which side is the foreground, validation scores."""
        u = self._memberships(run.model, self.crops.images[self.looked_at])
        self._check_finite(u, run)
        row = {"smaller_side": smaller_side(u), "foreground": foreground_phase(u)}
        run.collapsed = run.collapsed + 1 if row["smaller_side"] < self.settings.least_area else 0
        if self.validation is not None:
            u = self._memberships(run.model, self.validation.images)
            found = mean_scores(u if row["foreground"] else 1 - u, self.validation.truths)
            row |= {f"val_{name}": value for name, value in found.items()}
        return row

    def _check_finite(self, values, run: Run) -> None:
        if not np.isfinite(values).all():
            raise InputError(
                f"losses or memberships of epoch {run.epoch} are NaN or infinite; lower learning_rate, and train in "
                "another --out"
            )

    @torch.no_grad()
    def _memberships(self, model, images: np.ndarray) -> np.ndarray:
        """U of uint8 `(N, S, S, 3)`: float32 `(N, S, S)`."""
        model.eval()
        with self.fabric.autocast():
            parts = [
                model.memberships(as_input(_take(images, slice(start, start + 64), self.fabric.device)))
                for start in range(0, len(images), 64)
            ]
        return torch.cat(parts).float().cpu().numpy()

    # -- after an epoch ---

    def keep(self, run: Run, row: dict[str, Any], kept: Collection[int]) -> None:
        """Write the results of an epoch; the checkpoint last, so that all it refers to exists."""
        better = row.get("val_iou", -1.0) > max((each.get("val_iou", -1.0) for each in run.rows), default=-1.0)
        run.history.append(row)
        if self.fabric.is_global_zero:
            if better:
                self._segmenter(run, row, "best validation IoU").save(run.folder / BEST)
            if run.epoch in kept:
                self._segmenter(run, row, f"epoch {run.epoch}").save(run.folder / at_epoch(run.epoch))
            self._segmenter(run, row, "last epoch").save(run.folder / LAST)
            run.save(self.identity(), self.optimizers)
        self.fabric.barrier()

    def _segmenter(self, run: Run, row: dict[str, Any], chosen: str) -> Segmenter:
        card = {"data": self.dataset, "images": len(self.crops), "seed": self.seed_of(run.attempt), "chosen": chosen}
        card |= {"settings": dataclasses.asdict(self.settings), "epoch": row}
        return run.model.as_segmenter(row["foreground"], card)


# --- images and scores ------------------------------------------------------------------------------------------------


def _resident(array: np.ndarray, device: torch.device):
    """The array on the GPU if it takes at most half of the free memory there; otherwise unchanged."""
    if device.type != "cuda" or array.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return array
    return torch.from_numpy(np.array(array)).to(device)


def _take(array, index, device: torch.device) -> Tensor:
    if isinstance(array, Tensor):
        return array[torch.from_numpy(index).to(device)] if isinstance(index, np.ndarray) else array[index]
    return torch.from_numpy(np.array(array[index])).to(device)


def mean_scores(u: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """Accuracy and foreground IoU, as decided and with the oracle: means over the images that have a mask.

    From memberships of the foreground, `(N, S, S)`, and truths as in `Crops`, uint8 `(N, S, S)`.
    """
    rows = [
        metrics.scores(each > 0.5, truth == 1, truth == UNSCORED)
        for each, truth in zip(u, truths, strict=True)
        if (truth != UNSCORED).any()
    ]
    wanted = ("accuracy", "iou", "accuracy_oracle", "iou_oracle")
    return {name: float(np.mean([row[name] for row in rows])) for name in wanted}
