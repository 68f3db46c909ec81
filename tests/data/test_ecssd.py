"""Photographs with one mask each are read, all or a part, from either layout."""

import numpy as np
import pytest
from PIL import Image

from deepcv.data import data_folder, load_dataset
from deepcv.errors import InputError


def write_pair(root, name, folder="ground_truth_mask", size=(20, 30)):
    """A photograph with a square, and its mask; returns the mask."""
    mask = np.zeros(size, np.uint8)
    mask[5:15, 10:18] = 255
    for kind, picture, ending in (("images", np.stack([mask // 2] * 3, -1), "jpg"), (folder, mask, "png")):
        (root / "ecssd" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "ecssd" / kind / f"{name}.{ending}")
    return mask > 0


@pytest.mark.parametrize("folder", ["ground_truth_mask", "masks"])
def test_a_part_is_read_from_either_layout(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    masks = {name: write_pair(tmp_path, name, folder) for name in ("0007", "0003")}
    dataset = load_dataset("ecssd")
    assert dataset.names == ("0003", "0007")
    for sample in dataset:
        assert sample.image.shape == (20, 30, 3), "a grey photograph has three channels too"
        np.testing.assert_array_equal(sample.mask, masks[sample.name])


def test_what_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"deepcv data fetch ecssd.*DEEPCV_DATA"):
        load_dataset("ecssd")
    for name in ("alone", "other"):
        write_pair(tmp_path, name)
    masks = tmp_path / "ecssd" / "ground_truth_mask"
    (masks / "alone.png").unlink()
    Image.fromarray(np.zeros((20, 31), np.uint8)).save(masks / "other.png")
    dataset = load_dataset("ecssd")
    with pytest.raises(InputError, match=r"no file .*alone\.png"):
        dataset[0]
    with pytest.raises(InputError, match=r"\(20, 31\) but its picture is \(20, 30\)"):
        dataset[1]


@pytest.mark.skipif(not (data_folder() / "ecssd").is_dir(), reason=f"no ECSSD photographs in {data_folder()}")
def test_the_real_photographs_have_an_object_each():
    dataset = load_dataset("ecssd")
    assert set(dataset.names) <= {f"{number:04d}" for number in range(1, 1001)}
    assert all(0.005 < sample.mask.mean() < 0.95 for sample in dataset.spread(20))
