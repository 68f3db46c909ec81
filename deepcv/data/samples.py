"""Embedded samples: photographs with hand-drawn masks and texture composites with exact masks.

The photographs are files in scikit-image's wheel; their masks were drawn for this project, as polygons in `masks.json`.
The composites consist of scikit-image's brick, grass and gravel. They violate the assumption of the Chan-Vese model
(1.2), a constant (Gaussian) foreground and background, in the two ways of Figure 1:

`modes-*`     (i) one region has two modes on either side of the other region's mean: it is not Gaussian, and no
              threshold separates it, although no intensity occurs in both regions.
`overlap-*`   (ii) foreground and background have the same intensities (grey: the same histogram; colour: means a
              fraction of a standard deviation apart) and differ only in texture.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from deepcv.checks import check_known
from deepcv.data.dataset import Dataset, Sample
from deepcv.errors import InputError
from deepcv.images import working_shape
from deepcv.pictures import read_image

LONGEST_SIDE = 300
"""Longest side of the photographs in pixels, as in Weizmann."""

PHOTOGRAPHS = {
    "astronaut": "Eileen Collins, NASA; public domain",
    "camera": "Lav Varshney; CC0",
    "coffee": "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0",
    "coins": "Greek coins from Pompeii, Brooklyn Museum; no known copyright restrictions",
    "rocket": "Falcon 9 with DSCOVR, SpaceX; public domain",
}
"""Author and terms of each photograph, as stated by scikit-image."""

MASKS = Path(__file__).with_name("masks.json")
"""Outlines in pixels of scikit-image's file: (x, y) from the top left corner, x to the right."""


def dataset() -> Dataset:
    """The embedded samples, sorted by name."""
    return Dataset(sorted([*PHOTOGRAPHS, *COMPOSITES]), load)


def load(name: str) -> Sample:
    """One embedded sample; an unknown name raises `InputError`, as does a scikit-image without its pictures.

    Examples
    --------
    >>> from deepcv.data import samples
    >>> samples.load("overlap-disk").image.shape
    (144, 144)
    """
    check_known("sample", name, dataset().names)
    return _photograph(name) if name in PHOTOGRAPHS else _composite(name)


def _shipped(file: str) -> np.ndarray:
    """A picture of the installed scikit-image, never from the network."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin if spec and spec.origin else "").parent / "data"
    if not (folder / file).exists():
        raise InputError(f"{folder / file} is missing from scikit-image; reinstall it with `pip install scikit-image`")
    return read_image(folder / file)


# --- photographs ------------------------------------------------------------------------------------------------------


def _photograph(name: str) -> Sample:
    drawn = json.loads(MASKS.read_text(encoding="utf-8"))[name]
    image = _shipped(drawn["file"])
    mask = polygons_to_mask(drawn["outlines"], drawn["holes"], image.shape[:2])
    left, top, right, bottom = drawn.get("crop", (0, 0, image.shape[1], image.shape[0]))
    image, mask = image[top:bottom, left:right], mask[top:bottom, left:right]
    shape = working_shape(mask.shape, LONGEST_SIDE)
    source = f"scikit-image, data/{drawn['file']}: {PHOTOGRAPHS[name]}; the mask was drawn for this project"
    covered = area_average(255 * mask.astype(np.uint8), shape)
    return Sample(name, area_average(image, shape), covered >= 128, "samples", source)


def polygons_to_mask(outlines, holes, shape: tuple[int, int]) -> np.ndarray:
    """The union of the outlines minus the holes: bool `(H, W)`, true where the centre of a pixel lies inside.

    Parameters
    ----------
    outlines, holes : sequence of polygons
        Each polygon is a sequence of corners (x, y) in pixels; pixel (row i, column j) covers [j, j+1] × [i, i+1].
    """
    from skimage.draw import polygon

    mask = np.zeros(shape, bool)
    for corners, value in [(each, True) for each in outlines] + [(each, False) for each in holes]:
        x, y = np.asarray(corners, float).T - 0.5  # polygon() has pixel centres at integers
        mask[polygon(y, x, shape)] = value
    return mask


def area_average(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Reduce uint8 `(H, W)` or `(H, W, 3)` to `shape` by area averaging, rounding halves up.

    The sums are integers, exact in float64 in any order, so the bytes are the same on every machine.
    """
    down, across = (_overlaps(old, new) for old, new in zip(image.shape[:2], shape, strict=True))
    sums = np.einsum("ih,hw...->iw...", down, image.astype(float), optimize=True)
    sums = np.einsum("jw,iw...->ij...", across, sums, optimize=True)
    area = image.shape[0] * image.shape[1]
    return ((2 * sums.astype(np.int64) + area) // (2 * area)).astype(np.uint8)


def _overlaps(old: int, new: int) -> np.ndarray:
    """Overlap of new pixel i with old pixel j, in units of 1/new of an old pixel: `(new, old)`; rows sum to `old`."""
    start, begin = np.arange(new)[:, None] * old, np.arange(old)[None] * new
    return np.clip(np.minimum(start + old, begin + new) - np.maximum(start, begin), 0, None).astype(float)


# --- texture composites -----------------------------------------------------------------------------------------------

TEXTURES = {
    "brick": "CC0Textures, Bricks25; CC0",
    "grass": "linolafett on DeviantArt, Grass-01; CC0",
    "gravel": "CC0Textures, Gravel04; CC0",
}
"""Author and terms of each texture, as stated by scikit-image."""

OWN_PATTERN = 0.7
"""Weight of the texture specific to each colour channel of an `Overlap`; the rest is common to the channels. Without it
the colours of a region would lie on a line, and parallel lines don't overlap."""


@dataclass(frozen=True)
class Texture:
    """A piece of one of scikit-image's textures.

    Attributes
    ----------
    name : str
        brick, grass or gravel.
    reduction : float
        Factor by which the photograph is reduced; larger is finer.
    turned : bool
        Whether it is rotated by 90°.
    """

    name: str
    reduction: float = 1.0
    turned: bool = False


@dataclass(frozen=True)
class Composite:
    """Recipe of an image of two regions.

    Attributes
    ----------
    shape : str
        Shape of the foreground, a key of `SHAPES`.
    foreground, background : Texture
    """

    shape: str
    foreground: Texture
    background: Texture
    size: tuple[int, int] = field(default=(144, 144), kw_only=True)
    seed: int = field(default=0, kw_only=True)

    @property
    def textures(self) -> dict[int, Texture]:
        """Texture of each label."""
        return {1: self.foreground, 0: self.background}


@dataclass(frozen=True)
class TwoModes(Composite):
    """Case (i): one region has two modes, and the other has their mean as its level.

    Attributes
    ----------
    structured : str
        The region with two modes, "foreground" or "background".
    structure : str
        Arrangement of the two modes, a key of `STRUCTURES`.
    levels : pair of grey levels, or of colours, 0..255
    """

    structured: str
    structure: str
    levels: tuple

    def painted(self, mask: np.ndarray, rng) -> np.ndarray:
        """Textures around the levels, with a standard deviation of 12."""
        inside = mask if self.structured == "foreground" else ~mask
        levels = np.asarray(self.levels, float)
        image = levels[STRUCTURES[self.structure](*centred(self.size), rng).astype(int)]
        image[~inside] = image[inside].mean(axis=0)  # the regions' means coincide
        around = 12.0 * texture_scores(self.textures, mask, rng)
        return image + (around[..., None] if image.ndim == 3 else around)


@dataclass(frozen=True)
class Overlap(Composite):
    """Case (ii): in both regions, each channel is normally distributed around 128 with the same standard deviation.

    Attributes
    ----------
    spread : float or three floats
        Standard deviation of each channel, 0..255.
    shift : float or three floats
        Mean of the foreground minus that of the background, 0..255.
    """

    spread: float | tuple = 42.0
    shift: float | tuple = 0.0

    def painted(self, mask: np.ndarray, rng) -> np.ndarray:
        side = mask - 0.5
        scores = spread_scores(self.spread, self.textures, mask, rng)
        return 128 + scores + np.asarray(self.shift, float) * (side[..., None] if scores.ndim == 3 else side)


COMPOSITES: dict[str, TwoModes | Overlap] = {
    "modes-disk": TwoModes("disk", Texture("gravel", 1.5), Texture("grass"), "foreground", "checks", (48, 208), seed=1),
    "modes-star": TwoModes("star", Texture("gravel"), Texture("brick", 2), "background", "bands", (60, 200), seed=2),
    "modes-pair": TwoModes(
        "pair", Texture("grass"), Texture("gravel"), "foreground", "halves", (40, 215), size=(128, 160), seed=3
    ),
    "modes-ring": TwoModes(
        "ring", Texture("brick", 2), Texture("grass"), "foreground", "bands", ((200, 60, 40), (40, 140, 190)), seed=4
    ),
    "modes-blob": TwoModes(
        "blob", Texture("grass"), Texture("gravel"), "background", "patches", ((60, 90, 170), (220, 150, 50)), seed=5
    ),
    "overlap-disk": Overlap("disk", Texture("brick", 2), Texture("grass"), seed=6),
    "overlap-star": Overlap("star", Texture("grass", 3), Texture("gravel", 0.75), seed=7),
    "overlap-ring": Overlap("ring", Texture("gravel"), Texture("brick", 2), seed=8),
    "overlap-blob": Overlap("blob", Texture("brick", 3), Texture("brick", 3, turned=True), seed=9),
    "overlap-pair": Overlap(
        "pair", Texture("gravel"), Texture("grass", 2.5), (48, 40, 28), (12, -8, 6), size=(128, 160), seed=10
    ),
}
"""Recipe of each composite."""


def _composite(name: str) -> Sample:
    recipe = COMPOSITES[name]
    rng = np.random.default_rng(recipe.seed)
    mask = SHAPES[recipe.shape](*centred(recipe.size), rng)
    return Sample(name, rounded(recipe.painted(mask, rng)), mask, "samples", source_of(recipe.textures.values()))


def rounded(image: np.ndarray) -> np.ndarray:
    """Values on the 0..255 scale, rounded and clipped, as uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def source_of(textures: Iterable[Texture]) -> str:
    """Origin and licence of a composite's textures."""
    names = sorted({texture.name for texture in textures})
    source = ", ".join(f"data/{each}.png ({TEXTURES[each]})" for each in names)
    return f"composed for this project from scikit-image's {source}"


def _window(texture: Texture, size: tuple[int, int], rng) -> np.ndarray:
    """A random window of the texture: uint8 of the given size."""
    whole = _texture_file(texture.name)
    whole = whole.T if texture.turned else whole
    window = [round(side * texture.reduction) for side in size]
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(whole.shape, window, strict=True))
    return area_average(whole[top : top + window[0], left : left + window[1]], size)


@cache
def _texture_file(name: str) -> np.ndarray:
    return _shipped(f"{name}.png")


def spread_scores(spread: float | tuple, textures: dict[int, Texture], labels: np.ndarray, rng) -> np.ndarray:
    """`texture_scores`, or `colour_scores` for three floats, times the standard deviation of each channel."""
    deviation = np.asarray(spread, float)
    return deviation * (colour_scores if deviation.ndim else texture_scores)(textures, labels, rng)


def texture_scores(textures: dict[int, Texture], labels: np.ndarray, rng) -> np.ndarray:
    """A random window of its texture in each region: `(H, W)`, standard normal within every region.

    Parameters
    ----------
    textures : dict of int to Texture
        Texture of each label.
    labels : numpy.ndarray of int or bool, `(H, W)`
    rng : numpy.random.Generator
    """
    scores = np.empty(labels.shape)
    for label, texture in textures.items():
        window = _window(texture, labels.shape, rng)
        scores[labels == label] = _normal_scores(window[labels == label])
    return scores


def colour_scores(textures: dict[int, Texture], labels: np.ndarray, rng) -> np.ndarray:
    """`texture_scores` for colour, `(H, W, 3)`: three patterns of the same texture (`OWN_PATTERN`)."""
    common, *own = (texture_scores(textures, labels, rng) for _ in range(4))
    mixed = np.sqrt(1 - OWN_PATTERN**2) * common[..., None] + OWN_PATTERN * np.stack(own, axis=2)
    for label in textures:
        inside = labels == label
        mixed[inside] = np.stack([_normal_scores(channel) for channel in mixed[inside].T], axis=1)
    return mixed


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Map values by rank to the standard normal distribution, ties in reading order.

    The histogram of the result depends only on the number of values.
    """
    from scipy.special import ndtri

    scores = np.empty(values.size)
    scores[np.argsort(values, kind="stable")] = ndtri((np.arange(values.size) + 0.5) / values.size)
    return scores


def centred(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (down, across) from the centre, in units of half the shorter side."""
    row, column = np.indices(size) + 0.5
    half = min(size) / 2
    return (row - size[0] / 2) / half, (column - size[1] / 2) / half


# Shapes and structures: bool `(H, W)`, from `centred` coordinates.


def _disk(y, x, rng):
    return (y - 0.08) ** 2 + (x + 0.1) ** 2 < 0.58**2


def _ring(y, x, rng):
    radius = np.hypot(y, x)
    return (radius > 0.3) & (radius < 0.75)


def _star(y, x, rng):
    height, width = y.shape
    turn = np.pi / 5 * np.arange(10) - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 0.86, 0.42) * min(y.shape) / 2
    corners = np.stack([width / 2 + radius * np.cos(turn), height / 2 + radius * np.sin(turn)], 1)
    return polygons_to_mask([corners], [], y.shape)


def _blob(y, x, rng):
    angle = np.arctan2(y, x)
    phases = rng.uniform(0, 2 * np.pi, 3)
    edge = 0.6 + sum(0.09 * np.cos(k * angle + phase) for k, phase in zip((2, 3, 5), phases, strict=True))
    return np.hypot(y, x) < edge


def _pair(y, x, rng):
    return ((y + 0.15) ** 2 + (x + 0.58) ** 2 < 0.46**2) | (((y - 0.1) / 0.62) ** 2 + ((x - 0.56) / 0.4) ** 2 < 1)


def _bands(y, x, rng):
    return np.sin(4.5 * np.pi * (0.8 * x + 0.6 * y)) > 0


def _checks(y, x, rng):
    return np.sin(3.5 * np.pi * x) * np.sin(3.5 * np.pi * y) > 0


def _halves(y, x, rng):
    """True in the upper half."""
    return y < -0.02


def _patches(y, x, rng):
    """True where a sum of random plane waves is positive."""
    turns, phases = rng.uniform(0, 2 * np.pi, (2, 6))
    return sum(np.cos(6 * (x * np.cos(t) + y * np.sin(t)) + p) for t, p in zip(turns, phases, strict=True)) > 0


SHAPES = {"disk": _disk, "ring": _ring, "star": _star, "blob": _blob, "pair": _pair}
STRUCTURES = {"bands": _bands, "checks": _checks, "halves": _halves, "patches": _patches}
