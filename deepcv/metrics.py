"""Scores of a mask, (5.2)-(5.4), or of a partition against the ground truth, and confidence intervals.

Masks and truths are bool `(H, W)`; the optional `ignore`, bool `(H, W)`, is True at pixels excluded from scoring. Each
score has two variants: for the mask itself, and with the orientation oracle (`oracle`), for the better of the mask and
its complement. The oracle uses the ground truth, so it is not a result of the method alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from deepcv.errors import InputError


def _counts(mask, truth, ignore) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives."""
    mask, truth = np.asarray(mask), np.asarray(truth)
    if mask.shape != truth.shape:
        raise InputError(f"the mask is {mask.shape} but the ground truth is {truth.shape}; compare them at one size")
    if mask.dtype != bool or truth.dtype != bool:
        raise InputError(f"mask and truth must be bool, not {mask.dtype} and {truth.dtype}; use labels == 1")
    if ignore is not None:
        ignore = np.asarray(ignore)
        if ignore.dtype != bool or ignore.shape != truth.shape:
            raise InputError(
                f"ignore is {ignore.dtype} of {ignore.shape}; it must be bool of {truth.shape}, True where not scored"
            )
        mask, truth = mask[~ignore], truth[~ignore]
    return (
        int(np.count_nonzero(mask & truth)),
        int(np.count_nonzero(mask & ~truth)),
        int(np.count_nonzero(~mask & truth)),
        int(np.count_nonzero(~mask & ~truth)),
    )


def f_measure(mask, truth, ignore=None) -> float:
    """`2RP / (R + P)`, (5.3), in [0, 1]; 1 when mask and truth are both empty."""
    tp, fp, fn, _ = _counts(mask, truth, ignore)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def iou(mask, truth, ignore=None) -> float:
    """Foreground intersection over union, (5.4), in [0, 1]; 1 when mask and truth are both empty.

    The paper calls it mIoU, meaning the mean over images, not over classes.
    """
    tp, fp, fn, _ = _counts(mask, truth, ignore)
    return tp / (tp + fp + fn) if tp + fp + fn else 1.0


def accuracy(mask, truth, ignore=None) -> float:
    """Proportion of correctly classified pixels, in [0, 1]; raises `InputError` if every pixel is ignored."""
    tp, fp, fn, tn = _counts(mask, truth, ignore)
    total = tp + fp + fn + tn
    if total == 0:
        raise InputError("every pixel is ignored, so there is nothing to score; check the ground truth")
    return (tp + tn) / total


def oracle(score: Callable[..., float], mask, truth, ignore=None) -> float:
    """The orientation oracle: the greater `score` of the mask and its complement."""
    return max(score(mask, truth, ignore), score(~np.asarray(mask), truth, ignore))


def scores(mask, truth, ignore=None) -> dict[str, float]:
    """All scores of a mask by name: "f_measure", "iou", "accuracy", and each of them with the suffix "_oracle"."""
    named = {"f_measure": f_measure, "iou": iou, "accuracy": accuracy}
    decided = {name: score(mask, truth, ignore) for name, score in named.items()}
    return decided | {f"{name}_oracle": oracle(score, mask, truth, ignore) for name, score in named.items()}


def matched_labels(labels, truth) -> dict[int, int]:
    """The one-to-one matching of labels and true regions with the greatest total IoU, `{label: region}`.

    If their numbers differ, surplus labels or regions are left out. Both partitions are int, `(H, W)`, with arbitrary
    integers as labels; other types and different shapes raise `InputError`.
    """
    found, true, overlaps = _overlaps(labels, truth)
    return {int(found[row]): int(true[column]) for row, column in zip(*_best_matching(overlaps), strict=True)}


def mean_iou_matched(labels, truth) -> float:
    """Mean IoU of the true regions under the best one-to-one matching of labels, in [0, 1].

    An unmatched true region counts as 0; a surplus label reduces the IoU of the regions it takes pixels from.
    Parameters and errors as for `matched_labels`.
    """
    _, true, overlaps = _overlaps(labels, truth)
    return float(overlaps[_best_matching(overlaps)].sum() / len(true))


def adjusted_rand_index(labels, truth) -> float:
    """Agreement of two partitions on which pixel pairs belong together: 1 if identical, 0 on average by chance.

    After Hubert and Arabie (1985). Parameters and errors as for `matched_labels`.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*(each.ravel() for each in _partitions(truth, labels))))


def _partitions(*partitions) -> tuple[np.ndarray, ...]:
    first, second = map(np.asarray, partitions)
    if first.shape != second.shape:
        raise InputError(
            f"the labels are {second.shape} but the true regions are {first.shape}; compare them at one size"
        )
    for each in (first, second):
        if not np.issubdtype(each.dtype, np.integer):
            raise InputError(f"partitions must be integers, not {each.dtype}; pass labels")
    return first, second


def _overlaps(labels, truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels, the true regions, and the IoU of each pair, `(labels, regions)`."""
    truth, labels = _partitions(truth, labels)
    found, label = np.unique(labels, return_inverse=True)
    true, region = np.unique(truth, return_inverse=True)
    pairs = np.bincount((label * len(true) + region).ravel(), minlength=len(found) * len(true))
    both = pairs.reshape(len(found), len(true))
    return found, true, both / (both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both)


def _best_matching(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(overlaps, maximize=True)


def interval_over_seeds(values, *, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over trained networks, one per seed.

    The networks are the sample: their test images say nothing about the next network.

    Parameters
    ----------
    values : array_like, `(seeds,)`
    level : float in (0, 1)
        Coverage for normally distributed values. The interval of a single seed is (-inf, inf).

    Raises
    ------
    InputError
        If there are no values or they have more axes, or for a level out of range.
    """
    from scipy.special import stdtrit

    _check_level(level)
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size:
        raise InputError(f"the values are {values.shape}; give one per seed, their means over images")
    if len(values) == 1:
        return -math.inf, math.inf
    reach = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level is {level}; it is a coverage between 0 and 1, such as 0.95")


def bootstrap_interval(values, *, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images, widened for few images as Student's t is.

    A plain bootstrap of few is too narrow: of 95 % intervals of five normal values, 84 % hold the mean. The percentiles
    are those that give Student's interval if the bootstrap's means are normal (Hesterberg, "What teachers should know
    about the bootstrap", The American Statistician 69, 2015).

    Parameters
    ----------
    values : array_like, `(images,)` or `(images, seeds)`
        One score per image; seeds are averaged first, since they are not independent images.
    level : float in (0, 1)
        Coverage. Both ends equal the value of a single image.
    resamples : int
        Bootstrap samples.

    Raises
    ------
    InputError
        If there are no values, some aren't finite or they have more axes, or for a level out of range.
    """
    values = np.asarray(values, dtype=float)
    _check_level(level)
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError("the scores are empty or have NaN or infinity; run the missing images first")
    if values.ndim not in (1, 2):
        raise InputError(f"the scores are {values.shape}; give one per image, or (images, seeds)")
    if values.ndim == 2:
        values = values.mean(axis=1)
    if len(values) == 1 or np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    return _bootstrap(values.tobytes(), level, resamples, seed)


@functools.lru_cache(maxsize=4096)
def _bootstrap(values: bytes, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """`bootstrap_interval` of float64 values; the same ones are asked for again and again."""
    from scipy.special import ndtr, stdtrit

    sample, rng = np.frombuffer(values), np.random.default_rng(seed)
    drawn = (rng.integers(0, len(sample), (count, len(sample))) for count in _batches(resamples))
    means = np.concatenate([sample[each].mean(axis=1) for each in drawn])
    count = len(sample)
    tail = ndtr(-math.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 + level) / 2))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _batches(count: int, size: int = 1000) -> list[int]:
    """A count in pieces that stay small in memory."""
    return [min(size, count - start) for start in range(0, count, size)]
