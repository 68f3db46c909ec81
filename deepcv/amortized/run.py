"""A training run: its state, and the files in its folder.

checkpoint.pt                all that resuming needs
last.safetensors             U after the last epoch, chosen without labels
best-validation.safetensors  U after the epoch with the best validation IoU: the paper's choice, which needs labels
epoch-008.safetensors        U after epoch 8, of the last attempt; for the epochs that `train` was told to keep
log.csv                      one row per epoch
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deepcv.errors import InputError
from deepcv.files import write_whole

FORMAT, VERSION = "deepcv training", 1

CHECKPOINT, LAST, BEST, LOG = "checkpoint.pt", "last.safetensors", "best-validation.safetensors", "log.csv"
"""Files in a run's folder."""


def at_epoch(epoch: int) -> str:
    """The file with U after an epoch that is kept."""
    return f"epoch-{epoch:03}.safetensors"


@dataclass
class Run:
    """State of a run."""

    folder: Path
    model: Any = None
    attempt: int = 0  # number of restarts after a collapse
    epoch: int = 0  # finished epochs of this attempt
    collapsed: int = 0  # number of the last epochs in a row with U collapsed
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch of every attempt

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history of this attempt."""
        return [row for row in self.history if row["attempt"] == self.attempt]

    def summary(self) -> str:
        """The chosen epochs, the rule for each, and their scores, as text for the user."""
        last, best = self.rows[-1], max(self.rows, key=lambda row: row.get("val_iou", -1.0))
        lines = [_in_words(self.folder / LAST, "the last epoch, chosen without labels", last)]
        if "val_iou" in last:
            lines.append(_in_words(self.folder / BEST, "the best on the validation set, chosen with its labels", best))
        if self.collapsed:
            lines.append(f"collapsed: the smaller side covers {last['smaller_side']:.1%} of an image")
        return "\n".join(lines)

    def restore(self, saved: Mapping[str, Any], optimizers: Mapping[str, torch.optim.Optimizer], epochs: int) -> None:
        """Continue from a checkpoint that `load_checkpoint` returned, with a new model and its optimizers.

        Raises
        ------
        InputError
            If it has other tensors than the model and the optimizers, NaN or infinite ones, or more than `epochs`.
        """
        self.epoch, self.collapsed, self.history = saved["epoch"], saved["collapsed"], saved["history"]
        try:
            if self.epoch > epochs:
                raise ValueError
            _check_alike(saved["model"], self.model.state_dict())
            self.model.load_state_dict(saved["model"])
            for name, optimizer in optimizers.items():
                groups = optimizer.state_dict()["param_groups"]  # the settings', which the identity contains
                parameters = [each for group in optimizer.param_groups for each in group["params"]]
                state = saved["optimizers"][name]["state"]
                for index, moments in state.items():
                    one = parameters[index].new_zeros(())
                    _check_alike(moments, {"step": one, **dict.fromkeys(("exp_avg", "exp_avg_sq"), parameters[index])})
                optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):
            raise InputError(
                f"{self.folder / CHECKPOINT} doesn't fit the networks of its settings: it was changed after it was "
                f"written; {_AGAIN}"
            ) from None

    def save(self, identity: Mapping[str, Any], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Write the log, and the checkpoint of the last epoch."""
        write_whole(self.folder / LOG, _as_csv(self.history).encode())
        content = {
            "format": FORMAT,
            "version": VERSION,
            "identity": identity,
            "attempt": self.attempt,
            "epoch": self.epoch,
            "collapsed": self.collapsed,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        write_whole(self.folder / CHECKPOINT, stream.getvalue())


def _check_alike(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise `ValueError` unless two sets of tensors have the same names and shapes, and the first is finite."""
    shapes = [{name: each.shape for name, each in tensors.items()} for tensors in (found, expected)]
    if shapes[0] != shapes[1] or not all(bool(each.isfinite().all()) for each in found.values()):
        raise ValueError


def _in_words(path: Path, chosen: str, row: dict[str, Any]) -> str:
    words = f"{path}: epoch {row['epoch']}, {chosen}"
    if "val_iou" in row:
        words += f"; validation accuracy {row['val_accuracy']:.3f}, IoU {row['val_iou']:.3f}"
    return words


def check_folder(out, settings, seed: int) -> None:
    """Check that `train` can write to a run's folder or resume from it, before hints are computed.

    Raises
    ------
    InputError
        If it isn't writable, or contains a run with other settings or a damaged checkpoint.
    """
    folder = Path(out)
    existing = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(f"can't write into {existing}; choose another --out")
    if os.path.lexists(folder / CHECKPOINT):
        saved = load_checkpoint(folder / CHECKPOINT)
        check_same(saved["identity"], dataclasses.asdict(settings) | {"seed": seed}, folder)


def load_checkpoint(path) -> dict[str, Any]:
    """Load a checkpoint: plain values and tensors, never code.

    Raises
    ------
    InputError
        If it is truncated, not a checkpoint, or of another version, or its parts don't agree.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError("not a file")  # a pipe would be waited for
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a foreign file can make the reader raise anything
        raise InputError(f"{path} is truncated or not a checkpoint; {_AGAIN}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise InputError(f"{path} is not a deepcv checkpoint; choose another --out")
    if saved.get("version") != VERSION:
        raise InputError(
            f"{path} has version {saved.get('version')} of the format, but this deepcv resumes from {VERSION}; "
            "start in another --out, or use the deepcv that wrote it"
        )
    if not _consistent(saved):
        raise InputError(f"{path} has parts that don't agree: it was changed after it was written; {_AGAIN}")
    return saved


_AGAIN = "remove it to start again (the trained networks beside it stay)"
_KINDS = {"identity": dict, "attempt": int, "epoch": int, "collapsed": int, "history": list, "model": dict}


def _consistent(saved: dict[str, Any]) -> bool:
    """Whether a checkpoint has its parts, and a row for each of its epochs."""
    values = [(saved.get(name), kind) for name, kind in _KINDS.items()]
    if not all(isinstance(value, kind) and not isinstance(value, bool) for value, kind in values):
        return False
    rows, optimizers = saved["history"], saved.get("optimizers")
    if any(isinstance(value, torch.Tensor) for value in saved["identity"].values()):
        return False
    if not (isinstance(optimizers, dict) and all(isinstance(each, dict) for each in optimizers.values())):
        return False
    for row in rows:
        if not (isinstance(row, dict) and {"attempt", "epoch", "smaller_side", "foreground"} <= row.keys()):
            return False
        if not all(isinstance(name, str) and type(value) in (int, float) for name, value in row.items()):
            return False
    epochs = [row["epoch"] for row in rows if row["attempt"] == saved["attempt"]]
    return (
        saved["attempt"] >= 0
        and 0 <= saved["collapsed"] <= saved["epoch"] == len(epochs)
        and epochs == list(range(1, len(epochs) + 1))
        and all(isinstance(each, torch.Tensor) for each in saved["model"].values())
    )


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise `InputError` if the run in the folder differs from this one."""
    changed = [
        "images or hints" if name == "data" else f"{name} {before.get(name)!r}, now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        raise InputError(
            f"{folder} contains a different run ({'; '.join(changed)}); choose another --out, or repeat its settings"
        )


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
