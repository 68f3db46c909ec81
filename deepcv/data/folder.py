"""Any folder of pictures as a data set without masks: a collection of one's own to train on."""

from __future__ import annotations

from pathlib import Path

from deepcv.data.dataset import Dataset, Sample, file_stamp
from deepcv.errors import InputError
from deepcv.images import as_colour, as_image
from deepcv.pictures import read_image


def dataset(folder) -> Dataset:
    """The pictures in a folder and the folders in it, sorted by their names, which are paths within it.

    What loses information is converted: an animation's first frame, 16-bit samples, alpha over white, CMYK. Hidden
    files and those whose ending is no picture's are left alone.

    Raises
    ------
    InputError
        When there is no such folder, or no picture in it; on access, when a picture can't be read, is too small or has
        one colour throughout.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; check the spelling")
    paths = sorted(_pictures(root))
    if not paths:
        raise InputError(f"there are no pictures in {root}; put PNG or JPEG files there, or name another folder")
    names = [path.relative_to(root).as_posix() for path in paths]
    return Dataset(names, lambda name: _load(root, name), file_stamp(paths))


def _pictures(root: Path):
    from PIL import Image

    Image.init()
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        readable = Image.EXTENSION.get(path.suffix.lower()) in Image.OPEN  # PDF, say, Pillow can only write
        if readable and not hidden and path.is_file():
            yield path


def _load(root: Path, name: str) -> Sample:
    image = as_colour(read_image(root / name, convert=True))
    try:
        as_image(image)
    except InputError as error:
        raise InputError(f"{root / name} can't be used: {error}") from None
    return Sample(name, image, None, str(root), f"{root / name}")
