"""Photographs that two sets share are found, near ones are not taken for them, and truths are compared."""

import csv
import os

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deepcv import data
from deepcv.data import flowers, load_dataset
from deepcv.data.link import link, shared
from deepcv.data.truths import disagreement
from deepcv.errors import InputError


def scene(seed, shape=(300, 420)):
    """A picture with detail of several sizes. In the worst of 200 the shared ones correlate by 0.9966, those cut out
    elsewhere by 0.979."""
    rng = np.random.default_rng(seed)
    picture = sum(
        amplitude * cv2.resize(rng.normal(size=(cells, cells, 3)), shape[::-1], interpolation=cv2.INTER_CUBIC)
        for cells, amplitude in ((4, 40), (10, 20), (24, 8))
    )
    return np.clip(128 + picture, 0, 255).astype(np.uint8)


def scaled(picture, side):
    factor = side / min(picture.shape[:2])
    width, height = (round(length * factor) for length in picture.shape[1::-1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def trimap_for(seed, shape):
    rows, columns = np.indices(shape) / np.array(shape)[:, None, None]
    away = np.hypot(rows - 0.5, columns - 0.5) + 0.01 * seed
    return np.where(away < 0.3, flowers.FLOWER, np.where(away < 0.35, flowers.BOUNDARY, 3)).astype(np.uint8)


SEEDS = {1: 10, 2: 11, 3: 12, 4: 13, 5: 10}
"""The scene of each photograph of Flowers-17: 1 and 5 are the same, and 4 is in no other set and has no trimap."""

PAIRS = [("image_00007", "image_0001"), ("image_00007", "image_0005"), ("image_00008", "image_0002")]
"""3 is in Flowers-102 as well, but cut out elsewhere."""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two small sets: Flowers-17 at 192 pixels, Flowers-102 at 120 and stored worse."""
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    for number, seed in SEEDS.items():
        picture = scaled(scene(seed), 192)
        save(tmp_path / "flowers17" / "jpg" / f"image_{number:04}.jpg", picture, quality=90)
        if number != 4:
            save(tmp_path / "flowers17" / "trimaps" / f"image_{number:04}.png", trimap_for(number, picture.shape[:2]))
    for number, picture in {7: scene(10), 8: scene(11), 9: scene(12)[9:, 12:], 10: scene(99)}.items():
        save(tmp_path / "flowers102" / "jpg" / f"image_{number:05}.jpg", scaled(picture, 120), quality=75)
    savemat(tmp_path / "flowers102" / "setid.mat", {"trnid": [[7]], "valid": [[8]], "tstid": [[9, 10]]})
    return tmp_path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_shared_photographs_get_the_trimap_at_their_own_size_and_near_ones_none(root):
    said = []
    target = link(report=said.append)
    assert sorted(files(target)) == ["flowers17.csv", "image_00007.png", "image_00008.png"]
    rows = list(csv.DictReader((target / "flowers17.csv").read_text().splitlines()))
    assert [(row["flowers102"], row["flowers17"]) for row in rows] == PAIRS
    assert said == [f"3 photographs of Flowers-17 are in Flowers-102; 2 trimaps written to {target}, 0 were there"]
    for split, number in (("train", None), ("test", 5), ("val", 2)):
        for sample in load_dataset("flowers102", split=split):
            if number is None:
                assert sample.mask is None
                continue
            assert sample.truth == "trimap"
            trimap = trimap_for(number, (192, 269))
            expected = cv2.resize(trimap, sample.mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            assert np.array_equal(sample.mask, expected == flowers.FLOWER)
            assert np.array_equal(sample.ignore, expected == flowers.BOUNDARY)


def test_a_photograph_alone_in_its_set_has_no_partner(root):
    photographs = [sorted((root / name / "jpg").glob("*.jpg")) for name in ("flowers17", "flowers102")]
    assert shared(photographs[0][3:4], photographs[1]) == []
    assert shared(photographs[0], []) == [] == shared([], photographs[1])
    save(root / "grey.png", np.full((120, 168), 90, np.uint8))
    assert shared([root / "grey.png"], photographs[1]) == []
    assert shared([root / "grey.png"], [root / "grey.png"]) == [], "one colour correlates with nothing"


def test_what_is_there_is_left_unless_asked(root):
    save(root / "flowers102" / "trimaps" / "image_00007.png", np.full((120, 168), 4, np.uint8))
    before = files(root / "flowers102" / "trimaps")
    said = []
    target = link(report=said.append)
    assert said[0].endswith("1 trimaps written to " + f"{target}, 1 were there")
    assert files(target)["image_00007.png"] == before["image_00007.png"]
    link(overwrite=True, report=said.append)
    assert files(target)["image_00007.png"] != before["image_00007.png"]


def test_a_full_disk_leaves_no_half_written_file(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"can't write .*No space left"):
            link(report=lambda sentence: None)
    assert not files(root / "flowers102" / "trimaps")
    link(report=lambda sentence: None)
    assert len(files(root / "flowers102" / "trimaps")) == 3


@pytest.mark.parametrize("lacking", ["flowers17/trimaps", "flowers17/jpg", "flowers102/jpg"])
def test_a_missing_set_is_named(root, lacking):
    (root / lacking).rename(root / "elsewhere")
    with pytest.raises(InputError, match="no {1} in .*deepcv data fetch {0}`".format(*lacking.split("/"))):
        link()


def test_a_trimap_of_another_size_is_refused_before_anything_is_written(root):
    save(root / "flowers17" / "trimaps" / "image_0002.png", np.ones((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"image_0002\.png differs in size"):
        link()
    assert not files(root / "flowers102" / "trimaps")


def test_a_trimap_with_a_palette_is_read_by_its_indices(root):
    before = load_dataset("flowers17", split="train").only(["image_0002"])[0]
    path = root / "flowers17" / "trimaps" / "image_0002.png"
    with Image.open(path) as picture:
        picture.load()
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 90, 90, 90])
    picture.save(path)
    with Image.open(path) as picture:
        assert picture.mode == "P"
    assert load_dataset("flowers17", split="train").only(["image_0002"])[0].hash == before.hash


def test_truths_are_compared_where_there_are_two(root):
    with pytest.raises(InputError, match=r"no photograph in .* has two truths; run `deepcv data link`"):
        disagreement()
    link(report=lambda sentence: None)
    found = disagreement()
    assert found["n"].to_dict() == {
        "two trimaps, boundaries ignored": 1,
        "two trimaps, boundaries background": 1,
        "two trimaps, boundaries flower": 1,
        "a trimap, boundary background or flower": 2,
    }
    first, second = (trimap_for(number, (192, 269)) == flowers.FLOWER for number in (1, 5))
    assert found.loc["two trimaps, boundaries background", "median"] == (first & second).sum() / (first | second).sum()
    assert found.loc["two trimaps, boundaries ignored", "lowest"] == 1
    sample = load_dataset("flowers102", split="val")[0]
    drawn = sample.mask.astype(np.uint8) * 255
    drawn[sample.ignore] = 255
    save(root / "flowers102" / "handdrawn" / "image_00008.png", drawn)
    assert disagreement().loc["trimap and drawn", ["n", "mean"]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("seventeen", "hundred", "expected"),
    [
        (([1, 2, 3], [4], [5]), ([9, 10], [8], [7]), ["image_0003", "image_00009", "image_00010"]),
        (([1, 3, 5], [2], [4]), ([7, 9], [8], [10]), ["image_0001", "image_0003", "image_00009"]),
    ],
    ids=["in a test or validation split of either set", "twice among those to train on"],
)
def test_together_the_sets_have_each_photograph_once_and_none_that_is_held_out(root, seventeen, hundred, expected):
    for split, numbers in zip(("train", "val", "test"), seventeen, strict=True):
        (root / "flowers17" / f"{split}.txt").write_text("\n".join(f"image_{number:04}" for number in numbers))
    savemat(
        root / "flowers102" / "setid.mat", dict(zip(("tstid", "valid", "trnid"), map(np.array, hundred), strict=True))
    )
    with pytest.raises(InputError, match=r"flowers17\.csv can't be read .*`deepcv data link"):
        load_dataset("flowers", split="train")
    link(report=lambda sentence: None)
    found = load_dataset("flowers", split="train")
    assert list(found.names) == expected and found.stamp
    assert [sample.dataset for sample in found] == [f"flowers{17 if len(name) == 10 else 102}" for name in expected]
    assert found.unmarked == {name for name in expected if name in ("image_00009", "image_00010")}
    assert load_dataset("flowers", split="test").names == load_dataset("flowers17", split="test").names


@pytest.mark.data
def test_the_numbers_of_the_book_are_those_of_the_data_here():
    if not (data.data_folder() / "flowers102" / "trimaps" / "flowers17.csv").exists():
        pytest.skip("Flowers-102 with trimaps is not under DEEPCV_DATA")
    found = disagreement()[["n", "median", "mean"]].round(3)
    assert found.loc["two trimaps, boundaries ignored"].tolist() == [23, 0.999, 0.996]
    assert found.loc["two trimaps, boundaries background"].tolist() == [23, 0.990, 0.956]
    assert found.loc["a trimap, boundary background or flower"].tolist() == [372, 0.718, 0.697]
