"""Inpainting error maximisation (IEM): the mask whose sides are hardest to predict from each other.

    maximise  ‖M (X - φ(X (1-M), 1-M))‖₁ / ‖M‖₁ + ‖(1-M) (X - φ(X M, M))‖₁ / ‖1-M‖₁
              - λ (‖M (X - μ(X, M))‖₂² + ‖(1-M) (X - μ(X, 1-M))‖₂²)

over binary masks M of an image X in [-1, 1], with pixelwise products. φ(X N, N) fills in a pixel by the Gaussian
average of its neighbours in N, blur(X N) / blur(N), or, if it has none, by the mean μ(X, N). The last term is the data
term of Chan-Vese (3.7). Nothing is learnt: in each iteration the pixels along the boundary become foreground if their
partial derivative is positive and background otherwise, and a count of neighbours smooths the mask.

From Savarese, Kim, Maire, Shakhnarovich and McAllester, "Information-Theoretic Segmentation by Inpainting Error
Maximization" (CVPR 2021). Not in the paper we reproduce: another method without learning, from about the same time.

All defaults and details of the update are those of the authors' code (github.com/lolemacs/iem-code), not checked
against their text: shorter side 128, 150 iterations, a Gaussian of width 5 truncated to 11 pixels and applied twice,
λ = 0.001, a start from the square that leaves out a fifth at each side, the image's frame counted as boundary, and
foreground where at least 4 of a pixel and its 8 neighbours are. The 4 favours the foreground; otherwise the two sides
are treated alike.

Deviations:

- the image isn't cropped to a square, is reduced by area averaging instead of subsampling, and is not enlarged;
- λ is divided by the number of pixels and multiplied by 128², so that its effect doesn't depend on the size: the
  derivatives of the first two terms shrink as an image grows, those of the third don't;
- the longer side is bounded, too, by four times the size;
- a step that would empty one side isn't taken (there the original divides 0 by 0);
- the foreground is the side that grew from the start. The authors score the better side, by the ground truth
  (`deepcv.metrics.oracle`).
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepcv.checks import Count, NonNegative, Positive, at_least, checked_settings
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.hints.hint import hint_for, otsu_mask
from deepcv.images import SMALLEST_SIDE, as_colour, as_image, resize
from deepcv.seeds import takes_seeds
from deepcv.segmentation import Segmentation, two_phase

_REFERENCE_PIXELS = 128**2  # of the images for which the original's λ was chosen
_NEIGHBOURS_NEEDED = 4  # of a pixel and its 8 neighbours, for foreground after smoothing


@takes_seeds
def inpainting_error_maximization(
    image,
    hint=None,
    *,
    seed: int = 0,
    device: str | None = None,
    start: Literal["centre", "hint"] = "centre",
    size: Annotated[int, at_least(SMALLEST_SIDE)] = 128,
    iterations: Count = 150,
    width: Positive = 5.0,
    kernel_size: Annotated[int, at_least(3)] = 11,
    passes: Count = 2,
    diversity: NonNegative = 0.001,
) -> Segmentation:
    """Segment where foreground and background predict each other worst.

    Parameters
    ----------
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`, `deepcv.images.as_hint`). The seed is ignored, and with a start
        from the centre the hint too, unless it can only be marks (`deepcv.seeds`).
    start : {"centre", "hint"}
        The first mask: the original's square, or the hint above its Otsu threshold as for the paper's methods.
    size : int, at least 8
        Working size of the shorter side, in pixels, or of a quarter of the longer side if that is more (`sized`); a
        smaller image keeps its size.
    iterations : int
        Largest number of steps; they end early when the mask doesn't change.
    width : float, positive
        σ of the inpainting Gaussian, in pixels.
    kernel_size : int, odd, at least 3
        Width in pixels at which the Gaussian is truncated.
    passes : int
        Number of times the Gaussian is applied.
    diversity : float, at least 0
        λ, for an image of 128×128 pixels.

    Returns
    -------
    Segmentation
        `trace["objective"]` is the objective before each step and after the last.

    Raises
    ------
    InputError
        For an unusable image, or hint if it is the start, or a parameter out of range.
    """
    settings = checked_settings(inpainting_error_maximization, locals())
    if kernel_size % 2 == 0:
        raise InputError(f"kernel_size is {kernel_size}; it must be odd, so that a pixel is in the middle")
    image = as_image(image)
    chosen_device = torch_device(device)
    shape = _working_shape(image.shape[:2], size)
    first = centre_square(shape) if start == "centre" else otsu_mask(resize(hint_for(image, hint), shape))
    began = time.perf_counter()
    small = torch.from_numpy(np.ascontiguousarray(resize(as_colour(image), shape))) * 2 - 1
    pixels, mask = small.permute(2, 0, 1)[None].to(chosen_device), torch.from_numpy(first)[None].to(chosen_device)
    blur = Blur(shape, width, kernel_size, passes, chosen_device)
    mask, objectives = maximize(pixels, mask, blur, diversity, iterations)
    enlarged = resize(mask[0].cpu().numpy().astype(np.float32), image.shape[:2])
    return two_phase(
        enlarged > 0.5,
        seconds=time.perf_counter() - began,
        method="iem",
        trace={"objective": [float(each) for each in objectives[:, 0]]},
        settings=settings,
    )


def sized(shape: tuple[int, int]) -> float:
    """The length that `size` bounds: the shorter side, or a quarter of the longer one if that is more.

    Time and memory grow with the square of the longer side.
    """
    return max(min(shape), max(shape) / 4)


def _working_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    scale = min(1.0, size / sized(shape))
    height, width = (max(SMALLEST_SIDE, round(side * scale)) for side in shape)
    return height, width


def centre_square(shape: tuple[int, int]) -> np.ndarray:
    """The original's first mask, bool `(H, W)`: all but a fifth of each side at either end."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(side // 5, side - side // 5) for side in shape)] = True
    return mask


class Blur:
    """A Gaussian filter applied `passes` times, with zeros outside the image.

    As it is separable and linear, one matrix for the rows and one for the columns are enough for any number of passes;
    on a CPU their products take a sixth of the convolutions' time. `width` is σ in pixels; the kernel, whose weights
    sum to 1, is `kernel_size` pixels wide, an odd number.
    """

    def __init__(self, shape: tuple[int, int], width: float, kernel_size: int, passes: int, device: torch.device):
        self.rows, self.columns = (_blur_matrix(side, width, kernel_size, passes).to(device) for side in shape)

    def __call__(self, values: Tensor) -> Tensor:
        """`(..., H, W)` blurred."""
        return self.rows @ values @ self.columns


def _blur_matrix(side: int, width: float, kernel_size: int, passes: int) -> Tensor:
    reach = kernel_size // 2
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / width) ** 2)
    positions = torch.arange(side)
    offset = positions[:, None] - positions
    weights = kernel[(offset + reach).clamp(0, 2 * reach)] * (offset.abs() <= reach) / kernel.sum()
    return torch.linalg.matrix_power(weights, passes).float()


def inpaint(image: Tensor, known: Tensor, blur: Blur) -> Tensor:
    """φ: each pixel from its known neighbours or, if none is near, from the mean of all known pixels.

    `image` is `(B, C, H, W)`, like the result; `known` has the weight of each pixel, `(B, 1, H, W)` in [0, 1], not all
    0.
    """
    weighted = torch.cat((image * known, known), dim=1)
    # all known pixels, with a weight so small that it matters only where no neighbour is known
    far = 1e-8 * weighted.sum(dim=(2, 3), keepdim=True)
    filled = blur(weighted) + far
    return filled[:, :-1] / filled[:, -1:]


def objective(image: Tensor, mask: Tensor, blur: Blur, diversity: float) -> Tensor:
    """The objective `(B,)` of images `(B, C, H, W)` in [-1, 1] and masks `(B, 1, H, W)` in [0, 1].

    As in the original, ‖·‖₁ of the inpainting error averages over channels and ‖·‖₂² of the diversity sums over them.
    """
    total: Any = 0
    for side, other in ((mask, 1 - mask), (1 - mask, mask)):
        area = side.sum(dim=(2, 3))
        error = (side * (image - inpaint(image, other, blur)).abs()).mean(dim=1).sum(dim=(1, 2)) / area[:, 0]
        mean = (image * side).sum(dim=(2, 3)) / area
        deviation = (side * (image - mean[..., None, None]) ** 2).sum(dim=(1, 2, 3))
        total = total + error - diversity * _REFERENCE_PIXELS / mask[0].numel() * deviation
    return total


def boundary(mask: Tensor) -> Tensor:
    """The frame, and the pixels of a mask with a 4-neighbour on the other side; both bool `(..., H, W)`."""
    beside = torch.ones_like(mask)
    middle = mask[..., 1:-1, 1:-1]
    around = (mask[..., :-2, 1:-1], mask[..., 2:, 1:-1], mask[..., 1:-1, :-2], mask[..., 1:-1, 2:])
    beside[..., 1:-1, 1:-1] = torch.stack([each != middle for each in around]).any(dim=0)
    return beside


def smooth(mask: Tensor) -> Tensor:
    """Where at least 4 of a pixel and its 8 neighbours are set; `(B, H, W)` bool."""
    count = F.avg_pool2d(mask.float(), 3, stride=1, padding=1, divisor_override=1)
    return count >= _NEIGHBOURS_NEEDED


def step(image: Tensor, mask: Tensor, blur: Blur, diversity: float) -> tuple[Tensor, Tensor]:
    """The objective `(B,)` of masks `(B, H, W)`, and the next masks."""
    relaxed = mask[:, None].to(image).requires_grad_()
    values = objective(image, relaxed, blur, diversity)
    (slope,) = torch.autograd.grad(values.sum(), relaxed)
    slope = slope[:, 0]
    moved = smooth(torch.where(boundary(mask) & (slope != 0), slope > 0, mask))
    share = moved.float().mean(dim=(1, 2), keepdim=True)
    return values.detach(), torch.where((share > 0) & (share < 1), moved, mask)


def maximize(image: Tensor, mask: Tensor, blur: Blur, diversity: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Step until no mask of the batch changes; the images are independent.

    From images `(B, C, H, W)` in [-1, 1] and masks, bool `(B, H, W)`, with no side empty. Returns the last masks, and
    the objective before each step and after the last, `(steps + 1, B)`.
    """
    values = []
    for _ in range(iterations):
        value, moved = step(image, mask, blur, diversity)
        values.append(value)
        if torch.equal(moved, mask):
            break
        mask = moved
    values.append(objective(image, mask[:, None].to(image), blur, diversity))
    return mask, torch.stack(values)
