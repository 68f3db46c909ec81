"""Normalized cuts [41]: the graph of an image cut into k regions that are loosely tied to one another.

    w_ij = exp(-‖F_i - F_j‖² / σ_I²) exp(-‖X_i - X_j‖² / σ_X²)   where ‖X_i - X_j‖ < r, else 0
    Ncut(A₁, …, A_k) = Σ_m cut(A_m, V - A_m) / assoc(A_m, V)

is small where little weight is cut, measured by all the weight at a region. Relaxed to real numbers, it is least at the
leading eigenvectors of D^(-1/2) W D^(-1/2), D being the sums of the rows of W. F is [v, v s sin h, v s cos h] of hue,
saturation and value, brightness itself on a grey image, and X the position.

Two regions are split where the second eigenvector, cut at any of its values, gives the least Ncut, as in [41]. More
come from the k leading eigenvectors at once, by the pivoted factorisation of Damle, Minden and Ying ("Simple, direct
and efficient multi-way spectral clustering", Information and Inference 8, 2019), which has nothing to tune and
nothing random.

Where this deviates from [41]: the nodes are superpixels (Achanta et al., IEEE TPAMI 34, 2012) with their mean colour,
and σ_X and r are counted in superpixels. The regions then end where the image's edges are, at full size, and a graph of
400 nodes needs no iterative eigensolver; a grid of pixels, 120 on the longer side, scored alike on five images. σ_I,
σ_X, r and F are quoted from memory of [41], not checked against the print. The authors' later code (Cour, Yu and Shi,
2004) differs: its weights come from the edges between two pixels, its discretisation from Yu and Shi (ICCV 2003). The
paper we reproduce doesn't say which it ran.

A segmentation into many regions is no foreground yet. There are two rules, never to be mixed in one column:
`marked_regions` decides by the hint alone; `best_segment` looks at the ground truth.

[41] J. Shi and J. Malik, "Normalized cuts and image segmentation", IEEE TPAMI 22 (2000) 888-905.
"""

from __future__ import annotations

import math
import time

import numpy as np

from deepcv.checks import check_real, check_whole
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.images import as_colour, as_image
from deepcv.metrics import f_measure
from deepcv.segmentation import Segmentation, two_phase

_SMALLEST_SUPERPIXEL = 40  # pixels, on average


_MOST_REGIONS = 255  # labels are uint8


def normalized_cuts(
    image,
    hint=None,
    *,
    seed: int = 0,
    device=None,
    regions: int = 10,
    merge: bool = True,
    superpixels: int = 400,
    colour_width: float = 0.1,
    distance_width: float = 4.0,
    radius: float = 5.0,
) -> Segmentation:
    """Cut an image into regions, and unite those that the hint marks.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`); `seed` and `device` are ignored. The
        hint plays no part in the cut, only in uniting.
    regions : int, 2 to 255
        k. 10 is the most that the paper tries for its table, and the default of the authors' later code.
    merge : bool
        Unite the regions into a foreground and a background by `marked_regions`. Otherwise each region has its own
        label, and no hint is needed.
    superpixels : int
        Nodes of the graph, about; fewer on an image under 16,000 pixels, so that each has 40.
    colour_width, distance_width, radius : float
        σ_I, for colours in [0, 1]; σ_X and r, where 1 is the side of a superpixel of mean size.

    Returns
    -------
    Segmentation
        Labels 0 and 1, or with `merge=False` 0..k-1 from the largest region to the smallest.

    Raises
    ------
    InputError
        For an image or hint that can't be used, a parameter out of range, or more regions than superpixels.
    """
    check_whole("regions", regions, 2, _MOST_REGIONS)
    check_whole("superpixels", superpixels, 2)
    check_real("colour_width", colour_width, above=True)
    check_real("distance_width", distance_width, above=True)
    check_real("radius", radius, 1, above=True)  # or superpixels have no neighbours
    image = as_image(image)
    hint = hint_for(image, hint) if merge else None
    start = time.perf_counter()
    colour = as_colour(image)
    nodes = superpixel_labels(colour, superpixels)
    count = int(nodes.max()) + 1
    if regions > count:
        raise InputError(
            f"regions is {regions} but the image has only {count} superpixels; "
            "ask for fewer regions, more superpixels or enlarge the image"
        )
    features, positions = node_features(colour, nodes)
    labels = by_size(partition(affinity(features, positions, colour_width, distance_width, radius), regions)[nodes])
    attributes = {
        "method": "normalized-cuts",
        "settings": {
            "regions": regions,
            "merge": merge,
            "superpixels": superpixels,
            "colour_width": colour_width,
            "distance_width": distance_width,
            "radius": radius,
        },
    }
    if merge:
        mask = marked_regions(labels, hint)
        return two_phase(mask, seconds=time.perf_counter() - start, **attributes)
    memberships = (labels == np.arange(regions)[:, None, None]).astype(np.float32)
    return Segmentation(labels.astype(np.uint8), memberships, seconds=time.perf_counter() - start, **attributes)


# --- The graph -------------------------------------------------------------------------------------------------


def superpixel_labels(image: np.ndarray, count: int) -> np.ndarray:
    """Superpixels, int `(H, W)` from 0: about `count` of them, fewer when they would have under 40 pixels.

    SLIC in its parameter-free form, which fits the weight of colour against distance to each superpixel's own contrast.
    With one weight for all, strong noise tears superpixels to pieces, and joining the pieces leaves a single one.

    Parameters
    ----------
    image : numpy.ndarray of float32, `(H, W, 3)`, in [0, 1]
    count : int
    """
    from skimage.segmentation import slic

    count = max(2, min(count, image.shape[0] * image.shape[1] // _SMALLEST_SUPERPIXEL))
    return slic(image, n_segments=count, slic_zero=True, start_label=0, channel_axis=2)


def node_features(image: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F `(n, 3)` and X `(n, 2)`, the mean colour and the centre of each superpixel.

    Parameters
    ----------
    image : numpy.ndarray of float32, `(H, W, 3)`, in [0, 1]
    nodes : numpy.ndarray of int, `(H, W)`, 0..n-1

    Returns
    -------
    F in the cone of hue, saturation and value; X where 1 is the side of a superpixel of mean size.
    """
    import cv2

    hue, saturation, value = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), 2, 0)
    chroma, angle = value * saturation, np.deg2rad(hue)
    rows, columns = np.indices(nodes.shape)
    pixels = (value, chroma * np.sin(angle), chroma * np.cos(angle), rows, columns)
    sizes = np.bincount(nodes.ravel())
    means = np.stack([np.bincount(nodes.ravel(), each.ravel()) / sizes for each in pixels], axis=1)
    return means[:, :3], means[:, 3:] / math.sqrt(sizes.mean())


def affinity(
    features: np.ndarray, positions: np.ndarray, colour_width: float, distance_width: float, radius: float
) -> np.ndarray:
    """W `(n, n)` of features `(n, D)` and positions `(n, 2)`; symmetric, in [0, 1], 1 on the diagonal."""
    from scipy.spatial.distance import pdist, squareform

    distance = squareform(pdist(positions))
    colour = squareform(pdist(features))
    return np.where(distance < radius, np.exp(-((colour / colour_width) ** 2) - (distance / distance_width) ** 2), 0)


# --- The cut ---------------------------------------------------------------------------------------------------


def cut_value(weights: np.ndarray, labels: np.ndarray) -> float:
    """Ncut of a partition: `Σ_m cut(A_m, V - A_m) / assoc(A_m, V)`, between 0 and the number of regions.

    Parameters
    ----------
    weights : numpy.ndarray, `(n, n)`, symmetric
    labels : numpy.ndarray of int or bool, `(n,)`
    """
    member = (np.asarray(labels) == np.unique(labels)[:, None]).astype(float)
    within = member @ weights @ member.T
    return float((1 - np.diag(within) / within.sum(axis=1)).sum())


def partition(weights: np.ndarray, regions: int) -> np.ndarray:
    """The nodes of a graph in `regions` parts, int `(n,)`: by `two_way`, or from the leading eigenvectors at once."""
    if regions == 2:
        return two_way(weights).astype(int)
    from scipy.linalg import eigh, polar, qr

    matrix = _normalized(weights)
    vectors = eigh(matrix, subset_by_index=(len(matrix) - regions, len(matrix) - 1))[1]
    # k nodes as unlike one another as can be, then the rotation that brings these nearest to the axes
    examples = qr(vectors.T, mode="r", pivoting=True)[1][:regions]
    return np.abs(vectors @ polar(vectors[examples].T)[0]).argmax(axis=1)


def two_way(weights: np.ndarray) -> np.ndarray:
    """The split of least Ncut among all thresholds on the second eigenvector: bool `(n,)`, neither empty nor full."""
    from scipy.linalg import eigh

    last, degrees = len(weights) - 1, weights.sum(axis=1)
    # The first eigenvector is known, √D1. Moved to the other end of the spectrum it can't be taken for the second,
    # which it could where the graph falls apart and both eigenvalues are 1.
    known = np.sqrt(degrees / degrees.sum())
    vector = eigh(_normalized(weights) - 2 * np.outer(known, known), subset_by_index=(last, last))[1][:, 0]
    order = np.argsort(vector / known, kind="stable")
    sorted_weights = weights[np.ix_(order, order)]
    # a node that crosses cuts its weights to those behind it no more, and those to the ones ahead from now on
    behind = np.tril(sorted_weights, -1).sum(axis=1)
    ahead = np.triu(sorted_weights, 1).sum(axis=1)
    cut, volume = np.cumsum(ahead - behind)[:-1], np.cumsum(degrees[order])
    best = np.argmin(cut / volume[:-1] + cut / (volume[-1] - volume[:-1]))
    side = np.ones(len(order), dtype=bool)
    side[order[: best + 1]] = False
    return side


def _normalized(weights: np.ndarray) -> np.ndarray:
    """`D^(-1/2) W D^(-1/2)`."""
    scale = 1 / np.sqrt(weights.sum(axis=1))
    return weights * scale * scale[:, None]


# --- From regions to a foreground ------------------------------------------------------------------------------


def by_size(labels: np.ndarray) -> np.ndarray:
    """The regions renumbered from 0, the largest first; numbers that no pixel has are dropped."""
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty_like(sizes)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]


def marked_regions(labels: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """The method's own decision: the regions whose mean hint is above the hint's Otsu threshold.

    The region of least mean is never among them and the one of greatest always, so that both sides have pixels.

    Parameters
    ----------
    labels : numpy.ndarray of int, `(H, W)`, 0..k-1, each with pixels
    hint : numpy.ndarray of float, `(H, W)`

    Returns
    -------
    numpy.ndarray of bool, `(H, W)`
    """
    from skimage.filters import threshold_otsu

    mean = np.bincount(labels.ravel(), hint.ravel()) / np.bincount(labels.ravel())
    marked = mean > threshold_otsu(hint)
    marked[mean.argmin()] = False
    marked[mean.argmax()] = True
    return marked[labels]


def best_segment(labels: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
    """The oracle's decision: the one region with the greatest F-measure (5.3) against the ground truth.

    That is how the official script of the Weizmann set scores a segmentation into many regions, and it needs the
    ground truth: scores of this mask belong in a column of their own.

    Parameters
    ----------
    labels : numpy.ndarray of int, `(H, W)`
    truth, ignore : numpy.ndarray of bool, `(H, W)`
        As for `deepcv.metrics.f_measure`.

    Returns
    -------
    numpy.ndarray of bool, `(H, W)`
    """
    segments = (labels == each for each in np.unique(labels))
    return max(segments, key=lambda segment: f_measure(segment, truth, ignore))
