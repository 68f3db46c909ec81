"""The Oxford Flowers: photographs of 17 and 102 species with masks (Tables 2 and 3).

M.-E. Nilsback, A. Zisserman, "Delving deeper into the whorl of flower segmentation", Image and Vision Computing 2010,
and "Automated flower classification over a large number of classes", ICVGIP 2008. Layout of the official archives,
below `flowers17/` and `flowers102/` in the data folder:

    flowers17/jpg/image_0001.jpg         the photograph
    flowers17/trimaps/image_0001.png     annotated by hand, for 849 of the 1360
    flowers17/{train,val,test}.txt       names, one per line; without these files, our splits
    flowers102/jpg/image_00001.jpg
    flowers102/segmim/segmim_00001.jpg   background painted blue by an automatic method [30]
    flowers102/setid.mat                 the splits

Flowers-17 replaces Flowers-102 where the latter's masks are unavailable: fewer images (810, 150, 200), manual masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from deepcv.data.dataset import Dataset, Sample, data_folder, file_stamp
from deepcv.errors import InputError
from deepcv.images import as_colour
from deepcv.pictures import read_image

FLOWER, BOUNDARY = 1, 0
"""Values of a trimap. 2 leaf, 3 background, 4 sky and 5 unknown count as background."""

SETID = {"train": "tstid", "val": "valid", "test": "trnid"}
"""Flowers-102's names of the splits. As in ReDO [13], the largest, intended for tests, is used for training."""

SOURCE = (
    "{} of the Visual Geometry Group (Nilsback, Zisserman), https://www.robots.ox.ac.uk/~vgg/data/flowers/; "
    "its terms are on that page; do not redistribute"
)


def flowers17(split: str) -> Dataset:
    """A split of Flowers-17; every image in "val" and "test" has a trimap, and some in "train".

    `InputError` is raised when the data are missing; on access, when a photograph is missing or its trimap has another
    size.
    """
    root = _root("flowers17", "jpg")
    return _dataset(root, _split_names(root, split), _trimap, _load17)


def flowers102(split: str) -> Dataset:
    """A split of Flowers-102 (6149, 1020 and 1020 images), each image with a mask; errors as for `flowers17`."""
    root = _root("flowers102", "jpg", "segmim", "setid.mat")
    return _dataset(root, [f"image_{number:05}" for number in _setid(root, split)], _painted, _load102)


def _root(name: str, *needed: str) -> Path:
    root = data_folder() / name
    for part in needed:
        if not (root / part).exists():
            raise InputError(
                f"there is no {part} in {root}; get the data with `deepcv data fetch {name}`, "
                f"or set DEEPCV_DATA to the folder that holds {name}"
            )
    return root


def _dataset(root: Path, names: list[str], marks: Callable[..., Path], load: Callable[..., Sample]) -> Dataset:
    stamp = file_stamp(path for name in names for path in (_photograph(root, name), marks(root, name)))
    return Dataset(names, partial(load, root), stamp)


# --- the splits -------------------------------------------------------------------------------------------------------


def _split_names(root: Path, split: str) -> list[str]:
    """From the list beside the images, otherwise from the package's."""
    path = root / f"{split}.txt"
    if path.exists():
        return path.read_text(encoding="utf-8").split()
    numbers = json.loads(Path(__file__).with_name("flowers17_splits.json").read_text())[split]
    return [f"image_{number:04}" for number in numbers]


def _setid(root: Path, split: str) -> list[int]:
    from scipy.io import loadmat

    try:
        return sorted(int(number) for number in loadmat(root / "setid.mat")[SETID[split]].ravel())
    except Exception as error:  # SciPy may raise anything on a damaged file
        raise InputError(f"{root / 'setid.mat'} can't be read ({error}); fetch it again") from None


# --- an image and its mask --------------------------------------------------------------------------------------------


def _photograph(root: Path, name: str) -> Path:
    return root / "jpg" / f"{name}.jpg"


def _trimap(root: Path, name: str) -> Path:
    return root / "trimaps" / f"{name}.png"


def _painted(root: Path, name: str) -> Path:
    return root / "segmim" / f"{name.replace('image', 'segmim')}.jpg"


def _load17(root: Path, name: str) -> Sample:
    image = as_colour(read_image(_photograph(root, name)))
    mask = ignore = None
    if (path := _trimap(root, name)).exists():
        trimap = _marks(path, image)
        mask, ignore = trimap == FLOWER, trimap == BOUNDARY
    return Sample(name, image, mask, "flowers17", SOURCE.format("Flowers-17"), ignore=ignore)


def _load102(root: Path, name: str) -> Sample:
    image = as_colour(read_image(_photograph(root, name)))
    mask = not_painted(as_colour(_marks(_painted(root, name), image)))
    return Sample(name, image, mask, "flowers102", SOURCE.format("Flowers-102"))


def not_painted(painted: np.ndarray) -> np.ndarray:
    """The flower in a `segmim_*.jpg`: bool `(H, W)` from uint8 `(H, W, 3)`, not (R = 0 or G = 0 or B = 254).

    The background is (0, 0, 254) up to JPEG artefacts. ReDO and the paper score with this rule.
    """
    red, green, blue = np.moveaxis(painted, 2, 0)
    return ~((red == 0) | (green == 0) | (blue == 254))


def _marks(path: Path, image: np.ndarray) -> np.ndarray:
    marks = read_image(path)
    if marks.shape[:2] != image.shape[:2]:
        raise InputError(f"{path} differs in size from its photograph; fetch the archive again")
    return marks
