"""The ablations: each appearance is what it says, and the loop around them is our model's."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from deepcv.baselines import appearance
from deepcv.baselines.appearance import (
    cut_in_rounds,
    forest,
    hint_cut,
    linear,
    local_colours,
    mixed,
    mixture,
    quadratic,
    ridge,
    voted,
)
from deepcv.errors import InputError
from deepcv.metrics import f_measure
from deepcv.model.segment import deep_chan_vese, pose
from deepcv.model.settings import Settings
from deepcv.model.solver import Model, balanced

EVERY = [hint_cut, ridge, mixture, forest]
FITTED = EVERY[1:]


def disk(shape=(48, 60)):
    rows, columns = np.indices(shape)
    return np.hypot(rows - 22, columns - 28) < 14


def picture(seed=0):
    """A disk of two colours on a ground of a third, with noise; no colour channel alone separates them."""
    generator = np.random.default_rng(seed)
    object_ = np.where(np.indices((48, 60))[0][..., None] % 12 < 6, [0.8, 0.2, 0.2], [0.2, 0.2, 0.8])
    image = np.where(disk()[..., None], object_, [0.3, 0.6, 0.3]) + generator.normal(0, 0.04, (48, 60, 3))
    return np.clip(image, 0, 1)


def rough():
    """A blurred hint that misses a part of the disk and has as much beside it."""
    return gaussian_filter(np.roll(disk(), (4, -5), axis=(0, 1)).astype(float), 3)


def hard(inside):
    return torch.from_numpy(np.stack((~inside, inside)).astype(np.float32))[None]


@pytest.mark.arithmetic
@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize("seed", range(3))
def test_colours_correct_a_rough_hint_that_the_cut_alone_repeats(method, seed):
    image = picture(seed)
    alone = f_measure(hint_cut(image, rough()).mask, disk())
    assert f_measure(method(image, rough(), seed=seed).mask, disk()) > max(0.94, alone + 0.03)


@pytest.mark.parametrize("method", EVERY)
def test_the_hint_says_which_side_is_the_object(method):
    mask = method(picture(), 1 - rough()).mask
    assert f_measure(~mask, disk()) > 0.6


def test_only_the_ratio_of_length_and_hint_matters_to_the_cut_alone():
    first, second = (hint_cut(picture(), rough(), nu=3 * each, hint_weight=each).mask for each in (64.0, 128.0))
    np.testing.assert_array_equal(first, second)


def test_the_problem_is_our_models_own():
    asked = {}

    def nothing(problem):
        asked["problem"] = problem
        return lambda u: np.zeros(1, np.float32)

    settings = {"size": 40, "nu": 20.0, "hint_weight": 8.0, "balance": 0.5, "rounds": 3}
    appearance._segment("ridge", picture(), rough(), nothing, settings)
    ours = pose(picture().astype(np.float32), rough().astype(np.float32), Settings(**settings), 0, "cpu")
    for mine, theirs in zip(asked["problem"][:4], ours[:4], strict=True):
        torch.testing.assert_close(mine, theirs)


# the rounds


@pytest.fixture
def problem():
    return pose(picture().astype(np.float32), rough().astype(np.float32), Settings(hint_weight=0), 0, "cpu")


def test_rounds_end_when_labels_settle(problem):
    seen = []

    def constant(u):
        seen.append(u)
        return np.where(disk(), -100, 100).astype(np.float32)

    u = cut_in_rounds(problem, constant, Settings(rounds=5, nu=1.0))
    assert len(seen) == 2 and torch.equal(u, hard(disk()))


def test_a_region_that_would_vanish_keeps_its_pixels(problem):
    u = cut_in_rounds(problem, lambda u: np.full((48, 60), 1e3, np.float32), Settings(nu=1.0))
    torch.testing.assert_close(u, problem.memberships)


# the features


def test_local_colours_are_means_inside_the_image():
    image = np.random.default_rng(0).random((9, 11, 3))
    found = local_colours(torch.from_numpy(image.transpose(2, 0, 1))[None], 3)
    assert found.shape == (9, 11, 9)
    np.testing.assert_allclose(found[..., :3], image)
    np.testing.assert_allclose(found[4, 5, 3:6], image[3:6, 4:7].mean(axis=(0, 1)))
    np.testing.assert_allclose(found[0, 0, 6:], image[:3, :3].mean(axis=(0, 1)))


def test_quadratic_features_hold_every_product_once():
    features = np.random.default_rng(1).random((6, 7, 3))
    found = quadratic(features)
    assert found.shape == (6, 7, 1 + 3 + 6) and (found[..., 0] == 1).all()
    np.testing.assert_allclose(found[..., 1:].mean(axis=(0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(found[..., 1:].std(axis=(0, 1)), 1)
    product = features[..., 0] * features[..., 2]
    correlation = [np.corrcoef(product.ravel(), each)[0, 1] for each in found[..., 1:].reshape(-1, 9).T]
    assert np.isclose(max(correlation), 1)


# the appearances


def test_ridge_minimises_the_weighted_region_term():
    x = quadratic(local_colours(torch.from_numpy(picture().transpose(2, 0, 1))[None], 1))
    u = hard(rough() > 0.5)
    mean = linear(x, 0.75, 1e-12)(u) / -20
    weights = balanced(u, 0.75)[0].numpy()

    def region(latent):
        return (weights[1] * (latent - 10) ** 2 + weights[0] * (latent + 10) ** 2).sum() / 2

    generator = np.random.default_rng(0)
    for _ in range(5):
        assert region(mean) < region(mean + x @ generator.normal(0, 0.1, x.shape[-1]))


def test_a_larger_penalty_gives_a_smaller_latent_mean():
    x = quadratic(local_colours(torch.from_numpy(picture().transpose(2, 0, 1))[None], 1))
    spreads = [linear(x, 0.75, penalty)(hard(disk())).std() for penalty in (1e-3, 1.0, 100.0)]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("seed", range(3))
def test_the_forest_does_not_repeat_a_hint_that_colours_do_not_support(seed):
    noise = np.random.default_rng(seed).random((48, 60, 3))
    cost = voted(noise, 0.75, 30, 5, seed)(hard(disk()))
    assert abs(np.corrcoef(cost.ravel(), disk().ravel())[0, 1]) < 0.15
    assert np.abs(cost).max() <= 200


@pytest.mark.parametrize("seed", range(3))
def test_costs_of_mixtures_change_sign_with_the_regions(seed):
    u = hard(rough() > 0.5)
    cost = mixed(picture(), 0.75, 5, 1e-4, 200.0, seed)
    np.testing.assert_allclose(cost(u), -cost(u.flip(1)), atol=1e-6)
    assert np.abs(cost(u)).max() <= 200


@pytest.mark.parametrize("components", [1, 5])
def test_a_region_of_one_pixel_has_a_density(components):
    inside = np.zeros((48, 60), bool)
    inside[20, 30] = True
    cost = mixed(picture(), 0.75, components, 1e-4, 200.0, 0)(hard(inside))
    assert np.isfinite(cost).all() and cost[20, 30] < np.median(cost)


def test_balance_is_the_weight_of_the_areas_in_the_mixtures_prior():
    u = hard(disk())
    ignored, counted = (mixed(picture(), balance, 5, 1e-4, 1e9, 0)(u) for balance in (1.0, 0.0))
    area = disk().mean()
    np.testing.assert_allclose(counted - ignored, np.log((1 - area) / area), atol=1e-5)


def test_grabcuts_preset_has_the_price_of_its_eight_neighbours():
    """Of a straight boundary each pixel's pairs are one across and two diagonal ones, γ and γ/√2 each."""
    assert appearance.GRABCUT["nu"] == pytest.approx(50 + 2 * 50 / np.sqrt(2))


@pytest.mark.parametrize(
    ("method", "settings", "named"),
    [
        (hint_cut, {"nu": -1.0}, "nu is -1"),
        (ridge, {"scales": 0}, "scales is 0"),
        (ridge, {"penalty": 0.0}, "penalty is 0"),
        (mixture, {"components": 0}, "components is 0"),
        (mixture, {"limit": 0.0}, "limit is 0"),
        (forest, {"trees": 3}, "trees is 3"),
        (forest, {"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(method, settings, named):
    with pytest.raises(InputError, match=named):
        method(picture(), rough(), **settings)


# our model without its decoder


def test_without_a_decoder_nothing_is_reconstructed():
    settings = Settings(decoder=False, steps=5, rounds=1)
    assert not any(name.startswith("decoder") for name, _ in Model(3, settings, [0]).named_parameters())
    runs = [
        deep_chan_vese(picture(), rough(), device="cpu", decoder=False, pixel_range=scale, steps=5, rounds=1)
        for scale in (1.0, 255.0)
    ]
    assert set(runs[0].trace["reconstruction"]) == {0.0} and min(runs[0].trace["region"]) > 0
    assert runs[0].trace == runs[1].trace
