"""The embedded nuclei are what was cut from the original images; a folder of more is read."""

import numpy as np
import pytest
from PIL import Image

from deepcv.data import data_folder, load_dataset, nuclei
from deepcv.errors import InputError


def test_the_embedded_images_are_small_and_their_nuclei_stand_out():
    dataset = load_dataset("nuclei")
    assert len(dataset) == 6 and not set(nuclei.FOR_CHOOSING) & set(nuclei.UNSEEN)
    colours = 0
    for sample in dataset:
        grey = sample.image if sample.image.ndim == 2 else sample.image.mean(axis=2)
        colours += sample.image.ndim == 3
        assert sample.mask.shape == grey.shape == (256, 256)
        assert 0.05 < sample.mask.mean() < 0.4
        inside, outside = grey[sample.mask], grey[~sample.mask]
        sign = -1 if sample.image.ndim == 3 else 1  # stained nuclei are dark, fluorescent ones bright
        assert sign * (np.median(inside) - np.median(outside)) > 0.5 * outside.std()
    assert colours == 1, "grey images stay grey"
    assert sum(path.stat().st_size for path in nuclei.FOLDER.iterdir()) < 250_000
    with pytest.raises(InputError, match="'cat'"):
        nuclei.load("cat")


def test_a_folder_of_images_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"no images of nuclei.*BBBC038.*DEEPCV_DATA"):
        load_dataset("dsb2018")
    disk = np.hypot(*(np.indices((20, 24)) - 10)) < 5
    pictures = {"b": np.stack([90 * disk.astype(np.uint8)] * 3, -1), "a": np.full((20, 24, 3), (9, 8, 7), np.uint8)}
    for kind in ("images", "masks"):
        (tmp_path / "dsb2018" / kind).mkdir(parents=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / "dsb2018" / "images" / f"{name}.png")
        Image.fromarray(255 * disk.astype(np.uint8)).save(tmp_path / "dsb2018" / "masks" / f"{name}.png")
    dataset = load_dataset("dsb2018")
    assert [sample.image.shape for sample in dataset] == [(20, 24, 3), (20, 24)]
    assert all((sample.mask == disk).all() for sample in dataset)


@pytest.mark.skipif(not (data_folder() / "dsb2018").is_dir(), reason=f"no images of nuclei in {data_folder()}")
def test_the_embedded_images_are_cut_from_the_folders_and_stand_at_odd_and_even_positions():
    whole = load_dataset("dsb2018")
    for sample in load_dataset("nuclei"):
        original = whole.only([sample.name])[0]
        np.testing.assert_array_equal(sample.image, original.image[:256, :256])
        np.testing.assert_array_equal(sample.mask, original.mask[:256, :256])
        assert (whole.names.index(sample.name) % 2 == 0) == (sample.name in nuclei.FOR_CHOOSING)
        labels = np.asarray(Image.open(data_folder() / "dsb2018" / "instances" / f"{sample.name}.png"))
        np.testing.assert_array_equal(original.mask, labels > 0)
