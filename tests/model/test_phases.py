"""Two phases through a sigmoid are two phases through a softmax; what is counted once or twice."""

import pytest
import torch

from deepcv.model import energy, phases


def random(*shape, seed=0):
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("memberships_of", "channels"),
    [(phases.sigmoid_memberships, 1), (phases.arctan_memberships, 1), (phases.softmax_memberships, 4)],
)
def test_memberships_are_probabilities(memberships_of, channels):
    u = memberships_of(50 * random(2, channels, 5, 6))
    assert u.shape == (2, max(channels, 2), 5, 6)
    assert (u >= 0).all() and (u <= 1).all()
    torch.testing.assert_close(u.sum(1), torch.ones(2, 5, 6, dtype=torch.float64))
    assert torch.autograd.gradcheck(memberships_of, (random(1, channels, 2, 2, seed=1).requires_grad_(),))


@pytest.mark.parametrize("memberships_of", [phases.sigmoid_memberships, phases.arctan_memberships])
def test_label_1_is_the_foreground_where_phi_is_positive(memberships_of):
    phi = random(1, 1, 6, 6)
    assert torch.equal(memberships_of(phi).argmax(1) == 1, phi[:, 0] > 0)
    torch.testing.assert_close(memberships_of(phi)[:, :1], memberships_of(-phi)[:, 1:])


def test_softmax_of_half_the_field_each_way_is_the_sigmoid():
    phi = random(2, 1, 4, 5)
    both = torch.cat((-phi / 2, phi / 2), dim=1)
    torch.testing.assert_close(phases.softmax_memberships(both), phases.sigmoid_memberships(phi))
    shift = random(2, 1, 4, 5, seed=1)
    torch.testing.assert_close(phases.softmax_memberships(both + shift), phases.sigmoid_memberships(phi))


def test_n_phase_energy_of_two_phases_at_half_nu_is_the_two_phase_energy():
    phi, nu = random(2, 1, 6, 7), 3.0
    prior = phases.latent_prior(2, 10.0)
    kl = energy.gaussian_kl(random(2, 1, 6, 7, seed=1), 1.0, prior.mean, prior.variance)
    u = phases.sigmoid_memberships(phi)
    two = nu * energy.total_variation(phases.contours(u)).sum(1) + energy.region(u, kl)
    every = phases.softmax_memberships(torch.cat((-phi / 2, phi / 2), dim=1))
    # (4.1) sums over all phases, so with N = 2 it counts the one boundary twice
    many = nu / 2 * energy.total_variation(every).sum(1) + energy.region(every, kl)
    torch.testing.assert_close(two, many)
    at_the_same_nu = nu * energy.total_variation(every).sum(1) + energy.region(every, kl)
    assert (at_the_same_nu > two).all()


def test_contours_count_a_boundary_of_two_phases_once_and_each_of_more():
    u = torch.zeros(1, 2, 6, 6)
    u[:, 1, :, 3:], u[:, 0, :, :3] = 1, 1
    assert phases.contours(u).shape[1] == 1 and energy.total_variation(phases.contours(u)).sum() == 6
    three = torch.cat((u, torch.zeros(1, 1, 6, 6)), dim=1)
    assert energy.total_variation(phases.contours(three)).sum() == 12


def test_initial_phi_gives_the_hint_back_where_it_is_not_clipped():
    hint = torch.linspace(0, 1, 50, dtype=torch.float64).reshape(1, 5, 10)
    u = phases.sigmoid_memberships(phases.initial_phi(hint))[:, 1]
    low, high = torch.sigmoid(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(u, hint.clamp(low, high))
    wide = phases.sigmoid_memberships(phases.initial_phi(hint, limit=100))[:, 1]
    torch.testing.assert_close(wide, hint.clamp(0.01, 0.99))
    assert torch.isfinite(phases.initial_phi(hint)).all()


def test_priors_of_the_paper():
    two = phases.latent_prior(2, 10.0)
    assert two.mean.tolist() == [[-10], [10]] and two.variance.tolist() == [[1], [1]]
    three = phases.latent_prior(3, 5.0)
    assert three.mean.tolist() == [[5, 0, 0], [0, 5, 0], [0, 0, 5]] and (three.variance == 1).all()


def test_a_latent_on_a_phases_mean_is_cheapest_in_that_phase():
    for prior in (phases.latent_prior(2, 10.0), phases.latent_prior(4, 5.0)):
        latent = prior.mean.T[None, :, None, :].double()  # pixel k carries the mean of phase k
        kl = energy.gaussian_kl(latent, 1.0, prior.mean, prior.variance)
        assert kl.argmin(1)[0, 0].tolist() == list(range(len(prior.mean)))
        assert kl.min(1).values.abs().max() == 0
