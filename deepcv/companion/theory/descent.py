"""Theorem 3.3: descents whose steps keep to its assumptions."""

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
"""λ. The released code's 0.1 would leave w at 0 throughout."""


CLOSE_TO_BOUND = 0.9
"""α in units of 2/L."""


ATTEMPTS = 20
"""How often at most a descent is begun, each time with a larger L."""


# -- Theorem 3.3 -------------------------------------------------------------------------------------------------------


def smooth_network(in_channels: int, out_channels: int, width: int, seed: int, normalised: bool = False) -> nn.Module:
    """A network as in (3.22) with sigmoid activations, `(1, in, H, W)` to `(1, out, H, W)`, in double precision.

    Two 3×3 convolutions of `width` channels and a linear 1×1 one; `normalised` puts an instance normalisation before
    each activation, which is the U-Net [39] of no level.
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
    """`E_LS` (3.18) of one image, sums over pixels, as a function of its parameters y = (θ, γ, φ) and of w.

    Parameters
    ----------
    image : Tensor, `(1, C, H, W)`, double
    hint : Tensor, `(1, H, W)`, double
        Where φ starts.
    seed : int
        Of the networks and of η, which is drawn once; `draw` draws anew.
    width : int
    normalised : bool
        As in `smooth_network`.
    """

    def __init__(self, image: Tensor, hint: Tensor, seed: int, *, width: int, normalised: bool = False):
        super().__init__()
        self.image = image
        self.encoder = smooth_network(image.shape[1], 1, width, 2 * seed, normalised)
        self.decoder = smooth_network(1, image.shape[1], width, 2 * seed + 1, normalised)
        self.phi = nn.Parameter(phases.initial_phi(hint))
        self.prior = phases.LatentPrior.two_phase(LATENT_MEAN)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = self.draw()

    def draw(self) -> Tensor:
        """Another η, `(1, 1, 1, H, W)`."""
        shape = (1, 1, 1, *self.image.shape[2:])
        return torch.randn(shape, generator=self.generator, dtype=torch.double)

    def forward(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """What (3.19) differentiates, all of (3.18) but `ν‖w‖₁,₂`; with the η that was drawn first, or another."""
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
    """How fast the gradient in y changes here at most: the spectral norm of the Hessian, to 1 %, and its vector.

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
    """Where a descent has gone, K steps.

    Attributes
    ----------
    energy : numpy.ndarray, `(K + 1,)`
        `E_LS(xᵏ)`.
    gradient : numpy.ndarray, `(K + 1,)`
        `‖∇_y E_LS(xᵏ)‖`; as w is at its best, the distance of 0 to the subdifferential.
    moved : numpy.ndarray, `(K, 2)`
        `‖yᵏ⁺¹ - yᵏ‖` and `‖wᵏ⁺¹ - wᵏ‖`.
    lipschitz : dict of int to float
        The local L at some of the steps, and wherever the energy rose: a step under 2/L can't make it rise, so there L
        is greater than was seen at the other points.
    """

    energy: np.ndarray
    gradient: np.ndarray
    moved: np.ndarray
    lipschitz: dict[int, float]

    @property
    def lengths(self) -> np.ndarray:
        """`‖xᵏ⁺¹ - xᵏ‖`, `(K,)`."""
        return np.hypot(*self.moved.T)


ESTIMATES = 15
"""At so many points along a path L is estimated."""


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

    Parameters
    ----------
    model : SplitEnergy
    optimiser : torch.optim.Optimizer
        Of the model's parameters.
    steps : int
    estimates : int
        At so many points L is estimated.
    bound : float
        Where the local L is greater, the descent is broken off.
    redrawn : bool
        Whether each step has an η of its own.
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
    """The greatest L at both ends and in the middle of a step that the model has made."""
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
    """Gradient steps, the L that their α was made from, and the number of the attempt with that L."""

    path: Path
    bound: float
    attempts: int

    @property
    def alpha(self) -> float:
        """The step size."""
        return CLOSE_TO_BOUND * 2 / self.bound


def bounded_descent(make: Callable[[], SplitEnergy], steps: int) -> BoundedDescent:
    """Gradient steps with α = `CLOSE_TO_BOUND` · 2/L for an L that no estimate on the path exceeds.

    The first L is the one where the path starts. As soon as a greater one turns up on the path, L is raised by a
    quarter, and the descent starts anew; the last of `ATTEMPTS` goes to its end in any case.
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


def _of_path(path: Path) -> dict[str, float]:
    """What is measured of any descent.

    `falls`: the share of steps at which the energy falls. `rise`: the farthest it climbs above an earlier value, as a
    share of how far it is in all from the first to the least. `first`, `last`: the energy. `length`: that
    of the path; `tail`: the second half's share in it. `decay`: the power of k with which the
    steps of the second half shrink; their sum stays finite if it is below -1 and stays so.
    """
    energies, lengths = path.energy, path.lengths
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


def _of_descent(found: BoundedDescent) -> dict[str, float]:
    """What is measured of gradient steps besides.

    `attempts`: how often the descent was begun. `bound`: the L that α was made from; `sharpening`: the greatest L found
    on the path, in that one.

    `decrease`: over all steps the least of `(E(xᵏ) - E(xᵏ⁺¹)) / ((1/α - L/2)‖Δy‖² + λ/2‖Δw‖²)`, which is at least 1
    by the line of the proof of (7.8) before its last; `decrease_c0`: with c₀‖Δx‖² of (7.8) as the denominator.

    `relative`: the greatest of `dist(0, ∂E(xᵏ⁺¹)) / (c₁‖Δx‖)`, at most 1 by (7.9); `exceeded`: the share of steps at
    which it is above 1; `relative_c1`: the greatest with `c₁ = 1/α + L + λ/√2`.
    """
    path, alpha, bound = found.path, found.alpha, found.bound
    squares, lengths = path.moved**2, path.lengths
    fall = -np.diff(path.energy)
    decreases = fall / (squares @ np.array([1 / alpha - bound / 2, PENALTY / 2]))
    c0 = min(1 / alpha - bound / 2, PENALTY / 2)
    relative = path.gradient[1:] / lengths
    return {
        "attempts": found.attempts,
        "bound": bound,
        "sharpening": max(path.lipschitz.values()) / bound,
        "decrease": float(decreases.min()),
        "decrease_c0": float((fall / (c0 * lengths**2)).min()),
        "relative": float((alpha * relative).max()),
        "exceeded": float((alpha * relative > 1).mean()),
        "relative_c1": float((relative / (1 / alpha + bound + PENALTY / np.sqrt(2))).max()),
    }


def gradient_descent(
    image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], normalised: bool = False
) -> BoundedDescent:
    """Gradient steps, on networks with or without instance normalisation."""
    make = functools.partial(SplitEnergy, image, hint, seed, width=settings["width"], normalised=normalised)
    return bounded_descent(make, settings["steps"])


def adam_descent(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any], redrawn: bool = False) -> Path:
    """Adam at 1e-1 for everything (section 5.1) in place of the gradient steps, without estimates of L."""
    model = SplitEnergy(image, hint, seed, width=settings["width"])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-1)
    return descend(model, optimiser, settings["steps"], estimates=0, redrawn=redrawn)


def _descent(*given, normalised: bool = False) -> dict[str, float]:
    found = gradient_descent(*given, normalised)
    return _of_path(found.path) | _of_descent(found)


def _adam(*given, redrawn: bool = False) -> dict[str, float]:
    return _of_path(adam_descent(*given, redrawn))
