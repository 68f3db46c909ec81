import numpy as np
import pytest

from deepcv.data import load_dataset, noise
from deepcv.errors import InputError


@pytest.mark.parametrize("shape", [(200, 200), (120, 120, 3)])
def test_unclipped_noise_has_the_asked_deviation_and_no_mean(shape):
    image = np.full(shape, 100, np.uint8)
    added = 255 * noise.add_gaussian(image, 140, clip=False) - 100.0
    assert added.shape == shape
    assert abs(added.mean()) < 5 * 140 / np.sqrt(added.size)
    assert abs(added.std() / 140 - 1) < 0.02
    neighbours = np.corrcoef(added[:-1].ravel(), added[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.03


def test_clipping_cuts_to_the_range_and_changes_nothing_inside():
    image = np.arange(64 * 64).reshape(64, 64).astype(np.uint8)
    free, clipped = (noise.add_gaussian(image, 100, clip=clip, seed=3) for clip in (False, True))
    assert free.min() < 0 and free.max() > 1
    assert np.array_equal(clipped, np.clip(free, 0, 1))
    assert clipped.dtype == np.float32


def test_the_seed_decides():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    one = noise.add_gaussian(image, 25, seed=1)
    assert np.array_equal(one, noise.add_gaussian(image, 25, seed=1))
    assert not np.array_equal(one, noise.add_gaussian(image, 25, seed=2))
    assert np.allclose(noise.add_gaussian(image, 0), image / 255)


@pytest.mark.parametrize("sigma", [-1, np.nan, np.inf])
def test_a_sigma_that_is_none_is_refused(sigma):
    with pytest.raises(InputError, match="sigma"):
        noise.add_gaussian(np.zeros((8, 8), np.uint8), sigma)


def test_an_image_of_another_scale_is_refused():
    with pytest.raises(InputError, match="uint8 images, and this one is float32"):
        noise.add_gaussian(np.zeros((8, 8), np.float32), 25)


def test_a_noisy_data_set_has_the_same_truths_and_other_noise_for_each_image():
    clean, clipped, unclipped = (
        load_dataset("samples", **given) for given in ({}, {"sigma": 100}, {"sigma": 100, "clipped": False})
    )
    assert clean.names == clipped.names == unclipped.names
    index = clean.names.index("overlap-disk")
    for noisy in (clipped, unclipped):
        assert noisy[index].image.dtype == np.uint8 and noisy[index].image.shape == clean[index].image.shape
        np.testing.assert_array_equal(noisy[index].mask, clean[index].mask)
        np.testing.assert_array_equal(noisy[index].image, noisy[index].image)
        assert noisy[index].hash != clean[index].hash and noisy[index].dataset == "samples"
    assert (clipped[index].image == 0).mean() > 0.02 > (unclipped[index].image == 0).mean()
    other = clean.names.index("modes-disk")
    added = [(clipped[i].image.astype(float) - clean[i].image).ravel() for i in (index, other)]
    assert abs(np.corrcoef(*added)[0, 1]) < 0.2
