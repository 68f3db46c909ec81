"""The u-step solved exactly: the labelling problems (3.16) and (4.1) with the networks held fixed.

For fixed networks (3.16) is `min Σₓ nuₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ` over u ∈ {0, 1}, with `cost = KL^Ω₁ - KL^Ω₂`.

On a binary mask the length at a pixel depends on how many of its two neighbours (above, left) differ from it: 0, 1 or
√2. Three differences give the same three values,

    ‖∇u‖₂ = (√2/2) |u - u_above| + (√2/2) |u - u_left| + (1 - √2/2) |u_above - u_left|,

with nonnegative weights, so (3.16) is a minimum cut and its relaxation to u ∈ [0, 1] with this length is tight: each
superlevel set of a solution is a global minimiser (the co-area argument of Chan, Esedoğlu and Nikolova [10], which the
isotropic discrete length itself doesn't satisfy). The relaxation is solved by the primal-dual method of Chambolle and
Pock (2011) with the diagonal preconditioning of Pock and Chambolle (2011), from coarse to fine; the duality gap says
how far from the global minimum the returned mask can be.

With N phases the lengths in (4.1) are those of indicator functions, so the same three differences make it a Potts
problem. Its relaxation, u on the simplex at each pixel (the linear programme of Kleinberg and Tardos, 2002), is solved
alike and rounded to the largest membership; it is tight often, not always, and the gap tells.

In memory the pixels of all images lie in one row, and the neighbours above, left and above right of a pixel lie W, 1
and W - 1 places before it. The differences to one of them are then one subtraction of two long pieces of the same
array, several times as fast as row by row; the pairs that reach over the frame weigh nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deepcv.errors import InputError

_AXIS = math.sqrt(0.5)


_DIAGONAL = 1 - _AXIS


_SMALLEST = 8  # pixels on the shorter side of the coarsest grid


_COARSE = 10  # how much larger a gap will do on the coarser grids


class Labelling(NamedTuple):
    """A solution of the labelling problem.

    Attributes
    ----------
    mask : Tensor of bool, `(B, H, W)`
    relaxed : Tensor, `(B, H, W)`
        The relaxed u in [0, 1] that `mask` is the ½-superlevel set of.
    dual : Tensor, `(3, B, H, W)`
        Dual variables in [-1, 1] of the differences to the pixels above, left and above right; with `relaxed` a warm
        start for the next call with similar costs.
    gap : Tensor, `(B,)`
        Upper bound of the energy of `mask` above the global minimum.
    iterations : int
        Of the image that took the most; those on coarser grids don't count.
    """

    mask: Tensor
    relaxed: Tensor
    dual: Tensor
    gap: Tensor
    iterations: int


def binary_length(u: Tensor, nu: Tensor) -> Tensor:
    """`Σₓ nuₓ ‖∇uₓ‖₂` for binary u through the three differences; on u in [0, 1] its tight convex extension.

    Two `(B, H, W)` to `(B,)`.
    """
    total = torch.zeros_like(u, memory_format=torch.contiguous_format)
    _add_length(total, u.contiguous(), _weights(nu))
    return total.sum(dim=(-2, -1))


@torch.no_grad()
def solve(
    cost: Tensor,
    nu: Tensor | float,
    *,
    start: Labelling | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    check_every: int = 10,
) -> Labelling:
    """Minimise `Σₓ nuₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ` over masks, globally up to the reported gap.

    An image leaves the batch as soon as it is done: its result is that of the image alone, up to the order of sums.

    Parameters
    ----------
    cost : Tensor, `(B, H, W)`
        What it costs to call a pixel foreground rather than background: `KL^Ω₁ - KL^Ω₂` in (3.15),
        `(I - c₁)² - (I - c₂)²` in (3.7).
    nu : float or Tensor broadcastable to `(B, H, W)`, at least 0
        Weight of the length; a tensor makes it depend on the place (geodesic length, as in Bresson et al. [6]).
    start : Labelling, optional
        An earlier solution to start from; default the one on a grid of half the size, which is found alike.
    tolerance : float
        An image is done when its gap is below this share of its `Σ |cost|`.
    max_iterations, check_every : int
        The gap is computed every `check_every` iterations. A GPU is waited for only then.

    Raises
    ------
    InputError
        When `nu` is negative somewhere.
    """
    nu = _checked(nu, cost)
    return _solve(_Saddle, cost, nu, start, tolerance, max_iterations, check_every)


@torch.no_grad()
def partition(
    cost: Tensor,
    nu: Tensor | float,
    *,
    start: Labelling | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 300,
    check_every: int = 10,
) -> Labelling:
    """Minimise `Σᵢ Σₓ (nuₓ ‖∇uᵢₓ‖₂ + costᵢₓ uᵢₓ)` over partitions into N phases, up to the reported gap.

    For three phases and more that is NP-hard. The relaxation needn't be tight, so the gap need not vanish with more
    iterations; where it does, the partition is a global minimiser.

    Parameters
    ----------
    cost : Tensor, `(B, N, H, W)`
        What each phase costs at each pixel: `KL^Ωᵢ` in (4.1).
    nu : float or Tensor broadcastable to `(B, H, W)`, at least 0
        Weight of the length, which (4.1) counts for each phase, so twice for each boundary.
    start, tolerance, max_iterations, check_every
        As in `solve`, a cost being counted by what it exceeds the least at its pixel.

    Returns
    -------
    Labelling
        With indicator functions `(B, N, H, W)` for the mask, and `(3, B, N, H, W)` for the dual.

    Raises
    ------
    InputError
        When `nu` is negative somewhere.
    """
    nu = _checked(nu, cost[:, 0])
    cost = (cost - cost.amin(dim=1, keepdim=True)).contiguous()
    return _solve(_PhasesSaddle, cost, nu[:, None].expand_as(cost), start, tolerance, max_iterations, check_every)


def _checked(nu: Tensor | float, pixels: Tensor) -> Tensor:
    nu = torch.as_tensor(nu, dtype=pixels.dtype, device=pixels.device).expand_as(pixels)
    if bool((nu < 0).any()):
        raise InputError(f"nu is {float(nu.min()):g}; the weight of the length must be at least 0")
    return nu


def _solve(
    kind: type[_Saddle],
    cost: Tensor,
    nu: Tensor,
    start: Labelling | None,
    tolerance: float,
    max_iterations: int,
    check_every: int,
) -> Labelling:
    if start is None:
        start = _coarse_start(kind, cost, nu, _COARSE * tolerance, max_iterations, check_every)
    allowed = tolerance * cost.abs().flatten(1).sum(dim=1)
    saddle = kind.of(cost, nu, start)
    relaxed, dual, gap = torch.empty_like(cost), torch.empty_like(saddle.dual), torch.empty_like(allowed)
    at_work, iterations = torch.arange(len(cost), device=cost.device), 0
    while len(at_work):
        steps = min(check_every, max_iterations - iterations)
        saddle.advance(steps)
        iterations += steps
        reached = saddle.gap()
        done = (reached <= allowed[at_work]) | (iterations >= max_iterations)
        if bool(done.any()):
            finished = at_work[done]
            relaxed[finished], gap[finished] = saddle.relaxed[done], reached[done]
            dual[:, finished] = (saddle.dual * (saddle.weights > 0))[:, done]  # pairs over the frame mean nothing
            at_work, saddle = at_work[~done], saddle.only(~done)
    return Labelling(kind.mask_of(relaxed), relaxed, dual, gap, iterations)


def _coarse_start(kind: type[_Saddle], cost: Tensor, nu: Tensor, *options) -> Labelling:
    """Where to start: the solution for pixels of twice the size, or on a small grid what each pixel alone prefers."""
    if min(cost.shape[-2:]) < 2 * _SMALLEST:
        mask = kind.mask_of(0.5 - cost)
        return Labelling(mask, mask.to(cost), cost.new_zeros(3, *cost.shape), cost.new_zeros(len(cost)), 0)
    coarse_cost = F.avg_pool2d(cost, 2, ceil_mode=True, divisor_override=1)
    coarse_nu = 2 * F.avg_pool2d(nu, 2, ceil_mode=True)  # the side of a larger pixel is twice as long
    return enlarged(_solve(kind, coarse_cost, coarse_nu, None, *options), cost.shape[-2:])


def enlarged(solution: Labelling, shape: tuple[int, int]) -> Labelling:
    """A solution as a start on a grid of twice the size: `shape` (H, W), whose sides may be odd."""
    height, width = shape

    def twice(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., :height, :width].contiguous()

    return solution._replace(mask=twice(solution.mask), relaxed=twice(solution.relaxed), dual=twice(solution.dual))


def _weights(nu: Tensor) -> Tensor:
    """Weights `(3, B, H, W)` of each pixel's differences to those above, left and above right."""
    weights = nu.new_zeros(3, *nu.shape)
    down, right, diagonal = weights
    # in the first row and column a pixel has one neighbour only, and the length there is |u - u_neighbour|
    down[..., 1:, :1], down[..., 1:, 1:] = nu[..., 1:, :1], nu[..., 1:, 1:] * _AXIS
    right[..., :1, 1:], right[..., 1:, 1:] = nu[..., :1, 1:], nu[..., 1:, 1:] * _AXIS
    diagonal[..., 1:, :-1] = nu[..., 1:, 1:] * _DIAGONAL
    return weights


def _pairs(values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of `(B, H, W)` in reading order: the pixels with one above, left, above right of them; and these."""
    row, width = values.view(-1), values.shape[-1]
    return [(row[shift:], row[: len(row) - shift]) for shift in (width, 1, width - 1)]


def _of_pairs(values: Tensor) -> list[Tensor]:
    """Views of `(3, B, H, W)` in reading order: what belongs to each of `_pairs`."""
    return [_pairs(each)[index][0] for index, each in enumerate(values)]


def _add_length(total: Tensor, u: Tensor, weights: Tensor) -> None:
    """Add to each pixel what its three differences contribute to the length."""
    for (there, _), weight, (pixel, neighbour) in zip(_pairs(total), _of_pairs(weights), _pairs(u), strict=True):
        there.addcmul_(weight, (pixel - neighbour).abs_())


@dataclass
class _Saddle:
    """Where the primal-dual iteration stands; images `(B, H, W)`, what belongs to differences `(3, B, H, W)`."""

    cost: Tensor
    weights: Tensor
    step: Tensor
    relaxed: Tensor
    leading: Tensor
    slope: Tensor
    dual: Tensor

    @classmethod
    def of(cls, cost: Tensor, nu: Tensor, start: Labelling) -> _Saddle:
        weights, touching = _weights(nu), torch.zeros_like(cost, memory_format=torch.contiguous_format)
        for weight, ends in zip(_of_pairs(weights), _pairs(touching), strict=True):
            for end in ends:
                end += weight
        step = 1 / touching.clamp_(min=torch.finfo(cost.dtype).eps)
        relaxed = start.relaxed.clone()
        return cls(cost.contiguous(), weights, step, relaxed, relaxed.clone(), touching, start.dual.clone())

    def advance(self, steps: int) -> None:
        """So many iterations."""
        following = torch.empty_like(self.relaxed)
        edges = list(
            zip(*map(_of_pairs, (self.dual, self.weights)), _pairs(self.leading), _pairs(self.slope), strict=True)
        )
        for _ in range(steps):
            for dual, _, (pixel, neighbour), _ in edges:
                dual.add_(pixel, alpha=0.5).sub_(neighbour, alpha=0.5)
            self.dual.clamp_(-1, 1)
            self.slope.copy_(self.cost)
            for dual, weight, _, (pixel, neighbour) in edges:
                pixel.addcmul_(weight, dual)
                neighbour.addcmul_(weight, dual, value=-1)
            torch.addcmul(self.relaxed, self.step, self.slope, value=-1, out=following)
            self.project(following)
            torch.lerp(self.relaxed, following, 2.0, out=self.leading)
            self.relaxed, following = following, self.relaxed

    def gap(self) -> Tensor:
        """How far the mask's energy may be above the minimum, `(B,)`: its energy minus the dual's."""
        u = self.mask_of(self.relaxed).to(self.cost)
        difference = (self.cost * u).sub_(self.least(self.slope))
        _add_length(difference, u, self.weights)
        return difference.flatten(1).sum(dim=1).clamp_(min=0)  # rounding may take it below

    def only(self, images: Tensor) -> _Saddle:
        """Without the images that are False in `(B,)`."""
        paired = ("weights", "dual")
        return type(self)(
            **{name: value[:, images] if name in paired else value[images] for name, value in vars(self).items()}
        )

    @staticmethod
    def mask_of(relaxed: Tensor) -> Tensor:
        """The mask that a relaxed solution is rounded to."""
        return relaxed > 0.5

    @staticmethod
    def project(u: Tensor) -> None:
        """Move u to the nearest one that is allowed, in place."""
        u.clamp_(0, 1)

    @staticmethod
    def least(slope: Tensor) -> Tensor:
        """What any allowed u costs at least at a pixel."""
        return slope.clamp(max=0)


class _PhasesSaddle(_Saddle):
    """The same for partitions, images `(B, N, H, W)`: at each pixel u is on the simplex."""

    @staticmethod
    def mask_of(relaxed: Tensor) -> Tensor:
        return torch.zeros_like(relaxed, dtype=torch.bool).scatter_(1, relaxed.argmax(dim=1, keepdim=True), True)

    @staticmethod
    def project(u: Tensor) -> None:
        # Michelot (1986): onto the hyperplane of sum 1 among the phases not yet 0; each round takes at least one to 0
        active = torch.ones_like(u)
        for _ in range(u.shape[1] - 1):
            excess = ((u * active).sum(dim=1, keepdim=True) - 1) / active.sum(dim=1, keepdim=True)
            torch.gt(u, excess, out=active)
        excess = ((u * active).sum(dim=1, keepdim=True) - 1) / active.sum(dim=1, keepdim=True)
        u.sub_(excess).clamp_(min=0)

    @staticmethod
    def least(slope: Tensor) -> Tensor:
        least = torch.zeros_like(slope)
        least[:, 0] = slope.amin(dim=1)
        return least
