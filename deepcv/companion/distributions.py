"""How normal a sample of values is and how far two samples overlap, as numbers.

The Chan-Vese model takes foreground and background for two Gaussians, well apart (section 1, after [14]). Figures 1 and
8 of the paper show histograms of both, in the image and in the latent space; these numbers say what is seen there. None
of the first three changes when all values are scaled or shifted, so they compare intensities with latent values.

`contrast`            distance of the means, in pooled standard deviations
`overlap`             1 - Jensen-Shannon divergence: 1 for the same distribution, 0 for two that share no value
`distance_to_fit`     Wasserstein distance to the Gaussian of the sample's own mean and variance, in its deviations
`distance_to_normal`  the same to a given Gaussian, such as a region's prior N(μᵢ, 1)

A sample is an array of any shape, every value a draw.
"""

from __future__ import annotations

import numpy as np

from deepcv.errors import InputError

QUANTILES = 32
"""Of each sample; the bins of `overlap` lie between those of both."""


def contrast(first, second) -> float:
    """Difference of the means over the pooled standard deviation, `|m₁ - m₂| / √((s₁² + s₂²)/2)`.

    Parameters
    ----------
    first, second : array_like
        Samples; each counts the same, however large.

    Returns
    -------
    float
        At least 0; infinite for two different constants, NaN for two equal ones.
    """
    first, second = _sample(first), _sample(second)
    pooled = np.sqrt((first.var() + second.var()) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(abs(first.mean() - second.mean()) / pooled)


def overlap(first, second, *, quantiles: int = QUANTILES) -> float:
    """1 minus the Jensen-Shannon divergence, in bits, of the two distributions.

    The divergence is that of two histograms on common bins, without smoothing. Their edges are the quantiles of the one
    sample and of the other, so that no outlier widens them and a strictly increasing map of all values changes nothing.

    Parameters
    ----------
    first, second : array_like
        Samples; each counts the same, however large.
    quantiles : int, at least 2
        Of each sample. More bins find finer differences, chance ones too: two samples of n₁ and n₂ draws from one
        distribution lose about `quantiles / (4 ln 2) · (1/n₁ + 1/n₂)`, 0.006 for 2000 draws beside many.

    Returns
    -------
    float in [0, 1]
        1 for the same distribution, 0 for two that have no value in common.
    """
    samples = [_sample(first), _sample(second)]
    share = np.linspace(0, 1, quantiles)
    edges = np.unique([np.quantile(each, share, method="inverted_cdf") for each in samples])
    p, q = (np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1) / each.size
            for each in samples)  # fmt: skip
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    return float(np.clip(1 - divergence, 0, 1))


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence in bits; q is nowhere 0 where p is not."""
    there = p > 0
    return float(np.sum(p[there] * np.log2(p[there] / q[there])))


def distance_to_normal(values, mean: float, deviation: float) -> float:
    """1-Wasserstein distance of a sample to N(mean, deviation²), in units of that deviation.

    How far a value has to be moved, on average, to turn the one into the other.

    Parameters
    ----------
    values : array_like
        A sample.
    mean, deviation : float
        Of the Gaussian; the deviation is positive.

    Returns
    -------
    float, at least 0
        A shift gives its size over the deviation.
    """
    from scipy.special import ndtri
    from scipy.stats import wasserstein_distance

    if not deviation > 0:
        raise InputError(f"the deviation is {deviation:g}; it must be positive")
    values = _sample(values)
    normal = ndtri((np.arange(values.size) + 0.5) / values.size)  # as many draws as could be, evenly spread
    return float(wasserstein_distance((values - mean) / deviation, normal))


def distance_to_fit(values) -> float:
    """`distance_to_normal` to the Gaussian of the sample's own mean and standard deviation: how far it is from normal.

    Parameters
    ----------
    values : array_like
        A sample.

    Returns
    -------
    float in [0, √2)
        0 for a Gaussian, 0.15 for a uniform distribution, 0.54 for two equal spikes; NaN for a constant.
    """
    values = _sample(values)
    return distance_to_normal(values, values.mean(), values.std()) if np.ptp(values) > 0 else float("nan")


def discriminant(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image along Fisher's axis: of all weighted sums of the channels the one with the greatest `contrast`.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, C)`
    mask : numpy.ndarray of bool, `(H, W)`
        The region to be told from the rest; both have at least a pixel.

    Returns
    -------
    numpy.ndarray, `(H, W)`
        A single channel as it is; the foreground's mean is the higher one otherwise.
    """
    if image.ndim == 2 or image.shape[2] == 1:
        return image.reshape(mask.shape)
    foreground, background = image[mask].astype(float), image[~mask].astype(float)
    scatter = np.cov(foreground.T, bias=True) + np.cov(background.T, bias=True)
    difference = foreground.mean(axis=0) - background.mean(axis=0)
    return image @ (np.linalg.pinv(scatter, rcond=1e-6, hermitian=True) @ difference)


def _sample(values) -> np.ndarray:
    """The values in one row, float64, at least one and all finite."""
    values = np.asarray(values, dtype=float).ravel()
    if values.size == 0:
        raise InputError("the sample is empty; give at least one value")
    if not np.isfinite(values).all():
        raise InputError("the sample has NaN or infinite values; leave them out")
    return values
