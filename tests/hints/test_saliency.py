"""The saliency map finds planted objects; its solver solves what it says it solves."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from deepcv.errors import InputError
from deepcv.hints.decomposition import (
    capping_level,
    decompose,
    shrink_singular_values,
    shrink_tree,
    tree_nodes,
)
from deepcv.hints.features import noise_level, pixel_features
from deepcv.hints.saliency import inside_frame, structured_matrix_decomposition, without_noise
from deepcv.hints.settings import SaliencySettings
from deepcv.hints.superpixels import adjacency, boundary_connectivity, index_tree, laplacian, node_weights

QUICK = {"superpixels": (150,), "longest_side": 128}


def planted(shape=(96, 128), centre=(0.5, 0.5), colour=(0.9, 0.2, 0.1), ground=(0.3, 0.5, 0.4), radius=0.2, seed=0):
    """A noisy disk on a noisy ground, and where it is."""
    rows, columns = np.indices(shape)
    inside = np.hypot(rows - centre[0] * shape[0], columns - centre[1] * shape[1]) < radius * min(shape)
    image = np.where(inside[..., None], colour, ground) + np.random.default_rng(seed).normal(0, 0.03, (*shape, 3))
    return np.clip(image, 0, 1).astype(np.float32), inside


@pytest.fixture
def small_problem():
    """Random background of rank 2 with an object in four neighbouring columns of a 5 × 5 grid, and its tree."""
    generator = np.random.default_rng(3)
    grid = np.arange(25).reshape(5, 5)
    features = generator.uniform(size=(8, 2)) @ generator.uniform(size=(2, 25))
    features[:, [12, 13, 17, 18]] += generator.uniform(0.5, 1.0, size=(8, 1))
    neighbours = adjacency(grid)
    distance = np.linalg.norm(features[:, :, None] - features[:, None], axis=0)
    levels = index_tree(distance, neighbours, (0.5, 2.0))
    prior = np.zeros(25)
    prior[[12, 13, 17, 18]] = 0.8
    graph_laplacian = laplacian(np.where(neighbours, np.exp(-(distance**2)), 0))
    return features, graph_laplacian, levels, node_weights(levels, prior)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"colour": (0.1, 0.2, 0.9), "ground": (0.8, 0.7, 0.3)},
        {"colour": (0.95, 0.95, 0.95), "ground": (0.2, 0.2, 0.2), "centre": (0.4, 0.6)},
        {"colour": (0.1, 0.1, 0.1), "ground": (0.7, 0.7, 0.7), "centre": (0.55, 0.35)},
        {"shape": (128, 96), "centre": (0.6, 0.45)},
    ],
)
def test_map_is_high_on_a_planted_object_and_low_outside(options):
    image, inside = planted(**options)
    saliency = structured_matrix_decomposition(image, **QUICK)
    assert saliency[inside].mean() > 0.8
    assert saliency[~inside].mean() < 0.15


def test_default_settings_find_a_textured_object_of_the_grounds_mean_colour():
    rows, columns = np.indices((150, 200))
    inside = np.hypot(rows - 75, columns - 100) < 35
    checks = 0.5 + 0.3 * np.sign(np.sin(rows / 1.6) * np.sin(columns / 1.6))
    saliency = structured_matrix_decomposition(np.where(inside, checks, 0.5).astype(np.float32))
    assert saliency[inside].mean() > 0.6 > 0.3 > saliency[~inside].mean()


@pytest.mark.parametrize("shape", [(64, 81), (37, 151), (8, 8), (9, 300), (700, 523)])
def test_map_has_the_images_size_and_lies_in_the_unit_interval(shape):
    saliency = structured_matrix_decomposition(planted(shape)[0], **QUICK)
    assert saliency.shape == shape and saliency.dtype == np.float32
    assert np.isfinite(saliency).all() and saliency.min() >= 0 and saliency.max() <= 1
    assert np.ptp(saliency) > 0.5


def test_same_image_same_map():
    image, _ = planted()
    first, second = (structured_matrix_decomposition(image, **QUICK) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_uint8_and_float_images_give_the_same_map():
    image = np.rint(planted()[0] * 255).astype(np.uint8)
    from_float = structured_matrix_decomposition(image / np.float32(255), **QUICK)
    np.testing.assert_array_equal(structured_matrix_decomposition(image, **QUICK), from_float)


def test_grey_image_equals_its_three_equal_channels():
    image, inside = planted()
    grey = image.mean(axis=2)
    saliency = structured_matrix_decomposition(grey, **QUICK)
    np.testing.assert_array_equal(saliency, structured_matrix_decomposition(np.stack([grey] * 3, axis=2), **QUICK))
    assert saliency[inside].mean() > saliency[~inside].mean() + 0.5


def test_mirrored_image_gives_nearly_the_mirrored_map():
    image, _ = planted(centre=(0.45, 0.4))
    turned = structured_matrix_decomposition(np.ascontiguousarray(image[:, ::-1]), **QUICK)[:, ::-1]
    assert np.abs(turned - structured_matrix_decomposition(image, **QUICK)).mean() < 0.05


def test_an_image_with_nothing_salient_gives_a_map_that_is_not_constant():
    image = np.full((64, 64), 0.5, dtype=np.float32)
    image[0, 0] = 0.51
    assert np.ptp(structured_matrix_decomposition(image, **QUICK)) > 0.1


def test_flat_frame_is_found_cut_off_and_left_without_saliency():
    image, _ = planted(ground=(0.5, 0.6, 0.4))
    image[:6], image[-4:] = 0, 0
    assert inside_frame(image) == (slice(6, 92), slice(0, 128))
    saliency = structured_matrix_decomposition(image, **QUICK)
    assert saliency[:5].max() == 0 and saliency[-3:].max() == 0


def test_plain_background_is_no_frame():
    image = np.full((60, 80, 3), 0.8)
    image[4:56, 30:50] = 0.2  # begins within the share a frame may take, but is not as long as a picture
    assert inside_frame(image) == (slice(0, 60), slice(0, 80))


@pytest.mark.parametrize("image", [np.zeros((30, 30, 3), np.uint8), np.full((30, 30), np.nan), np.zeros((30, 30, 4))])
def test_unusable_images_are_refused(image):
    with pytest.raises(InputError):
        structured_matrix_decomposition(image)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"superpixel": 3}, "superpixel"),
        ({"superpixels": ()}, "superpixels"),
        ({"superpixels": (0,)}, "superpixels"),
        ({"group_weight": -1.0}, "group_weight"),
        ({"mu_growth": 0.5}, "mu_growth"),
        ({"object_bias": 2.0}, "object_bias"),
        ({"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_unusable_settings_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        structured_matrix_decomposition(planted()[0], **settings)


def test_there_are_53_finite_features_and_texture_ones_vanish_where_the_image_is_flat():
    features = pixel_features(np.full((41, 59, 3), 0.4))
    assert features.shape == (53, 41, 59) and np.isfinite(features).all()
    np.testing.assert_allclose(features[5:], 0, atol=1e-4)
    np.testing.assert_allclose(features[:3], 0.4, rtol=1e-6)


def test_log_gabor_answers_most_to_its_own_wavelength_and_orientation():
    columns = np.indices((96, 96))[1]
    wave = np.repeat((0.5 + 0.4 * np.cos(2 * np.pi * columns / 12))[..., None], 3, axis=2)
    answers = pixel_features(wave)[17:, 24:-24, 24:-24].mean(axis=(1, 2)).reshape(3, 12)
    assert np.unravel_index(answers.argmax(), answers.shape) == (1, 0)


def test_steerable_pyramid_answers_most_to_its_own_wavelength_and_orientation():
    rows = np.indices((128, 128))[0]
    wave = np.repeat((0.5 + 0.4 * np.cos(2 * np.pi * rows / 8))[..., None], 3, axis=2)
    answers = pixel_features(wave)[5:17, 24:-24, 24:-24].mean(axis=(1, 2)).reshape(3, 4)
    assert np.unravel_index(answers.argmax(), answers.shape) == (1, 2)
    assert answers[1, 0] < 1e-2 * answers[1, 2]


def test_superpixels_of_one_colour_are_one_region_that_holds_the_whole_border():
    neighbours = adjacency(np.arange(20).reshape(4, 5))
    border = np.pad(np.zeros((2, 3), bool), 1, constant_values=True).ravel()
    connectivity = boundary_connectivity(np.zeros((20, 20)), neighbours, border, (3.0, 12.0))
    np.testing.assert_allclose(connectivity, border.sum() / np.sqrt(20), rtol=1e-6)


def test_connectivity_falls_where_every_path_to_the_border_crosses_an_edge():
    labels = np.arange(25).reshape(5, 5)
    colour = np.where(np.isin(labels, [6, 7, 11, 12]), 40.0, 0.0).ravel()
    border = np.pad(np.zeros((3, 3), bool), 1, constant_values=True).ravel()
    found = boundary_connectivity(np.abs(colour[:, None] - colour), adjacency(labels), border, (5.0,))[0]
    np.testing.assert_allclose(found[colour > 0], 0, atol=1e-9)
    np.testing.assert_allclose(found[colour == 0], border.sum() / np.sqrt(21), rtol=1e-6)


def test_connectivity_is_that_of_the_shortest_paths():
    generator = np.random.default_rng(6)
    labels = np.arange(80).reshape(8, 10)
    colours = generator.normal(0, 6, (80, 3))
    distance = np.linalg.norm(colours[:, None] - colours, axis=2)
    neighbours = adjacency(labels)
    border = np.pad(np.zeros((6, 8), bool), 1, constant_values=True).ravel()
    noise = np.where(neighbours, distance, np.inf).min(axis=1).mean()
    paths = np.where(neighbours | np.outer(border, border), np.maximum(distance - noise, 0), np.inf)
    np.fill_diagonal(paths, 0)
    for middle in range(80):
        paths = np.minimum(paths, paths[:, [middle]] + paths[middle])
    region = np.exp(-(paths**2) / (2 * 5.0**2))
    expected = region[:, border].sum(axis=1) / np.sqrt(region.sum(axis=1))
    np.testing.assert_allclose(boundary_connectivity(distance, neighbours, border, (5.0,))[0], expected, rtol=1e-9)


def test_index_tree_partitions_the_superpixels_and_every_level_lies_within_the_next():
    generator = np.random.default_rng(0)
    neighbours = adjacency(np.arange(48).reshape(6, 8))
    colours = generator.normal(size=(48, 3)) + np.repeat([0, 20], 24)[:, None]
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    levels = index_tree(distance, neighbours, (2.0, 10.0, 1e6))
    assert [len(np.unique(regions)) for regions in (levels[0], levels[-1])] == [48, 1]
    for regions in levels:
        np.testing.assert_array_equal(np.unique(regions), np.arange(regions.max() + 1))
    for finer, coarser in itertools.pairwise(levels):
        for region in np.unique(finer):
            assert len(np.unique(coarser[finer == region])) == 1
    assert not set(levels[2][:24]) & set(levels[2][24:])  # the two colours stay apart


def test_a_node_weighs_by_its_greatest_prior():
    leaves, pairs = node_weights([np.arange(4), np.array([0, 0, 1, 1])], np.array([0.0, 0.3, 1.0, 0.2]))
    np.testing.assert_allclose(leaves, [1, 0.7, 0, 0.8])
    np.testing.assert_allclose(pairs, [0.7, 0])


def test_laplacian_is_the_sum_of_weighted_squared_differences():
    generator = np.random.default_rng(1)
    affinity = np.triu(generator.uniform(size=(6, 6)), 1)
    affinity += affinity.T
    x = generator.normal(size=6)
    pairs = sum(affinity[i, j] * (x[i] - x[j]) ** 2 for i in range(6) for j in range(i))
    np.testing.assert_allclose(x @ laplacian(affinity) @ x, pairs)


def test_shrinking_singular_values_agrees_with_the_decomposition():
    matrix = np.random.default_rng(2).normal(size=(5, 12))
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    expected = (left * np.maximum(values - 2.5, 0)) @ right
    np.testing.assert_allclose(shrink_singular_values(matrix, 2.5), expected, atol=1e-10)


def test_capping_at_the_level_found_cuts_the_radius_off():
    magnitudes = np.array([[3.0, 0.2, 5.0], [1.0, 0.1, 5.0], [2.0, 0.3, 0.0]])
    # by hand: 1.5 + .5; all of .6 is less than 1; nothing asked of the last; and below, 5 + 5 + 3 less thrice 8/3
    np.testing.assert_allclose(capping_level(magnitudes, np.array([2.0, 1.0, 0.0])), [1.5, 0, 5], atol=1e-12)
    np.testing.assert_allclose(capping_level(magnitudes.ravel(), 5.0), 8 / 3, atol=1e-12)


def test_a_node_with_the_same_columns_at_several_levels_appears_once_with_the_sum_of_its_weights():
    levels = [np.arange(4), np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1]), np.zeros(4, int)]
    weights = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.0]), np.array([0.7, 0.8]), np.zeros(1)]
    leaf_weights, nodes = tree_nodes(levels, weights)
    np.testing.assert_allclose(leaf_weights, [0.1, 0.2, 0.9, 0.4])
    assert nodes == [(0, 2, pytest.approx(1.2)), (2, 4, 0.8)]


def test_a_node_that_weighs_next_to_nothing_or_holds_nothing_changes_nothing():
    matrix = np.array([[2.0, -1.0, 0.0], [1.0, 2.0, 0.0]])
    found = shrink_tree(matrix, np.zeros(3), [(0, 2, 1e-300), (2, 3, 0.5)], 1.0)
    np.testing.assert_array_equal(found, matrix)


def test_shrinking_the_tree_minimises_its_energy():
    generator = np.random.default_rng(4)
    matrix = generator.normal(size=(3, 6))
    leaf_weights = generator.uniform(0.1, 1, 6)
    nodes = [(0, 2, 0.8), (2, 6, 0.5), (0, 6, 0.6)]

    def energy(S):
        peaks = np.abs(S).max(axis=0)
        norms = leaf_weights @ peaks + sum(weight * peaks[start:stop].max() for start, stop, weight in nodes)
        return 0.5 * ((S - matrix) ** 2).sum() + 0.7 * norms

    found = shrink_tree(matrix, leaf_weights, nodes, 0.7)
    least = energy(found)
    assert least < min(energy(matrix), energy(0 * matrix))
    for scale in (1e-3, 1e-2, 0.1):
        for _ in range(200):
            assert energy(found + generator.normal(0, scale, matrix.shape)) >= least


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-8])
def test_parts_sum_to_the_features(small_problem, tolerance):
    features = small_problem[0]
    parts = decompose(*small_problem, SaliencySettings(tolerance=tolerance))
    assert parts.residual < tolerance
    rest = features - parts.low_rank - parts.sparse
    assert np.linalg.norm(rest) < 1.01 * tolerance * np.linalg.norm(features)


def test_single_precision_and_the_default_tolerance_leave_the_map_as_it_was():
    image, _ = planted(centre=(0.45, 0.6))
    exact = structured_matrix_decomposition(image, **QUICK, tolerance=1e-6)
    assert np.corrcoef(structured_matrix_decomposition(image, **QUICK).ravel(), exact.ravel())[0, 1] > 0.999


def objective(low_rank, sparse, graph_laplacian, levels, weights, settings):
    """‖L‖_* + α tr(S M Sᵀ) + β Σ_g w_g ‖S_g‖_∞, where a node's norm is the largest magnitude in its columns [34]."""
    nuclear = np.linalg.svd(low_rank, compute_uv=False).sum()
    smoothness = np.sum((sparse @ graph_laplacian) * sparse)
    peaks = np.abs(sparse).max(axis=0)
    groups = sum(
        weight * peaks[regions == region].max()
        for regions, level_weights in zip(levels, weights, strict=True)
        for region, weight in enumerate(level_weights)
    )
    return float(nuclear + settings.laplacian_weight * smoothness + settings.group_weight * groups)


def test_objective_is_not_above_that_of_any_other_decomposition_tried(small_problem):
    features, *regularisers = small_problem
    # slow growth of the penalty: the augmented Lagrangian then ends at the minimum, not merely near it
    patient = SaliencySettings(mu_growth=1.005, max_iterations=5000, tolerance=1e-5)

    def energy(sparse):
        return objective(features - sparse, sparse, *regularisers, patient)

    found = decompose(*small_problem, patient).sparse
    generator = np.random.default_rng(5)
    others = [0 * features, features, features / 2, *(found + generator.normal(0, s, found.shape) for s in (1e-3, 0.1))]
    # minimisers for other weights: these would win if the solver's weights were not the objective's
    for name in ("laplacian_weight", "group_weight"):
        for factor in (0.5, 0.8, 1.25, 2):
            changed = replace(patient, **{name: factor * getattr(patient, name)})
            others.append(decompose(*small_problem, changed).sparse)
    assert energy(found) <= min(energy(other) for other in others) + 1e-6


def test_sparse_part_lies_on_the_planted_columns(small_problem):
    saliency = np.abs(decompose(*small_problem, SaliencySettings()).sparse).sum(axis=0)
    assert set(np.argsort(saliency)[-4:]) == {12, 13, 17, 18}


def test_noise_is_measured_whatever_the_picture_shows():
    generator = np.random.default_rng(0)
    rows, columns = np.indices((90, 120))
    picture = np.stack([0.3 + 0.4 * (np.hypot(rows - 40, columns - 60) < 25), rows / 180, columns / 240], axis=2)
    assert noise_level(picture) < 1e-3
    for sigma in (0.05, 0.2):
        noisy = picture + generator.normal(0, sigma, picture.shape)
        assert noise_level(noisy) == pytest.approx(sigma, rel=0.05)


def test_an_object_is_found_under_strong_noise_and_a_clean_picture_left_as_it_is():
    rows, columns = np.indices((120, 160))
    inside = np.hypot(rows - 60, columns - 75) < 30
    clean = np.where(inside[..., None], [0.8, 0.3, 0.2], [0.25, 0.5, 0.6])
    settings = SaliencySettings()
    assert without_noise(clean, settings) is clean
    noisy = np.clip(clean + np.random.default_rng(1).normal(0, 100 / 255, clean.shape), 0, 1)
    found = structured_matrix_decomposition(noisy)
    found = found > threshold_otsu(found)
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.85
