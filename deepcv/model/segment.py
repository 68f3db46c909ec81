"""Segment images by the deep Chan-Vese model: `deep_chan_vese` and `deep_chan_vese_batch`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.features import noise_level
from deepcv.hints.hint import hint_for
from deepcv.hints.settings import NOTICEABLE_NOISE
from deepcv.images import resize, working_shape
from deepcv.model.batches import checked_batch, side_by_side, traces_of
from deepcv.model.refinement import guided_filter
from deepcv.model.settings import Settings, resolve
from deepcv.model.solver import Problem, State, iterate
from deepcv.model.start import (
    _STARTS,
    _check_colours,
    _confident,
    edge_weights,
    hint_prior,
    initial_memberships,
    random_memberships,
    start_prior,
)
from deepcv.segmentation import Segmentation


def pose(image: np.ndarray, hint: np.ndarray | None, settings: Settings, seed: int, device: str | None) -> Problem:
    """The problem of one image at its working size.

    Parameters
    ----------
    image, hint : numpy.ndarray
        As `as_image` and `as_hint` return them; the hint is needed with two phases and not used with more.
    settings : Settings
    seed : int
    device : str, optional
        Default the GPU when there is one.
    """
    shape = working_shape(image.shape[:2], settings.size)
    small = np.atleast_3d(resize(image, shape)).transpose(2, 0, 1)
    prior = np.zeros((settings.phases, *shape), np.float32)
    if settings.phases == 2:
        hint = resize(hint, shape)
        start = initial_memberships(hint, settings)
        if settings.warmup and not _confident(start).any():
            raise InputError(
                "no pixel of the hint is above 0.9 or below 0.1, so the first steps would learn nothing; give a surer "
                "hint, or set warmup to 0"
            )
        if settings.hint_weight:
            noisy = noise_level(np.atleast_3d(image)) >= NOTICEABLE_NOISE
            prior = hint_prior(hint, settings.hint_weight * (settings.noise_caution if noisy else 1))
    else:
        if settings.start == "random":
            _check_colours(small.transpose(1, 2, 0), settings.phases)
            start = random_memberships(shape, settings.phases, seed)
        else:
            start = _STARTS[settings.start](resize(image, shape), settings.phases, seed)
            prior = start_prior(start, settings.hint_weight)
        if settings.u_step == "exact":
            start = (start == start.max(axis=0)).astype(np.float32)
    target = torch_device(device)
    image, start, prior = (
        torch.from_numpy(np.ascontiguousarray(each))[None].to(target) for each in (small, start, prior)
    )
    return Problem(image, start, edge_weights(image, settings.edge_sensitivity), prior, [seed])


def deep_chan_vese(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    progress: bool = False,
    **settings,
) -> Segmentation:
    """Segment one image by the deep Chan-Vese model, without training data.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    hint : array_like, `(H, W)`, optional
        High where the foreground is believed to be, in [0, 1]; default the saliency of `deepcv.hints.saliency`. With more
        than two phases it is not used.
    seed : int
        Of networks, noise and random starts. The same seed on the same CPU gives the same mask.
    device : str, optional
        "cpu", "cuda" …; default the GPU when there is one.
    progress : bool
        Show a bar.
    **settings
        Fields of `Settings` that are to differ from the default.

    Returns
    -------
    Segmentation
        At the image's size. `trace` has the energy's terms per pixel and "changed", the share of pixels whose label
        changed, one value an Adam step. With more than two phases `settings["empty"]` lists those without a pixel.

    Raises
    ------
    InputError
        For an image or hint that can't be used, an unknown setting or one out of range.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((40, 60), 0.2)
    >>> image[10:30, 20:45] = 0.8
    >>> deep_chan_vese(image, hint=image, steps=5, rounds=1).mask.sum()
    np.int64(500)
    """
    hints = None if hint is None else [hint]
    [found] = deep_chan_vese_batch([image], hints, seeds=[seed], device=device, progress=progress, **settings)
    return found


def deep_chan_vese_batch(
    images: Sequence,
    hints: Sequence | None = None,
    *,
    seeds: Sequence[int],
    device: str | None = None,
    progress: bool = False,
    **settings,
) -> list[Segmentation]:
    """Segment many images side by side; those of one working size are solved as one stack of independent networks.

    For a GPU, which one image alone leaves idle. On a CPU a batch gains little, and more in processes of their own
    (`deepcv.parallel`).

    Parameters
    ----------
    images : sequence of array_like, `(H, W)` or `(H, W, 3)`
        As `deep_chan_vese` takes them, of any sizes. All of one working size are in memory at once.
    hints : sequence of array_like `(H, W)` or None, optional
        One for each image; the saliency where there is none.
    seeds : sequence of int
        One for each image. Give an image several times with different seeds to solve it as often.
    device, progress, settings
        As in `deep_chan_vese`.

    Returns
    -------
    list of Segmentation
        In the order of the images; `seconds` is an image's share of its group's time. The same masks as one by one
        but for rounding, which Adam amplifies: less than 1 % of the pixels differ.

    Raises
    ------
    InputError
        As `deep_chan_vese` does, and when there are not as many hints or seeds as images.
    """
    settings = resolve(settings)
    images, hints = checked_batch(images, hints, seeds)
    if settings.phases == 2:
        hints = [hint_for(image, hint) for image, hint in zip(images, hints, strict=True)]
    alike: dict[tuple, list[int]] = {}
    for index, image in enumerate(images):
        alike.setdefault((working_shape(image.shape[:2], settings.size), image.ndim), []).append(index)
    found: list[Segmentation | None] = [None] * len(images)
    for indices in alike.values():
        start = time.perf_counter()
        posed = [pose(images[index], hints[index], settings, seeds[index], device) for index in indices]
        memberships, traces = _solve(side_by_side(posed), settings, progress)
        segmentations = [
            at_full_size(images[index], each, settings) for index, each in zip(indices, memberships, strict=True)
        ]
        seconds = (time.perf_counter() - start) / len(indices)
        for index, segmentation, trace in zip(indices, segmentations, traces, strict=True):
            labels = segmentation.argmax(0).astype(np.uint8)
            ran_with = dataclasses.asdict(settings) | {"seed": seeds[index]}
            if settings.phases > 2:
                ran_with["empty"] = sorted(set(range(settings.phases)) - set(np.unique(labels).tolist()))
            found[index] = Segmentation(
                labels=labels,
                memberships=segmentation,
                trace=trace,
                seconds=seconds,
                method="deep-cv",
                settings=ran_with,
            )
    return found


def _solve(problem: Problem, settings: Settings, progress: bool) -> tuple[np.ndarray, list[dict[str, list[float]]]]:
    """Run the loop to its end: memberships `(B, N, H, W)`, and each image's trace."""
    before = problem.memberships
    unchanged = torch.zeros(len(before), device=before.device)
    trace: dict[str, list[Tensor]] = {}
    unsettled = []
    for state in _watched(iterate(problem, settings), settings, progress):
        changed = unchanged
        if state.memberships is not before:
            changed = (state.memberships.argmax(1) != before.argmax(1)).float().mean(dim=(1, 2))
        before = state.memberships
        unsettled.append(~state.settled)
        for name, value in (*state.energy.items(), ("changed", changed)):
            trace.setdefault(name, []).append(value)
    # an image's trace ends with the step that settles it, even if its neighbours go on
    lengths = (torch.stack(unsettled).sum(dim=0) + 1).tolist()
    return before.cpu().numpy(), traces_of(trace, lengths)


def at_full_size(image: np.ndarray, memberships: np.ndarray, settings: Settings) -> np.ndarray:
    """Memberships `(N, h, w)` at the image's size, filtered where asked for, `(N, H, W)` in [0, 1]."""
    memberships = np.atleast_3d(resize(memberships.transpose(1, 2, 0), image.shape[:2])).transpose(2, 0, 1)
    if settings.guided_radius:
        memberships = np.stack([guided_filter(image, each, radius=settings.guided_radius) for each in memberships])
        memberships = np.clip(memberships, 0, 1)
        # the filter is linear, so they sum to 1 but for its single precision, which is felt where windows are flat
        return memberships / memberships.sum(axis=0).clip(min=np.finfo(np.float32).tiny)
    return np.clip(memberships, 0, 1)


def _watched(states: Iterator[State], settings: Settings, progress: bool) -> Iterator[State]:
    from tqdm.auto import tqdm

    more = settings.more_steps * (settings.rounds - 1) if settings.u_step == "exact" else 0
    with tqdm(total=settings.steps + more, desc="deep Chan-Vese", unit="step", disable=not progress) as bar:
        for state in states:
            yield state
            bar.update()
        bar.total = bar.n  # labels may settle early
        bar.refresh()
