"""How far to trust a mask that started from the saliency map, without a ground truth.

Neither is in the paper. Both were chosen on the first 20 images of Weizmann and 50 of the first 200 of ECSSD, seed 0;
`deepcv.companion.experiments.confidence` measures them on others.
"""

from __future__ import annotations

import math

import numpy as np

from deepcv.baselines.appearance import ridge
from deepcv.errors import InputError
from deepcv.hints.hint import otsu_mask
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_image, resize, working_shape
from deepcv.metrics import iou

DOUBTFUL = 0.75
"""Confidence below which a mask is doubtful. Where it was chosen mean F is 0.76 below it, 0.84 above."""

_SIDE = 200
_COLOURS_ALONE = {"superpixels": (200,), "texture_weight": 0.0, "geodesic_widths": (4.0,)}
_CONSTANT, _OF_MASK, _OF_HINT = -0.40, 1.37, 2.35


def confidence(image, mask) -> float:
    """How well a second opinion agrees with a mask, in [0, 1]; low where the object is hard to tell.

    The opinion is a saliency map by the colours alone, without texture, at 200 pixels and one superpixel count; the
    result is the mean of the IoU of the mask with this map's Otsu mask, and with what `ridge` makes of it. It says
    whether the *object* is in doubt, not the outline.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    mask : array_like of bool, `(H, W)`

    Raises
    ------
    InputError
        For an unusable image, or a mask of another shape or type.
    """
    image, mask = as_image(image), np.asarray(mask)
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        raise InputError(f"the mask is {mask.dtype} of {mask.shape}; it must be bool of {image.shape[:2]}")
    shape = working_shape(mask.shape, _SIDE)
    small = np.clip(resize(image, shape), 0, 1)
    own = resize(mask.astype(np.float32), shape) > 0.5
    opinion = structured_matrix_decomposition(small, longest_side=_SIDE, **_COLOURS_ALONE)
    return float(np.mean([iou(own, otsu_mask(opinion)), iou(own, ridge(small, opinion).mask)]))


def belief(membership: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """How probably each pixel is foreground: a calibrated soft membership, float32 `(H, W)` in (0, 1).

    The logistic function of `1.37 (2u - 1) + 2.35 tanh(2.5 (hint - t)) - 0.40`, with t the hint's Otsu threshold. The
    method solves for a u of 0 or 1, which says nothing about its doubts; where mask and saliency map contradict each
    other, the truth may be either. The three numbers are a logistic regression of the true masks.

    Parameters
    ----------
    membership : numpy.ndarray, `(H, W)`, in [0, 1]
        u, of the foreground.
    hint : numpy.ndarray, `(H, W)`, in [0, 1]
        The saliency map that the method started from.
    """
    from skimage.filters import threshold_otsu

    of_hint = np.tanh(2.5 * (hint - threshold_otsu(hint)))
    logit = _OF_MASK * (2 * membership - 1) + _OF_HINT * of_hint + _CONSTANT
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def told(value: float) -> str:
    """A confidence in words, rounded down so that 1 means certain."""
    return f"confidence {math.floor(100 * value + 1e-9) / 100:.2f}"
