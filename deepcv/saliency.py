"""Saliency by structured matrix decomposition [34]: where the hint comes from when nobody draws one.

An image is cut into superpixels, and each becomes a column of a feature matrix `F` `(53, n)`. Background columns
repeat one another and so form a low-rank part `L`; the object's columns are what is left, a part `S` that is
sparse in groups of neighbouring superpixels:

    min_{L,S}  ‖L‖_*  +  α tr(S M Sᵀ)  +  β Σ_g w_g ‖S_g‖_∞      subject to  F = L + S,

with `M` the Laplacian of a graph of superpixels and `g` the nodes of a tree of ever larger image regions; a node
that the priors find unlike an object weighs more. A superpixel's saliency is the l1 norm of its column of `S`,
smoothed and sharpened afterwards.

Where this deviates from [34]:

- no colour prior: the table in use has no clear licence, and one learnt from labels would not be unsupervised;
- boundary connectivity is averaged over several geodesic widths, with and without texture, and falls off more
  slowly, because a single width zeroes the object wherever it reaches the image's border;
- the whole chain runs at three superpixel counts and the maps are averaged;
- the last step is our own reading of the paper's chain (`sharpen`), with a colour width fitted to the image.

References
----------
[34] H. Peng, B. Li, H. Ling, W. Hu, W. Xiong, S. J. Maybank, "Salient object detection via structured matrix
decomposition", IEEE TPAMI 39 (2017) 818-832. Further sources: superpixels, Achanta et al. (IEEE TPAMI 34, 2012);
steerable pyramid, Simoncelli and Freeman (ICIP 1995); log-Gabor filters, Field (JOSA A 4, 1987); the merging rule,
Felzenszwalb and Huttenlocher (IJCV 59, 2004); boundary connectivity and quadratic smoothing, Zhu, Liang, Wei and Sun
(CVPR 2014); the order in which the nodes of a tree are shrunk, Jenatton, Mairal, Obozinski and Bach (JMLR 12, 2011).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from deepcv.images import SMALLEST_SIDE, InputError, as_colour, as_image, resize

PYRAMID_SHAPE = (3, 4)
"""Scales and orientations of the steerable pyramid [34]."""

GABOR_SHAPE = (3, 12)
"""Scales and orientations of the log-Gabor filters [34]."""

SHORTEST_WAVELENGTH = 6.0
"""Of the finest log-Gabor scale, in pixels [34]; each further scale doubles it."""

MAY_BE_ZERO = ("texture_weight", "laplacian_weight", "group_weight", "smoothing", "object_bias")
"""Settings that weigh a term and leave it out at 0; all others must be above 0."""


NOTICEABLE_NOISE = 0.05
"""Standard deviation, of 1, from which on an image counts as noisy; none of Weizmann's photographs has as much."""


@dataclass(frozen=True)
class SaliencySettings:
    """The constants of the saliency map. "[34]" marks the paper's; "fitted" those chosen on 20 Weizmann images."""

    longest_side: int = 300  # pixels; the paper's images have about this size, and the filters' wavelengths fit it
    smallest_longest_side: int = 128  # pixels; smaller images are enlarged, or superpixels would be single pixels
    superpixels: tuple[int, ...] = (150, 250, 400)  # [34]: 250 alone; three gain 0.004 in F, double the time
    noticeable_noise: float = NOTICEABLE_NOISE
    denoising: float = 10.0  # width in pixels of the blur, a unit of noise; 8 to 12 alike on 10 images, σ 20 to 160
    compactness: float = 20.0  # [34]; lower follows weak edges, higher gives squarer superpixels
    merging: tuple[float, ...] = (300.0, 600.0, 2000.0)  # [34]; k of each level of the index tree above the leaves
    centre_width: float = 0.25  # [34]; σ of the centre prior, in image sides
    geodesic_widths: tuple[float, ...] = (3.0, 5.0, 8.0, 12.0)  # CIELAB; [34] has one; none suits every contrast
    texture_weight: float = 7.0  # CIELAB units per unit of texture feature distance; fitted
    connectivity_width: float = 3.0  # fitted; 1 (CVPR 2014) zeroes objects that touch the border
    affinity_width: float = 0.22  # in feature units, σ² ≈ 0.05; from 0.1 to 0.5 hardly matters
    laplacian_weight: float = 1.1  # [34]; α
    group_weight: float = 0.35  # [34]; β
    mu: float = 0.1  # [34]; first penalty of the augmented Lagrangian
    mu_growth: float = 1.1  # [34]; ρ
    tolerance: float = 1e-5  # [34]; relative residual of the constraints at which to stop
    max_iterations: int = 500  # about 90 are needed
    smoothing: float = 3.0  # weight of the first quadratic smoothing; 1 to 10 differ by 0.02 in F
    contrast_fraction: float = 0.35  # fitted; colour width of the smoothing, in the image's median colour distance
    object_width: float = 0.3  # σ of the object-biased Gaussian, in image sides; 0.2 to 0.4 hardly matters
    object_bias: float = 0.8  # its share; 0 ignores where the object is, 1 drops far parts

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            zero_allowed = field.name in MAY_BE_ZERO
            if not values or not all(_is_number(v) and (v > 0 or (zero_allowed and v == 0)) for v in values):
                least = "at least 0" if zero_allowed else "above 0"
                raise InputError(f"saliency setting {field.name} is {value!r}; it must be {least}")
        if self.mu_growth < 1:
            raise InputError(f"saliency setting mu_growth is {self.mu_growth}; it must be at least 1")
        if self.object_bias > 1:
            raise InputError(f"saliency setting object_bias is {self.object_bias}; it must be at most 1")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and np.isfinite(value)


class Decomposition(NamedTuple):
    """`F = L + S` and how far the solver got."""

    low_rank: np.ndarray  # L, (D, n)
    sparse: np.ndarray  # S, (D, n)
    iterations: int
    residual: float  # max(‖F - L - S‖, ‖S - H‖) / ‖F‖, H being the copy of S that the Laplacian term sees


class PixelMaps(NamedTuple):
    """What the image offers pixel by pixel, the same at every superpixel count."""

    image: np.ndarray  # (H, W, 3), in [0, 1]
    features: np.ndarray  # (53, H, W)
    colours: np.ndarray  # (3, H, W), CIELAB


class SuperpixelGraph(NamedTuple):
    """What one cut of the image into n superpixels offers the later steps."""

    labels: np.ndarray  # (H, W), 0..n-1
    features: np.ndarray  # (53, n), each row stretched over [0, 1]
    centres: np.ndarray  # (2, n), row and column in image sides
    colour_distance: np.ndarray  # (n, n), CIELAB
    neighbours: np.ndarray  # (n, n) bool, touching
    linked: np.ndarray  # (n, n) bool, touching, with a common neighbour, or both on the image's border
    boundary: np.ndarray  # (n,) bool, on the image's border


def structured_matrix_decomposition(image, **settings) -> np.ndarray:
    """Where the object is, found without labels or training.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8 in 0..255 or float in [0, 1], of any size; worked on with its longer side between 128 and 300 pixels.
    **settings
        Fields of `SaliencySettings`.

    Returns
    -------
    numpy.ndarray of float32, `(H, W)`, in [0, 1]
        High on the object; 0 and 1 both occur at working size. A flat frame around the picture is 0. Where the
        decomposition finds nothing that stands out, the centre prior alone, so a map is never constant.

    Raises
    ------
    InputError
        For what `deepcv.images.as_image` refuses (a constant image among it), and for unknown or unusable settings.
    """
    unknown = set(settings) - {field.name for field in fields(SaliencySettings)}
    if unknown:
        known = ", ".join(field.name for field in fields(SaliencySettings))
        raise InputError(f"there is no saliency setting {min(unknown)!r}; there are {known}")
    chosen = SaliencySettings(**settings)
    image = as_colour(as_image(image))
    small = np.clip(resize(image, _shape_to_work_on(image.shape[:2], chosen)), 0, 1)
    inside = inside_frame(small)
    maps = pixel_maps(without_noise(np.ascontiguousarray(small[inside]), chosen))
    mean = np.mean([_saliency_at(maps, count, chosen) for count in chosen.superpixels], axis=0)
    framed = np.zeros(small.shape[:2], dtype=np.float32)
    framed[inside] = _stretch(mean)
    return np.clip(resize(framed, image.shape[:2]), 0, 1)


def _shape_to_work_on(shape: tuple[int, int], settings: SaliencySettings) -> tuple[int, int]:
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
    affinity = np.where(graph.linked, _gaussian(_distances(graph.features), settings.affinity_width), 0)
    parts = decompose(graph.features * prior, laplacian(affinity), levels, weights, settings)
    raw = np.abs(parts.sparse).sum(axis=0)
    if not np.ptp(raw):
        return centre[graph.labels]
    return sharpen(_stretch(raw), graph, settings)[graph.labels]


def _stretch(values: np.ndarray) -> np.ndarray:
    """`values` shifted and scaled to span [0, 1]; zeros where they are constant."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-(distance**2) / (2 * width**2))


def _distances(columns: np.ndarray) -> np.ndarray:
    """Euclidean distances `(n, n)` between the columns of `(D, n)`."""
    from scipy.spatial.distance import pdist, squareform

    return squareform(pdist(columns.T))


# --- From pixels to superpixels --------------------------------------------------------------------------------


def inside_frame(image: np.ndarray, most: float = 0.1, tolerance: float = 0.06) -> tuple[slice, slice]:
    """The rows and columns within a flat frame, such as the black bars around a film still.

    A side's frame is its outermost lines of one colour (to `tolerance` for 97 % of the pixels), at most a share
    `most` of the picture, provided the next line departs from that colour over most of its length. A plain
    background does not end so, and is kept. (The paper looks for long straight edges near the border.)

    Parameters
    ----------
    image : numpy.ndarray, `(H, W, 3)`, in [0, 1]
    """
    upright, turned = image, image.transpose(1, 0, 2)
    top, bottom = (_flat_lines(lines, most, tolerance) for lines in (upright, upright[::-1]))
    left, right = (_flat_lines(lines, most, tolerance) for lines in (turned, turned[::-1]))
    return slice(top, image.shape[0] - bottom), slice(left, image.shape[1] - right)


def _flat_lines(lines: np.ndarray, most: float, tolerance: float) -> int:
    """How many of the first `lines` `(n, length, 3)` are frame."""
    deepest = int(most * len(lines))
    colour = np.median(lines[0], axis=0)
    same = (np.abs(lines[: deepest + 1] - colour).max(axis=2) < tolerance).mean(axis=1)
    if (same > 0.97).all():
        return 0
    count = int(np.argmin(same > 0.97))
    return count if same[count] < 0.4 else 0


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of white noise on `image` `(H, W, C)`, estimated from its finest scale; in the image's units.

    The mask of Immerkær (CVIU 64, 1996), which edges and slopes pass by, with the median absolute value in place of
    the mean, since texture doesn't pass by.
    """
    from scipy.ndimage import convolve

    second = np.array([1.0, -2.0, 1.0])
    mask = np.outer(second, second) / 6  # the squares of its entries sum to 1
    return float(np.mean([np.median(np.abs(convolve(channel, mask))) for channel in np.moveaxis(image, 2, 0)]) / 0.6745)


def without_noise(image: np.ndarray, settings: SaliencySettings) -> np.ndarray:
    """`image` `(H, W, 3)` blurred as much as its noise asks for, and as it is when the noise isn't noticeable.

    SLIC tears superpixels to pieces under strong noise and ends with a single one. (Not in [34].)
    """
    import cv2

    noise = noise_level(image)
    if noise < settings.noticeable_noise:
        return image
    return cv2.GaussianBlur(image, (0, 0), settings.denoising * noise)


def pixel_maps(image: np.ndarray) -> PixelMaps:
    """Features and colours of each pixel of `image` `(H, W, 3)`, in [0, 1]."""
    from skimage.color import rgb2lab

    return PixelMaps(image, pixel_features(image), np.moveaxis(rgb2lab(image), 2, 0))


def superpixels(image: np.ndarray, count: int, compactness: float) -> np.ndarray:
    """SLIC superpixels: labels `(H, W)` from 0, about `count` of them, of at least 40 pixels on average."""
    from skimage.segmentation import slic

    count = max(2, min(count, image.shape[0] * image.shape[1] // 40))
    return slic(image, n_segments=count, compactness=compactness, start_label=0, channel_axis=2)


def pixel_features(image: np.ndarray) -> np.ndarray:
    """The 53 features of each pixel: R, G, B, hue - 0.5, saturation; 12 steerable, 36 log-Gabor magnitudes [34].

    Parameters
    ----------
    image : numpy.ndarray, `(H, W, 3)`, in [0, 1]

    Returns
    -------
    numpy.ndarray of float32, `(53, H, W)`
        A view of an array whose last axis is the feature, the order in which `region_means` is quick.
    """
    import cv2

    image = image.astype(np.float32, copy=False)
    hue, saturation = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., :2], 2, 0)  # hue in degrees
    grey = image.mean(axis=2)
    textures = steerable_magnitudes(grey), log_gabor_magnitudes(grey)
    features = np.concatenate([np.moveaxis(image, 2, 0), [hue / 360 - 0.5, saturation], *textures])
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(features, 0, 2)), 2, 0)


def _mirrored(grey: np.ndarray, margin: int = 24) -> tuple[np.ndarray, tuple[slice, slice]]:
    """`grey` with its mirror image around it, and where it lies there.

    Both filter banks work on the Fourier transform, where the left edge meets the right one; the margin keeps
    that seam away. Even sides, at least 64, so that the pyramid can halve them.
    """
    from scipy.fft import next_fast_len

    sizes = [next_fast_len(max(64, side + 2 * margin), real=True) for side in grey.shape]
    extra = [size + size % 2 - side for size, side in zip(sizes, grey.shape, strict=True)]
    padding = [(amount // 2, amount - amount // 2) for amount in extra]
    inside = tuple(slice(before, before + side) for (before, _), side in zip(padding, grey.shape, strict=True))
    return np.pad(grey, padding, mode="symmetric"), inside


def _polar(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequency and direction, float32, at each of `rows` and `columns` in cycles per pixel; the mean has any value."""
    rows, columns = rows.astype(np.float32)[:, None], columns.astype(np.float32)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    return frequency, np.arctan2(-rows, columns)


def steerable_magnitudes(grey: np.ndarray) -> np.ndarray:
    """Magnitudes of a steerable pyramid, 3 scales × 4 orientations, at full size: `(12, H, W)`.

    In the Fourier domain: a scale reaches an octave to either side of its centre at 1/4, 1/8, 1/16 cycles per pixel
    and falls off as a cosine of the octaves, so that the squares of neighbouring scales sum to 1; an orientation is
    the third power of a cosine. Each scale's picture has half the sides of the one before.
    """
    import cv2
    from scipy import fft

    padded, inside = _mirrored(grey)
    scales, orientations = PYRAMID_SHAPE
    spectrum = fft.rfft2(padded.astype(np.float32))
    spectrum[0, 0] = 0
    magnitudes = []
    for scale in range(scales):
        height, width = (-(-side // 2**scale) for side in padded.shape)
        kept = fft.fftfreq(height, 1 / height).astype(int)  # the lines of the spectrum that a smaller picture has
        frequency, direction = _polar(kept / padded.shape[0], np.arange(width // 2 + 1) / padded.shape[1])
        octaves = np.log2(frequency * 2 ** (scale + 2))
        band = 1j * spectrum[kept, : width // 2 + 1] * np.where(abs(octaves) < 1, np.cos(np.pi / 2 * octaves), 0)
        for orientation in range(orientations):
            angular = np.cos(direction - np.float32(np.pi * orientation / orientations)) ** (orientations - 1)
            magnitude = np.abs(fft.irfft2(band * angular, (height, width)))
            magnitudes.append(cv2.resize(magnitude, padded.shape[::-1], interpolation=cv2.INTER_LINEAR)[inside])
    return np.stack(magnitudes)


def log_gabor_magnitudes(grey: np.ndarray) -> np.ndarray:
    """Magnitudes of log-Gabor filters, 3 scales × 12 orientations: `(36, H, W)`.

    A filter is a Gaussian in log frequency (Field 1987) times a Gaussian in angle; the bandwidth ratio 0.65 is about
    one and a half octaves, the angular width two thirds of the step between orientations.
    """
    from scipy import fft

    padded, inside = _mirrored(grey)
    scales, orientations = GABOR_SHAPE
    frequency, direction = _polar(*(fft.fftfreq(side) for side in padded.shape))
    spectrum = fft.fft2(padded.astype(np.float32))
    spectrum[0, 0] = 0
    wavelengths = SHORTEST_WAVELENGTH * 2.0 ** np.arange(scales)
    radial = [_gaussian(np.log(frequency * np.float32(wavelength)), np.log(0.65)) for wavelength in wavelengths]
    magnitudes = np.empty((scales, orientations, *grey.shape), dtype=np.float32)
    for orientation in range(orientations):
        turn = np.abs(direction - np.float32(orientation * np.pi / orientations))
        turned = spectrum * _gaussian(np.minimum(turn, 2 * np.pi - turn), np.pi / orientations / 1.5)
        for scale in range(scales):
            band = fft.ifft2(turned * radial[scale], overwrite_x=True)
            np.abs(band[inside], out=magnitudes[scale, orientation])
    return magnitudes.reshape(-1, *grey.shape)


def region_means(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of each of D maps `(D, H, W)` over each of n regions: `(D, n)`."""
    from scipy.sparse import csr_matrix

    flat = labels.ravel()
    membership = csr_matrix((np.ones(flat.size, dtype=np.float32), (flat, np.arange(flat.size))))  # (n, H W)
    sums = membership @ maps.reshape(len(maps), -1).T
    return (sums / np.bincount(flat)[:, None]).T


def adjacency(labels: np.ndarray) -> np.ndarray:
    """Which regions touch, corners included: bool `(n, n)`, symmetric, False on the diagonal."""
    count = labels.max() + 1
    touching = np.zeros((count, count), dtype=bool)
    below, right = (labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])
    diagonals = (labels[1:, 1:], labels[:-1, :-1]), (labels[1:, :-1], labels[:-1, 1:])
    for one, other in (below, right, *diagonals):
        border = one != other
        touching[one[border], other[border]] = True
    return touching | touching.T


def superpixel_graph(maps: PixelMaps, count: int, compactness: float) -> SuperpixelGraph:
    """About `count` superpixels, the means of `maps` over them, and their graph."""
    labels = superpixels(maps.image, count, compactness)
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
    distance = _distances(region_means(maps.colours, labels))
    return SuperpixelGraph(labels, features, region_means(positions, labels), distance, neighbours, linked, boundary)


# --- Priors and the index tree ---------------------------------------------------------------------------------


def centre_prior(centres: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian around the middle of the image, at `centres` `(2, n)` in image sides: `(n,)` in (0, 1]."""
    return np.exp(-((centres - 0.5) ** 2).sum(axis=0) / (2 * width**2))


def boundary_prior(graph: SuperpixelGraph, settings: SaliencySettings) -> np.ndarray:
    """How little each superpixel belongs to a region that runs along the image's border: `(n,)` in [0, 1].

    The mean of exp(-connectivity² / 2σ²) over the geodesic widths, by colour alone and by colour and texture.
    """
    texture = _distances(graph.features[5:])
    with_texture = np.hypot(graph.colour_distance, settings.texture_weight * texture)
    priors = [
        _gaussian(connectivity, settings.connectivity_width)
        for distance in (graph.colour_distance, with_texture)
        for connectivity in boundary_connectivity(distance, graph.neighbours, graph.boundary, settings.geodesic_widths)
    ]
    return np.mean(priors, axis=0)


def boundary_connectivity(
    distance: np.ndarray, neighbours: np.ndarray, boundary: np.ndarray, widths: tuple[float, ...]
) -> np.ndarray:
    """Length on the border over the root of the area, of the soft region around each superpixel (CVPR 2014).

    The region of a superpixel is a Gaussian of geodesic distance, one `width` after another; border superpixels
    are linked to each other, so that a background in several pieces counts as one.

    Parameters
    ----------
    distance : numpy.ndarray, `(n, n)`
        Between superpixels, in the units of `widths`.
    neighbours : numpy.ndarray of bool, `(n, n)`
    boundary : numpy.ndarray of bool, `(n,)`

    Returns
    -------
    numpy.ndarray, `(len(widths), n)`, at least 0
    """
    from scipy.sparse.csgraph import floyd_warshall

    # steps as small as those to the likest neighbour are noise, and would add up along a path
    likest = np.where(neighbours, distance, np.inf).min(axis=1)
    noise = likest[np.isfinite(likest)].mean() if neighbours.any() else 0.0
    steps = np.maximum(distance - noise, 1e-6)  # a zero, or all but a zero, would mean "no edge"
    linked = neighbours | np.outer(boundary, boundary)
    geodesic = floyd_warshall(np.where(linked, steps, np.inf), directed=False)
    regions = [_gaussian(geodesic, width) for width in widths]
    return np.stack([region[:, boundary].sum(axis=1) / np.sqrt(region.sum(axis=1)) for region in regions])


def index_tree(distance: np.ndarray, neighbours: np.ndarray, merging: tuple[float, ...]) -> list[np.ndarray]:
    """Partitions of the superpixels, from singletons to ever larger regions, each within the next.

    Felzenszwalb and Huttenlocher's rule: two regions merge across an edge no longer than the longest edge of
    either one's spanning tree plus k over its size, here counted in superpixels. Each k goes on from the regions
    of the last, so the nodes form a tree; the rule run anew for each k would not ensure that.

    Parameters
    ----------
    distance : numpy.ndarray, `(n, n)`
        CIELAB.
    neighbours : numpy.ndarray of bool, `(n, n)`
    merging : tuple of float
        The k of each level above the leaves; larger gives larger regions.

    Returns
    -------
    list of numpy.ndarray of int, `(n,)`
        The region of each superpixel, 0.., one array a level.
    """
    count = len(distance)
    row, column = np.nonzero(np.triu(neighbours))
    order = np.argsort(distance[row, column], kind="stable")
    row, column = row[order], column[order]
    edges = list(zip(row.tolist(), column.tolist(), distance[row, column].tolist(), strict=True))
    region = np.arange(count)  # of each superpixel, named by one of its members
    size, longest = np.ones(count), np.zeros(count)
    levels = [region.copy()]
    for k in merging:
        for one, other, length in edges:
            a, b = region[one], region[other]
            if a != b and length <= min(longest[a] + k / size[a], longest[b] + k / size[b]):
                region[region == b] = a
                size[a] += size[b]
                longest[a] = max(length, longest[a], longest[b])
        levels.append(np.unique(region, return_inverse=True)[1])
    return levels


def node_weights(levels: list[np.ndarray], prior: np.ndarray) -> list[np.ndarray]:
    """w_g = max(0, 1 - greatest prior in g) of each node, level by level [34]: what looks like an object is free."""
    weights = []
    for regions in levels:
        greatest = np.zeros(regions.max() + 1)
        np.maximum.at(greatest, regions, prior)
        weights.append(np.maximum(0, 1 - greatest))
    return weights


def laplacian(affinity: np.ndarray) -> np.ndarray:
    """M = diag(row sums) - affinity, `(n, n)`: x M xᵀ sums affinity times squared difference over the pairs."""
    return np.diag(affinity.sum(axis=1)) - affinity


# --- The decomposition -----------------------------------------------------------------------------------------


def decompose(
    features: np.ndarray,
    graph_laplacian: np.ndarray,
    levels: list[np.ndarray],
    weights: list[np.ndarray],
    settings: SaliencySettings = SaliencySettings(),
) -> Decomposition:
    """Split `features` into a low-rank and a group-sparse part by an augmented Lagrangian.

    Minimises `objective` under F = L + S. With a copy H of S for the Laplacian term, each step is exact: L by
    shrinking singular values, H by a linear system, S by shrinking the tree's nodes. M is diagonalised once, after
    which the linear system is two products whatever the penalty μ. The multipliers Y of F = L + S and Z of S = H are
    held divided by μ.

    Parameters
    ----------
    features : numpy.ndarray, `(D, n)`
    graph_laplacian : numpy.ndarray, `(n, n)`
        Symmetric, positive semi-definite.
    levels, weights : list of numpy.ndarray
        Nested partitions `(n,)`, finest first, and the weight of each of their regions.
    settings : SaliencySettings
        α, β, μ, ρ, tolerance and the most iterations.
    """
    order = np.lexsort(levels)  # sorted by the coarsest level first: nodes are runs of columns at every level
    leaf_weights, nodes = tree_nodes([regions[order] for regions in levels], weights)
    matrix = features[:, order]
    curvature, modes = np.linalg.eigh(graph_laplacian[np.ix_(order, order)])
    S, Y, Z = np.zeros_like(matrix), np.zeros_like(matrix), np.zeros_like(matrix)
    mu, size = settings.mu, max(np.linalg.norm(matrix), np.finfo(float).tiny)
    for iteration in range(1, settings.max_iterations + 1):  # noqa: B007, returned below
        target = matrix + Y
        L = shrink_singular_values(target - S, 1 / mu)
        H = (((S + Z) @ modes) / (1 + 2 * settings.laplacian_weight / mu * curvature)) @ modes.T
        S = shrink_tree((target - L + H - Z) / 2, leaf_weights, nodes, settings.group_weight / (2 * mu))
        gap, copy_gap = matrix - L - S, S - H
        residual = float(max(np.linalg.norm(gap), np.linalg.norm(copy_gap)) / size)
        if residual < settings.tolerance:
            break
        mu *= settings.mu_growth
        Y = (Y + gap) / settings.mu_growth
        Z = (Z + copy_gap) / settings.mu_growth
    back = np.argsort(order)
    return Decomposition(L[:, back], S[:, back], iteration, residual)


def objective(
    low_rank: np.ndarray,
    sparse: np.ndarray,
    graph_laplacian: np.ndarray,
    levels: list[np.ndarray],
    weights: list[np.ndarray],
    settings: SaliencySettings = SaliencySettings(),
) -> float:
    """‖L‖_* + α tr(S M Sᵀ) + β Σ_g w_g ‖S_g‖_∞, the largest magnitude in a node's columns being its norm [34]."""
    nuclear = np.linalg.svd(low_rank, compute_uv=False).sum()
    smoothness = np.sum((sparse @ graph_laplacian) * sparse)
    peaks = np.abs(sparse).max(axis=0)
    groups = sum(
        weight * peaks[regions == region].max()
        for regions, level_weights in zip(levels, weights, strict=True)
        for region, weight in enumerate(level_weights)
    )
    return float(nuclear + settings.laplacian_weight * smoothness + settings.group_weight * groups)


def shrink_singular_values(matrix: np.ndarray, threshold: float) -> np.ndarray:
    """argmin_L threshold·‖L‖_* + ½‖L - matrix‖²: every singular value less `threshold`, at least 0.

    From the eigenvectors of the `(D, D)` product, which is much smaller than the `(D, n)` matrix.
    """
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    singular = np.sqrt(np.maximum(values, 0))
    kept = singular > threshold
    basis = vectors[:, kept]
    return (basis * (1 - threshold / singular[kept])) @ (basis.T @ matrix)


def tree_nodes(levels: list[np.ndarray], weights: list[np.ndarray]) -> tuple[np.ndarray, list[tuple]]:
    """The weight of each leaf `(n,)`, and (first column, last + 1, weight) of the larger nodes, finest level first.

    Nodes of weight 0 are left out; one that has the same columns at several levels appears once, with their sum.

    Parameters
    ----------
    levels : list of numpy.ndarray of int, `(n,)`
        Nested partitions into runs of columns, singletons first.
    weights : list of numpy.ndarray
        Of each region, level by level.
    """
    totals = {}
    for regions, level_weights in zip(levels, weights, strict=True):
        ends = [*np.flatnonzero(np.diff(regions, prepend=-1)).tolist(), len(regions)]
        for start, stop in itertools.pairwise(ends):
            totals[start, stop] = totals.get((start, stop), 0.0) + level_weights[regions[start]]
    leaf_weights = np.array([totals.pop((leaf, leaf + 1)) for leaf in range(len(levels[0]))])
    return leaf_weights, [(*columns, weight) for columns, weight in totals.items() if weight > 0]


def shrink_tree(matrix: np.ndarray, leaf_weights: np.ndarray, nodes: list[tuple], threshold: float) -> np.ndarray:
    """argmin_S threshold·Σ_g w_g ‖S_g‖_∞ + ½‖S - matrix‖² over a tree: shrink each node, leaves first (JMLR 2011).

    Shrinking a node takes its projection on the l1 ball of radius r = threshold·w_g away, which caps its magnitudes
    at the level where what is cut off sums to r. So the lowest cap of each column yet is all there is to keep.

    Parameters
    ----------
    matrix : numpy.ndarray, `(D, n)`
    leaf_weights, nodes
        As `tree_nodes` gives them.
    threshold : float
    """
    magnitude = np.abs(matrix)
    caps = capping_level(magnitude, threshold * leaf_weights)
    for start, stop, weight in nodes:
        radius = threshold * weight
        inside = caps[start:stop]  # the greatest magnitude of each column by now
        lowest = inside.max() - radius  # no cap is lower: cutting off the greatest alone would sum to the radius
        high = start + np.flatnonzero(inside >= lowest)
        values = np.minimum(magnitude[:, high], caps[high])
        np.minimum(inside, capping_level(values[values >= lowest], radius), out=inside)
    return np.clip(matrix, -caps, caps)


def capping_level(magnitudes: np.ndarray, radius: np.ndarray | float) -> np.ndarray | float:
    """The level above which the magnitudes `(k,)`, or those of each column of `(k, n)`, sum to `radius`.

    That is the greatest, over j, of (the sum of the j greatest magnitudes less the radius) / j; or 0, if all of them
    sum to no more than the radius.
    """
    sums = np.cumsum(np.sort(-magnitudes, axis=0), axis=0)
    counts = np.arange(1, len(sums) + 1).reshape(-1, *[1] * (sums.ndim - 1))
    return np.maximum(-((sums + radius) / counts).min(axis=0), 0)


# --- From the sparse part to the map ---------------------------------------------------------------------------


def sharpen(raw: np.ndarray, graph: SuperpixelGraph, settings: SaliencySettings) -> np.ndarray:
    """Smooth saliency over like superpixels, twice, with Otsu's threshold as the middle grey: `(n,)` in [0, 1].

    Quadratic smoothing; Otsu; propagation of the foreground and background so found; a Gaussian about the object's
    own centre; Otsu and propagation once more. The steps are those of [34], the formulas ours. Colours count as
    alike to a fixed share of the image's median colour distance, so that a pale object on a pale sky is not washed
    away.

    Parameters
    ----------
    raw : numpy.ndarray, `(n,)`, in [0, 1]
    """
    from scipy.spatial.distance import squareform

    contrast = np.median(squareform(graph.colour_distance, checks=False))
    width = np.clip(settings.contrast_fraction * contrast, 3.0, 20.0)  # CIELAB: noise .. different colours
    affinity = np.where(graph.linked, _gaussian(graph.colour_distance, width), 0) + 1e-6 * graph.neighbours
    M = laplacian(affinity)
    strength = settings.smoothing / max(affinity.sum(axis=1).mean(), 1e-6)
    smooth = np.linalg.solve(np.eye(len(raw)) + strength * M, raw)
    spread = propagate(around_otsu(_stretch(smooth)), M)
    bias = object_gaussian(spread, graph, settings.object_width)
    spread = spread * (1 - settings.object_bias + settings.object_bias * bias)
    return propagate(around_otsu(spread), M)


def around_otsu(values: np.ndarray) -> np.ndarray:
    """`values` scaled so that Otsu's threshold lies at one half, cut off at 1: a belief, background against object."""
    from skimage.filters import threshold_otsu

    threshold = threshold_otsu(values)
    return np.clip(values / (2 * threshold), 0, 1) if threshold > 0 else values


def propagate(belief: np.ndarray, graph_laplacian: np.ndarray) -> np.ndarray:
    """argmin_x Σ b (x-1)² + (1-b) x² + xᵀMx, stretched to [0, 1] (CVPR 2014): the belief b `(n,)` spread."""
    return _stretch(np.linalg.solve(graph_laplacian + np.eye(len(belief)), belief))


def object_gaussian(saliency: np.ndarray, graph: SuperpixelGraph, width: float) -> np.ndarray:
    """A Gaussian about the saliency's centre of gravity, at each superpixel: `(n,)` in (0, 1]."""
    mass = saliency * np.bincount(graph.labels.ravel())
    centre = (graph.centres * mass).sum(axis=1, keepdims=True) / max(mass.sum(), np.finfo(float).tiny)
    return np.exp(-((graph.centres - centre) ** 2).sum(axis=0) / (2 * width**2))
