"""The guided filter draws a mask's edge to the image's."""

import numpy as np
import pytest

from deepcv.errors import InputError
from deepcv.metrics import iou
from deepcv.model.refinement import guided_filter


def disk(size=48, radius=14.0):
    rows, columns = np.indices((size, size))
    return np.hypot(rows - size / 2, columns - size / 2) < radius


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("radius", [12.0, 17.0])  # eroded by two pixels, dilated by three
def test_edge_of_a_wrong_disk_snaps_to_the_images(colour, radius):
    truth = disk()
    image = np.where(truth, 0.8, 0.2) + np.random.default_rng(0).normal(0, 0.01, truth.shape)
    if colour:
        image = np.stack((image, 1 - image, 0 * image + 0.5), axis=2)
    wrong = disk(radius=radius)
    found = guided_filter(image.astype(np.float32), wrong.astype(np.float32), radius=8, eps=1.0) > 0.5
    assert iou(wrong, truth) < 0.75
    assert iou(found, truth) > 0.95


def test_the_edge_may_be_in_any_channel_and_the_radius_1():
    truth, wrong = disk(), disk(radius=17.0).astype(np.float32)
    image = np.full((*truth.shape, 3), 0.5, np.float32)
    image[..., 2] = np.where(truth, 0.8, 0.2) + np.random.default_rng(0).normal(0, 0.01, truth.shape)
    assert iou(guided_filter(image, wrong, radius=8, eps=1.0) > 0.5, truth) > 0.95
    assert np.isfinite(guided_filter(image, wrong, radius=1)).all()
    with pytest.raises(InputError, match=r"must lie in \[0, 1\], not \[0.2, 1.5\]"):
        guided_filter(np.where(truth, 1.5, 0.2), wrong)


def test_a_constant_mask_stays_and_the_size_and_type_are_the_masks():
    image = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    for level in (0.0, 1.0):
        filtered = guided_filter(image, np.full((20, 30), level), radius=4)
        assert filtered.shape == (20, 30) and filtered.dtype == np.float32
        np.testing.assert_allclose(filtered, level, atol=1e-3)


def test_filter_is_the_textbooks_on_a_grey_guide():
    # the mean of a·I + b over the windows, a and b by least squares in each (He, Sun and Tang 2010)
    generator = np.random.default_rng(1)
    levels = generator.integers(0, 256, (20, 24))
    soft, radius, eps = generator.random((20, 24)).astype(np.float32), 3, 50.0

    def mean(values):
        padded = np.pad(values.astype(float), radius, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 2)
        return windows.mean(axis=(2, 3))

    slope = (mean(levels * soft) - mean(levels) * mean(soft)) / (mean(levels**2) - mean(levels) ** 2 + eps)
    expected = mean(slope) * levels + mean(mean(soft) - slope * mean(levels))
    found = guided_filter((levels / 255).astype(np.float32), soft, radius=radius, eps=eps)
    inside = (slice(2 * radius, -2 * radius),) * 2  # how the frame is continued is OpenCV's own matter
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("radius", [3, 8])
def test_flat_regions_do_not_spoil_the_result(colour, radius):
    # in single precision a flat window's variance may cancel eps; one division by 0 then runs through all windows
    truth = disk()
    image = np.where(truth, 0.8, 0.2).astype(np.float32)
    image = np.stack((image, 1 - image, 0 * image), axis=2) if colour else image
    found = guided_filter(image, disk(radius=15.0).astype(np.float32), radius=radius)
    assert np.isfinite(found).all()
    assert iou(found > 0.5, truth) > 0.95


def test_three_equal_channels_are_the_grey_image():
    grey = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    soft = disk(30, 9.0).astype(np.float32)
    colour = np.stack((grey, grey, grey), axis=2)
    np.testing.assert_array_equal(guided_filter(colour, soft, radius=4), guided_filter(grey, soft, radius=4))


def test_a_greater_eps_smooths_more():
    image = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    soft = (np.random.default_rng(1).random((30, 30)) > 0.5).astype(np.float32)
    spreads = [guided_filter(image, soft, radius=3, eps=eps).std() for eps in (1.0, 1e6)]
    assert spreads[1] < spreads[0] < soft.std()


def test_sizes_that_differ_are_named():
    with pytest.raises(InputError, match=r"guide is \(20, 30\) but the mask is \(30, 20\)"):
        guided_filter(np.zeros((20, 30, 3), np.float32), np.zeros((30, 20), np.float32))


@pytest.mark.parametrize("options", [{"radius": 0}, {"eps": 0.0}, {"eps": -1.0}])
def test_parameters_out_of_range_are_refused(options):
    with pytest.raises(InputError, match="radius must be from 1 to 1000, and eps positive"):
        guided_filter(np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32), **options)
