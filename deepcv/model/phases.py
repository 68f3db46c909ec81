"""Level-set fields φ → memberships u → labels, and the Gaussian that each phase has in the latent space.

Labels follow the order of the memberships. With two phases label 1 is the foreground Ω₁ of the paper and label 0 the
background, so a mask reads as usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepcv.checks import check_whole


def sigmoid_memberships(phi: Tensor) -> Tensor:
    """`u = S(φ)` and `1 - u`, as in (3.17).

    Parameters
    ----------
    phi : Tensor, `(B, 1, H, W)`

    Returns
    -------
    Tensor, `(B, 2, H, W)`
        Background first, foreground second.
    """
    return torch.cat((torch.sigmoid(-phi), torch.sigmoid(phi)), dim=1)


def arctan_memberships(phi: Tensor) -> Tensor:
    """`u = ½ + arctan(φ)/π`, the Heaviside function (ε = 1) that the authors' released code uses for the KL term."""
    u = 0.5 + torch.atan(phi) / math.pi
    return torch.cat((1 - u, u), dim=1)


def softmax_memberships(phi: Tensor) -> Tensor:
    """`uᵢ = exp φᵢ / Σⱼ exp φⱼ`, (4.2); `(B, N, H, W)` to `(B, N, H, W)`."""
    return torch.softmax(phi, dim=1)


def contours(memberships: Tensor) -> Tensor:
    """The memberships whose boundaries the length term counts.

    Two phases share one boundary and (3.15) counts it once; (4.1) counts every phase's own, so each boundary twice.
    N phases with N = 2 are therefore the two-phase model at 2ν.
    """
    return memberships[:, 1:] if memberships.shape[1] == 2 else memberships


def initial_phi(hint: Tensor, limit: float = 1.0) -> Tensor:
    """The field whose sigmoid is the hint, kept within ±`limit` so that the gradient of S doesn't vanish.

    The paper says that u starts from the saliency map; the clipping is the released code's.

    Parameters
    ----------
    hint : Tensor, `(B, H, W)`, in [0, 1]

    Returns
    -------
    Tensor, `(B, 1, H, W)`
    """
    return torch.logit(hint.clamp(0.01, 0.99)).clamp(-limit, limit)[:, None]


@dataclass(frozen=True)
class LatentPrior:
    """`p(Zₓ | uₓ = i) = N(μᵢ, Σᵢ)` with diagonal covariances, (3.8).

    Attributes
    ----------
    mean, variance : Tensor, `(N, d)`
        One row a phase, in the order of the labels.
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def two_phase(cls, mean: float = 10.0) -> LatentPrior:
        """d = 1, the foreground at `mean` and the background at `-mean`, unit variances (section 5.1)."""
        return cls(torch.tensor([[-mean], [mean]]), torch.ones(2, 1))

    @classmethod
    def multi_phase(cls, phases: int, mean: float = 5.0) -> LatentPrior:
        """d = N and `μᵢ = mean · eᵢ`, unit variances (section 5.1).

        Raises
        ------
        InputError
            For fewer than two phases.
        """
        check_phases(phases)
        return cls(mean * torch.eye(phases), torch.ones(phases, phases))


def check_phases(phases: int) -> None:
    """Raise `InputError` unless there are 2 to 256 phases (labels are uint8)."""
    check_whole("phases", phases, 2, 256)
