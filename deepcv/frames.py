"""Constant frames of a picture: borders, letterboxes, and the wedges in the corners of a turned scan.

They are no part of the scene, but methods would take their straight edges for its strongest ones. A strip of one colour
along a side is a frame if the picture beyond begins along its whole length; a plain backdrop behind an object isn't.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepcv.images import SMALLEST_SIDE

TOLERANCE = 12
"""How far, in levels of 255, the samples of a frame may lie from its colour: JPEG leaves ripples."""
BEGINS = 0.6
"""Share of the first line beyond a frame that must have another colour, by at least `STEP` levels."""
STEP = 30
RIPPLED, BLOCK = 0.8, 16
"""Share of a line that lies within `STEP` where the edge of a frame ripples, and how many such lines there may be: JPEG
codes colours in blocks of 16×16 pixels."""
ALSO = 0.2
"""The same share where a frame of this colour was found at another side: the scene may be dark at one side."""
SMALLEST = 0.2
"""Share of each side that must be left within."""
WIDEST = 0.2
"""Share of a side that a strip may take where there are vertical and horizontal ones: an upright book, sign or window
on a plain backdrop looks like a picture in a wider frame."""
_WEDGE = 2e-3  # of the picture's area, the smallest triangle
_NARROWEST = 4  # pixels, the shorter leg of a triangle
_BLENDED = 2  # pixels beside a wedge that are mixed with it


@dataclass(frozen=True)
class Scene:
    """What a picture shows within its frame.

    Attributes
    ----------
    rows, columns : slice
        Of the picture, without strips along the sides.
    outside : numpy.ndarray of bool, `(h, w)`, optional
        Wedges in the corners of this part.
    """

    rows: slice
    columns: slice
    outside: np.ndarray | None = None

    def cut(self, values: np.ndarray) -> np.ndarray:
        """The scene's part of an array `(H, W)` or `(H, W, C)`."""
        return values[self.rows, self.columns]

    def shown(self, pixels: np.ndarray) -> np.ndarray:
        """The scene, with wedges filled by what is mirrored in their edges."""
        inside = self.cut(pixels)
        if self.outside is None:
            return np.ascontiguousarray(inside)
        from scipy.ndimage import distance_transform_edt

        nearest = distance_transform_edt(self.outside, return_distances=False, return_indices=True)
        here = np.indices(self.outside.shape)
        limits = np.reshape(self.outside.shape, (2, 1, 1)) - 1
        mirrored = np.clip(2 * nearest - here, 0, limits)
        place = np.where(self.outside[tuple(mirrored)], nearest, mirrored)
        return np.ascontiguousarray(inside[tuple(place)])

    def framed(self, labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Labels of the scene `(h, w)`, in the picture's shape `(H, W)`: 0 in the frame.

        The line beside a strip, which may be mixed with it, has the labels of the next.
        """
        whole = np.zeros(shape, labels.dtype)
        inside = labels if self.outside is None else np.where(self.outside, 0, labels)
        rows, columns = (
            (each.start - (each.start > 0), each.stop + (each.stop < side))
            for each, side in zip((self.rows, self.columns), shape, strict=True)
        )
        pads = (
            (self.rows.start - rows[0], rows[1] - self.rows.stop),
            (self.columns.start - columns[0], columns[1] - self.columns.stop),
        )
        whole[slice(*rows), slice(*columns)] = np.pad(inside, pads, mode="edge")
        return whole

    def extended(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Values of the scene `(h, w)`, in the picture's shape `(H, W)`: in the strips those nearest to them."""
        pads = [(each.start, side - each.stop) for each, side in zip((self.rows, self.columns), shape, strict=True)]
        return np.pad(values, pads, mode="edge")


def scene(pixels: np.ndarray) -> Scene | None:
    """The scene of a picture, uint8 `(H, W)` or `(H, W, 3)`; None if there is no frame."""
    channels = np.atleast_3d(pixels)
    height, width = channels.shape[:2]
    strips = _strips(channels)
    inside = channels[strips["top"] : height - strips["bottom"], strips["left"] : width - strips["right"]]
    if min(inside.shape[0] / height, inside.shape[1] / width) < SMALLEST or np.ptp(inside) <= 2 * TOLERANCE:
        return None
    if min(inside.shape[:2]) < SMALLEST_SIDE + 2:  # too small to be segmented
        return None
    both = inside.shape[0] < height and inside.shape[1] < width
    if both and max(_shares(strips, (height, width)).values()) > WIDEST:
        return None
    blended = {side: width + 1 if width else 0 for side, width in strips.items()}  # the next line may be mixed with it
    rows, columns = slice(blended["top"], height - blended["bottom"]), slice(blended["left"], width - blended["right"])
    outside = _wedges(np.ascontiguousarray(channels[rows, columns]))
    return Scene(rows, columns, outside) if any(strips.values()) or outside is not None else None


def described(found: Scene, shape: tuple[int, int], how: str = " as background") -> str:
    """What is left out, a clause, and what becomes of it."""
    height, width = shape
    strips = {
        "top": found.rows.start,
        "bottom": height - found.rows.stop,
        "left": found.columns.start,
        "right": width - found.columns.stop,
    }
    parts = [f"{share:.1%} at the {side}" for side, share in _shares(strips, shape).items()]
    parts += ["wedges in the corners"] * (found.outside is not None)
    return f"a frame of one colour is left out{how} ({', '.join(parts)}); --keep-frame keeps it"


def _shares(strips: dict[str, int], shape: tuple[int, int]) -> dict[str, float]:
    return {side: width / shape[side in ("left", "right")] for side, width in strips.items() if width}


_SIDES = ("top", "bottom", "left", "right")


def _strips(channels: np.ndarray, sides: frozenset[str] = frozenset(_SIDES)) -> dict[str, int]:
    """Widths of the constant strips along the sides of `(H, W, C)`; 0 where there is none."""
    widths = dict.fromkeys(_SIDES, 0)
    colours = {side: np.median(_line(channels, side, widths), axis=0) for side in sides}
    while growing := [  # all sides by the same state, so that a flipped picture has the flipped strips
        side
        for side in sides
        if _left(channels, side, widths) > 2 and _like(_line(channels, side, widths), colours[side]) > 0.99
    ]:
        for side in growing:
            widths[side] += 1
    settled, rippled = dict(widths), {side for side in sides if widths[side]}
    for _ in range(BLOCK):
        rippled = {
            side
            for side in rippled
            if _left(channels, side, widths) > 2 and _like(_line(channels, side, widths), colours[side], STEP) > RIPPLED
        }
        for side in rippled:
            widths[side] += 1
    widths |= {
        side: settled[side] for side in sides if widths[side] > settled[side] and not _ends(channels, side, widths)
    }
    begins = {side: 1 - _like(_line(channels, side, widths), colours[side], STEP) for side in sides if widths[side]}
    sure = [colours[side] for side, share in begins.items() if share >= BEGINS]
    plain = {
        side
        for side, share in begins.items()
        if share < (ALSO if any(_like(colours[side][None], each) for each in sure) else BEGINS)
    }
    return _strips(channels, sides - plain) if plain else widths


def _ends(channels: np.ndarray, side: str, widths: dict[str, int]) -> bool:
    """Whether an edge ends the ripples of a strip; in a gradient there is none."""
    last = _line(channels, side, {**widths, side: max(0, widths[side] - 2)}).astype(np.float32)
    beyond = _line(channels, side, widths)
    return _like(beyond, last, STEP) <= 1 - BEGINS


def _line(channels: np.ndarray, side: str, widths: dict[str, int]) -> np.ndarray:
    """The outermost line `(n, C)` at a side within strips of these widths."""
    height, width = channels.shape[:2]
    inside = channels[widths["top"] : height - widths["bottom"], widths["left"] : width - widths["right"]]
    return {"top": inside[0], "bottom": inside[-1], "left": inside[:, 0], "right": inside[:, -1]}[side]


def _left(channels: np.ndarray, side: str, widths: dict[str, int]) -> int:
    """Number of lines parallel to a side that are left within the strips."""
    first, second = ("top", "bottom") if side in ("top", "bottom") else ("left", "right")
    return channels.shape[0 if first == "top" else 1] - widths[first] - widths[second]


def _like(line: np.ndarray, colour: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """Share of a line that has a colour."""
    return float((np.abs(line - colour) <= tolerance).all(axis=1).mean())


def _wedges(channels: np.ndarray) -> np.ndarray | None:
    """What surrounds a turned scene in `(h, w, C)`, bool `(h, w)`; None if nothing does.

    Right triangles of one colour in two corners or more, or all that isn't in a tilted rectangle that reaches all four
    sides.
    """
    import cv2

    height, width = channels.shape[:2]
    triangles, filled = (np.zeros((height, width), np.uint8) for _ in range(2))
    count = 0
    for y, x in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)):
        area, corner = _filled(channels, y, x)
        across, down = _run(corner[y, :: -1 if x else 1]), _run(corner[:: -1 if y else 1, x])
        straight = abs(area - across * down / 2) <= 0.08 * area + (across + down) / 2
        if straight and area >= _WEDGE * corner.size and _NARROWEST <= across < width and _NARROWEST <= down < height:
            triangles |= corner
            count += 1
        filled |= corner
    found = triangles if count > 1 else _around_rectangle(filled)
    if found is None:
        return None
    return cv2.dilate(found, np.ones((2 * _BLENDED + 1,) * 2, np.uint8)) > 0


def _filled(channels: np.ndarray, y: int, x: int) -> tuple[int, np.ndarray]:
    """The pixels of one colour that are connected to a corner: their number, and where they are."""
    import cv2

    height, width, depth = channels.shape
    mask = np.zeros((height + 2, width + 2), np.uint8)
    near = (TOLERANCE,) * depth
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | (1 << 8)
    area, *_ = cv2.floodFill(channels.copy(), mask, (x, y), 0, near, near, flags)
    return area, mask[1:-1, 1:-1]


def _around_rectangle(filled: np.ndarray) -> np.ndarray | None:
    """The outside of a tilted rectangle that reaches all four sides, if that is what is filled; uint8."""
    import cv2

    height, width = filled.shape
    shown = filled == 0
    y = np.flatnonzero(shown.any(axis=1))
    if not len(y) or filled.mean() < _WEDGE:
        return None
    left, right = shown[y].argmax(axis=1), width - 1 - shown[y, ::-1].argmax(axis=1)
    if max(left.min(), y[0], width - 1 - right.max(), height - 1 - y[-1]) > 2:
        return None
    ends = np.stack([np.concatenate([left, right]), np.tile(y, 2)], axis=1)  # with the convex hull of all pixels shown
    rectangle = cv2.minAreaRect(ends.astype(np.float32))
    inside = cv2.fillConvexPoly(np.zeros_like(filled), np.rint(cv2.boxPoints(rectangle)).astype(np.int32), 1)
    if not 0.5 < rectangle[2] % 90 < 89.5 or np.count_nonzero(inside != shown) > 0.03 * shown.sum() or inside.all():
        return None
    return 1 - inside


def _run(line: np.ndarray) -> int:
    """Number of ones at the beginning of a line."""
    return int(line.size if line.all() else line.argmin())
