"""The u-step solved exactly: the binary labelling problem (3.16) with the networks held fixed.

For fixed networks (3.16) is `min Σₓ nuₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ` over u ∈ {0, 1}, with `cost = KL^Ω₁ - KL^Ω₂`.

On a binary mask the length at a pixel depends on how many of its two neighbours (above, left) differ from it: 0, 1 or
√2. Three differences give the same three values,

    ‖∇u‖₂ = (√2/2) |u - u_above| + (√2/2) |u - u_left| + (1 - √2/2) |u_above - u_left|,

with nonnegative weights, so (3.16) is a minimum cut and its relaxation to u ∈ [0, 1] with this length is tight: each
superlevel set of a solution is a global minimiser (the co-area argument of Chan, Esedoğlu and Nikolova [10], which the
isotropic discrete length itself doesn't satisfy). The relaxation is solved by the primal-dual method of Chambolle and
Pock (2011) with the diagonal preconditioning of Pock and Chambolle (2011); the duality gap says how far from the
global minimum the returned mask can be.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepcv.images import InputError

_AXIS = math.sqrt(0.5)
_DIAGONAL = 1 - _AXIS


class Labelling(NamedTuple):
    """A solution of the labelling problem.

    Attributes
    ----------
    mask : Tensor of bool, `(B, H, W)`
    relaxed : Tensor, `(B, H, W)`
        The relaxed u in [0, 1] that `mask` is the ½-superlevel set of.
    dual : tuple of three Tensors
        Dual variables, a warm start for the next call with similar costs.
    gap : Tensor, `(B,)`
        Upper bound of the energy of `mask` above the global minimum.
    iterations : int
    """

    mask: Tensor
    relaxed: Tensor
    dual: tuple[Tensor, Tensor, Tensor]
    gap: Tensor
    iterations: int


def _differences(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To the pixel above, to the pixel on the left, and between these two."""
    return u[..., 1:, :] - u[..., :-1, :], u[..., 1:] - u[..., :-1], u[..., :-1, 1:] - u[..., 1:, :-1]


def _adjoint(down: Tensor, right: Tensor, diagonal: Tensor, like: Tensor) -> Tensor:
    out = torch.zeros_like(like)
    out[..., 1:, :] += down
    out[..., :-1, :] -= down
    out[..., 1:] += right
    out[..., :-1] -= right
    out[..., :-1, 1:] += diagonal
    out[..., 1:, :-1] -= diagonal
    return out


def _weights(nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the three differences for a length weight `nu` `(B, H, W)` at each pixel."""
    # in the first row and column a pixel has one neighbour only, and the length there is |u - u_neighbour|
    down = nu[..., 1:, :] * _AXIS
    down[..., 0] = nu[..., 1:, 0]
    right = nu[..., 1:] * _AXIS
    right[..., 0, :] = nu[..., 0, 1:]
    return down, right, nu[..., 1:, 1:] * _DIAGONAL


def binary_length(u: Tensor, nu: Tensor) -> Tensor:
    """`Σₓ nuₓ ‖∇uₓ‖₂` for binary u through the three differences; on u in [0, 1] its tight convex extension.

    Two `(B, H, W)` to `(B,)`.
    """
    terms = zip(_weights(nu), _differences(u), strict=True)
    return sum((weight * difference.abs()).sum(dim=(-2, -1)) for weight, difference in terms)


def solve(
    cost: Tensor,
    nu: Tensor | float,
    *,
    start: Labelling | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    check_every: int = 25,
) -> Labelling:
    """Minimise `Σₓ nuₓ ‖∇uₓ‖₂ + Σₓ costₓ uₓ` over masks, globally up to the reported gap.

    Parameters
    ----------
    cost : Tensor, `(B, H, W)`
        What it costs to call a pixel foreground rather than background: `KL^Ω₁ - KL^Ω₂` in (3.15),
        `(I - c₁)² - (I - c₂)²` in (3.7).
    nu : float or Tensor broadcastable to `(B, H, W)`, at least 0
        Weight of the length; a tensor makes it depend on the place (geodesic length, as in Bresson et al. [6]).
    start : Labelling, optional
        An earlier solution to start from.
    tolerance : float
        Stop when the gap is below this share of `Σ |cost|`.
    max_iterations, check_every : int
        The gap is computed every `check_every` iterations.

    Raises
    ------
    InputError
        When `nu` is negative somewhere.
    """
    nu = torch.as_tensor(nu, dtype=cost.dtype, device=cost.device).expand_as(cost)
    if bool((nu < 0).any()):
        raise InputError(f"nu is {float(nu.min()):g}; the weight of the length must be at least 0")
    weights = _weights(nu)
    step = 1 / _adjoint_magnitude(weights, cost)
    if start is None:
        relaxed = (cost < 0).to(cost.dtype)
        dual = tuple(torch.zeros_like(weight) for weight in weights)
    else:
        relaxed, dual = start.relaxed.clone(), tuple(p.clone() for p in start.dual)
    leading = relaxed.clone()
    allowed = tolerance * cost.abs().sum(dim=(-2, -1))
    for iteration in range(1, max_iterations + 1):
        for p, difference in zip(dual, _differences(leading), strict=True):
            p.add_(difference, alpha=0.5).clamp_(-1, 1)
        slope = cost + _adjoint(*(w * p for w, p in zip(weights, dual, strict=True)), cost)
        previous = relaxed
        relaxed = (relaxed - step * slope).clamp_(0, 1)
        leading = 2 * relaxed - previous
        if iteration % check_every == 0 or iteration == max_iterations:
            mask = relaxed > 0.5
            u = mask.to(cost.dtype)
            primal = binary_length(u, nu) + (cost * u).sum(dim=(-2, -1))
            gap = (primal - slope.clamp(max=0).sum(dim=(-2, -1))).clamp(min=0)  # rounding may take it below
            if bool((gap <= allowed).all()):
                break
    return Labelling(mask, relaxed, dual, gap, iteration)


def _adjoint_magnitude(weights: tuple[Tensor, Tensor, Tensor], like: Tensor) -> Tensor:
    """Sum of the weights that touch each pixel: the diagonal preconditioner's row sums."""
    total = torch.zeros_like(like)
    down, right, diagonal = weights
    total[..., 1:, :] += down
    total[..., :-1, :] += down
    total[..., 1:] += right
    total[..., :-1] += right
    total[..., :-1, 1:] += diagonal
    total[..., 1:, :-1] += diagonal
    return total.clamp(min=torch.finfo(like.dtype).eps)
