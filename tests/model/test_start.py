"""Where u starts, the hint as a prior, and edge weights."""

import numpy as np
import torch

from deepcv.model.settings import Settings
from deepcv.model.start import (
    edge_weights,
    hint_prior,
    local_histograms,
    random_memberships,
    start_from_image,
    start_prior,
)


def noise_image(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_edge_weights_are_least_on_the_edge_and_plain_without_sensitivity():
    image = torch.full((1, 3, 10, 12), 0.2)
    image[..., 6:] = 0.8
    weights = edge_weights(image, 1.0)
    assert (weights[0, :, 6] < weights[0, :, 5]).all() and weights.min() >= 0.05
    torch.testing.assert_close(weights[0, :, :6], torch.ones(10, 6))
    assert torch.equal(edge_weights(image, 0.0), torch.ones(1, 10, 12))
    assert torch.isfinite(edge_weights(torch.zeros(1, 1, 8, 8), 1.0)).all()


def test_hint_prior_speaks_for_the_hint_and_within_its_weight():
    hint = np.array([[0.0, 0.2, 0.8, 1.0]] * 8, dtype=np.float32)
    background, foreground = hint_prior(hint, 10.0)
    np.testing.assert_allclose(background, -foreground)
    assert (foreground[hint > 0.5] < 0).all() and (foreground[hint < 0.5] > 0).all()
    assert np.abs(foreground - background).max() <= 10
    assert (np.diff(foreground, axis=1) < 0).all()


def test_random_memberships_are_smooth_probabilities_of_their_seed():
    first, same, other = (random_memberships(noise_image(20, 30), 4, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert first.shape == (4, 20, 30) and not np.array_equal(first, other)
    np.testing.assert_allclose(first.sum(axis=0), 1, atol=1e-6)
    assert len(np.unique(first.argmax(axis=0))) == 4
    assert np.abs(np.diff(first, axis=1)).mean() < 0.5 * first.std()


def test_what_the_start_costs_the_phases_sums_to_nothing_and_favours_the_start():
    start = random_memberships(noise_image(9, 12), 3, 0)
    prior = start_prior(start, 6.0)
    np.testing.assert_allclose(prior.sum(axis=0), 0, atol=1e-6)
    np.testing.assert_array_equal(prior.argmin(axis=0), start.argmax(axis=0))
    np.testing.assert_allclose(np.ptp(prior, axis=0), 6.0)


def test_local_histograms_are_distributions_and_blind_to_a_monotone_change_of_grey():
    image = np.random.default_rng(0).random((24, 30))
    features = local_histograms(image, bins=4)
    assert features.shape == (24, 30, 4 * 9)
    np.testing.assert_allclose((features**2).reshape(24, 30, 9, 4).sum(axis=3), 1, atol=1e-5)
    np.testing.assert_allclose(local_histograms(image**2, bins=4)[..., :4], features[..., :4], atol=1e-6)


def test_of_two_phases_that_start_without_a_hint_the_foreground_is_off_the_frame():
    image = np.full((40, 50), 0.2) + np.random.default_rng(0).normal(0, 0.01, (40, 50))
    image[12:28, 15:35] += 0.6
    for seed in range(3):
        start, prior = start_from_image(image.clip(0, 1), Settings(start="clusters"), seed)
        assert start[1, 20, 25] == 1 and start[1, [0, -1]].max() == 0
        assert prior[1, 20, 25] == -prior[0, 20, 25] < 0
