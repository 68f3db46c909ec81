"""The guided filter [21], which refines the paper's masks."""

from __future__ import annotations

import numpy as np

from deepcv.errors import InputError
from deepcv.images import to_uint8


def guided_filter(guide: np.ndarray, soft: np.ndarray, *, radius: int = 50, eps: float = 1e-4) -> np.ndarray:
    """Filter a soft mask so that its edges follow the image's (He, Sun and Tang 2010), through OpenCV.

    Parameters
    ----------
    guide : numpy.ndarray, `(H, W)` or `(H, W, 3)`, float in [0, 1]
        The image, passed to OpenCV in 0..255: for a guide in [0, 1] and an `eps` below 1e-2 OpenCV clamps small
        covariance determinants, and the result is not the textbook filter's.
    soft : numpy.ndarray, `(H, W)`, float
        The mask to filter.
    radius : int, pixels, at least 1
        50 as in the authors' released code; larger windows smooth more.
    eps : float, positive, in squared units of 0..255
        1e-4 as in the released code, in effect no regularisation; larger values smooth across weak edges.

    Returns
    -------
    numpy.ndarray of float32, `(H, W)`

    Raises
    ------
    InputError
        For different sizes, or a parameter out of range.
    """
    import cv2

    if guide.shape[:2] != soft.shape:
        raise InputError(f"the guide is {guide.shape[:2]} but the mask is {soft.shape}; resize one to the other")
    if radius < 1 or eps <= 0:
        raise InputError(f"radius is {radius} and eps {eps}; radius must be at least 1 and eps positive")
    levels, soft = to_uint8(guide), np.ascontiguousarray(soft, np.float32)
    if levels.ndim == 3 and (levels == levels[..., :1]).all():
        levels = levels[..., 0]  # OpenCV clamps the singular covariance of three equal channels
    filtered = cv2.ximgproc.guidedFilter(levels, soft, radius, eps)
    if not np.isfinite(filtered).all():
        # rounding can give a flat window the variance -eps, and one division by 0 spreads over the whole image; noise
        # below one level keeps windows from being flat
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, levels.shape)
        filtered = cv2.ximgproc.guidedFilter((levels + noise).astype(np.float32), soft, radius, eps)
    return filtered
