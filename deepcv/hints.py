"""The hint that every method starts from: a saliency map, the user's own or the one computed here."""

from __future__ import annotations

import numpy as np

from deepcv.images import as_hint


def hint_for(image: np.ndarray, hint=None) -> np.ndarray:
    """The user's hint, checked; or the structured-matrix-decomposition saliency [34] of the image.

    Parameters
    ----------
    image : numpy.ndarray of float32, `(H, W)` or `(H, W, 3)`
        As `deepcv.images.as_image` returns it.
    hint : array_like `(H, W)`, optional

    Returns
    -------
    numpy.ndarray of float32, `(H, W)`, in [0, 1]
    """
    if hint is not None:
        return as_hint(hint, image.shape[:2])
    from deepcv.saliency import structured_matrix_decomposition

    return structured_matrix_decomposition(image)


def otsu_mask(hint: np.ndarray) -> np.ndarray:
    """Where the hint is above its Otsu threshold, bool `(H, W)`; neither empty nor full unless the hint is constant."""
    from skimage.filters import threshold_otsu

    return hint > threshold_otsu(hint)
