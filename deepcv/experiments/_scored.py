"""What experiments over scored images share: checking settings, computing rows, writing an interval."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from deepcv.data import load_dataset
from deepcv.hints import hint_for
from deepcv.images import SMALLEST_SIDE, InputError, as_image
from deepcv.methods import get_method
from deepcv.metrics import bootstrap_interval, scores
from deepcv.results import Item, Store

if TYPE_CHECKING:
    from pandas import DataFrame


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


def complete(items: list[Item], settings, *, workers, progress: bool, description: str) -> DataFrame:
    """The rows of the items; what the store lacks is computed. Parameters as in `deepcv.execution.run`."""
    with Store() as store:
        return store.complete(
            items,
            functools.partial(compute, profile=settings.profile, device=settings.device),
            recompute=settings.recompute,
            workers=workers,
            progress=progress,
            description=f"{description}, {settings.profile}",
        )


def check(settings, profiles: Collection[str], sequences: tuple[str, ...]) -> None:
    """Check what all experiments' settings have: profile, n_images, size, seeds; make tuples of `sequences`.

    Raises
    ------
    InputError
        For an unknown profile, no seed, or a number out of range.
    """
    if settings.profile not in profiles:
        raise InputError(f"there is no profile {settings.profile!r}; there are {', '.join(profiles)}")
    for name in sequences:  # a notebook's parameters come as lists
        if getattr(settings, name) is not None:
            object.__setattr__(settings, name, tuple(getattr(settings, name)))
    if settings.n_images is not None and settings.n_images < 1:
        raise InputError(f"n_images is {settings.n_images}; it must be at least 1")
    if settings.size is not None and settings.size < SMALLEST_SIDE:
        raise InputError(f"size is {settings.size}; images need at least {SMALLEST_SIDE} pixels a side")
    if not settings.seeds:
        raise InputError("there is no seed; give at least one, three for an interval that means something")


def interval(values) -> str:
    """95 % bootstrap interval of the mean of a series, "0.853–0.891"."""
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"
