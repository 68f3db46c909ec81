"""Superpixels and their graph, with its priors and index tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deepcv.hints.features import PixelMaps, distances, gaussian
from deepcv.hints.settings import SaliencySettings


class SuperpixelGraph(NamedTuple):
    """An image cut into n superpixels."""

    labels: np.ndarray  # (H, W), 0..n-1
    features: np.ndarray  # (53, n), each row stretched over [0, 1]
    centres: np.ndarray  # (2, n), row and column in image sides
    colour_distance: np.ndarray  # (n, n), CIELAB
    neighbours: np.ndarray  # (n, n) bool, touching
    linked: np.ndarray  # (n, n) bool, touching, with a common neighbour, or both on the image's border
    boundary: np.ndarray  # (n,) bool, on the image's border


def slic_superpixels(image: np.ndarray, count: int, **options) -> np.ndarray:
    """About `count` superpixels of `image` `(H, W, 3)`, of at least 40 pixels on average: labels `(H, W)` from 0.

    By SLIC, with `options` of `skimage.segmentation.slic`.
    """
    from skimage.segmentation import slic

    count = max(2, min(count, image.shape[0] * image.shape[1] // 40))
    return slic(image, n_segments=count, start_label=0, channel_axis=2, **options)


def region_means(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means of D maps `(D, H, W)` over n regions: `(D, n)`."""
    from scipy.sparse import csc_matrix

    flat = labels.ravel()
    membership = csc_matrix((np.ones(flat.size, dtype=np.float32), flat, np.arange(flat.size + 1)))  # (n, H W)
    sums = membership @ maps.reshape(len(maps), -1).T
    return (sums / np.bincount(flat)[:, None]).T


def adjacency(labels: np.ndarray) -> np.ndarray:
    """Whether two regions touch, also at corners: bool `(n, n)`, symmetric, False on the diagonal."""
    count = labels.max() + 1
    touching = np.zeros((count, count), dtype=bool)
    below, right = (labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])
    diagonals = (labels[1:, 1:], labels[:-1, :-1]), (labels[1:, :-1], labels[:-1, 1:])
    for one, other in (below, right, *diagonals):
        border = one != other
        touching[one[border], other[border]] = True
    return touching | touching.T


def superpixel_graph(maps: PixelMaps, count: int, compactness: float) -> SuperpixelGraph:
    """The graph of about `count` superpixels, with the means of `maps` over them."""
    labels = slic_superpixels(maps.image, count, compactness=compactness)
    means = region_means(maps.features, labels)
    low, span = means.min(axis=1, keepdims=True), np.ptp(means, axis=1, keepdims=True)
    features = (means - low) / np.where(span > 0, span, 1)
    height, width = labels.shape
    positions = np.stack(
        np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    )
    boundary = np.zeros(means.shape[1], dtype=bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        boundary[side] = True
    neighbours = adjacency(labels)
    steps = neighbours.astype(np.float32)
    linked = neighbours | (steps @ steps > 0) | np.outer(boundary, boundary)
    np.fill_diagonal(linked, False)
    distance = distances(region_means(maps.colours, labels))
    return SuperpixelGraph(labels, features, region_means(positions, labels), distance, neighbours, linked, boundary)


# --- Priors and the index tree ---------------------------------------------------------------------------------


def centre_prior(centres: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian about the image's centre, at `centres` `(2, n)` in image sides: `(n,)` in (0, 1]."""
    return np.exp(-((centres - 0.5) ** 2).sum(axis=0) / (2 * width**2))


def boundary_prior(graph: SuperpixelGraph, settings: SaliencySettings) -> np.ndarray:
    """Boundary prior `(n,)` in [0, 1]: low for superpixels in regions that run along the image's border.

    The mean of exp(-connectivity² / 2σ²) over the geodesic widths, with distances in colour, and in colour and texture.
    """
    texture = distances(graph.features[5:])
    with_texture = np.hypot(graph.colour_distance, settings.texture_weight * texture)
    priors = [
        gaussian(connectivity, settings.connectivity_width)
        for distance in (graph.colour_distance, with_texture)
        for connectivity in boundary_connectivity(distance, graph.neighbours, graph.boundary, settings.geodesic_widths)
    ]
    return np.mean(priors, axis=0)


def boundary_connectivity(
    distance: np.ndarray, neighbours: np.ndarray, boundary: np.ndarray, widths: tuple[float, ...]
) -> np.ndarray:
    """Length on the border over the square root of the area, of the soft region around each superpixel (CVPR 2014).

    The region of a superpixel is a Gaussian of geodesic distance, for each of `widths`. Border superpixels are linked
    to each other, so that a background in several pieces counts as one.

    From distances `(n, n)` in the units of `widths`, neighbours, bool `(n, n)`, and boundary, bool `(n,)`, to
    `(len(widths), n)`, at least 0.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components, floyd_warshall

    # steps as small as that to the most similar neighbour are noise, which would add up along a path
    nearest = np.where(neighbours, distance, np.inf).min(axis=1)
    noise = nearest[np.isfinite(nearest)].mean() if neighbours.any() else 0.0
    row, column = np.nonzero(neighbours | np.outer(boundary, boundary))
    steps = np.maximum(distance[row, column] - noise, 0)
    # superpixels linked by steps of 0 are one piece, so that paths are sought between a third as many nodes
    short = steps == 0
    together = csr_matrix((short[short], (row[short], column[short])), shape=distance.shape)
    count, piece = connected_components(together, directed=False)
    steps_between = np.full((count, count), np.inf)
    np.minimum.at(steps_between, (piece[row], piece[column]), steps)
    geodesic = floyd_warshall(steps_between, directed=False)
    area, length = np.bincount(piece), np.bincount(piece, boundary)
    regions = [gaussian(geodesic, width) for width in widths]
    return np.stack([(region @ length / np.sqrt(region @ area))[piece] for region in regions])


def index_tree(distance: np.ndarray, neighbours: np.ndarray, merging: tuple[float, ...]) -> list[np.ndarray]:
    """Nested partitions of the superpixels, from singletons to ever larger regions.

    Felzenszwalb and Huttenlocher's rule: two regions merge across an edge that is at most the longest edge of either
    spanning tree plus k over the region's size, here in superpixels. Each k starts from the regions of the one before,
    which makes the nodes a tree; independent runs would not.

    From distances `(n, n)` in CIELAB, neighbours, bool `(n, n)`, and the k of each level above the leaves (a larger k
    gives larger regions) to the region of each superpixel, int `(n,)` from 0, for each level.
    """
    count = len(distance)
    row, column = np.nonzero(np.triu(neighbours))
    order = np.argsort(distance[row, column], kind="stable")
    row, column = row[order], column[order]
    edges = list(zip(row.tolist(), column.tolist(), distance[row, column].tolist(), strict=True))
    above = list(range(count))  # a superpixel of the same region; itself for one of each region, the region's number
    size, longest = [1] * count, [0.0] * count

    def region(one: int) -> int:
        while above[one] != one:
            above[one] = one = above[above[one]]
        return one

    levels = [np.arange(count)]
    for k in merging:
        for one, other, length in edges:
            a, b = region(one), region(other)
            if a != b and length <= min(longest[a] + k / size[a], longest[b] + k / size[b]):
                above[b] = a
                size[a] += size[b]
                longest[a] = max(length, longest[a], longest[b])
        levels.append(np.unique([region(one) for one in range(count)], return_inverse=True)[1])
    return levels


def node_weights(levels: list[np.ndarray], prior: np.ndarray) -> list[np.ndarray]:
    """w_g = max(0, 1 - largest prior in g) of the nodes of each level [34]: nodes that look like objects are free."""
    weights = []
    for regions in levels:
        greatest = np.zeros(regions.max() + 1)
        np.maximum.at(greatest, regions, prior)
        weights.append(np.maximum(0, 1 - greatest))
    return weights


def laplacian(affinity: np.ndarray) -> np.ndarray:
    """M = diag(row sums) - affinity, `(n, n)`: x M xᵀ sums affinity times squared difference over all pairs."""
    return np.diag(affinity.sum(axis=1)) - affinity
