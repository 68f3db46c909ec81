"""From marked pixels and a belief to a cut: steps 3 and 4 of `deepcv.seeds`, which has the formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from deepcv.model.colours import linear, local_colours, quadratic
from deepcv.model.labelling import solve
from deepcv.model.start import edge_weights

SIZE = 160
"""Longest side, in pixels, of the cut."""
SPAN = 0.8
"""Of a box's width and height that its object has at least, if a cut does; 1/1.2 is what a box 20 % too large has."""
THRESHOLDS = (0.4, 0.3, 0.2, 0.1)
"""Of p in a box, tried in turn; if no cut spans the box, the second's is taken.

F on ten images of Weizmann and ten of ECSSD is 0.916 and 0.867 in exact boxes, 0.916 and 0.845 in those 20 % too large;
with 0.4 alone 0.908, 0.848, 0.896 and 0.839."""


@dataclass(frozen=True)
class Spread:
    """How marks spread; distances are in longest sides of the picture."""

    change: float
    """Distance per change of colour of 1 along a path."""
    ignored: float
    """Change that costs nothing, in the image's median: noise and texture."""
    colour: float
    """Distance per difference of 1 to the nearest marked colour."""
    reach: float
    """τ."""
    doubt: float
    """κ."""
    prior: float
    """Weight of p in the cut."""


IN_BOX = Spread(change=4, ignored=0, colour=0, reach=0.15, doubt=0.2, prior=200)
BY_CLICKS = Spread(change=2, ignored=1, colour=4, reach=0.3, doubt=0.03, prior=400)
STAND_IN = 0.5
"""Weight of the surest unmarked pixels beside marks.

On seven images of Weizmann F of the cut after 1, 2, 3, 4 and 5 clicks is 0.84, 0.82, 0.89, 0.91, 0.92 with 0, and some
fall by 0.35 at a click; 0.85, 0.86, 0.86, 0.87, 0.89 with 0.5, and the worst falls by 0.10. On seven of ECSSD 0.77,
0.81, 0.85, 0.87, 0.83 and 0.73, 0.80, 0.84, 0.87, 0.88."""
_NU, _BALANCE, _SCALES, _PENALTY, _ROUNDS = 600.0, 1.0, 2, 1e-4, 5
_COLOURS = 64  # marked colours that others are compared with
_HARD = 1e4


def told(
    image: np.ndarray, belief: np.ndarray, on: np.ndarray, off: np.ndarray, boxed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cut, bool, p, and how near the nearest mark is: `(h, w)` each.

    Parameters
    ----------
    image : numpy.ndarray of float32, `(h, w, 3)`
    belief : numpy.ndarray of float32, `(h, w)`, in [0, 1]
    on, off : numpy.ndarray of bool, `(h, w)`
        Sure foreground and background.
    boxed : bool
        Whether what isn't background is a box that the object fills.
    """
    if boxed:
        p, near = spread(image, belief, on, off, IN_BOX)
        return _cut_to_box(image, p, on, off), p, near
    nothing, belief = np.zeros_like(on), _around_otsu(belief)
    alone = cut(image, belief, nothing, nothing, 0.5, BY_CLICKS.prior)
    frame = np.ones_like(on)
    frame[1:-1, 1:-1] = False
    core = alone & (belief >= np.quantile(belief[alone], 0.9)) if alone.any() else nothing
    believed = (0.75 * alone + 0.25 * belief).astype(np.float32)
    stand_ins = (core, frame & (believed < 0.5)) if (on | off).any() else None
    p, near = spread(image, believed, on, off, BY_CLICKS, stand_ins)
    return cut(image, p, on, off, 0.5, BY_CLICKS.prior), p, near


def _around_otsu(belief: np.ndarray) -> np.ndarray:
    """A belief, bent so that its Otsu threshold is ½."""
    from skimage.filters import threshold_otsu

    if not np.ptp(belief):
        return belief
    middle = float(np.clip(threshold_otsu(belief), 1e-3, 1 - 1e-3))
    return np.interp(belief, (0, middle, 1), (0, 0.5, 1)).astype(np.float32)


def spread(
    image: np.ndarray,
    belief: np.ndarray,
    on: np.ndarray,
    off: np.ndarray,
    how: Spread,
    stand_ins: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """p, and how near the nearest mark is, max(w₁, w₂): float32 `(h, w)` each, in [0, 1] (step 3).

    From an image `(h, w, 3)`, a belief, and the pixels of either kind, bool, `(h, w)` each. `stand_ins` are pixels that
    count as marks of either kind with a weight of `STAND_IN`.
    """
    weights = [np.exp(-distance(image, marked, how) / how.reach) for marked in (on, off)]
    near = np.maximum(*weights)
    for index, marked in enumerate(stand_ins or ()):
        unmarked = STAND_IN * np.exp(-distance(image, marked, how) / how.reach)
        weights[index] = np.maximum(weights[index], unmarked)
    w1, w2 = weights
    p = (w1 + how.doubt * belief) / (w1 + w2 + how.doubt)
    return p.astype(np.float32), near.astype(np.float32)


def distance(image: np.ndarray, marked: np.ndarray, how: Spread) -> np.ndarray:
    """Distance to the marked pixels in space and colour, `(h, w)`, in longest sides; infinite if there are none.

    The length of the shortest path, each pixel of which costs one, and `how.change` times what ‖∇I‖ of the slightly
    blurred image `(h, w, 3)` has above `how.ignored` of its median; plus `how.colour` times the difference
    to the most similar of the marked colours.
    """
    import cv2
    from skimage.graph import MCP_Geometric

    if not marked.any():
        return np.full(marked.shape, np.inf)
    down, across = np.gradient(cv2.GaussianBlur(image, (0, 0), 0.7), axis=(0, 1))
    change = np.sqrt((down**2).sum(axis=2) + (across**2).sum(axis=2))
    cost = how.change * np.maximum(0, change - how.ignored * np.median(change)) + 1 / max(marked.shape)
    path = MCP_Geometric(cost).find_costs(np.argwhere(marked))[0]
    if not how.colour:
        return path
    colours = image[marked]
    colours = colours[:: -(-len(colours) // _COLOURS)]
    differences = np.linalg.norm(image[:, :, None] - colours, axis=-1).min(axis=-1)
    return path + how.colour * differences


@torch.no_grad()
def cut(
    image: np.ndarray, p: np.ndarray, on: np.ndarray, off: np.ndarray, threshold: float, prior: float
) -> np.ndarray:
    """The minimum cut of step 4 with the prior p above a threshold, bool `(h, w)`; marked pixels keep their side.

    As `deepcv.baselines.appearance.ridge`, it alternates with the encoder's fit. Arguments are as for `spread`.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    appearance = linear(quadratic(local_colours(pixels, _SCALES)), _BALANCE, _PENALTY)
    costs = np.select([on, off], [-_HARD, _HARD], -prior * np.tanh(2.5 * (p - threshold)))
    edges, solution = edge_weights(pixels, 1.0), None
    inside = ((p > threshold) | on) & ~off
    for _ in range(_ROUNDS):
        if inside.all() or not inside.any():  # nothing to tell apart
            break
        memberships = torch.from_numpy(np.stack((~inside, inside)).astype(np.float32))[None]
        cost = torch.from_numpy((costs + appearance(memberships)).astype(np.float32))[None]
        solution = solve(cost, _NU * edges, start=solution)
        before, inside = inside, solution.mask[0].numpy()
        if (inside != before).mean() < 0.003:
            break
    return inside


def _cut_to_box(image: np.ndarray, p: np.ndarray, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The cut with the first of `THRESHOLDS` with which it spans the box; the second's, if none does."""
    needed = [SPAN * length for length in _sides(~off)]
    found = []
    for threshold in THRESHOLDS:
        found.append(cut(image, p, on, off, threshold, IN_BOX.prior))
        if all(length >= least for length, least in zip(_sides(found[-1]), needed, strict=True)):
            return found[-1]
    return found[1]


def _sides(mask: np.ndarray) -> list[int]:
    """Height and width of a mask's bounding box; 0 if it is empty."""
    lines = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    return [int(each[-1] - each[0]) + 1 if len(each) else 0 for each in lines]
