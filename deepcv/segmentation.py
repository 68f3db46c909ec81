"""The result of every method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepcv.errors import InputError


@dataclass(frozen=True)
class Segmentation:
    """A partition of an image, and how it was computed.

    Attributes
    ----------
    labels : numpy.ndarray of uint8, `(H, W)`
        The phase of each pixel, 0..N-1. With two phases 1 is the foreground Ω₁ and 0 the background.
    memberships : numpy.ndarray of float32, `(N, H, W)`
        Soft memberships u of each phase, in [0, 1], summing to 1 over phases; indicator functions from methods without
        soft memberships. A refinement step may move `labels` away from their argmax.
    trace : dict of str to list of float
        Quantities recorded in each iteration (energy by term, change of the mask …); may be empty.
    seconds : float
        Wall-clock time of the method, excluding the hint.
    method : str
        Name in the registry: `"deep-cv"`, `"chan-vese"` …
    settings : dict
        The settings used, as plain values, including the seed if the result depends on it.

    Raises
    ------
    InputError
        For memberships that are NaN or infinite.
    """

    labels: np.ndarray
    memberships: np.ndarray
    trace: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = float("nan")
    method: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not np.isfinite(self.memberships).all():
            raise InputError(
                f"the memberships of {self.method or 'this method'} are NaN or infinite; take settings nearer to the "
                "defaults, or another network"
            )

    @property
    def mask(self) -> np.ndarray:
        """The foreground, bool `(H, W)`.

        Raises
        ------
        ValueError
            For more than two phases; compare `labels` with the phase you want.
        """
        if len(self.memberships) != 2:
            raise ValueError(f"there are {len(self.memberships)} phases, no single mask; compare `labels` instead")
        return self.labels == 1


def two_phase(mask: np.ndarray, soft: np.ndarray | None = None, **attributes) -> Segmentation:
    """A two-phase `Segmentation` from a bool mask `(H, W)` and, if given, its soft membership u."""
    u = np.clip(np.asarray(mask if soft is None else soft, dtype=np.float32), 0, 1)
    return Segmentation(np.asarray(mask, dtype=np.uint8), np.stack([1 - u, u]), **attributes)
