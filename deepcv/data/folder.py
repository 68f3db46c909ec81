"""A folder of pictures as a data set without masks, to train a network on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from deepcv.data.dataset import Dataset, Sample, file_stamp
from deepcv.errors import InputError
from deepcv.files import as_text
from deepcv.images import as_colour
from deepcv.pictures import note_in, read_checked


def dataset(folder) -> Dataset:
    """The pictures in a folder and its subfolders, sorted by name; a name is the path relative to the folder.

    Lossy conversions are made (`deepcv.pictures.read_image`). Hidden files, files without a picture's suffix, and what
    deepcv made itself, as masks, are skipped. `InputError` is raised when the folder is missing or has no picture; on
    access, when a picture can't be read, is too small or has a single colour.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; check the spelling")
    files = sorted(path for path in picture_files(root) if note_in(path) is None)
    paths = {as_text(path.relative_to(root)): path for path in files}
    if not paths:
        raise InputError(f"there are no pictures in {root}; put PNG or JPEG files there, or name another folder")

    def load(name: str) -> Sample:
        path = paths[name]
        return Sample(name, as_colour(read_checked(path, convert=True).pixels), None, str(root), str(path))

    return Dataset(list(paths), load, file_stamp(paths.values()))


_UNREADABLE = ("MPEG", "HDF5", "BUFR", "GRIB")
"""What Pillow knows by its first bytes and can't read."""

_EXTRA = (".heic", ".heif", ".dcm")  # suffixes that Pillow doesn't know without the extra `formats`


def picture_files(root: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders that have a picture's suffix and aren't hidden.

    Links are followed, and those that lead nowhere are among the files.
    """
    from PIL import Image

    Image.init()
    seen = set()  # links may lead in circles
    for folder, below, files in os.walk(root, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            below.clear()
            continue
        seen.add(place)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            suffix = path.suffix.lower()
            kind = Image.EXTENSION.get(suffix)
            readable = suffix in _EXTRA or (kind in Image.OPEN and kind not in _UNREADABLE)  # PDF is written alone
            if readable and (path.is_file() or not path.exists()):
                yield path
