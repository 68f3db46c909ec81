"""The Weizmann 1-object set (also called SED1): 100 colour photographs, each annotated by three people.

S. Alpert, M. Galun, R. Basri, A. Brandt, "Image segmentation by probabilistic bottom-up aggregation and cue
integration", CVPR 2007. Layout of the official archive, below `weizmann/` in the data folder:

    1obj/NAME/src_color/*.png    the photograph
    1obj/NAME/human_seg/*.png    three copies with the object painted red, one per person
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepcv.data.dataset import Dataset, Sample, data_folder
from deepcv.errors import InputError
from deepcv.images import as_colour
from deepcv.pictures import read_image

PEOPLE = 3
"""Annotators per photograph."""

SOURCE = (
    "Weizmann segmentation evaluation database, 1 object (Alpert, Galun, Basri, Brandt 2007), "
    "https://www.wisdom.weizmann.ac.il/~vision/Seg_Evaluation_DB/; its terms are on that page; do not redistribute"
)


def photographs_folder(folder=None) -> Path:
    """`weizmann/1obj` below `folder`, by default the data folder."""
    return Path(folder or data_folder()) / "weizmann" / "1obj"


def dataset() -> Dataset:
    """The photographs, sorted by name.

    `InputError` is raised when the data are missing; on access, when a photograph's folder is incomplete.
    """
    photographs = photographs_folder()
    names = sorted(path.name for path in _subfolders(photographs))
    if not names:
        raise InputError(
            f"there are no Weizmann photographs in {photographs}; get them with `deepcv data fetch weizmann`, "
            "or set DEEPCV_DATA to the folder that holds weizmann/1obj"
        )
    return Dataset(names, load)


def load(name: str) -> Sample:
    """One photograph; its foreground is where at least two of the three people marked it.

    `InputError` is raised for an unknown name; unless the folder has one photograph and three masks of its size; or
    when a file can't be read.
    """
    place = photographs_folder() / name
    if not place.is_dir():
        raise InputError(
            f"there is no Weizmann photograph {name!r} in {place.parent}; see load_dataset('weizmann').names"
        )
    image, *painted = (as_colour(read_image(path)) for path in _pictures(place))
    marked = [marked_red(each) for each in painted]
    if any(each.shape != image.shape[:2] for each in marked):
        raise InputError(f"{place} has a mask whose size differs from its photograph's; unpack the archive again")
    return Sample(name, image, 2 * np.sum(marked, axis=0) > PEOPLE, "weizmann", SOURCE)


def marked_red(painted: np.ndarray) -> np.ndarray:
    """Where one person painted the object: red 255 and green 0; uint8 `(H, W, 3)` to bool `(H, W)`."""
    return (painted[..., 0] == 255) & (painted[..., 1] == 0)


def check(folder=None, expected: int = 100) -> None:
    """Raise `InputError` unless there are `expected` photographs, each with one picture and three masks."""
    photographs = photographs_folder(folder)
    places = _subfolders(photographs)
    for place in places:
        _pictures(place)
    if len(places) != expected:
        raise InputError(f"{photographs} has {len(places)} photographs, not {expected}; fetch the archive again")


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _pictures(place: Path) -> list[Path]:
    """The photograph, then its masks."""
    pictures = []
    for subfolder, expected in (("src_color", 1), ("human_seg", PEOPLE)):
        found = sorted(path for path in (place / subfolder).glob("*.png") if not path.name.startswith("."))
        if len(found) != expected:
            raise InputError(
                f"{place} has {len(found)} PNG files in {subfolder}, not {expected}; unpack the archive again"
            )
        pictures += found
    return pictures
