"""Data sets: sequences of named samples that are loaded on access."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from deepcv.errors import InputError
from deepcv.files import configured_folder


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its ground truth.

    Attributes
    ----------
    name : str
        Unique within its data set.
    image : numpy.ndarray of uint8, `(H, W)` or `(H, W, 3)`, in 0..255
    mask : numpy.ndarray of bool, `(H, W)`, or None
        The true foreground; None if unknown.
    dataset : str
        The data set's name in `load_dataset`.
    source : str
        Origin and licence of the image.
    regions : numpy.ndarray of uint8, `(H, W)`, or None
        The true partition, labels 0..N-1, of an image with several regions.
    ignore : numpy.ndarray of bool, `(H, W)`, or None
        Pixels without ground truth, excluded from every score.
    truth : str
        The kind of the mask, in a data set that has several; no part of the hash.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None
    dataset: str
    source: str
    regions: np.ndarray | None = None
    ignore: np.ndarray | None = None
    truth: str = ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the shapes and bytes of the image and its ground truth."""
        digest = hashlib.sha256()
        for array in (self.image, self.mask, self.regions, self.ignore):
            if array is not None:
                digest.update(f"{array.shape}{array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


class Dataset(Sequence[Sample]):
    """A sequence of samples, each loaded again on every access; a slice is a data set too.

    Parameters
    ----------
    names : sequence of str
        The order of the samples.
    load : callable
        Returns the `Sample` of a name.
    stamp : str, or callable that returns it
        Changes with the images (`file_stamp`) and keys caches of what is derived from them. Empty: no caching.
    unmarked : collection of str
        Names known, before loading, to have no mask.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], Sample],
        stamp: str | Callable[[], str] = "",
        *,
        unmarked: Collection[str] = (),
    ):
        self.names = tuple(names)
        self.unmarked = frozenset(unmarked)
        self._load, self._stamp = load, stamp

    @cached_property
    def stamp(self) -> str:
        """Found when it is first asked for: thousands of files take a while."""
        return self._stamp if isinstance(self._stamp, str) else self._stamp()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._with(self.names[index])
        return self._load(self.names[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._load, self.names)  # Sequence's own would take an IndexError while loading for the end

    def map(self, change: Callable[[Sample], Sample]) -> Dataset:
        """The data set with `change` applied to every sample, without a stamp."""
        return Dataset(self.names, lambda name: change(self._load(name)), unmarked=self.unmarked)

    def only(self, names: Iterable[str]) -> Dataset:
        """The samples with these names, in this order; an unknown name raises `InputError`."""
        names, known = tuple(names), set(self.names)
        for name in names:
            if name not in known:
                first = ", ".join(self.names[:5])
                raise InputError(f"there is no image {name!r} among these {len(self)}; the first are {first}")
        return self._with(names)

    def __add__(self, other: Dataset) -> Dataset:
        """The samples of both; names that both have raise `InputError`."""
        if both := {*self.names} & {*other.names}:
            raise InputError(f"both data sets have an image {min(both)!r}; leave it out of one of them, by `only`")
        loads = dict.fromkeys(self.names, self._load) | dict.fromkeys(other.names, other._load)

        def stamp() -> str:
            stamps = self.stamp, other.stamp
            return hashlib.sha256("".join(stamps).encode()).hexdigest() if all(stamps) else ""

        return Dataset(
            self.names + other.names, lambda name: loads[name](name), stamp, unmarked=self.unmarked | other.unmarked
        )

    def scorable(self) -> Dataset:
        """The samples that may have a mask: without those known, before loading, to have none."""
        return self._with([name for name in self.names if name not in self.unmarked])

    def _with(self, names: Sequence[str]) -> Dataset:
        return Dataset(names, self._load, lambda: self.stamp, unmarked=self.unmarked)

    def spread(self, count: int) -> Dataset:
        """At most `count` samples, evenly spaced in the data set."""
        count = min(count, len(self))
        return self.only(self.names[index * len(self) // count] for index in range(count))

    def __repr__(self) -> str:
        return f"<Dataset of {len(self)} samples: {', '.join(self.names[:3])}{', …' if len(self) > 3 else ''}>"


def file_stamp(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over names, sizes and modification times of files; a missing file counts as missing."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path) + b"\0")
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            digest.update(f"{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def data_folder() -> Path:
    """The folder of downloaded data sets: `DEEPCV_DATA`, by default the user's cache."""
    return configured_folder("DEEPCV_DATA") or cache_folder()


def cache_folder() -> Path:
    """The folder of what can be recomputed: `DEEPCV_CACHE`, by default the user's cache."""
    import pooch

    return configured_folder("DEEPCV_CACHE") or Path(pooch.os_cache("deepcv"))
