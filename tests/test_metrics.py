"""Scores against counts made by hand; intervals that cover."""

import itertools

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

from deepcv.errors import InputError
from deepcv.metrics import (
    accuracy,
    adjusted_rand_index,
    bootstrap_interval,
    f_measure,
    interval_over_seeds,
    iou,
    matched_labels,
    mean_iou_matched,
    oracle,
    scores,
)

TRUTH = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
MASK = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], dtype=bool)  # 2 true positives, 1 false, 2 missed, 3 true negatives


def test_scores_by_hand():
    precision, recall = 2 / 3, 2 / 4
    assert f_measure(MASK, TRUTH) == pytest.approx(2 * recall * precision / (recall + precision))
    assert iou(MASK, TRUTH) == pytest.approx(2 / 5)
    assert accuracy(MASK, TRUTH) == pytest.approx(5 / 8)


def test_oracle_takes_the_better_of_mask_and_complement():
    # the complement: 2 true positives, 3 false, 2 missed, 1 true negative
    assert oracle(iou, ~MASK, TRUTH) == oracle(iou, MASK, TRUTH) == pytest.approx(max(2 / 5, 2 / 7))
    assert oracle(f_measure, ~TRUTH, TRUTH) == 1 and f_measure(~TRUTH, TRUTH) == 0
    assert oracle(accuracy, ~TRUTH, TRUTH) == 1


@pytest.mark.parametrize("score", [f_measure, iou, accuracy])
def test_scores_are_1_for_the_truth_and_0_for_its_complement(score):
    assert score(TRUTH, TRUTH) == 1
    assert score(~TRUTH, TRUTH) == 0


def test_f_measure_and_iou_order_masks_alike():
    generator = np.random.default_rng(0)
    for _ in range(50):
        mask, truth = generator.random((2, 6, 7)) < 0.4
        overlap = iou(mask, truth)
        assert f_measure(mask, truth) == pytest.approx(2 * overlap / (1 + overlap))


def test_empty_masks():
    nothing = np.zeros_like(TRUTH)
    assert f_measure(nothing, nothing) == iou(nothing, nothing) == accuracy(nothing, nothing) == 1
    assert f_measure(nothing, TRUTH) == iou(nothing, TRUTH) == f_measure(TRUTH, nothing) == 0
    assert oracle(f_measure, ~nothing, nothing) == 1


def test_ignored_pixels_do_not_count():
    ignore = np.zeros_like(TRUTH)
    ignore[0, 3] = ignore[1, 0] = ignore[1, 3] = True  # the false positive, a missed one, a true negative
    assert f_measure(MASK, TRUTH, ignore) == pytest.approx(4 / 5)
    assert iou(MASK, TRUTH, ignore) == pytest.approx(2 / 3)
    assert accuracy(MASK, TRUTH, ignore) == pytest.approx(4 / 5)
    scrambled = np.where(ignore, ~MASK, MASK)
    assert scores(scrambled, TRUTH, ignore) == scores(MASK, TRUTH, ignore)


def test_all_scores_have_their_names():
    named = scores(~MASK, TRUTH)
    assert set(named) == {f"{score}{kind}" for score in ("f_measure", "iou", "accuracy") for kind in ("", "_oracle")}
    assert named["iou"] == iou(~MASK, TRUTH) < named["iou_oracle"] == iou(MASK, TRUTH)


@pytest.mark.parametrize(
    ("mask", "truth", "named"),
    [
        (MASK, TRUTH[:, :3], r"\(2, 4\) but the ground truth is \(2, 3\)"),
        (MASK.astype(np.uint8), TRUTH, "must be bool, not uint8"),
        (MASK, TRUTH.astype(float), "must be bool, not bool and float64"),
    ],
)
@pytest.mark.parametrize("score", [f_measure, iou, accuracy, scores])
def test_what_cannot_be_compared_is_refused(score, mask, truth, named):
    with pytest.raises(InputError, match=named):
        score(mask, truth)


def test_accuracy_of_nothing_is_refused():
    with pytest.raises(InputError, match="every pixel is ignored"):
        accuracy(MASK, TRUTH, np.ones_like(TRUTH))


def test_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(generator.beta(6, 2, 40), level=0.9, resamples=300, seed=trial)
        assert low < high
        covered += low <= 6 / 8 <= high
    assert 0.82 < covered / 200 < 0.96


@pytest.mark.parametrize("count", [6, 12])
def test_interval_of_few_images_is_as_wide_as_students(count):
    values = ndtri((np.arange(count) + 0.5) / count)
    low, high = bootstrap_interval(values)
    reach = stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count)
    assert [low, high] == pytest.approx([-reach, reach], rel=0.12)


def test_interval_holds_the_mean_and_narrows_with_more_images_and_less_certainty():
    few, many = (np.random.default_rng(2).uniform(0.4, 1, count) for count in (10, 400))
    intervals = [bootstrap_interval(values, resamples=999) for values in (few, many)]
    for (low, high), values in zip(intervals, (few, many), strict=True):
        assert low < values.mean() < high
    assert np.diff(intervals[1])[0] < 0.4 * np.diff(intervals[0])[0]
    assert np.diff(bootstrap_interval(few, level=0.5, resamples=999)) < np.diff(intervals[0])
    assert bootstrap_interval(few, resamples=999) == intervals[0]


def test_seeds_of_an_image_are_no_images_of_their_own():
    values = np.random.default_rng(3).uniform(size=12)
    repeated = np.repeat(values[:, None], 5, axis=1)
    assert bootstrap_interval(repeated, resamples=500) == bootstrap_interval(values, resamples=500)


def test_both_ends_are_the_quantiles_of_the_means():
    """Of the mean of many scores: those of a normal distribution; 8000 resamples move them by 0.02 of its deviation."""
    scores = np.linspace(0, 1, 200)
    deviation = scores.std() / np.sqrt(len(scores))
    low, high = bootstrap_interval(scores, level=0.5, resamples=8000)
    assert [(low - 0.5) / deviation, (high - 0.5) / deviation] == pytest.approx([-0.674, 0.674], abs=0.15)


@pytest.mark.parametrize("ignore", [np.zeros(TRUTH.shape, int), np.zeros(TRUTH.shape), np.zeros((2, 2), bool)])
def test_ignored_is_what_a_bool_of_the_same_shape_says(ignore):
    with pytest.raises(InputError, match="ignore is"):
        iou(MASK, TRUTH, ignore)


def test_interval_of_one_image_is_its_value():
    assert bootstrap_interval([0.7]) == (0.7, 0.7)
    assert bootstrap_interval([[0.6, 0.8]]) == (pytest.approx(0.7), pytest.approx(0.7))
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_what_has_no_interval_is_told():
    for interval in (bootstrap_interval, interval_over_seeds):
        with pytest.raises(InputError, match="the level is 95; it is a coverage between 0 and 1"):
            interval([0.1, 0.2], level=95)
    for wrong, said in (([0.1, np.inf], "infinity"), (np.zeros((2, 2, 2)), r"the scores are \(2, 2, 2\)")):
        with pytest.raises(InputError, match=said):
            bootstrap_interval(wrong)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")]])
def test_interval_of_nothing_is_refused(values):
    with pytest.raises(InputError, match="empty or have NaN"):
        bootstrap_interval(values)


# --- partitions -------------------------------------------------------------------------------------------------------

REGIONS = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 2, 2, 1, 1]])
PARTITION_SCORES = (mean_iou_matched, adjusted_rand_index)


@pytest.mark.parametrize("score", PARTITION_SCORES)
def test_a_partition_is_scored_alike_whatever_its_labels_are_called(score):
    labels = np.random.default_rng(0).integers(0, 4, REGIONS.shape)
    assert score(REGIONS, REGIONS) == 1
    assert score(np.array([7, 3, 250], np.uint8)[REGIONS], REGIONS) == 1
    assert score(np.array([2, 0, 3, 1])[labels], REGIONS) == score(labels, np.array([5, 9, 6])[REGIONS])


def test_matched_iou_by_hand():
    labels = np.array([[4, 4, 4, 4, 4, 1], [4, 4, 4, 4, 1, 1]])  # region 2 swallowed by region 0
    # 4 with region 0: 6 of 9; 1 with region 1: 3 of 4; none is left for region 2
    assert mean_iou_matched(labels, REGIONS) == pytest.approx((6 / 9 + 3 / 4 + 0) / 3)
    assert matched_labels(labels, REGIONS) == {4: 0, 1: 1}
    split = np.where(np.arange(6) < 2, 3, REGIONS)  # region 0 in two pieces, 2 and 4 pixels: the greater counts
    assert mean_iou_matched(split, REGIONS) == pytest.approx((4 / 6 + 1 + 1) / 3)
    assert matched_labels(split, REGIONS) == {3: 0, 1: 1, 2: 2}
    assert mean_iou_matched(REGIONS, split) == pytest.approx((4 / 6 + 1 + 1 + 0) / 4)
    assert mean_iou_matched(np.zeros_like(REGIONS), REGIONS) == pytest.approx(6 / 12 / 3)


def test_the_matching_is_the_best_of_all():
    generator = np.random.default_rng(1)
    for _ in range(20):
        labels, truth = generator.integers(0, 4, (2, 5, 6))
        overlap = np.array([[iou(labels == a, truth == b) for b in range(4)] for a in range(4)])
        best = max(overlap[range(4), order].mean() for order in itertools.permutations(range(4)))
        assert mean_iou_matched(labels, truth) == pytest.approx(best)


def test_rand_index_counts_pairs_of_pixels_and_is_0_by_chance():
    labels = np.array([[4, 4, 4, 4, 4, 1], [4, 4, 4, 4, 1, 1]])
    a, b = (each.ravel() for each in (labels, REGIONS))
    together = [[each[i] == each[j] for i in range(12) for j in range(i)] for each in (a, b)]
    both, one, other = np.sum(np.logical_and(*together)), *map(np.sum, together)
    expected = one * other / 66
    assert adjusted_rand_index(labels, REGIONS) == pytest.approx((both - expected) / ((one + other) / 2 - expected))
    by_chance = [adjusted_rand_index(*np.random.default_rng(seed).integers(0, 3, (2, 20, 20))) for seed in range(50)]
    assert abs(np.mean(by_chance)) < 0.002
    assert adjusted_rand_index(np.zeros_like(REGIONS), REGIONS) == 0


@pytest.mark.parametrize("score", [*PARTITION_SCORES, matched_labels])
def test_partitions_that_cannot_be_compared_are_refused(score):
    with pytest.raises(InputError, match=r"labels are \(2, 5\) but the true regions are \(2, 6\)"):
        score(REGIONS[:, :5], REGIONS)
    with pytest.raises(InputError, match="not float64; pass labels"):
        score(REGIONS * 0.5, REGIONS)


def test_the_interval_over_seeds_is_students():
    low, high = interval_over_seeds([0.1, 0.2, 0.3])
    assert (low + high) / 2 == pytest.approx(0.2)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert interval_over_seeds([0.4]) == (-np.inf, np.inf)
