"""Pictures of many small objects in one tone, such as cells: where a threshold finds them, a contour starts there.

The saliency map is made for a few large objects. ν, a price of length chosen for photographs, is too high for contours
that are long by their nature.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deepcv.contours import Objects

EXPLAINED = 0.7
"""Share of the variance of brightness between the two tones."""
OBJECTS = 8
"""Number of objects, at least."""
LARGEST = 0.35
"""Share of the foreground that the largest object has at most."""
CLEAR = 0.8, 4, 0.4
"""The three of fewer objects in tones that are told apart more clearly."""
EVENED = 0.85
"""`EXPLAINED` where shading was taken away first."""
NU = 0.05
"""ν of `chan_vese` for such pictures; on clean ones 0 to 0.1 give the same."""
_FAINT = 1e-4
"""Range of the root of the brightness below which it has no tones: far less than one level of 255."""
_SIDE = 200  # pixels, enough for a polynomial
_SPECK = 2e-4  # of the picture's pixels; smaller ones are no objects


def root(image: np.ndarray) -> np.ndarray:
    """The square root, float in [0, 1]: the noise of counted photons is then as strong in bright places as in dark."""
    return np.sqrt(image)


def evened(image: np.ndarray) -> np.ndarray:
    """The root of the brightness without its shading, float32 `(H, W)` in [0, 1].

    The shading is a polynomial of degree 2 in both coordinates, fitted in turn with Otsu's threshold, to the tone that
    has more pixels.
    """
    from skimage.filters import threshold_otsu

    grey = root(image if image.ndim == 2 else image.mean(axis=2)).astype(np.float32)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape)
    every = math.ceil(max(grey.shape) / _SIDE)
    values, below, beside = grey[::every, ::every], y[::every, None], x[::every]
    terms = np.stack([each.ravel() for each in np.broadcast_arrays(*_terms(below, beside))], axis=1)
    kept = np.ones(values.size, bool)
    for _ in range(3):
        of_tone = terms[kept].astype(np.float64)
        weights, *_ = np.linalg.lstsq(of_tone.T @ of_tone, of_tone.T @ values.ravel()[kept], rcond=None)
        weights = weights.astype(np.float32)
        left = values.ravel() - terms @ weights
        if np.ptp(left) < _FAINT:
            break
        kept = left > threshold_otsu(left)
        kept = kept if kept.mean() > 0.5 else ~kept
    rest = grey - sum(weight * term for weight, term in zip(weights, _terms(y[:, None], x), strict=True))
    return (rest - rest.min()) / max(np.ptp(rest), _FAINT)


def _terms(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return np.ones_like(x), x, y, x * x, x * y, y * y


class Tones(NamedTuple):
    """Many small objects of one tone.

    Attributes
    ----------
    mask : numpy.ndarray of bool, `(H, W)`
    shaded : bool
        Whether they were found after shading was taken away (`evened`).
    """

    mask: np.ndarray
    shaded: bool


def many_objects(image: np.ndarray) -> Tones | None:
    """Many small objects, bright or dark; None if the picture doesn't have two such tones.

    Otsu's threshold of the root of a brightness blurred by σ = 1 tells the tones apart; the one that has less of the
    picture's border is the objects'. If there are none, the same is tried without shading. On 100 photographs of
    Weizmann this was found in none, on 500 of ECSSD in seven, on 21 pictures of nuclei in 20; the bounds were chosen on
    these.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W)` or `(H, W, 3)`
        Float in [0, 1].
    """
    grey = image if image.ndim == 2 else image.mean(axis=2)
    found = _small_objects(root(grey), (EXPLAINED, OBJECTS, LARGEST), CLEAR)
    if found is not None:
        return Tones(found, False)
    found = _small_objects(evened(grey), (EVENED, OBJECTS, LARGEST))
    return None if found is None else Tones(found, True)


def _small_objects(grey: np.ndarray, *bounds: tuple[float, int, float]) -> np.ndarray | None:
    """The objects in a brightness, bool `(H, W)`, if they are within bounds on `EXPLAINED`, `OBJECTS` and `LARGEST`."""
    import cv2
    from skimage.filters import threshold_otsu

    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1)
    if np.ptp(grey) < _FAINT:
        return None
    mask = grey > threshold_otsu(grey)
    if np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean() > 0.5:
        mask = ~mask
    share = mask.mean()
    if not 0 < share < 1:
        return None
    within = share * grey[mask].var() + (1 - share) * grey[~mask].var()
    sizes = Objects(mask).boxes[:, 4]
    sizes = sizes[sizes >= _SPECK * mask.size]
    if any(
        within <= (1 - explained) * grey.var() and len(sizes) >= count and sizes.max() <= largest * sizes.sum()
        for explained, count, largest in bounds
    ):
        return mask
    return None
