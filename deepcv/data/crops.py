"""Centre crops of a data set at one size, for training networks.

The shorter side is resized and the centre cropped, as in the paper and ReDO. Crops are decoded once, cached as .npy
files and mapped into memory, also by several processes at once.
"""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepcv.data.dataset import Dataset, Sample, cache_folder
from deepcv.errors import InputError
from deepcv.files import write_whole
from deepcv.images import as_colour, check_image, resize

UNSCORED = 255
"""Value of pixels without ground truth in `Crops.truths`."""

ARRAYS = ("images", "truths")
"""Attributes of `Crops` that are cached."""

MAX_NAMED = 3
"""How many unusable pictures an error names; it counts the others."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Images of one size.

    Attributes
    ----------
    names : tuple of str
    images : numpy.ndarray of uint8, `(N, S, S, 3)`, in 0..255
    truths : numpy.ndarray of uint8, `(N, S, S)`
        1 foreground, 0 background, `UNSCORED` where there is no ground truth.
    """

    names: tuple[str, ...]
    images: np.ndarray
    truths: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """S, in pixels."""
        return self.images.shape[1]

    @property
    def marked(self) -> np.ndarray:
        """Indices of the images that have a mask."""
        return np.flatnonzero([(truth != UNSCORED).any() for truth in self.truths])


def crops(dataset: Dataset, size: int, *, progress: bool = False) -> Crops:
    """Images and masks of a data set, cropped by `centre_crop`.

    Parameters
    ----------
    dataset : Dataset
        With a stamp, its crops are cached (`cache_folder`) until its files change.
    size : int
        S, in pixels.
    progress : bool
        Show a progress bar while decoding.

    Raises
    ------
    InputError
        When images can't be used, with their names, or the cache can't be written.
    """
    if not dataset.stamp:
        return _decoded(dataset, size, progress)
    key = hashlib.sha256("\0".join([dataset.stamp, str(size), *dataset.names]).encode()).hexdigest()[:32]
    folder = cache_folder() / "crops" / key
    try:
        return _cached(dataset, folder)
    except (OSError, ValueError, EOFError):  # missing, truncated or empty
        _cache(_decoded(dataset, size, progress), folder)
        return _cached(dataset, folder)


def usable_crops(dataset: Dataset, size: int, *, progress: bool = False) -> tuple[Crops, dict[str, str]]:
    """`crops` of the images that can be used, and by name the reasons why others can't.

    Raises
    ------
    InputError
        When no image can be used, or the cache can't be written.
    """
    try:
        return crops(dataset, size, progress=progress), {}
    except InputError:
        reasons = {}
        for name in dataset.names:
            try:
                _decoded(dataset.only([name]), size, progress=False)
            except InputError as error:
                reasons[name] = str(error)
        if not 0 < len(reasons) < len(dataset):
            raise
    return crops(
        dataset.only([name for name in dataset.names if name not in reasons]), size, progress=progress
    ), reasons


def _cached(dataset: Dataset, folder: Path) -> Crops:
    return Crops(dataset.names, *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS))


def cropped(dataset: Dataset, size: int) -> Dataset:
    """The crops as a data set, for scoring every method on the same images as a trained network."""

    def change(sample: Sample) -> Sample:
        pixels, truth = _crop(sample, size)
        ignore = truth == UNSCORED
        mask = None if ignore.all() else truth == 1
        return Sample(sample.name, pixels, mask, sample.dataset, sample.source, ignore=ignore, truth=sample.truth)

    return dataset.map(change)


def _crop(sample: Sample, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image, and mask and ignored pixels in one array as in `Crops.truths`."""
    truth = np.full(sample.image.shape[:2], UNSCORED, np.uint8)
    if sample.mask is not None:
        scored = True if sample.ignore is None else ~sample.ignore
        np.copyto(truth, sample.mask, where=scored)
    return centre_crop(as_colour(sample.image), size), centre_crop(truth, size, nearest=True)


def centre_crop(image: np.ndarray, size: int, *, nearest: bool = False) -> np.ndarray:
    """Resize the shorter side to `size` and crop the centre: uint8 `(H, W[, C])` to `(size, size[, C])`.

    Parameters
    ----------
    nearest : bool
        Nearest-neighbour interpolation, for masks. Images are area-averaged; the authors' code takes the nearest pixel.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / min(height, width)
    shape = max(size, round(height * scale)), max(size, round(width * scale))
    if nearest:
        image = cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    else:
        image = resize(image, shape)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def _decoded(dataset: Dataset, size: int, progress: bool) -> Crops:
    from tqdm import tqdm

    def cut(index: int):
        try:
            sample = dataset[index]
            image, truth = _crop(sample, size)
            check_image(image, f"the centre of {sample.dataset}/{sample.name}")
        except InputError as error:
            return error
        return image, truth

    with ThreadPoolExecutor() as threads:  # Pillow releases the GIL while decoding
        found = threads.map(cut, range(len(dataset)))
        pairs = list(tqdm(found, "decoding", len(dataset), disable=not progress, leave=False))
    bad = [each for each in pairs if isinstance(each, InputError)]
    if bad:
        shown = " | ".join(map(str, bad[:MAX_NAMED]))
        more = f" | and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
        several = f"{len(bad)} of {len(pairs)} images can't be used, move them away: " if len(bad) > 1 else ""
        raise InputError(several + shown + more)
    images, truths = zip(*pairs, strict=True)
    return Crops(dataset.names, np.stack(images), np.stack(truths))


def _cache(found: Crops, folder: Path) -> None:
    for name in ARRAYS:
        stream = io.BytesIO()
        np.save(stream, getattr(found, name))
        write_whole(folder / f"{name}.npy", stream.getvalue())
