"""Theorem 3.3: descents with step sizes that meet its assumptions, and the inequalities of its proof."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv.model import energy, phases
from deepcv.model.networks import StackedConv2d, UNet

NU, LATENT_MEAN = 1.0, 10.0
"""ν and the latent means ±10 of section 5.1."""

PENALTY = 10.0
"""λ. With the released code's 0.1, w would stay 0."""

CLOSE_TO_BOUND = 0.9
"""α in units of 2/L."""

ATTEMPTS = 20
"""Most starts of a descent, each with a larger L."""

ESTIMATES = 15
"""Points along a path at which L is estimated."""


def smooth_network(in_channels: int, out_channels: int, width: int, seed: int, normalised: bool = False) -> nn.Module:
    """A network as in (3.22) with sigmoid activations, `(1, in, H, W)` to `(1, out, H, W)`, in double precision.

    It has two 3×3 convolutions of `width` channels and a linear 1×1 one. `normalised` adds an instance normalisation
    before each activation: the U-Net [39] without levels.
    """
    if normalised:
        return UNet(in_channels, out_channels, width=width, levels=0, seeds=[seed], activation=torch.sigmoid).double()
    generators = [torch.Generator().manual_seed(seed)]
    return nn.Sequential(
        StackedConv2d(in_channels, width, 3, generators),
        nn.Sigmoid(),
        StackedConv2d(width, width, 3, generators),
        nn.Sigmoid(),
        StackedConv2d(width, out_channels, 1, generators),
    ).double()


class SplitEnergy(nn.Module):
    """`E_LS` (3.18) of one image, summed over pixels, as a function of its parameters y = (θ, γ, φ) and of w.

    `image`, `(1, C, H, W)`, and `hint`, where φ starts, `(1, H, W)`, are in double precision. `seed` is that of the
    networks and of η, which stays the same; `width` and `normalised` are those of `smooth_network`.
    """

    def __init__(self, image: Tensor, hint: Tensor, seed: int, *, width: int, normalised: bool = False):
        super().__init__()
        self.image = image
        self.encoder = smooth_network(image.shape[1], 1, width, 2 * seed, normalised)
        self.decoder = smooth_network(1, image.shape[1], width, 2 * seed + 1, normalised)
        self.phi = nn.Parameter(phases.initial_phi(hint))
        self.prior = phases.latent_prior(2, LATENT_MEAN)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = self.draw()

    def draw(self) -> Tensor:
        """A new η, `(1, 1, 1, H, W)`."""
        shape = (1, 1, 1, *self.image.shape[2:])
        return torch.randn(shape, generator=self.generator, dtype=torch.double)

    def forward(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """What (3.19) differentiates: (3.18) without `ν‖w‖₁,₂`; with its own η, or another."""
        mean, u = self.encoder(self.image), phases.sigmoid_memberships(self.phi)
        kl = energy.gaussian_kl(mean, 1.0, self.prior.mean, self.prior.variance)
        fit = energy.reconstruction(self.decoder, mean, 1.0, self.image, self.noise if noise is None else noise)
        return (fit + energy.region(u, kl) + energy.splitting(phases.contours(u), w, PENALTY)).sum()

    @torch.no_grad()
    def total(self, w: Tensor) -> float:
        """`E_LS`."""
        return (self(w) + NU * energy.norm_12(w).sum()).item()

    @torch.no_grad()
    def best_w(self) -> Tensor:
        """(3.21)."""
        contours = phases.contours(phases.sigmoid_memberships(self.phi))
        return energy.shrink(energy.gradient(contours), NU / PENALTY)

    def gradient(self, w: Tensor, noise: Tensor | None = None, create_graph: bool = False) -> Tensor:
        """The gradient in y as one vector."""
        parts = torch.autograd.grad(self(w, noise), list(self.parameters()), create_graph=create_graph)
        return torch.cat([part.reshape(-1) for part in parts])


def lipschitz(model: SplitEnergy, w: Tensor, start: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """The local Lipschitz constant of the gradient in y: the Hessian's spectral norm, to 1 %, and its eigenvector.

    A Lanczos iteration estimates it from below.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    gradient = model.gradient(w, create_graph=True)
    parameters, size = list(model.parameters()), len(gradient)

    def hessian_times(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1))
        parts = torch.autograd.grad(gradient, parameters, direction, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in parts]).numpy()

    start = np.ones(size) if start is None else start
    operator = LinearOperator((size, size), matvec=hessian_times, dtype=float)
    values, vectors = eigsh(operator, k=1, which="LM", tol=1e-2, v0=start)
    return float(abs(values[0])), vectors[:, 0]


class Path(NamedTuple):
    """A descent of K steps."""

    energy: np.ndarray
    """`E_LS(xᵏ)`, `(K + 1,)`."""
    gradient: np.ndarray
    """`‖∇_y E_LS(xᵏ)‖`, which is the distance of 0 to the subdifferential because w is optimal, `(K + 1,)`."""
    moved: np.ndarray
    """`‖yᵏ⁺¹ - yᵏ‖` and `‖wᵏ⁺¹ - wᵏ‖`, `(K, 2)`."""
    lipschitz: dict[int, float]
    """The local L by step, at some steps and wherever the energy rose: steps under 2/L can't make it rise, so L is
    greater there than at the other points."""

    @property
    def lengths(self) -> np.ndarray:
        """`‖xᵏ⁺¹ - xᵏ‖`, `(K,)`."""
        return np.hypot(*self.moved.T)

    def measured(self) -> dict[str, float]:
        """The numbers of any descent.

        `falls`: the share of steps at which the energy falls. `rise`: its greatest rise above an earlier value,
        relative to its fall from the first value to the least. `first`, `last`: the energy. `length`: of the path;
        `tail`: the share of the second half. `decay`: the power of k with which the steps of the second half shrink;
        their sum stays finite if it stays below -1.
        """
        energies, lengths = self.energy, self.lengths
        half, steps = len(lengths) // 2, np.arange(1, len(lengths) + 1)
        fall = energies[0] - energies.min()
        return {
            "falls": float((np.diff(energies) < 0).mean()),
            "rise": float((energies - np.minimum.accumulate(energies)).max() / max(fall, 1e-12)),
            "first": energies[0],
            "last": energies[-1],
            "length": float(lengths.sum()),
            "tail": float(lengths[half:].sum() / lengths.sum()),
            "decay": float(np.polyfit(np.log(steps[half:]), np.log(lengths[half:]), 1)[0]),
        }


def descend(
    model: SplitEnergy,
    optimiser: torch.optim.Optimizer,
    steps: int,
    *,
    estimates: int = ESTIMATES,
    bound: float = math.inf,
    redrawn: bool = False,
) -> Path:
    """Alternate a step of the optimiser on y, (3.19), and w by (3.21).

    L is estimated at `estimates` points; the descent ends where it is greater than `bound`. `redrawn` draws a new η for
    each step.
    """
    w, vector, local = model.best_w(), None, {}
    energies, gradients, moved = [model.total(w)], [], []
    every = -(-steps // estimates) if estimates else 0
    for step in range(steps):
        if every and step % every == 0:
            local[step], vector = lipschitz(model, w, vector)
            if local[step] > bound:
                break
        before = nn.utils.parameters_to_vector(model.parameters()).detach()
        gradient = model.gradient(w)
        gradients.append(gradient.norm().item())
        _set_gradient(model, model.gradient(w, model.draw()) if redrawn else gradient)
        optimiser.step()
        after, new = nn.utils.parameters_to_vector(model.parameters()).detach(), model.best_w()
        moved.append(((after - before).norm().item(), (new - w).norm().item()))
        energies.append(model.total(new))
        if energies[-1] > energies[-2] and every:
            local[step] = _lipschitz_between(model, before, after, w, vector)
            if local[step] > bound:
                moved.pop()
                break
        w = new
    gradients.append(model.gradient(w).norm().item())
    if every and len(moved) == steps:
        local[steps], _ = lipschitz(model, w, vector)
    return Path(np.array(energies), np.array(gradients), np.array(moved), local)


def _lipschitz_between(model: SplitEnergy, before: Tensor, after: Tensor, w: Tensor, start: np.ndarray | None) -> float:
    """The greatest L at the two ends and in the middle of the last step."""
    found = []
    for share in (0.0, 0.5, 1.0):
        nn.utils.vector_to_parameters(torch.lerp(before, after, share), model.parameters())
        value, start = lipschitz(model, w, start)
        found.append(value)
    return max(found)


def _set_gradient(model: nn.Module, gradient: Tensor) -> None:
    parameters = list(model.parameters())
    parts = gradient.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


class BoundedDescent(NamedTuple):
    """Gradient steps, the L that sets their α, and the number of the attempt with that L."""

    path: Path
    bound: float
    attempts: int

    @property
    def alpha(self) -> float:
        """The step size."""
        return CLOSE_TO_BOUND * 2 / self.bound

    def measured(self) -> dict[str, float]:
        """The numbers of the path, and those of the proof.

        `attempts`: the number of starts. `bound`: the L that sets α; `sharpening`: the greatest L found on the path, in
        units of `bound`. `decrease`: the least `(E(xᵏ) - E(xᵏ⁺¹)) / ((1/α - L/2)‖Δy‖² + λ/2‖Δw‖²)` over all steps, at
        least 1 by the last line but one of the proof of (7.8); `decrease_c0`: the same with c₀‖Δx‖² of (7.8) as the
        denominator. `relative`: the greatest `dist(0, ∂E(xᵏ⁺¹)) / (c₁‖Δx‖)`, at most 1 by (7.9); `exceeded`: the share
        of steps at which it is above 1; `relative_c1`: the greatest with `c₁ = 1/α + L + λ/√2`.
        """
        path, alpha, bound = self.path, self.alpha, self.bound
        squares, lengths = path.moved**2, path.lengths
        fall = -np.diff(path.energy)
        decreases = fall / (squares @ np.array([1 / alpha - bound / 2, PENALTY / 2]))
        c0 = min(1 / alpha - bound / 2, PENALTY / 2)
        relative = path.gradient[1:] / lengths
        return path.measured() | {
            "attempts": self.attempts,
            "bound": bound,
            "sharpening": max(path.lipschitz.values()) / bound,
            "decrease": float(decreases.min()),
            "decrease_c0": float((fall / (c0 * lengths**2)).min()),
            "relative": float((alpha * relative).max()),
            "exceeded": float((alpha * relative > 1).mean()),
            "relative_c1": float((relative / (1 / alpha + bound + PENALTY / np.sqrt(2))).max()),
        }


def bounded_descent(make: Callable[[], SplitEnergy], steps: int) -> BoundedDescent:
    """Gradient steps with α = `CLOSE_TO_BOUND` · 2/L for an L that no estimate on the path exceeds.

    The first L is that of the start. When a greater one turns up on the path, L grows by a quarter and the descent
    starts again; the last of `ATTEMPTS` runs to its end in any case.
    """
    model = make()
    bound = lipschitz(model, model.best_w())[0]
    for attempt in range(1, ATTEMPTS + 1):
        model = make()
        optimiser = torch.optim.SGD(model.parameters(), lr=CLOSE_TO_BOUND * 2 / bound)
        path = descend(model, optimiser, steps, bound=bound if attempt < ATTEMPTS else math.inf)
        if len(path.moved) == steps and max(path.lipschitz.values()) <= bound:
            break
        if attempt < ATTEMPTS:
            bound *= 1.25
    return BoundedDescent(path, bound, attempt)


def gradient_descent(
    image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], *, normalised: bool = False
) -> BoundedDescent:
    """Gradient steps, on networks with or without instance normalisation."""
    make = functools.partial(SplitEnergy, image, hint, seed, width=settings["width"], normalised=normalised)
    return bounded_descent(make, settings["steps"])


def adam_descent(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], *, redrawn: bool = False) -> Path:
    """Adam at 1e-1 for all parameters (section 5.1) instead of gradient steps, without estimates of L."""
    model = SplitEnergy(image, hint, seed, width=settings["width"])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-1)
    return descend(model, optimiser, settings["steps"], estimates=0, redrawn=redrawn)
