"""Microscopy of cell nuclei with masks, from the Data Science Bowl 2018: six embedded images, more in a folder.

J. C. Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 16,
2019; image set BBBC038v1 of the Broad Bioimage Benchmark Collection, stage 1, training part. CC0 1.0: these images may
be copied, changed and shipped; the folder `dsb2018` beside this module has them, with their source.

`nuclei`     six images, embedded: the top left 256 × 256 pixels of the original, unchanged
`dsb2018`    whole images in the data folder, below `dsb2018/`: `images/ID.png`, and `masks/ID.png`, white in a nucleus

An ID is the first 16 digits of the official one. An image whose three channels are equal is grey. The foreground is all
nuclei together: where the label of an official instance is above 0.
"""

from __future__ import annotations

from pathlib import Path

from deepcv.checks import check_known
from deepcv.data.dataset import Dataset, Sample, data_folder, file_stamp
from deepcv.data.masked import masked
from deepcv.errors import InputError

SOURCE = (
    "Data Science Bowl 2018, BBBC038v1 of the Broad Bioimage Benchmark Collection (Caicedo et al. 2019), "
    "https://bbbc.broadinstitute.org/BBBC038; CC0 1.0"
)

FOLDER = Path(__file__).with_name("dsb2018")
"""The embedded images, `ID.png`, and their masks, `ID-mask.png`."""

FOR_CHOOSING = {
    "00071198d059ba7f": "clumps on black",
    "4c032609d377bd98": "large nuclei",
    "98c5ead89cd06663": "out of focus",
}
"""Embedded images at odd positions of the 21 that experiments measure on: settings may be chosen on these."""

UNSEEN = {
    "243443ae303cc09c": "many small nuclei, bright and faint",
    "8cdbdda8b3a64c97": "a grey background",
    "a5fe0b7412dd152c": "stained tissue, in colour",
}
"""Embedded images at even positions: no setting is chosen on these."""


def nuclei() -> Dataset:
    """The embedded images, sorted by name."""
    return Dataset(sorted({**FOR_CHOOSING, **UNSEEN}), load)


def load(name: str) -> Sample:
    """One embedded image; an unknown name raises `InputError`.

    Examples
    --------
    >>> from deepcv.data import nuclei
    >>> nuclei.load("4c032609d377bd98").image.shape
    (256, 256)
    """
    check_known("image of nuclei", name, nuclei().names)
    return masked(FOLDER / f"{name}.png", FOLDER / f"{name}-mask.png", "nuclei", SOURCE, grey=True)


def dsb2018() -> Dataset:
    """The images in the data folder, sorted by name.

    `InputError` is raised when there are none; on access, when an image has no mask of its size or a file can't be
    read.
    """
    root = data_folder() / "dsb2018"
    pictures = {path.stem: path for path in sorted((root / "images").glob("*.png"))}
    if not pictures:
        raise InputError(
            f"there are no images of nuclei in {root / 'images'}; put those of "
            "https://bbbc.broadinstitute.org/BBBC038 there, and their masks in dsb2018/masks, or set DEEPCV_DATA"
        )
    masks = {name: root / "masks" / path.name for name, path in pictures.items()}
    return Dataset(
        list(pictures),
        lambda name: masked(pictures[name], masks[name], "dsb2018", SOURCE, grey=True),
        file_stamp((*pictures.values(), *masks.values())),
    )
