"""Feature clustering: its loss, its regions, and what the hint decides."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from deepcv.baselines.feature_clustering import cluster, feature_clustering, merged, network, roughness
from deepcv.errors import InputError
from deepcv.metrics import f_measure

FAST = {"channels": 12, "steps": 30}


def disk(shape=(40, 50)):
    rows, columns = np.indices(shape)
    return np.hypot(rows - 20, columns - 24) < 11


def picture(seed=0):
    colours = np.where(disk()[..., None], [0.9, 0.3, 0.1], [0.1, 0.4, 0.7])
    return np.clip(colours + np.random.default_rng(seed).normal(0, 0.02, (40, 50, 3)), 0, 1)


@pytest.mark.arithmetic
@pytest.mark.parametrize("seed", range(3))
def test_the_hint_chooses_among_regions_that_follow_the_image(seed):
    hint = gaussian_filter(np.roll(disk(), (3, -3), axis=(0, 1)).astype(float), 3)
    found = feature_clustering(picture(seed), hint, seed=seed, device="cpu", **FAST)
    assert f_measure(found.mask, disk()) > 0.8
    other = feature_clustering(picture(seed), 1 - hint, seed=seed, device="cpu", **FAST)
    assert f_measure(~other.mask, disk()) > 0.8


@pytest.mark.parametrize("count", [2, 3, 5])
def test_as_many_regions_as_asked_for_the_largest_first(count):
    found = feature_clustering(picture(), seed=1, device="cpu", merge=False, regions=count, **FAST)
    sizes = np.bincount(found.labels.ravel(), minlength=count)
    assert len(found.memberships) == count == len(sizes) and (np.diff(sizes) <= 0).all() and sizes.min() > 0


def test_the_smallest_region_joins_the_one_of_the_nearest_mean_response():
    labels = np.repeat([0, 1, 2, 3], [6, 5, 4, 1])[None].repeat(2, axis=0)
    response = np.array([0.0, 5.0, 9.0, 8.0])[labels][None]
    np.testing.assert_array_equal(merged(labels, response, 3), np.repeat([0, 1, 2], [6, 5, 5])[None].repeat(2, axis=0))
    np.testing.assert_array_equal(merged(labels, response, 9), labels)
    assert merged(labels, response, 2).max() == 1


@pytest.mark.parametrize("regions", [2, 4])
def test_the_loop_keeps_the_last_labelling_with_enough_labels(regions):
    image = torch.from_numpy(picture().astype(np.float32).transpose(2, 0, 1))
    response, trace = cluster(network(3, 12, 2, 0), image, regions, 60, 0.1, 5.0)
    enough = [count for count in trace["labels"] if count >= regions]
    assert len(np.unique(response.argmax(axis=0))) == enough[-1]
    assert all(count > regions for count in trace["labels"][:-1])


def test_roughness_is_the_mean_difference_of_neighbours():
    response = torch.tensor([[[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]], [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]])
    assert roughness(response).item() == pytest.approx((0 + 2) / 2 + ((1 + 2) / 2 + 0) / 2)


def test_the_seed_fixes_the_network_and_the_callers_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (
        torch.nn.utils.parameters_to_vector(network(3, 4, 2, seed).parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"regions": 40}, "regions is 40 and channels 32"),
        ({"regions": 1}, "regions is 1"),
        ({"steps": 0}, "steps is 0"),
        ({"continuity": -1.0}, "continuity is -1"),
    ],
)
def test_what_cannot_be_run_is_refused(settings, named):
    with pytest.raises(InputError, match=named):
        feature_clustering(picture(), disk(), device="cpu", **settings)
