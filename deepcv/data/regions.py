"""Composites of three and four regions, made of scikit-image's brick, grass and gravel, with exact partitions.

The paper shows four photographs without ground truth for its multi-phase model (Figure 4). Here the truth is exact, and
so is what distinguishes the regions:

`mean-*`      the means differ, so a model of constant regions (1.2) suffices.
`modes-*`     the means are equal but not the distributions: regions have two modes, each region at its own distance
              from the mean.
`texture-*`   the regions have the same intensities (grey: the same histogram) and differ only in texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepcv.checks import check_known
from deepcv.data.dataset import Dataset, Sample
from deepcv.data.samples import STRUCTURES, Texture, centred, rounded, source_of, spread_scores


@dataclass(frozen=True)
class Region:
    """Appearance of a region.

    Attributes
    ----------
    texture : Texture
    levels : tuple of one or two grey levels or colours, 0..255
        Modes of its distribution.
    structure : str
        Arrangement of two modes: a key of `samples.STRUCTURES`.
    """

    texture: Texture
    levels: tuple = (128.0,)
    structure: str = ""


@dataclass(frozen=True)
class Composite:
    """Recipe of an image.

    Attributes
    ----------
    layout : str
        Key of `LAYOUTS`.
    regions : tuple of Region
        The region of each label.
    spread : float, or three floats for a colour image
        Standard deviation of the textures around the levels, 0..255.
    """

    layout: str
    regions: tuple[Region, ...]
    spread: float | tuple = 42.0
    size: tuple[int, int] = (144, 144)
    seed: int = 0


_BRICK, _GRASS, _GRAVEL = Texture("brick", 2), Texture("grass"), Texture("gravel")
_FINE_BRICK, _TURNED_BRICK = Texture("brick", 3), Texture("brick", 3, turned=True)
_FINE_GRASS, _FINE_GRAVEL = Texture("grass", 3), Texture("gravel", 3)
_COARSE_GRAVEL = Texture("gravel", 0.5)


def _alike(*textures: Texture) -> tuple[Region, ...]:
    return tuple(map(Region, textures))


COMPOSITES = {
    "mean-cells": Composite(
        "cells",
        (Region(_BRICK, (60,)), Region(_GRASS, (110,)), Region(_GRAVEL, (160,)), Region(_FINE_GRASS, (210,))),
        spread=16,
        seed=1,
    ),
    "mean-objects": Composite(
        "objects",
        (Region(_GRASS, ((90, 130, 70),)), Region(_BRICK, ((180, 90, 70),)), Region(_GRAVEL, ((110, 120, 170),))),
        spread=(26, 24, 22),
        size=(128, 160),
        seed=2,
    ),
    "mean-bands": Composite(
        "bands", (Region(_GRAVEL, (70,)), Region(_FINE_GRAVEL, (128,)), Region(_GRASS, (186,))), 24, seed=3
    ),
    "modes-sectors": Composite(
        "sectors",
        (Region(_GRAVEL), Region(_GRASS, (84, 172), "bands"), Region(_FINE_GRASS, (40, 216), "checks")),
        spread=10,
        seed=4,
    ),
    "modes-nested": Composite(
        "nested",
        (
            Region(_GRASS, ((200, 120, 90), (60, 130, 160)), "patches"),
            Region(_GRAVEL, ((130, 125, 125),)),
            Region(_BRICK, ((110, 200, 60), (150, 50, 190)), "checks"),
        ),
        spread=(14, 14, 14),
        seed=5,
    ),
    "modes-cells": Composite(
        "cells",
        (
            Region(_GRASS, ((210, 128, 128), (46, 128, 128)), "bands"),
            Region(_GRAVEL, ((128, 210, 128), (128, 46, 128)), "checks"),
            Region(_BRICK, ((128, 128, 210), (128, 128, 46)), "bands"),
            Region(_FINE_GRASS, ((128, 128, 128),)),
        ),
        spread=(12, 12, 12),
        size=(160, 160),
        seed=6,
    ),
    "texture-bands": Composite("bands", _alike(_FINE_BRICK, _FINE_GRAVEL, _GRAVEL), spread=(40, 40, 40), seed=7),
    "texture-cells": Composite("cells", _alike(_BRICK, _FINE_GRASS, _COARSE_GRAVEL), seed=8),
    "texture-nested": Composite("nested", _alike(_FINE_GRASS, _COARSE_GRAVEL, _BRICK), seed=9),
    "texture-objects": Composite("objects", _alike(_GRASS, _FINE_BRICK, _FINE_GRAVEL), size=(128, 160), seed=10),
    "texture-quarters": Composite("sectors", _alike(_FINE_BRICK, _FINE_GRASS, _TURNED_BRICK, _COARSE_GRAVEL), seed=11),
    "texture-sectors": Composite("sectors", _alike(_COARSE_GRAVEL, _BRICK, _FINE_GRASS), spread=(44, 38, 30), seed=12),
}
"""Recipe of each image."""


def dataset() -> Dataset:
    """All images, sorted by name."""
    return Dataset(sorted(COMPOSITES), load)


def load(name: str) -> Sample:
    """One image; its partition is `Sample.regions`, its mask None. Errors as for `deepcv.data.samples.load`.

    Examples
    --------
    >>> from deepcv.data import regions
    >>> int(regions.load("texture-quarters").regions.max())
    3
    """
    check_known("image", name, sorted(COMPOSITES))
    recipe = COMPOSITES[name]
    rng = np.random.default_rng(recipe.seed)
    labels = LAYOUTS[recipe.layout](*centred(recipe.size), len(recipe.regions), rng).astype(np.uint8)
    source = source_of(region.texture for region in recipe.regions)
    return Sample(name, rounded(_painted(recipe, labels, rng)), None, "regions", source, labels)


def _painted(recipe: Composite, labels: np.ndarray, rng) -> np.ndarray:
    textures = {label: region.texture for label, region in enumerate(recipe.regions)}
    image = spread_scores(recipe.spread, textures, labels, rng)
    for label, region in enumerate(recipe.regions):
        inside, levels = labels == label, np.asarray(region.levels, float)
        if len(levels) == 1:
            image[inside] += levels[0]
        else:
            modes = levels[STRUCTURES[region.structure](*centred(recipe.size), rng)[inside].astype(int)]
            # the region's mean is that of its levels, whatever their areas
            image[inside] += modes - modes.mean(axis=0) + levels.mean(axis=0)
    return image


# --- layouts ----------------------------------------------------------------------------------------------------------
# Labels 0..count-1, `(H, W)`, from `centred` coordinates.


def _sectors(y, x, count: int, rng) -> np.ndarray:
    """Sectors with curved borders around a point near the centre."""
    turn = np.arctan2(y - 0.1, x + 0.1) / (2 * np.pi) + rng.uniform() + 0.04 * np.sin(5 * np.hypot(x, y))
    return np.floor(turn % 1 * count)


def _bands(y, x, count: int, rng) -> np.ndarray:
    """Oblique wavy bands of equal area."""
    along = 0.9 * x + 0.4 * y + 0.22 * np.sin(4 * y - 2 * x + rng.uniform(0, 2 * np.pi))
    return np.searchsorted(np.quantile(along, np.arange(1, count) / count), along)


def _nested(y, x, count: int, rng) -> np.ndarray:
    """Nested regions, the last innermost."""
    angle = np.arctan2(y, x)
    radius = np.hypot(y, x) + 0.07 * np.cos(3 * angle + rng.uniform(0, 2 * np.pi))
    return count - 1 - np.searchsorted(0.82 * np.sqrt(np.arange(1, count) / (count - 1)), radius)


def _cells(y, x, count: int, rng) -> np.ndarray:
    """Two cells per region, around random points."""
    reach = np.array(y.shape) / min(y.shape)
    candidates = rng.uniform(-reach, reach, (64, 2 * count, 2))
    gaps = np.abs(candidates[:, :, None] - candidates[:, None]).sum(axis=3) + 9 * np.eye(2 * count)
    points = candidates[gaps.min(axis=(1, 2)).argmax()]  # the most spread-out set
    return np.argmin((y - points[:, :1, None]) ** 2 + (x - points[:, 1:, None]) ** 2, axis=0) % count


def _objects(y, x, count: int, rng) -> np.ndarray:
    """A background and, on a circle around the centre, a blob for each other region."""
    labels = np.zeros(y.shape)
    start = rng.uniform(0, 2 * np.pi)
    for label in range(1, count):
        turn = start + 2 * np.pi * label / (count - 1)
        down, across = y - 0.5 * np.sin(turn), x - 0.6 * np.cos(turn)
        angle, phase = np.arctan2(down, across), rng.uniform(0, 2 * np.pi)
        labels[np.hypot(down, across) < 0.44 + 0.06 * np.cos(3 * angle + phase)] = label
    return labels


LAYOUTS = {"bands": _bands, "cells": _cells, "nested": _nested, "objects": _objects, "sectors": _sectors}
