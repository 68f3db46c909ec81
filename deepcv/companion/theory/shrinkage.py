"""Proposition 3.2: the shrinkage formula against a search for the minimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepcv.model import energy, phases

PAPERS_THRESHOLD = 10.0
"""ν/λ with the paper's ν and the released code's λ."""

THRESHOLDS = (0.01, 0.05, 0.2)
"""ν/λ that keep some vectors and set others to 0."""

_VECTORS = 40  # minimised by search, for each threshold


def shrinkage(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """The formula (3.21) against a search for the minimum of (3.20), for vectors of `∇S(φ)`, φ from hint and noise.

    Gives `deviation`, log₁₀ of the greatest distance between the two minimisers; `excess`, log₁₀ of the greatest
    excess of the formula's energy over the search's, at least -16; `zeroed`, the share of vectors that `THRESHOLDS`
    set to 0; `zeroed_paper`, the share that `PAPERS_THRESHOLD` does.
    """
    generator = torch.Generator().manual_seed(seed)
    phi = phases.initial_phi(hint) + 0.1 * torch.randn(hint.shape, generator=generator, dtype=torch.double)
    vectors = energy.gradient(torch.sigmoid(phi))
    chosen = torch.randperm(hint.numel(), generator=generator)[:_VECTORS]
    deviation, excess, zeroed = 0.0, 0.0, []
    for threshold in THRESHOLDS:
        zeroed.append(_zeroed(vectors, threshold))
        found = energy.shrink(vectors, threshold).flatten(-2)[0, 0, :, chosen].T.numpy()
        for v, w in zip(vectors.flatten(-2)[0, 0, :, chosen].T.numpy(), found, strict=True):
            searched = searched_minimum(v, threshold)
            deviation = max(deviation, float(np.linalg.norm(searched - w)))
            excess = max(excess, _shrunk_energy(w, v, threshold) - _shrunk_energy(searched, v, threshold))
    return {
        "deviation": np.log10(max(deviation, 1e-16)),
        "excess": np.log10(max(excess, 1e-16)),
        "zeroed": float(np.mean(zeroed)),
        "zeroed_paper": _zeroed(vectors, PAPERS_THRESHOLD),
    }


def _zeroed(vectors: Tensor, threshold: float) -> float:
    return (torch.linalg.vector_norm(energy.shrink(vectors, threshold), dim=-3) == 0).double().mean().item()


def _shrunk_energy(w: np.ndarray, v: np.ndarray, threshold: float) -> float:
    return float(threshold * np.linalg.norm(w) + 0.5 * np.sum((w - v) ** 2))


def searched_minimum(v: np.ndarray, threshold: float) -> np.ndarray:
    """`argmin_w threshold·‖w‖₂ + ½‖w - v‖₂²` for one vector `(2,)`, by a search that uses no derivative."""
    from scipy.optimize import minimize

    start = v + 0.1  # off the ray through v, on which the formula's solution lies
    options = {"xatol": 1e-12, "fatol": 1e-18, "maxiter": 2000}
    found = minimize(_shrunk_energy, start, (v, threshold), "Nelder-Mead", options=options).x
    return min((found, np.zeros(2)), key=lambda w: _shrunk_energy(w, v, threshold))  # the kink at 0
