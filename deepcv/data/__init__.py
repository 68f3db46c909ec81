"""Images with their true foregrounds: what is embedded in the package and what has to be fetched.

`samples`    photographs and texture composites, embedded, no download
`weizmann`   100 photographs marked by three people (Table 1)
`fetch`      getting the sets that are not embedded
`noise`      Gaussian noise, added to images (Figure 7)
"""

from __future__ import annotations

import re

from ..images import InputError
from . import noise, samples, weizmann
from .dataset import Dataset, Sample, data_folder

__all__ = ["DATASETS", "Dataset", "Sample", "data_folder", "load_dataset", "samples", "weizmann"]

DATASETS = {"samples": samples.dataset, "weizmann": weizmann.dataset}
"""What `load_dataset` knows: a name and the function that opens the set."""


def load_dataset(name: str) -> Dataset:
    """Open a data set: a sequence of `Sample`, sorted by name, each loaded when it is accessed.

    Parameters
    ----------
    name : str
        `"samples"` (embedded) or `"weizmann"` (to be fetched, or found through `DEEPCV_DATA`). `"weizmann+noise100"` is
        Weizmann with Gaussian noise of σ = 100 on the 0..255 scale, cut to that range; with `-unclipped` after it the
        noisy values are not cut but the whole image scaled to that range. The noise is another for each image.

    Raises
    ------
    InputError
        For an unknown name, or when the data are not there.

    Examples
    --------
    >>> from deepcv.data import load_dataset
    >>> [sample.image.shape for sample in load_dataset("samples")[:2]]  # doctest: +SKIP
    """
    known, sigma, unclipped = re.fullmatch(r"(.*?)(?:\+noise(\d+)(-unclipped)?)?", name).groups()
    if known not in DATASETS:
        raise InputError(f"there is no data set {name!r}; there are {', '.join(sorted(DATASETS))}, and NAME+noise100")
    clean = DATASETS[known]()
    return clean if sigma is None else noise.noisy(clean, name, int(sigma), clip=not unclipped)
