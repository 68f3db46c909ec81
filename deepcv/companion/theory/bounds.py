"""Propositions 3.1 and 7.4: closed forms against sampled evidence lower bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepcv.companion.theory.descent import smooth_network
from deepcv.model import energy


def elbo(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """Proposition 3.1: the closed form (3.13) and the definition (3.10), each from its own draws of η.

    Networks, u, and the means and variances of encoder and prior are random (`RandomModel`). (3.13) isn't fully closed:
    its first term is an expectation over η, so both sides have a standard error.

    Gives `closed` and `sampled` per pixel, `error`, one standard error of their difference, and `z`, the absolute
    difference in standard errors.
    """
    generator = torch.Generator().manual_seed(seed)
    u = torch.randint(2, hint.shape, generator=generator).double()
    model = RandomModel.draw(image, seed, settings["width"], generator)
    noise = model.noise(2, settings["draws"], generator)
    with torch.no_grad():
        closed = model.reconstructed(noise[0]) - model.of_regions(u)
        sampled = model.sampled([u] * settings["draws"], noise[1])
    pixels, error = hint.numel(), _error(closed, sampled)
    return {
        "closed": closed.mean() / pixels,
        "sampled": sampled.mean() / pixels,
        "error": error / pixels,
        "z": _z(closed, sampled),
    }


class RandomModel(NamedTuple):
    """An image with random networks and a random prior, of two latent dimensions, in double precision."""

    image: Tensor
    """`(1, C, H, W)`."""
    decoder: Callable[[Tensor], Tensor]
    """𝓕, `(1, 2, H, W)` to `(1, C, H, W)`."""
    mean: Tensor
    """Of q(Z|I), from a random encoder, `(1, 2, H, W)`."""
    variance: Tensor
    """Likewise."""
    prior_mean: Tensor
    """Of each phase, the background first, in each dimension, `(2, 2)`."""
    prior_variance: Tensor
    """Likewise."""

    @classmethod
    def draw(cls, image: Tensor, seed: int, width: int, generator: torch.Generator) -> RandomModel:
        """Networks of `width` channels from the seed; the generator draws the prior."""
        dimensions = 2
        encoder = smooth_network(image.shape[1], 2 * dimensions, width, 2 * seed)
        decoder = smooth_network(dimensions, image.shape[1], width, 2 * seed + 1)
        with torch.no_grad():
            mean, log_variance = encoder(image).chunk(2, dim=1)
        prior_mean = torch.randn((2, dimensions), generator=generator, dtype=torch.double)
        prior_variance = 0.5 + torch.rand((2, dimensions), generator=generator, dtype=torch.double)
        return cls(image, decoder, mean, log_variance.exp(), prior_mean, prior_variance)

    def noise(self, kinds: int, draws: int, generator: torch.Generator) -> Tensor:
        """η of Z, `(kinds, draws, 1, 2, H, W)`."""
        return torch.randn((kinds, draws, *self.mean.shape), generator=generator, dtype=torch.double)

    def reconstructed(self, noise: Tensor) -> np.ndarray:
        """`E ln p(I|Z)`, the first term of (3.13), for each draw of η, `(draws,)`."""
        constant = -self.image.numel() * np.log(2 * np.pi) / 2
        terms = [energy.reconstruction(self.decoder, self.mean, self.variance, self.image, eta[None]) for eta in noise]
        return constant - torch.cat(terms).numpy()

    def of_regions(self, u: Tensor, background: int = 1) -> float:
        """`Σ u KL₁ ± (1 - u) KL₂`, the second term of (3.13), (4.9) and, with -1, (7.24); u `(1, H, W)` in [0, 1]."""
        kl = energy.gaussian_kl(self.mean, self.variance, self.prior_mean, self.prior_variance)
        return energy.region(torch.stack((background * (1 - u), u), dim=1), kl).item()

    def sampled(self, masks: Iterable[Tensor], noise: Tensor) -> np.ndarray:
        """`ln p(I, Z|u) - ln q(Z|I)` of (3.10), by torch's normal densities, for each mask u and draw, `(draws,)`."""
        from torch.distributions import Normal

        given_image = Normal(self.mean, self.variance.sqrt())
        ratios = []
        for u, eta in zip(masks, noise, strict=True):
            chosen = u.long()  # the row of the prior at each pixel
            mean, variance = (each[chosen].permute(0, 3, 1, 2) for each in (self.prior_mean, self.prior_variance))
            latent = self.mean + self.variance.sqrt() * eta
            likelihood = Normal(self.decoder(latent), 1.0).log_prob(self.image).sum()
            prior = Normal(mean, variance.sqrt()).log_prob(latent).sum()
            ratios.append((likelihood + prior - given_image.log_prob(latent).sum()).item())
        return np.array(ratios)


def _error(*samples: np.ndarray) -> float:
    """Standard error of the difference of two means."""
    return float(np.sqrt(sum(each.var(ddof=1) / len(each) for each in samples)))


def _z(first: np.ndarray, second: np.ndarray) -> float:
    """The absolute difference of two means in standard errors."""
    return float(abs(first.mean() - second.mean()) / _error(first, second))


def dataset_elbo(image: Tensor, hint: Tensor, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """Proposition 7.4: the loss (4.9) of one image, as a bound, against the definition (7.17) with a latent mask u.

    Networks and priors are random as in `elbo`, and so is 𝓤(I). 𝓡 is 0: p(u) is the same for every mask, and its
    constant is left out on both sides. If 𝓤 is binary, q(u|I) is concentrated on the mask 𝓤(I), as in (7.20). If it
    lies between 0 and 1, as a network's does, (7.21) has no density; we then draw each pixel of u, 1 with probability
    𝓤(I), and the mean is Σ 𝓤 KL₁ + (1 - 𝓤) KL₂.

    Gives absolute differences in standard errors: `z_binary` for binary 𝓤, `z_printed` with the minus between the two
    KL terms of (7.24), `z_between` for 𝓤 between 0 and 1, `z_entropy` with the entropy of q(u|I) added to the bound.
    """
    from torch.distributions import Bernoulli

    generator = torch.Generator().manual_seed(seed)
    between = torch.rand(hint.shape, generator=generator, dtype=torch.double)
    binary = (between > 0.5).double()
    model = RandomModel.draw(image, seed, settings["width"], generator)
    noise = model.noise(3, settings["draws"], generator)
    of_u = Bernoulli(between)
    drawn = [torch.bernoulli(between, generator=generator) for _ in noise[2]]
    with torch.no_grad():
        reconstructed = model.reconstructed(noise[0])
        one = model.sampled([binary] * len(drawn), noise[1])
        many = model.sampled(drawn, noise[2]) - np.array([of_u.log_prob(u).sum().item() for u in drawn])
    bound = reconstructed - model.of_regions(between)
    return {
        "z_binary": _z(reconstructed - model.of_regions(binary), one),
        "z_printed": _z(reconstructed - model.of_regions(binary, -1), one),
        "z_between": _z(bound, many),
        "z_entropy": _z(bound + of_u.entropy().sum().item(), many),
    }
