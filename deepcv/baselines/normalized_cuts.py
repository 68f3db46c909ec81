"""Normalized cuts [41]: the graph of an image, cut into k weakly connected regions.

    w_ij = exp(-‖F_i - F_j‖² / σ_I²) exp(-‖X_i - X_j‖² / σ_X²)   where ‖X_i - X_j‖ < r, else 0
    Ncut(A₁, …, A_k) = Σ_m cut(A_m, V - A_m) / assoc(A_m, V)

is small if the cut weights are small relative to all the weights at each region. Its relaxation to real numbers is
minimised by the leading eigenvectors of D^(-1/2) W D^(-1/2), where D has the row sums of W. F holds v, v s sin h and
v s cos h of hue, saturation and value (the brightness of a grey image); X is the position.

Two regions come from the threshold on the second eigenvector that gives the least Ncut, as in [41]. More come from the
k leading eigenvectors at once, by the pivoted factorisation of Damle, Minden and Ying ("Simple, direct and efficient
multi-way spectral clustering", Information and Inference 8, 2019), which has no parameters and is deterministic.

Deviations from [41]: more than two regions come from that factorisation, where [41] bisects recursively or clusters the
eigenvectors; the nodes are superpixels (Achanta et al., IEEE TPAMI 34, 2012) with their mean colour, and σ_X and r are
in units of superpixels. Regions then follow the image's edges at full size, and a graph of 400 nodes needs no iterative
eigensolver; a grid of pixels, 120 on the longer side, scored about the same on five images. σ_I, σ_X, r and F
are quoted from memory of [41], not checked against the printed paper. The authors' later code (Cour, Yu and Shi, 2004)
differs: it takes weights from the edges between two pixels and the discretisation of Yu and Shi (ICCV 2003). The paper
we reproduce doesn't say which it ran.

Regions are not yet a foreground. Two rules choose one, and their scores must never share a column: `marked_regions`
decides by the hint alone; `best_segment` uses the ground truth.

[41] J. Shi and J. Malik, "Normalized cuts and image segmentation", IEEE TPAMI 22 (2000) 888-905.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Annotated

import numpy as np

from deepcv.checks import Positive, above, at_least, between, checked_settings
from deepcv.errors import InputError
from deepcv.hints.features import distances
from deepcv.hints.hint import hint_for
from deepcv.hints.superpixels import slic_superpixels
from deepcv.images import as_colour, as_image
from deepcv.metrics import f_measure
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase


@takes_seeds
def normalized_cuts(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    regions: Annotated[int, between(2, 255)] = 10,
    merge: bool = True,
    superpixels: Annotated[int, at_least(2)] = 400,
    colour_width: Positive = 0.1,
    distance_width: Positive = 4.0,
    radius: Annotated[float, above(1)] = 5.0,
) -> Segmentation:
    """Cut an image into regions, and merge those that the hint marks.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`); `seed` and `device` are ignored. The
        cut doesn't depend on the hint, only the merging does.
    regions : int, 2 to 255
        k. 10 is the largest that the paper tries for its table, and the default of the authors' later code.
    merge : bool
        Merge the regions into a foreground and a background by `marked_regions`. Otherwise each region has its own
        label, and no hint is needed.
    superpixels : int, at least 2
        Approximate number of nodes of the graph; fewer for an image under 16,000 pixels, so that each has 40.
    colour_width, distance_width : float, positive
        σ_I, for colours in [0, 1], and σ_X, in sides of a superpixel of mean size.
    radius : float, above 1
        r, in the same unit; with 1 or less superpixels have no neighbours.

    Returns
    -------
    Segmentation
        Labels 0 and 1, or with `merge=False` 0..k-1 from the largest region to the smallest.

    Raises
    ------
    InputError
        For an unusable image or hint, a parameter out of range, or more regions than superpixels.
    """
    settings = checked_settings(normalized_cuts, locals())
    image = as_image(image)
    hint = hint_for(image, hint) if merge else None
    start = time.perf_counter()
    colour = as_colour(image)
    # SLIC's parameter-free form adapts the weight of colour against distance to each superpixel's contrast; with one
    # weight for all, strong noise fragments the superpixels until a single one is left
    nodes = slic_superpixels(colour, superpixels, slic_zero=True)
    count = int(nodes.max()) + 1
    if regions > count:
        raise InputError(
            f"regions is {regions} but the image has only {count} superpixels; "
            "ask for fewer regions or more superpixels, or enlarge the image"
        )
    features, positions = node_features(colour, nodes)
    labels = by_size(partition(affinity(features, positions, colour_width, distance_width, radius), regions)[nodes])
    if hint is not None:
        found = two_phase(marked_regions(labels, hint), method="normalized-cuts", settings=settings)
    else:
        memberships = (labels == np.arange(regions)[:, None, None]).astype(np.float32)
        found = Segmentation(labels.astype(np.uint8), memberships, method="normalized-cuts", settings=settings)
    return dataclasses.replace(found, seconds=time.perf_counter() - start)


# --- The graph -------------------------------------------------------------------------------------------------


def node_features(image: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F `(n, 3)` and X `(n, 2)`, the mean colour and the centre of each superpixel.

    From an image `(H, W, 3)` in [0, 1] and superpixels `(H, W)`, 0..n-1. F is in the cone of hue, saturation and value,
    X in sides of a superpixel of mean size.
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
    distance, colour = distances(positions.T), distances(features.T)
    return np.where(distance < radius, np.exp(-((colour / colour_width) ** 2) - (distance / distance_width) ** 2), 0)


# --- The cut ---------------------------------------------------------------------------------------------------


def partition(weights: np.ndarray, regions: int) -> np.ndarray:
    """Labels `(n,)` of the nodes of a graph, 0..regions - 1: by `two_way`, or from all leading eigenvectors at once."""
    if regions == 2:
        return two_way(weights).astype(int)
    from scipy.linalg import eigh, polar, qr

    matrix = _normalized(weights)
    vectors = eigh(matrix, subset_by_index=(len(matrix) - regions, len(matrix) - 1))[1]
    # k nodes as different as possible, then the rotation that brings them closest to the axes
    examples = qr(vectors.T, mode="r", pivoting=True)[1][:regions]
    return np.abs(vectors @ polar(vectors[examples].T)[0]).argmax(axis=1)


def two_way(weights: np.ndarray) -> np.ndarray:
    """The split of least Ncut over all thresholds on the second eigenvector: bool `(n,)`, neither empty nor full."""
    from scipy.linalg import eigh

    last, degrees = len(weights) - 1, weights.sum(axis=1)
    # The first eigenvector is √D1. Moved to the other end of the spectrum it can't be mistaken for the second, whose
    # eigenvalue is also 1 if the graph is disconnected.
    known = np.sqrt(degrees / degrees.sum())
    vector = eigh(_normalized(weights) - 2 * np.outer(known, known), subset_by_index=(last, last))[1][:, 0]
    order = np.argsort(vector / known, kind="stable")
    sorted_weights = weights[np.ix_(order, order)]
    # a node that changes sides stops cutting its weights to the nodes behind it and starts cutting those ahead
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
    """The regions renumbered from 0 without gaps, the largest first."""
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty_like(sizes)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]


def marked_regions(labels: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """The regions whose mean hint is above the hint's Otsu threshold; the method's own decision.

    The region of the smallest mean is always excluded and that of the largest included, so that both sides have pixels.

    From labels `(H, W)`, 0..k-1, none without pixels, and a hint `(H, W)`: bool `(H, W)`.
    """
    from skimage.filters import threshold_otsu

    mean = np.bincount(labels.ravel(), hint.ravel()) / np.bincount(labels.ravel())
    marked = mean > threshold_otsu(hint)
    marked[mean.argmin()] = False
    marked[mean.argmax()] = True
    return marked[labels]


def best_segment(labels: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
    """The single region with the highest F-measure (5.3) against the ground truth; an oracle's decision.

    The official script of the Weizmann set scores segmentations into many regions this way. As it needs the ground
    truth, scores of this mask belong in a separate column. `labels` are int `(H, W)`, `truth` and `ignore` as for
    `deepcv.metrics.f_measure`; the result is bool `(H, W)`.
    """
    segments = (labels == each for each in np.unique(labels))
    return max(segments, key=lambda segment: f_measure(segment, truth, ignore))
