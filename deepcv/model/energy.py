"""The terms of the energy, as pure functions of tensors.

Shapes: `H, W` pixels, `B` independent problems solved side by side, `N` phases, `d` latent dimensions, `C` image
channels. A vector field has its two components (down, right) before the pixels: `(..., 2, H, W)`. As in the paper, sums
run over pixels, to one number per problem.

Equation numbers are those of Zheng, Bao, Shi, Ling and Ma, "Unsupervised Deep Learning Meets Chan-Vese Model".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def gradient(u: Tensor) -> Tensor:
    """Backward differences, `(∇u)ᵢⱼ = (uᵢⱼ - uᵢ₋₁ⱼ, uᵢⱼ - uᵢⱼ₋₁)`, as under (3.16).

    Parameters
    ----------
    u : Tensor, `(..., H, W)`

    Returns
    -------
    Tensor, `(..., 2, H, W)`
        Zero where the neighbour is outside the image, so that the frame is no boundary; the paper leaves this open.
    """
    down = torch.zeros_like(u)
    right = torch.zeros_like(u)
    down[..., 1:, :] = u[..., 1:, :] - u[..., :-1, :]
    right[..., :, 1:] = u[..., :, 1:] - u[..., :, :-1]
    return torch.stack((down, right), dim=-3)


def norm_12(w: Tensor) -> Tensor:
    """`‖w‖₁,₂ = Σₓ ‖wₓ‖₂` of a vector field `(..., 2, H, W)`, as under (3.16); the result has shape `(...)`.

    Its gradient at `wₓ = 0`, where the norm has a kink, is 0 (a subgradient).
    """
    return torch.linalg.vector_norm(w, dim=-3).sum(dim=(-2, -1))


def total_variation(u: Tensor) -> Tensor:
    """Length of the boundary, `‖∇u‖₁,₂`, the first term of (3.16); `(..., H, W)` to `(...)`, in pixels."""
    return norm_12(gradient(u))


def shrink(v: Tensor, threshold: Tensor | float) -> Tensor:
    """Proposition 3.2: `argmin_w threshold·‖w‖₁,₂ + ½‖w - v‖₂²`, by shrinking each vector towards 0 (3.21).

    Parameters
    ----------
    v : Tensor, `(..., 2, H, W)`
        `∇S(φ)` in the paper.
    threshold : float or Tensor that broadcasts with `v`, at least 0
        `ν/λ` in the paper.
    """
    length = torch.linalg.vector_norm(v, dim=-3, keepdim=True)
    # for a zero vector the quotient in (3.21) is 0/0, and the solution is 0
    return v * ((length - threshold).clamp(min=0) / length.clamp(min=torch.finfo(v.dtype).tiny))


def gaussian_kl(mean: Tensor, variance: Tensor | float, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """`KLₓ^Ωᵢ` of (3.14): from the encoder's Gaussian at each pixel to each phase's prior, for diagonal covariances.

    Parameters
    ----------
    mean : Tensor, `(B, d, H, W)`
        `𝒢^μ(I)`.
    variance : Tensor, `(B, d, H, W)`, or float, positive
        `𝒢^σ(I)`, the diagonal; 1.0 for the fixed unit variance of (5.1).
    prior_mean, prior_variance : Tensor, `(N, d)`
        `μᵢ` and the diagonal of `Σᵢ`.

    Returns
    -------
    Tensor, `(B, N, H, W)`, at least 0.
    """
    prior_mean = prior_mean.to(mean)[None, :, :, None, None]
    prior_variance = prior_variance.to(mean)[None, :, :, None, None]
    ratio = (variance[:, None] if isinstance(variance, Tensor) else variance) / prior_variance
    distance = (mean[:, None] - prior_mean) ** 2 / prior_variance
    return 0.5 * (distance + (ratio - 1 - torch.log(ratio))).sum(dim=2)


def reconstruction(
    decode: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor | float, image: Tensor, noise: Tensor
) -> Tensor:
    """Monte-Carlo estimate of `½ E_η ‖ℱ(𝒢^μ(I) + √𝒢^σ(I) η) - I‖²`, the first term of (3.15), (7.1)-(7.2).

    Parameters
    ----------
    decode : callable, `(B, d, H, W)` to `(B, C, H, W)`
        The decoder ℱ.
    mean, variance : Tensor `(B, d, H, W)`, or float for the variance
        The encoder's outputs.
    image : Tensor, `(B, C, H, W)`
    noise : Tensor, `(M, B, d, H, W)`
        M draws of η ~ N(0, I); the paper takes M = 1 (Remark 1).

    Returns
    -------
    Tensor, `(B,)`
    """
    deviation = variance.sqrt() if isinstance(variance, Tensor) else math.sqrt(variance)
    total: Any = sum(((decode(mean + deviation * eta) - image) ** 2).sum(dim=(1, 2, 3)) for eta in noise)
    return 0.5 * total / len(noise)


def region(memberships: Tensor, kl: Tensor) -> Tensor:
    """`Σₓ Σᵢ uᵢₓ KLₓ^Ωᵢ`, the last term of (3.15) and (4.1); two `(B, N, H, W)` to `(B,)`."""
    return (memberships * kl).sum(dim=(1, 2, 3))


def splitting(contours: Tensor, w: Tensor, penalty: float) -> Tensor:
    """`(λ/2) Σᵢ ‖wᵢ - ∇uᵢ‖₂²`, the quadratic term of (3.18) and (4.5).

    Parameters
    ----------
    contours : Tensor, `(B, K, H, W)`
        Memberships whose boundaries count: u for two phases, all N for more (`phases.contours`).
    w : Tensor, `(B, K, 2, H, W)`
    penalty : float
        λ.

    Returns
    -------
    Tensor, `(B,)`
    """
    return penalty / 2 * ((w - gradient(contours)) ** 2).sum(dim=(1, 2, 3, 4))
