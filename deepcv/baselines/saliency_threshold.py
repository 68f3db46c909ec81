"""The saliency hint [34] thresholded by Otsu's rule: what every method that starts from it has to beat."""

from __future__ import annotations

import time

from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import as_image
from deepcv.segmentation import Segmentation, two_phase


def saliency_threshold(image, hint=None, *, seed: int = 0, device=None) -> Segmentation:
    """The hint above its Otsu threshold. `seed` and `device` are ignored; parameters as for every method.

    Raises
    ------
    InputError
        For an image or hint that can't be used.
    """
    image = as_image(image)
    hint = hint_for(image, hint)
    start = time.perf_counter()
    mask = otsu_mask(hint)
    return two_phase(mask, hint, seconds=time.perf_counter() - start, method="saliency")
