"""GrabCut is repeatable and gives a mask whatever the hint."""

import numpy as np
import pytest

from deepcv.baselines.grab_cut import grab_cut
from deepcv.errors import InputError
from deepcv.metrics import iou


def disk(shape=(36, 44), noise=0.06):
    rows, columns = np.indices(shape)
    inside = np.hypot(rows - 18, columns - 20) < 11
    image = np.where(inside[..., None], [0.8, 0.3, 0.2], [0.25, 0.45, 0.6])
    return np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 1), inside


def rough(inside):
    return np.roll(inside, (4, -5), axis=(0, 1)).astype(float)


@pytest.mark.parametrize("colour", [True, False])
def test_a_disk_is_found_from_a_rough_hint(colour):
    image, inside = disk()
    image = image if colour else image[..., 0]
    assert iou(rough(inside) > 0, inside) < 0.6
    found = grab_cut(image, rough(inside))
    assert iou(found.mask, inside) > 0.95 and not found.settings["kept_hint"]


def test_same_seed_same_mask_whatever_opencv_drew_before(monkeypatch):
    import cv2

    seeds = []
    monkeypatch.setattr(cv2, "setRNGSeed", seeds.append)
    generator = np.random.default_rng(1)
    image, hint = generator.random((30, 30, 3)), generator.random((30, 30))
    first = grab_cut(image, hint, seed=7)
    assert seeds == [7] and first.settings["seed"] == 7
    monkeypatch.undo()
    first = grab_cut(image, hint, seed=7)
    cv2.randu(np.empty((50, 50)), 0, 1)  # moves OpenCV's generator on
    np.testing.assert_array_equal(grab_cut(image, hint, seed=7).labels, first.labels)


@pytest.mark.parametrize("pixels", [1, 3, 4])
@pytest.mark.parametrize("invert", [False, True])
def test_a_hint_of_fewer_pixels_than_the_colour_models_components_is_kept(pixels, invert):
    image, _ = disk()
    hint = np.zeros(image.shape[:2])
    hint.flat[500 : 500 + pixels] = 1
    hint = 1 - hint if invert else hint
    found = grab_cut.__wrapped__(image, hint)  # with marks a spot alone would be taken for a click
    assert found.settings["kept_hint"]
    np.testing.assert_array_equal(found.mask, hint == 1)


def test_the_hint_is_kept_when_opencv_gives_up(monkeypatch):
    import cv2

    def failing(*arguments):
        raise cv2.error("(-215:Assertion failed) !fgdSamples.empty()")

    monkeypatch.setattr(cv2, "grabCut", failing)
    image, inside = disk()
    found = grab_cut(image, inside)
    assert found.settings["kept_hint"]
    np.testing.assert_array_equal(found.mask, inside)


def test_a_flat_region_does_not_crash():
    image = np.full((30, 30, 3), 0.2)
    image[10:20, 10:20] = 0.9
    hint = np.zeros((30, 30))
    hint[9:20, 9:20] = 1
    mask = grab_cut(image, hint).mask
    assert 0 < mask.sum() < mask.size


def test_channels_are_handed_over_in_opencvs_order(monkeypatch):
    import cv2

    image, inside = disk(noise=0)
    seen = []
    monkeypatch.setattr(cv2, "grabCut", lambda picture, *rest: seen.append(picture))
    grab_cut(image, rough(inside))
    np.testing.assert_array_equal(seen[0][18, 20], [51, 76, 204])  # blue, green, red of (.8, .3, .2)


def test_iterations_are_checked():
    image, inside = disk()
    with pytest.raises(InputError, match="iterations is 0"):
        grab_cut(image, inside, iterations=0)
    with pytest.raises(InputError, match=r"iterations is 2\.5; it must be a whole number"):
        grab_cut(image, inside, iterations=2.5)
    assert grab_cut(image, inside, iterations=2).settings["iterations"] == 2
