"""What experiments over scored images share: one result of a method on an image, and how an interval is written."""

from __future__ import annotations

import functools
from typing import Any

from deepcv.data import load_dataset
from deepcv.hints import hint_for
from deepcv.images import as_image
from deepcv.methods import get_method
from deepcv.metrics import bootstrap_interval, scores
from deepcv.results import Item


def compute(item: Item, profile: str, device: str | None) -> dict[str, Any]:
    """One row: the method on the image, scored at the image's own size."""
    sample, hint = _sample_and_hint(item.dataset, item.image)
    found = get_method(item.method).function(sample.image, hint, seed=item.seed, device=device, **item.settings)
    return {"profile": profile, "labels": found.labels, "seconds": found.seconds, **scores(found.mask, sample.mask)}


@functools.lru_cache(maxsize=4)  # the methods of an image come one after the other and share its hint
def _sample_and_hint(dataset: str, name: str):
    samples = load_dataset(dataset)
    sample = samples[samples.names.index(name)]
    return sample, hint_for(as_image(sample.image))


def interval(values) -> str:
    """95 % bootstrap interval of the mean of a series, "0.853–0.891"."""
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"
