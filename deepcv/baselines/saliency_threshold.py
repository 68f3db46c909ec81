"""The saliency hint [34] above its Otsu threshold: the score that every method starting from it has to beat."""

from __future__ import annotations

import time

from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import as_image
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase


@takes_seeds
def saliency_threshold(image, hint=None, *, seed: int = 0, device: str | None = None) -> Segmentation:
    """The hint above its Otsu threshold; parameters as for every method, `seed` and `device` ignored.

    Raises
    ------
    InputError
        For an unusable image or hint.
    """
    image = as_image(image)
    hint = hint_for(image, hint)
    start = time.perf_counter()
    mask = otsu_mask(hint)
    return two_phase(mask, hint, seconds=time.perf_counter() - start, method="saliency")
