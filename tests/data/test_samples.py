import socket
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from deepcv.data import load_dataset, samples
from deepcv.errors import InputError

MODES = sorted(name for name in samples.COMPOSITES if name.startswith("modes-"))
OVERLAP = sorted(name for name in samples.COMPOSITES if name.startswith("overlap-"))


def iou(found, truth):
    return (found & truth).sum() / (found | truth).sum()


def grey(image):
    return image.astype(float) if image.ndim == 2 else image @ [0.299, 0.587, 0.114]


def best_threshold(values, truth):
    """The IoU of the best single threshold, whichever side of it is taken for the foreground."""
    levels = np.unique(values)
    return max(iou(side, truth) for t in levels for side in (values >= t, values < t) if (side | truth).any())


def best_by_intensity(image, truth, bins):
    """The IoU of the best set of colours, each channel in so many bins: no rule on single pixels does better."""
    binned = (image.reshape(*truth.shape, -1).astype(int) * bins // 256) @ bins ** np.arange(
        1 if image.ndim == 2 else 3
    )
    inside, outside = (np.bincount(binned[region], minlength=bins**3) for region in (truth, ~truth))
    order = np.argsort(-inside / np.maximum(inside + outside, 1), kind="stable")
    hit, miss = np.cumsum(inside[order]), np.cumsum(outside[order])
    return (hit / (truth.sum() + miss)).max()


def nearest_true_mean(image, truth):
    """What Chan-Vese's data term (1.2) decides when it is told the regions' true means."""
    values = image.reshape(*truth.shape, -1).astype(float)
    inside, outside = (((values - values[region].mean(axis=0)) ** 2).sum(axis=2) for region in (truth, ~truth))
    return inside < outside


def test_there_are_photographs_and_composites_of_both_kinds_sorted():
    dataset = load_dataset("samples")
    assert dataset.names == tuple(sorted(dataset.names))
    assert len(samples.PHOTOGRAPHS) >= 4 and len(MODES) >= 4 and len(OVERLAP) >= 4
    assert {*samples.PHOTOGRAPHS, *MODES, *OVERLAP} == set(dataset.names)
    kinds = {load.image.ndim for load in dataset[: len(dataset)] if load.name in samples.COMPOSITES}
    assert kinds == {2, 3}


@pytest.mark.parametrize("name", samples.dataset().names)
def test_a_sample_is_whole_and_the_same_every_time_without_a_network(name, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a sample wanted the network")

    monkeypatch.setattr(socket, "socket", refuse)
    sample = samples.load(name)
    assert (sample.name, sample.dataset) == (name, "samples")
    assert sample.image.dtype == np.uint8 and sample.mask.dtype == bool
    assert sample.mask.shape == sample.image.shape[:2]
    assert 120 <= max(sample.mask.shape) <= samples.LONGEST_SIDE
    assert 0.05 < sample.mask.mean() < 0.6
    assert "scikit-image" in sample.source and any(
        word in sample.source for word in ("CC0", "public domain", "no known")
    )
    assert samples.load(name).hash == sample.hash


def test_an_unknown_sample_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"'mona lisa'.*astronaut.*rocket"):
        samples.load("mona lisa")


def test_a_scikit_image_without_its_pictures_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(
        samples.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=tmp_path / "__init__.py")
    )
    with pytest.raises(InputError, match=r"coffee.png is missing.*pip install"):
        samples.load("coffee")


@pytest.mark.parametrize("name", sorted(samples.PHOTOGRAPHS))
def test_a_drawn_outline_lies_on_the_edges_of_the_photograph(name):
    """The gradient along the outline is greater than along the outline moved 4 pixels down or up, left or right."""
    sample = samples.load(name)
    channels = sample.image.reshape(*sample.mask.shape, -1).astype(float)
    gradient = np.hypot(*np.gradient(channels, axis=(0, 1))).max(axis=2)
    outline = find_boundaries(sample.mask, mode="inner")
    outline[:5], outline[-5:], outline[:, :5], outline[:, -5:] = (
        0,
        0,
        0,
        0,
    )  # the frame is no edge, and nothing wraps around
    moved = [np.roll(outline, shift, (0, 1)) for shift in [(4, 4), (4, -4), (-4, 4), (-4, -4)]]
    assert gradient[outline].mean() > 1.25 * np.mean([gradient[each].mean() for each in moved])


@pytest.mark.parametrize("name", MODES)
def test_case_one_is_told_apart_by_intensity_but_not_by_two_constants(name):
    sample = samples.load(name)
    values = sample.image.reshape(*sample.mask.shape, -1).astype(float)
    assert np.allclose(values[sample.mask].mean(axis=0), values[~sample.mask].mean(axis=0), atol=2)
    assert iou(nearest_true_mean(sample.image, sample.mask), sample.mask) < 0.5
    assert (
        max(best_threshold(each, sample.mask) for each in (grey(sample.image).round(), *np.moveaxis(values, 2, 0)))
        < 0.8
    )
    assert best_by_intensity(sample.image, sample.mask, 32) > 0.9


@pytest.mark.parametrize("name", OVERLAP)
def test_case_two_is_not_told_apart_by_any_rule_on_a_pixels_intensity(name):
    sample = samples.load(name)
    assert best_by_intensity(sample.image, sample.mask, 64 if sample.image.ndim == 2 else 8) < 0.6
    assert iou(nearest_true_mean(sample.image, sample.mask), sample.mask) < 0.5
    if sample.image.ndim == 2:
        inside, outside = (np.sort(sample.image[region]) for region in (sample.mask, ~sample.mask))
        quantiles = np.linspace(0.01, 0.99, 99)
        assert np.abs(np.quantile(inside, quantiles) - np.quantile(outside, quantiles)).max() <= 1


@pytest.mark.parametrize("name", OVERLAP)
def test_case_two_is_told_apart_by_texture(name):
    """Somewhere among simple local statistics there is one whose mean differs between the regions."""
    from scipy.ndimage import gaussian_filter, sobel

    sample = samples.load(name)
    values = grey(sample.image)
    down, across = sobel(values, 0), sobel(values, 1)
    statistics = [np.hypot(down, across), np.abs(down) - np.abs(across), np.abs(values - gaussian_filter(values, 2))]
    smooth = [gaussian_filter(each, 6) for each in statistics]
    separation = [abs(s[sample.mask].mean() - s[~sample.mask].mean()) / s.std() for s in smooth]
    assert max(separation) > 1


def test_area_averaging_is_exact():
    blocks = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    by_hand = np.floor(blocks.reshape(4, 3, 5, 4, 3).mean(axis=(1, 3)) + 0.5)
    assert np.array_equal(samples.area_average(blocks, (4, 5)), by_hand)
    # 3 pixels to 2: each takes one whole and a half of the middle one
    assert samples.area_average(np.array([[0, 90, 210]], np.uint8), (1, 2)).tolist() == [[30, 170]]
    assert np.array_equal(samples.area_average(blocks, (12, 20)), blocks)


def test_polygons_are_filled_by_pixel_centres_and_holes_are_cut():
    square = [(2, 1), (8, 1), (8, 7), (2, 7)]
    hole = [(4, 3), (6, 3), (6, 5), (4, 5)]
    mask = samples.polygons_to_mask([square, [(10, 0), (12, 0), (12, 2), (10, 2)]], [hole], (9, 12))
    expected = np.zeros((9, 12), bool)
    expected[1:7, 2:8] = True
    expected[3:5, 4:6] = False
    expected[0:2, 10:12] = True
    assert np.array_equal(mask, expected)
    reach = samples.polygons_to_mask([[(-5, -5), (50, -5), (50, 4), (-5, 4)]], [], (9, 12))
    assert np.array_equal(reach, np.arange(9)[:, None] * np.ones((1, 12)) < 4)
