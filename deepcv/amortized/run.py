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
import pickle
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
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(f"can't write into {existing}; choose another --out")
    if (folder / CHECKPOINT).exists():
        saved = load_checkpoint(folder / CHECKPOINT)
        check_same(saved["identity"], dataclasses.asdict(settings) | {"seed": seed}, folder)


def load_checkpoint(path) -> dict[str, Any]:
    """Load a checkpoint: plain values and tensors, never code.

    Raises
    ------
    InputError
        If it is truncated, not a checkpoint, or of another version.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, pickle.UnpicklingError):
        raise InputError(
            f"{path} is truncated or not a checkpoint; remove it to start again (the trained networks beside it stay)"
        ) from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise InputError(f"{path} is not a deepcv checkpoint; choose another --out")
    if saved.get("version") != VERSION:
        raise InputError(
            f"{path} has version {saved.get('version')} of the format, but this deepcv resumes from {VERSION}; "
            "start in another --out, or use the deepcv that wrote it"
        )
    return saved


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
