"""Multi-phase Chan-Vese [46]: four regions of nearly constant colour, given by the signs of two level-set functions.

    E(c, φ₁, φ₂) = Σ_ab ∫ H_ab ‖I - c_ab‖² + ν ∫ |∇H(φ₁)| + ν ∫ |∇H(φ₂)|,    a, b ∈ {0, 1},
    H₁₁ = H(φ₁) H(φ₂),  H₁₀ = H(φ₁) (1 - H(φ₂)),  …

of Vese and Chan (2002). The means c_ab are weighted by H_ab, and

    ∂φ₁/∂t = δ(φ₁) [ν div(∇φ₁/|∇φ₁|) - (‖I - c₁₁‖² - ‖I - c₀₁‖²) H(φ₂) - (‖I - c₁₀‖² - ‖I - c₀₀‖²) (1 - H(φ₂))],

and likewise for φ₂ with the two digits exchanged. H is ½ + arctan(φ)/π as in the original. That matters: with a
sharp step each field treats the other as certain from the start, and four flat quadrants end up half wrong.

Deviations: the means, φ₁ and φ₂ are updated in turn, each from the latest of the others; the step is that of
`deepcv.baselines.level_set`.

There are always four phases. An image of three regions leaves one empty, or splits a region in two: only the length
keeps two phases from having the same mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from deepcv.baselines.level_set import LevelSet, boundary_length, run_until_settled
from deepcv.checks import Count, NonNegative, Positive, Seed, at_least, checked_settings
from deepcv.errors import InputError
from deepcv.images import as_image
from deepcv.model.start import clustered_memberships
from deepcv.segmentation import Segmentation


def circles(shape: tuple[int, int], spacing: int) -> np.ndarray:
    """φ₁ and φ₂ `(2, H, W)`: signed distances in pixels to a square grid of circles each, positive inside.

    The grids are half a spacing apart, and each covers half of the image, so that each phase has about a quarter of
    every neighbourhood.
    """
    radius = spacing / math.sqrt(2 * math.pi)
    rows, columns = np.indices(shape)
    across = [(columns + shift) % spacing - spacing / 2 for shift in (0, spacing / 2)]
    return radius - np.hypot(rows % spacing - spacing / 2, across)


def clusters(image: np.ndarray, seed: int) -> np.ndarray:
    """φ₁ and φ₂ `(2, H, W)`, ±10, whose phases are clusters of colour (`deepcv.model.start.clustered_memberships`).

    A boundary where both fields change sign counts twice, so of the three ways to pair four clusters this takes the one
    with the shortest boundaries. At ±10 H is nearly sharp and δ still lets φ move; at ±1 the first means would mix all
    clusters and lose the start.

    Raises
    ------
    InputError
        For an image of fewer than four colours.
    """
    try:
        cluster = clustered_memberships(image, 4, seed).argmax(axis=0)
    except InputError:
        raise InputError("start 'clusters' needs an image of at least 4 different colours; use 'circles'") from None
    pairings = [np.array(phases)[cluster] for phases in ((0, 1, 2, 3), (0, 1, 3, 2), (0, 3, 1, 2))]
    fields = [np.stack((labels >= 2, labels % 2 == 1)) for labels in pairings]
    return np.where(min(fields, key=lambda pair: sum(map(boundary_length, pair))), 10.0, -10.0)


def vese_chan(
    image,
    hint=None,
    *,
    seed: Seed = 0,
    device: str | None = None,
    start: Literal["circles", "clusters"] = "circles",
    spacing: Annotated[int, at_least(4)] = 12,
    nu: NonNegative = 0.01,
    max_iterations: Count = 500,
    settled: NonNegative = 1e-4,
    dt: Positive = 2000.0,
) -> Segmentation:
    """Segment into four regions of nearly constant colour.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`). Hint and device are ignored: there is no foreground, and the
        descent runs on the CPU. The seed is for the k-means of start "clusters".
    start : {"circles", "clusters"}
        The result depends on it. "circles" are the original's many small ones; "clusters" of colour are a start that
        our model shares, for comparison.
    spacing : int, at least 4
        Of the circles, in pixels; the best of 8, 12 and 20 on images of four flat or noisy quadrants.
    nu : float, at least 0
        Weight of the length, for pixels in [0, 1] and squared differences summed over channels. The original chooses it
        per image. For 0.01, 0.05 and 0.2 the mean IoU over the twelve composites of `deepcv.data.regions` is 0.38, 0.36
        and 0.17 from "circles", 0.43, 0.45 and 0.45 from "clusters". From circles 0.05 needs more steps: after 2000 it
        has 0.68 on three of the composites, and 0.01 has 0.62.
    max_iterations : int
        Largest number of steps.
    settled : float, at least 0
        The descent stops when at most this share of the pixels has changed its label within 50 steps.
    dt : float, positive
        Step size. The original's 0.1, for pixels in 0..255 and a δ with 1/π, is 0.1 · 255² / π here.

    Returns
    -------
    Segmentation
        Four phases with memberships 0 or 1; the label is 2 where φ₁ > 0, plus 1 where φ₂ > 0. `settings["empty"]` lists
        the phases without pixels. `trace["energy"]` is the energy of the labels at the start and after each step, with
        H sharp and c the means of the phases' pixels. It may rise in a step.

    Raises
    ------
    InputError
        For an unusable image, a parameter out of range, or fewer than four colours for "clusters".
    """
    settings = checked_settings(vese_chan, locals())
    image = as_image(image)
    began = time.perf_counter()
    phi = circles(image.shape[:2], spacing) if start == "circles" else clusters(image, seed)
    labels, energies = run_until_settled(evolve(np.atleast_3d(image), phi, nu, dt, max_iterations), settled)
    memberships = (labels == np.arange(4)[:, None, None]).astype(np.float32)
    return Segmentation(
        labels,
        memberships,
        trace={"energy": energies},
        seconds=time.perf_counter() - began,
        method="vese-chan",
        settings=settings | {"seed": seed, "empty": [phase for phase in range(4) if not memberships[phase].any()]},
    )


def evolve(image: np.ndarray, phi: np.ndarray, nu: float, dt: float, steps: int) -> Iterator[tuple[np.ndarray, float]]:
    """The coupled evolution: yields labels 0..3 and their energy at the start and after each step.

    `image` is `(H, W, C)`, `phi` holds φ₁ and φ₂, `(2, H, W)`.
    """
    first, second = (LevelSet(each) for each in phi)
    pixels = first.in_reading_order(image)
    square = float(pixels[:, :-1].square().sum())
    for count in range(steps + 1):
        if count:
            h2 = _heaviside(second.phi)
            sums = phase_sums(_heaviside(first.phi), h2, pixels)
            c = sums[:, :-1] / sums[:, -1:]
            # products with a pixel and a 1 after its channels: ‖I - c‖² - ‖I‖²; ‖I‖² cancels in differences
            c00, c01, c10, c11 = torch.cat((-2 * c, c.square().sum(dim=1, keepdim=True)), dim=1)
            first.step(torch.lerp(pixels @ (c10 - c00), pixels @ (c11 - c01), h2), nu, dt)
            h1 = _heaviside(first.phi)
            second.step(torch.lerp(pixels @ (c01 - c00), pixels @ (c11 - c10), h1), nu, dt)
        one, two = first.inside, second.inside
        sums = phase_sums((first.phi > 0).to(pixels), (second.phi > 0).to(pixels), pixels)
        # in each phase Σ ‖I - c‖² = Σ ‖I‖² - ‖Σ I‖²/n
        explained = float((sums[:, :-1].square().sum(dim=1) / sums[:, -1].clamp(min=1)).sum())
        length = boundary_length(one) + boundary_length(two)
        yield (2 * one + two).astype(np.uint8), max(square - explained, 0.0) + nu * length


def phase_sums(h1: Tensor, h2: Tensor, pixels: Tensor) -> Tensor:
    """Sums over the phases 00, 01, 10 and 11, `(4, C + 1)`, of pixels `(places, C + 1)` weighted by H(φ₁) and H(φ₂)."""
    return torch.stack(((1 - h1) * (1 - h2), (1 - h1) * h2, h1 * (1 - h2), h1 * h2)) @ pixels


def _heaviside(phi: Tensor) -> Tensor:
    return torch.atan(phi).div_(math.pi).add_(0.5)
