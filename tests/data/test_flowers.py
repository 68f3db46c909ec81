import dataclasses
import functools
import json
import os
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deepcv import data, metrics
from deepcv.data import crops as cropping
from deepcv.data import fetch, flowerlike, flowers, folder, load_dataset, load_splits
from deepcv.data.crops import UNSCORED, centre_crop, crops
from deepcv.errors import InputError

BLUE = (0, 0, 254)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DEEPCV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def disk(shape, radius):
    y, x = np.indices(shape) + 0.5
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2) < radius


def photograph(shape, mask):
    image = np.full((*shape, 3), (40, 120, 50), np.uint8)
    image[mask] = (220, 60, 140)
    return image


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write_flowers102(root, splits, shape=(48, 64)):
    """A small archive in the official layout; the masks as JPEG, as they are there."""
    for number in (number for numbers in splits.values() for number in numbers):
        mask = disk(shape, 8 + number)
        save(root / "flowers102" / "jpg" / f"image_{number:05}.jpg", photograph(shape, mask))
        painted = photograph(shape, mask)
        painted[~mask] = BLUE
        save(root / "flowers102" / "segmim" / f"segmim_{number:05}.jpg", painted, quality=100, subsampling=0)
    savemat(root / "flowers102" / "setid.mat", {name: np.array([numbers]) for name, numbers in splits.items()})


def write_flowers17(root, names=("image_0001", "image_0002"), shape=(48, 64)):
    for number, name in enumerate(names):
        mask = disk(shape, 12 + number)
        save(root / "flowers17" / "jpg" / f"{name}.jpg", photograph(shape, mask))
        trimap = np.full(shape, 3, np.uint8)
        trimap[:8] = 4
        trimap[disk(shape, 15 + number)] = flowers.BOUNDARY
        trimap[mask] = flowers.FLOWER
        save(root / "flowers17" / "trimaps" / f"{name}.png", trimap)
    for split in ("train", "val", "test"):
        (root / "flowers17" / f"{split}.txt").write_text("\n".join(names) + "\n")


# -- Flowers-102 -------------------------------------------------------------------------------------------------------


def test_flowers102_is_split_as_redo_splits_it_and_masked_by_what_is_not_blue(root):
    write_flowers102(root, {"trnid": [3], "valid": [4], "tstid": [7, 5, 6]})
    assert load_dataset("flowers102", split="train").names == ("image_00005", "image_00006", "image_00007")
    assert load_dataset("flowers102", split="val").names == ("image_00004",)
    (sample,) = load_dataset("flowers102", split="test")
    assert (sample.name, sample.dataset, sample.ignore) == ("image_00003", "flowers102", None)
    assert metrics.iou(sample.mask, disk((48, 64), 11)) > 0.9  # but for what JPEG does to the edge


def test_blue_is_told_by_any_of_the_three_channels():
    pixels = np.array([[(0, 9, 9), (9, 0, 9), (9, 9, 254), (9, 9, 255), (1, 1, 253)]], np.uint8)
    assert flowers.not_painted(pixels).tolist() == [[False, False, False, True, True]]


def test_the_official_archives_unpack_to_the_layout_that_is_read(root, tmp_path, monkeypatch):
    """Small archives under the official names, with `jpg/` and `segmim/` at their top."""
    write_flowers102(tmp_path / "made", {"trnid": [1], "valid": [2], "tstid": [3]})
    made, downloads = tmp_path / "made" / "flowers102", tmp_path / "downloads"
    savemat(made / "imagelabels.mat", {"labels": [[1, 2, 3]]})
    downloads.mkdir()
    for name, content in (("102flowers", "jpg"), ("102segmentations", "segmim")):
        with tarfile.open(downloads / f"{name}.tgz", "w:gz") as archive:
            archive.add(made / content, content)
    for name in ("setid.mat", "imagelabels.mat"):
        (made / name).rename(downloads / name)
    official = fetch.FETCHABLE["flowers102"]
    small = tuple(dataclasses.replace(archive, md5=None) for archive in official.archives)
    monkeypatch.setitem(fetch.FETCHABLE, "flowers102", dataclasses.replace(official, archives=small))
    with pytest.raises(InputError, match=r"3 files jpg/\*\.jpg, not 8189"):
        fetch.fetch("flowers102", mirror=downloads, report=lambda sentence: None)
    counted = functools.partial(fetch._check_counts, counts={"jpg/*.jpg": 3, "segmim/*.jpg": 3, "*.mat": 2})
    monkeypatch.setitem(fetch.FETCHABLE, "flowers102", dataclasses.replace(official, archives=small, check=counted))
    fetch.fetch("flowers102", mirror=downloads, report=lambda sentence: None)
    (sample,) = load_dataset("flowers102", split="test")
    assert sample.name == "image_00001" and metrics.iou(sample.mask, disk((48, 64), 9)) > 0.9


def mark102(root, folder, number, marks):
    save(root / "flowers102" / folder / f"image_{number:05}.png", marks)


@pytest.fixture
def marked_by_people(root):
    """Photographs 1..6, all of the split "train": 1..3 have an official mask, 2, 3 and 4 a trimap, 3..5 a drawn one."""
    write_flowers102(root, {"trnid": [7], "valid": [8], "tstid": [1, 2, 3, 4, 5, 6]})
    for number in (4, 5, 6):
        (root / "flowers102" / "segmim" / f"segmim_{number:05}.jpg").unlink()
    trimap = np.full((48, 64), 3, np.uint8)
    trimap[disk((48, 64), 20)] = flowers.BOUNDARY
    trimap[disk((48, 64), 15)] = flowers.FLOWER
    for number in (2, 3, 4):
        mark102(root, "trimaps", number, trimap)
    for number in (3, 4, 5):
        mark102(root, "handdrawn", number, disk((48, 64), 10).astype(np.uint8) * 255)
    return root


def test_the_official_mask_is_taken_before_a_trimap_and_that_before_a_drawn_one(marked_by_people):
    samples = list(load_dataset("flowers102", split="train"))
    assert [sample.truth for sample in samples] == ["official", "official", "official", "trimap", "drawn", ""]
    assert metrics.iou(samples[2].mask, disk((48, 64), 11)) > 0.9
    assert np.array_equal(samples[3].mask, disk((48, 64), 15))
    assert np.array_equal(samples[3].ignore, disk((48, 64), 20) & ~disk((48, 64), 15))
    assert np.array_equal(samples[4].mask, disk((48, 64), 10)) and samples[4].ignore is None
    assert samples[5].mask is None
    crop = load_dataset("flowers102", split="train", side=16)[3]
    assert crop.truth == "trimap"
    assert dataclasses.replace(crop, truth="official").hash == crop.hash


@pytest.mark.parametrize("absent", ["segmim", "trimaps", "handdrawn"])
def test_flowers102_is_read_without_a_folder_of_masks(marked_by_people, absent):
    (marked_by_people / "flowers102" / absent).rename(marked_by_people / "elsewhere")
    truths = [sample.truth for sample in load_dataset("flowers102", split="train")]
    assert (
        truths
        == {
            "segmim": ["", "trimap", "trimap", "trimap", "drawn", ""],
            "trimaps": ["official", "official", "official", "drawn", "drawn", ""],
            "handdrawn": ["official", "official", "official", "trimap", "", ""],
        }[absent]
    )


def test_what_has_no_mask_is_known_without_loading_and_still_trained_on(marked_by_people):
    dataset = load_dataset("flowers102", split="train")
    found = crops(dataset, 16)
    assert len(found) == 6 and found.marked.tolist() == [0, 1, 2, 3, 4]
    (marked_by_people / "flowers102" / "jpg" / "image_00006.jpg").unlink()  # loading it would fail
    for each in (dataset, dataset[1:], load_dataset("flowers102", split="train", side=16)):
        assert [sample.mask is not None for sample in each.scorable()] == [True] * len(each.scorable())
        assert each.scorable().names[-1] == "image_00005"


@pytest.mark.parametrize("folder", ["trimaps", "handdrawn"])
def test_a_mask_by_hand_of_another_size_is_refused(marked_by_people, folder):
    mark102(marked_by_people, folder, 6, np.ones((48, 60), np.uint8))
    with pytest.raises(InputError, match=r"image_00006\.png differs in size"):
        load_dataset("flowers102", split="train")[5]


def test_crops_are_cut_again_when_a_mask_comes_goes_or_changes(marked_by_people):
    def marked():
        return crops(load_dataset("flowers102", split="train"), 16).marked.tolist()

    assert marked() == [0, 1, 2, 3, 4]
    mark102(marked_by_people, "handdrawn", 6, disk((48, 64), 10).astype(np.uint8) * 255)
    assert marked() == [0, 1, 2, 3, 4, 5]
    (marked_by_people / "flowers102" / "segmim" / "segmim_00001.jpg").unlink()
    assert marked() == [1, 2, 3, 4, 5]
    before = load_dataset("flowers102", split="train").stamp
    os.utime(marked_by_people / "flowers102" / "trimaps" / "image_00004.png", ns=(1, 1))
    assert load_dataset("flowers102", split="train").stamp != before


def test_missing_photographs_are_named_once_and_left_out(marked_by_people):
    for number in (2, 6):
        (marked_by_people / "flowers102" / "jpg" / f"image_{number:05}.jpg").unlink()
    with pytest.warns(UserWarning, match="lacks image_00002, image_00006; they are left out"):
        dataset = load_dataset("flowers102", split="train")
    assert dataset.names == tuple(f"image_{number:05}" for number in (1, 3, 4, 5))
    with warnings.catch_warnings(action="error"):
        assert load_dataset("flowers102", split="train").names == dataset.names
    (marked_by_people / "flowers102" / "jpg" / "image_00007.jpg").unlink()
    with pytest.raises(InputError, match=r"jpg has no photograph of the split test; .*deepcv data fetch flowers102"):
        load_dataset("flowers102", split="test")


@pytest.mark.data
def test_the_photographs_here_have_the_masks_that_are_counted():
    place = data.data_folder() / "flowers102"
    if not (place / "trimaps" / "flowers17.csv").exists() or (place / "segmim").exists():
        pytest.skip("Flowers-102 without official masks is not under DEEPCV_DATA")
    counts = {"train": (6145, 264, 46), "val": (1020, 48, 4), "test": (1020, 60, 6)}
    for split, (photographs, trimaps, drawn) in counts.items():
        dataset = load_dataset("flowers102", split=split)
        assert len(dataset) == photographs
        truths = [sample.truth for sample in dataset.scorable()]
        assert (truths.count("trimap"), truths.count("drawn")) == (trimaps, drawn)


@pytest.mark.parametrize("lacking", ["jpg", "setid.mat"])
def test_absent_parts_of_flowers102_are_named(root, lacking):
    write_flowers102(root, {"trnid": [1], "valid": [2], "tstid": [3]})
    (root / "flowers102" / lacking).rename(root / "elsewhere")
    with pytest.raises(InputError, match=rf"no {lacking} in .*deepcv data fetch flowers102"):
        load_dataset("flowers102", split="test")


def test_a_damaged_list_of_splits_is_named(root):
    write_flowers102(root, {"trnid": [1], "valid": [2], "tstid": [3]})
    (root / "flowers102" / "setid.mat").write_bytes(b"MATLAB 5.0" + bytes(40))
    with pytest.raises(InputError, match=r"setid\.mat can't be read"):
        load_dataset("flowers102", split="test")


# -- Flowers-17 --------------------------------------------------------------------------------------------------------


def test_a_trimap_says_flower_background_or_nothing(root):
    write_flowers17(root)
    sample = load_dataset("flowers17", split="test")[0]
    assert np.array_equal(sample.mask, disk((48, 64), 12))
    assert np.array_equal(sample.ignore, disk((48, 64), 15) & ~sample.mask)
    # a mask that floods the unmarked band is as good as one that doesn't
    assert metrics.iou(disk((48, 64), 15), sample.mask, sample.ignore) == 1


def test_a_training_image_may_have_no_trimap_and_another_size_is_refused(root):
    write_flowers17(root)
    (root / "flowers17" / "trimaps" / "image_0001.png").unlink()
    save(root / "flowers17" / "trimaps" / "image_0002.png", np.ones((48, 60), np.uint8))
    dataset = load_dataset("flowers17", split="train")
    assert dataset[0].mask is None
    with pytest.raises(InputError, match=r"image_0002\.png differs in size"):
        dataset[1]


def test_without_lists_the_packages_own_splits_are_taken(root):
    write_flowers17(root)
    for split in ("train", "val", "test"):
        (root / "flowers17" / f"{split}.txt").unlink()
    names = {split: load_dataset("flowers17", split=split).names for split in ("train", "val", "test")}
    assert {split: len(each) for split, each in names.items()} == {"train": 810, "val": 150, "test": 200}
    assert len(set().union(*names.values())) == 1160


@pytest.mark.data
def test_the_packages_splits_are_those_of_the_lists():
    place = data.data_folder() / "flowers17"
    if not (place / "test.txt").exists():
        pytest.skip("Flowers-17 with its lists is not under DEEPCV_DATA")
    kept = json.loads(Path(flowers.__file__).with_name("flowers17_splits.json").read_text())
    for split, numbers in kept.items():
        assert (place / f"{split}.txt").read_text().split() == [f"image_{number:04}" for number in numbers]
    sample = load_dataset("flowers17", split="test")[0]
    assert sample.mask.any()
    assert sample.ignore.any()


# -- drawn flowers -----------------------------------------------------------------------------------------------------


def test_drawn_flowers_depend_on_their_number_alone_and_splits_share_none():
    splits = [load_dataset("flowerlike", split=split) for split in ("train", "val", "test")]
    assert len(set().union(*(each.names for each in splits))) == sum(map(len, splits))
    assert splits[1][0].hash == flowerlike.dataset("val")[0].hash
    assert splits[1][0].hash != splits[1][1].hash


def test_a_drawn_flower_is_neither_tiny_nor_everything_and_differs_from_what_is_around_it():
    for seed in range(0, 60, 3):
        image, mask = flowerlike.draw(seed)
        assert image.shape == (*mask.shape, 3)
        assert 0.02 < mask.mean() < 0.7
        assert np.abs(image[mask].mean(axis=0) - image[~mask].mean(axis=0)).max() > 10


# -- a folder of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path, root):
    place = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for name, shape in (
        ("b.png", (40, 50)),
        ("sub/a.jpg", (60, 41, 3)),
        ("c.png", (45, 45, 4)),
        (".hidden.png", (9, 9)),
    ):
        save(place / name, rng.integers(0, 256, shape, dtype=np.uint8))
    (place / "notes.txt").write_text("no picture")
    return place


def test_a_folder_holds_what_pillow_reads_whatever_its_size_and_mode(pictures):
    dataset = folder.dataset(pictures)
    assert dataset.names == ("b.png", "c.png", "sub/a.jpg")
    assert [sample.image.shape for sample in dataset] == [(40, 50, 3), (45, 45, 3), (60, 41, 3)]
    assert all(sample.mask is None for sample in dataset)
    assert crops(dataset, 32).images.shape == (3, 32, 32, 3)
    assert not len(crops(dataset, 32).marked)


def test_an_empty_or_absent_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there are no pictures in .*empty"):
        folder.dataset(tmp_path / "empty")
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        folder.dataset(tmp_path / "absent")
    with pytest.raises(InputError, match=r"flours17 is neither a folder nor a data set; there are .*flowers17"):
        load_splits("flours17")


def test_pictures_that_cant_be_used_are_named_in_one_sentence(pictures):
    (pictures / "broken.png").write_bytes((pictures / "b.png").read_bytes()[:300])
    save(pictures / "tiny.png", np.zeros((5, 40), np.uint8))
    save(pictures / "flat.png", np.full((40, 40, 3), 7, np.uint8))
    with pytest.raises(InputError, match=r"3 of 6 images can't be used.*broken\.png.*flat\.png.*tiny\.png") as caught:
        crops(folder.dataset(pictures), 32)
    assert "\n" not in str(caught.value)
    for name in ("broken", "flat"):
        (pictures / f"{name}.png").unlink()
    with pytest.raises(InputError, match=r"tiny\.png can't be used: the image is 5×40 pixels"):
        crops(folder.dataset(pictures), 32)


# -- at one size -------------------------------------------------------------------------------------------------------


def test_the_shorter_side_is_resized_and_the_centre_cut_out():
    image = np.zeros((20, 44, 3), np.uint8)
    image[:, 12:32] = 200  # the central square
    assert (centre_crop(image, 10) == 200).all()
    assert (centre_crop(image.transpose(1, 0, 2), 10) == 200).all()
    assert centre_crop(image[:, 12:31], 64).shape == (64, 64, 3)  # enlarged


def test_a_cropped_mask_has_no_new_values_and_keeps_what_is_not_scored(root):
    write_flowers17(root)
    found = crops(load_dataset("flowers17", split="test"), 32)
    assert set(np.unique(found.truths)) == {0, 1, UNSCORED}
    truth = found.truths[0]
    assert abs((truth == 1).mean() - np.pi * 12**2 / 48**2) < 0.02
    assert len(found.marked) == 2


def test_kept_images_that_were_cut_short_are_decoded_again(root):
    write_flowers17(root)
    first = np.array(crops(load_dataset("flowers17", split="train"), 16).images)
    (kept,) = cropping.cache_folder().glob("crops/*/images.npy")
    for length in (200, 0):
        kept.write_bytes(kept.read_bytes()[:length])
        assert np.array_equal(crops(load_dataset("flowers17", split="train"), 16).images, first)


def test_pictures_whose_centre_is_one_colour_are_named_before_anything_is_done(tmp_path):
    image = np.full((40, 120, 3), 90, np.uint8)
    image[:, :10] = 200
    for name in "ab":
        save(tmp_path / f"{name}.png", image)
    with pytest.raises(InputError, match=r"2 of 2 images can't be used.*the centre of .*a\.png can't be used"):
        crops(folder.dataset(tmp_path), 16)


def test_images_are_decoded_once_and_again_when_a_file_changes(root, monkeypatch):
    write_flowers17(root)
    first = crops(load_dataset("flowers17", split="train"), 16)
    assert isinstance(first.images, np.memmap)
    with monkeypatch.context() as patch:
        patch.setattr(cropping, "_decoded", lambda *_: pytest.fail("decoded again"))
        assert np.array_equal(crops(load_dataset("flowers17", split="train"), 16).images, first.images)
    path = root / "flowers17" / "jpg" / "image_0001.jpg"
    save(path, np.random.default_rng(0).integers(245, 256, (48, 64, 3)).astype(np.uint8))
    os.utime(path, ns=(1, 1))
    assert (crops(load_dataset("flowers17", split="train"), 16).images[0] > 240).all()


def test_a_cache_that_cant_be_written_is_a_sentence_and_leaves_nothing(root, monkeypatch):
    write_flowers17(root)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"can't write .*images\.npy \(No space left on device\); make room"):
        crops(load_dataset("flowers17", split="train"), 16)
    assert not [path for path in (root.parent / "cache" / "crops").rglob("*") if path.is_file()]


def test_opening_the_flowers_imports_nothing_heavy():
    code = (
        "import sys; from deepcv.data import load_dataset; load_dataset('flowerlike', split='train').names; "
        "print(sorted({'torch', 'cv2', 'scipy', 'skimage', 'pooch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
