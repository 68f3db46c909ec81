"""Chan-Vese [11] for grey and colour images, from the saliency hint.

    E(c₁, c₂, u) = Σₓ ν ‖∇uₓ‖₂ + uₓ ‖Iₓ - c₁‖² + (1 - uₓ) ‖Iₓ - c₂‖²                                    (3.7)

Two solvers. "level-set" evolves φ as one knows it, semi-implicitly (Getreuer, IPOL 2012, equation 22), and on a grey
image agrees with `skimage.segmentation.chan_vese`; it also takes colour, which that one doesn't. "exact" alternates the
means and, for fixed means, the globally minimal mask (`deepcv.labelling`); the energy never rises.

The exact solver finds lower energies, and on photographs worse masks: the level set stops near the hint, while the
global minimum of (3.7) goes where two constant colours fit best, which is often not the object.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from deepcv.hints import hint_for, otsu_mask
from deepcv.images import InputError, as_image
from deepcv.segmentation import Segmentation, two_phase


def means(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c₁ inside and c₂ outside the mask, `(C,)` each; 0 for an empty side, as in scikit-image."""
    inside, outside = image[mask], image[~mask]
    zero = np.zeros(image.shape[-1], image.dtype)
    return inside.mean(axis=0) if len(inside) else zero, outside.mean(axis=0) if len(outside) else zero


def region_cost(image: np.ndarray, c1: np.ndarray, c2: np.ndarray) -> np.ndarray:
    """`‖I - c₁‖² - ‖I - c₂‖²`, `(H, W)`: what calling a pixel foreground costs in (3.7)."""
    return ((image - c1) ** 2).sum(axis=-1) - ((image - c2) ** 2).sum(axis=-1)


def chan_vese_energy(image: np.ndarray, mask: np.ndarray, nu: float) -> float:
    """(3.7) of a mask with its own means; `image` `(H, W)` or `(H, W, C)`, float."""
    import torch

    from deepcv.energy import total_variation

    image = np.atleast_3d(image).astype(float)
    c1, c2 = means(image, mask)
    data = ((image - np.where(mask[..., None], c1, c2)) ** 2).sum()
    return float(nu * total_variation(torch.from_numpy(mask.astype(float))) + data)


def chan_vese(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    solver: str = "level-set",
    nu: float = 4.0,
    max_iterations: int | None = None,
    tolerance: float = 1e-3,
    dt: float = 0.5,
) -> Segmentation:
    """Segment into two regions of nearly constant colour.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    hint : array_like `(H, W)`, optional
        Its Otsu threshold is where the contour starts, as in the paper; default the saliency of `deepcv.saliency`.
        It also says which side is called foreground.
    seed : int
        Ignored: nothing is random.
    device : str, optional
        Of the exact solver; default the GPU when there is one.
    solver : {"level-set", "exact"}
    nu : float, at least 0
        Weight of the length (scikit-image's `mu`), for pixels in [0, 1] and colour differences summed over channels.
        The paper doesn't say which it used. 4 was the best of 0.1, 0.25, 1, 2 and 4 on the first 20 images of Weizmann;
        the larger it is, the nearer the contour stays to a smoothed hint. For "exact" the preset of that name has 1.
    max_iterations : int, optional
        Rounds of means and mask (default 30), or steps of the level set (default 500).
    tolerance : float
        The level set stops when the root mean square of its change is below.
    dt : float
        Step size of the level set.

    Returns
    -------
    Segmentation
        `trace["energy"]` is (3.7) after each round of the exact solver.

    Raises
    ------
    InputError
        For an image or hint that can't be used, or a parameter out of range.
    """
    image = as_image(image)
    if solver not in ("exact", "level-set"):
        raise InputError(f"solver is {solver!r}; it is 'exact' or 'level-set'")
    if not 0 <= nu < math.inf:
        raise InputError(f"nu is {nu}; the weight of the length must be at least 0 and finite")
    if max_iterations is None:
        max_iterations = 30 if solver == "exact" else 500
    if max_iterations < 1:
        raise InputError(f"max_iterations is {max_iterations}; it must be at least 1")
    mask = otsu_mask(hint_for(image, hint))
    start = time.perf_counter()
    channels = np.atleast_3d(image)
    if solver == "exact":
        mask, energies = _alternate(channels, mask, nu, max_iterations, device)
    else:
        energies = []
        for phi, change in evolve(channels.astype(float), np.where(mask, 1.0, -1.0), nu, dt, max_iterations):
            mask = phi > 0
            if change <= tolerance:
                break
    return two_phase(
        mask,
        seconds=time.perf_counter() - start,
        method="chan-vese",
        trace={"energy": energies},
        settings={"solver": solver, "nu": nu, "max_iterations": max_iterations, "tolerance": tolerance, "dt": dt},
    )


def _alternate(image, mask, nu, rounds, device) -> tuple[np.ndarray, list[float]]:
    """Means, then the mask for these means, until the mask stays."""
    import torch

    from deepcv import labelling
    from deepcv.solver import torch_device

    target = torch_device(device)
    solution, energies = None, [chan_vese_energy(image, mask, nu)]
    for _ in range(rounds):
        cost = torch.from_numpy(region_cost(image, *means(image, mask)).astype(np.float32))[None].to(target)
        solution = labelling.solve(cost, nu, start=solution)
        found = solution.mask[0].cpu().numpy()
        level = chan_vese_energy(image, found, nu)
        if level >= energies[-1]:  # nothing gained beyond the solver's gap
            break
        mask = found
        energies.append(level)
    return mask, energies


def evolve(image: np.ndarray, phi: np.ndarray, mu: float, dt: float, steps: int) -> Iterator[tuple[np.ndarray, float]]:
    """Level-set evolution: after each step φ and the root mean square of its change.

    `φ_t = δ(φ) [μ div(∇φ/|∇φ|) - ‖I - c₁‖² + ‖I - c₂‖²]`, the centre pixel of the curvature taken implicitly. As in
    scikit-image δ(φ) is 1/(1 + φ²) without the 1/π, and the means are those of φ > 0.

    Parameters
    ----------
    image : numpy.ndarray, `(H, W, C)`
    phi : numpy.ndarray, `(H, W)`
        Positive inside.
    mu, dt : float
    steps : int
    """
    for _ in range(steps):
        dirac = dt / (1 + phi**2)
        weighted, total = _curvature(phi)
        force = mu * weighted - region_cost(image, *means(image, phi > 0))
        previous, phi = phi, (phi + dirac * force) / (1 + mu * dirac * total)
        yield phi, float(np.sqrt(np.mean((phi - previous) ** 2)))


def _curvature(phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Curvature split for a semi-implicit step: the neighbours weighted by 1/|∇φ| halfway to each, and the weights."""
    padded = np.pad(phi, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    left, right, above, below = padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]
    across, along = (right - left) / 2, (below - above) / 2
    weighted, total = np.zeros_like(phi), np.zeros_like(phi)
    for neighbour, cross in ((right, along), (left, along), (below, across), (above, across)):
        weight = 1 / np.sqrt(1e-16 + (neighbour - centre) ** 2 + cross**2)
        weighted += neighbour * weight
        total += weight
    return weighted, total
