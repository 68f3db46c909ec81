"""Hints of training images, found one image at a time without labels."""

from __future__ import annotations

import hashlib
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepcv.data.crops import Crops
from deepcv.data.dataset import cache_folder
from deepcv.files import write_whole
from deepcv.images import to_uint8

# --- hints ------------------------------------------------------------------------------------------------------------


class _Untaught(NamedTuple):
    """A training image that has no hint yet."""

    name: str
    image: np.ndarray
    place: Path

    def __str__(self) -> str:
        return self.name


def hints_of(crops: Crops, method: str, *, workers=None, progress: bool = False) -> np.ndarray:
    """What a method, one image at a time and without labels, takes for the foreground of each training image.

    What is computed is kept in the cache, under the image, the method's settings and the package's source, so a run
    that was stopped goes on. Processes that torchrun started begin at different images and skip what is there.

    Parameters
    ----------
    crops : Crops
    method : str
        By its name in the registry; its default settings, seed 0.
    workers : int or concurrent.futures.Executor, optional
        As in `deepcv.parallel.run`.
    progress : bool
        Show a bar.

    Returns
    -------
    numpy.ndarray of uint8, `(N, S, S)`
        Memberships, 0..255.
    """
    from deepcv import parallel as execution
    from deepcv.methods import get_method
    from deepcv.provenance import source_hash

    about = json.dumps([method, get_method(method).settings(), source_hash()], sort_keys=True, default=str)
    folder = cache_folder() / "hints"
    keys = [hashlib.sha256(about.encode() + image.tobytes()).hexdigest() for image in crops.images]
    places = [folder / key[:2] / f"{key}.npy" for key in keys]
    lacking = [i for i, place in enumerate(places) if not place.exists()]
    rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    first = len(lacking) * rank // world
    items = [_Untaught(crops.names[i], np.array(crops.images[i]), places[i]) for i in lacking[first:] + lacking[:first]]
    for _ in execution.run(partial(_teach, method), items, workers=workers, progress=progress, description="hints"):
        pass
    return np.stack([np.load(place) for place in places])


def _teach(method: str, item: _Untaught) -> None:
    from deepcv.methods import get_method

    if item.place.exists():
        return
    found = get_method(method).function(item.image, seed=0, device="cpu")
    stream = io.BytesIO()
    np.save(stream, to_uint8(found.memberships[1]))
    write_whole(item.place, stream.getvalue())
