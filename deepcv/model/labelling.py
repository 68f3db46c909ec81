"""The exact u-step: the labelling problems (3.16) and (4.1) for fixed networks.

For fixed networks (3.16) is `min Σₓ nuₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ` over u ∈ {0, 1}, with `cost = KL^Ω₁ - KL^Ω₂`.

For a binary mask the length at a pixel is 0, 1 or √2 if none, one or both of its neighbours (above, left) differ from
it. Three differences give the same values,

    ‖∇u‖₂ = (√2/2) |u - u_above| + (√2/2) |u - u_left| + (1 - √2/2) |u_above - u_left|,

with nonnegative weights. So (3.16) is a minimum cut, and its relaxation to u ∈ [0, 1] with this length is tight: each
superlevel set of a solution is a global minimiser (by the co-area argument of Chan, Esedoğlu and Nikolova [10], which
fails for the isotropic discrete length itself). The relaxation is solved by the primal-dual method of Chambolle and
Pock (2011) with the diagonal preconditioning of Pock and Chambolle (2011), from coarse to fine; the duality gap bounds
the distance of the mask's energy to the global minimum.

With N phases the lengths in (4.1) are those of indicator functions, so the same three differences make it a Potts
problem. Its relaxation, u on the simplex at each pixel (the linear programme of Kleinberg and Tardos, 2002), is solved
the same way and rounded to the largest membership. It is often tight, but not always; the gap shows when.

In memory the pixels of all images form one row, in which the neighbours above, left and above right of a pixel are W, 1
and W - 1 places before it. The differences to a neighbour are then one subtraction of two long pieces of the same
array, several times as fast as row by row; pairs across the frame have weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deepcv.errors import InputError

_AXIS = math.sqrt(0.5)
_DIAGONAL = 1 - _AXIS
_SMALLEST = 8  # pixels on the shorter side of the coarsest grid
_COARSE = 10  # factor of the tolerance on the coarser grids


class Labelling(NamedTuple):
    """A solution of the labelling problem.

    Attributes
    ----------
    mask : Tensor of bool, `(B, H, W)`
    relaxed : Tensor, `(B, H, W)`
        The relaxed u in [0, 1]; `mask` is its ½-superlevel set.
    dual : Tensor, `(3, B, H, W)`
        Dual variables in [-1, 1] of the differences to the pixels above, left and above right; together with `relaxed`
        a warm start for similar costs.
    gap : Tensor, `(B,)`
        Upper bound on the difference between the energy of `mask` and the global minimum.
    iterations : int
        Of the slowest image, on the finest grid.
    """

    mask: Tensor
    relaxed: Tensor
    dual: Tensor
    gap: Tensor
    iterations: int


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

    An image leaves the batch as soon as it is done, so its result doesn't depend on the others, up to rounding.

    Parameters
    ----------
    cost : Tensor, `(B, H, W)`
        Cost of labelling a pixel foreground rather than background: `KL^Ω₁ - KL^Ω₂` in (3.15), `(I - c₁)² - (I - c₂)²`
        in (3.7).
    nu : float or Tensor broadcastable to `(B, H, W)`, at least 0
        Weight of the length; as a tensor it varies over the image (geodesic length, as in Bresson et al. [6]).
    start : Labelling, optional
        Solution to start from; default: the solution on a grid of half the size.
    tolerance : float
        An image is done when its gap is at most this share of its `Σ |cost|`.
    max_iterations, check_every : int
        The gap is computed, and a GPU synchronised, every `check_every` iterations.

    Raises
    ------
    InputError
        For a negative `nu`.
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

    For three phases and more this is NP-hard. If the relaxation isn't tight, the gap doesn't vanish with more
    iterations; if it vanishes, the partition is a global minimiser.

    Parameters
    ----------
    cost : Tensor, `(B, N, H, W)`
        Cost of each phase at each pixel: `KL^Ωᵢ` in (4.1).
    nu : float or Tensor broadcastable to `(B, H, W)`, at least 0
        Weight of the length, which (4.1) counts for each phase, so twice for each boundary.
    start, tolerance, max_iterations, check_every
        As for `solve`, with costs relative to the smallest at their pixel.

    Returns
    -------
    Labelling
        `mask` holds indicator functions `(B, N, H, W)`, `relaxed` memberships of this shape; `dual` is `(3, B, N, H,
        W)`.

    Raises
    ------
    InputError
        For a negative `nu`.
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
            dual[:, finished] = (saddle.dual * (saddle.weights > 0))[:, done]  # zero for pairs across the frame
            at_work, saddle = at_work[~done], saddle.only(~done)
    return Labelling(kind.mask_of(relaxed), relaxed, dual, gap, iterations)


def _coarse_start(kind: type[_Saddle], cost: Tensor, nu: Tensor, *options) -> Labelling:
    """A start from the solution for pixels of twice the size or, on a small grid, from each pixel's preference."""
    if min(cost.shape[-2:]) < 2 * _SMALLEST:
        mask = kind.mask_of(0.5 - cost)
        return Labelling(mask, mask.to(cost), cost.new_zeros(3, *cost.shape), cost.new_zeros(len(cost)), 0)
    coarse_cost = F.avg_pool2d(cost, 2, ceil_mode=True, divisor_override=1)
    coarse_nu = 2 * F.avg_pool2d(nu, 2, ceil_mode=True)  # a larger pixel's side is twice as long
    return enlarged(_solve(kind, coarse_cost, coarse_nu, None, *options), cost.shape[-2:])


def enlarged(solution: Labelling, shape: Sequence[int]) -> Labelling:
    """A solution as a start on a grid of twice the size, `(H, W)`, whose sides may be odd."""
    height, width = shape

    def twice(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., :height, :width].contiguous()

    return solution._replace(mask=twice(solution.mask), relaxed=twice(solution.relaxed), dual=twice(solution.dual))


def _weights(nu: Tensor) -> Tensor:
    """Weights `(3, B, H, W)` of each pixel's differences to those above, left and above right."""
    weights = nu.new_zeros(3, *nu.shape)
    down, right, diagonal = weights
    # a pixel of the first row or column has only one neighbour, and its length is |u - u_neighbour|
    down[..., 1:, :1], down[..., 1:, 1:] = nu[..., 1:, :1], nu[..., 1:, 1:] * _AXIS
    right[..., :1, 1:], right[..., 1:, 1:] = nu[..., :1, 1:], nu[..., 1:, 1:] * _AXIS
    diagonal[..., 1:, :-1] = nu[..., 1:, 1:] * _DIAGONAL
    return weights


def _pairs(values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of `(B, H, W)` in reading order: pixels and their neighbours above, left and above right."""
    row, width = values.view(-1), values.shape[-1]
    return [(row[shift:], row[: len(row) - shift]) for shift in (width, 1, width - 1)]


def _of_pairs(values: Tensor) -> list[Tensor]:
    """Views of `(3, B, H, W)` in reading order: the values for each of `_pairs`."""
    return [_pairs(each)[index][0] for index, each in enumerate(values)]


def _add_length(total: Tensor, u: Tensor, weights: Tensor) -> None:
    """Add the length at each pixel to `total`, in place."""
    for (there, _), weight, (pixel, neighbour) in zip(_pairs(total), _of_pairs(weights), _pairs(u), strict=True):
        there.addcmul_(weight, (pixel - neighbour).abs_())


@dataclass
class _Saddle:
    """State of the primal-dual iteration; images are `(B, H, W)`, values of differences `(3, B, H, W)`."""

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
        """Run this many iterations."""
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
        """Upper bound on the mask's energy minus the minimum, `(B,)`: its energy minus the dual's."""
        u = self.mask_of(self.relaxed).to(self.cost)
        difference = (self.cost * u).sub_(self.least(self.slope))
        _add_length(difference, u, self.weights)
        return difference.flatten(1).sum(dim=1).clamp_(min=0)  # rounding may make it negative

    def only(self, images: Tensor) -> _Saddle:
        """The same for the images that are True in `(B,)`."""
        paired = ("weights", "dual")
        return type(self)(
            **{name: value[:, images] if name in paired else value[images] for name, value in vars(self).items()}
        )

    @staticmethod
    def mask_of(relaxed: Tensor) -> Tensor:
        """Round a relaxed solution."""
        return relaxed > 0.5

    @staticmethod
    def project(u: Tensor) -> None:
        """Project u onto the feasible set, in place."""
        u.clamp_(0, 1)

    @staticmethod
    def least(slope: Tensor) -> Tensor:
        """Lower bound on the cost of a feasible u at each pixel."""
        return slope.clamp(max=0)


class _PhasesSaddle(_Saddle):
    """The same for partitions `(B, N, H, W)`, with u on the simplex at each pixel."""

    @staticmethod
    def mask_of(relaxed: Tensor) -> Tensor:
        return torch.zeros_like(relaxed, dtype=torch.bool).scatter_(1, relaxed.argmax(dim=1, keepdim=True), True)

    @staticmethod
    def project(u: Tensor) -> None:
        # Michelot (1986): onto the hyperplane of sum 1 over the phases not yet 0; each round sets at least one to 0
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
