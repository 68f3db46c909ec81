"""Local colours, and an encoder that is linear in them: the region term of (3.15) in closed form.

Not in the paper. `deepcv.baselines.appearance` has them in the networks' place, `deepcv.seeds` for what a user marks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepcv.model.settings import Settings
from deepcv.model.solver import balanced

Appearance = Callable[[Tensor], np.ndarray]
"""From memberships `(1, 2, H, W)`, 0 or 1, to the cost of foreground rather than background, `(H, W)`."""

LATENT_MEAN = Settings().latent_mean
"""μ of the foreground."""


def local_colours(image: Tensor, scales: int) -> np.ndarray:
    """Mean colours over windows of 1, 3, 5 … pixels, `(H, W, scales·C)`, of an image `(1, C, H, W)`.

    At the frame the mean is over the part of the window inside the image.
    """
    windows = range(1, 2 * scales, 2)
    means = [F.avg_pool2d(image, each, 1, each // 2, count_include_pad=False) for each in windows]
    return torch.cat(means, dim=1)[0].permute(1, 2, 0).double().numpy()


def quadratic(features: np.ndarray) -> np.ndarray:
    """1, the features `(H, W, D)` and their products, `(H, W, 1 + D + D(D+1)/2)`; all but 1 have mean 0, variance 1."""
    first, second = np.triu_indices(features.shape[-1])
    every = np.concatenate((features, features[..., first] * features[..., second]), axis=-1)
    every = (every - every.mean(axis=(0, 1))) / every.std(axis=(0, 1)).clip(min=1e-9)
    return np.concatenate((np.ones((*features.shape[:2], 1)), every), axis=-1)


def linear(features: np.ndarray, balance: float, penalty: float) -> Appearance:
    """Costs by ridge regression of the latent means on features `(H, W, D)`, the first of which is 1."""
    x = features.reshape(-1, features.shape[-1])
    shrinkage = penalty * np.eye(x.shape[1])
    shrinkage[0, 0] = 0

    def cost(u: Tensor) -> np.ndarray:
        weights, inside = weighted_pixels(u, balance)
        weighted = x * (weights / weights.sum())[:, None]
        target = np.where(inside, LATENT_MEAN, -LATENT_MEAN)
        mean = x @ np.linalg.solve(weighted.T @ x + shrinkage, weighted.T @ target)
        return kl_difference(mean.reshape(features.shape[:2]))

    return cost


def weighted_pixels(u: Tensor, balance: float) -> tuple[np.ndarray, np.ndarray]:
    """The balanced weight of each pixel and whether it is foreground, `(H·W,)` each, from hard memberships."""
    return balanced(u, balance)[0].sum(dim=0).flatten().double().numpy(), (u[0, 1] > 0.5).flatten().numpy()


def kl_difference(mean: np.ndarray) -> np.ndarray:
    """KL to the foreground's N(μ, 1) minus KL to the background's N(-μ, 1), of N(mean, 1): -2 μ · mean."""
    return -2 * LATENT_MEAN * mean
