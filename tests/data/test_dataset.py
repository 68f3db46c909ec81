import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from deepcv.data import Dataset, Sample, data_folder, folder, load_dataset
from deepcv.data.crops import crops
from deepcv.errors import InputError
from deepcv.pictures import with_note, write_image, write_images


def sample(name="a", image=None, mask=None, regions=None):
    return Sample(name, np.zeros((8, 9), np.uint8) if image is None else image, mask, "made up", "a test", regions)


def test_samples_are_loaded_when_they_are_accessed_and_only_those():
    loaded = []
    dataset = Dataset("abcde", lambda name: loaded.append(name) or sample(name))
    assert (len(dataset), dataset.names, dataset[1:4].names, len(dataset[::2])) == (5, tuple("abcde"), tuple("bcd"), 3)
    assert loaded == []
    assert dataset[-1].name == "e"
    assert dataset[1:][0].name == "b"
    assert loaded == ["e", "b"]
    assert [each.name for each in dataset[:2]] == ["a", "b"]
    with pytest.raises(IndexError):
        dataset[5]


def test_an_error_in_loading_does_not_end_the_iteration():
    with pytest.raises(IndexError):
        list(Dataset("ab", lambda name: sample("xyz"[5])))


def test_the_hash_tells_images_masks_and_shapes_apart():
    image = np.arange(72, dtype=np.uint8).reshape(8, 9)
    changed = image.copy()
    changed[3, 4] += 1
    mask = image > 30
    kinds = [(image, None), (image, mask), (image, ~mask), (changed, mask), (image.reshape(9, 8), None)]
    assert len({sample(image=i, mask=m).hash for i, m in kinds}) == len(kinds)
    assert sample("a", image, mask).hash == sample("b", np.asfortranarray(image), mask.copy()).hash


def test_the_hash_tells_partitions_apart_and_is_the_old_one_without():
    image = np.arange(72, dtype=np.uint8).reshape(8, 9)
    regions = image // 24
    kinds = [{}, {"regions": regions}, {"regions": 2 - regions}, {"mask": regions > 0}, {"regions": regions // 2}]
    assert len({sample(image=image, **kind).hash for kind in kinds}) == len(kinds)
    # what recorded runs have: shape, type and bytes of the image, then of the mask
    old = hashlib.sha256(b"(8, 9)uint8" + image.tobytes() + b"(8, 9)bool" + (image > 30).tobytes())
    assert sample(image=image, mask=image > 30).hash == old.hexdigest()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("coco", {}, "no data set 'coco'; there are samples, regions, nuclei, weizmann, "),
        ("flowerlike", {}, "flowerlike is in splits; give split as one of train, val, test"),
        ("flowers17", {"split": "dev"}, "flowers17 has no split 'dev'"),
        ("samples", {"split": "test"}, "samples has no splits"),
        ("regions", {"side": 64}, "regions has several regions, which crops don't have"),
        ("samples", {"side": 0}, "side is 0"),
        ("samples", {"sigma": -1}, "sigma must be"),
    ],
)
def test_an_unknown_name_or_split_is_answered_with_the_known_ones(name, given, said):
    with pytest.raises(InputError, match=said):
        load_dataset(name, **given)


def test_crops_and_noise_leave_a_collections_name_and_images_in_their_order():
    whole, made = (load_dataset("flowerlike", split="val", **given)[:2] for given in ({}, {"side": 32, "sigma": 50}))
    assert made.names == whole.names and made[0].dataset == whole[0].dataset == "flowerlike"
    assert made[0].image.shape == (32, 32, 3) and made[0].mask.shape == (32, 32)


def test_masks_that_deepcv_made_are_no_pictures_of_a_folder(tmp_path):
    pixels = np.arange(72, dtype=np.uint8).reshape(8, 9)
    places = [tmp_path / name for name in ("mask.png", "numbers.tif")]
    write_images({tmp_path / "p.png": pixels} | {place: with_note(place, pixels, "ab12") for place in places})
    assert folder.dataset(tmp_path).names == ("p.png",)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_picture_whose_name_is_no_text_is_read(tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9.png")
    write_image(tmp_path / "p.png", np.arange(72, dtype=np.uint8).reshape(8, 9))
    (tmp_path / "p.png").rename(place)
    found = folder.dataset(tmp_path)
    assert found.names == (r"caf\udce9.png",) and found.stamp and crops(found, 8).names == found.names


def test_the_data_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("DEEPCV_DATA")
    monkeypatch.delenv("DEEPCV_CACHE", raising=False)
    assert data_folder().name == "deepcv"


def test_opening_a_dataset_imports_nothing_heavy():
    code = (
        "import sys; from deepcv.data import load_dataset; load_dataset('samples').names; "
        "print(sorted({'torch', 'cv2', 'skimage', 'pandas', 'matplotlib', 'pooch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
