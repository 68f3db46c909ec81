"""Chan-Vese: the exact solver against a graph cut, the level set against scikit-image's."""

import itertools

import numpy as np
import pytest
import skimage.segmentation
import torch

from deepcv.baselines.chan_vese import centred_disk, chan_vese, chan_vese_energy, evolve, means, region_cost
from deepcv.data import samples
from deepcv.errors import InputError
from deepcv.metrics import iou
from deepcv.model import labelling
from deepcv.model.energy import total_variation


def noisy_disk(shape=(32, 40), noise=0.15, seed=0):
    rows, columns = np.indices(shape)
    inside = np.hypot(rows - 0.5 * shape[0], columns - 0.45 * shape[1]) < 0.3 * min(shape)
    image = np.where(inside, 0.7, 0.35) + np.random.default_rng(seed).normal(0, noise, shape)
    return np.clip(image, 0, 1).astype(np.float32), inside


def rough(inside):
    return np.roll(inside, (4, -5), axis=(0, 1)).astype(float)


def test_energy_by_hand():
    image = np.array([[0.1, 0.3, 0.9], [0.1, 0.3, 0.7]])
    mask = np.array([[False, False, True], [False, False, True]])
    # means .8 and .2, a straight boundary of two pixels
    assert chan_vese_energy(image, mask, 0.5) == pytest.approx(0.5 * 2 + 2 * 0.1**2 + 4 * 0.1**2)
    colour = np.stack((image, image), axis=2)
    assert chan_vese_energy(colour, mask, 0.0) == pytest.approx(2 * chan_vese_energy(image, mask, 0.0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_energy_is_the_sum_in_its_equation(density, channels):
    rng = np.random.default_rng(5)
    image, mask = rng.random((9, 12, channels)), rng.random((9, 12)) < density
    c1, c2 = means(image, mask)
    squares = ((image - np.where(mask[..., None], c1, c2)) ** 2).sum()
    length = float(total_variation(torch.from_numpy(mask.astype(float))))
    assert chan_vese_energy(image, mask, 0.7) == pytest.approx(0.7 * length + squares, rel=1e-12)


def test_means_are_best_for_their_mask_and_region_cost_tells_the_difference():
    image, inside = noisy_disk()
    channels = np.stack((image, 1 - image**2), axis=2).astype(float)
    c1, c2 = means(channels, inside)

    def data(c1, c2, mask=inside):
        return ((channels - np.where(mask[..., None], c1, c2)) ** 2).sum()

    for shift in itertools.product((-0.01, 0, 0.01), repeat=2):
        assert data(c1, c2) <= data(c1 + shift, c2) and data(c1, c2) <= data(c1, c2 + shift)
    cost = region_cost(channels, c1, c2)
    assert (cost * inside).sum() == pytest.approx(data(c1, c2) - data(c1, c2, np.zeros_like(inside)))
    flipped = inside.copy()
    flipped[3, 4] ^= True
    assert data(c1, c2, flipped) - data(c1, c2) == pytest.approx(cost[3, 4] * (1 if flipped[3, 4] else -1))


def test_means_of_an_empty_side_are_zero():
    image = np.ones((4, 4, 2))
    c1, c2 = means(image, np.zeros((4, 4), bool))
    assert c1.tolist() == [0, 0] and c2.tolist() == [1, 1]


@pytest.mark.parametrize("nu", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_energy_never_rises_and_is_that_of_the_mask(nu, seed):
    image, inside = noisy_disk(seed=seed)
    found = chan_vese(image, rough(inside), solver="exact", nu=nu)
    energies = found.trace["energy"]
    assert len(energies) > 1 and found.settings["max_iterations"] == 30
    assert all(b < a for a, b in itertools.pairwise(energies))
    assert energies[-1] == pytest.approx(chan_vese_energy(image, found.mask, nu))
    assert energies[0] == pytest.approx(chan_vese_energy(image, rough(inside) > 0, nu))


def test_no_mask_is_better_for_the_means_it_ends_with():
    image = np.random.default_rng(3).random((8, 8)).astype(np.float32)
    image[:3, :4] = 0.5 + 0.5 * image[:3, :4]
    hint = np.zeros((8, 8))
    hint[:4, :5] = 1
    nu = 0.1
    mask = chan_vese(image, hint, solver="exact", nu=nu).mask
    cost = region_cost(image[..., None].astype(float), *means(image[..., None].astype(float), mask))

    def value(mask):
        return nu * float(total_variation(torch.from_numpy(mask.astype(float)))) + (cost * mask).sum()

    # every change of a 2×3 block, anywhere
    for top, left in itertools.product(range(7), range(6)):
        for bits in itertools.product((False, True), repeat=6):
            changed = mask.copy()
            changed[top : top + 2, left : left + 3] = np.array(bits).reshape(2, 3)
            assert value(mask) <= value(changed) + 2e-4 * np.abs(cost).sum()


def test_fixed_means_reach_the_minimum_of_a_graph_cut():
    maxflow = pytest.importorskip("maxflow", reason="PyMaxflow comes with the development extra")
    image, inside = noisy_disk((20, 24), noise=0.3)
    channels = image[..., None].astype(float)
    cost, nu = region_cost(channels, *means(channels, inside)), 0.15
    half = np.sqrt(0.5)
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(cost.shape)
    for i, j in np.ndindex(cost.shape):
        graph.add_tedge(nodes[i, j], max(cost[i, j], 0), max(-cost[i, j], 0))
        corner = i > 0 and j > 0
        for present, (k, m) in ((i > 0, (i - 1, j)), (j > 0, (i, j - 1))):
            if present:
                weight = nu * (half if corner else 1)
                graph.add_edge(nodes[i, j], nodes[k, m], weight, weight)
        if corner:
            graph.add_edge(nodes[i - 1, j], nodes[i, j - 1], nu * (1 - half), nu * (1 - half))
    least = graph.maxflow() + np.minimum(cost, 0).sum()
    solved = labelling.solve(torch.from_numpy(cost)[None], nu, tolerance=1e-7, max_iterations=50000)
    u = solved.mask.double()
    reached = float(nu * total_variation(u)[0]) + float((torch.from_numpy(cost) * u[0]).sum())
    assert reached == pytest.approx(least, abs=1e-5)
    assert 0 < u.sum() < u.numel()


def test_a_noisy_disk_is_found_from_a_rough_hint():
    image, inside = noisy_disk()
    assert iou(rough(inside) > 0, inside) < 0.5
    assert iou(chan_vese(image, rough(inside), solver="exact", nu=0.3).mask, inside) > 0.9
    assert iou(chan_vese(image, rough(inside), solver="level-set", nu=0.2).mask, inside) > 0.9


@pytest.mark.parametrize("steps", [1, 5, 40])
@pytest.mark.parametrize("mu", [0.0, 0.1, 0.4])
def test_level_set_is_scikit_images_on_a_grey_image(mu, steps):
    image, inside = noisy_disk()
    image = (image - image.min()).astype(float)
    image /= image.max()  # as scikit-image does inside
    start = np.where(rough(inside) > 0, 1.0, -1.0)
    mask, phi, _ = skimage.segmentation.chan_vese(
        image, mu=mu, tol=0, max_num_iter=steps, dt=0.5, init_level_set=start, extended_output=True
    )
    *_, (ours, _) = evolve(image[..., None], start, mu, 0.5, steps)
    np.testing.assert_allclose(ours, phi, atol=1e-9, rtol=1e-9)
    np.testing.assert_array_equal(ours > 0, mask)


def test_level_set_method_gives_scikit_images_mask_and_stops_where_it_does():
    image, inside = noisy_disk()
    image = (image - image.min()) / np.ptp(image)
    start = np.where(rough(inside) > 0, 1.0, -1.0)
    theirs = skimage.segmentation.chan_vese(
        image.astype(float), mu=0.2, tol=1e-2, max_num_iter=200, dt=0.5, init_level_set=start
    )
    ours = chan_vese(image, rough(inside), solver="level-set", nu=0.2, tolerance=1e-2, max_iterations=200)
    np.testing.assert_array_equal(ours.mask, theirs)


def test_level_set_of_three_equal_channels_is_that_of_one():
    image, inside = noisy_disk()
    start = np.where(rough(inside) > 0, 1.0, -1.0)
    # three times the force and the length, in a third of the time
    *_, (grey, _) = evolve(image[..., None], start, 0.2, 0.6, 12)
    *_, (colour, _) = evolve(np.stack((image, image, image), axis=2), start, 0.6, 0.2, 12)
    np.testing.assert_allclose(grey, colour, rtol=1e-9)


def test_a_step_that_was_given_stays_as_it_is():
    image, inside = noisy_disk()
    steps = [phi for phi, _ in evolve(image[..., None], np.where(inside, 1.0, -1.0), 0.2, 0.5, 3)]
    assert not np.array_equal(steps[0], steps[1]) and not np.array_equal(steps[1], steps[2])


@pytest.mark.parametrize("name", ["modes-disk", "overlap-star"])
@pytest.mark.parametrize("nu", [0.1, 1.0])
def test_exact_energy_is_no_higher_than_scikit_images_from_the_same_start(name, nu):
    sample = samples.load(name)
    grey = sample.image.astype(np.float32) / 255
    grey = (grey - grey.min()) / np.ptp(grey)
    hint = np.roll(sample.mask, 9, axis=0).astype(float)
    start = np.where(hint > 0, 1.0, -1.0)
    theirs = skimage.segmentation.chan_vese(grey.astype(float), mu=nu, init_level_set=start)
    ours = chan_vese(grey, hint, solver="exact", nu=nu)
    assert ours.trace["energy"][-1] <= chan_vese_energy(grey, theirs, nu)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3])
def test_exact_mask_is_as_near_the_least_energy_as_asked_for(tolerance):
    image, inside = noisy_disk((61, 44), noise=0.3)
    found = chan_vese(image, rough(inside), solver="exact", nu=0.4, tolerance=tolerance)
    closest = chan_vese(image, rough(inside), solver="exact", nu=0.4, tolerance=1e-6)
    assert found.trace["energy"][-1] <= (1 + tolerance) * closest.trace["energy"][-1]
    assert iou(closest.mask, inside) > 0.9


@pytest.mark.parametrize("solver", ["exact", "level-set"])
def test_colours_of_the_same_grey_are_told_apart(solver):
    rows, columns = np.indices((30, 36))
    inside = np.hypot(rows - 15, columns - 17) < 9
    image = np.where(inside[..., None], [0.7, 0.4, 0.4], [0.4, 0.55, 0.55])
    image = np.clip(image + np.random.default_rng(0).normal(0, 0.03, image.shape), 0, 1)
    grey = image.mean(axis=2)
    assert abs(grey[inside].mean() - grey[~inside].mean()) < 0.01
    assert iou(chan_vese(image, rough(inside), solver=solver, nu=0.05).mask, inside) > 0.95
    assert iou(chan_vese(grey, rough(inside), solver=solver, nu=0.05).mask, inside) < 0.6


def test_grey_image_in_three_equal_channels_is_the_grey_image_at_three_times_nu():
    image, inside = noisy_disk()
    colour = np.stack((image, image, image), axis=2)
    grey, three = (
        chan_vese(each, rough(inside), solver="exact", nu=nu).mask for each, nu in ((image, 0.1), (colour, 0.3))
    )
    assert (grey != three).mean() < 0.005


def test_the_hint_says_which_side_is_the_foreground():
    image, inside = noisy_disk(noise=0.05)
    bright, dark = (chan_vese(image, hint, solver="exact", nu=0.3).mask for hint in (rough(inside), 1 - rough(inside)))
    np.testing.assert_array_equal(bright, ~dark)
    assert iou(bright, inside) > 0.9


@pytest.mark.parametrize("solver", ["exact", "level-set"])
def test_the_textbooks_knows_neither_hint_nor_colour(solver):
    image, inside = noisy_disk()
    colour = np.stack((image, image[:, ::-1], image[::-1]), axis=2)
    masks = [
        chan_vese(each, hint, solver=solver, nu=0.1, start="disk", grey=True, max_iterations=20).mask
        for each, hint in ((colour, rough(inside)), (colour.mean(axis=2), rough(~inside)))
    ]
    np.testing.assert_array_equal(*masks)


def test_the_disk_covers_half_of_a_square():
    assert centred_disk((200, 200)).mean() == pytest.approx(0.5, abs=0.005)
    assert centred_disk((40, 90)).sum() == pytest.approx(800, rel=0.03), "half of the square on the shorter side"


def test_seed_and_iterations_are_reported_and_the_seed_changes_nothing():
    image, inside = noisy_disk()
    first, second = (chan_vese(image, rough(inside), seed=seed, nu=0.2, max_iterations=7) for seed in (3, 8))
    assert first.method == "chan-vese" and first.seconds > 0
    assert {"solver": "level-set", "nu": 0.2, "max_iterations": 7}.items() <= first.settings.items()
    np.testing.assert_array_equal(first.labels, second.labels)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"solver": "graph-cut"}, "solver is 'graph-cut'; it must be 'level-set' or 'exact'"),
        ({"nu": -0.1}, r"nu is -0\.1"),
        ({"nu": float("nan")}, "nu is nan"),
        ({"nu": float("inf")}, "nu is inf"),
        ({"tolerance": -1.0}, r"tolerance is -1\.0; it must be a finite number of at least 0"),
        ({"max_iterations": 2.5}, r"max_iterations is 2\.5; it must be a whole number"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"hint": np.eye(5)}, "resize the hint"),
    ],
)
def test_input_out_of_range_is_named(options, named):
    image, inside = noisy_disk()
    with pytest.raises(InputError, match=named):
        chan_vese(image, **{"hint": inside, **options})
