"""Scores of a mask, (5.2)-(5.4), or of a partition against the ground truth, and intervals over images.

Masks and truths are bool `(H, W)`; `ignore`, where given, is bool `(H, W)` and True where a pixel is not to be scored.
Each score exists twice: as the method decides which side is the foreground, and with the orientation oracle
(`oracle`), the better of the mask and its complement, which needs the ground truth and is therefore not a result of
the method alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deepcv.errors import InputError


def _counts(mask, truth, ignore) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives."""
    mask, truth = np.asarray(mask), np.asarray(truth)
    if mask.shape != truth.shape:
        raise InputError(f"the mask is {mask.shape} but the ground truth {truth.shape}; compare them at one size")
    if mask.dtype != bool or truth.dtype != bool:
        raise InputError(
            f"mask and ground truth must be bool, these are {mask.dtype} and {truth.dtype}; compare labels first"
        )
    if ignore is not None:
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
    """Share of pixels on the right side, in [0, 1].

    Raises
    ------
    InputError
        When every pixel is ignored.
    """
    tp, fp, fn, tn = _counts(mask, truth, ignore)
    total = tp + fp + fn + tn
    if total == 0:
        raise InputError("every pixel is ignored, so there is nothing to score; check the ground truth")
    return (tp + tn) / total


def oracle(score: Callable[..., float], mask, truth, ignore=None) -> float:
    """`score` of the mask or of its complement, whichever is greater: the orientation oracle."""
    return max(score(mask, truth, ignore), score(~np.asarray(mask), truth, ignore))


def scores(mask, truth, ignore=None) -> dict[str, float]:
    """All scores of a mask by name: "f_measure", "iou", "accuracy", and each with the suffix "_oracle"."""
    named = {"f_measure": f_measure, "iou": iou, "accuracy": accuracy}
    decided = {name: score(mask, truth, ignore) for name, score in named.items()}
    return decided | {f"{name}_oracle": oracle(score, mask, truth, ignore) for name, score in named.items()}


def matched_labels(labels, truth) -> dict[int, int]:
    """Which true region each label stands for: the one-to-one matching of greatest total IoU, `{label: region}`.

    Labels beyond the number of true regions, and true regions beyond that of labels, are left out.

    Parameters
    ----------
    labels, truth : array_like of int, `(H, W)`
        Partitions, in any numbers.

    Raises
    ------
    InputError
        When the two differ in size, or are no whole numbers.
    """
    found, true, overlaps = _overlaps(labels, truth)
    return {int(found[row]): int(true[column]) for row, column in zip(*_best_matching(overlaps), strict=True)}


def mean_iou_matched(labels, truth) -> float:
    """IoU of the true regions under the one-to-one matching of labels that is best for it: their mean, in [0, 1].

    A true region that no label is left for counts 0; a label too many counts only by what it takes from the others.
    Parameters and errors as for `matched_labels`.
    """
    _, true, overlaps = _overlaps(labels, truth)
    return float(overlaps[_best_matching(overlaps)].sum() / len(true))


def adjusted_rand_index(labels, truth) -> float:
    """How far two partitions agree on which pairs of pixels belong together: 1 for the same, 0 in the mean by chance.

    After Hubert and Arabie (1985). Parameters and errors as for `matched_labels`.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*(each.ravel() for each in _partitions(truth, labels))))


def _partitions(*partitions) -> tuple[np.ndarray, ...]:
    first, second = map(np.asarray, partitions)
    if first.shape != second.shape:
        raise InputError(f"the labels are {second.shape} but the true regions {first.shape}; compare them at one size")
    for each in (first, second):
        if not np.issubdtype(each.dtype, np.integer):
            raise InputError(f"partitions must be whole numbers, this one is {each.dtype}; give labels")
    return first, second


def _overlaps(labels, truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels, the true regions, and the IoU of each with each `(labels, regions)`."""
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
    """Student's t interval of a mean over trainings from several seeds, each with a number of its own.

    Where each seed trains a network, the networks are the sample: their images say nothing of the next network.

    Parameters
    ----------
    values : array_like, `(seeds,)`
    level : float in (0, 1)
        Coverage, where the numbers are normal.

    Returns
    -------
    (low, high); -inf and inf for a single seed, which tells nothing of the others.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    if len(values) == 1:
        return -math.inf, math.inf
    reach = t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def bootstrap_interval(values, *, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images.

    Parameters
    ----------
    values : array_like, `(images,)` or `(images, seeds)`
        One score an image; several seeds of an image are averaged first, since they are no independent images.
    level : float in (0, 1)
        Coverage.
    resamples : int
        Bootstrap samples.
    seed : int

    Returns
    -------
    (low, high); both are the single value when there is only one image.

    Raises
    ------
    InputError
        When there are no values or some are NaN.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, dtype=float)
    if values.size == 0 or np.isnan(values).any():
        raise InputError("the scores are empty or have NaN; run the missing images first")
    if values.ndim == 2:
        values = values.mean(axis=1)
    if len(values) == 1 or np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    result = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", rng=seed, batch=1000
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
