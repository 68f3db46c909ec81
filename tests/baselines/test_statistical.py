"""The statistical model: its moments and densities, Chan-Vese as a special case, and what only it can separate."""

import itertools

import numpy as np
import pytest
import scipy.stats

from deepcv.baselines import chan_vese
from deepcv.baselines import statistical as model
from deepcv.baselines.level_set import boundary_length
from deepcv.baselines.statistical import evolve, moments, negative_log, statistical
from deepcv.errors import InputError
from deepcv.metrics import iou


def disk(shape=(48, 60)):
    rows, columns = np.indices(shape)
    return np.hypot(rows - 0.5 * shape[0], columns - 0.45 * shape[1]) < 0.3 * min(shape)


def rough(inside):
    return np.roll(inside, (4, -5), axis=(0, 1)).astype(float)


def noisy_disk(channels=3, noise=0.1, seed=0):
    inside = disk()
    colours = np.where(inside[..., None], [0.7, 0.35, 0.3], [0.35, 0.5, 0.6])[..., :channels]
    image = np.clip(colours + np.random.default_rng(seed).normal(0, noise, colours.shape), 0, 1)
    return (image[..., 0] if channels == 1 else image), inside


def with_one(image):
    return np.concatenate((image, np.ones((*image.shape[:-1], 1))), axis=-1)


def quadratic(image, form):
    x = with_one(image)
    return 0.5 * np.einsum("...i,ij,...j->...", x, form, x)


@pytest.mark.parametrize("channels", [1, 3])
def test_moments_are_numpys(channels):
    generator = np.random.default_rng(0)
    pixels, weights = generator.random((200, channels)), generator.random(200)
    products = np.einsum("n,ni,nj->ij", weights, with_one(pixels), with_one(pixels))
    expected = np.cov(pixels, rowvar=False, aweights=weights, ddof=0).reshape(channels, channels)
    mean, full = moments(products, "full", 0.01)
    np.testing.assert_allclose(mean, np.average(pixels, axis=0, weights=weights))
    np.testing.assert_allclose(full, expected + 0.01 * np.eye(channels), atol=1e-14)
    diagonal = moments(products, "diagonal", 0.01)[1]
    np.testing.assert_allclose(diagonal, np.diag(np.diag(full)))


@pytest.mark.parametrize("channels", [1, 3])
def test_densities_are_scipys(channels):
    generator = np.random.default_rng(1)
    mean, root = generator.random(channels), generator.normal(size=(channels, channels))
    covariance = root @ root.T + 0.1 * np.eye(channels)
    pixels = generator.random((5, 7, channels))
    expected = -scipy.stats.multivariate_normal(mean, covariance).logpdf(pixels) - channels / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(quadratic(pixels, negative_log(mean, covariance)), expected)


@pytest.mark.parametrize("deviation", [0.05, 0.3])
def test_with_equal_isotropic_covariances_the_force_is_chan_veses(deviation):
    generator = np.random.default_rng(2)
    image, c1, c2 = generator.random((6, 9, 3)), generator.random(3), generator.random(3)
    first, second = (negative_log(c, deviation**2 * np.eye(3)) for c in (c1, c2))
    force = quadratic(image, first - second)
    np.testing.assert_allclose(2 * deviation**2 * force, chan_vese.region_cost(image, c1, c2), atol=1e-12)


def test_with_covariances_held_equal_and_isotropic_the_evolution_is_chan_veses(monkeypatch):
    image, inside = noisy_disk()
    start, nu, dt, variance = np.where(rough(inside) > 0, 1.0, -1.0), 0.2, 0.5, 0.04
    *_, (phi, _) = chan_vese.evolve(image, start, nu, dt, 60)
    assert iou(phi > 0, rough(inside) > 0) < 0.9  # it has moved
    monkeypatch.setattr(model, "moments", lambda products, *_: (moments(products, "full", 0)[0], variance * np.eye(3)))
    *_, (mask, _) = model.evolve(image, start, nu / (2 * variance), dt * 2 * variance, 60, "full", 1e-3)
    np.testing.assert_array_equal(mask, phi > 0)


def test_energy_is_the_negative_log_likelihood_and_the_length():
    image, inside = noisy_disk()
    mask, energy = next(evolve(image, np.where(inside, 1.0, -1.0), 3.0, 0.5, 1, "full", 1e-3))
    np.testing.assert_array_equal(mask, inside)
    expected = 3.0 * boundary_length(inside)
    for side in (image[inside], image[~inside]):
        covariance = np.cov(side, rowvar=False, ddof=0) + 1e-3 * np.eye(3)
        expected -= scipy.stats.multivariate_normal(side.mean(axis=0), covariance).logpdf(side).sum()
    assert energy + 1.5 * np.log(2 * np.pi) * mask.size == pytest.approx(expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_noisy_disk_is_found_from_a_rough_hint(channels, covariance):
    image, inside = noisy_disk(channels)
    assert iou(rough(inside) > 0, inside) < 0.65
    found = statistical(image, rough(inside), covariance=covariance, nu=2.0)
    assert iou(found.mask, inside) > 0.93
    assert found.trace["energy"][-1] < found.trace["energy"][0]


def test_without_length_the_energy_never_rises():
    image, inside = noisy_disk(noise=0.2)
    energies = statistical(image, rough(inside), nu=0.0, floor=1e-6).trace["energy"]
    assert len(energies) > 10
    assert all(b <= a + 1e-6 * abs(a) for a, b in itertools.pairwise(energies))


@pytest.mark.parametrize("channels", [1, 3])
def test_regions_of_one_mean_and_two_variances_are_separated_which_chan_vese_cannot(channels):
    inside = disk()
    noise = np.random.default_rng(0).normal(size=(*inside.shape, channels))
    image = np.clip(0.5 + np.where(inside, 0.03, 0.2)[..., None] * noise, 0, 1).squeeze()
    assert iou(statistical(image, rough(inside), nu=2.0).mask, inside) > 0.85
    assert all(iou(chan_vese.chan_vese(image, rough(inside), nu=nu).mask, inside) < 0.7 for nu in (0.02, 0.2, 2.0))


def test_only_the_full_covariance_sees_which_channels_go_together():
    inside = disk()
    red, green, blue = 0.12 * np.random.default_rng(0).normal(size=(3, *inside.shape))
    together = 0.95 * red + np.sqrt(1 - 0.95**2) * green
    image = np.clip(0.5 + np.stack((red, np.where(inside, together, -together), blue), axis=2), 0, 1)
    full, diagonal = (
        statistical(image, rough(inside), nu=2.0, covariance=covariance).mask for covariance in ("full", "diagonal")
    )
    assert iou(full, inside) > 0.9 and iou(diagonal, inside) < 0.7


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_regions_have_a_density_thanks_to_the_floor(covariance, channels):
    image, inside = noisy_disk(channels, noise=0.0)
    found = statistical(image, rough(inside), covariance=covariance)
    assert np.isfinite(found.trace["energy"]).all()
    assert iou(found.mask, inside) > 0.95


def test_a_region_that_vanishes_leaves_a_finite_energy_and_an_empty_mask():
    image, _ = noisy_disk(noise=0.3)
    hint = np.zeros(image.shape[:2])
    hint[20:23, 30:33] = 1
    found = statistical(image, hint, nu=1e4)
    assert not found.mask.any() and np.isfinite(found.trace["energy"]).all()


def test_the_hint_says_which_side_is_the_foreground():
    image, inside = noisy_disk()
    one, other = (statistical(image, hint, nu=2.0).mask for hint in (rough(inside), 1 - rough(inside)))
    assert iou(one, inside) > 0.9 and iou(other, ~inside) > 0.9


def test_it_stops_when_the_sides_rest_or_the_steps_are_used_up():
    image, inside = noisy_disk()
    resting = statistical(image, inside.astype(float), nu=2.0, settled=1.0)
    assert len(resting.trace["energy"]) == 51
    assert len(statistical(image, inside.astype(float), max_iterations=7).trace["energy"]) == 8


def test_settings_are_reported_and_the_seed_changes_nothing():
    image, inside = noisy_disk()
    first, second = (statistical(image, rough(inside), seed=seed, max_iterations=9) for seed in (3, 8))
    assert first.method == "statistical" and first.seconds > 0
    assert {"covariance": "full", "nu": 10.0, "floor": 1e-3, "max_iterations": 9}.items() <= first.settings.items()
    np.testing.assert_array_equal(first.labels, second.labels)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"covariance": "spherical"}, "covariance is 'spherical'; it must be 'full' or 'diagonal'"),
        ({"floor": 0.0}, r"floor is 0\.0"),
        ({"floor": float("nan")}, "floor is nan"),
        ({"nu": -1.0}, r"nu is -1\.0"),
        ({"dt": 0.0}, r"dt is 0\.0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"settled": -0.1}, r"settled is -0\.1"),
        ({"hint": np.eye(5)}, "resize the hint"),
    ],
)
def test_input_out_of_range_is_named(options, named):
    image, inside = noisy_disk()
    with pytest.raises(InputError, match=named):
        statistical(image, **{"hint": inside, **options})
