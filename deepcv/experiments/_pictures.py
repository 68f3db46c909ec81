"""Grids of pictures: images in rows, methods in columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from deepcv.images import as_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def head_grid(figure: Figure, axes: np.ndarray, headings: list[str]) -> None:
    """Finish a grid of pictures: a heading over each column, and no ticks."""
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(textwrap.fill(heading, 15), fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[], frame_on=False)
    figure.tight_layout()


def show_mask(axis, image: np.ndarray, mask: np.ndarray) -> None:
    """Draw `faded`."""
    axis.imshow(faded(image, mask))


def faded(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The foreground as it is, the background faded to grey and blue: told apart in grey print, too.

    Takes uint8 `(H, W)` or `(H, W, 3)` and bool `(H, W)`, gives uint8 `(H, W, 3)`.
    """
    grey = image.mean(axis=2) if image.ndim == 3 else image
    background = 0.25 * grey[..., None] + 0.75 * np.array([185, 205, 230])
    return np.where(mask[..., None], as_colour(image), background).astype(np.uint8)
