"""Segment a picture of any size by any method: what `deepcv.segment`, the command line and the napari plugin share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np

from deepcv.checks import Seed, as_python, at_least, check_value
from deepcv.confidence import DOUBTFUL, belief, told
from deepcv.confidence import confidence as confidence_in
from deepcv.contours import Objects
from deepcv.errors import InputError
from deepcv.frames import described, scene
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.hints.settings import SaliencySettings
from deepcv.images import (
    SMALLEST_SIDE,
    as_array,
    as_colour,
    as_hint,
    as_image,
    checked,
    resize,
    to_uint8,
    working_shape,
)
from deepcv.methods import Method, with_preset
from deepcv.orientation import Turn, canonical
from deepcv.pictures import enlarged
from deepcv.seeds import CLICK, UNDECIDED, Seeds, as_marks, check_inside, marks_in, rough_hint, seeds_of, with_seeds
from deepcv.segmentation import Segmentation
from deepcv.tones import NU, evened, many_objects, root

WORKING_SIZE = 1024
"""Longest side in pixels for methods without a bound of their own. Every method then needs less than 1 GiB and most a
few seconds; GrabCut needs a quarter of a minute, the statistical model one and multi-phase Chan-Vese two."""


@dataclass(frozen=True)
class Found(Segmentation):
    """What a method found in a picture.

    Attributes
    ----------
    memberships : numpy.ndarray of float32, `(N, h, w)`
        Of `segment_picture` at the size that the method worked on or the picture's.
    notes : tuple of str
        What was done to the picture, and warnings, a clause each.
    belief : numpy.ndarray of float32, `(h, w)`, optional
        How probably each pixel is foreground (`deepcv.confidence.belief`), at the memberships' size, where two phases
        started from the saliency map.
    confidence : float, optional
        Of the whole mask (`deepcv.confidence.confidence`), likewise, if it was asked for; of the picture as it was
        turned and reduced, so it may differ by some hundredths from that of the mask at full size.
    """

    notes: tuple[str, ...] = ()
    belief: np.ndarray | None = None
    confidence: float | None = None


def segment(
    image,
    method: str = "deep-cv",
    *,
    hint=None,
    seeds=None,
    preset: str = "default",
    keep_frame: bool = False,
    confidence: bool = False,
    seed: int = 0,
    device: str | None = None,
    **settings,
) -> Found:
    """Segment an image by any method, from nothing, a rough hint, or what is marked, as `deepcv segment` does.

    `segment_picture` says what is done to the image first. Up to 2048 pixels the mask is the command line's, which
    reduces larger pictures while it reads them.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    method : str
        As for `get_method`; also "method:preset".
    hint : array_like, `(h, w)`, optional
        Where the foreground probably is, of any size: bool, uint8, or float in [0, 1]. Unlike the hint of a method's
        own function, it is taken for rough by methods with a weight on the hint (`deepcv.seeds.rough_hint`).
    seeds : deepcv.seeds.Seeds or array_like, `(H, W)`, optional
        What is sure: points, a box, scribbles; or 1 foreground, 0 background, NaN undecided. Sure pixels keep their
        side with every method.
    keep_frame : bool
        Whether a frame of one colour is part of the scene.
    confidence : bool
        Whether to ask for a second opinion, which takes about a fifth of the time.
    preset, seed, device, **settings
        The method's; and `size`, the longest side in pixels, for those without it; None is `WORKING_SIZE`.

    Returns
    -------
    Found
        At the image's size.

    Raises
    ------
    InputError
        For an unknown method, preset or setting, and unusable image, hint or seeds.

    Examples
    --------
    >>> import numpy as np
    >>> from deepcv.seeds import Seeds
    >>> image = np.full((40, 60), 0.2)
    >>> image[10:30, 20:45] = 0.8
    >>> segment(image, "hint-cut", seeds=Seeds(box=(20, 10, 45, 30))).mask.sum()
    np.int64(500)
    """
    seed, settings = as_python(seed), {name: as_python(value) for name, value in settings.items()}
    chosen, preset = with_preset(method, preset)
    chosen_here = {name for name in ("nu", "balance") if name not in settings and preset == "default"}
    size = {"size": settings.pop("size")} if "size" in settings and not chosen.has_setting("size") else {}
    resolved = chosen.settings(preset, **settings)
    if (hint is not None or seeds is not None) and not chosen.takes_hint(resolved):
        raise InputError(f"{chosen.name} with these settings doesn't use a hint; omit hint and seeds")
    check_value("seed", seed, Seed)
    pixels = checked(_as_given(image))
    if seeds is not None:
        if isinstance(seeds, Seeds):
            check_inside(seeds, pixels.shape[:2])
        else:
            seeds = seeds_of(as_marks(_plain(seeds, "seeds", "1", "L"), pixels.shape[:2]))
        resolved["seeds"] = seeds
    resolved |= size | {"seed": seed, "device": device}
    found = segment_picture(
        chosen, pixels, hint, resolved, keep_frame=keep_frame, may_choose=chosen_here, confidence=confidence
    )
    memberships = found.memberships
    if memberships.shape[1:] != pixels.shape[:2]:
        memberships = np.stack([resize(each, pixels.shape[:2]) for each in memberships])
    believed = None if found.belief is None else resize(found.belief, pixels.shape[:2])
    found = with_warnings(replace(found, memberships=memberships, belief=believed), pixels)
    return replace(found, notes=tuple(map(_in_python, found.notes)))


def _in_python(note: str) -> str:
    """A note with keywords for the command line's options."""
    return re.sub(r"--size (\d+)", r"size=\1", note).replace("--keep-frame keeps", "keep_frame=True keeps")


def _plain(values, name: str, *modes: str) -> np.ndarray:
    """The array of what was given; raises `InputError` for what NumPy would misread, as other modes of Pillow."""
    if hasattr(values, "getbands") and values.mode not in modes:
        raise InputError(f"the {name} has Pillow's mode {values.mode}; convert it first: {name}.convert('{modes[-1]}')")
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, and no pixel can be left out; fill it first, by {name}.filled(0)")
    return as_array(values, f"the {name}")


def _hint_as_given(hint) -> np.ndarray:
    array = _plain(hint, "hint", "1", "L")
    if array.dtype == np.uint8 and array.size and array.max() == 1:
        raise InputError("the hint is uint8, from 0 to 1, which is nearly black; make it bool, or multiply it by 255")
    return without_ripples(array)


def without_ripples(hint: np.ndarray) -> np.ndarray:
    """Marks that were saved as JPEG, or resized, with their levels restored; any other hint as it is.

    Such a hint, uint8 or float in [0, 1], lies near 0, ½ and 1 but beside the strokes, and most of it near ½; or nearly
    all of it is near 0, and the rest, a click, near 1.
    """
    if hint.ndim != 2 or not hint.size or hint.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        return hint
    values = hint / np.float32(255) if hint.dtype == np.uint8 else hint
    black, open_, white = (np.abs(values - level) < _RIPPLE for level in (0, 0.5, 1))
    if (black | open_ | white).mean() < _NEAR or not (black | white).any():
        return hint
    if open_.mean() > 0.5:
        return np.select([values < 0.25, values > 0.75], [np.uint8(0), np.uint8(255)], np.uint8(UNDECIDED))
    if white.any() and (values > 0.5).mean() < CLICK:
        return np.where(values > 0.5, np.uint8(255), np.uint8(0))
    return hint


# At quality 75 some percent of the pixels are farther than this from their level.
_RIPPLE, _NEAR = 0.05, 0.9


def _as_given(image) -> np.ndarray:
    """The array of an image, with remedies for what `as_image` would misread or refuse."""
    array = _plain(image, "image", "L", "RGB")
    if array.dtype.kind in "biu" and array.dtype != np.uint8 and array.ndim > 1 and array.size:
        low, high = int(array.min()), int(array.max())
        remedy = f"scale it to [0, 1]: (image - {low}) / {max(1, high - low)}"
        if array.dtype == bool:
            remedy = "make it floats: image.astype(float)"
        elif low >= 0 and high < 256:
            remedy = "make it uint8: image.astype('uint8')"
        raise InputError(f"the image is {array.dtype}, from {low} to {high}; {remedy}")
    return array


def segment_picture(
    method: Method,
    pixels: np.ndarray,
    hint: np.ndarray | None,
    settings: dict[str, Any],
    *,
    keep_frame: bool = False,
    may_choose: Collection[str] = ("nu", "balance"),
    confidence: bool = False,
    invert: bool = False,
    progress: bool = False,
) -> Found:
    """Run a method on what a picture shows, at a bounded size.

    A frame of one colour is left out (`deepcv.frames`): it is background, or of several regions has the labels beside
    it. The picture is turned to a canonical orientation, so that a flipped picture has the flipped mask
    (`deepcv.orientation`), and where nothing is marked contours start at many small objects, if there are any
    (`deepcv.tones`). Where something is marked the picture is left as it is. Small pictures are enlarged for the
    saliency map, which on the first 20 photographs of Weizmann at half, a third and a fifth of their size raises F by
    0.01, 0.01 and 0.03.

    The size is `WORKING_SIZE` unless one is given or the method has a default. For a method without the setting `size`
    the picture is shrunk and the labels are enlarged here.

    Parameters
    ----------
    pixels : `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    hint : `(h, w)`, optional
        A rough one, as for `segment`.
    settings
        The method's, with seed and device; also `size` if it doesn't have that, and `seeds`, a `deepcv.seeds.Seeds` in
        pixels of the picture.
    keep_frame : bool
        Whether a frame is part of the scene.
    may_choose : collection of str
        Settings that may be chosen here: "nu", Chan-Vese's, for many small objects; "balance", 0 for lines.
    confidence : bool
        Whether to ask for a second opinion where the method starts from the saliency map.
    invert : bool
        Whether to exchange foreground and background; a frame stays background.
    progress : bool
        Whether the method may show its steps on stderr.

    Raises
    ------
    InputError
        As the method; for a size below `SMALLEST_SIDE`.
    """
    settings, notes, shape = dict(settings), list[str](), pixels.shape[:2]
    check_value("size", settings.get("size"), Annotated[int, at_least(SMALLEST_SIDE)] | None)
    if hint is not None:
        hint = _hint_as_given(hint)
        if not settings.get("seeds") and (marks := marks_in(hint)) is not None:
            hint, settings["seeds"] = None, seeds_of(marks)
        else:
            hint = resize(as_hint(hint, hint.shape[:2]), shape)
    marked = bool(settings.get("seeds"))
    within = None if keep_frame or marked else scene(_levels(pixels))
    if within is not None:
        pixels, hint = within.shown(pixels), None if hint is None else within.cut(hint)
    turn = Turn() if marked else canonical(_levels(pixels))
    image, hint = turn.there(pixels), None if hint is None else turn.there(hint)
    if hint is not None and not marked and settings.get("hint_weight"):  # the method is held to its hint
        hint = rough_hint(image, hint)
    objects = None
    if not marked and method.takes_hint(settings):
        objects = many_objects(as_image(resize(image, working_shape(image.shape[:2], WORKING_SIZE))))
    if objects is not None:
        done = []
        if hint is None:
            hint = resize(objects.mask.astype(np.float32), image.shape[:2])
            done.append("contours start there")
        if method.name == "chan-vese" and "nu" in may_choose:
            image, settings["nu"] = (evened if objects.shaded else root)(as_image(image)), NU
            shading = ", without its shading" * objects.shaded
            done.append(f"in the square root of the picture{shading}, with ν = {NU}")
        notes += [f"many small objects of one tone: {', '.join(done)}"] * bool(done)
    turned = image.shape[:2]
    sized = method.sized(turned)
    reduction = sized / (settings.get("size") or WORKING_SIZE)
    image, hint, working = _bounded(method, image, hint, settings)
    if hint is not None and not marked and marks_in(hint) is not None:  # by the averages of its resizing, ½ on edges
        hint = hint.clip(1e-6, 1 - 1e-6)
    if "progress" in inspect.signature(method.function).parameters:
        working["progress"] = progress
    alone = hint is None and not marked and method.takes_hint(settings) and working.get("phases", 2) == 2
    if alone:
        hint = structured_matrix_decomposition(as_image(image), smallest_longest_side=SaliencySettings().longest_side)
    run: Callable[..., Segmentation] = partial(_checked, method)
    if not (hasattr(method.function, "takes_seeds") or "seeds" in inspect.signature(method.function).parameters):
        run = partial(with_seeds, run, seeds=working.pop("seeds", None))
    found = run(image, hint, **working)
    if "balance" in may_choose and settings.get("balance") and _is_line(found):
        notes.append("what was found is a line: regions aren't balanced by area")
        found = run(image, hint, **working | {"balance": 0.0})
    if not method.has_setting("size"):
        found = replace(found, settings={**found.settings, "size": settings.get("size") or WORKING_SIZE})
    believed, certainty = None, None
    if alone and hint is not None and len(found.memberships) == 2:
        believed = turn.back(belief(found.memberships[1], resize(hint, found.memberships.shape[1:])))
        certainty = confidence_in(image, found.labels == 1) if confidence else None
    labels = turn.back(enlarged(found.labels, len(found.memberships), turned))
    memberships = np.stack([turn.back(each) for each in found.memberships])
    if invert:
        labels, memberships = 1 - labels, memberships[::-1].copy()
        believed = None if believed is None else 1 - believed
    if within is not None and len(memberships) > 2:  # no phase is the background
        notes.insert(0, described(within, shape, "; it gets the labels beside it"))
        memberships = np.stack([within.extended(resize(each, labels.shape), shape) for each in memberships])
        labels = within.extended(labels, shape)
    elif within is not None:
        notes.insert(0, described(within, shape))
        others = [within.framed(resize(each, labels.shape), shape) for each in memberships[1:]]
        memberships = np.stack([1 - np.sum(others, axis=0), *others])
        believed = None if believed is None else within.framed(resize(believed, labels.shape), shape)
        labels = within.framed(labels, shape)
    if reduction > 1 and len(memberships) == 2 and 0 < (width := mean_width(labels == 1)) < THIN * reduction:
        notes.append(
            f"what was found is about {width:.0f} pixels wide, and the picture was reduced {reduction:.1f} times to be "
            f"segmented; --size {math.ceil(sized / 10) * 10} draws thin parts finer, in more time"
        )
    changed = {"labels": labels, "memberships": memberships}
    return Found(**vars(found) | changed, notes=tuple(notes), belief=believed, confidence=certainty)


def _checked(method: Method, image: np.ndarray, hint: np.ndarray | None, **keywords) -> Segmentation:
    """What a method, which may be anyone's, makes of an image, with arrays of the promised types."""
    found = method.function(image, hint, **keywords)
    if not isinstance(found, Segmentation):
        raise InputError(f"{method.name} returned a {type(found).__name__}; a method returns a deepcv.Segmentation")
    labels, memberships = np.asarray(found.labels), np.asarray(found.memberships)
    shape, phases = image.shape[:2], len(memberships)
    whole = labels.shape == shape and memberships.shape == (phases, *shape) and labels.dtype.kind in "biu"
    if not (whole and 2 <= phases <= 256 and labels.min() >= 0 and labels.max() < phases):
        span = f", {labels.min()} to {labels.max()}," if labels.size else ""
        raise InputError(
            f"{method.name} returned {labels.dtype} labels {labels.shape}{span} and memberships {memberships.shape}; "
            f"of N phases, 2 to 256, labels are {shape}, whole numbers from 0 to N - 1, and memberships "
            f"(N, {shape[0]}, {shape[1]})"
        )
    return replace(
        found, labels=labels.astype(np.uint8, copy=False), memberships=memberships.astype(np.float32, copy=False)
    )


def _levels(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else to_uint8(pixels)


THIN = 4
"""Width in pixels of the reduced picture below which parts come out too wide."""
LINE = 0.03
"""Width in longest sides of the picture below which up to `LINES` objects are taken for lines.

A line starts several times too wide, from a saliency map of superpixels, and regions that are balanced by area then
keep what is beside it: of a line of 2.6 pixels in 200 our model makes 4.5, without balance 2.6."""
LINES = 7


def _is_line(found: Segmentation) -> bool:
    if len(found.memberships) != 2:
        return False
    mask = found.labels == 1
    return 0 < mean_width(mask) < LINE * max(mask.shape) and len(Objects(mask).boxes) <= LINES


def mean_width(mask: np.ndarray) -> float:
    """Twice the area of a bool mask `(H, W)` over the length of its outline, in pixels; 0 if it is empty.

    A long strip has its width, a disc half its diameter.
    """
    padded = np.pad(mask, 1)
    outline = np.count_nonzero(padded[1:] != padded[:-1]) + np.count_nonzero(padded[:, 1:] != padded[:, :-1])
    return 2 * np.count_nonzero(mask) / outline if outline else 0.0


def _bounded(
    method: Method, image: np.ndarray, hint: np.ndarray | None, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Image, hint and settings for the method's own function, with a bound on the size."""
    settings = dict(settings)
    if method.has_setting("size"):
        if settings["size"] is None:  # the image's own size
            settings["size"] = WORKING_SIZE
        return image, hint, settings
    shape = image.shape[:2]
    working = working_shape(shape, settings.pop("size", None) or WORKING_SIZE)
    if seeds := settings.get("seeds"):
        settings["seeds"] = seeds.scaled(working[1] / shape[1], working[0] / shape[0])
    return resize(as_image(image), working), None if hint is None else resize(hint, working), settings


NEARLY = 0.98
"""Share of the picture from which a foreground nearly fills it."""
SUPPORT = 1.2
"""Contrast along an outline, in the picture's mean, below which the outline is arbitrary.

Of the ground truths of 20 photographs of Weizmann and 20 of ECSSD 38 have 1.7 or more; moved to another place none has
1.5. That seeds disagree is no such sign: our model's agree even on noise, held to the saliency map."""


def with_warnings(found: Found, pixels: np.ndarray) -> Found:
    """The same, with a note if the foreground is empty, (nearly) everything, barely supported, or doubtful."""
    if len(found.memberships) != 2:
        return found
    share = float(np.count_nonzero(found.labels)) / found.labels.size
    if share == 0:
        note = "nothing is foreground; say where the object is: a point or a box"
    elif share > NEARLY:
        note = f"{share:.1%} of the picture is foreground; say where the background is: a point, or the object's box"
    elif (contrast := contrast_along(pixels, found.labels)) < SUPPORT:
        note = (
            f"the picture barely supports this outline: the contrast along it is {contrast:.1f} times the picture's "
            "mean, and that of most objects 2 to 4; mark the object by points or a box"
        )
    elif found.confidence is not None and found.confidence < DOUBTFUL:
        opinion = "a second opinion, from the colours alone, differs; mark the object by a box or points"
        note = f"{told(found.confidence)}: {opinion}"
    else:
        return found
    return replace(found, notes=(*found.notes, f"warning: {note}"))


def contrast_along(pixels: np.ndarray, labels: np.ndarray) -> float:
    """Mean change of colour, ‖∇I‖, along the outline of a mask over its mean in the picture, at 160 pixels."""
    import cv2

    shape = working_shape(labels.shape, 160)
    image, mask = resize(as_colour(as_image(pixels)), shape), resize(labels * np.uint8(255), shape) > 127
    down, across = np.gradient(image, axis=(0, 1))
    change = np.sqrt((down**2).sum(axis=2) + (across**2).sum(axis=2))
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    if not (outline.any() and change.mean()):  # nothing left at this size, or too faint to be measured
        return np.inf
    return float(change[outline].mean() / change.mean())
