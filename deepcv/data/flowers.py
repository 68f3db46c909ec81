"""The Oxford Flowers: photographs of 17 and 102 species with masks (Tables 2 and 3).

M.-E. Nilsback, A. Zisserman, "Delving deeper into the whorl of flower segmentation", Image and Vision Computing 2010,
and "Automated flower classification over a large number of classes", ICVGIP 2008. Layout of the official archives,
below `flowers17/` and `flowers102/` in the data folder:

    flowers17/jpg/image_0001.jpg         the photograph
    flowers17/trimaps/image_0001.png     annotated by hand, for 849 of the 1360
    flowers17/{train,val,test}.txt       names, one per line; without these files, our splits
    flowers102/jpg/image_00001.jpg
    flowers102/setid.mat                 the splits
    flowers102/segmim/segmim_00001.jpg   background painted blue by an automatic method [30]

People marked some of Flowers-102 as well. Where there is no official mask these are the truth, first come first served:

    flowers102/trimaps/image_00001.png   Flowers-17's, of a photograph that both sets have
    flowers102/handdrawn/image_00001.png 255 flower, 0 background

`deepcv data link` finds the photographs that both sets have, and lists them in `flowers102/trimaps/flowers17.csv`.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepcv.data.dataset import Dataset, Sample, data_folder, file_stamp
from deepcv.errors import InputError
from deepcv.images import as_colour
from deepcv.pictures import read_image

FLOWER, BOUNDARY = 1, 0
"""Values of a trimap. 2 leaf, 3 background, 4 sky and 5 unknown count as background."""

SETID = {"train": "tstid", "val": "valid", "test": "trnid"}
"""Flowers-102's names of the splits. As in ReDO [13], the largest, intended for tests, is used for training."""

MAX_NAMED = 5
"""How many missing photographs the warning names; it counts the others."""

PAIRS = "flowers17.csv"
"""The table of photographs that both sets have, beside Flowers-102's trimaps."""

SOURCE = (
    "{} of the Visual Geometry Group (Nilsback, Zisserman), https://www.robots.ox.ac.uk/~vgg/data/flowers/; "
    "its terms are on that page; do not redistribute"
)


def flowers17(split: str) -> Dataset:
    """A split of Flowers-17; every image in "val" and "test" has a trimap, and some in "train".

    `InputError` is raised when the data are missing; on access, when a photograph is missing or its trimap has another
    size.
    """
    root = root_of("flowers17", "jpg")
    return _dataset(root, "Flowers-17", _split_names(root, split), TRUTHS_17)


def flowers102(split: str) -> Dataset:
    """A split of Flowers-102: 6149, 1020 and 1020 images, those that are there; each with a mask if one is there.

    `Sample.truth` says which: "official", "trimap" or "drawn" (`TRUTHS_102`). Missing photographs are named in a
    warning, once. Errors as for `flowers17`.
    """
    root = root_of("flowers102", "jpg", "setid.mat")
    names = [f"image_{number:05}" for number in _setid(root, split)]
    there = _listed(root / "jpg")
    missing = tuple(name for name in names if f"{name}.jpg" not in there)
    if len(missing) == len(names):
        raise InputError(f"{root / 'jpg'} has no photograph of the split {split}; {_REMEDY.format('flowers102')}")
    if missing and multiprocessing.parent_process() is None:
        _warn_of(missing, root / "jpg")
    return _dataset(root, "Flowers-102", [name for name in names if f"{name}.jpg" in there], TRUTHS_102)


def both(split: str) -> Dataset:
    """Both sets together, to train on: "train" is theirs, "val" and "test" are Flowers-17's, all marked by hand.

    A photograph that is in a set's "val" or "test", also under another name, isn't in "train", and one that is there
    twice is so once, as Flowers-17 has it if it does. `InputError` is raised as for `flowers17`, and unless
    `deepcv data link` has found what they share.
    """
    if split != "train":
        return flowers17(split)
    same = names_in_both(root_of("flowers102", "jpg") / "trimaps" / PAIRS)
    sets = flowers17, flowers102
    seen = {same.get(name, name) for opened in sets for held in ("val", "test") for name in opened(held).names}
    parts = []
    for opened in sets:
        found = opened(split)
        first = {same.get(name, name): name for name in reversed(found.names)}
        parts.append(found.only(sorted(first[photograph] for photograph in first.keys() - seen)))
        seen |= first.keys()
    return parts[0] + parts[1]


def names_in_both(table: Path) -> dict[str, str]:
    """Flowers-102's names of the photographs that both sets have, by Flowers-17's; from the table of `PAIRS`.

    `InputError` is raised when the table can't be read.
    """
    try:
        rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        return {ours: theirs for theirs, ours in rows}
    except (OSError, ValueError) as error:
        raise InputError(f"{table} can't be read ({error}); write it with `deepcv data link --overwrite`") from None


@functools.cache
def _warn_of(missing: tuple[str, ...], folder: Path) -> None:
    """Name missing photographs once per process, whatever forgets the warnings that were shown."""
    more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    warnings.warn(f"{folder} lacks {', '.join(missing[:MAX_NAMED])}{more}; they are left out", stacklevel=2)


def root_of(name: str, *needed: str) -> Path:
    """The folder of a data set; `InputError` is raised when one of the files or folders needed in it is missing."""
    root = data_folder() / name
    for part in needed:
        if not (root / part).exists():
            raise InputError(f"there is no {part} in {root}; {_REMEDY.format(name)}")
    return root


_REMEDY = "get the data with `deepcv data fetch {0}`, or set DEEPCV_DATA to the folder that holds {0}"


def _dataset(root: Path, title: str, names: list[str], truths: tuple[Truth, ...]) -> Dataset:
    masks: dict[str, tuple[Truth, Path]] = {}
    for truth in reversed(truths):  # an earlier one replaces a later one
        masks |= {name: (truth, path) for name, path in truth.masks(root, names).items()}

    def stamp() -> str:
        return file_stamp([*(_photograph(root, name) for name in names), *(path for _, path in masks.values())])

    return Dataset(names, partial(_load, root, title, masks), stamp, unmarked=set(names) - set(masks))


def _listed(folder: Path) -> set[str]:
    """The names in a folder; none if it isn't there."""
    return set(os.listdir(folder)) if folder.is_dir() else set()


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


def of_trimap(trimap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flower and ignored pixels, two bool `(H, W)`, of a trimap, uint8 `(H, W)`."""
    return trimap == FLOWER, trimap == BOUNDARY


def not_painted(painted: np.ndarray) -> np.ndarray:
    """The flower in a `segmim_*.jpg`: bool `(H, W)` from uint8 `(H, W, 3)`, not (R = 0 or G = 0 or B = 254).

    The background is (0, 0, 254) up to JPEG artefacts. The released scorers of ReDO and of the paper have this rule.
    """
    red, green, blue = np.moveaxis(painted, 2, 0)
    return ~((red == 0) | (green == 0) | (blue == 254))


class Truth(NamedTuple):
    """A kind of masks.

    Attributes
    ----------
    name : str
        `Sample.truth`; "" if the data set has one kind only.
    folder, file : str
        Where a mask is; the file's name has a place for the photograph's number.
    read : callable
        From the mask's pixels to the flower and the ignored pixels, bool `(H, W)`; None if none are ignored.
    """

    name: str
    folder: str
    file: str
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]

    def masks(self, root: Path, names: Iterable[str]) -> dict[str, Path]:
        """The masks of this kind that are there, by the photograph's name."""
        there = _listed(root / self.folder)
        files = {name: self.file.format(name.removeprefix("image_")) for name in names}
        return {name: root / self.folder / file for name, file in files.items() if file in there}


TRUTHS_17 = (Truth("", "trimaps", "image_{}.png", of_trimap),)
TRUTHS_102 = (
    Truth("official", "segmim", "segmim_{}.jpg", lambda marks: (not_painted(as_colour(marks)), None)),
    Truth("trimap", "trimaps", "image_{}.png", of_trimap),
    Truth("drawn", "handdrawn", "image_{}.png", lambda marks: (marks > 127, None)),
)
"""Flowers-102's kinds of masks; of those that a photograph has the first is its truth."""


def _photograph(root: Path, name: str) -> Path:
    return root / "jpg" / f"{name}.jpg"


def _load(root: Path, title: str, masks: Mapping[str, tuple[Truth, Path]], name: str) -> Sample:
    image = as_colour(read_image(_photograph(root, name)))
    source = SOURCE.format(title)
    if name not in masks:
        return Sample(name, image, None, root.name, source)
    truth, path = masks[name]
    mask, ignore = truth.read(read_marks(path, image))
    return Sample(name, image, mask, root.name, source, ignore=ignore, truth=truth.name)


def read_marks(path: Path, image: np.ndarray) -> np.ndarray:
    """The pixels of a mask's file, a palette's indices; `InputError` is raised unless it has the photograph's size."""
    marks = read_image(path, indices=True)
    if marks.shape[:2] != image.shape[:2]:
        raise InputError(f"{path} differs in size from its photograph; fetch the archive again")
    return marks
