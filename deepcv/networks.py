"""Encoder and decoder networks, built as stacks of B independent networks that are evaluated side by side.

A network takes and gives `(B, channels, H, W)`, and its b-th member sees only slice b. Inside, the stack is one image
of B·channels channels, `(1, B·channels, H, W)`: a convolution of the stack is one grouped convolution, a normalisation
one batch normalisation. B is the number of problems solved at once (images, or restarts of one image); with B = 1
these are ordinary networks. Network b starts from seed b whatever else is in the stack, so an image's result does not
depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepcv.images import InputError


class StackedConv2d(nn.Module):
    """B independent convolutions with zero padding to the same size, as one grouped convolution.

    `(1, B·in_channels, H, W)` to `(1, B·out_channels, H, W)`. Weights are drawn uniformly in ±1/√fan_in, the default of
    `torch.nn.Conv2d`, each network's from its own generator.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, generators: Sequence[torch.Generator]):
        super().__init__()
        bound = 1 / math.sqrt(in_channels * kernel**2)
        shape = (out_channels, in_channels, kernel, kernel)
        self.weight = nn.Parameter(torch.stack([(2 * torch.rand(shape, generator=g) - 1) * bound for g in generators]))
        self.bias = nn.Parameter(
            torch.stack([(2 * torch.rand(out_channels, generator=g) - 1) * bound for g in generators])
        )

    def forward(self, x: Tensor) -> Tensor:
        stack, _, _, _, kernel = self.weight.shape
        weight = self.weight.flatten(0, 1)
        return F.conv2d(x, weight, self.bias.flatten(), padding=kernel // 2, groups=stack)


class StackedInstanceNorm2d(nn.Module):
    """Instance normalisation [44] with each network's own scale and shift, `(1, B·channels, H, W)` to the same.

    Of one image that is batch normalisation in training mode, which scales and shifts in the same pass.
    """

    def __init__(self, channels: int, stack: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, channels))
        self.bias = nn.Parameter(torch.zeros(stack, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight.flatten(), self.bias.flatten(), training=True)


class DoubleConv(nn.Module):
    """Twice a 3×3 convolution, instance normalisation and the activation: one level of the U-Net."""

    def __init__(
        self, in_channels: int, out_channels: int, generators: Sequence[torch.Generator], activation: Callable
    ):
        super().__init__()
        stack = len(generators)
        self.activation = activation
        self.convolutions = nn.ModuleList(
            [
                StackedConv2d(in_channels, out_channels, 3, generators),
                StackedConv2d(out_channels, out_channels, 3, generators),
            ]
        )
        self.norms = nn.ModuleList([StackedInstanceNorm2d(out_channels, stack) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(norm(convolution(x)))
        return x


class UNet(nn.Module):
    """U-Net [39] with `levels` halvings, `(B, in_channels, H, W)` to `(B, out_channels, H, W)`.

    Each halving doubles the channels up to 8·width, each doubling halves them, and every level is handed across
    by concatenation (section 5.1). Max pooling down, bilinear upsampling to the partner's size up, so any image of at
    least 2^levels pixels on one side and 2^(levels + 1) on the other fits.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels of the first level; 64 in the paper.
    levels : int
        Number of halvings; 4 in the paper.
    seeds : sequence of int
        One a network in the stack.
    activation : callable
        Elementwise, may work in place. ReLU by default: the released code's CELU with α = 1e-3 differs from it by at
        most 1e-3 and takes several times longer on a CPU. Theorem 3.3 asks for a smooth one, such as `torch.sigmoid`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        levels: int,
        seeds: Sequence[int],
        activation: Callable[[Tensor], Tensor] = torch.relu_,
    ):
        super().__init__()
        self.levels = levels
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        widths = [min(width * 2**level, 8 * width) for level in range(levels)]
        # the deepest level keeps its partner's width, so that 4 levels of 64 are the released 64-128-256-512-512
        widths.append(widths[-1] if levels else width)
        self.entry = DoubleConv(in_channels, widths[0], generators, activation)
        self.down = nn.ModuleList(DoubleConv(widths[i], widths[i + 1], generators, activation) for i in range(levels))
        ups, below = [], widths[-1]
        for level in reversed(range(levels)):
            above = widths[max(level - 1, 0)]
            ups.append(DoubleConv(below + widths[level], above, generators, activation))
            below = above
        self.up = nn.ModuleList(ups)
        self.exit = StackedConv2d(below, out_channels, 1, generators)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # one pixel alone has no variance for the instance norm to divide by
        if (height >> self.levels) * (width >> self.levels) < 2:
            raise InputError(
                f"the image is {height}×{width} pixels, too few to be halved {self.levels} times; "
                f"enlarge its sides to {2 ** (self.levels + 1)} or ask for fewer levels"
            )
        stack = len(x)
        x = self.entry(one_image(x))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = up(_concatenate(skip, x, stack))
        return self.exit(x).reshape(stack, -1, height, width)


def one_image(x: Tensor) -> Tensor:
    """`(B, C, H, W)` as `(1, B·C, H, W)`; on a CPU with the channels innermost in memory.

    That is where its convolutions of few channels are three to four times as fast. torch takes a single channel for
    channels-last only with strides that say so, hence the detour.
    """
    stack, channels, height, width = x.shape
    x = x.reshape(1, stack * channels, height, width)
    if x.device.type != "cpu":
        return x
    if stack * channels == 1:
        return x.reshape(1, height, width, 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _concatenate(first: Tensor, second: Tensor, stack: int) -> Tensor:
    """The channels of both, network by network: `(1, B·C₁, H, W)` and `(1, B·C₂, H, W)` to `(1, B·(C₁ + C₂), H, W)`."""
    if stack == 1:
        return torch.cat((first, second), dim=1)
    parts = [x.unflatten(1, (stack, -1)) for x in (first, second)]
    return torch.cat(parts, dim=2).flatten(1, 2)
