"""Double-DIP [18]: two deep image priors composed by a third, their mask.

    image ≈ mask · left + (1 - mask) · right

Left, right and mask are outputs of small encoder-decoders fed fixed noise and fitted to the one image. Step 1 fits
left to the pixels where the hint is confident of the foreground, right to those where it is confident of the
background, and the mask to 1, 0 and elsewhere ½. Step 2 fits the composite to the whole image and drives the mask away
from ½, until the composite reaches `Settings.target_psnr`. Finally the mask goes through a guided filter [21].

From Gandelsman, Shocher and Irani (CVPR 2019). The method and all defaults are those of the authors' code
(github.com/yossigandelsman/DoubleDIP), which needs a GPU, scikit-image before 0.18, and the hints in files. Its less
obvious features:

- the jitter of the noise grows to 9e-3 in the first 1000 iterations of each step, and is 1e-3 afterwards;
- in step 2 the hint constrains left and right, not the mask, and only until iteration 1000;
- the result is the mask after step 1 if the composite was closer to the image then than at the end;
- OpenCV's guided filter gets the image in [0, 1], so it isn't the textbook's (`refinement.guided_filter`).

Deviations from that code:

- the image is padded to multiples of 32 pixels by reflection, as evenly as possible, and the margins count in losses
  and PSNR; theirs is cropped;
- a grey image has its channel repeated;
- the composite is compared with the target in step 2 only: a note in their code asks for that, but the code compares
  from the first iteration and would skip step 2;
- the result is the first mask to reach the target, as in theirs, but the loop checks only every 25 iterations, to spare
  the device a synchronisation, so up to 24 iterations are wasted;
- normalisation scales start at 1, as in torch since 1.2; before, torch drew them from [0, 1];
- the hint is the structured-matrix-decomposition saliency [34], as in the paper; theirs is context-aware saliency;
- the image can be reduced first (`Settings.size`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv.checks import Checked, Count, NonNegative, Positive, at_least, resolve
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for, surer
from deepcv.images import SMALLEST_SIDE, as_colour, resize, to_uint8, working_shape
from deepcv.model.batches import checked_batch, side_by_side, solve_alike, traces_of, watched
from deepcv.model.descent import Descent, adam
from deepcv.model.networks import SkipNetwork
from deepcv.model.refinement import guided_filter
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase

_SIDES_DIVIDE_BY = 32
_WIDTHS = (8, 16, 32)
_NOISE_CHANNELS = 2
_NOISE_SCALE = 0.01
_SURE_FOREGROUND, _SURE_BACKGROUND = 239.5, 15.5  # of the equalised hint, 0..255
_CHECKED_EVERY = 25  # iterations; more synchronise a GPU less often and waste more iterations


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of Double-DIP; the defaults are those of the authors' code."""

    size: Annotated[int, at_least(SMALLEST_SIDE)] | None = None
    """Longest side, in pixels, at which the networks work; None for the image's own, as released."""
    first_steps: Count = 2000
    """Iterations of step 1."""
    second_steps: Count = 4000
    """Largest number of iterations of step 2."""
    ramp: Count = 1000
    """Iterations of each step during which the jitter and, in step 2, the weight of `exclusion` grow in ten stairs;
    also how long the hint counts in step 2."""
    learning_rate: Positive = 1e-3
    """Adam's; it restarts for step 2."""
    jitter: NonNegative = 1e-3
    """Standard deviation of the noise added in each iteration after the ramp; it reaches nine times this within."""
    exclusion: NonNegative = 0.01
    """Weight of `1 / mean |mask - ½|` at the end of the ramp; a larger one makes the mask more binary, at the cost of
    the fit."""
    sureness: Literal["map", "sharpened", "otsu"] = "map"
    """The hint whose confident pixels count (`confident`): the map itself, as released; sharpened; or its Otsu mask,
    which is confident everywhere (`hints.hint.surer`)."""
    target_psnr: NonNegative = 30.0
    """Peak signal-to-noise ratio of the composite, in dB, that ends step 2."""
    guided_filter: Literal["released", "textbook"] | None = "released"
    """Filter of the mask with radius 50 pixels and eps 1e-4, for an image in [0, 1] ("released") or in 0..255
    ("textbook"); None leaves it out."""


@takes_seeds
def double_dip(
    image, hint=None, *, seed: int = 0, device: str | None = None, progress: bool = False, **settings
) -> Segmentation:
    """Segment one image by Double-DIP.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`); the seed is for networks and noise.
    progress : bool
        Show a progress bar.
    **settings
        Fields of `Settings` that differ from the default.

    Returns
    -------
    Segmentation
        At the image's size; `memberships` are the filtered mask, clipped to [0, 1]. `trace` has "loss" and "psnr" (of
        the composite, in dB) for each iteration of both steps.

    Raises
    ------
    InputError
        For an unusable image or hint, a hint without confident pixels of both foreground and background, an
        unknown setting or one out of range.
    """
    hints = None if hint is None else [hint]
    [found] = double_dip_batch([image], hints, seeds=[seed], device=device, progress=progress, **settings)
    return found


def double_dip_batch(
    images: Sequence,
    hints: Sequence | None = None,
    *,
    seeds: Sequence[int],
    device: str | None = None,
    progress: bool = False,
    **settings,
) -> list[Segmentation]:
    """Segment many images; those of one padded size are solved as one stack of independent networks.

    Meant for a GPU, which a single image leaves idle. A stack runs until the last of its images has reached the target,
    so on a CPU a batch can take longer than its images one by one.

    Parameters
    ----------
    images, hints, seeds : sequence
        As for `double_dip`, one of each per image; images of any sizes. A hint of None is the saliency.
    device, progress, settings
        As for `double_dip`.

    Returns
    -------
    list of Segmentation
        In the order of the images; `seconds` is an image's share of its stack's time. The masks are those of single
        calls up to rounding, which Adam amplifies: less than 1 % of the pixels differ after some hundred iterations.

    Raises
    ------
    InputError
        As for `double_dip`, and when the numbers of images, hints and seeds differ.
    """
    settings = resolve(Settings, settings)
    images, hints = checked_batch(images, hints, seeds)
    posed = [
        pose(image, hint_for(image, hint), settings, seed, device)
        for image, hint, seed in zip(images, hints, seeds, strict=True)
    ]

    def solve(indices: list[int]) -> list[Segmentation]:
        masks, traces = separate(side_by_side([posed[index] for index in indices]), settings, progress)
        soft = [refined(images[index], mask, settings) for index, mask in zip(indices, masks, strict=True)]
        ran_with = [dataclasses.asdict(settings) | {"seed": seeds[index]} for index in indices]
        return [
            two_phase(each > 0.5, each, trace=trace, method="double-dip", settings=ran)
            for each, trace, ran in zip(soft, traces, ran_with, strict=True)
        ]

    return solve_alike([problem.image.shape for problem in posed], solve)


class Problem(NamedTuple):
    """B images of one padded size, and where their hints are confident."""

    image: Tensor  # (B, 3, H, W), in [0, 1]; H and W are multiples of 32
    foreground: Tensor  # (B, 1, H, W), 1 where the hint is confident of it, 0 elsewhere
    background: Tensor  # likewise
    seeds: Sequence[int]


def pose(image: np.ndarray, hint: np.ndarray, settings: Settings, seed: int, device: str | None) -> Problem:
    """The problem, at working size and padded, of an image and hint that `as_image` and `as_hint` returned."""
    device = torch_device(device)
    shape = _working_shape(image, settings)
    hint = resize(hint, shape)
    sure = confident(surer(hint, settings.sureness))
    padded = [pad(each.astype(np.float32)) for each in (resize(as_colour(image), shape), *sure)]
    tensors = [torch.from_numpy(np.atleast_3d(each).transpose(2, 0, 1).copy())[None].to(device) for each in padded]
    return Problem(tensors[0], tensors[1], tensors[2], [seed])


def _working_shape(image: np.ndarray, settings: Settings) -> tuple[int, int]:
    return image.shape[:2] if settings.size is None else working_shape(image.shape[:2], settings.size)


def confident(hint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the hint is confident of the foreground and of the background, bool `(H, W)` each.

    The hint's histogram is equalised. The lowest grey level is background; of the pixels above it, about the lowest
    sixteenth is background too and the highest is foreground. A hint of two levels is confident everywhere.

    Raises
    ------
    InputError
        For a hint without confident pixels of one of them.
    """
    import cv2

    equalised = cv2.equalizeHist(to_uint8(hint))
    sure = equalised > _SURE_FOREGROUND, equalised <= _SURE_BACKGROUND
    for where, side in zip(sure, ("foreground", "background"), strict=True):
        if not where.any():
            raise InputError(
                f"the hint, between {hint.min():.4f} and {hint.max():.4f}, has no pixel that is surely {side}; "
                "stretch it over more grey levels, or leave it out to have one computed"
            )
    return sure


def margins(shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels to add before and after each axis so that both sides are multiples of 32."""
    missing = [-side % _SIDES_DIVIDE_BY for side in shape]
    above, left = ((each // 2, each - each // 2) for each in missing)
    return above, left


def pad(array: np.ndarray) -> np.ndarray:
    """`(H, W)` or `(H, W, C)` extended to its `margins` by reflection."""
    return np.pad(array, margins(array.shape[:2]) + ((0, 0),) * (array.ndim - 2), mode="reflect")


def unpad(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Undo `pad`: the array `(H, W)` of this shape without its margins."""
    rows, columns = (slice(before, before + side) for (before, _), side in zip(margins(shape), shape, strict=True))
    return array[rows, columns]


class EncoderDecoder(SkipNetwork):
    """The deep image prior's network [45] without skip connections, `(B, in_channels, H, W)` to values in [0, 1]."""

    def __init__(self, in_channels: int, out_channels: int, seeds: Sequence[int]):
        super().__init__(in_channels, out_channels, widths=_WIDTHS, across=0, seeds=seeds)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(x))


class Layers(nn.Module):
    """Left, right and mask of B images: a stack of 3B networks with 3 output channels; a mask is the first."""

    def __init__(self, seeds: Sequence[int]):
        super().__init__()
        self.networks = EncoderDecoder(_NOISE_CHANNELS, 3, [3 * seed + each for seed in seeds for each in range(3)])

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From noise `(3B, 2, H, W)`: left and right `(B, 3, H, W)`, mask `(B, 1, H, W)`."""
        left, right, mask = self.networks(noise).unflatten(0, (-1, 3)).unbind(dim=1)
        return left, right, mask[:, :1]


class Noise:
    """Input of the networks, `(3B, 2, H, W)` in `value`: fixed noise plus jitter redrawn in each iteration.

    The fixed noise is uniform in ±0.005 and the same for left and right; the jitter is normal and each network's own.
    """

    def __init__(self, problem: Problem):
        device, (height, width) = problem.image.device, problem.image.shape[-2:]
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in problem.seeds]
        self.value = torch.empty((3 * len(problem.seeds), _NOISE_CHANNELS, height, width), device=device)
        fixed = []
        for generator in self.generators:
            of_both, of_mask = torch.rand((2, _NOISE_CHANNELS, height, width), generator=generator, device=device)
            fixed += [of_both, of_both, of_mask]
        self.fixed = (torch.stack(fixed) - 0.5) * _NOISE_SCALE

    def draw(self, deviation: float) -> None:
        """Replace the jitter by a new draw of this standard deviation, in place."""
        for own, generator in zip(self.value.split(3), self.generators, strict=True):
            own.normal_(generator=generator)
        torch.add(self.fixed, self.value, alpha=deviation, out=self.value)


def composite(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """mask · left + (1 - mask) · right."""
    return torch.lerp(right, left, mask)


def peak_signal_to_noise(image: Tensor, other: Tensor) -> Tensor:
    """PSNR in dB, `(B,)`, of images in [0, 1]."""
    return -10 * torch.log10((image - other).square().mean(dim=(1, 2, 3)))


def hint_loss(left: Tensor, right: Tensor, problem: Problem) -> Tensor:
    """Mean absolute errors of left and right where the hint is confident of their side, `(B,)`."""
    total: Any = 0
    for output, where in ((left, problem.foreground), (right, problem.background)):
        error = (where * (output - problem.image).abs()).mean(dim=(1, 2, 3))
        total = total + error / where.mean(dim=(1, 2, 3))
    return total


def first_loss(left: Tensor, right: Tensor, mask: Tensor, problem: Problem) -> Tensor:
    """Loss of step 1, `(B,)`: `hint_loss`, and the distance of the mask to 1, 0 or, where the hint is unsure, ½."""
    target = (problem.foreground - problem.background + 1) / 2
    return hint_loss(left, right, problem) + (mask - target).abs().mean(dim=(1, 2, 3))


def second_loss(left: Tensor, right: Tensor, mask: Tensor, problem: Problem, exclusion: Tensor, hinted: bool) -> Tensor:
    """Loss of step 2, `(B,)`: error of the composite, `exclusion / mean |mask - ½|` and, if `hinted`, `hint_loss`."""
    error = (composite(left, right, mask) - problem.image).abs().mean(dim=(1, 2, 3))
    total = 0.5 * error + exclusion / (mask - 0.5).abs().mean(dim=(1, 2, 3))
    return total + hint_loss(left, right, problem) if hinted else total


class State(NamedTuple):
    """B images before an iteration's Adam step: mask `(B, 1, H, W)`, loss and the composite's PSNR `(B,)`."""

    mask: Tensor
    loss: Tensor
    psnr: Tensor


def separate(problem: Problem, settings: Settings, progress: bool) -> tuple[np.ndarray, list[dict[str, list[float]]]]:
    """The masks of B images, soft, `(B, H, W)`, and each image's trace."""
    states = watched(iterate(problem, settings), settings.first_steps + settings.second_steps, "Double-DIP", progress)
    losses, psnrs, running = [], [], []
    after_first: Any = None
    kept: Any = None
    passed = torch.zeros(len(problem.seeds), dtype=torch.bool, device=problem.image.device)
    for count, state in enumerate(states, start=1):
        second = count > settings.first_steps
        losses.append(state.loss)
        psnrs.append(state.psnr)
        running.append(~passed)
        if not second:
            after_first = kept = state
            continue
        kept = State(*(_chosen(passed, old, new) for old, new in zip(kept, state, strict=True)))
        passed = passed | (state.psnr > settings.target_psnr)
        if count % _CHECKED_EVERY == 0 and bool(passed.all()):
            break
    masks = _chosen(after_first.psnr > kept.psnr, after_first.mask, kept.mask)
    lengths = torch.stack(running).sum(dim=0).tolist()
    return masks[:, 0].cpu().numpy(), traces_of({"loss": losses, "psnr": psnrs}, lengths)


def _chosen(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`torch.where` with a condition `(B,)` for tensors `(B, ...)`."""
    return torch.where(condition.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def iterate(problem: Problem, settings: Settings) -> Iterator[State]:
    """The states of both steps in full; the target is not checked."""
    image = problem.image
    layers, noise = Layers(problem.seeds).to(image.device), Noise(problem)
    exclusion = torch.zeros((), device=image.device)

    def descent(loss, optimiser) -> Descent:
        return Descent(functools.partial(_evaluate, layers, noise, problem, loss), optimiser, image)

    optimiser = adam(layers.parameters(), settings.learning_rate, image.device)
    first = descent(first_loss, optimiser)
    for step in range(settings.first_steps):
        noise.draw(jitter(step, settings))
        yield State(*first())
    optimiser = adam(layers.parameters(), settings.learning_rate, image.device)
    hinted, unhinted = (
        descent(functools.partial(second_loss, exclusion=exclusion, hinted=hinted), optimiser)
        for hinted in (True, False)
    )
    for step in range(settings.second_steps):
        last = step == settings.second_steps - 1
        noise.draw(0.0 if last else jitter(step, settings))
        exclusion.fill_(settings.exclusion * _stairs(min(step, settings.ramp), settings) / 10)
        yield State(*(hinted if step <= settings.ramp else unhinted)())


def _evaluate(layers: Layers, noise: Noise, problem: Problem, loss) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The losses summed over pixels, for `Descent`, and the state."""
    left, right, mask = layers(noise.value)
    losses = loss(left, right, mask, problem)
    with torch.no_grad():
        psnr = peak_signal_to_noise(problem.image, composite(left, right, mask))
    return losses * mask[0].numel(), State(mask, losses, psnr)


def jitter(step: int, settings: Settings) -> float:
    """Standard deviation of the jitter in an iteration, counted from 0 in each step."""
    return settings.jitter * (_stairs(step, settings) if step < settings.ramp else 1)


def _stairs(step: int, settings: Settings) -> int:
    """0 to 10 over the ramp."""
    return 10 * step // settings.ramp


def refined(image: np.ndarray, mask: np.ndarray, settings: Settings) -> np.ndarray:
    """The padded mask without margins, at the image's size, filtered and clipped to [0, 1]."""
    soft = resize(np.ascontiguousarray(unpad(mask, _working_shape(image, settings))), image.shape[:2])
    if settings.guided_filter == "released":
        import cv2

        soft = cv2.ximgproc.guidedFilter(image, soft, 50, 1e-4)
    elif settings.guided_filter == "textbook":
        soft = guided_filter(image, soft, radius=50, eps=1e-4)
    return np.clip(soft, 0, 1)
