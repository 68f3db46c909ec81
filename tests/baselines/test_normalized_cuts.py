"""Normalized cuts: the value of a cut, the best of two-way splits, and which regions are called foreground."""

import itertools

import numpy as np
import pytest
import scipy.linalg
from sklearn.metrics import adjusted_rand_score

from deepcv.baselines.normalized_cuts import (
    affinity,
    best_segment,
    by_size,
    marked_regions,
    node_features,
    normalized_cuts,
    partition,
    two_way,
)
from deepcv.errors import InputError
from deepcv.hints.superpixels import slic_superpixels
from deepcv.metrics import f_measure

COLOURS = np.array(
    [[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.3, 0.9], [0.9, 0.9, 0.3], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]],
    dtype=np.float32,
)


def cut_value(weights, labels):
    """Ncut of a partition `(n,)`, between 0 and the number of regions."""
    member = (np.asarray(labels) == np.unique(labels)[:, None]).astype(float)
    within = member @ weights @ member.T
    return float((1 - np.diag(within) / within.sum(axis=1)).sum())


def blocks(k, noise=0.02):
    """`k` flat blocks side by side in two rows, and the true partition."""
    rows, columns = np.indices((60, 80))
    truth = (rows >= 30) * (k // 2) + np.where(rows >= 30, columns * (k - k // 2), columns * (k // 2)) // 80
    image = COLOURS[truth] + np.random.default_rng(0).normal(0, noise, (60, 80, 3))
    return np.clip(image, 0, 1), truth


def graph(n=40, seed=0):
    """Random points in three loose groups, linked as an image's superpixels are."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    features = 0.06 * group[:, None] + rng.normal(0, 0.03, (n, 3))
    return affinity(features, rng.uniform(0, 9, (n, 2)), 0.1, 4.0, 5.0)


def grouping(labels):
    return labels[:, None] == labels


def test_affinity_is_its_formula():
    features, positions = np.array([[0.1], [0.2], [0.5]]), np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    weights = affinity(features, positions, colour_width=0.2, distance_width=2.0, radius=5.0)
    assert weights[0, 1] == 0  # 5 apart, and only what is nearer than r is linked
    assert weights[0, 2] == pytest.approx(np.exp(-((0.4 / 0.2) ** 2) - (1 / 2) ** 2))
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(np.diag(weights), 1)


@pytest.mark.parametrize("deviation", [0, 100, 160])
def test_an_image_under_noise_falls_into_superpixels_too(deviation):
    image = blocks(4)[0] + np.random.default_rng(1).normal(0, deviation / 255, (60, 80, 3))
    nodes = slic_superpixels(np.clip(image, 0, 1).astype(np.float32), 400, slic_zero=True)
    sizes = np.bincount(nodes.ravel())
    assert 60 * 80 / 40 * 0.7 < len(sizes) < 60 * 80 / 40 * 1.5
    assert sizes.min() > 0 and sizes.max() < 4 * sizes.mean()


def test_a_superpixel_has_its_mean_colour_in_the_cone_and_its_centre():
    image = np.zeros((4, 8, 3), dtype=np.float32)
    image[:, :4], image[:, 4:] = [0.0, 0.6, 0.0], 0.25
    nodes = np.repeat([[0, 1]], 4, axis=1) * np.ones((4, 1), dtype=int)
    features, positions = node_features(image, nodes)
    # green lies at 120 degrees; grey has a value and no hue
    np.testing.assert_allclose(features, [[0.6, 0.6 * np.sqrt(0.75), -0.3], [0.25, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(positions, [[1.5 / 4, 1.5 / 4], [1.5 / 4, 5.5 / 4]])


def test_cut_value_by_hand():
    weights = np.array([[1, 2, 1], [2, 1, 0], [1, 0, 1.0]])
    # the last node is tied to the rest by 1: of its own 2, and of the others' 7
    assert cut_value(weights, np.array([0, 0, 1])) == pytest.approx(1 / 2 + 1 / 7)
    assert cut_value(weights, np.array([0, 1, 2])) == pytest.approx(3 / 4 + 2 / 3 + 1 / 2)
    assert cut_value(weights, np.zeros(3, int)) == pytest.approx(0)


@pytest.mark.parametrize("seed", range(6))
def test_two_way_is_the_best_threshold_of_the_second_eigenvector(seed):
    weights = graph(seed=seed)
    degrees = np.diag(weights.sum(axis=1))
    second = scipy.linalg.eigh(degrees - weights, degrees)[1][:, 1]  # the generalised problem of [41]
    values = [cut_value(weights, second > threshold) for threshold in np.sort(second)[:-1]]
    found = cut_value(weights, two_way(weights))
    assert found == pytest.approx(min(values))
    for naive in (0.0, np.median(second), second.mean()):
        assert found <= cut_value(weights, second > naive) + 1e-12


def test_two_way_finds_the_least_cut_of_a_small_graph_of_two_groups():
    rng = np.random.default_rng(2)
    weights = rng.uniform(0, 0.2, (9, 9))
    weights[:4, :4] += 1
    weights[4:, 4:] += 1
    weights = (weights + weights.T) / 2
    every = [np.array(bits) for bits in itertools.product((False, True), repeat=9) if 0 < sum(bits) < 9]
    least = min(every, key=lambda split: cut_value(weights, split))
    np.testing.assert_array_equal(grouping(two_way(weights)), grouping(least))


@pytest.mark.parametrize("sizes", [(1, 1), (5, 12), (3, 4, 8)])
def test_a_graph_in_pieces_is_cut_for_nothing(sizes):
    piece = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.where(grouping(piece), 0.7, 0.0) + np.eye(len(piece))
    assert cut_value(weights, two_way(weights)) == pytest.approx(0, abs=1e-12)
    if len(sizes) > 2:
        np.testing.assert_array_equal(grouping(partition(weights, len(sizes))), grouping(piece))


def test_a_graph_all_alike_is_still_split():
    side = two_way(np.ones((6, 6)))
    assert 0 < side.sum() < 6


@pytest.mark.parametrize("regions", [2, 3, 5])
def test_partition_depends_neither_on_the_order_of_nodes_nor_on_the_unit_of_weight(regions):
    weights = graph()
    labels = partition(weights, regions)
    order = np.random.default_rng(1).permutation(len(weights))
    np.testing.assert_array_equal(
        grouping(partition(weights[np.ix_(order, order)], regions)), grouping(labels)[np.ix_(order, order)]
    )
    np.testing.assert_array_equal(grouping(partition(37.5 * weights, regions)), grouping(labels))
    assert cut_value(37.5 * weights, labels) == pytest.approx(cut_value(weights, labels))


@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_flat_blocks_are_recovered(k):
    image, truth = blocks(k)
    found = normalized_cuts(image, regions=k, merge=False)
    assert adjusted_rand_score(truth.ravel(), found.labels.ravel()) > 0.97
    assert found.memberships.shape == (k, 60, 80)
    np.testing.assert_array_equal(found.memberships.argmax(axis=0), found.labels)
    np.testing.assert_array_equal(found.memberships.sum(axis=0), 1)
    sizes = np.bincount(found.labels.ravel())
    assert (np.diff(sizes) <= 0).all()


def test_merged_regions_are_those_the_hint_marks_and_nothing_else_depends_on_it():
    image, truth = blocks(4)
    # strongest on one of the two, and on neither anywhere near 0.5
    hint = np.choose(truth, (0.0, 0.35, 0.25, 0.05)) + np.random.default_rng(0).uniform(0, 0.1, truth.shape)
    found = normalized_cuts(image, hint, regions=4)
    assert f_measure(found.mask, np.isin(truth, (1, 2))) > 0.98
    apart = normalized_cuts(image, regions=4, merge=False)
    np.testing.assert_array_equal(found.mask, marked_regions(apart.labels, hint.astype(np.float32)))
    assert found.method == "normalized-cuts" and found.settings["regions"] == 4


def test_same_labels_for_every_seed_and_for_a_grey_image_in_three_channels():
    grey = blocks(6)[0].mean(axis=2)
    first = normalized_cuts(grey, regions=5, merge=False, seed=1)
    again = normalized_cuts(np.stack([grey] * 3, axis=2), regions=5, merge=False, seed=2)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_regions_are_numbered_by_size_without_gaps():
    labels = np.array([[7, 7, 2], [7, 5, 2], [7, 5, 2]])
    np.testing.assert_array_equal(by_size(labels), [[0, 0, 1], [0, 2, 1], [0, 2, 1]])


def test_the_hint_marks_regions_by_their_mean_and_never_all_or_none():
    labels = np.repeat(np.arange(4), 10).reshape(4, 10)
    hint = np.repeat([0.05, 0.45, 0.1, 0.4], 10).reshape(4, 10)
    np.testing.assert_array_equal(marked_regions(labels, hint)[:, 0], [False, True, False, True])
    scattered = np.tile([0.0, 0, 0, 0, 0, 0, 0, 0, 0.4, 1], (4, 1))  # every region's mean is below the threshold
    scattered[2, 0] = 0.1
    np.testing.assert_array_equal(marked_regions(labels, scattered)[:, 0], [False, False, True, False])
    np.testing.assert_array_equal(marked_regions(labels, 1 - scattered)[:, 0], [True, True, False, True])


def test_the_oracle_takes_the_single_segment_of_greatest_f():
    labels = np.zeros((6, 6), dtype=int)
    labels[1:5, 1:3], labels[1:5, 3:5] = 1, 2
    truth = np.zeros((6, 6), dtype=bool)
    truth[1:5, 1:4] = True
    best = best_segment(labels, truth)
    np.testing.assert_array_equal(best, labels == 1)
    assert f_measure(best, truth) == max(f_measure(labels == each, truth) for each in range(3))
    ignore = labels == 1
    np.testing.assert_array_equal(best_segment(labels, truth, ignore), labels == 2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"regions": 1}, "regions is 1; it must be a whole number from 2 to 255"),
        ({"regions": 256}, "regions is 256"),
        ({"regions": 200}, r"regions is 200 but the image has only \d+ superpixels; ask for fewer"),
        ({"superpixels": 1}, "superpixels is 1"),
        ({"colour_width": 0.0}, r"colour_width is 0\.0"),
        ({"distance_width": float("inf")}, "distance_width is inf"),
        ({"radius": 1.0}, r"radius is 1\.0"),
        ({"hint": np.eye(5)}, "resize the hint"),
    ],
)
def test_input_out_of_range_is_named(options, named):
    image, truth = blocks(3)
    with pytest.raises(InputError, match=named):
        normalized_cuts(image, **{"hint": truth == 1, **options})
