"""GrabCut (Rother, Kolmogorov and Blake 2004) through OpenCV, started from the saliency hint.

Not in the paper: it is in the table because users would reach for it today.
"""

from __future__ import annotations

import time

import numpy as np

from deepcv.checks import Count, Seed, checked_settings
from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import as_colour, as_image, to_uint8
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase


@takes_seeds
def grab_cut(image, hint=None, *, seed: Seed = 0, device: str | None = None, iterations: Count = 5) -> Segmentation:
    """Segment with OpenCV's GrabCut, every pixel free: "probably foreground" above the hint's Otsu threshold.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`). The seed is set in OpenCV, for the
        k-means of GrabCut; `device` is ignored.
    iterations : int, at least 1
        Rounds of colour-model fit and graph cut; 5 as in OpenCV's example.

    Returns
    -------
    Segmentation
        `settings["kept_hint"]` says whether the mask is the hint's own, because GrabCut couldn't fit two colour models
        or left one side empty.

    Raises
    ------
    InputError
        For an unusable image, hint or seed, or fewer than one iteration.
    """
    import cv2

    settings = checked_settings(grab_cut, locals())
    image = as_image(image)
    hint = hint_for(image, hint)
    start = time.perf_counter()
    inside = otsu_mask(hint)
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    cv2.setRNGSeed(seed)
    bgr = np.ascontiguousarray(to_uint8(as_colour(image))[..., ::-1])
    models = np.zeros((2, 1, 65))
    try:
        cv2.grabCut(  # type: ignore[call-overload]  # its stubs require a rectangle
            bgr, labels, None, models[0], models[1], iterations, cv2.GC_INIT_WITH_MASK
        )
        mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    except cv2.error:  # one side has fewer pixels than its colour model has components, five
        mask = np.zeros_like(inside)
    kept_hint = not 0 < mask.mean() < 1
    return two_phase(
        inside if kept_hint else mask,
        seconds=time.perf_counter() - start,
        method="grabcut",
        settings=settings | {"seed": seed, "kept_hint": kept_hint},
    )
