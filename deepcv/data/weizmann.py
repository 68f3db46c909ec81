"""The Weizmann database: 100 photographs with one object (also called SED1) and 100 with two (SED2).

S. Alpert, M. Galun, R. Basri, A. Brandt, "Image segmentation by probabilistic bottom-up aggregation and cue
integration", CVPR 2007. Layout of the official archive, below `weizmann/` in the data folder:

    1obj/NAME/src_color/*.png    the photograph
    1obj/NAME/human_seg/*.png    three copies with the object painted red, one per person
    2obj/NAME/…                  the same with two objects, one painted red and the other blue

Which of two objects is red was each person's choice: in 68 of the 182 later markings the colours are the other way
round than in the first. They are matched to the first person's before the vote. Some photographs have the markings of
one or two people only.
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
    "Weizmann segmentation evaluation database, {objects} (Alpert, Galun, Basri, Brandt 2007), "
    "https://www.wisdom.weizmann.ac.il/~vision/Seg_Evaluation_DB/; its terms are on that page; do not redistribute"
)


def photographs_folder(folder=None, part: str = "1obj") -> Path:
    """`weizmann/1obj`, or another part, below `folder`, by default the data folder."""
    return Path(folder or data_folder()) / "weizmann" / part


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
    return Sample(name, image, 2 * np.sum(marked, axis=0) > PEOPLE, "weizmann", SOURCE.format(objects="1 object"))


def marked_red(painted: np.ndarray) -> np.ndarray:
    """Where one person painted the object: red 255 and green 0; uint8 `(H, W, 3)` to bool `(H, W)`."""
    return (painted[..., 0] == 255) & (painted[..., 1] == 0)


# --- two objects ------------------------------------------------------------------------------------------------------


def two_objects() -> Dataset:
    """The photographs with two objects, sorted by name; the foreground is both together.

    `InputError` is raised when the data are missing; on access, as by `load_two`.
    """
    return Dataset(_names_of_two(), lambda name: _sample_of_two(name, "weizmann2"))


def two_object_regions() -> Dataset:
    """The same photographs with three true regions, as in `deepcv.data.regions`: background 0, objects 1 and 2."""
    return Dataset(_names_of_two(), lambda name: _sample_of_two(name, "weizmann2-regions"))


def _names_of_two() -> list[str]:
    photographs = photographs_folder(part="2obj")
    names = [path.name for path in _subfolders(photographs)]
    if not names:
        raise InputError(
            f"there are no Weizmann photographs in {photographs}; get them with `deepcv data fetch weizmann2`, "
            "or set DEEPCV_DATA to the folder that holds weizmann/2obj"
        )
    return names


def _sample_of_two(name: str, dataset: str) -> Sample:
    image, regions = load_two(name)
    source = SOURCE.format(objects="2 objects")
    if dataset == "weizmann2":
        return Sample(name, image, regions > 0, dataset, source)
    return Sample(name, image, None, dataset, source, regions)


def load_two(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with two objects and its regions, uint8 `(H, W, 3)` and `(H, W)`.

    A pixel belongs to an object if more than half of the people marked it so, with colours matched to the first
    person's (`matched`); otherwise to the background, 0.

    Raises
    ------
    InputError
        When the photograph or every marking is missing, one has another size, or a file can't be read.
    """
    place = photographs_folder(part="2obj") / name
    image = as_colour(read_image(place / "src_color" / f"{name}.png"))
    painted = [as_colour(read_image(path)) for path in sorted((place / "human_seg").glob("[!.]*.png"))]
    if not painted:
        raise InputError(f"{place} has no PNG file in human_seg; unpack the archive again")
    marked = [marked_red(each) + 2 * marked_blue(each).astype(np.uint8) for each in painted]
    if any(each.shape != image.shape[:2] for each in marked):
        raise InputError(f"{place} has a mask whose size differs from its photograph's; unpack the archive again")
    marked = [matched(each, marked[0]) for each in marked]
    regions = np.zeros(image.shape[:2], np.uint8)
    for label in (1, 2):
        regions[2 * sum(each == label for each in marked) > len(marked)] = label
    return image, regions


def marked_blue(painted: np.ndarray) -> np.ndarray:
    """Where one person painted the other object: blue 255, green 0, red below 255; uint8 `(H, W, 3)` to bool."""
    return (painted[..., 2] == 255) & (painted[..., 1] == 0) & (painted[..., 0] < 255)


def matched(marked: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One person's labels, 0, 1 and 2, with 1 and 2 exchanged if more pixels then agree with the first person's.

    Parameters
    ----------
    marked, first : numpy.ndarray of uint8, `(H, W)`
    """
    exchanged = np.array([0, 2, 1], np.uint8)[marked]
    agree, agree_exchanged = (np.count_nonzero((each == first) & (first > 0)) for each in (marked, exchanged))
    return exchanged if agree_exchanged > agree else marked


# --- what is there ----------------------------------------------------------------------------------------------------


def check_two(folder=None, expected: int = 100) -> None:
    """Raise `InputError` unless there are `expected` photographs with two objects, each with a marking."""
    photographs = photographs_folder(folder, "2obj")
    complete = [
        place for place in _subfolders(photographs)
        if (place / "src_color" / f"{place.name}.png").is_file() and any((place / "human_seg").glob("[!.]*.png"))
    ]  # fmt: skip
    if len(complete) != expected:
        raise InputError(
            f"{photographs} has {len(complete)} whole photographs, not {expected}; fetch the archive again"
        )


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
