"""What a user marks: sure foreground, sure background, undecided. One meaning for every method.

Marks and a rough belief become a hint, from which the method starts as from any other (`informed_hint`):

1. With a box, only its surroundings are looked at, a fifth of its size wider on each side.
2. The belief s is the saliency map [34], or the user's rough hint; in a box the mean of it and of the surroundings'
   map, whose border is background by what the box says. Without a box a click corrects what is found without it: s
   becomes ¾ of the cut of step 4 without marks and ¼ s; the surest tenth of that cut, and what it leaves out of the
   picture's frame, count as marks of half the weight, or a click on a thin part would flood the rest.
3. Marks spread to what is like them and what they reach through few changes of colour: with wᵢ = exp(-dᵢ/τ) for the
   distances d₁, d₂ to sure foreground and background (`distance`), p = (w₁ + κ s) / (w₁ + w₂ + κ).
4. A minimum cut (3.16) with a linear encoder of colour (`deepcv.model.colours`), the prior p, and marked pixels fixed.
   An object fills its box: the cut is repeated with a lower threshold of p until it spans `SPAN` of the box both ways
   (after Lempitsky, Kohli, Rother and Sharp, "Image segmentation with a bounding box prior", ICCV 2009, who pose this
   as a constraint).
5. The hint is ¾ of the cut and ¼ of p.

No method fixes pixels itself, so what is marked is imposed on every method's result (`held`): marked pixels have their
side, and where a mark's w is at least ½ the cut of step 4 decides. Geodesic distances from scribbles are those of Bai
and Sapiro ("Geodesic matting", IJCV 82, 2009), the formulas are ours.

A rough hint without marks is not held: it is a belief, s in steps 2 to 5, after a blur (`rough_hint`, for
`deepcv.segment` and `deepcv segment --hint`). The functions of the methods take a hint as it is, except for two kinds
that can only be marks (`marks_in`).

Constants are chosen among a handful of values on images of Weizmann's first 20 and of ECSSD 0001 to 0200: for boxes on
ten of each, for clicks on seven of each (`deepcv.companion.experiments.interaction` reports on others).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deepcv.checks import as_python
from deepcv.errors import InputError
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_array, as_colour, as_hint, as_image, resize, working_shape
from deepcv.model.marked import SIZE, told
from deepcv.segmentation import Segmentation

UNDECIDED = 128
"""The value that leaves a pixel open in marks of uint8, beside 0, sure background, and 255, sure foreground."""

MARGIN = 0.2
"""Of a box's width and height, on each side, that is looked at."""
POINT = 0.004
"""Radius of a point, in longest sides."""
CLICK = 2e-3
"""Share of the picture below which a hint of one bright spot is a click."""
BLUR = 0.04
"""σ of the blur of a rough hint, in longest sides."""
ROUGH = 0.5
"""Weight of a rough hint against the saliency map.

With an ellipse in the true box, F of the informed hint is 0.874, 0.849 and 0.816 for 0.5, 0.65 and 0.8 on ten
images of Weizmann, 0.782, 0.746 and 0.731 on ten of ECSSD; the ellipse itself has 0.765 and 0.692."""

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Seeds:
    """Points, a box and scribbles, in pixels of the image, x to the right and y downwards from the top left corner.

    Attributes
    ----------
    points, background_points : sequence of (x, y)
        Clicks on the object and beside it; each stands for a small disc. Here and in the box any sequence or array
        becomes a tuple of floats.
    box : (left, top, right, bottom), optional
        It holds the whole object, nearly touches it on each side, and outside of it all is background.
    foreground, background : array_like, `(h, w)`, optional
        Scribbles of any size: bool, or a picture that is bright (above the middle of its range) where drawn on. They
        are stretched to the image. A picture is uint8, or float in [0, 1].

    Raises
    ------
    InputError
        For what is no point or box.
    """

    points: Sequence[Point] = ()
    background_points: Sequence[Point] = ()
    box: tuple[float, float, float, float] | None = None
    foreground: Any = None
    background: Any = None

    def __post_init__(self):
        for name in ("points", "background_points"):
            given = getattr(self, name)
            if not np.iterable(given):
                raise InputError(f"{name} is {given!r}; give a sequence of points, such as [(120, 90)]")
            points = (_numbers(point, 2, f"a point of {name}", "x and y, such as (120, 90)") for point in given)
            object.__setattr__(self, name, tuple(points))
        if self.box is not None:
            box = _numbers(self.box, 4, "box", "left, top, right, bottom, such as (80, 40, 300, 220)")
            left, top, right, bottom = box
            if not (left < right and top < bottom):
                raise InputError(f"box is {self.box}; right must exceed left, and bottom must exceed top")
            object.__setattr__(self, "box", box)

    def __bool__(self) -> bool:
        """Whether anything is marked."""
        marks = (self.box, self.foreground, self.background)
        return bool(self.points or self.background_points or any(each is not None for each in marks))

    def scaled(self, across: float, down: float) -> Seeds:
        """The same in an image resized by these factors."""

        def moved(points: Sequence[Point]) -> list[Point]:
            return [(x * across, y * down) for x, y in points]

        box = self.box and (self.box[0] * across, self.box[1] * down, self.box[2] * across, self.box[3] * down)
        return dataclasses.replace(
            self, points=moved(self.points), background_points=moved(self.background_points), box=box
        )

    def marks(self, shape: tuple[int, int]) -> np.ndarray:
        """1 sure foreground, 0 sure background, NaN undecided: float32 `(H, W)`.

        Where scribbles of both kinds meet, pixels stay undecided.

        Raises
        ------
        InputError
            For a point or box that isn't in the image, foreground outside the box, or a scribble without a stroke.
        """
        inside = ~self.outside(shape)
        on, off = (
            _discs(points, shape, name) | _stroke(stroke, shape, title)
            for points, name, stroke, title in (
                (self.points, "points", self.foreground, "foreground"),
                (self.background_points, "background_points", self.background, "background"),
            )
        )
        _check_in_box(self, shape)
        on &= inside
        marks = np.full(shape, np.nan, np.float32)
        marks[off | ~inside], marks[on] = 0, 1
        marks[on & off] = np.nan
        return marks

    def outside(self, shape: tuple[int, int]) -> np.ndarray:
        """Where the box leaves nothing but background, bool `(H, W)`.

        `InputError` is raised for a box without a pixel of the image.
        """
        outside = np.zeros(shape, bool)
        if self.box is not None:
            rows, columns = _pixels(self.box, shape)
            outside[:] = True
            outside[rows, columns] = False
            if outside.all():
                height, width = shape
                raise InputError(f"box is {self.box}, which has no pixel of the image, {width}×{height}; move it")
        return outside


def check_inside(seeds: Seeds, shape: tuple[int, int]) -> None:
    """Raise the errors of `Seeds.marks` about points and the box, before they are scaled to a reduced image."""
    height, width = shape
    for name in ("points", "background_points"):
        for x, y in getattr(seeds, name):
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(_not_inside(x, y, name, shape))
    if seeds.box is not None:
        rows, columns = _pixels(seeds.box, shape)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            raise InputError(f"box is {seeds.box}, which has no pixel of the image, {width}×{height}; move it")
        _check_in_box(seeds, shape)


def _check_in_box(seeds: Seeds, shape: tuple[int, int]) -> None:
    """Raise `InputError` for a foreground point that is outside the box by a pixel or more: both may be rounded."""
    if seeds.box is None:
        return
    rows, columns = _pixels(seeds.box, shape)
    for x, y in seeds.points:
        if not (columns.start - 1 <= int(x) <= columns.stop and rows.start - 1 <= int(y) <= rows.stop):
            raise InputError(f"the foreground point ({x:g}, {y:g}) lies outside the box {seeds.box}; enlarge the box")


def _not_inside(x: float, y: float, name: str, shape: tuple[int, int]) -> str:
    return f"the point ({x:g}, {y:g}) of {name} isn't in the image, {shape[1]}×{shape[0]}; move it"


def _numbers(values, count: int, what: str, example: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{what} is {values!r}; give {count} numbers: {example}")
    return numbers


def _pixels(box: Sequence[float], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box, within the image."""
    left, top, right, bottom = box
    columns, rows = (
        slice(*(int(np.clip(round(end), 0, side)) for end in ends))
        for ends, side in (((left, right), shape[1]), ((top, bottom), shape[0]))
    )
    return rows, columns


def _discs(points: Sequence[Point], shape: tuple[int, int], name: str) -> np.ndarray:
    height, width = shape
    marked = np.zeros(shape, bool)
    radius = max(1.0, POINT * max(shape))
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(_not_inside(x, y, name, shape))
        rows, columns = np.ogrid[:height, :width]
        marked |= np.hypot(rows - int(y), columns - int(x)) <= radius
    return marked


def _stroke(stroke, shape: tuple[int, int], name: str) -> np.ndarray:
    if stroke is None:
        return np.zeros(shape, bool)
    array = as_array(stroke, f"the {name} scribble")
    if array.ndim != 2 or not array.size:
        raise InputError(f"the {name} scribble is {array.shape}; give a grey picture, (h, w)")
    if array.dtype not in (bool, np.uint8) and not (np.issubdtype(array.dtype, np.floating) and _in_unit(array)):
        kind = f"{array.dtype}, from {array.min()} to {array.max()}"
        raise InputError(f"the {name} scribble is {kind}; give bool, uint8, or floats in [0, 1]")
    drawn = array > (0 if array.dtype == bool else 127 if array.dtype == np.uint8 else 0.5)
    if not drawn.any():
        raise InputError(f"the {name} scribble has no stroke; draw in white on black")
    return _reduced(drawn, shape)


def _in_unit(array: np.ndarray) -> bool:
    return bool(((array >= 0) & (array <= 1)).all())


def as_marks(seeds, shape: tuple[int, int]) -> np.ndarray:
    """Marks, float32 `(H, W)`: 1 sure foreground, 0 sure background, NaN undecided.

    Parameters
    ----------
    seeds : Seeds or array_like, `(H, W)`
        An array is float with 1, 0 and NaN, or uint8 with 255, 0 and `UNDECIDED`.
    shape : tuple of int
        The image's `(H, W)`.

    Raises
    ------
    InputError
        For another shape, dtype or value, and where nothing is marked.
    """
    if isinstance(seeds, Seeds):
        marks = seeds.marks(shape)
    else:
        array = as_array(seeds, "seeds")
        if array.ndim != 2:
            raise InputError(
                f"seeds are {seeds!r:.60}; give an array (H, W), or deepcv.Seeds with points, a box or scribbles"
            )
        if array.shape != tuple(shape):
            raise InputError(f"seeds are {array.shape} but the image is {tuple(shape)}; resize the seeds to its size")
        if array.dtype == np.uint8:
            marks = np.select([array == 0, array == 255, array == UNDECIDED], [0, 1, np.nan], default=2)
        elif np.issubdtype(array.dtype, np.floating):
            marks = np.where(np.isnan(array) | np.isin(array, (0, 1)), array, 2)
        else:
            raise InputError(f"seeds are {array.dtype}; give floats (1, 0, NaN) or uint8 (255, 0, {UNDECIDED})")
        if (wrong := marks == 2).any():
            raise InputError(
                f"seeds have the value {array[wrong][0]}; they may be 1 (foreground), 0 (background) and NaN "
                f"(undecided), or of uint8 255, 0 and {UNDECIDED}; what is likely but not sure is a hint"
            )
    if np.isnan(marks).all() and getattr(seeds, "box", None) is None:  # a box may hold the whole image
        if isinstance(seeds, Seeds) and seeds:
            raise InputError("the marks of the object and of the background cover the same pixels; move one of them")
        raise InputError("seeds mark no pixel; mark some of the object or of the background, or omit them")
    return marks.astype(np.float32)


def seeds_of(marks: np.ndarray) -> Seeds:
    """Marks as of `as_marks` as scribbles, which can be resized."""
    on, off = marks == 1, marks == 0
    return Seeds(foreground=on if on.any() else None, background=off if off.any() else None)


def marks_in(hint) -> np.ndarray | None:
    """The marks that a hint can only mean, or None.

    Two kinds: 0, 1 and ½ (of uint8 0, 255 and 127 or 128), where ½ can only be undecided; and 0 but for one level in
    less than `CLICK` of the pixels, which is a click on the object: the rest is undecided.
    """
    array = as_array(hint, "the hint")
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.ndim != 2 or array.dtype not in (np.uint8, np.float16, np.float32, np.float64) or not array.size:
        return None
    top, half = (255, (127, UNDECIDED)) if array.dtype == np.uint8 else (1, (0.5,))
    open_ = np.isin(array, half)
    if open_.any():
        on, off = array == top, array == 0
        return np.select([on, off], [1.0, 0.0], np.nan) if (on | off | open_).all() and (on | off).any() else None
    bright = array > 0
    if 0 < bright.mean() < CLICK and np.ptp(array[bright]) == 0:
        return np.where(bright, 1.0, np.nan)
    return None


# -- From marks to a hint ----------------------------------------------------------------------------------------------


class Informed(NamedTuple):
    """What marks and a belief say about a window of an image.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns of the image; the rest is background.
    hint : numpy.ndarray of float32, `(h, w)`
    cut : numpy.ndarray of bool, `(h, w)`
        The cut.
    near : numpy.ndarray of bool, `(h, w)`
        Where a mark reaches.
    """

    window: tuple[slice, slice]
    hint: np.ndarray
    cut: np.ndarray
    near: np.ndarray


def informed_hint(image: np.ndarray, seeds, hint=None) -> Informed:
    """What marks, with the saliency map or a rough hint, say: steps 1 to 5 above.

    Parameters
    ----------
    image : numpy.ndarray
        As `as_image` returns it.
    seeds : Seeds or array_like, `(H, W)`, optional
        As for `as_marks`; None for a rough hint alone.
    hint : array_like, `(H, W)`, optional
        A belief in [0, 1], in the saliency map's place.
    """
    shape = image.shape[:2]
    marks = np.full(shape, np.nan, np.float32) if seeds is None else as_marks(seeds, shape)
    box = seeds.box if isinstance(seeds, Seeds) else None
    window = _window(box, shape)
    belief = (_saliency(image) if hint is None else as_hint(hint, shape))[window]
    part, marks = np.ascontiguousarray(image[window]), marks[window]
    if (part == part[:1, :1]).all():
        raise InputError("in and around the box the image has one colour; move or enlarge the box")
    if box is not None:
        belief = (belief + _saliency(part)) / 2
    small = working_shape(part.shape[:2], SIZE)
    pixels = as_colour(resize(part, small))
    on, off = (_reduced(marks == side, small) for side in (1, 0))
    off &= ~on
    found, p, reach = told(pixels, resize(belief, small), on, off, boxed=box is not None)
    enlarged, believed, near = (resize(each.astype(np.float32), part.shape[:2]) for each in (found, p, reach))
    surer = np.where(np.isnan(marks), 0.75 * enlarged + 0.25 * believed, marks)
    if np.ptp(surer) < 1e-3:  # nothing is told apart
        surer = belief
    return Informed(window, surer.astype(np.float32), enlarged > 0.5, near >= 0.5)


def _saliency(image: np.ndarray) -> np.ndarray:
    """The saliency map; those of the last images are kept, since a second click comes soon after the first."""
    key = image.shape, hashlib.sha256(image.tobytes()).hexdigest()
    found = _maps.get(key)
    if found is None:
        found = structured_matrix_decomposition(image)
        with _lock:  # threads may segment at once
            _maps[key] = found
            while len(_maps) > _KEPT:
                del _maps[next(iter(_maps))]
    return found


_maps: dict[tuple, np.ndarray] = {}
_lock = threading.Lock()
_KEPT = 4


def _window(box: Sequence[float] | None, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box and its margin; all without a box."""
    if box is None:
        return slice(0, shape[0]), slice(0, shape[1])
    left, top, right, bottom = box
    across, down = (max(MARGIN * side, 16) for side in (right - left, bottom - top))
    return _pixels((left - across, top - down, right + across, bottom + down), shape)


def _reduced(marked: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Marked pixels, bool, at another size: where they cover 0.3 of a pixel, or if less as much as anywhere.

    A stroke that would be lost, thinner than another one, is reduced by itself.
    """
    from scipy.ndimage import label

    cover = resize(marked.astype(np.float32), shape)
    found = cover >= np.clip(0.99 * cover.max(), 1e-6, 0.3)
    if shape[0] >= marked.shape[0] and shape[1] >= marked.shape[1]:
        return found
    strokes, count = label(marked, np.ones((3, 3)))
    rows, columns = (np.arange(side) * now // side for side, now in zip(marked.shape, shape, strict=True))
    kept = np.zeros(count + 1, bool)
    kept[strokes[found[np.ix_(rows, columns)]]] = True
    lost = ~kept
    lost[0] = False
    return found | _reduced(lost[strokes], shape) if lost.any() and not lost[1:].all() else found


def rough_hint(image, hint) -> np.ndarray:
    """A user's rough hint as one for a method that is held to its hint throughout: float32 `(H, W)`.

    It is blurred and mixed with the saliency map, and becomes the belief of `informed_hint`: an ellipse around an
    object says less about its outline than the picture does.

    Parameters
    ----------
    image : array_like
        As for `as_image`.
    hint : array_like, `(H, W)`
        As for `as_hint`.
    """
    import cv2

    image = as_image(image)
    shape = image.shape[:2]
    blurred = cv2.GaussianBlur(as_hint(hint, shape), (0, 0), BLUR * max(shape))
    return informed_hint(image, None, ROUGH * blurred + (1 - ROUGH) * _saliency(image)).hint


# -- Every method ------------------------------------------------------------------------------------------------------


def with_seeds(function: Callable[..., Segmentation], image, hint, seeds, **keywords) -> Segmentation:
    """Run a method from what is marked, and hold it to that: `informed_hint`, the method, `held`.

    Without seeds, and unless the hint can only be marks (`marks_in`), the method is called as it is.

    Raises
    ------
    InputError
        For unusable seeds, more than two regions, and as the method.
    """
    if seeds is None and hint is not None and (seeds := marks_in(hint)) is not None:
        hint = None
    if seeds is None:
        return function(image, hint, **keywords)
    if keywords.get("phases", 2) > 2 or not keywords.get("merge", True):
        raise InputError(
            "seeds, or a hint of 0, 1 and ½ alone, tell an object from its background; ask for two regions or omit it"
        )
    image = as_image(image)
    informed = informed_hint(image, seeds, hint)
    found = function(np.ascontiguousarray(image[informed.window]), informed.hint, **keywords)
    return held(found, informed, as_marks(seeds, image.shape[:2]))


def held(found: Segmentation, informed: Informed, marks: np.ndarray) -> Segmentation:
    """A method's result in a window, held to marks `(H, W)`, at the image's size.

    Near a mark the cut decides; marked pixels have their side; outside the window is background.
    """
    labels, u = np.zeros(marks.shape, np.uint8), np.zeros(marks.shape, np.float32)
    mask = np.where(informed.near, informed.cut, found.mask)
    labels[informed.window] = mask
    u[informed.window] = np.where(informed.near, informed.cut, found.memberships[1])
    for array in (labels, u):
        array[marks == 1], array[marks == 0] = 1, 0
    return dataclasses.replace(found, labels=labels, memberships=np.stack((1 - u, u)))


def takes_seeds(method: Callable[..., Segmentation]) -> Callable[..., Segmentation]:
    """The method with a keyword `seeds`, as for `with_seeds`, which its docstring tells."""

    def call(image, hint=None, **keywords):
        keywords = {name: as_python(value) for name, value in keywords.items()}
        return with_seeds(method, image, hint, keywords.pop("seeds", None), **keywords)

    wrapped: Any = functools.wraps(method)(call)
    wrapped.takes_seeds = True
    wrapped.__kwdefaults__ = method.__kwdefaults__  # `deepcv.checks.checked_settings` asks for them
    summary, *rest = inspect.cleandoc(method.__doc__ or "").split("\n\n", 1)
    wrapped.__doc__ = "\n\n".join((summary, _SEEDS, *rest))
    return wrapped


_SEEDS = """The keyword `seeds` says what is sure, a `deepcv.seeds.Seeds` or an array as for `deepcv.seeds.as_marks`:
marked pixels keep their side."""
