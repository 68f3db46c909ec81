"""Saliency by structured matrix decomposition [34]: the default hint.

Each of n superpixels is a column of a feature matrix `F` `(53, n)`. Background columns resemble each other and form a
low-rank part `L`; the object's columns remain in a part `S` that is sparse in groups of neighbouring superpixels:

    min_{L,S}  ‖L‖_*  +  α tr(S M Sᵀ)  +  β Σ_g w_g ‖S_g‖_∞      subject to  F = L + S,

with `M` the Laplacian of a graph of superpixels and `g` the nodes of a tree of ever larger image regions; a node that
the priors find unlike an object has a larger weight. A superpixel's saliency is the l1 norm of its column of `S`,
smoothed and sharpened afterwards.

Deviations from [34]:

- no colour prior: the table in use has no clear licence, and one learnt from labels would not be unsupervised;
- boundary connectivity is averaged over several geodesic widths, with and without texture, and falls off more slowly,
  because a single width zeroes objects that reach the image's border;
- maps of three superpixel counts are averaged;
- an image with noticeable noise is blurred first (`without_noise`);
- the decomposition stops at a residual of 1e-3, not 1e-5: half the iterations, and maps that correlate above 0.9995;
- the last step is our reading of the paper's chain (`sharpen`), with a colour width fitted to the image.

References
----------
[34] H. Peng, B. Li, H. Ling, W. Hu, W. Xiong, S. J. Maybank, "Salient object detection via structured matrix
decomposition", IEEE TPAMI 39 (2017) 818-832. Further sources: superpixels, Achanta et al. (IEEE TPAMI 34, 2012);
steerable pyramid, Simoncelli and Freeman (ICIP 1995); log-Gabor filters, Field (JOSA A 4, 1987); the merging rule,
Felzenszwalb and Huttenlocher (IJCV 59, 2004); boundary connectivity and quadratic smoothing, Zhu, Liang, Wei and Sun
(CVPR 2014); the order in which the nodes of a tree are shrunk, Jenatton, Mairal, Obozinski and Bach (JMLR 12, 2011).
"""

from __future__ import annotations

import numpy as np

from deepcv.checks import resolve
from deepcv.hints.decomposition import decompose
from deepcv.hints.features import PixelMaps, distances, gaussian, noise_level, pixel_maps
from deepcv.hints.settings import SaliencySettings
from deepcv.hints.superpixels import (
    SuperpixelGraph,
    boundary_prior,
    centre_prior,
    index_tree,
    laplacian,
    node_weights,
    superpixel_graph,
)
from deepcv.images import SMALLEST_SIDE, as_colour, as_image, resize
from deepcv.threads import on_one_thread


@on_one_thread
def structured_matrix_decomposition(image, **settings) -> np.ndarray:
    """The saliency map of an image, found without labels or training.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8 in 0..255 or float in [0, 1], of any size; the working size of the longer side is 128 to 300 pixels.
    **settings
        Fields of `SaliencySettings` that differ from the default.

    Returns
    -------
    numpy.ndarray of float32, `(H, W)`, in [0, 1]
        High on the object; 0 and 1 both occur at working size. A flat frame around the picture is 0. If nothing stands
        out, the map is the centre prior, so with the default settings it is never constant; it is where other settings
        leave a single superpixel.

    Raises
    ------
    InputError
        For an image that `deepcv.images.as_image` rejects, an unknown setting or one out of range.
    """
    chosen = resolve(SaliencySettings, settings)
    image = as_colour(as_image(image))
    small = np.clip(resize(image, _working_shape(image.shape[:2], chosen)), 0, 1)
    inside = inside_frame(small)
    maps = pixel_maps(without_noise(np.ascontiguousarray(small[inside]), chosen))
    mean = np.mean([_saliency_at(maps, count, chosen) for count in chosen.superpixels], axis=0)
    framed = np.zeros(small.shape[:2], dtype=np.float32)
    framed[inside] = _stretch(mean)
    return np.clip(resize(framed, image.shape[:2]), 0, 1)


def _working_shape(shape: tuple[int, int], settings: SaliencySettings) -> tuple[int, int]:
    longest = max(shape)
    scale = (
        np.clip(longest, min(settings.smallest_longest_side, settings.longest_side), settings.longest_side) / longest
    )
    return tuple(max(SMALLEST_SIDE, round(side * scale)) for side in shape)


def _saliency_at(maps: PixelMaps, count: int, settings: SaliencySettings) -> np.ndarray:
    """The saliency map `(H, W)` at one superpixel count."""
    graph = superpixel_graph(maps, count, settings.compactness)
    centre = centre_prior(graph.centres, settings.centre_width)
    prior = _stretch(centre * boundary_prior(graph, settings))
    levels = index_tree(graph.colour_distance, graph.neighbours, settings.merging)
    weights = node_weights(levels, prior)
    affinity = np.where(graph.linked, gaussian(distances(graph.features), settings.affinity_width), 0)
    parts = decompose(graph.features * prior, laplacian(affinity), levels, weights, settings)
    raw = np.abs(parts.sparse).sum(axis=0)
    if not np.ptp(raw):
        return centre[graph.labels]
    return sharpen(_stretch(raw), graph, settings)[graph.labels]


def _stretch(values: np.ndarray) -> np.ndarray:
    """`values` shifted and scaled to span [0, 1]; zeros where they are constant."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


# --- From pixels to superpixels --------------------------------------------------------------------------------


def inside_frame(image: np.ndarray, most: float = 0.1, tolerance: float = 0.06) -> tuple[slice, slice]:
    """The rows and columns within a flat frame, such as the black bars around a film still.

    The frame of a side is its outermost lines of one colour (within `tolerance` for 97 % of the pixels), at most a
    share `most` of the picture, if the next line differs from that colour over most of its length. A plain background
    doesn't end like this and is kept. (The paper looks for long straight edges near the border.)

    `image` is `(H, W, 3)` in [0, 1].
    """
    upright, turned = image, image.transpose(1, 0, 2)
    top, bottom = (_flat_lines(lines, most, tolerance) for lines in (upright, upright[::-1]))
    left, right = (_flat_lines(lines, most, tolerance) for lines in (turned, turned[::-1]))
    return slice(top, image.shape[0] - bottom), slice(left, image.shape[1] - right)


def _flat_lines(lines: np.ndarray, most: float, tolerance: float) -> int:
    """Number of leading `lines` `(n, length, 3)` that belong to a frame."""
    deepest = int(most * len(lines))
    colour = np.median(lines[0], axis=0)
    same = (np.abs(lines[: deepest + 1] - colour).max(axis=2) < tolerance).mean(axis=1)
    if (same > 0.97).all():
        return 0
    count = int(np.argmin(same > 0.97))
    return count if same[count] < 0.4 else 0


def without_noise(image: np.ndarray, settings: SaliencySettings) -> np.ndarray:
    """`image` `(H, W, 3)`, blurred in proportion to its noise if that is noticeable. Not in [34].

    Strong noise fragments SLIC's superpixels until a single one is left.
    """
    import cv2

    noise = noise_level(image)
    if noise < settings.noticeable_noise:
        return image
    return cv2.GaussianBlur(image, (0, 0), settings.denoising * noise)


# --- From the sparse part to the map ---------------------------------------------------------------------------


def sharpen(raw: np.ndarray, graph: SuperpixelGraph, settings: SaliencySettings) -> np.ndarray:
    """Smooth saliency over similar superpixels, twice, with Otsu's threshold as the middle grey: `(n,)` in [0, 1].

    Quadratic smoothing; Otsu; propagation of the resulting foreground and background; a Gaussian about the object's own
    centre; Otsu and propagation again. The steps are those of [34], the formulas ours. The colour width is a fixed
    share of the image's median colour distance, so that a pale object on a pale sky survives.

    `raw` is `(n,)` in [0, 1].
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.spatial.distance import squareform

    contrast = np.median(squareform(graph.colour_distance, checks=False))
    width = np.clip(settings.contrast_fraction * contrast, 3.0, 20.0)  # CIELAB: noise .. different colours
    affinity = np.where(graph.linked, gaussian(graph.colour_distance, width), 0) + 1e-6 * graph.neighbours
    M = laplacian(affinity)
    strength = settings.smoothing / max(affinity.sum(axis=1).mean(), 1e-6)
    smooth = cho_solve(cho_factor(np.eye(len(raw)) + strength * M), raw)
    system = cho_factor(np.eye(len(raw)) + M)
    spread = propagate(around_otsu(_stretch(smooth)), system)
    bias = object_gaussian(spread, graph, settings.object_width)
    spread = spread * (1 - settings.object_bias + settings.object_bias * bias)
    return propagate(around_otsu(spread), system)


def around_otsu(values: np.ndarray) -> np.ndarray:
    """`values` scaled to put Otsu's threshold at one half, clipped at 1: a belief in the object."""
    from skimage.filters import threshold_otsu

    threshold = threshold_otsu(values)
    return np.clip(values / (2 * threshold), 0, 1) if threshold > 0 else values


def propagate(belief: np.ndarray, system: tuple) -> np.ndarray:
    """A belief b `(n,)` spread over the graph: argmin_x Σ b (x-1)² + (1-b) x² + xᵀMx, in [0, 1] (CVPR 2014).

    `system` is the Cholesky factor of 1 + M, M the graph's Laplacian, from `scipy.linalg.cho_factor`.
    """
    from scipy.linalg import cho_solve

    return _stretch(cho_solve(system, belief))


def object_gaussian(saliency: np.ndarray, graph: SuperpixelGraph, width: float) -> np.ndarray:
    """A Gaussian about the centre of gravity of the saliency, at each superpixel: `(n,)` in (0, 1]."""
    mass = saliency * np.bincount(graph.labels.ravel())
    centre = (graph.centres * mass).sum(axis=1, keepdims=True) / max(mass.sum(), np.finfo(float).tiny)
    return np.exp(-((graph.centres - centre) ** 2).sum(axis=0) / (2 * width**2))
