"""Chan-Vese [11] for grey and colour images, from the saliency hint.

    E(c₁, c₂, u) = Σₓ ν ‖∇uₓ‖₂ + uₓ ‖Iₓ - c₁‖² + (1 - uₓ) ‖Iₓ - c₂‖²                                    (3.7)

Two solvers. "level-set" evolves φ semi-implicitly (Getreuer, IPOL 2012, equation 22) and on grey images agrees with
`skimage.segmentation.chan_vese`, which doesn't take colour. "exact" alternates between the means and, for fixed means,
the globally minimal mask (`deepcv.model.labelling`), from coarse to fine; its energy never rises.

Deviations of "level-set" from [11], shared with scikit-image and, at his defaults, with Getreuer: the delta function of
the length has no 1/π (the step size absorbs it); there is no area term; φ is not reinitialised to a distance function;
the stopping rule uses φ, not the means. The means are those of the two sides of φ = 0, where [11] weights pixels by a
smoothed step. Unlike Getreuer's, which overwrites φ pixel by pixel, a step takes all pixels from the φ before it.
"exact" has a mask instead of φ, so none of this applies.

"exact" finds lower energies, but no certified minimum: only the mask is globally optimal, for its means. On photographs
its masks are worse: the level set stops near the hint, while the lower energies of (3.7) are where two constant colours
fit well, which is often not the object.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from deepcv.baselines.level_set import LevelSet, boundary_length
from deepcv.checks import Count, NonNegative, Positive, checked_settings
from deepcv.devices import torch_device
from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import as_image
from deepcv.model import labelling
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase


def means(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c₁ inside and c₂ outside the mask, `(C,)` each; 0 for an empty side, as in scikit-image."""
    pixels, inside = image.reshape(mask.size, -1), mask.ravel().astype(image.dtype)
    return tuple(side @ pixels / max(side.sum(), 1) for side in (inside, 1 - inside))


def region_cost(image: np.ndarray, c1: np.ndarray, c2: np.ndarray) -> np.ndarray:
    """`‖I - c₁‖² - ‖I - c₂‖²`, `(H, W)`: the cost in (3.7) of labelling a pixel foreground."""
    return image @ (2 * (c2 - c1)) + (c1 @ c1 - c2 @ c2)


def chan_vese_energy(image: np.ndarray, mask: np.ndarray, nu: float) -> float:
    """(3.7) of a mask with its own means; `image` `(H, W)` or `(H, W, C)`, float."""
    image = np.atleast_3d(image).astype(float, copy=False)
    c1, c2 = means(image, mask)
    inside = np.count_nonzero(mask)
    # with c the mean, Σ ‖I - c‖² = Σ ‖I‖² - n ‖c‖²
    data = max(np.vdot(image, image) - inside * (c1 @ c1) - (mask.size - inside) * (c2 @ c2), 0.0)
    return float(nu * boundary_length(mask) + data)


@takes_seeds
def chan_vese(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    solver: Literal["level-set", "exact"] = "level-set",
    start: Literal["hint", "disk"] = "hint",
    grey: bool = False,
    nu: NonNegative = 4.0,
    max_iterations: Count | None = None,
    tolerance: NonNegative | None = None,
    dt: Positive = 0.5,
) -> Segmentation:
    """Segment into two regions of nearly constant colour.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`). The contour starts at the Otsu
        threshold of the hint, by default the saliency, as in the paper; the side that starts in the hint is called
        foreground. The seed is ignored; the device, by default the GPU if there is one, is that of the exact solver.
    solver : {"level-set", "exact"}
    start : {"hint", "disk"}
        "disk": not the hint but `centred_disk`, as in scikit-image and most published code.
    grey : bool
        Whether colour is reduced to the mean of the channels, as most published code needs it.
    nu : float, at least 0
        Weight of the length (scikit-image's `mu`), for pixels in [0, 1] and colour differences summed over channels.
        The paper doesn't give its value. 4 was the best of 0.1, 0.25, 1, 2 and 4 on the first 20 images of Weizmann;
        the larger it is, the closer the contour stays to a smoothed hint. The preset "exact" has 1.
    max_iterations : int, optional
        Rounds of means and mask (default 30), or steps of the level set (default 500).
    tolerance : float, optional
        The level set stops when the root mean square of its change is at most this (default 1e-3, as in scikit-image).
        For the exact solver, the largest gap between a mask's energy and the minimum for its means, relative to the
        energy (default 1e-2; 1e-3 lowers the energy by half a percent and takes two to three times as long).
    dt : float, positive
        Step size of the level set.

    Returns
    -------
    Segmentation
        `trace["energy"]`, for "exact" only: (3.7) of the hint's mask, of the coarse grid's mask if that is lower, and
        after each round.

    Raises
    ------
    InputError
        For an unusable image or hint, or a parameter out of range.
    """
    if max_iterations is None:
        max_iterations = 30 if solver == "exact" else 500
    if tolerance is None:
        tolerance = 1e-2 if solver == "exact" else 1e-3
    settings = checked_settings(chan_vese, locals())
    image = as_image(image)
    mask = otsu_mask(hint_for(image, hint)) if start == "hint" else centred_disk(image.shape[:2])
    started = time.perf_counter()
    channels = np.atleast_3d(image)
    if grey:
        channels = channels.mean(axis=2, keepdims=True)
    if solver == "exact":
        mask, energies, _ = _alternate(channels, mask, nu, max_iterations, tolerance, torch_device(device))
    else:
        energies = []
        for phi, change in evolve(channels, np.where(mask, 1.0, -1.0), nu, dt, max_iterations):  # noqa: B007
            if change <= tolerance:
                break
        mask = phi > 0
    return two_phase(
        mask, seconds=time.perf_counter() - started, method="chan-vese", trace={"energy": energies}, settings=settings
    )


def centred_disk(shape: tuple[int, int]) -> np.ndarray:
    """A disk in the middle that covers half of a square image, bool `shape`; in others its radius is as large a share
    of the shorter side."""
    y, x = (np.arange(side) - (side - 1) / 2 for side in shape)
    return np.hypot(x, y[:, None]) <= min(shape) / np.sqrt(2 * np.pi)


def _alternate(image: np.ndarray, mask: np.ndarray, nu: float, rounds: int, tolerance: float, device):
    """Alternate means and the mask for these means until the energy stops falling, on a coarser grid first.

    Returns the mask, the energies from the start, and the last solution of the labelling problem.
    """
    image = image.astype(float, copy=False)
    energies, solution = [chan_vese_energy(image, mask, nu)], None
    if min(mask.shape) >= 2 * _COARSEST:
        # a quarter of the pixels, and half as many along a boundary: there the length weighs half as much
        *_, coarse = _alternate(_halved(image), mask[::2, ::2], nu / 2, 1, tolerance, device)
        solution = labelling.enlarged(coarse, mask.shape)
        found = solution.mask[0].cpu().numpy()
        level = chan_vese_energy(image, found, nu)
        # the coarse grid may have lost a small object: then start from the hint
        if level < energies[-1] and 0 < found.mean() < 1:
            mask = found
            energies.append(level)
    for _ in range(rounds):
        cost = torch.from_numpy(region_cost(image, *means(image, mask)).astype(np.float32))[None].to(device)
        share = tolerance * energies[-1] / max(float(cost.abs().sum()), _TINY)
        near = 0 < mask.mean() < 1  # the mean of an empty side jumps to 0, far from the last solution
        solution = labelling.solve(cost, nu, start=solution if near else None, tolerance=share)
        found = solution.mask[0].cpu().numpy()
        level = chan_vese_energy(image, found, nu)
        if level >= energies[-1]:
            break
        mask = found
        energies.append(level)
        if energies[-2] - level < tolerance * level:  # the solver's gap may exceed the gain
            break
    return mask, energies, solution


_COARSEST = 16  # pixels on the shorter side
_TINY = float(np.finfo(np.float32).tiny)


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2×2 pixels of an image `(H, W, C)`, of fewer at odd edges."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def evolve(image: np.ndarray, phi: np.ndarray, mu: float, dt: float, steps: int) -> Iterator[tuple[np.ndarray, float]]:
    """Level-set evolution: yields φ and the root mean square of its change after each step.

    `φ_t = δ(φ) [μ div(∇φ/|∇φ|) - ‖I - c₁‖² + ‖I - c₂‖²]` by `LevelSet.step`; the means are those of φ > 0 and φ ≤ 0, as
    in scikit-image. `image` is `(H, W, C)`, `phi` `(H, W)`.
    """
    field = LevelSet(phi)
    channels = field.in_reading_order(image)
    whole = channels.sum(dim=0)
    for _ in range(steps):
        inside = (field.phi > 0).to(field.phi) @ channels
        c1, c2 = (side[:-1] / side[-1].clamp(min=1) for side in (inside, whole - inside))
        cost = channels @ torch.cat((2 * (c2 - c1), (c1 @ c1 - c2 @ c2)[None]))
        change = field.step(cost, mu, dt)
        yield field.array, change
