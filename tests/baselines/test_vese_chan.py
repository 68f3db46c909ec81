"""Multi-phase Chan-Vese: four regions from either start, two as Chan-Vese has them, and its energy."""

import itertools
import math

import numpy as np
import pytest
import torch

from deepcv.baselines import chan_vese
from deepcv.baselines.level_set import LevelSet, boundary_length
from deepcv.baselines.vese_chan import circles, clusters, evolve, phase_sums, vese_chan
from deepcv.errors import InputError

COLOURS = np.array([[0.8, 0.2, 0.2], [0.2, 0.7, 0.3], [0.3, 0.3, 0.8], [0.8, 0.8, 0.3]])
GREYS = np.array([[0.15], [0.4], [0.62], [0.9]])


def quadrants(colours, noise=0.0, shape=(60, 80)):
    lower = np.arange(shape[0])[:, None] >= shape[0] // 2
    right = np.arange(shape[1]) >= shape[1] // 2
    truth = 2 * lower + right
    image = colours[truth] + np.random.default_rng(0).normal(0, noise, (*shape, colours.shape[1]))
    return np.clip(image, 0, 1).squeeze(), truth


def agreement(labels, truth):
    """The share of pixels on which two partitions agree, under the best matching of labels."""
    return max(np.mean(np.array(order)[labels] == truth) for order in itertools.permutations(range(4)))


@pytest.mark.parametrize("colours", [COLOURS, GREYS], ids=["colour", "grey"])
def test_four_flat_quadrants_are_recovered_exactly_from_their_clusters(colours):
    image, truth = quadrants(colours)
    found = vese_chan(image, start="clusters")
    assert agreement(found.labels, truth) == 1
    length = boundary_length(found.labels >= 2) + boundary_length(found.labels % 2 == 1)
    assert found.trace["energy"][-1] == pytest.approx(found.settings["nu"] * length, abs=1e-3)


@pytest.mark.parametrize("colours", [COLOURS, GREYS], ids=["colour", "grey"])
def test_four_flat_quadrants_are_recovered_from_circles_but_for_a_few_pixels(colours):
    # what the first steps have put far on the wrong side comes back late, δ being small there
    image, truth = quadrants(colours)
    found = vese_chan(image)
    assert agreement(found.labels, truth) > 0.995
    assert found.settings["empty"] == []


@pytest.mark.parametrize(("colours", "noise"), [(COLOURS, 0.15), (GREYS, 0.05)], ids=["colour", "grey"])
@pytest.mark.parametrize("start", ["circles", "clusters"])
def test_noisy_quadrants_are_recovered(colours, noise, start):
    image, truth = quadrants(colours, noise)
    assert agreement(vese_chan(image, start=start).labels, truth) > 0.97


def test_labels_and_memberships_follow_the_signs():
    image, _ = quadrants(COLOURS, 0.1)
    phi = circles(image.shape[:2], 12)
    labels, _ = next(evolve(image, phi, 0.01, 2000.0, 1))
    np.testing.assert_array_equal(labels, 2 * (phi[0] > 0) + (phi[1] > 0))
    found = vese_chan(image, max_iterations=3)
    assert found.labels.dtype == np.uint8 and found.memberships.dtype == np.float32
    np.testing.assert_array_equal(found.memberships.argmax(axis=0), found.labels)
    np.testing.assert_array_equal(found.memberships.sum(axis=0), 1)
    assert found.memberships.shape == (4, 60, 80)


def test_energy_is_that_of_the_labels():
    image, _ = quadrants(COLOURS, 0.1)
    *_, (labels, energy) = evolve(image, circles(image.shape[:2], 12), 0.3, 2000.0, 4)
    expected = 0.3 * (boundary_length(labels >= 2) + boundary_length(labels % 2 == 1))
    for phase in range(4):
        expected += ((image[labels == phase] - image[labels == phase].mean(axis=0)) ** 2).sum()
    assert energy == pytest.approx(expected)


@pytest.mark.parametrize("start", ["circles", "clusters"])
def test_energy_goes_down_but_for_small_rises(start):
    image, _ = quadrants(GREYS, 0.1)
    energies = vese_chan(image, start=start).trace["energy"]
    assert energies[-1] < 0.95 * energies[0]
    assert all(b <= 1.01 * a for a, b in itertools.pairwise(energies))


def test_phase_sums_are_weighted_by_products():
    generator = np.random.default_rng(1)
    h1, h2, pixels = generator.random(30), generator.random(30), generator.random((30, 4))
    sums = phase_sums(*map(torch.from_numpy, (h1, h2, pixels))).numpy()
    np.testing.assert_allclose(sums[3], ((h1 * h2)[:, None] * pixels).sum(axis=0))
    np.testing.assert_allclose(sums[1], (((1 - h1) * h2)[:, None] * pixels).sum(axis=0))
    np.testing.assert_allclose(sums.sum(axis=0), pixels.sum(axis=0))


def test_a_step_moves_each_field_by_its_equation():
    image, _ = quadrants(COLOURS, 0.2, (16, 18))
    phi = np.random.default_rng(2).normal(size=(2, 16, 18))
    nu, dt = 0.05, 3.0
    h1, h2 = 0.5 + np.arctan(phi) / math.pi
    weights = {"11": h1 * h2, "10": h1 * (1 - h2), "01": (1 - h1) * h2, "00": (1 - h1) * (1 - h2)}
    distance = {}
    for phase, weight in weights.items():
        mean = (weight[..., None] * image).sum(axis=(0, 1)) / weight.sum()
        distance[phase] = ((image - mean) ** 2).sum(axis=2)
    first, second = (LevelSet(each) for each in phi)

    def step(field, cost):
        field.step(field.in_reading_order(cost[..., None])[:, 0].contiguous(), nu, dt)

    step(first, (distance["11"] - distance["01"]) * h2 + (distance["10"] - distance["00"]) * (1 - h2))
    h1 = 0.5 + np.arctan(first.array) / math.pi
    step(second, (distance["11"] - distance["10"]) * h1 + (distance["01"] - distance["00"]) * (1 - h1))
    *_, (labels, _) = evolve(image, phi, nu, dt, 1)
    np.testing.assert_array_equal(labels, 2 * first.inside + second.inside)
    assert (labels != 2 * (phi[0] > 0) + (phi[1] > 0)).any()


def test_with_a_second_field_of_one_sign_it_is_chan_vese():
    rows, columns = np.indices((40, 50))
    inside = np.hypot(rows - 20, columns - 22) < 12
    image = np.where(inside[..., None], COLOURS[0], COLOURS[1])
    image = np.clip(image + np.random.default_rng(0).normal(0, 0.2, image.shape), 0, 1)
    start = 10 * np.where(np.roll(inside, 6, axis=0), 1.0, -1.0)
    nu, dt = 0.1, 50.0
    *_, (labels, energy) = evolve(image, np.stack((start, np.full_like(start, 1e9))), nu, dt, 40)
    alone = LevelSet(start)
    for _ in range(40):
        u = 0.5 + np.arctan(alone.array)[..., None] / math.pi
        c1, c2 = ((side * image).sum(axis=(0, 1)) / side.sum() for side in (u, 1 - u))
        cost = chan_vese.region_cost(image, c1, c2)
        alone.step(alone.in_reading_order(cost[..., None])[:, 0].contiguous(), nu, dt)
    np.testing.assert_array_equal(labels, 2 * alone.inside + 1)
    assert np.mean(alone.inside == inside) > np.mean((start > 0) == inside)
    assert energy == pytest.approx(chan_vese.chan_vese_energy(image, alone.inside, nu))


def test_three_regions_come_out_as_phases_that_keep_to_one_region_each():
    rows, columns = np.indices((60, 80))
    truth = np.where(np.hypot(rows - 30, columns - 40) < 15, 2, columns >= 40).astype(int)
    found = vese_chan(COLOURS[truth])
    shared = np.array([np.bincount(truth[found.labels == phase], minlength=3) for phase in range(4)])
    assert shared.max(axis=1).sum() > 0.99 * truth.size
    assert set(shared.argmax(axis=1)[shared.sum(axis=1) > 0]) == {0, 1, 2}
    assert found.settings["empty"] == np.flatnonzero(shared.sum(axis=1) == 0).tolist()


def test_phases_without_a_pixel_are_reported_as_empty():
    image, _ = quadrants(COLOURS, 0.1)
    found = vese_chan(image, spacing=1000, dt=1e-9, max_iterations=1)  # outside all circles, and no time to move
    assert found.settings["empty"] == [1, 2, 3]
    assert found.trace["energy"][-1] == pytest.approx(((image - image.mean(axis=(0, 1))) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("spacing", [8, 12, 21])
def test_circles_give_each_phase_about_a_quarter(spacing):
    phi = circles((84 * 2, 84 * 3), spacing)
    labels = 2 * (phi[0] > 0) + (phi[1] > 0)
    assert np.abs(np.bincount(labels.ravel(), minlength=4) / labels.size - 0.25).max() < 0.1
    assert np.abs(np.diff(phi, axis=1)).max() <= 1 + 1e-12 and np.abs(np.diff(phi, axis=2)).max() <= 1 + 1e-12


def test_clusters_are_paired_so_that_neighbours_differ_in_one_field():
    truth = np.repeat(np.arange(4), 20)[None].repeat(30, axis=0)
    for order in itertools.permutations(range(4)):
        phi = clusters(COLOURS[np.array(order)][truth], 0)
        assert sum(boundary_length(field > 0) for field in phi) == 3 * 30


def test_settings_are_reported_and_circles_do_not_depend_on_the_seed():
    image, _ = quadrants(COLOURS, 0.1)
    first, second = (vese_chan(image, np.ones(3), seed=seed, max_iterations=5) for seed in (1, 2))
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.method == "vese-chan" and first.seconds > 0 and len(first.trace["energy"]) == 6
    assert {"start": "circles", "nu": 0.01, "max_iterations": 5, "seed": 1}.items() <= first.settings.items()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"start": "random"}, "start is 'random'; it must be 'circles' or 'clusters'"),
        ({"spacing": 3}, "spacing is 3"),
        ({"nu": float("nan")}, "nu is nan"),
        ({"dt": -1.0}, r"dt is -1\.0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"settled": float("nan")}, "settled is nan"),
        ({"image": np.eye(20), "start": "clusters"}, "at least 4 different colours; use 'circles'"),
        ({"image": np.zeros((4, 4))}, "at least 8"),
    ],
)
def test_input_out_of_range_is_named(options, named):
    with pytest.raises(InputError, match=named):
        vese_chan(**{"image": quadrants(COLOURS)[0], **options})
