"""Structured matrix decomposition [34]: features as low-rank background plus structured-sparse foreground."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from deepcv.hints.settings import SaliencySettings


class Decomposition(NamedTuple):
    """`F = L + S` and how far the solver got."""

    low_rank: np.ndarray  # L, (D, n)
    sparse: np.ndarray  # S, (D, n)
    iterations: int
    residual: float  # max(‖F - L - S‖, ‖S - H‖) / ‖F‖, H being the copy of S that the Laplacian term sees


def decompose(
    features: np.ndarray,
    graph_laplacian: np.ndarray,
    levels: list[np.ndarray],
    weights: list[np.ndarray],
    settings: SaliencySettings,
) -> Decomposition:
    """Split `features` into a low-rank and a group-sparse part by the augmented Lagrangian method.

    Minimises `‖L‖_* + α tr(S M Sᵀ) + β Σ_g w_g ‖S_g‖_∞` subject to F = L + S, where the norm of a node is the largest
    magnitude in its columns. With a copy H of S in the Laplacian term each step is exact: L by shrinking singular
    values, H by a linear system, S by shrinking the tree's nodes. M is diagonalised once, so the linear system takes
    two products for any penalty μ. The multipliers Y of F = L + S and Z of S = H are stored divided by μ.

    `features` are `(D, n)`; the Laplacian `(n, n)` is symmetric and positive semi-definite. `levels` are nested
    partitions `(n,)`, finest first, `weights` those of their regions. `settings` contain α, β, μ, ρ, tolerance and
    the number of iterations. Single precision serves tolerances from 1e-4; tighter ones take double.
    """
    order = np.lexsort(levels)  # by the coarsest level first, so that nodes are runs of columns at every level
    leaf_weights, nodes = tree_nodes([regions[order] for regions in levels], weights)
    precision: type[np.floating] = np.float32 if settings.tolerance >= 1e-4 else np.float64
    matrix = features[:, order].astype(precision)
    curvature, modes = np.linalg.eigh(graph_laplacian[np.ix_(order, order)])
    curvature, modes = curvature.astype(precision), modes.astype(precision)
    modes_back = np.ascontiguousarray(modes.T)  # a faster product than with modes.T
    S, Y, Z = np.zeros_like(matrix), np.zeros_like(matrix), np.zeros_like(matrix)
    mu, size = settings.mu, max(np.linalg.norm(matrix), np.finfo(precision).tiny)
    for iteration in range(1, settings.max_iterations + 1):  # noqa: B007, returned below
        target = matrix + Y
        L = shrink_singular_values(target - S, 1 / mu)
        H = (((S + Z) @ modes) / (1 + 2 * settings.laplacian_weight / mu * curvature)) @ modes_back
        S = shrink_tree((target - L + H - Z) / 2, leaf_weights, nodes, settings.group_weight / (2 * mu))
        gap, copy_gap = matrix - L - S, S - H
        residual = float(max(np.linalg.norm(gap), np.linalg.norm(copy_gap)) / size)
        if residual < settings.tolerance:
            break
        mu *= settings.mu_growth
        Y = (Y + gap) / settings.mu_growth
        Z = (Z + copy_gap) / settings.mu_growth
    back = np.argsort(order)
    return Decomposition(L[:, back], S[:, back], iteration, residual)


def shrink_singular_values(matrix: np.ndarray, threshold: float) -> np.ndarray:
    """argmin_L threshold·‖L‖_* + ½‖L - matrix‖²: each singular value reduced by `threshold`, to at least 0.

    By the eigenvectors of the `(D, D)` product, which is much smaller than the `(D, n)` matrix; only those of singular
    values near or above the threshold are computed.
    """
    from scipy.linalg import get_lapack_funcs

    product = matrix @ matrix.T
    least = threshold**2 - np.finfo(product.dtype).eps * product.trace()  # eigenvalues are no more exact than this
    _, vectors, count, _, failed = get_lapack_funcs("syevr", [product])(product, range="V", vl=least, vu=np.inf)
    basis = np.linalg.eigh(product)[1] if failed else vectors[:, :count]
    parts = basis.T @ matrix
    singular = np.sqrt((parts * parts).sum(axis=1))  # more exact than the roots of the eigenvalues
    return (basis * (1 - threshold / np.maximum(singular, threshold))) @ parts


def tree_nodes(levels: list[np.ndarray], weights: list[np.ndarray]) -> tuple[np.ndarray, list[tuple]]:
    """The weight of each leaf `(n,)`, and (first column, last + 1, weight) of the larger nodes, finest level first.

    Nodes of weight 0 are left out; a node with the same columns at several levels appears once, with the summed weight.

    From nested partitions `(n,)` into runs of columns, singletons first, and the weights of each level's regions.
    """
    totals: dict[tuple[int, int], float] = {}
    for regions, level_weights in zip(levels, weights, strict=True):
        ends = [*np.flatnonzero(np.diff(regions, prepend=-1)).tolist(), len(regions)]
        for start, stop in itertools.pairwise(ends):
            totals[start, stop] = totals.get((start, stop), 0.0) + level_weights[regions[start]]
    leaf_weights = np.array([totals.pop((leaf, leaf + 1)) for leaf in range(len(levels[0]))])
    return leaf_weights, [(*columns, float(weight)) for columns, weight in totals.items() if weight > 0]


def shrink_tree(matrix: np.ndarray, leaf_weights: np.ndarray, nodes: list[tuple], threshold: float) -> np.ndarray:
    """argmin_S threshold·Σ_g w_g ‖S_g‖_∞ + ½‖S - matrix‖² over a tree: shrink each node, leaves first (JMLR 2011).

    Shrinking a node subtracts its projection onto the l1 ball of radius r = threshold·w_g, which caps its magnitudes at
    the level above which they sum to r. So the lowest cap of each column is the whole state.

    `matrix` is `(D, n)`; `leaf_weights` and `nodes` are those of `tree_nodes`.
    """
    magnitude = np.abs(matrix)
    caps = capping_level(magnitude, (threshold * leaf_weights).astype(matrix.dtype))
    for start, stop, weight in nodes:
        radius = threshold * weight
        inside = caps[start:stop]  # the largest magnitude of each column so far
        lowest = inside.max() - radius  # no cap is lower: cutting the largest to it already uses up the radius
        high = start + (inside >= lowest).nonzero()[0]
        values = np.minimum(magnitude[:, high], caps[high])
        np.minimum(inside, capping_level(values[values >= lowest], radius), out=inside)
    return np.minimum(np.maximum(matrix, -caps), caps)  # faster than np.clip


def capping_level(magnitudes: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    """The level above which the magnitudes `(k,)`, or those of each column of `(k, n)`, sum to `radius`.

    It is the maximum over j of (sum of the j largest magnitudes - radius) / j, or 0 if all sum to at most the radius.
    """
    sums = -magnitudes
    sums.sort(axis=0)
    sums = sums.cumsum(axis=0)
    sums += radius
    sums /= np.arange(1, len(sums) + 1, dtype=sums.dtype).reshape(-1, *[1] * (sums.ndim - 1))
    return np.maximum(-sums.min(axis=0), 0)
