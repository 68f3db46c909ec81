"""Inputs of the loop that don't depend on the networks: where u starts, the hint as a prior, edge weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepcv.errors import InputError
from deepcv.hints.features import noise_level
from deepcv.hints.hint import surer
from deepcv.hints.settings import NOTICEABLE_NOISE
from deepcv.images import resize
from deepcv.model import energy
from deepcv.model.settings import Settings


def start_from_hint(image: np.ndarray, hint: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Where two phases start and what their hint costs them, `(2, h, w)` each.

    u starts from the hint, sharpened as the settings say, or for the exact step from its Otsu mask: networks fitted to
    a soft map reproduce its doubts.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, 3)`
        At full size, for its noise.
    hint : numpy.ndarray, `(h, w)`, in [0, 1]

    Raises
    ------
    InputError
        For a warm-up on a hint that is confident nowhere.
    """
    u = surer(hint, "otsu" if settings.u_step == "exact" else settings.sureness)
    start = np.stack((1 - u, u))
    if settings.warmup and not confident(start).any():
        raise InputError(
            "no pixel of the hint is above 0.9 or below 0.1, so the first steps would learn nothing; give a surer "
            "hint, or set warmup to 0"
        )
    if not settings.hint_weight:
        return start, np.zeros_like(start, np.float32)
    noisy = noise_level(np.atleast_3d(image)) >= NOTICEABLE_NOISE
    return start, hint_prior(hint, settings.hint_weight * (settings.noise_caution if noisy else 1))


def start_from_image(image: np.ndarray, settings: Settings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where N phases start without a hint and what leaving that start costs them, `(N, h, w)` each.

    Of two phases the one with the smaller share of the image's frame is the foreground.

    Parameters
    ----------
    image : numpy.ndarray, `(h, w)` or `(h, w, 3)`
        At working size.

    Raises
    ------
    InputError
        For an image with fewer colours than phases.
    """
    start = _STARTS[settings.start](image, settings.phases, seed)
    if settings.phases == 2 and _on_frame(start[1]) > 0.5:
        start = start[::-1].copy()
    prior = start_prior(start, settings.hint_weight)
    if settings.start == "random":
        prior = np.zeros_like(prior)
    if settings.u_step == "exact":
        start = (start == start.max(axis=0)).astype(np.float32)
    return start, prior


def _on_frame(membership: np.ndarray) -> float:
    """Mean over the pixels of the frame, of `(h, w)`."""
    return float(np.concatenate((membership[[0, -1]].ravel(), membership[1:-1, [0, -1]].ravel())).mean())


def edge_weights(image: Tensor, sensitivity: float) -> Tensor:
    """Weight of the length at each pixel, lower on the image's edges (geodesic length, [6]).

    `0.05 + 0.95 exp(-s ‖∇Iₓ‖² / (2 mean ‖∇I‖²))`.

    `(B, C, H, W)` to `(B, H, W)`; s is the sensitivity, and 0 gives 1 everywhere.
    """
    squared = (energy.gradient(image) ** 2).sum(dim=(1, 2))
    mean = squared.mean(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(image.dtype).tiny)
    return 0.05 + 0.95 * torch.exp(-sensitivity * squared / (2 * mean))


def hint_prior(hint: np.ndarray, weight: float) -> np.ndarray:
    """The hint as a factor of the prior p(u) in (3.3): costs of background and foreground, `(2, H, W)`.

    `±(weight/2) · tanh(2.5 (hint - t))` with t the hint's Otsu threshold: 0 where the hint is undecided, at most
    `weight` between the phases. Not in the paper.
    """
    from skimage.filters import threshold_otsu

    belief = weight / 2 * np.tanh(2.5 * (hint - threshold_otsu(hint)))
    return np.stack((belief, -belief)).astype(np.float32)


def random_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Random memberships `(N, H, W)`: the softmax of noise in 8×8 cells, enlarged.

    The paper says no more than "random". White noise would average out in the length term and leave the phases alike.

    Raises
    ------
    InputError
        For an image with fewer colours than phases.
    """
    _check_colours(image, count)
    fields = np.random.default_rng(seed).normal(size=(8, 8, count)).astype(np.float32)
    exponential = np.exp(resize(fields, image.shape[:2]).transpose(2, 0, 1))
    return exponential / exponential.sum(axis=0)


def clustered_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` from k-means of the slightly blurred colours: 0.9 in a pixel's cluster.

    From a random start phases often end up empty or alike; these differ at least in colour.

    Raises
    ------
    InputError
        For an image with fewer colours than phases.
    """
    from scipy.ndimage import gaussian_filter

    _check_colours(image, count)
    return _clustered(gaussian_filter(np.atleast_3d(image), (2, 2, 0)), count, seed)


def textured_memberships(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Memberships `(N, H, W)` from k-means of `local_histograms`: 0.9 in a pixel's cluster.

    They separate regions of one mean and different textures. Borders are blurred by the histograms' window; the u-steps
    sharpen them.

    Raises
    ------
    InputError
        For an image with fewer colours than phases.
    """
    _check_colours(image, count)
    # a grid is enough for k-means: neighbours have nearly the same histograms
    return _clustered(local_histograms(image), count, seed, every=max(1, min(image.shape[:2]) // 36))


def local_histograms(image: np.ndarray, bins: int = 8) -> np.ndarray:
    """Histograms of colours, edges and edge directions around each pixel, `(H, W, features)`.

    Local spectral histograms (Liu and Wang, IEEE TIP 15, 2006) with other filters: the channels, and at two scales the
    Laplacian of Gaussian of the brightness and the three entries of the gradient's outer product. Bins are equally
    populated. The window is a Gaussian whose σ is 7 % of the image's shorter side. Entries are square roots, so that
    Euclidean distances are Hellinger's.

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


def _check_colours(image: np.ndarray, count: int) -> None:
    different = len(np.unique(image.reshape(image.shape[0] * image.shape[1], -1), axis=0))
    if different < count:
        raise InputError(f"the image has {different} different colours for {count} phases; ask for fewer phases")


def _clustered(features: np.ndarray, count: int, seed: int, every: int = 1) -> np.ndarray:
    """Memberships `(N, H, W)` by k-means of features `(H, W, ·)`, fitted to every `every`-th pixel of each axis."""
    from sklearn.cluster import KMeans

    dimensions = features.shape[2]
    found = KMeans(count, n_init=4, random_state=seed).fit(features[::every, ::every].reshape(-1, dimensions))
    labels = found.predict(features.reshape(-1, dimensions)).reshape(features.shape[:2])
    start = np.full((count, *labels.shape), 0.1 / (count - 1), np.float32)
    np.put_along_axis(start, labels[None], 0.9, axis=0)
    return start


_STARTS = {"textures": textured_memberships, "clusters": clustered_memberships, "random": random_memberships}


def start_prior(start: np.ndarray, weight: float) -> np.ndarray:
    """`hint_prior` for N phases that start without a hint: `weight` less for the phase that a pixel starts in.

    Sums to 0 over phases.

    From the start's memberships `(N, H, W)`, of the same shape. Not in the paper.
    """
    return weight * (1 / len(start) - (start == start.max(axis=0))).astype(np.float32)


def confident(memberships):
    """Where memberships, an array or tensor, are at least 0.9 or at most 0.1."""
    return (memberships >= 0.9) | (memberships <= 0.1)
