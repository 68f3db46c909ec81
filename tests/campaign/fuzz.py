"""Valid but odd images through every quick method: a mask of the image's shape, or one sentence; never a traceback.

    python tests/campaign/fuzz.py --images 2000

Each image is drawn from its number alone, so that a failure can be repeated: `--first 1234 --images 1`.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from deepcv.door import segment
from deepcv.errors import InputError
from deepcv.images import as_hint, as_image
from deepcv.methods import METHODS

TINY = {
    "deep-cv": {"steps": 2, "rounds": 1, "more_steps": 1, "warmup": 0, "width": 2, "size": 24, "levels": 1},
    "double-dip": {"first_steps": 1, "second_steps": 1},
    "feature-clustering": {"channels": 12, "steps": 2},
    "forest": {"trees": 10},
    "iem": {"iterations": 10},
    **{name: {"max_iterations": 20} for name in ("chan-vese", "statistical", "vese-chan")},
}
"""Settings that change how long a method takes, not what it goes through."""

RUNS = [
    (name, preset)
    for name, method in METHODS.items()
    for preset in (["default"] if method.trained else method.presets)
    if name != "redo"  # no network comes with the package
]

WEIGHTS = np.array([0.1 if name == "double-dip" else 1.0 for name, _ in RUNS])
"""How often a run is drawn: Double-DIP's networks take a hundred times as long as the others."""

Generator = np.random.Generator


def odd_image(rng: Generator) -> np.ndarray:
    """An image that `as_image` takes, unlike a photograph in content, shape, type or place in memory."""
    while True:
        shape = _shape(rng)
        values = CONTENTS[rng.integers(len(CONTENTS))](rng, shape)
        values = _coloured(rng, values) if rng.random() < 0.5 else values
        image = _stored(rng, np.clip(values, 0, 1))
        try:
            as_image(image)
        except InputError:  # one colour after rounding
            continue
        return image


def odd_hint(rng: Generator, shape: tuple[int, int]) -> np.ndarray | None:
    """A hint that `as_hint` takes, mostly a bad one; None for a fiftieth, then a method finds its own."""
    kind, height, width = rng.integers(50), *shape
    hint = np.zeros(shape)
    if kind == 0:
        return None
    if kind < 10:  # one pixel, or all but one
        hint[rng.integers(height), rng.integers(width)] = 1
        hint = 1 - hint if kind < 5 else hint
    elif kind < 15:
        hint = rng.random(shape)
    elif kind < 20:  # almost the same everywhere
        hint = 0.5 + 2e-4 * (rng.random(shape) > 0.5)
    elif kind < 25:
        hint[:: rng.integers(1, 4), :: rng.integers(2, 4)] = 1
    elif kind < 30:  # foreground on the frame
        hint[[0, -1]] = hint[:, [0, -1]] = 1
    else:
        hint[height // 4 : -(height // 4), width // 4 : -(width // 4)] = rng.choice([0.6, 1.0])
    stored = rng.choice([np.float64, np.float32, np.float16, np.uint8, bool])
    found = (255 * hint if stored is np.uint8 else hint).astype(stored)
    try:
        as_hint(found, shape)
    except InputError:  # the same everywhere after rounding
        return hint
    return found


def _shape(rng: Generator) -> tuple[int, int]:
    kind = rng.integers(4)
    if kind == 0:
        return 8, 8
    if kind == 1:
        sides = 8, int(rng.integers(30, 200))
        return sides if rng.random() < 0.5 else sides[::-1]
    return int(rng.integers(8, 40)), int(rng.integers(8, 40))


def _pixel(rng: Generator, shape) -> np.ndarray:
    """One pixel is different."""
    values = np.full(shape, rng.random())
    values[rng.integers(shape[0]), rng.integers(shape[1])] = rng.random()
    return values


def _line(rng: Generator, shape) -> np.ndarray:
    values = np.full(shape, rng.random())
    values[rng.integers(shape[0])] = rng.random()
    return values if rng.random() < 0.5 else np.ascontiguousarray(values[::-1])


def _checkerboard(rng: Generator, shape) -> np.ndarray:
    period = rng.integers(1, 4)
    return np.where(sum(np.indices(shape) // period) % 2, *rng.random(2))


def _ramp(rng: Generator, shape) -> np.ndarray:
    direction = rng.normal(size=2)
    values = direction[0] * np.arange(shape[0])[:, None] + direction[1] * np.arange(shape[1])
    return (values - values.min()) / np.ptp(values)


def _noise(rng: Generator, shape) -> np.ndarray:
    return rng.random(shape)


def _salt(rng: Generator, shape) -> np.ndarray:
    return (rng.random(shape) < 0.1).astype(float)


def _faint(rng: Generator, shape) -> np.ndarray:
    """Differences that single precision just resolves, or hardly above 0."""
    return rng.choice([0.0, 0.5, 1.0]) + rng.choice([1e-7, 1e-6, 1e-30, 1e-40]) * rng.integers(-2, 3, shape)


def _halves(rng: Generator, shape) -> np.ndarray:
    """Two flat regions, black and white: no variance in either."""
    return (np.arange(shape[1]) < rng.integers(1, shape[1])) * np.ones(shape)


def _disk(rng: Generator, shape) -> np.ndarray:
    rows, columns = np.indices(shape)
    inside = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < rng.uniform(1, min(shape) / 2)
    return np.where(inside, *rng.random(2)) + rng.normal(0, rng.choice([0, 0.01, 0.3]), shape)


def _levels(rng: Generator, shape) -> np.ndarray:
    """Many flat pieces of few grey levels."""
    count = rng.integers(2, 5)
    coarse = rng.integers(0, count, (-(-shape[0] // 4), -(-shape[1] // 4))) / (count - 1)
    return np.kron(coarse, np.ones((4, 4)))[: shape[0], : shape[1]]


CONTENTS: tuple[Callable[[Generator, tuple[int, int]], np.ndarray], ...] = (
    *(_pixel, _line, _checkerboard, _ramp, _noise, _salt, _faint, _halves, _disk, _disk, _levels),
)


def _coloured(rng: Generator, values: np.ndarray) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:  # grey in three channels
        return np.repeat(values[..., None], 3, axis=2)
    if kind == 1:  # one channel says something, the others are flat
        colour = np.full((*values.shape, 3), rng.choice([0.0, 0.3, 1.0]))
        colour[..., rng.integers(3)] = values
        return colour
    if kind == 2:
        return values[..., None] * rng.random(3)
    return np.stack([values, 1 - values, values[::-1, ::-1]], axis=2)


def _stored(rng: Generator, values: np.ndarray) -> np.ndarray:
    """As 8 bits or a float of some size and byte order, and somehow laid in memory."""
    types = (np.uint8, np.uint8, np.uint8, np.float16, np.float32, np.float64, np.dtype(">f4"), np.longdouble)
    stored = types[rng.integers(len(types))]
    image = (np.rint(255 * values) if stored is np.uint8 else values).astype(stored)
    kind = rng.integers(6)
    if kind == 0:
        return np.asfortranarray(image)
    if kind == 1:  # negative strides
        return image[::-1, ::-1]
    if kind == 2:  # every second pixel of a larger array
        wide = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
        return wide[::2, ::2]
    if kind == 3:
        image.flags.writeable = False
    return image


def problems(found, name: str, preset: str, shape: tuple[int, int]) -> Iterator[str]:
    """What is wrong with a segmentation, in words."""
    labels, memberships = found.labels, found.memberships
    if labels.shape != shape or labels.dtype != np.uint8:
        yield f"labels are {labels.dtype} {labels.shape}, not uint8 {shape}"
    if memberships.shape[1:] != shape or labels.max() >= len(memberships):
        yield f"memberships are {memberships.shape}, labels reach {labels.max()}"
    if not np.isfinite(memberships).all():
        yield "memberships are not finite"
    elif memberships.min() < 0 or memberships.max() > 1 or np.abs(memberships.sum(axis=0) - 1).max() > 1e-4:
        yield "memberships are no shares of 1"
    if preset not in METHODS[name].several and (len(memberships) != 2 or found.mask.dtype != bool):
        yield "there is no mask"


def attack(number: int, methods: int, *, door: bool = False) -> Iterator[tuple[str, str, str]]:
    """Draw an image and a hint and segment it by some of the methods: (method, "mask", "refused" or "failed", why).

    By the methods' own functions, or through `deepcv.segment`, as the command line does.
    """
    rng = np.random.default_rng(number)
    image = odd_image(rng)
    shape = image.shape[:2]
    hint = odd_hint(rng, shape)
    for chosen in rng.choice(len(RUNS), methods, replace=False, p=WEIGHTS / WEIGHTS.sum()):
        name, preset = RUNS[chosen]
        settings = METHODS[name].settings(preset) | TINY.get(name, {})
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, of overflow and 0/0
            try:
                before = image.copy()
                if door:
                    taken = hint if METHODS[name].takes_hint(settings) else None
                    given = TINY.get(name, {})
                    found = segment(image, name, preset=preset, hint=taken, seed=number, device="cpu", **given)
                else:
                    found = METHODS[name].function(image, hint, seed=number, device="cpu", **settings)
                wrong = [*problems(found, name, preset, shape)]
                if not np.array_equal(image, before):
                    wrong.append("the image was changed")
                yield f"{name}:{preset}", "failed" if wrong else "mask", "; ".join(wrong)
            except InputError as error:
                told = str(error)
                yield f"{name}:{preset}", "failed" if "\n" in told else "refused", told
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{place.filename.rsplit('/', 1)[1]}:{place.lineno}"
                yield f"{name}:{preset}", "failed", f"{type(error).__name__}: {error} at {where}"


def main() -> int:
    """Attack and print a line per failure, what was refused and why, and the counts; status 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first image")
    parser.add_argument("--methods", type=int, default=1, help="of each image, drawn")
    parser.add_argument("--door", action="store_true", help="through `deepcv.segment`")
    given = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    refusals: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    for number in range(given.first, given.first + given.images):
        start = time.process_time()
        for run, outcome, why in attack(number, given.methods, door=given.door):
            counts[outcome] += 1
            seconds[run] += time.process_time() - start
            start = time.process_time()
            if outcome == "failed":
                print(f"{number} {run}: {why}", flush=True)
            elif outcome == "refused":
                refusals[f"{run}: {why}"] += 1
    for why, count in refusals.most_common(20):
        print(f"refused {count}×: {why}")
    slow = ", ".join(f"{run} {spent:.0f} s" for run, spent in seconds.most_common(5))
    print(f"{given.images} images, {sum(counts.values())} runs: {dict(counts)}; {sum(seconds.values()):.0f} s ({slow})")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
