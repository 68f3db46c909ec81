"""Segment images by the deep Chan-Vese model: `deep_chan_vese` and `deep_chan_vese_batch`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deepcv.checks import resolve
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for
from deepcv.images import resize, working_shape
from deepcv.model.batches import checked_batch, side_by_side, solve_alike, traces_of, watched
from deepcv.model.phases import labels_of
from deepcv.model.refinement import guided_filter
from deepcv.model.settings import Settings
from deepcv.model.solver import Problem, iterate
from deepcv.model.start import edge_weights, start_from_hint, start_from_image
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation
from deepcv.threads import on_one_thread


def pose(image: np.ndarray, hint: np.ndarray | None, settings: Settings, seed: int, device: str | None) -> Problem:
    """The problem of one image at its working size.

    Parameters
    ----------
    image, hint : numpy.ndarray
        As `as_image` and `as_hint` return them; the hint is needed where u starts from it, and ignored otherwise.
    settings : Settings
    seed : int
    device : str, optional
        Default: the GPU if there is one.

    Raises
    ------
    InputError
        For an image with fewer colours than phases, or a warm-up on a hint that is confident nowhere.
    """
    shape = working_shape(image.shape[:2], settings.size)
    small = resize(image, shape)
    if settings.start == "hint":
        assert hint is not None
        start, prior = start_from_hint(image, resize(hint, shape), settings)
    else:
        start, prior = start_from_image(small, settings, seed)
    on_device = torch_device(device)
    arrays = (np.atleast_3d(small).transpose(2, 0, 1), start, prior)
    image, start, prior = (torch.from_numpy(np.ascontiguousarray(each))[None].to(on_device) for each in arrays)
    return Problem(image, start, edge_weights(image, settings.edge_sensitivity), prior, [seed])


@on_one_thread
@takes_seeds
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

    It runs on one thread unless OMP_NUM_THREADS is set.

    Parameters
    ----------
    image : array_like, `(H, W)` or `(H, W, 3)`
        uint8, or float in [0, 1].
    hint : array_like, `(H, W)`, optional
        In [0, 1], high on the presumed foreground; default: the saliency of `deepcv.hints.saliency`. Ignored with more
        than two phases, and with another `start` than "hint", unless it can only be marks (`deepcv.seeds`).
    seed : int
        Of networks, noise and random starts. The same seed on the same CPU gives the same mask.
    device : str, optional
        "cpu", "cuda" …; default: the GPU if there is one.
    progress : bool
        Show a progress bar.
    **settings
        Fields of `deepcv.model.settings.Settings` that differ from the default.

    Returns
    -------
    Segmentation
        At the image's size. `trace` has one value per Adam step: the energy's terms per pixel, and "changed", the share
        of pixels whose label changed. With more than two phases `settings["empty"]` lists those without pixels.

    Raises
    ------
    InputError
        For an unusable image or hint, an unknown setting or one out of range, or an energy that becomes NaN or
        infinite.

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
    """Segment many images; those of one working size are solved as one stack of independent networks.

    Meant for a GPU, which a single image leaves idle. On a CPU a batch gains little; separate processes gain more
    (`deepcv.parallel`).

    Parameters
    ----------
    images : sequence of array_like, `(H, W)` or `(H, W, 3)`
        As for `deep_chan_vese`, of any sizes. All those of one working size are in memory at once.
    hints : sequence of array_like `(H, W)` or None, optional
        One per image; None for the saliency.
    seeds : sequence of int
        One per image. To solve an image with several seeds, give it several times.
    device, progress, settings
        As for `deep_chan_vese`.

    Returns
    -------
    list of Segmentation
        In the order of the images; `seconds` is an image's share of its group's time. The masks are those of single
        calls up to rounding, which Adam amplifies: less than 1 % of the pixels differ.

    Raises
    ------
    InputError
        As for `deep_chan_vese`, and when the numbers of images, hints and seeds differ.
    """
    settings = resolve(Settings, settings)
    images, hints = checked_batch(images, hints, seeds)
    if settings.start == "hint":
        hints = [hint_for(image, hint) for image, hint in zip(images, hints, strict=True)]

    def solve(indices: list[int]) -> list[Segmentation]:
        posed = [pose(images[index], hints[index], settings, seeds[index], device) for index in indices]
        memberships, traces = _solve(side_by_side(posed), settings, progress)
        return [
            _segmentation(images[index], each, trace, settings, seeds[index])
            for index, each, trace in zip(indices, memberships, traces, strict=True)
        ]

    return solve_alike([(working_shape(image.shape[:2], settings.size), image.ndim) for image in images], solve)


def _solve(problem: Problem, settings: Settings, progress: bool) -> tuple[np.ndarray, list[dict[str, list[float]]]]:
    """Run the loop to its end: memberships `(B, N, H, W)`, and each image's trace."""
    before = problem.memberships
    unchanged = torch.zeros(len(before), device=before.device)
    trace: dict[str, list[Tensor]] = {}
    unsettled = []
    later_steps = settings.more_steps * (settings.rounds - 1) if settings.u_step == "exact" else 0
    for state in watched(iterate(problem, settings), settings.steps + later_steps, "deep Chan-Vese", progress):
        changed = unchanged
        if state.memberships is not before:
            changed = (labels_of(state.memberships) != labels_of(before)).float().mean(dim=(1, 2))
        before = state.memberships
        unsettled.append(~state.settled)
        for name, value in (*state.energy.items(), ("changed", changed)):
            trace.setdefault(name, []).append(value)
    # an image's trace ends with the step that settles it, even if its neighbours go on
    lengths = (torch.stack(unsettled).sum(dim=0) + 1).tolist()
    traces = traces_of(trace, lengths)
    for each in traces:
        _check_finite(each, settings)
    return before.cpu().numpy(), traces


_LOWERED = ("learning_rate", "learning_rate_phi", "pixel_range", "latent_mean", "latent_unit", "balance")
_WEIGHTS = ("penalty", "nu", "hint_weight", "noise_caution", "edge_sensitivity")


def _check_finite(trace: dict[str, list[float]], settings: Settings) -> None:
    """Raise `InputError`, with the settings to lower, if the energy became NaN or infinite."""
    for term, values in trace.items():
        bad = next((step for step, value in enumerate(values, 1) if not math.isfinite(value)), None)
        if bad is None:
            continue
        usual = Settings(phases=settings.phases, start=settings.start, u_step=settings.u_step)
        now = {name: getattr(settings, name) for name in (*_LOWERED, *_WEIGHTS)}
        high = [name for name, value in now.items() if value > getattr(usual, name)] or ["learning_rate"]
        named = " or ".join(f"{name} (now {now[name]:g})" for name in high)
        raise InputError(f"the energy's {term} is {values[bad - 1]} after step {bad}; lower {named}")


def _segmentation(image: np.ndarray, memberships: np.ndarray, trace, settings: Settings, seed: int) -> Segmentation:
    memberships = at_full_size(image, memberships, settings)
    labels = memberships.argmax(0).astype(np.uint8)
    ran_with = dataclasses.asdict(settings) | {"seed": seed}
    if settings.phases > 2:
        ran_with["empty"] = np.setdiff1d(range(settings.phases), labels).tolist()
    return Segmentation(labels, memberships, trace, method="deep-cv", settings=ran_with)


def at_full_size(image: np.ndarray, memberships: np.ndarray, settings: Settings) -> np.ndarray:
    """Memberships `(N, h, w)` at the image's size and, if the settings ask for it, filtered: `(N, H, W)` in [0, 1]."""
    memberships = np.atleast_3d(resize(memberships.transpose(1, 2, 0), image.shape[:2])).transpose(2, 0, 1)
    if settings.guided_radius:
        memberships = np.stack([guided_filter(image, each, radius=settings.guided_radius) for each in memberships])
        memberships = np.clip(memberships, 0, 1)
        # the filter is linear and keeps the sum of 1, up to single precision, which flat windows amplify
        return memberships / memberships.sum(axis=0).clip(min=np.finfo(np.float32).tiny)
    return np.clip(memberships, 0, 1)
