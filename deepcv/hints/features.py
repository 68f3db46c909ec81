"""Features of each pixel: colour, steerable pyramid, log-Gabor filters; the noise level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PYRAMID_SHAPE = (3, 4)
"""Scales and orientations of the steerable pyramid [34]."""

GABOR_SHAPE = (3, 12)
"""Scales and orientations of the log-Gabor filters [34]."""

SHORTEST_WAVELENGTH = 6.0
"""Wavelength of the finest log-Gabor scale, in pixels [34]; it doubles with each scale."""


class PixelMaps(NamedTuple):
    """Maps of an image, shared by all superpixel counts."""

    image: np.ndarray  # (H, W, 3), in [0, 1]
    features: np.ndarray  # (53, H, W)
    colours: np.ndarray  # (3, H, W), CIELAB


def gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    """exp(−d² / 2w²), elementwise."""
    return np.exp(-(distance**2) / (2 * width**2))


def distances(columns: np.ndarray) -> np.ndarray:
    """Euclidean distances `(n, n)` between the columns of `(D, n)`."""
    from scipy.spatial.distance import pdist, squareform

    return squareform(pdist(columns.T))


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of white noise on `image` `(H, W, C)`, estimated at its finest scale; in the image's units.

    The mask of Immerkær (CVIU 64, 1996), which ignores edges and slopes, with the median absolute value instead of the
    mean, to ignore texture too.
    """
    from scipy.ndimage import convolve

    second = np.array([1.0, -2.0, 1.0])
    mask = np.outer(second, second) / 6  # the squares of its entries sum to 1
    return float(np.mean([np.median(np.abs(convolve(channel, mask))) for channel in np.moveaxis(image, 2, 0)]) / 0.6745)


def pixel_maps(image: np.ndarray) -> PixelMaps:
    """Features and colours of each pixel of `image` `(H, W, 3)`, in [0, 1]."""
    from skimage.color import rgb2lab

    return PixelMaps(image, pixel_features(image), np.moveaxis(rgb2lab(image), 2, 0))


def pixel_features(image: np.ndarray) -> np.ndarray:
    """The 53 features of each pixel: R, G, B, hue - 0.5, saturation; 12 steerable, 36 log-Gabor magnitudes [34].

    From an image `(H, W, 3)` in [0, 1]. The result, float32 `(53, H, W)`, is a view of an array whose last axis is the
    feature, which makes `region_means` fast.
    """
    import cv2

    image = image.astype(np.float32, copy=False)
    hue, saturation = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., :2], 2, 0)  # hue in degrees
    grey = image.mean(axis=2)
    textures = steerable_magnitudes(grey), log_gabor_magnitudes(grey)
    features = np.concatenate([np.moveaxis(image, 2, 0), [hue / 360 - 0.5, saturation], *textures])
    by_pixel = cv2.transpose(features.reshape(len(features), -1))
    return by_pixel.T.reshape(features.shape)


def _mirrored(grey: np.ndarray, margin: int = 24) -> tuple[np.ndarray, tuple[slice, ...]]:
    """`grey` extended by reflection, and its position in the result.

    Both filter banks use the Fourier transform, where the left edge meets the right one; the margin keeps that seam
    away. Sides are even and at least 64, so that the pyramid can halve them.
    """
    from scipy.fft import next_fast_len

    sizes = [next_fast_len(max(64, side + 2 * margin), real=True) for side in grey.shape]
    extra = [size + size % 2 - side for size, side in zip(sizes, grey.shape, strict=True)]
    padding = [(amount // 2, amount - amount // 2) for amount in extra]
    inside = tuple(slice(before, before + side) for (before, _), side in zip(padding, grey.shape, strict=True))
    return np.pad(grey, padding, mode="symmetric"), inside


def _polar(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequency and direction, float32, at `rows` and `columns` in cycles per pixel; arbitrary at frequency 0."""
    rows, columns = rows.astype(np.float32)[:, None], columns.astype(np.float32)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    return frequency, np.arctan2(-rows, columns)


def steerable_magnitudes(grey: np.ndarray) -> np.ndarray:
    """Magnitudes of a steerable pyramid, 3 scales × 4 orientations, at full size: `(12, H, W)`.

    In the Fourier domain: a scale extends an octave to either side of its centre at 1/4, 1/8, 1/16 cycles per pixel and
    falls off as a cosine of the octaves, so that the squares of neighbouring scales sum to 1; an orientation is the
    third power of a cosine. The image's sides are halved from scale to scale.
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
        kept = fft.fftfreq(height, 1 / height).astype(int)  # the lines of the spectrum of a smaller image
        frequency, direction = _polar(kept / padded.shape[0], np.arange(width // 2 + 1) / padded.shape[1])
        octaves = np.log2(frequency * 2 ** (scale + 2))
        band = 1j * spectrum[kept, : width // 2 + 1] * np.where(abs(octaves) < 1, np.cos(np.pi / 2 * octaves), 0)
        for orientation in range(orientations):
            cosine = np.cos(direction - np.float32(np.pi * orientation / orientations))
            magnitude = np.abs(fft.irfft2(band * (cosine * cosine**2), (height, width)))  # much faster than cosine**3
            magnitudes.append(cv2.resize(magnitude, padded.shape[::-1], interpolation=cv2.INTER_LINEAR)[inside])
    return np.stack(magnitudes)


def log_gabor_magnitudes(grey: np.ndarray) -> np.ndarray:
    """Magnitudes of log-Gabor filters, 3 scales × 12 orientations: `(36, H, W)`.

    A filter is a Gaussian in log frequency (Field 1987) times a Gaussian in angle. The bandwidth ratio 0.65 is about
    one and a half octaves; the angular width is two thirds of the step between orientations.
    """
    import cv2
    from scipy import fft

    padded, inside = _mirrored(grey)
    scales, orientations = GABOR_SHAPE
    frequency, direction = _polar(*(fft.fftfreq(side) for side in padded.shape))
    spectrum = cv2.dft(padded.astype(np.float32), flags=cv2.DFT_COMPLEX_OUTPUT)  # (.., .., 2): real, imaginary
    spectrum[0, 0] = 0
    wavelengths = SHORTEST_WAVELENGTH * 2.0 ** np.arange(scales)
    radial = [gaussian(np.log(frequency * np.float32(wavelength)), np.log(0.65)) for wavelength in wavelengths]
    radial = [cv2.merge([factor, factor]) for factor in radial]
    magnitudes = np.empty((scales, orientations, *grey.shape), dtype=np.float32)
    band = np.empty_like(spectrum)
    for orientation in range(orientations):
        turn = np.abs(direction - np.float32(orientation * np.pi / orientations))
        turn = np.minimum(np.minimum(turn, 2 * np.pi - turn), 1.22)  # 3e-11 at least: denormal numbers are slow
        angular = gaussian(turn, np.pi / orientations / 1.5)
        turned = spectrum * cv2.merge([angular, angular])
        for scale in range(scales):
            cv2.idft(np.multiply(turned, radial[scale], out=band), band, cv2.DFT_SCALE)
            np.abs(band.view(np.complex64)[..., 0][inside], out=magnitudes[scale, orientation])
    return magnitudes.reshape(-1, *grey.shape)
