"""A level-set function φ and the step of its gradient descent, shared by the level-set methods.

    φ_t = δ(φ) [ν div(∇φ/|∇φ|) - cost]

is discretised semi-implicitly (Getreuer, IPOL 2012, equation 22), all pixels at once; `cost`, the only difference
between the methods, is how much more a pixel costs with φ > 0 than with φ < 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


class LevelSet:
    """φ of one image, evolved in place.

    The border is repeated in a frame of one pixel. In reading order a pixel's neighbours are then at fixed distances,
    and a step is arithmetic on long pieces of one array; results on the frame are ignored. φ is given as `(H, W)`,
    positive inside; the attribute `phi` `(places,)` has it in reading order from the first pixel to the last, with two
    places of the frame between rows.
    """

    def __init__(self, phi: np.ndarray):
        height, width = phi.shape
        self._row = width + 2
        self._framed = torch.from_numpy(np.pad(phi.astype(float), 1, mode="edge"))
        first, past = self._row + 1, (height + 1) * self._row - 1
        self.phi, self._beside, self._stacked = (
            self._framed.view(-1)[first - reach : past + reach] for reach in (0, 1, self._row)
        )
        self._pixel = self.in_reading_order(np.empty((height, width, 0)))[:, 0]

    @property
    def inside(self) -> np.ndarray:
        """Where φ > 0, bool `(H, W)`."""
        return (self._framed[1:-1, 1:-1] > 0).numpy()

    @property
    def array(self) -> np.ndarray:
        """A copy of φ, `(H, W)`."""
        return self._framed[1:-1, 1:-1].numpy().copy()

    def in_reading_order(self, image: np.ndarray) -> Tensor:
        """The channels of an image followed by a 1, `(places, C + 1)`; 0 on the frame.

        The last entry of their sum over a region is its number of pixels.
        """
        channels = np.concatenate((image, np.ones((*image.shape[:2], 1))), axis=2)
        framed = torch.from_numpy(np.pad(channels, ((0, 0), (0, 2), (0, 0))))
        return framed.flatten(0, 1)[: len(self.phi)].contiguous()

    def step(self, cost: Tensor, nu: float, dt: float) -> float:
        """One step of the descent, implicit in the curvature's centre pixel; returns the root mean square change of φ.

        As in scikit-image δ(φ) is 1/(1 + φ²), without the 1/π. `cost` is `(places,)`, in reading order.
        """
        dirac = dt / (self.phi * self.phi).add_(1)
        weighted, total = _curvature(self._beside, self._stacked, self._row)
        force = weighted.mul_(nu).sub_(cost)
        following = torch.addcmul(self.phi, dirac, force).div_(dirac.mul_(nu * total).add_(1))
        change = torch.linalg.vector_norm((following - self.phi).mul_(self._pixel)) / self._pixel.sum().sqrt()
        self.phi.copy_(following)
        framed = self._framed
        framed[:, 0], framed[:, -1] = framed[:, 1], framed[:, -2]
        framed[0], framed[-1] = framed[1], framed[-2]
        return float(change)


def _curvature(beside: Tensor, stacked: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Curvature for a semi-implicit step: sums of neighbours weighted by 1/|∇φ| halfway to each, and of the weights.

    `beside` is φ extended by one place, `stacked` by one row, before the first pixel and after the last.
    """
    across, along = beside[1:] - beside[:-1], stacked[row:] - stacked[:-row]
    to_left, to_right, to_above, to_below = across[:-1], across[1:], along[:-row], along[row:]
    weighted, total = torch.zeros_like(to_left), torch.zeros_like(to_left)
    for twice_cross, pair in (
        (to_above + to_below, ((beside[:-2], to_left), (beside[2:], to_right))),
        (to_left + to_right, ((stacked[: -2 * row], to_above), (stacked[2 * row :], to_below))),
    ):
        square = twice_cross.square_().mul_(0.25).add_(1e-16)
        for neighbour, difference in pair:
            weight = torch.addcmul(square, difference, difference).rsqrt_()
            weighted.addcmul_(neighbour, weight)
            total.add_(weight)
    return weighted, total


def boundary_length(mask: np.ndarray) -> float:
    """`Σₓ ‖∇uₓ‖₂` of a mask, in pixels: the length of its boundary as (3.7) counts it."""
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    corners = np.count_nonzero(down[:, 1:] & right[1:])  # the length at a pixel is √2 where both differ
    return np.count_nonzero(down) + np.count_nonzero(right) - (2 - math.sqrt(2)) * corners


def run_until_settled(steps: Iterable[tuple[np.ndarray, float]], settled: float) -> tuple[np.ndarray, list[float]]:
    """The labels in which an evolution settles, and its energies.

    `steps` yields labels `(H, W)` and energy at the start and after each step. They have settled when at most the share
    `settled` of the pixels has changed its label within 50 steps. φ itself never settles: where the cost keeps its
    sign, φ grows without bound.
    """
    energies: list[float] = []
    before = None
    for count, (labels, energy) in enumerate(steps):
        energies.append(energy)
        if count % _BETWEEN_CHECKS == 0:
            if before is not None and np.mean(labels != before) <= settled:
                break
            before = labels
    return labels, energies


_BETWEEN_CHECKS = 50  # steps, enough to tell a slow boundary from a settled one
