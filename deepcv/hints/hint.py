"""The hint that methods start from: the user's, or the saliency map."""

from __future__ import annotations

import numpy as np

from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_hint


def hint_for(image: np.ndarray, hint=None) -> np.ndarray:
    """The user's hint `(H, W)`, checked; or the structured-matrix-decomposition saliency [34] of the image.

    `image` comes from `deepcv.images.as_image`; the result is float32 `(H, W)` in [0, 1].
    """
    if hint is not None:
        return as_hint(hint, image.shape[:2])
    return structured_matrix_decomposition(image)


def otsu_mask(hint: np.ndarray) -> np.ndarray:
    """Where the hint is above its Otsu threshold, bool `(H, W)`; neither empty nor full unless the hint is constant."""
    from skimage.filters import threshold_otsu

    return hint > threshold_otsu(hint)


def surer(hint: np.ndarray, sureness: str) -> np.ndarray:
    """The hint, or a more confident version of it, float32 `(H, W)` in [0, 1].

    A saliency map is below 0.9 nearly everywhere, and random networks soon overrule an unsure start. By sureness:
    "map", the hint itself; "sharpened", a logistic of slope 12 about its Otsu threshold; "otsu", 1 above the threshold
    and 0 below.
    """
    if sureness == "map":
        return hint
    if sureness == "otsu":
        return otsu_mask(hint).astype(np.float32)
    from skimage.filters import threshold_otsu

    return (1 / (1 + np.exp(-12 * (hint - threshold_otsu(hint))))).astype(np.float32)
