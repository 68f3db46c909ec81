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

import re
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


def load_dataset(name: str) -> Dataset:
    """Open a data set: a sequence of `Sample`, sorted by name, each loaded when it is accessed.

    Parameters
    ----------
    name : str
        `"samples"`, `"regions"` or `"flowerlike-test"` (embedded), or `"weizmann"`, `"flowers17-test"`,
        `"flowers102-test"` (to be fetched, or found through `DEEPCV_DATA`); the flowers have `-train` and `-val` too.
        `"weizmann+noise100"` is Weizmann with Gaussian noise of σ = 100 on the 0..255 scale, cut to that range; with
        `-unclipped` after it the noisy values are not cut but the whole image scaled to that range. The noise is
        another for each image. `"flowers17-64px-test"` are the crops of 64 pixels a side that a network is trained at
        (`deepcv.data.crops`).

    Raises
    ------
    InputError
        For an unknown name, or when the data are not there.

    Examples
    --------
    >>> from deepcv.data import load_dataset
    >>> [sample.image.shape for sample in load_dataset("samples")[:2]]  # doctest: +SKIP
    """
    reduced = re.fullmatch(r"(\w+)-(\d+)px-(train|val|test)", name)
    if reduced:
        collection, size, split = reduced.groups()
        return cropped(load_dataset(f"{collection}-{split}"), name, int(size))
    known, sigma, unclipped = re.fullmatch(r"(.*?)(?:\+noise(\d+)(-unclipped)?)?", name).groups()
    if known not in DATASETS:
        raise InputError(f"there is no data set {name!r}; there are {', '.join(sorted(DATASETS))}, and NAME+noise100")
    clean = DATASETS[known]()
    return clean if sigma is None else noise.noisy(clean, name, int(sigma), clip=not unclipped)


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
