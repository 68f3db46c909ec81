"""The contenders: each preset of `METHODS_TIMED`, and scikit-image's two Chan-Vese models.

Any other two-region method of `deepcv.methods` can be named with `--contenders`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from deepcv.methods import METHODS, get_method

METHODS_TIMED = ("deep-cv", "chan-vese", "grabcut", "double-dip")
"""Methods of the registry timed by default; the others would double the benchmark's time."""

STEPWISE = ("deep-cv:released", "deep-cv:paper", "deep-cv:printed", "double-dip", "feature-clustering")
"""Too slow to finish here: some steps on one image per data set are timed and scaled to all. Double-DIP and the
clustering may stop before their last step."""

SCALING = ("deep-cv", "chan-vese:exact", "grabcut", "skimage:chan_vese", "feature-clustering", "deep-cv:paper")
"""Of part scaling, unless others are named."""

WEIGHTED = ("chan-vese", "chan-vese:exact", "skimage:chan_vese")
"""Contenders with a weight ν of the length, scikit-image's `mu`."""

OTHER_TOLERANCES = ("chan-vese:exact tolerance=0.001", "chan-vese:exact tolerance=0.1")
"""The exact solver with smaller and larger tolerance, for comparing energies: what the last digits cost."""

Function = Callable[..., np.ndarray]


_SAME_LOOP = ("textbook-filter", "otsu", "gradient", "auto-encoder")
"""Presets that aren't timed, since they run the loop of another one of their method."""


def names() -> list[str]:
    """The default contenders, "method" or "method:preset"."""
    ours = [
        method if preset == "default" else f"{method}:{preset}"
        for method, each in METHODS.items()
        for preset in each.presets
        if method in METHODS_TIMED and preset not in _SAME_LOOP
    ]
    return [*ours, *_PEERS]


def function(name: str, device: str) -> Function:
    """The function timed: `(image, hint, **settings)` to the mask, bool `(H, W)`.

    Raises
    ------
    InputError
        If there is no such contender.
    """
    if name in _PEERS:
        return _PEERS[name]
    name, *changes = name.split()
    method, _, preset = name.partition(":")
    chosen = get_method(method)
    changed = {key: float(value) for key, _, value in (each.partition("=") for each in changes)}
    given = chosen.settings(preset or "default", **changed)

    def segment(image: np.ndarray, hint: np.ndarray, **settings) -> np.ndarray:
        return chosen.function(image, hint, seed=0, device=device, **{**given, **settings}).mask

    return segment


def seconds_a_step(
    name: str, image: np.ndarray, hint: np.ndarray, device: str, patience: float
) -> tuple[float, int, int]:
    """Time single steps of a loop, at the image's size, for `patience` seconds or to its end, and at least one step.

    The first step isn't counted. Returns the mean seconds per step (on a CPU, of the processor), the number timed, and
    the number in a run.
    """
    states, steps = _loop(name, image, hint, device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    next(states)
    synchronise(device)
    start, timed = clock(), 0
    for _ in states:
        synchronise(device)
        timed += 1
        if clock() - start >= patience:
            break
    return (clock() - start) / timed, timed, steps


def _loop(name: str, image: np.ndarray, hint: np.ndarray, device: str):
    """The iterations of a method on an image at its own size, and their maximum number."""
    from deepcv.baselines import double_dip
    from deepcv.images import as_image
    from deepcv.model import segment, solver
    from deepcv.model.settings import Settings

    method, _, preset = name.partition(":")
    image, given = as_image(image), get_method(method).presets[preset or "default"]
    if method == "double-dip":
        settings = double_dip.Settings(**given)
        posed = double_dip.pose(image, hint, settings, 0, device)
        return double_dip.iterate(posed, settings), settings.first_steps + settings.second_steps
    if method == "feature-clustering":
        return _clustering(image, **get_method(method).settings(preset or "default"))
    settings = Settings(**given | {"size": max(image.shape[:2])})
    return solver.iterate(segment.pose(image, hint, settings, 0, device), settings), settings.steps


def _clustering(image: np.ndarray, *, channels: int, convolutions: int, steps: int, continuity: float, **others):
    """Steps of Kanezaki's clustering on the CPU, which never stop early."""
    import torch

    from deepcv.baselines.feature_clustering import cluster, network

    pixels = torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1).copy())
    layers = network(len(pixels), channels, convolutions, 0)
    return (cluster(layers, pixels, 0, 1, others["learning_rate"], continuity) for _ in range(steps)), steps


def synchronise(device: str) -> None:
    """Wait until the GPU has finished."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def grey_in_unit_range(image: np.ndarray) -> np.ndarray:
    """The grey image stretched to [0, 1], as scikit-image's `chan_vese` does; float64 `(H, W)`."""
    from skimage.color import rgb2gray

    from deepcv.images import as_image

    image = as_image(image)
    grey = rgb2gray(image) if image.ndim == 3 else image
    grey = (grey - grey.min()) / max(np.ptp(grey), np.finfo(np.float32).tiny)
    return grey.astype(np.float32).astype(float)  # our methods work on float32 images


def _chan_vese(image: np.ndarray, hint: np.ndarray, *, nu: float = 0.25) -> np.ndarray:
    """To its tolerance or 500 steps, from the hint; 0.25 is its own default."""
    from skimage.segmentation import chan_vese

    from deepcv.hints.hint import otsu_mask

    return chan_vese(grey_in_unit_range(image), mu=nu, init_level_set=np.where(otsu_mask(hint), 1.0, -1.0))


def _morphological(image: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """35 iterations with 3 smoothing steps each, as in scikit-image's gallery, from the hint; it has no weight ν."""
    from skimage.segmentation import morphological_chan_vese

    from deepcv.hints.hint import otsu_mask

    start = otsu_mask(hint).astype(np.int8)
    return morphological_chan_vese(grey_in_unit_range(image), num_iter=35, init_level_set=start, smoothing=3) > 0


_PEERS: dict[str, Function] = {
    "skimage:chan_vese": _chan_vese,
    "skimage:morphological_chan_vese": _morphological,
}
