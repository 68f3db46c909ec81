"""Synthetic flowers with exact masks, a substitute for the Flowers data that needs no download.

One or two rosettes of petals around a centre, in front of leaves and blurred light. The colours of petals, centre and
leaves vary and are sometimes similar; petals are streaked and shaded, so no region has a single colour. A picture
depends only on its number.
"""

from __future__ import annotations

import colorsys

import numpy as np

from deepcv.data.dataset import Dataset, Sample

COUNTS = {"train": 256, "val": 64, "test": 128}
"""Pictures per split; their numbers don't overlap."""

SIDES = (96, 128)
"""Smallest and largest side, in pixels."""

VERSION = "1"
"""Increase it when the drawings change, to invalidate caches."""


def dataset(split: str) -> Dataset:
    """The pictures of a split: "train", "val" or "test"."""
    first = sum(COUNTS[each] for each in list(COUNTS)[: list(COUNTS).index(split)])
    names = [f"flowerlike_{number:04}" for number in range(first, first + COUNTS[split])]
    return Dataset(names, _load, f"flowerlike {VERSION}")


def _load(name: str) -> Sample:
    image, mask = draw(int(name.rpartition("_")[2]))
    return Sample(name, image, mask, "flowerlike", "drawn by deepcv.data.flowerlike")


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 `(H, W, 3)`, and the mask of its flowers, bool `(H, W)`."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([17, seed])
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    image = _backdrop((height, width), rng)
    for _ in range(rng.integers(6, 16)):
        _leaf(image, rng)
    image = gaussian_filter(image, (rng.uniform(0, 1.5),) * 2 + (0,))
    mask = np.zeros((height, width), bool)
    petal, heart = _colour(rng), _colour(rng, hues=(0.08, 0.17))
    for _ in range(1 + (rng.random() < 0.25)):
        mask |= _flower(image, petal, heart, rng)
    image = gaussian_filter(image, (rng.uniform(0.3, 0.7),) * 2 + (0,)) + rng.normal(0, 0.02, image.shape)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask


def _colour(rng, hues=(0.0, 1.0)) -> np.ndarray:
    """A bright colour."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(*hues), rng.uniform(0.15, 1), rng.uniform(0.65, 1)))


def _smooth(shape, scale: float, rng) -> np.ndarray:
    """Noise with a correlation length of `scale` pixels, zero mean and unit variance."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), scale, mode="reflect")
    return (noise - noise.mean()) / noise.std()


def _backdrop(shape, rng) -> np.ndarray:
    """Green to brown, with blurred light and shadow."""
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(0.12, 0.42), rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.5)))
    light = 1 + 0.35 * _smooth(shape, 18, rng) + 0.12 * _smooth(shape, 4, rng)
    tint = 0.03 * np.stack([_smooth(shape, 12, rng) for _ in range(3)], axis=2)
    return np.clip(base * light[..., None] + tint, 0, 1)


def _polar(shape, centre, rng) -> tuple[np.ndarray, np.ndarray]:
    """Distance in pixels and angle around a centre, from a random viewing angle."""
    y, x = np.indices(shape) + 0.5
    y, x = y - centre[0] * shape[0], x - centre[1] * shape[1]
    turn, slant = rng.uniform(0, np.pi), rng.uniform(0.7, 1)
    along, across = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / slant
    return np.hypot(along, across), np.arctan2(across, along)


def _leaf(image: np.ndarray, rng) -> None:
    """Paint a leaf with a midrib."""
    shape = image.shape[:2]
    y, x = np.indices(shape) + 0.5
    y, x = y - rng.uniform(-0.1, 1.1) * shape[0], x - rng.uniform(-0.1, 1.1) * shape[1]
    turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6) * min(shape)
    along, across = (np.cos(turn) * x + np.sin(turn) * y) / length, (np.cos(turn) * y - np.sin(turn) * x) / length
    half_width = rng.uniform(0.1, 0.3) * np.clip(1 - along**2, 0, None)
    inside = np.abs(across) < half_width
    colour = np.array(colorsys.hsv_to_rgb(rng.uniform(0.2, 0.42), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.65)))
    shade = 1 + 0.3 * np.sign(across) * rng.uniform(0, 1) + 0.5 * np.exp(-((across / 0.015) ** 2))
    image[inside] = (colour * shade[..., None])[inside]


def _flower(image: np.ndarray, petal: np.ndarray, heart: np.ndarray, rng) -> np.ndarray:
    """Paint a rosette and return its mask."""
    shape = image.shape[:2]
    radius, angle = _polar(shape, rng.uniform(0.32, 0.68, 2), rng)
    size = rng.uniform(0.22, 0.46) * min(shape)
    petals, phase = int(rng.integers(4, 14)), rng.uniform(0, 2 * np.pi)
    notch, blunt = rng.uniform(0.25, 0.85), rng.uniform(0.3, 1.2)
    wave = np.abs(np.cos(petals * angle / 2 + phase)) ** blunt
    edge = size * (notch + (1 - notch) * wave) * (1 + 0.05 * np.cos(3 * angle + phase))
    inside = radius < edge
    depth = radius / size
    shade = 0.75 + 0.3 * wave + rng.uniform(-0.35, 0.35) * (depth - 0.5)
    shade += 0.06 * np.cos(petals * 7 * angle) * (depth > 0.25) + 0.06 * _smooth(shape, 5, rng)
    towards = rng.uniform(0, 0.6) * np.exp(-((depth / 0.45) ** 2))[..., None]
    painted = (petal * (1 - towards) + heart * towards) * shade[..., None]
    core = radius < size * rng.uniform(0.12, 0.3)
    painted[core] = (heart * (0.7 + 0.25 * _smooth(shape, 1.0, rng))[..., None])[core]
    image[inside] = np.clip(painted, 0, 1)[inside]
    return inside
