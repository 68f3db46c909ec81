"""Samples from pairs of files: a picture and its mask."""

from __future__ import annotations

from pathlib import Path

from deepcv.data.dataset import Sample
from deepcv.errors import InputError
from deepcv.images import as_colour
from deepcv.pictures import read_image


def masked(picture: Path, mask: Path, dataset: str, source: str, *, grey: bool = False) -> Sample:
    """The sample of a picture and its mask, bright where the foreground is; its name is the picture's.

    Parameters
    ----------
    picture, mask : path
    dataset, source : str
        As in `Sample`.
    grey : bool
        Whether a picture whose three channels are equal becomes `(H, W)`; a picture is `(H, W, 3)` otherwise.

    Raises
    ------
    InputError
        When a file is missing or can't be read, or the mask has another size.
    """
    image = as_colour(read_image(picture))
    true = as_colour(read_image(mask))[..., 0] > 127
    if true.shape != image.shape[:2]:
        raise InputError(f"{mask} is {true.shape} but its picture is {image.shape[:2]}; fetch {dataset} again")
    if grey and (image == image[..., :1]).all():
        image = image[..., 0].copy()
    return Sample(picture.stem, image, true, dataset, source)
