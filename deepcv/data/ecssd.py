"""The Extended Complex Scene Saliency Dataset: 1000 natural photographs with one salient object each.

J. Shi, Q. Yan, L. Xu, J. Jia, "Hierarchical image saliency detection on extended CSSD", IEEE TPAMI 38(4), 2016. Its
scenes are more complex than Weizmann's. Layout of the official archives, below `ecssd/` in the data folder:

    images/NAME.jpg               the photograph
    ground_truth_mask/NAME.png    white where the object is; a folder called `masks` is read, too
"""

from __future__ import annotations

from deepcv.data.dataset import Dataset, data_folder
from deepcv.data.masked import masked
from deepcv.errors import InputError

SOURCE = (
    "ECSSD (Shi, Yan, Xu, Jia 2016), https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html; "
    "photographs from the Internet, do not redistribute"
)

MASKS = ("ground_truth_mask", "masks")
"""Folders of the masks; the first that is there is read."""


def dataset() -> Dataset:
    """The photographs that are there, all or a part, sorted by name.

    `InputError` is raised when there are none; on access, when a photograph has no mask of its size or a file can't be
    read.
    """
    root = data_folder() / "ecssd"
    photographs = root / "images"
    names = sorted(path.stem for path in photographs.glob("*.jpg"))
    if not names:
        raise InputError(
            f"there are no ECSSD photographs in {photographs}; get them with `deepcv data fetch ecssd`, "
            "or set DEEPCV_DATA to the folder that holds ecssd/images"
        )
    truths = next((root / folder for folder in MASKS if (root / folder).is_dir()), root / MASKS[0])
    return Dataset(names, lambda name: masked(photographs / f"{name}.jpg", truths / f"{name}.png", "ecssd", SOURCE))
