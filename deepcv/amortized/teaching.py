"""Hints of training images: masks found image by image, without labels."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepcv import parallel
from deepcv.data.crops import Crops
from deepcv.data.dataset import cache_folder
from deepcv.files import write_whole
from deepcv.images import to_uint8
from deepcv.provenance import package_hash


class _Untaught(NamedTuple):
    """A training image without a hint."""

    name: str
    image: np.ndarray
    path: Path

    def __str__(self) -> str:
        return self.name


def hints_of(
    crops: Crops, method, *, code: str = "", start: float | None = None, workers=None, progress: bool = False
) -> np.ndarray:
    """Foreground memberships of training images by a single-image method, uint8 `(N, S, S)` in 0..255.

    They are cached by image, settings and code, so an interrupted run resumes; damaged files are made anew. Processes
    that share the work start at different images and skip those that are done.

    Parameters
    ----------
    crops : Crops
    method : deepcv.methods.Method
        Run with its default settings and seed 0.
    code : str
        Hash of the code, for the cache; default: that of the whole package.
    start : float, optional
        Where among the missing images to start, in [0, 1); default: by the rank that torchrun gives.
    workers : int or concurrent.futures.Executor, optional
        As in `deepcv.parallel.run`.
    progress : bool
        Show a bar.
    """
    if start is None:
        start = int(os.environ.get("RANK", 0)) / int(os.environ.get("WORLD_SIZE", 1))
    about = json.dumps([method.name, method.settings(), code or package_hash()], sort_keys=True)
    folder = cache_folder() / "hints"
    keys = [hashlib.sha256(about.encode() + image.tobytes()).hexdigest() for image in crops.images]
    paths = [folder / key[:2] / f"{key}.npy" for key in keys]
    missing = [i for i, path in enumerate(paths) if _kept(path) is None]
    first = int(len(missing) * start)
    items = [_Untaught(crops.names[i], np.array(crops.images[i]), paths[i]) for i in missing[first:] + missing[:first]]
    teach = partial(_teach, method.function)
    for _ in parallel.run(teach, items, workers=workers, progress=progress, description="hints"):
        pass
    return np.stack([np.load(path) for path in paths])


def _kept(path: Path) -> np.ndarray | None:
    """A hint in the cache; None if it is missing or damaged."""
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):
        return None


def _teach(function: Callable[..., Any], item: _Untaught) -> None:
    if _kept(item.path) is not None:
        return
    stream = io.BytesIO()
    np.save(stream, to_uint8(function(item.image, seed=0, device="cpu").memberships[1]))
    write_whole(item.path, stream.getvalue())
