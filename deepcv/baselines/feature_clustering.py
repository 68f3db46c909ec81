"""Differentiable feature clustering: a small network and its own labels, fitted to one image (Kim et al. 2020).

    min  CE(r, argmax r) + μ (mean |∂r/∂x| + mean |∂r/∂y|)      over the parameters of r = network(image)

r `(q, H, W)` is the normalised response of M 3×3 convolutions and one 1×1 convolution. A pixel's label is the channel
of the largest response, and the cross-entropy pulls its response further towards that channel; the second term makes
responses of neighbours alike. Labels die out; the loop stops when only the smallest allowed number is left. No weights
come from elsewhere, so like the deep Chan-Vese model it needs nothing but the image.

Regions are not yet a foreground. With a hint, those whose mean hint is above its Otsu threshold are, by the rule that
also serves normalized cuts (`deepcv.baselines.normalized_cuts.marked_regions`). Asked for N regions, the method stops
before it has fewer, and then the smallest region joins the one of the most similar mean response until N are left; the
paper has no such rule, as it doesn't ask for a number.

Deviations from the paper: a smaller image, fewer channels and steps (`feature_clustering` has both values), and the
result is the last labelling with at least `regions` labels, where theirs may have fewer. The order within a layer,
convolution, ReLU, batch normalisation, is that of the authors' code
(github.com/kanezaki/pytorch-unsupervised-segmentation-tip). Values of the paper are quoted from memory, not checked
against print.

W. Kim, A. Kanezaki and M. Tanaka, "Unsupervised Learning of Image Segmentation Based on Differentiable Feature
Clustering", IEEE TIP 29 (2020) 8055-8068.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepcv.baselines.normalized_cuts import by_size, marked_regions
from deepcv.checks import Count, NonNegative, Positive, Seed, at_least, between, checked_settings
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.images import SMALLEST_SIDE, as_image, resize, working_shape
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation


@takes_seeds
def feature_clustering(
    image,
    hint=None,
    *,
    seed: Seed = 0,
    device: str | None = None,
    regions: Annotated[int, between(2, 255)] = 3,
    merge: bool = True,
    size: Annotated[int, at_least(SMALLEST_SIDE)] = 120,
    channels: Annotated[int, between(2, 255)] = 32,
    convolutions: Count = 2,
    steps: Count = 100,
    learning_rate: Positive = 0.1,
    continuity: NonNegative = 1.0,
) -> Segmentation:
    """Cluster an image's pixels by a network's responses, and merge the regions that the hint marks.

    The size, channels and steps are chosen for an image in about four seconds on one core; 100 channels alone take
    three times as long. Of μ = 1 and 5, on the first 20 images of Weizmann with seed 0, the first is better: F / mIoU
    are 0.718 / 0.617 with 12 labels left on average, and 0.645 / 0.543 with 5.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`); the seed is the network's. The
        clustering doesn't depend on the hint, only the merging does.
    regions : int, 2 to 255
        Labels at which the loop stops; with `merge=False` also the number of regions returned.
    merge : bool
        Merge the regions into a foreground and a background. Otherwise each has its own label, and no hint is needed.
    size : int, at least 8
        Longest side, in pixels, at which the network works; the paper takes the image as it is.
    channels : int, 2 to 255
        q, of every layer; 100 in the paper. At most so many labels.
    convolutions : int, at least 1
        M, of 3×3 pixels.
    steps : int, at least 1
        Largest number of steps; 500 in the paper, 1000 in its code.
    learning_rate : float, positive
        Of gradient descent with momentum 0.9; both as in the paper.
    continuity : float, at least 0
        μ; 5 in the paper, 1 in its code.

    Returns
    -------
    Segmentation
        Labels 0 and 1, or with `merge=False` 0..regions-1 from the largest region to the smallest. `trace` has "loss"
        and "labels", their number, for each step.

    Raises
    ------
    InputError
        For an unusable image or hint, a parameter out of range, or more regions than channels.
    """
    settings = checked_settings(feature_clustering, locals())
    if regions > channels:
        raise InputError(f"regions is {regions} and channels {channels}; ask for fewer regions, or more channels")
    image = as_image(image)
    hint = hint_for(image, hint) if merge else None
    start = time.perf_counter()
    shape = working_shape(image.shape[:2], size)
    pixels = torch.from_numpy(np.atleast_3d(resize(image, shape)).transpose(2, 0, 1).copy())
    layers = network(pixels.shape[0], channels, convolutions, seed).to(torch_device(device))
    response, trace = cluster(layers, pixels.to(torch_device(device)), regions, steps, learning_rate, continuity)
    labels = by_size(response.argmax(axis=0))
    if hint is not None:
        labels, count = marked_regions(labels, resize(hint, shape)).astype(int), 2
    else:
        labels, count = merged(labels, response, regions), regions
    indicators = (labels[..., None] == np.arange(count)).astype(np.float32)
    memberships = resize(indicators, image.shape[:2]).transpose(2, 0, 1)
    return Segmentation(
        memberships.argmax(axis=0).astype(np.uint8),
        memberships,
        trace,
        time.perf_counter() - start,
        "feature-clustering",
        settings | {"seed": seed},
    )


def network(inputs: int, channels: int, convolutions: int, seed: int) -> nn.Module:
    """The layers, `(1, inputs, H, W)` to the response `(1, channels, H, W)`, with torch's usual random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for index in range(convolutions):
            before = channels if index else inputs
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(channels)]
        return nn.Sequential(*layers, nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))


def cluster(
    layers: nn.Module, image: Tensor, regions: int, steps: int, learning_rate: float, continuity: float
) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Fit the layers to an image `(C, H, W)`.

    Returns the last response `(q, H, W)` with at least `regions` labels, the first if none has, and the trace.
    """
    optimizer = torch.optim.SGD(layers.parameters(), learning_rate, momentum=0.9)
    trace: dict[str, list[float]] = {"loss": [], "labels": []}
    kept = None
    for _ in range(steps):
        response = layers(image[None])[0]
        labels = response.argmax(dim=0)
        count = len(labels.unique())
        if kept is None or count >= regions:
            kept = response.detach()
        loss = F.cross_entropy(response[None], labels[None]) + continuity * roughness(response)
        trace["loss"].append(loss.item())
        trace["labels"].append(count)
        if count <= regions:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert kept is not None
    return kept.cpu().numpy(), trace


def roughness(response: Tensor) -> Tensor:
    """Mean absolute difference of the response `(q, H, W)` to the pixel below, plus that to the pixel on the right."""
    return response.diff(dim=1).abs().mean() + response.diff(dim=2).abs().mean()


def merged(labels: np.ndarray, response: np.ndarray, regions: int) -> np.ndarray:
    """The smallest region joins the one with the nearest mean response, until at most `regions` are left.

    From labels int `(H, W)` and the response `(q, H, W)`; the result is numbered from the largest region downwards.
    """
    labels = by_size(labels)
    while (smallest := labels.max()) >= regions:
        sizes = np.bincount(labels.ravel())
        means = np.stack([np.bincount(labels.ravel(), each.ravel()) for each in response], axis=1) / sizes[:, None]
        nearest = np.linalg.norm(means[:-1] - means[-1], axis=1).argmin()
        labels = by_size(np.where(labels == smallest, nearest, labels))
    return labels
