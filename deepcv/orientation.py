"""The one of a picture's eight orientations that is segmented, so that a flipped or turned picture has the flipped or
turned mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """A transposition, then flips."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def there(self, values: np.ndarray) -> np.ndarray:
        """An array `(H, W)` or `(H, W, C)` so turned."""
        values = values.swapaxes(0, 1) if self.transposed else values
        return np.ascontiguousarray(self._flipped(values))

    def back(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `there`."""
        values = self._flipped(values)
        return np.ascontiguousarray(values.swapaxes(0, 1) if self.transposed else values)

    def _flipped(self, values: np.ndarray) -> np.ndarray:
        return values[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


def canonical(pixels: np.ndarray) -> Turn:
    """The turn after which a picture, uint8 `(H, W)` or `(H, W, 3)`, is at least as wide as high and brighter at the
    right and below.

    Where the moments of brightness are zero, as of a symmetric picture, orientations can't be told apart.
    """
    grey = pixels if pixels.ndim == 2 else pixels.sum(axis=2, dtype=np.int64)
    height, width = grey.shape
    # whole numbers: a flip changes the signs and nothing else
    down = int(grey.sum(axis=1, dtype=np.int64) @ (2 * np.arange(height) - height + 1))
    across = int(grey.sum(axis=0, dtype=np.int64) @ (2 * np.arange(width) - width + 1))
    transposed = height > width or (height == width and abs(down) > abs(across))
    if transposed:
        down, across = across, down
    return Turn(transposed, down < 0, across < 0)
