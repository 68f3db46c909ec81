"""Each term of the energy against its definition, computed another way."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.distributions import Independent, Normal, kl_divergence

from deepcv.model import energy


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gradient_takes_views_that_are_not_contiguous():
    u = random(6, 4, 3).permute(2, 1, 0)[:, ::2]
    assert not u.is_contiguous()
    torch.testing.assert_close(energy.gradient(u), energy.gradient(u.clone(memory_format=torch.contiguous_format)))


def test_gradient_is_the_backward_difference_and_zero_at_the_frame():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    down, right = energy.gradient(3 * rows + 7 * columns)
    assert (down[0] == 0).all() and (down[1:] == 3).all()
    assert (right[:, 0] == 0).all() and (right[:, 1:] == 7).all()


def test_length_of_a_square_is_its_perimeter_less_the_cut_corner():
    # only at the upper left corner do both differences fall on one pixel, where √2 is counted for two sides
    u = torch.zeros(20, 20, dtype=torch.float64)
    u[5:11, 7:13] = 1
    assert energy.total_variation(u).item() == pytest.approx(4 * 6 - 2 + math.sqrt(2), abs=1e-12)
    assert energy.total_variation(3 * u).item() == pytest.approx(3 * energy.total_variation(u).item())
    assert energy.total_variation(torch.ones(8, 8)).item() == 0


def test_norm_12_sums_the_lengths_of_the_vectors_of_each_field():
    w = torch.zeros(3, 2, 4, 4)
    w[0, :, 1, 2] = torch.tensor([3.0, 4.0])
    w[0, :, 0, 0] = torch.tensor([-5.0, 12.0])
    w[2, 1] = 2
    assert energy.norm_12(w).tolist() == [18, 0, 32]


def test_length_has_a_finite_gradient_where_the_field_is_flat():
    u = torch.zeros(5, 5, dtype=torch.float64, requires_grad=True)
    energy.total_variation(u).backward()
    assert (u.grad == 0).all()


@pytest.mark.parametrize("term", [energy.total_variation, energy.gradient])
def test_gradients_of_the_differential_operators(term):
    assert torch.autograd.gradcheck(term, (random(2, 3, 4).requires_grad_(),))


def test_shrinkage_finds_what_a_numerical_minimiser_finds():
    v, threshold = random(2, 3, 2), 0.8

    def objective(flat):
        w = torch.from_numpy(flat).reshape(v.shape)
        return float(threshold * energy.norm_12(w) + 0.5 * ((w - v) ** 2).sum())

    # Powell's method asks for no derivative, which is not there at 0
    found = minimize(
        objective, v.numpy().ravel(), method="Powell", options={"xtol": 1e-8, "ftol": 1e-13, "maxiter": 10**5}
    )
    shrunk = energy.shrink(v, threshold)
    assert objective(shrunk.numpy().ravel()) <= found.fun + 1e-9
    np.testing.assert_allclose(shrunk.numpy().ravel(), found.x, atol=1e-3)
    lengths = torch.linalg.vector_norm(v, dim=0)
    assert (lengths < threshold).any() and (lengths > threshold).any(), "both branches of (3.21) are to be seen"


def test_shrinkage_keeps_zero_and_without_threshold_everything():
    v = random(4, 2, 3, 3)
    v[1] = 0
    shrunk = energy.shrink(v, 0.5)
    assert torch.isfinite(shrunk).all() and (shrunk[1] == 0).all()
    torch.testing.assert_close(energy.shrink(v, 0.0), v)
    assert (energy.shrink(v, 1e9) == 0).all()


def test_shrinkage_takes_a_threshold_of_its_own_at_each_pixel():
    v = random(2, 3, 4)
    thresholds = random(3, 4, seed=1).abs()
    expected = torch.stack(
        [energy.shrink(v[:, i : i + 1, j : j + 1], thresholds[i, j])[:, 0, 0] for i in range(3) for j in range(4)], 1
    )
    torch.testing.assert_close(energy.shrink(v, thresholds).reshape(2, 12), expected)


def kl_of_torch(mean, variance, prior_mean, prior_variance):
    """Pixel by pixel through torch.distributions, `(B, N, H, W)`."""

    def diagonal(mean, variance):
        return Independent(Normal(mean.movedim(1, -1), variance.sqrt().movedim(1, -1)), 1)

    encoder = diagonal(mean, variance)
    shape = (1, -1, 1, 1)
    return torch.stack(
        [
            kl_divergence(encoder, diagonal(m.reshape(shape).expand_as(mean), v.reshape(shape).expand_as(mean)))
            for m, v in zip(prior_mean, prior_variance, strict=True)
        ],
        dim=1,
    )


@pytest.mark.parametrize(("dimensions", "phases"), [(1, 2), (3, 3), (4, 2)])
def test_gaussian_kl_agrees_with_torch(dimensions, phases):
    mean = 3 * random(2, dimensions, 4, 5)
    variance = random(2, dimensions, 4, 5, seed=1).exp()
    prior_mean, prior_variance = 5 * random(phases, dimensions, seed=2), random(phases, dimensions, seed=3).exp()
    kl = energy.gaussian_kl(mean, variance, prior_mean, prior_variance)
    assert kl.shape == (2, phases, 4, 5) and (kl >= 0).all()
    torch.testing.assert_close(kl, kl_of_torch(mean, variance, prior_mean, prior_variance))
    fixed = energy.gaussian_kl(mean, 1.0, prior_mean, prior_variance)
    torch.testing.assert_close(fixed, kl_of_torch(mean, torch.ones_like(mean), prior_mean, prior_variance))


def test_gaussian_kl_is_zero_only_at_the_prior():
    prior_mean, prior_variance = random(3, 2), random(3, 2, seed=1).exp()
    mean = prior_mean[1].reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    variance = prior_variance[1].reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    kl = energy.gaussian_kl(mean, variance, prior_mean, prior_variance)
    assert kl[:, 1].abs().max() < 1e-12
    assert kl[:, [0, 2]].min() > 1e-3


def test_gradients_of_the_kl():
    inputs = (
        random(2, 2, 2, 3).requires_grad_(),
        random(2, 2, 2, 3, seed=1).exp().requires_grad_(),
        random(3, 2, seed=2).requires_grad_(),
        random(3, 2, seed=3).exp().requires_grad_(),
    )
    assert torch.autograd.gradcheck(energy.gaussian_kl, inputs)


def test_reconstruction_is_the_mean_over_the_draws():
    mean, variance, image = random(2, 3, 4, 4), random(2, 3, 4, 4, seed=1).exp(), random(2, 3, 4, 4, seed=2)
    noise = random(5, 2, 3, 4, 4, seed=3)
    several = energy.reconstruction(torch.tanh, mean, variance, image, noise)
    one_by_one = [energy.reconstruction(torch.tanh, mean, variance, image, eta[None]) for eta in noise]
    torch.testing.assert_close(several, torch.stack(one_by_one).mean(0))
    still = energy.reconstruction(torch.tanh, mean, variance, image, torch.zeros_like(noise[:1]))
    torch.testing.assert_close(still, 0.5 * ((torch.tanh(mean) - image) ** 2).sum(dim=(1, 2, 3)))
    up = energy.reconstruction(lambda z: z, 0 * mean, 4.0, image, image[None] / 2)  # a draw is added, times √4
    torch.testing.assert_close(up, torch.zeros_like(up))


@pytest.mark.parametrize("learned", [True, False])
def test_reconstruction_through_a_linear_decoder_has_the_closed_form_in_expectation(learned):
    # E ½‖A(μ + √σ η) - I‖² = ½‖Aμ - I‖² + ½ Σ A² σ
    matrix = random(3, 2)
    mean, image = random(1, 2, 4, 4, seed=1), random(1, 3, 4, 4, seed=2)
    variance = random(1, 2, 4, 4, seed=3).exp() if learned else 1.0

    def decode(z):
        return torch.einsum("cd,bdhw->bchw", matrix, z)

    spread = torch.as_tensor(variance, dtype=torch.float64).expand_as(mean)
    expected = 0.5 * ((decode(mean) - image) ** 2).sum()
    expected = expected + 0.5 * torch.einsum("cd,bdhw->", matrix**2, spread)
    draws = random(4000, 1, 2, 4, 4, seed=4)
    each = torch.stack([energy.reconstruction(decode, mean, variance, image, eta[None])[0] for eta in draws[:500]])
    error = each.std() / math.sqrt(len(draws))
    estimate = energy.reconstruction(decode, mean, variance, image, draws)[0]
    assert abs(estimate - expected) < 4 * error
    assert error < 0.02 * expected


def test_gradients_reach_mean_and_variance_through_the_reconstruction():
    inputs = (random(2, 2, 3, 3).requires_grad_(), random(2, 2, 3, 3, seed=1).exp().requires_grad_())
    image, noise = random(2, 2, 3, 3, seed=2), random(3, 2, 2, 3, 3, seed=3)
    assert torch.autograd.gradcheck(
        lambda mean, variance: energy.reconstruction(torch.sin, mean, variance, image, noise), inputs
    )


def test_region_term_of_a_partition_is_the_kl_of_each_pixels_own_phase():
    kl = random(2, 3, 4, 5).abs()
    labels = torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
    memberships = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).double()
    own = kl.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(energy.region(memberships, kl), own.sum(dim=(1, 2)))


def test_splitting_vanishes_at_the_gradient_and_is_quadratic_around_it():
    u = random(2, 3, 4, 5)
    exact = energy.gradient(u)
    assert (energy.splitting(u, exact, 0.7) == 0).all()
    away = random(*exact.shape, seed=1)
    torch.testing.assert_close(energy.splitting(u, exact + away, 0.7), 0.35 * (away**2).sum(dim=(1, 2, 3, 4)))
    torch.testing.assert_close(energy.splitting(u, exact + 2 * away, 0.7), 1.4 * (away**2).sum(dim=(1, 2, 3, 4)))
