"""Normality and overlap of samples.

The Chan-Vese model assumes that foreground and background are two Gaussians, well apart (section 1, after [14]).
Figures 1 and 8 of the paper show histograms of both, in the image and in the latent space; these functions measure
that. A common shift and scale of all values leaves the first three unchanged, so they can compare the two spaces.

`contrast`            distance of the means, in pooled standard deviations
`overlap`             1 - Jensen-Shannon divergence: 1 for equal distributions, 0 for disjoint ones
`distance_to_fit`     Wasserstein distance to the Gaussian of the sample's own mean and variance, in standard deviations
`distance_to_normal`  the same to a given Gaussian, such as a region's prior N(μᵢ, 1)

A sample is an array of any shape; every value is a draw. Two samples have equal weight, whatever their sizes. All
functions raise `InputError` for a sample that is empty or has values that are not finite.
"""

from __future__ import annotations

import numpy as np

from deepcv.errors import InputError

QUANTILES = 32
"""Number of quantiles of each sample, the edges of the bins of `overlap`."""


def contrast(first, second) -> float:
    """Difference of the means over the pooled standard deviation, `|m₁ - m₂| / √((s₁² + s₂²)/2)`.

    At least 0; infinite for two different constants, NaN for two equal ones.
    """
    first, second = _sample(first), _sample(second)
    pooled = np.sqrt((first.var() + second.var()) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(abs(first.mean() - second.mean()) / pooled)


def overlap(first, second, *, quantiles: int = QUANTILES) -> float:
    """1 minus the Jensen-Shannon divergence, in bits, of two distributions, in [0, 1].

    The divergence is that of two histograms on common bins, without smoothing. The edges are the quantiles of both
    samples, so that outliers don't widen the bins and a strictly increasing map of all values changes nothing.

    Parameters
    ----------
    first, second : array_like
    quantiles : int, at least 2
        Of each sample. More bins find finer differences, and also more due to chance: two samples of n₁ and n₂ draws
        from one distribution lose about `quantiles / (4 ln 2) · (1/n₁ + 1/n₂)`, 0.006 for 2000 draws against many.
    """
    samples = [_sample(first), _sample(second)]
    share = np.linspace(0, 1, quantiles)
    edges = np.unique([np.quantile(each, share, method="inverted_cdf") for each in samples])
    p, q = (np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1) / each.size
            for each in samples)  # fmt: skip
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    return float(np.clip(1 - divergence, 0, 1))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence in bits; q must be positive where p is."""
    positive = p > 0
    return float(np.sum(p[positive] * np.log2(p[positive] / q[positive])))


def distance_to_normal(values, mean: float, deviation: float) -> float:
    """1-Wasserstein distance of a sample to N(mean, deviation²), in units of that deviation.

    It is the mean distance that values must move to turn one into the other; at least 0.

    Raises
    ------
    InputError
        If the deviation is not positive.
    """
    from scipy.special import ndtri
    from scipy.stats import wasserstein_distance

    if not deviation > 0:
        raise InputError(f"the deviation is {deviation:g}; it must be positive")
    values = _sample(values)
    normal = ndtri((np.arange(values.size) + 0.5) / values.size)  # evenly spread draws
    return float(wasserstein_distance((values - mean) / deviation, normal))


def distance_to_fit(values) -> float:
    """`distance_to_normal` to the Gaussian of the sample's own mean and standard deviation, in [0, √2).

    0 for a Gaussian, 0.15 for a uniform distribution, 0.54 for two equal spikes; NaN for a constant.
    """
    values = _sample(values)
    return distance_to_normal(values, values.mean(), values.std()) if np.ptp(values) > 0 else float("nan")


def discriminant(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image along Fisher's axis, `(H, W)`: the weighted sum of the channels with the greatest `contrast`.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, C)`
        A single channel is returned as it is; otherwise the foreground's mean is the higher one.
    mask : numpy.ndarray of bool, `(H, W)`
        The foreground; neither it nor the background may be empty.
    """
    if image.ndim == 2 or image.shape[2] == 1:
        return image.reshape(mask.shape)
    foreground, background = image[mask].astype(float), image[~mask].astype(float)
    scatter = np.cov(foreground.T, bias=True) + np.cov(background.T, bias=True)
    difference = foreground.mean(axis=0) - background.mean(axis=0)
    return image @ (np.linalg.pinv(scatter, rcond=1e-6, hermitian=True) @ difference)


def _sample(values) -> np.ndarray:
    """The values as float64, `(n,)`, at least one and all finite."""
    values = np.asarray(values, dtype=float).ravel()
    if values.size == 0:
        raise InputError("the sample is empty; give at least one value")
    if not np.isfinite(values).all():
        raise InputError("the sample has NaN or infinite values; leave them out")
    return values
