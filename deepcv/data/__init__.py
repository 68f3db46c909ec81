"""Images with their true foregrounds: what is embedded in the package and what has to be fetched.

`samples`     photographs and texture composites, embedded, no download
`regions`     texture composites of three and four regions, embedded (Figure 4)
`weizmann`    100 photographs marked by three people (Table 1)
`flowers`     Flowers-17 and Flowers-102, in three splits (Tables 2 and 3)
`flowerlike`  drawn flowers with exact masks, in three splits, no download
`folder`      any folder of pictures
`crops`       a data set at the size that a network is trained at
`fetch`       getting the sets that are not embedded
`noise`       Gaussian noise, added to images (Figure 7)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deepcv.errors import InputError

from . import flowerlike, flowers, folder, noise, regions, samples, weizmann
from .crops import cropped
from .dataset import Dataset, Sample, cache_folder, data_folder, file_stamp

__all__ = [
    "DATASETS",
    "Dataset",
    "Sample",
    "cache_folder",
    "data_folder",
    "file_stamp",
    "load_dataset",
    "load_splits",
    "regions",
    "samples",
    "weizmann",
]

SPLITS = {"flowerlike": flowerlike.dataset, "flowers17": flowers.flowers17, "flowers102": flowers.flowers102}
"""The collections that a network is trained on: each is three data sets, `NAME-train`, `NAME-val` and `NAME-test`."""

DATASETS = {
    "samples": samples.dataset,
    "regions": regions.dataset,
    "weizmann": weizmann.dataset,
    **{
        f"{name}-{split}": partial(opened, split)
        for name, opened in SPLITS.items()
        for split in ("train", "val", "test")
    },
}
"""What `load_dataset` knows: a name and the function that opens the set."""


def load_dataset(
    name: str, *, split: str | None = None, side: int | None = None, sigma: int = 0, clipped: bool = True
) -> Dataset:
    """Open a data set: a sequence of `Sample`, sorted by name, each loaded when it is accessed.

    Parameters
    ----------
    name : str
        `"samples"` or `"regions"` (embedded), `"weizmann"` (to be fetched, or found through `DEEPCV_DATA`); or, with a
        `split`, `"flowerlike"` (embedded), `"flowers17"` or `"flowers102"`. `"flowers17-test"` is the same as
        `"flowers17"` with the split "test".
    split : {"train", "val", "test"}, optional
    side : int, optional
        Crops of so many pixels a side, at which a network is trained (`deepcv.data.crops`).
    sigma : int
        Standard deviation of Gaussian noise on the 0..255 scale; the noise differs from image to image.
    clipped : bool
        Whether noisy values are cut to 0..255, or the whole image is scaled to that range.

    Raises
    ------
    InputError
        For an unknown name, or when the data are not there.

    Examples
    --------
    >>> from deepcv.data import load_dataset
    >>> [sample.image.shape for sample in load_dataset("samples")[:2]]  # doctest: +SKIP
    """
    known = f"{name}-{split}" if split else name
    if known not in DATASETS:
        raise InputError(f"there is no data set {known!r}; there are {', '.join(sorted(DATASETS))}")
    found = DATASETS[known]()
    if side is not None:
        found = cropped(found, known, side)
    return noise.noisy(found, known, sigma, clip=clipped) if sigma else found


def load_splits(name: str) -> tuple[Dataset, Dataset | None]:
    """What to train on, and what to validate on where there are masks for that.

    Parameters
    ----------
    name : str
        `"flowers17"`, `"flowers102"`, `"flowerlike"`; another data set's name; or a folder of pictures.

    Raises
    ------
    InputError
        When it is none of these.
    """
    if name in SPLITS:
        return SPLITS[name]("train"), SPLITS[name]("val")
    if name in DATASETS:
        return load_dataset(name), None
    if not Path(name).is_dir():
        raise InputError(f"{name} is neither a folder nor a data set; there are {', '.join((*SPLITS, *DATASETS))}")
    return folder.dataset(name), None
