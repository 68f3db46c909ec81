"""The exact u-step is exact: against every mask or partition there is, and against a graph cut."""

import itertools

import numpy as np
import pytest
import torch

from deepcv.errors import InputError
from deepcv.model import energy, labelling


def binary_length(u, nu):
    """`Σₓ nuₓ ‖∇uₓ‖₂` by the solver's three differences, `(B, H, W)` to `(B,)`."""
    total = torch.zeros_like(u)
    labelling._add_length(total, u.contiguous(), labelling._weights(nu))
    return total.sum(dim=(-2, -1))


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def length(mask, nu):
    """`Σₓ nuₓ ‖∇uₓ‖₂` straight from the definition, `(B,)`."""
    return (nu * torch.linalg.vector_norm(energy.gradient(mask.double()), dim=-3)).sum(dim=(-2, -1))


def value(mask, cost, nu):
    return length(mask, nu) + (cost * mask).sum(dim=(-2, -1))


def every_mask(height, width):
    bits = np.array(list(itertools.product([0, 1], repeat=height * width)))
    return torch.from_numpy(bits.reshape(-1, height, width)).double()


def noisy_disk(size, seed, noise=1.5):
    """Costs that speak for a disk, in noise that only the length can clear."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (rows - size / 2) ** 2 + (columns - size / 2.2) ** 2 < (size / 3.5) ** 2
    return torch.where(inside, -1.0, 1.0).double() + noise * random(size, size, seed=seed), inside


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(9, 11), (1, 8), (8, 1), (2, 2)])
def test_three_differences_give_the_length_of_any_mask(shape, density):
    masks = (torch.rand((40, *shape), generator=torch.Generator().manual_seed(1)) < density).double()
    torch.testing.assert_close(binary_length(masks, torch.ones_like(masks)), energy.total_variation(masks))
    nu = random(40, *shape, seed=2).abs()
    torch.testing.assert_close(binary_length(masks, nu), length(masks, nu))


def test_length_is_a_tight_convex_extension():
    # positively homogeneous, and equal to the mean of the lengths of the superlevel sets (co-area)
    levels, nu = torch.linspace(0, 1, 5, dtype=torch.float64), random(6, 7).abs()[None]
    u = levels[torch.randint(5, (1, 6, 7), generator=torch.Generator().manual_seed(0))]
    sets = torch.cat([(u > level).double() for level in levels[:-1]])
    torch.testing.assert_close(
        binary_length(u, nu)[0], length(sets, nu.expand_as(sets)).sum() * (levels[1] - levels[0])
    )


@pytest.mark.parametrize("weight", [0.2, 0.7, 2.0])
@pytest.mark.parametrize("shape", [(3, 4), (6, 2), (1, 9), (9, 1)])
def test_no_mask_of_a_small_image_is_better(shape, weight):
    masks = every_mask(*shape)
    for seed in range(4):
        cost = random(1, *shape, seed=seed)
        nu = weight * (0.2 + random(1, *shape, seed=seed + 10).abs())
        values = value(masks, cost, nu)
        found = labelling.solve(cost, nu, tolerance=1e-7, max_iterations=20000)
        torch.testing.assert_close(value(found.mask, cost, nu)[0], values.min(), atol=1e-6, rtol=0)
        assert torch.equal(found.mask[0].double(), masks[values.argmin()])


def test_a_graph_cut_finds_the_same_minimum():
    maxflow = pytest.importorskip("maxflow", reason="PyMaxflow comes with the development extra")
    for seed, weight in ((0, 0.8), (1, 1.5), (2, 0.3)):
        cost = noisy_disk(24, seed)[0]
        nu = weight * (0.3 + random(24, 24, seed=seed + 5).abs())
        graph = maxflow.Graph[float]()
        nodes = graph.add_grid_nodes(cost.shape)
        for i, j in np.ndindex(cost.shape):
            # a node on the source's side pays the edge to the sink; the source's side is the background
            graph.add_tedge(nodes[i, j], max(float(cost[i, j]), 0), max(-float(cost[i, j]), 0))
        for (a, b), capacity in cut_edges(nu.numpy()):
            graph.add_edge(nodes[a], nodes[b], capacity, capacity)
        offset = float(cost.clamp(max=0).sum())
        least = graph.maxflow() + offset
        cut = torch.from_numpy(~graph.get_grid_segments(nodes))
        # our reading of the cut: one of the two sides is the foreground, and its energy is the flow
        side = min((cut, ~cut), key=lambda mask: abs(float(value(mask, cost, nu)) - least))
        assert float(value(side, cost, nu)) == pytest.approx(least, abs=1e-6)
        found = labelling.solve(cost[None], nu[None], tolerance=1e-7, max_iterations=50000)
        assert float(value(found.mask[0], cost, nu)) == pytest.approx(least, abs=1e-4)
        assert torch.equal(found.mask[0], side)
        assert 0 < found.mask.sum() < found.mask.numel()


def cut_edges(nu):
    """Pairs of pixels and what parting them costs, written down anew: see the module's three differences."""
    half = 2**-0.5
    for i, j in np.ndindex(nu.shape):
        if i and j:
            yield ((i, j), (i - 1, j)), half * nu[i, j]
            yield ((i, j), (i, j - 1)), half * nu[i, j]
            yield ((i - 1, j), (i, j - 1)), (1 - half) * nu[i, j]
        elif i:
            yield ((i, j), (i - 1, j)), nu[i, j]
        elif j:
            yield ((i, j), (i, j - 1)), nu[i, j]


@pytest.mark.parametrize("iterations", [1, 5, 20, 100])
def test_gap_bounds_what_could_still_be_gained(iterations):
    masks = every_mask(3, 4)
    cost = random(1, 3, 4, seed=7)
    best = value(masks, cost, torch.tensor(0.6)).min()
    rough = labelling.solve(cost, 0.6, max_iterations=iterations, tolerance=0)
    gained = value(rough.mask, cost, torch.tensor(0.6))[0] - best
    assert -1e-9 <= gained <= rough.gap[0] + 1e-9
    assert rough.iterations == iterations or rough.gap[0] == 0


@pytest.mark.parametrize("most", [3, 10, 14, 25])
def test_so_many_iterations_as_are_allowed_and_not_one_more(most):
    cost = random(1, 15, 40, seed=3)
    found = labelling.solve(cost, 0.6, tolerance=0, max_iterations=most, check_every=10)
    assert found.gap[0] > 0 and found.iterations == most


def test_where_nothing_is_to_be_decided_the_first_look_ends_it():
    """The gap is 0 then, and so is what is allowed. Ties go to the background."""
    for solved in (labelling.solve(torch.zeros(2, 5, 6), 0.5), labelling.partition(torch.zeros(2, 3, 5, 6), 0.5)):
        assert solved.iterations == 10 and solved.gap.tolist() == [0, 0]
    assert not labelling.solve(torch.zeros(2, 5, 6), 0.5).mask.any()


def test_pairs_across_the_frame_have_no_dual():
    cost = noisy_disk(18, 2)[0][None]
    found = labelling.solve(cost, 0.8)
    outside = torch.zeros_like(found.dual, dtype=torch.bool)
    outside[0, :, 0], outside[1, :, :, 0], outside[2, :, 0], outside[2, :, :, -1] = True, True, True, True
    assert not found.dual[outside].any() and found.dual[~outside].any()


@pytest.mark.parametrize("shape", [(15, 40), (40, 15), (8, 8)])
def test_a_small_grid_starts_from_what_each_pixel_prefers(shape):
    cost = random(2, *shape)
    start = labelling._coarse_start(labelling._Saddle, cost, torch.ones_like(cost), 1e-3, 100, 10)
    assert torch.equal(start.mask, cost < 0) and torch.equal(start.relaxed, (cost < 0).double())
    assert start.iterations == 0 and not start.dual.any() and not start.gap.any()


@pytest.mark.parametrize("shape", [(16, 40), (41, 17)])
def test_a_larger_grid_starts_from_one_of_half_the_size_where_masks_cost_as_much(shape, monkeypatch):
    """As much as their enlargements do, where the boundary is straight."""
    cost, nu = random(1, *shape), torch.full((1, *shape), 0.7, dtype=torch.float64)
    posed, solve = [], labelling._solve
    monkeypatch.setattr(labelling, "_solve", lambda *given: posed.append(given) or solve(*given))
    start = labelling._coarse_start(labelling._Saddle, cost, nu, 1e-3, 100, 10)
    _, coarse_cost, coarse_nu, _, *options = posed[0]
    assert len(posed) == 1 and start.iterations > 0 and options == [1e-3, 100, 10]
    rows, columns = np.indices(coarse_cost.shape[1:])
    for side in (0 * rows == 0, rows < 4, columns >= 5):
        mask = torch.from_numpy(side)[None]
        fine = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : shape[0], : shape[1]]
        assert (coarse_cost * mask).sum() == pytest.approx(float((cost * fine).sum()))
        even = tuple(length // 2 * 2 for length in shape)
        within = length(fine[:, : even[0], : even[1]], nu[:, : even[0], : even[1]])
        assert length(mask[:, : even[0] // 2, : even[1] // 2], coarse_nu[:, : even[0] // 2, : even[1] // 2]) == (
            pytest.approx(float(within))
        )


def test_solver_stops_when_every_gap_is_small_enough():
    cost = noisy_disk(20, 3)[0][None]
    found = labelling.solve(cost, 0.8, tolerance=1e-3)
    assert found.gap[0] <= 1e-3 * cost.abs().sum() and found.iterations < 2000
    finer = labelling.solve(cost, 0.8, tolerance=1e-6, max_iterations=50000)
    assert finer.gap[0] <= 1e-6 * cost.abs().sum() and finer.iterations > found.iterations


def test_problems_side_by_side_are_solved_as_one_by_one():
    cost = torch.stack([noisy_disk(16, seed)[0] for seed in range(3)])
    nu = 0.7 * random(3, 16, 16, seed=9).abs()
    together = labelling.solve(cost, nu, tolerance=1e-8, max_iterations=20000)
    for index in range(3):
        alone = labelling.solve(cost[index : index + 1], nu[index : index + 1], tolerance=1e-8, max_iterations=20000)
        assert torch.equal(alone.mask[0], together.mask[index])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_neighbour_that_takes_longer_changes_nothing(dtype):
    # costs of the size that the deep model has; the middle one is noise alone
    costs = [300 * noisy_disk(40, seed, noise)[0] for seed, noise in ((0, 0.3), (1, 8.0), (2, 1.0))]
    cost = torch.stack(costs)[:, :, :37].to(dtype)
    alone = [labelling.solve(each[None], 200.0) for each in cost]
    together = labelling.solve(cost, 200.0)
    assert len({each.iterations for each in alone}) > 1
    assert together.iterations == max(each.iterations for each in alone)
    for index, each in enumerate(alone):
        assert torch.equal(each.mask[0], together.mask[index])
        torch.testing.assert_close(each.relaxed[0], together.relaxed[index])
        torch.testing.assert_close(each.gap[0], together.gap[index], rtol=1e-3, atol=1e-6 * float(cost.abs().sum()))


def test_coarse_to_fine_takes_fewer_iterations_to_the_same_mask():
    cost = noisy_disk(70, 6, noise=0.5)[0][None, :, :65]
    options = {"tolerance": 1e-6, "max_iterations": 50000}
    nothing = torch.zeros_like(cost)
    cold = labelling.Labelling(nothing > 0, nothing, torch.zeros(3, *cost.shape, dtype=cost.dtype), torch.zeros(1), 0)
    fine, plain = labelling.solve(cost, 5.0, **options), labelling.solve(cost, 5.0, start=cold, **options)
    assert torch.equal(fine.mask, plain.mask) and fine.iterations < plain.iterations
    assert 0 < fine.mask.sum() < fine.mask.numel()


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_an_enlarged_solution_repeats_each_pixel(shape):
    cost = random(2, 3, 4)
    small = labelling.solve(cost, 0.4)
    large = labelling.enlarged(small, shape)
    assert large.mask.shape == (2, *shape) and large.dual.shape == (3, 2, *shape)
    for i, j in np.ndindex(shape):
        assert torch.equal(large.mask[:, i, j], small.mask[:, i // 2, j // 2])
        assert torch.equal(large.dual[..., i, j], small.dual[..., i // 2, j // 2])


def test_a_warm_start_ends_at_the_same_mask_sooner_and_leaves_its_start_alone():
    cost = noisy_disk(24, 4)[0][None]
    options = {"tolerance": 1e-5, "max_iterations": 50000}
    cold = labelling.solve(cost, 1.0, **options)
    before = cold.relaxed.clone(), [p.clone() for p in cold.dual]
    nearby = cost + 0.01 * random(1, 24, 24, seed=8)
    warm, fresh = labelling.solve(nearby, 1.0, start=cold, **options), labelling.solve(nearby, 1.0, **options)
    assert torch.equal(warm.mask, fresh.mask) and warm.iterations < fresh.iterations
    assert torch.equal(cold.relaxed, before[0])
    assert all(torch.equal(a, b) for a, b in zip(cold.dual, before[1], strict=True))


def test_without_length_each_pixel_decides_for_itself():
    cost = random(2, 9, 8)
    assert torch.equal(labelling.solve(cost, 0).mask, cost < 0)


def test_a_great_length_weight_leaves_one_phase():
    cost = noisy_disk(16, 0)[0][None]
    for shift in (-0.5, 0.5):
        shifted = cost - cost.mean() + shift
        mask = labelling.solve(shifted, 1e3, max_iterations=20000).mask
        assert bool(mask.all() if shift < 0 else ~mask.any())


def test_length_clears_the_noise_that_each_pixel_alone_follows():
    cost, inside = noisy_disk(32, 5)
    alone = ((cost < 0) != inside).double().mean()
    together = (labelling.solve(cost[None], 1.5).mask[0] != inside).double().mean()
    assert together < 0.06 < 0.2 < alone


def test_an_edge_weight_draws_the_boundary_to_where_it_is_cheap():
    # one pixel is sure on either side, between them nothing is known; the length is cheap in column 5 alone
    cost = torch.zeros(1, 12, 16, dtype=torch.float64)
    cost[..., 0], cost[..., -1] = -5, 5
    nu = torch.ones_like(cost)
    nu[..., 5] = 0.1
    mask = labelling.solve(cost, nu, tolerance=1e-7, max_iterations=20000).mask[0]
    assert mask[:, :5].all() and not mask[:, 5:].any()


@pytest.mark.parametrize("nu", [-0.5, torch.tensor([[1.0, -0.5], [1.0, 1.0]], dtype=torch.float64)])
def test_a_negative_length_weight_is_refused(nu):
    with pytest.raises(InputError, match=r"nu is -0\.5"):
        labelling.solve(random(1, 2, 2), nu)


# more than two phases


def partition_value(u, cost, nu):
    """(4.1) with the networks fixed, straight from the definition, `(B,)`."""
    lengths = nu[..., None, :, :] * torch.linalg.vector_norm(energy.gradient(u.double()), dim=-3)
    return (lengths + cost * u).sum(dim=(-3, -2, -1))


def every_partition(count, height, width):
    labels = torch.tensor(list(itertools.product(range(count), repeat=height * width)))
    return torch.nn.functional.one_hot(labels, count).transpose(1, 2).reshape(-1, count, height, width).double()


@pytest.mark.parametrize(("count", "shape"), [(3, (2, 4)), (3, (7, 1)), (4, (2, 3))])
@pytest.mark.parametrize("weight", [0.1, 0.4, 1.0])
def test_no_partition_of_a_small_image_is_better(count, shape, weight):
    partitions, tight = every_partition(count, *shape), []
    for seed in range(4):
        cost, nu = random(1, count, *shape, seed=seed), weight * (0.2 + random(1, *shape, seed=seed + 10).abs())
        best = partition_value(partitions, cost, nu).min()
        found = labelling.partition(cost, nu, tolerance=1e-8, max_iterations=20000)
        assert (found.mask.sum(dim=1) == 1).all()
        above = partition_value(found.mask, cost, nu)[0] - best
        assert -1e-9 <= above <= found.gap[0] + 1e-9
        tight.append(bool(above < 1e-6))
    assert all(tight), "the relaxation is loose on rare problems only"


def test_two_phases_are_the_binary_problem_at_twice_the_length():
    cost = noisy_disk(20, 1)[0][None]
    both = torch.stack((torch.zeros_like(cost), cost), dim=1)
    binary = labelling.solve(cost, 1.0, tolerance=1e-7, max_iterations=20000)
    found = labelling.partition(both, 0.5, tolerance=1e-7, max_iterations=20000)
    assert torch.equal(found.mask[:, 1], binary.mask) and 0 < binary.mask.sum() < binary.mask.numel()


def test_a_partition_costs_at_most_its_gap_more_than_any_other():
    cost = 20 * random(2, 3, 30, 27, seed=4)
    cost[:, 1, :12] -= 10
    cost[:, 2, 14:, 10:] -= 10
    nu = 6 * random(2, 30, 27, seed=5).abs()
    found = labelling.partition(cost, nu)
    value = partition_value(found.mask, cost, nu)
    for other in (cost.argmin(dim=1), cost.argmin(dim=1).roll(1, 2), found.mask.to(int).argmax(dim=1).roll(1, 1)):
        u = torch.nn.functional.one_hot(other, 3).permute(0, 3, 1, 2)
        assert (value <= partition_value(u, cost, nu) + found.gap).all()
    # an image's partition doesn't depend on its neighbour, nor on what all its phases cost in common
    alone = labelling.partition(cost[1:] + random(1, 1, 30, 27, seed=6), nu[1:])
    assert (alone.mask[0] != found.mask[1]).double().mean() < 1e-3


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("shape", [(6, 4), (1, 1)])
def test_the_projection_gives_the_nearest_point_of_the_simplex(count, shape):
    given = 2 * random(25, count, *shape)
    found = given.clone()
    labelling._PhasesSaddle.project(found)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(25, *shape, dtype=torch.float64))
    assert (found >= 0).all()
    # the nearest point of a convex set: no corner lies beyond the plane through it, upright on the way there
    for corner in torch.eye(count, dtype=torch.float64):
        towards = corner[:, None, None] - found
        assert (((given - found) * towards).sum(dim=1) <= 1e-9).all()


def test_without_length_each_pixel_takes_its_cheapest_phase():
    cost = random(2, 4, 9, 8)
    assert torch.equal(labelling.partition(cost, 0).mask.to(int).argmax(dim=1), cost.argmin(dim=1))


def test_a_negative_length_weight_of_phases_is_refused():
    with pytest.raises(InputError, match=r"nu is -0\.5"):
        labelling.partition(random(1, 3, 2, 2), -0.5)
