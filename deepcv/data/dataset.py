"""What a data set is here: samples loaded when they are asked for, their names known before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from deepcv.errors import InputError


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and what a person, or the construction, says its foreground is.

    Attributes
    ----------
    name : str
        Unique within its data set.
    image : numpy.ndarray of uint8, `(H, W)` or `(H, W, 3)`, in 0..255
    mask : numpy.ndarray of bool, `(H, W)`, or None
        The true foreground; None where nobody has marked one.
    dataset : str
        The name that `load_dataset` knows the data set by.
    source : str
        Where the image comes from and under which licence.
    regions : numpy.ndarray of uint8, `(H, W)`, or None
        The true partition, labels 0..N-1, of an image that is more than foreground and background.
    ignore : numpy.ndarray of bool, `(H, W)`, or None
        Where nobody has said which side a pixel is on: it counts in no score.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None
    dataset: str
    source: str
    regions: np.ndarray | None = None
    ignore: np.ndarray | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, over the shapes and bytes of the image and of all that is marked in it."""
        digest = hashlib.sha256()
        for array in (self.image, self.mask, self.regions, self.ignore):
            if array is not None:
                digest.update(f"{array.shape}{array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


class Dataset(Sequence[Sample]):
    """A sequence of samples in which each is loaded anew when it is accessed; a slice is a data set too.

    Parameters
    ----------
    names : sequence of str
        The order of the samples.
    load : callable
        Makes the `Sample` of a name.
    stamp : str
        Changes when the images do (`file_stamp`); what is made of them may be kept under it. Empty: don't keep.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Sample], stamp: str = ""):
        self.names = tuple(names)
        self.stamp = stamp
        self._load = load

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Dataset(self.names[index], self._load, self.stamp)
        return self._load(self.names[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._load, self.names)

    def only(self, names: Iterable[str]) -> Dataset:
        """The samples of these names, in this order.

        Raises
        ------
        InputError
            For a name that is not in the data set.
        """
        names = tuple(names)
        unknown = [name for name in names if name not in self.names]
        if unknown:
            first = ", ".join(self.names[:5])
            raise InputError(f"there is no image {unknown[0]!r} among these {len(self)}; the first are {first}")
        return Dataset(names, self._load, self.stamp)

    def spread(self, count: int) -> Dataset:
        """At most `count` samples, evenly spread over the data set."""
        count = min(count, len(self))
        return self.only(self.names[index * len(self) // count] for index in range(count))

    def __repr__(self) -> str:
        return f"<Dataset of {len(self)} samples: {', '.join(self.names[:3])}{', …' if len(self) > 3 else ''}>"


def file_stamp(paths: Iterable[Path]) -> str:
    """SHA-256, in hex, over the files' names, lengths and times of change; one that is absent counts as absent."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
        except FileNotFoundError:
            digest.update(f"{path}\0".encode())
        else:
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def data_folder() -> Path:
    """The folder that holds the downloaded data sets: `DEEPCV_DATA`, or else the user's cache."""
    configured = os.environ.get("DEEPCV_DATA")
    if configured:
        return Path(configured).expanduser()
    return cache_folder()


def cache_folder() -> Path:
    """The folder of what can be made again: `DEEPCV_CACHE`, or else the user's cache."""
    configured = os.environ.get("DEEPCV_CACHE")
    if configured:
        return Path(configured).expanduser()
    import pooch

    return Path(pooch.os_cache("deepcv"))
