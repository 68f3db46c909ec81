"""The guided filter [21], which refines the paper's masks."""

from __future__ import annotations

import numpy as np

from deepcv.errors import InputError
from deepcv.images import ROUNDING, as_array, to_uint8

LARGEST_RADIUS = 1000
"""In pixels; time and memory grow with the radius, and beyond the image it changes little."""


def guided_filter(guide: np.ndarray, soft: np.ndarray, *, radius: int = 50, eps: float = 1e-4) -> np.ndarray:
    """Filter a soft mask so that its edges follow the image's (He, Sun and Tang 2010), through OpenCV.

    Parameters
    ----------
    guide : array_like, `(H, W)` or `(H, W, 3)`, uint8 or float in [0, 1]
        The image, passed to OpenCV in 0..255: for a guide in [0, 1] and an `eps` below 1e-2 OpenCV clamps small
        covariance determinants, and the result is not the textbook filter's.
    soft : array_like, `(H, W)`, float
        The mask to filter.
    radius : int, pixels, from 1 to `LARGEST_RADIUS`
        50 as in the authors' released code; larger windows smooth more.
    eps : float, positive, in squared units of 0..255
        1e-4 as in the released code, in effect no regularisation; larger values smooth across weak edges.

    Returns
    -------
    numpy.ndarray of float32, `(H, W)`

    Raises
    ------
    InputError
        For different sizes, NaN or infinite values, or a parameter out of range.
    """
    import cv2

    guide, soft = as_array(guide, "the guide"), as_array(soft, "the mask")
    if guide.shape[:2] != soft.shape:
        raise InputError(f"the guide is {guide.shape[:2]} but the mask is {soft.shape}; resize one to the other")
    if not (1 <= radius <= LARGEST_RADIUS and eps > 0):
        raise InputError(
            f"radius is {radius} and eps {eps}; radius must be from 1 to {LARGEST_RADIUS}, and eps positive"
        )
    if not (np.isfinite(guide).all() and np.isfinite(soft).all()):
        raise InputError("the guide or the mask has NaN or infinite values; replace them first")
    if guide.dtype != np.uint8 and not (guide.min() >= -ROUNDING and guide.max() <= 1 + ROUNDING):
        raise InputError(f"a float guide must lie in [0, 1], not [{guide.min():g}, {guide.max():g}]; rescale it")
    levels, soft = guide if guide.dtype == np.uint8 else to_uint8(guide), np.ascontiguousarray(soft, np.float32)
    if levels.ndim == 3 and (levels == levels[..., :1]).all():
        levels = levels[..., 0]  # OpenCV clamps the singular covariance of three equal channels
    filtered = cv2.ximgproc.guidedFilter(levels, soft, radius, eps)
    if not np.isfinite(filtered).all():
        # rounding can give a flat window the variance -eps, and one division by 0 spreads over the whole image; noise
        # below one level keeps windows from being flat
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, levels.shape)
        filtered = cv2.ximgproc.guidedFilter((levels + noise).astype(np.float32), soft, radius, eps)
    return filtered
