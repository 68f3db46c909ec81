"""The composites of several regions are what their names say: told apart by means, by modes or by texture alone."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, sobel

from deepcv.data import load_dataset, regions
from deepcv.errors import InputError
from deepcv.metrics import mean_iou_matched

SAMPLES = {sample.name: sample for sample in load_dataset("regions")}
KINDS = {kind: [name for name in SAMPLES if name.startswith(f"{kind}-")] for kind in ("mean", "modes", "texture")}


def values_of(sample):
    """Pixels `(H, W, C)` and the true regions, as masks."""
    masks = [sample.regions == label for label in range(sample.regions.max() + 1)]
    return sample.image.reshape(*sample.regions.shape, -1).astype(float), masks


def nearest_true_mean(sample):
    """What the data term of a model of constant regions decides when it is told the true means."""
    values, masks = values_of(sample)
    return np.argmin([((values - values[mask].mean(axis=0)) ** 2).sum(axis=2) for mask in masks], axis=0)


def best_by_intensity(sample, bins):
    """What the commonest region of each colour decides, each channel in so many bins: no rule on pixels is right
    more often."""
    values, masks = values_of(sample)
    binned = (values.astype(int) * bins // 256) @ bins ** np.arange(values.shape[2])
    counts = np.array([np.bincount(binned[mask], minlength=bins ** values.shape[2]) for mask in masks])
    return counts.argmax(axis=0)[binned]


def test_there_are_enough_of_every_kind():
    assert load_dataset("regions").names == tuple(sorted(SAMPLES)) == tuple(sorted(itertools.chain(*KINDS.values())))
    assert len(KINDS["mean"]) >= 2 and len(KINDS["modes"]) >= 2 and len(KINDS["texture"]) >= len(SAMPLES) / 2
    for count in (3, 4):
        assert sum(sample.regions.max() + 1 == count for sample in SAMPLES.values()) >= 3
    assert {sample.image.ndim for name, sample in SAMPLES.items() if name in KINDS["texture"]} == {2, 3}


@pytest.mark.parametrize("name", SAMPLES)
def test_an_image_is_whole_and_the_same_every_time(name):
    sample = SAMPLES[name]
    assert (sample.name, sample.dataset, sample.mask) == (name, "regions", None)
    assert sample.image.dtype == sample.regions.dtype == np.uint8
    assert sample.regions.shape == sample.image.shape[:2] and 128 <= max(sample.regions.shape) <= 160
    shares = np.bincount(sample.regions.ravel()) / sample.regions.size
    assert len(shares) == len(regions.COMPOSITES[name].regions) and shares.min() > 0.1
    assert "scikit-image" in sample.source and "CC0" in sample.source
    assert regions.load(name).hash == sample.hash


@pytest.mark.parametrize("name", KINDS["mean"])
def test_regions_of_different_means_are_mostly_told_apart_by_them(name):
    assert mean_iou_matched(nearest_true_mean(SAMPLES[name]), SAMPLES[name].regions) > 0.6


@pytest.mark.parametrize("name", KINDS["modes"] + KINDS["texture"])
def test_the_other_regions_have_the_same_mean(name):
    values, masks = values_of(SAMPLES[name])
    means = np.array([values[mask].mean(axis=0) for mask in masks])
    assert np.ptp(means, axis=0).max() < 1
    assert mean_iou_matched(nearest_true_mean(SAMPLES[name]), SAMPLES[name].regions) < 0.5


@pytest.mark.parametrize("name", KINDS["modes"])
def test_regions_of_different_modes_are_told_apart_by_intensity(name):
    assert mean_iou_matched(best_by_intensity(SAMPLES[name], 32), SAMPLES[name].regions) > 0.85
    modes = [len(region.levels) for region in regions.COMPOSITES[name].regions]
    assert modes.count(2) >= 2


@pytest.mark.parametrize("name", KINDS["texture"])
def test_textures_are_not_told_apart_by_intensity_but_by_their_neighbourhood(name):
    sample = SAMPLES[name]
    values, masks = values_of(sample)
    assert mean_iou_matched(best_by_intensity(sample, 64 if sample.image.ndim == 2 else 8), sample.regions) < 0.5
    grey = values.mean(axis=2)
    down, across, low = sobel(grey, 0), sobel(grey, 1), gaussian_filter(grey, 2)
    statistics = [
        np.hypot(down, across),
        abs(down) - abs(across),
        abs(grey - low),
        (low - gaussian_filter(grey, 6)) ** 2,
    ]
    smooth = [gaussian_filter(each, 6) for each in statistics]
    for one, other in itertools.combinations(masks, 2):
        assert max(abs(each[one].mean() - each[other].mean()) / each.std() for each in smooth) > 1


def test_an_unknown_image_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"'mosaic'.*mean-bands.*texture-sectors"):
        regions.load("mosaic")
