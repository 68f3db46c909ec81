"""What the model is given before its networks are asked: where u starts, the hint as a prior, edge weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepcv.errors import InputError
from deepcv.hints.hint import surer
from deepcv.images import resize
from deepcv.model import energy
from deepcv.model.settings import Settings


def edge_weights(image: Tensor, sensitivity: float) -> Tensor:
    """Weight of the length at each pixel, less where the image itself has an edge (geodesic length, [6]).

    `exp(-s ‖∇Iₓ‖² / (2 mean ‖∇I‖²))`, between a floor of 0.05 and 1.

    Parameters
    ----------
    image : Tensor, `(B, C, H, W)`
    sensitivity : float, at least 0
        s; 0 gives 1 everywhere.

    Returns
    -------
    Tensor, `(B, H, W)`
    """
    squared = (energy.gradient(image) ** 2).sum(dim=(1, 2))
    mean = squared.mean(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    return 0.05 + 0.95 * torch.exp(-sensitivity * squared / (2 * mean))


def hint_prior(hint: np.ndarray, weight: float) -> np.ndarray:
    """What background and foreground cost where the hint speaks against them, `(2, H, W)`.

    `±(weight/2) · tanh(2.5 (hint - t))` with t the hint's Otsu threshold: nothing where the hint is undecided, at most
    `weight` between the phases. As a factor of the prior p(u) in (3.3) it is the hint's say in every u-step.
    """
    from skimage.filters import threshold_otsu

    belief = weight / 2 * np.tanh(2.5 * (hint - threshold_otsu(hint)))
    return np.stack((belief, -belief)).astype(np.float32)


def initial_memberships(hint: np.ndarray, settings: Settings) -> np.ndarray:
    """Where u starts, `(2, H, W)`: the saliency map, as sure as asked for, or its Otsu threshold for the exact step.

    The exact step wants a mask: networks fitted to a soft map reproduce its doubts.
    """
    u = surer(hint, "otsu" if settings.u_step == "exact" else settings.sureness)
    return np.stack((1 - u, u))


def random_memberships(shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from at random, as the paper does: smooth fields through a softmax.

    The paper says no more than "random". Fields of white noise average out in the length term and leave the phases
    alike, so these are noise of 8×8 cells, enlarged.
    """
    fields = np.random.default_rng(seed).normal(size=(8, 8, count)).astype(np.float32)
    exponential = np.exp(resize(fields, shape).transpose(2, 0, 1))
    return exponential / exponential.sum(axis=0)


def clustered_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from by k-means of the colours of the slightly blurred image.

    From a random start phases often end up empty or alike; from the colours they are at least different. Each pixel
    starts with membership 0.9 in its cluster.

    Raises
    ------
    InputError
        When the image has fewer different colours than phases.
    """
    from scipy.ndimage import gaussian_filter

    _check_colours(image, count)
    return _clustered(gaussian_filter(np.atleast_3d(image), (2, 2, 0)), count, seed)


def textured_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` to start N phases from by k-means of `local_histograms`.

    Regions of one mean but different textures are told apart, at borders only as wide as the window; the u-steps
    sharpen them. Each pixel starts with membership 0.9 in its cluster.

    Raises
    ------
    InputError
        When the image has fewer different colours than phases.
    """
    _check_colours(image, count)
    # neighbours have nearly the same histograms
    return _clustered(local_histograms(image), count, seed, every=max(1, min(image.shape[:2]) // 36))


def local_histograms(image: np.ndarray, bins: int = 8) -> np.ndarray:
    """How colours, edges and their directions are distributed around each pixel, `(H, W, features)`.

    The local spectral histograms of Liu and Wang (IEEE TIP 15, 2006), with small filters of our own: the channels, and
    at two scales the Laplacian of a Gaussian of the brightness and the three entries of the gradient's outer product.
    Each response falls into bins of equal population. The window is a Gaussian, 7 % of the image's shorter side wide.
    The square root makes the Euclidean distance that of Hellinger.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, C)`
    bins : int
    """
    from scipy.ndimage import gaussian_filter, gaussian_laplace

    channels = np.moveaxis(np.atleast_3d(image), 2, 0)
    responses = list(channels)
    for scale in (0.7, 1.4):
        responses.append(gaussian_laplace(channels.mean(axis=0), scale))
        down, across = (
            np.stack([gaussian_filter(each, scale, order=order) for each in channels]) for order in ((1, 0), (0, 1))
        )
        square, other = (down**2).sum(axis=0), (across**2).sum(axis=0)
        responses += [square + other, square - other, (down * across).sum(axis=0)]
    window = 0.07 * min(image.shape[:2])
    features = []
    for response in responses:
        edges = np.quantile(response, np.arange(1, bins) / bins)
        indicators = np.searchsorted(edges, response) == np.arange(bins)[:, None, None]
        features += [gaussian_filter(each.astype(np.float32), window, truncate=2.5) for each in indicators]
    return np.sqrt(np.stack(features, axis=2).clip(min=0))


def _confident(memberships):
    """Where memberships, an array or tensor, are sure of their phase."""
    return (memberships >= 0.9) | (memberships <= 0.1)


def _check_colours(image: np.ndarray, count: int) -> None:
    different = len(np.unique(image.reshape(image.shape[0] * image.shape[1], -1), axis=0))
    if different < count:
        raise InputError(f"the image has {different} different colours, fewer than phases is ({count}); ask for fewer")


def _clustered(features: np.ndarray, count: int, seed: int, every: int = 1) -> np.ndarray:
    """Memberships `(N, H, W)`, 0.9 in a pixel's cluster of the features `(H, W, ·)`; found from a grid of pixels."""
    from sklearn.cluster import KMeans

    dimensions = features.shape[2]
    found = KMeans(count, n_init=4, random_state=seed).fit(features[::every, ::every].reshape(-1, dimensions))
    labels = found.predict(features.reshape(-1, dimensions)).reshape(features.shape[:2])
    start = np.full((count, *labels.shape), 0.1 / (count - 1), np.float32)
    np.put_along_axis(start, labels[None], 0.9, axis=0)
    return start


_STARTS = {"textures": textured_memberships, "clusters": clustered_memberships}


def start_prior(start: np.ndarray, weight: float) -> np.ndarray:
    """What each phase costs where N > 2 phases didn't start as it, `(N, H, W)`, in the sum over phases 0.

    From the memberships `(N, H, W)` of the start; in place of `hint_prior`.
    """
    return weight * (1 / len(start) - (start == start.max(axis=0))).astype(np.float32)
