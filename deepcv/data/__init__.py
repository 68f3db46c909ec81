"""Images with ground truth, embedded in the package or downloaded.

`samples`     photographs and texture composites, embedded
`regions`     texture composites of three and four regions, embedded (Figure 4)
`nuclei`      microscopy of cell nuclei, six images embedded
`weizmann`    100 photographs, each annotated by three people (Table 1); 100 more with two objects
`ecssd`       photographs with one salient object, harder than Weizmann's
`flowers`     Flowers-17 and Flowers-102, in three splits (Tables 2 and 3)
`link`        Flowers-17's trimaps for the photographs that Flowers-102 has, too
`truths`      how far two truths of one photograph disagree
`flowerlike`  synthetic flowers with exact masks, in three splits, embedded
`folder`      any folder of pictures
`masked`      a picture and its mask, from two files
`crops`       centre crops of one size, for training networks
`fetch`       downloads
`noise`       Gaussian noise on images (Figure 7)
"""

from __future__ import annotations

from pathlib import Path

from deepcv.checks import Count, check_known, check_value
from deepcv.errors import InputError

from . import ecssd, flowerlike, flowers, folder, noise, nuclei, regions, samples, weizmann
from .crops import cropped
from .dataset import Dataset, Sample, cache_folder, data_folder, file_stamp

__all__ = [
    "COLLECTIONS",
    "SETS",
    "SPLITS",
    "Dataset",
    "Sample",
    "cache_folder",
    "data_folder",
    "file_stamp",
    "load_dataset",
    "load_splits",
    "nuclei",
    "regions",
    "samples",
    "weizmann",
]

SETS = {
    "samples": samples.dataset,
    "regions": regions.dataset,
    "nuclei": nuclei.nuclei,
    "weizmann": weizmann.dataset,
    "weizmann2": weizmann.two_objects,
    "weizmann2-regions": weizmann.two_object_regions,
    "ecssd": ecssd.dataset,
    "dsb2018": nuclei.dsb2018,
}
"""Data sets without splits: name and opening function."""

_OF_REGIONS = ("regions", "weizmann2-regions")

COLLECTIONS = {
    "flowerlike": flowerlike.dataset,
    "flowers17": flowers.flowers17,
    "flowers102": flowers.flowers102,
    "flowers": flowers.both,
}
"""Collections for training: name and the function that opens one of their `SPLITS`."""

SPLITS = ("train", "val", "test")


def load_dataset(
    name: str, *, split: str | None = None, side: int | None = None, sigma: float = 0, clipped: bool = True
) -> Dataset:
    """Open a data set: a sequence of `Sample` sorted by name, each loaded on access.

    Parameters
    ----------
    name : str
        A key of `SETS` or `COLLECTIONS`; data that aren't embedded must be downloaded (`deepcv data fetch`) or be in
        the folder `DEEPCV_DATA`.
    split : {"train", "val", "test"}, optional
        Required for a collection, refused for other sets.
    side : int, optional
        Side of centre crops in pixels, as used for training (`deepcv.data.crops`).
    sigma : float
        Standard deviation of Gaussian noise on the 0..255 scale, with a seed per image.
    clipped : bool
        Clip noisy values to 0..255; False rescales the image to that range.

    Raises
    ------
    InputError
        For an unknown name or split, a side or sigma out of range, a side for a data set of several regions, or if
        the data are missing.

    Examples
    --------
    >>> from deepcv.data import load_dataset
    >>> [sample.image.shape for sample in load_dataset("samples")[:2]]  # doctest: +SKIP
    """
    check_value("side", side, Count | None)
    noise.check_sigma(sigma)
    if name in COLLECTIONS:
        if split not in SPLITS:
            told = "is in splits" if split is None else f"has no split {split!r}"
            raise InputError(f"{name} {told}; give split as one of {', '.join(SPLITS)}")
        found = COLLECTIONS[name](split)
    else:
        check_known("data set", name, (*SETS, *COLLECTIONS))
        if split is not None:
            raise InputError(f"{name} has no splits; leave out split {split!r}")
        found = SETS[name]()
    if side is not None:
        if name in _OF_REGIONS:
            raise InputError(f"{name} has several regions, which crops don't have; leave out side {side}")
        found = cropped(found, side)
    return noise.noisy(found, sigma, clip=clipped) if sigma else found


def load_splits(name: str) -> tuple[Dataset, Dataset | None]:
    """Training images of a collection, another data set or a folder of pictures; a collection's validation images.

    `InputError` is raised if `name` is none of these.
    """
    if name in COLLECTIONS:
        return load_dataset(name, split="train"), load_dataset(name, split="val")
    if name in SETS:
        return load_dataset(name), None
    if not Path(name).is_dir():
        raise InputError(f"{name} is neither a folder nor a data set; there are {', '.join((*COLLECTIONS, *SETS))}")
    return folder.dataset(name), None
