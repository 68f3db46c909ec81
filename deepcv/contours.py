"""Objects in a mask, and their outlines along the edges of pixels."""

from __future__ import annotations

import functools
import itertools

import numpy as np

Ring = list[tuple[int, int]]


class Objects:
    """The objects of a bool mask `(H, W)`: pixels that share sides. They are numbered, and traced, once, if asked for.

    Attributes
    ----------
    mask : numpy.ndarray of bool, `(H, W)`
    labels : numpy.ndarray of int32, `(H, W)`
        0 in the background, 1, 2 … in the objects.
    boxes : numpy.ndarray of int, `(objects, 5)`
        Left, top, width, height and area of each, in pixels.
    outlines : list of list of Ring
        `polygons` of the labels.
    """

    def __init__(self, mask: np.ndarray):
        self.mask = mask

    @functools.cached_property
    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        _, labels, boxes, _ = cv2.connectedComponentsWithStats(self.mask.view(np.uint8), connectivity=4)
        return labels, boxes[1:]

    @property
    def labels(self) -> np.ndarray:
        return self._numbered[0]

    @property
    def boxes(self) -> np.ndarray:
        return self._numbered[1]

    @functools.cached_property
    def outlines(self) -> list[list[Ring]]:
        return polygons(self.labels)

    def largest(self) -> np.ndarray:
        """The largest alone, bool `(H, W)`."""
        return self.labels == 1 + self.boxes[:, 4].argmax() if len(self.boxes) else self.mask


def polygons(labels: np.ndarray) -> list[list[Ring]]:
    """The outlines of each object along the edges of its pixels, as rings of corners (x, y) that end where they start.

    `labels` are those of `Objects`. The first ring of an object is its outer one, the others are its holes. No ring
    touches itself: where the outer ring would, a hole touches it. The shoelace formula gives a positive area for outer
    rings and a negative one for holes (RFC 7946); together they give the number of pixels.
    """
    following = _edges(labels > 0)
    found: list[list[Ring]] = [[] for _ in range(int(labels.max(initial=0)))]
    while following:
        corner, way = next(iter(following)), (0, 0)
        path, place = [corner], {corner: 0}
        while path:
            ways = following[corner]
            right = (-way[1], way[0])  # where two pixels touch by a corner alone, stay at the one
            way = right if right in ways else ways[0]
            ways.remove(way)
            if not ways:
                del following[corner]
            corner = (corner[0] + way[0], corner[1] + way[1])
            if corner not in place:
                place[corner] = len(path)
                path.append(corner)
                continue
            ring = [*path[place[corner] :], corner]  # closed; what led to it goes on
            for each in ring[1:-1]:
                del place[each]
            del path[place[corner] + 1 :]
            rings = found[labels[_pixel(*ring[:2])] - 1]
            rings.insert(0 if doubled_area(ring) > 0 else len(rings), _straightened(ring))
            if len(path) == 1:
                break
    return found


def doubled_area(ring: Ring) -> int:
    """Twice the signed area of a closed ring, by the shoelace formula."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in itertools.pairwise(ring))


def _edges(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner the steps along the boundary that have the foreground on their right (y points down)."""
    padded = np.pad(mask, 1)
    upper, lower, left, right = padded[:-1], padded[1:], padded[:, :-1], padded[:, 1:]
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for inside, outside, way, (y, x) in (
        (lower, upper, (1, 0), (0, -1)),
        (upper, lower, (-1, 0), (0, 0)),
        (left, right, (0, 1), (-1, 0)),
        (right, left, (0, -1), (0, 0)),
    ):
        rows, columns = np.nonzero(inside > outside)
        for corner in zip((columns + x).tolist(), (rows + y).tolist(), strict=True):
            following.setdefault(corner, []).append(way)
    return following


def _pixel(corner: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the pixel on the right of a step."""
    (x, y), way = corner, (after[0] - corner[0], after[1] - corner[1])
    return {(1, 0): (y, x), (0, 1): (y, x - 1), (-1, 0): (y - 1, x - 1), (0, -1): (y - 1, x)}[way]


def _straightened(ring: Ring) -> Ring:
    """A closed ring of unit steps without the corners that lie on a straight line."""
    around = [ring[-2], *ring]
    turns = [
        at
        for before, at, after in zip(around, ring[:-1], ring[1:], strict=False)
        if (at[0] - before[0], at[1] - before[1]) != (after[0] - at[0], after[1] - at[1])
    ]
    return [*turns, turns[0]]
