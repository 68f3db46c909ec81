"""Normality and overlap against what is known of them from theory."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from deepcv.companion import distributions
from deepcv.companion.distributions import contrast, discriminant, distance_to_fit, distance_to_normal, overlap
from deepcv.errors import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_overlap_is_1_for_one_distribution_and_0_for_disjoint_ones(rng):
    values = rng.normal(size=(50, 60))
    assert overlap(values, values) == 1
    assert overlap(values, values.ravel()[::-1]) == 1, "the order doesn't matter"
    assert overlap(values, values + 20) == 0
    assert overlap([3, 3, 3], [3, 3]) == 1
    assert overlap([3, 3, 3], [4, 4]) == 0


def test_overlap_counts_both_samples_the_same_however_large(rng):
    few, many = rng.normal(size=3000), rng.normal(1, 1, size=40_000)
    assert overlap(few, many) == pytest.approx(overlap(many, few))
    assert overlap(few, np.tile(many, 3)) == pytest.approx(overlap(few, many), abs=1e-3)


def test_overlap_of_half_shifted_uniform_distributions_is_a_half(rng):
    assert overlap(rng.uniform(0, 1, 40_000), rng.uniform(0.5, 1.5, 40_000)) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shift", [0.5, 1, 3])
def test_overlap_of_gaussians_is_that_of_their_densities(rng, shift):
    def divergence(x, own, other):
        p, q = norm.pdf(x, own), norm.pdf(x, other)
        return p * np.log2(2 * p / (p + q))

    expected = 1 - (quad(divergence, -9, 12, (0, shift))[0] + quad(divergence, -9, 12, (shift, 0))[0]) / 2
    found = overlap(rng.normal(size=50_000), rng.normal(shift, 1, size=50_000))
    assert found == pytest.approx(expected, abs=0.01)


def test_overlap_lost_by_chance_is_as_documented(rng):
    n1, n2 = 2000, 20_000
    found = [1 - overlap(rng.normal(size=n1), rng.normal(size=n2)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(distributions.QUANTILES / (4 * np.log(2)) * (1 / n1 + 1 / n2), rel=0.2)


def test_nothing_changes_when_values_are_scaled_and_shifted(rng):
    first, second = rng.gamma(2, size=3000), rng.normal(3, 2, size=2000)
    for quantity in (contrast, overlap):
        assert quantity(255 * first - 7, 255 * second - 7) == pytest.approx(quantity(first, second))
    assert overlap(np.exp(first), np.exp(second)) == overlap(first, second), "any increasing map"
    assert overlap(-first, -second) == pytest.approx(overlap(first, second), abs=0.01)
    assert distance_to_fit(-3 * first + 1) == pytest.approx(distance_to_fit(first))


def test_contrast_is_in_pooled_deviations():
    assert contrast([-1, 1], [4, 6]) == 5
    assert contrast([4, 6], [-1, 1]) == 5
    assert contrast([0, 0], [-2, 2, 8, 12]) == pytest.approx(5 / np.sqrt(29 / 2))
    assert contrast([1, 1], [2]) == np.inf
    assert np.isnan(contrast([1, 1], [1]))


def test_a_gaussian_sample_is_near_its_gaussian(rng):
    assert distance_to_fit(rng.normal(5, 3, 40_000)) < 0.02


def test_two_spikes_are_as_far_from_their_gaussian_as_theory_says():
    """Every value of the standard normal moves to the nearer of ±1: E | |Z| - 1 |."""
    expected = 2 * quad(lambda z: abs(z - 1) * norm.pdf(z), 0, 10, points=[1])[0]
    assert distance_to_fit(np.repeat([2.0, 6.0], 5000)) == pytest.approx(expected, abs=1e-3)


def test_two_modes_come_near_a_gaussian_as_they_merge(rng):
    noise, side = rng.normal(size=20_000), rng.choice([-1, 1], 20_000)
    distances = [distance_to_fit(noise + apart * side) for apart in (0, 1, 2, 4, 8)]
    assert distances == sorted(distances)


def test_distance_to_a_given_gaussian(rng):
    values = rng.normal(10, 1, 40_000)
    assert distance_to_normal(values, 10, 1) < 0.02
    assert distance_to_normal(values, -10, 1) == pytest.approx(20, abs=0.02)
    assert distance_to_normal(values, 6, 2) == pytest.approx(2, abs=0.02), "in units of its deviation, as long as far"
    wide = distance_to_normal(10 + 3 * (values - 10), 10, 1)
    assert wide == pytest.approx(2 * np.sqrt(2 / np.pi), abs=0.05), "(3 - 1) E|Z|"


def test_a_constant_has_no_gaussian():
    assert np.isnan(distance_to_fit([2.0, 2.0]))


def test_discriminant_has_the_greatest_contrast_of_all_weighted_sums(rng):
    mask = rng.random((40, 50)) < 0.3
    image = rng.normal(size=(40, 50, 3)) @ rng.normal(size=(3, 3)) + mask[..., None] * [0.5, -1, 0.3]
    best = discriminant(image, mask)
    assert best[mask].mean() > best[~mask].mean()
    for weights in rng.normal(size=(30, 3)):
        assert contrast((image @ weights)[mask], (image @ weights)[~mask]) <= contrast(best[mask], best[~mask]) + 1e-9


def test_discriminant_of_a_grey_image_is_the_image_up_to_scale(rng):
    grey = rng.random((30, 30))
    mask = grey + 0.2 * rng.random((30, 30)) > 0.6
    assert discriminant(grey, mask) is grey or (discriminant(grey, mask) == grey).all()
    three = discriminant(np.repeat(grey[..., None], 3, axis=2), mask)
    assert abs(np.corrcoef(three.ravel(), grey.ravel())[0, 1]) == pytest.approx(1)


@pytest.mark.parametrize(("values", "says"), [([], "empty"), ([1, np.nan], "NaN"), ([1, np.inf], "infinite")])
def test_what_is_no_sample_is_named(values, says):
    for quantity in (contrast, overlap):
        with pytest.raises(InputError, match=says):
            quantity([1, 2], values)
    with pytest.raises(InputError, match=says):
        distance_to_fit(values)
    with pytest.raises(InputError, match="deviation is 0"):
        distance_to_normal([1, 2], 0, 0)
