"""A data set at the one size that a network is trained at, decoded once and kept.

The shorter side is brought to the size and the centre cut out, as the paper and ReDO do. The bytes lie in the cache as
.npy files and are mapped into memory, so a second run reads them from there, and so do several processes at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepcv.data.dataset import Dataset, Sample, cache_folder
from deepcv.errors import InputError
from deepcv.images import as_colour, as_image, resize

UNSCORED = 255
"""In `Crops.truths`: nobody has said which side the pixel is on."""


NAMED = 3
"""So many unusable pictures are named; of the others the number is told."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Images of one size.

    Attributes
    ----------
    names : tuple of str
    images : numpy.ndarray of uint8, `(N, S, S, 3)`, in 0..255
    truths : numpy.ndarray of uint8, `(N, S, S)`
        1 foreground, 0 background, `UNSCORED` where nobody has said: in a whole image or in a part of it.
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
    """Every image of a data set, and its mask, as `centre_crop` cuts them.

    Parameters
    ----------
    dataset : Dataset
        Kept in the cache (`cache_folder`) when it has a stamp; then a change of its files is noticed.
    size : int
        S, in pixels.
    progress : bool
        Show a bar while images are decoded.

    Raises
    ------
    InputError
        Naming the images that can't be used, or when the cache can't be written.
    """
    if not dataset.stamp:
        return _decoded(dataset, size, progress)
    key = hashlib.sha256("\0".join([dataset.stamp, str(size), *dataset.names]).encode()).hexdigest()[:32]
    place = cache_folder() / "crops" / key
    try:
        return _kept(dataset, place)
    except (OSError, ValueError):  # none yet, or cut short when the power went
        shutil.rmtree(place, ignore_errors=True)
    _keep(_decoded(dataset, size, progress), place)
    return _kept(dataset, place)


def _kept(dataset: Dataset, place: Path) -> Crops:
    return Crops(dataset.names, *(np.load(place / f"{name}.npy", mmap_mode="r") for name in ("images", "truths")))


def cropped(dataset: Dataset, size: int) -> Dataset:
    """The crops as a data set, so that every method is scored on the images that a network is trained on."""

    def load(image: str) -> Sample:
        sample = dataset[dataset.names.index(image)]
        truth = centre_crop(truth_of(sample), size, nearest=True)
        ignore = truth == UNSCORED
        mask = None if ignore.all() else truth == 1
        pixels = centre_crop(as_colour(sample.image), size)
        return Sample(image, pixels, mask, sample.dataset, sample.source, ignore=ignore)

    return Dataset(dataset.names, load)


def centre_crop(image: np.ndarray, size: int, *, nearest: bool = False) -> np.ndarray:
    """The shorter side resized to `size`, the centre cut out: uint8 `(H, W)` or `(H, W, C)` to `(size, size[, C])`.

    Parameters
    ----------
    nearest : bool
        For masks; images are averaged over areas, where the authors' code takes the nearest pixel.
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


def truth_of(sample: Sample) -> np.ndarray:
    """Mask and ignored pixels in one, as in `Crops.truths`: uint8 `(H, W)`."""
    if sample.mask is None:
        return np.full(sample.image.shape[:2], UNSCORED, np.uint8)
    truth = sample.mask.astype(np.uint8)
    if sample.ignore is not None:
        truth[sample.ignore] = UNSCORED
    return truth


def _decoded(dataset: Dataset, size: int, progress: bool) -> Crops:
    from tqdm import tqdm

    def cut(index: int):
        try:
            sample = dataset[index]
            image = centre_crop(as_colour(sample.image), size)
            _check_crop(image, sample)
        except InputError as error:
            return error
        return image, centre_crop(truth_of(sample), size, nearest=True)

    with ThreadPoolExecutor() as threads:  # Pillow decodes without holding the interpreter's lock
        found = threads.map(cut, range(len(dataset)))
        pairs = list(tqdm(found, "decoding", len(dataset), disable=not progress, leave=False))
    bad = [each for each in pairs if isinstance(each, InputError)]
    if bad:
        raise InputError(_unusable(bad, len(pairs)))
    images, truths = zip(*pairs, strict=True)
    return Crops(dataset.names, np.stack(images), np.stack(truths))


def _check_crop(image: np.ndarray, sample: Sample) -> None:
    try:
        as_image(image)
    except InputError as error:
        raise InputError(f"{sample.dataset}/{sample.name} can't be used, in its centre {error}") from None


def _unusable(bad: list[InputError], total: int) -> str:
    if len(bad) == 1:
        return str(bad[0])
    shown = " | ".join(str(each) for each in bad[:NAMED])
    more = f" | and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return f"{len(bad)} of {total} images can't be used, move them away: {shown}{more}"


def _keep(found: Crops, place: Path) -> None:
    """Write the arrays beside their place and move them there, whole or not at all."""
    temporary = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".crops-", dir=place.parent))
        np.save(temporary / "images.npy", found.images)
        np.save(temporary / "truths.npy", found.truths)
        os.replace(temporary, place)
    except OSError as error:
        if not place.is_dir():  # or another process was first
            raise InputError(
                f"can't write to {place.parent} ({error.strerror or error}); "
                "make room, or set DEEPCV_CACHE to another folder"
            ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
