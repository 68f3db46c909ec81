"""Gaussian noise on images; the paper uses σ = 100, 120, 140, 160 (Figure 7)."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from deepcv.data.dataset import Dataset, Sample
from deepcv.errors import InputError


def add_gaussian(image: np.ndarray, sigma: float, *, clip: bool = True, seed: int = 0) -> np.ndarray:
    """Add independent Gaussian noise to every pixel and channel.

    Parameters
    ----------
    image : numpy.ndarray of uint8, `(H, W)` or `(H, W, 3)`
    sigma : float, at least 0
        Standard deviation on the 0..255 scale.
    clip : bool
        True clips noisy values to the image's range, as a camera does; near black and white the noise is then smaller
        and biased. False keeps them, so the noise is identically distributed everywhere. The paper does not say which
        it used.
    seed : int

    Returns
    -------
    numpy.ndarray of float32, of the same shape
        On the [0, 1] scale, not quantised. Without `clip` values may exceed it; rescale them before segmentation.

    Raises
    ------
    InputError
        For an image that isn't uint8, or another sigma.
    """
    check_sigma(sigma)
    if np.asarray(image).dtype != np.uint8:
        raise InputError(f"noise is added to uint8 images, and this one is {np.asarray(image).dtype}; convert it first")
    noisy = image / 255 + np.random.default_rng(seed).normal(0, sigma / 255, image.shape)
    return (np.clip(noisy, 0, 1) if clip else noisy).astype(np.float32)


def check_sigma(sigma: float) -> None:
    """Raise `InputError` unless it is the standard deviation of a noise."""
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma must be a finite number of at least 0 on the 0..255 scale, not {sigma}")


def noisy(clean: Dataset, sigma: float, *, clip: bool = True) -> Dataset:
    """A data set with `add_gaussian` applied to every image, as uint8; the seed depends on the image's name.

    Without `clip` an image is rescaled to span 0..255.
    """

    def change(sample: Sample) -> Sample:
        seed = int(hashlib.sha256(sample.name.encode()).hexdigest()[:8], 16)
        values = add_gaussian(sample.image, sigma, clip=clip, seed=seed)
        if not clip:
            values = (values - values.min()) / np.ptp(values)
        return dataclasses.replace(sample, image=np.rint(255 * values).astype(np.uint8))

    return clean.map(change)
