"""Double-DIP [18]: two deep image priors that share an image by a third one, their mask.

    image ≈ mask · left + (1 - mask) · right

Left, right and mask are each the output of a small encoder-decoder fed with fixed noise, and all that is learnt is
learnt from the one image. Step 1 fits left to the pixels that the hint is sure are foreground, right to those that it
is sure are background, and the mask to 1, 0 and ½. Step 2 fits the composite to the whole image and drives the mask
away from ½, until the composite is as good as `Settings.target_psnr`. A guided filter [21] of the mask ends it.

From Gandelsman, Shocher and Irani (CVPR 2019). The method and every default are read off the authors' code
(github.com/yossigandelsman/DoubleDIP), which needs a GPU, a scikit-image before 0.18, and the hints in files. What it
does and one wouldn't guess:

- the jitter of the noise grows to 9e-3 in the first 1000 iterations of either step, and is 1e-3 after them;
- the hint's mask is left out of step 2: the hint holds left and right alone, until iteration 1000;
- what counts is the mask after step 1 if the composite was closer to the image then than at the end;
- OpenCV's guided filter is given the image in [0, 1], with which it isn't the textbook's (`refinement.guided_filter`).

Where this deviates from it:

- the image is padded by reflection, as evenly on both sides as can be, to multiples of 32 pixels, and the margins count
  in losses and PSNR; there it is cropped;
- a grey image has its channel repeated;
- the composite is compared with the target in step 2 only: a note in their code asks for that, the code itself
  looks from the first iteration on and would skip step 2;
- the composite is compared at every iteration, on the device itself, and the first mask to reach the target is the
  result, as there; but whether it has been reached is asked every 25 iterations, so up to 24 are computed in vain;
- scales of the normalisations start at 1, as torch has them since 1.2; before that it drew them from [0, 1];
- the hint is the structured-matrix-decomposition saliency [34], as the paper has it; theirs is context-aware saliency;
- the image can be reduced first (`Settings.size`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deepcv.checks import Checked, Count, NonNegative, Positive, at_least, resolve
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import SMALLEST_SIDE, as_colour, resize, to_uint8, working_shape
from deepcv.model.batches import checked_batch, side_by_side, solve_alike, traces_of, watched
from deepcv.model.descent import Descent, adam
from deepcv.model.networks import SkipNetwork
from deepcv.model.refinement import guided_filter
from deepcv.segmentation import Segmentation, two_phase

_SIDES_DIVIDE_BY = 32


_WIDTHS = (8, 16, 32)


_NOISE_CHANNELS = 2


_NOISE_SCALE = 0.01


_SURE_FOREGROUND, _SURE_BACKGROUND = 239.5, 15.5  # of the equalised hint, 0..255


_ASKED_EVERY = 25  # iterations: more wait less for a GPU, and compute more in vain


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of Double-DIP; the default is the authors' code's."""

    size: Annotated[int, at_least(SMALLEST_SIDE)] | None = None
    """Longest side, in pixels, at which the networks work; None is the image's own, as released."""
    first_steps: Count = 2000
    """Iterations of step 1."""
    second_steps: Count = 4000
    """Iterations of step 2, at most."""
    ramp: Count = 1000
    """Iterations of a step during which the jitter and, in step 2, the weight of `exclusion` grow, each in ten stairs.
    Also how long the hint holds in step 2."""
    learning_rate: Positive = 1e-3
    """Of Adam, which starts anew for step 2."""
    jitter: NonNegative = 1e-3
    """Standard deviation of what is added to the noise, drawn anew at each iteration; up to nine times as much within
    the ramp."""
    exclusion: NonNegative = 0.01
    """Weight of `1 / mean |mask - ½|` at the end of the ramp; larger makes the mask binary, whether or not it fits."""
    confidence: Literal["equalised", "otsu"] = "equalised"
    """Where the hint is sure: at the ends of its equalised histogram (`confident`), as released, or "otsu": everywhere,
    on either side of its Otsu threshold."""
    target_psnr: NonNegative = 30.0
    """The composite's peak signal-to-noise ratio, in dB, that ends step 2."""
    guided_filter: Literal["released", "textbook"] | None = "released"
    """"released", "textbook", or None to leave it out. Their radius is 50 pixels, their eps 1e-4: beside an image in
    [0, 1] for "released", in 0..255 for "textbook"."""


def double_dip(
    image, hint=None, *, seed: int = 0, device: str | None = None, progress: bool = False, **settings
) -> Segmentation:
    """Segment one image by Double-DIP.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`); the seed is that of networks and noise.
    progress : bool
        Show a bar.
    **settings
        Fields of `Settings` that are to differ from the default.

    Returns
    -------
    Segmentation
        At the image's size; `memberships` are the filtered mask, cut off at 0 and 1. `trace` has "loss" and "psnr" (of
        the composite, in dB) at each iteration of both steps.

    Raises
    ------
    InputError
        For an image or hint that can't be used, a hint without a pixel that is surely foreground and one that is surely
        background, an unknown setting or one out of range.
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
    """Segment many images side by side; those of one padded size are solved as one stack of independent networks.

    For a GPU, which one image alone leaves idle. A stack goes on until the last of its images has reached the target,
    so on a CPU a batch can take longer than the images one by one.

    Parameters
    ----------
    images : sequence of array_like, `(H, W)` or `(H, W, 3)`
        As `double_dip` takes them, of any sizes.
    hints : sequence of array_like `(H, W)` or None, optional
        One for each image; the saliency where there is none.
    seeds : sequence of int
        One for each image.
    device, progress, settings
        As in `double_dip`.

    Returns
    -------
    list of Segmentation
        In the order of the images; `seconds` is an image's share of its stack's time. The same masks as one by one but
        for rounding, which Adam amplifies: less than 1 % of the pixels differ after some hundred iterations.

    Raises
    ------
    InputError
        As `double_dip` does, and when there are not as many hints or seeds as images.
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
    """B images of one padded size and what their hints are sure of.

    Attributes
    ----------
    image : Tensor, `(B, 3, H, W)`, in [0, 1]
        H and W are multiples of 32.
    foreground, background : Tensor, `(B, 1, H, W)`
        1 where the hint is sure, 0 elsewhere.
    seeds : sequence of B ints
    """

    image: Tensor
    foreground: Tensor
    background: Tensor
    seeds: Sequence[int]


def pose(image: np.ndarray, hint: np.ndarray, settings: Settings, seed: int, device: str | None) -> Problem:
    """The problem of one image and hint, as `as_image` and `as_hint` return them, at the working size and padded."""
    device = torch_device(device)
    shape = _working_shape(image, settings)
    hint = resize(hint, shape)
    sure = confident(otsu_mask(hint) if settings.confidence == "otsu" else hint)
    padded = [pad(each.astype(np.float32)) for each in (resize(as_colour(image), shape), *sure)]
    tensors = [torch.from_numpy(np.atleast_3d(each).transpose(2, 0, 1).copy())[None].to(device) for each in padded]
    return Problem(*tensors, [seed])


def _working_shape(image: np.ndarray, settings: Settings) -> tuple[int, int]:
    return image.shape[:2] if settings.size is None else working_shape(image.shape[:2], settings.size)


def confident(hint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the hint is sure of the foreground and where of the background, bool `(H, W)` each.

    The hint's histogram is equalised. Its lowest grey level is surely background; of the pixels above that, so is about
    the lowest sixteenth, and the highest is surely foreground. A hint of two levels is sure everywhere.

    Raises
    ------
    InputError
        When it is sure nowhere of the one or the other.
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
    """Pixels to add before and after either axis so that both sides are multiples of 32."""
    lacking = [-side % _SIDES_DIVIDE_BY for side in shape]
    return tuple((each // 2, each - each // 2) for each in lacking)


def pad(array: np.ndarray) -> np.ndarray:
    """`(H, W)` or `(H, W, C)` enlarged by its `margins`, the image mirrored there."""
    return np.pad(array, margins(array.shape[:2]) + ((0, 0),) * (array.ndim - 2), mode="reflect")


def unpad(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What `pad` has added to an array `(H, W)` of that shape taken away."""
    rows, columns = (slice(before, before + side) for (before, _), side in zip(margins(shape), shape, strict=True))
    return array[rows, columns]


class EncoderDecoder(SkipNetwork):
    """The deep image prior's network [45] without skip connections, `(B, in_channels, H, W)` to values in [0, 1].

    Parameters
    ----------
    in_channels, out_channels : int
    seeds : sequence of B ints
    """

    def __init__(self, in_channels: int, out_channels: int, seeds: Sequence[int]):
        super().__init__(in_channels, out_channels, widths=_WIDTHS, across=0, seeds=seeds)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(x))


class Layers(nn.Module):
    """Left, right and mask of B images: one stack of 3B networks with 3 output channels, of which a mask uses one."""

    def __init__(self, seeds: Sequence[int]):
        super().__init__()
        self.networks = EncoderDecoder(_NOISE_CHANNELS, 3, [3 * seed + each for seed in seeds for each in range(3)])

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From noise `(3B, 2, H, W)`: left and right `(B, 3, H, W)`, mask `(B, 1, H, W)`."""
        left, right, mask = self.networks(noise).unflatten(0, (-1, 3)).unbind(dim=1)
        return left, right, mask[:, :1]


class Noise:
    """What the networks are fed with, `(3B, 2, H, W)` in `value`: fixed noise, and at each iteration new jitter.

    The fixed noise is uniform in ±0.005, that of left and right the same; the jitter is normal and each network's own.
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
        """Put new jitter of this standard deviation in the place of the old."""
        for own, generator in zip(self.value.split(3), self.generators, strict=True):
            own.normal_(generator=generator)
        torch.add(self.fixed, self.value, alpha=deviation, out=self.value)


def composite(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """mask · left + (1 - mask) · right."""
    return torch.lerp(right, left, mask)


def peak_signal_to_noise(image: Tensor, other: Tensor) -> Tensor:
    """In dB, `(B,)`, of images in [0, 1]."""
    return -10 * torch.log10((image - other).square().mean(dim=(1, 2, 3)))


def hint_loss(left: Tensor, right: Tensor, problem: Problem) -> Tensor:
    """Mean absolute error of left where the hint is sure of the foreground, plus right's of the background; `(B,)`."""
    total = 0
    for output, where in ((left, problem.foreground), (right, problem.background)):
        error = (where * (output - problem.image).abs()).mean(dim=(1, 2, 3))
        total = total + error / where.mean(dim=(1, 2, 3))
    return total


def first_loss(left: Tensor, right: Tensor, mask: Tensor, problem: Problem) -> Tensor:
    """What step 1 minimises, `(B,)`: `hint_loss`, and how far the mask is from 1, 0 and, where unsure, ½."""
    target = (problem.foreground - problem.background + 1) / 2
    return hint_loss(left, right, problem) + (mask - target).abs().mean(dim=(1, 2, 3))


def second_loss(left: Tensor, right: Tensor, mask: Tensor, problem: Problem, exclusion: Tensor, hinted: bool) -> Tensor:
    """What step 2 minimises, `(B,)`: error of the composite, `exclusion / mean |mask - ½|`, and maybe `hint_loss`."""
    error = (composite(left, right, mask) - problem.image).abs().mean(dim=(1, 2, 3))
    total = 0.5 * error + exclusion / (mask - 0.5).abs().mean(dim=(1, 2, 3))
    return total + hint_loss(left, right, problem) if hinted else total


class State(NamedTuple):
    """Of B images before an iteration's Adam step: mask `(B, 1, H, W)`, loss and PSNR of the composite `(B,)`."""

    mask: Tensor
    loss: Tensor
    psnr: Tensor


def separate(problem: Problem, settings: Settings, progress: bool) -> tuple[np.ndarray, list[dict[str, list[float]]]]:
    """The masks of B images, soft, `(B, H, W)`, and each image's trace."""
    states = watched(iterate(problem, settings), settings.first_steps + settings.second_steps, "Double-DIP", progress)
    losses, psnrs, running = [], [], []
    after_first = kept = None
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
        if count % _ASKED_EVERY == 0 and bool(passed.all()):
            break
    masks = _chosen(after_first.psnr > kept.psnr, after_first.mask, kept.mask)
    lengths = torch.stack(running).sum(dim=0).tolist()
    return masks[:, 0].cpu().numpy(), traces_of({"loss": losses, "psnr": psnrs}, lengths)


def _chosen(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`torch.where` with a condition `(B,)` for tensors `(B, ...)`."""
    return torch.where(condition.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def iterate(problem: Problem, settings: Settings) -> Iterator[State]:
    """The states of both steps, whether or not the target is reached."""
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
    """The losses as `Descent` wants them, summed over pixels, and the state."""
    left, right, mask = layers(noise.value)
    losses = loss(left, right, mask, problem)
    with torch.no_grad():
        psnr = peak_signal_to_noise(problem.image, composite(left, right, mask))
    return losses * mask[0].numel(), State(mask, losses, psnr)


def jitter(step: int, settings: Settings) -> float:
    """Standard deviation of the jitter at an iteration, counted from 0 in either step."""
    return settings.jitter * (_stairs(step, settings) if step < settings.ramp else 1)


def _stairs(step: int, settings: Settings) -> int:
    """0 to 10 in the course of the ramp."""
    return 10 * step // settings.ramp


def refined(image: np.ndarray, mask: np.ndarray, settings: Settings) -> np.ndarray:
    """The padded mask without its margins, at the image's size and filtered, in [0, 1]."""
    soft = resize(np.ascontiguousarray(unpad(mask, _working_shape(image, settings))), image.shape[:2])
    if settings.guided_filter == "released":
        import cv2

        soft = cv2.ximgproc.guidedFilter(image, soft, 50, 1e-4)
    elif settings.guided_filter == "textbook":
        soft = guided_filter(image, soft, radius=50, eps=1e-4)
    return np.clip(soft, 0, 1)
