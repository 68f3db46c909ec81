"""Memberships u as functions of φ, and the Gaussian of each phase in the latent space.

Labels follow the order of the memberships. With two phases label 1 is the paper's foreground Ω₁ and label 0 the
background.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


def sigmoid_memberships(phi: Tensor) -> Tensor:
    """`1 - u` and `u = S(φ)`, as in (3.17): background and foreground; `(B, 1, H, W)` to `(B, 2, H, W)`."""
    return torch.cat((torch.sigmoid(-phi), torch.sigmoid(phi)), dim=1)


def arctan_memberships(phi: Tensor) -> Tensor:
    """`u = ½ + arctan(φ)/π`, the Heaviside function (ε = 1) that the authors' released code uses for the KL term."""
    u = 0.5 + torch.atan(phi) / math.pi
    return torch.cat((1 - u, u), dim=1)


def softmax_memberships(phi: Tensor) -> Tensor:
    """`uᵢ = exp φᵢ / Σⱼ exp φⱼ`, (4.2); `(B, N, H, W)` to `(B, N, H, W)`."""
    return torch.softmax(phi, dim=1)


def labels_of(memberships: Tensor) -> Tensor:
    """The phase of the greatest membership, the first of equal ones; `(B, N, H, W)` to `(B, H, W)`."""
    if memberships.shape[1] == 2:  # a comparison takes a tenth of the time of torch's argmax
        return (memberships[:, 1] > memberships[:, 0]).long()
    return memberships.argmax(dim=1)


def contours(memberships: Tensor) -> Tensor:
    """The memberships whose boundaries the length term counts.

    Two phases share one boundary, which (3.15) counts once; (4.1) counts the boundary of every phase, so each one
    twice. For N = 2 it is the two-phase model with 2ν.
    """
    return memberships[:, 1:] if memberships.shape[1] == 2 else memberships


def initial_phi(hint: Tensor, limit: float = 1.0) -> Tensor:
    """The field whose sigmoid is the hint, clipped to ±`limit` so that the gradient of S doesn't vanish.

    In the paper u starts from the saliency map; the clipping is the released code's.

    `(B, H, W)` in [0, 1] to `(B, 1, H, W)`.
    """
    return torch.logit(hint.clamp(0.01, 0.99)).clamp(-limit, limit)[:, None]


class LatentPrior(NamedTuple):
    """`p(Zₓ | uₓ = i) = N(μᵢ, Σᵢ)` with diagonal covariances, (3.8): a row per phase, in the order of the labels."""

    mean: Tensor
    variance: Tensor


def latent_prior(phases: int, mean: float) -> LatentPrior:
    """The paper's prior (section 5.1), `(N, d)` each, with unit variances.

    Two phases: d = 1, the foreground at `mean` and the background at `-mean`. More: d = N and `μᵢ = mean · eᵢ`.
    """
    means = torch.tensor([[-mean], [mean]]) if phases == 2 else mean * torch.eye(phases)
    return LatentPrior(means, torch.ones_like(means))
