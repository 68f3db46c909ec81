"""Networks: encoders and decoders as stacks of B independent networks, and those of Algorithm 3 and ReDO.

A stack maps `(B, ·, H, W)` to `(B, ·, H, W)`, and its b-th network sees only slice b. Inside, the stack is one image
of B·channels channels, `(1, B·channels, H, W)`, so that its convolutions are one grouped convolution and its
normalisations one batch normalisation. B is the number of problems solved at once (images, or restarts of one image).
Network b starts from seed b regardless of the others, so an image's result doesn't depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from deepcv.errors import InputError

_ORTHOGONAL_GAIN = 0.8
_POOLED = (1, 2, 3, 6)  # cells of the pyramid's grids on a side, where it has a multiple of them


class MaskNetwork(nn.Module):
    """ReDO's mask network: images `(B, 3, H, W)` in [-1, 1] to the first region's membership `(B, 1, H, W)`.

    H and W must be multiples of 4.
    """

    def __init__(self, width: int):
        super().__init__()
        w = width
        self.down = nn.Sequential(
            *_normalised(nn.Conv2d(3, w, 7, padding=3, padding_mode="reflect", bias=False)),
            *_normalised(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False)),
            *_normalised(nn.Conv2d(2 * w, 4 * w, 3, stride=2, padding=1, bias=False)),
        )
        self.residual = nn.ModuleList(_MaskBlock(4 * w) for _ in range(3))
        self.pyramid = nn.ModuleList(nn.Conv2d(4 * w, 1, 1) for _ in _POOLED)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            *_normalised(nn.Conv2d(4 * w + len(_POOLED), 2 * w + 2, 3, padding=1, bias=False)),
            nn.Upsample(scale_factor=2),
            *_normalised(nn.Conv2d(2 * w + 2, w + 1, 3, padding=1, bias=False)),
            nn.Conv2d(w + 1, 1, 7, padding=3, padding_mode="reflect"),
            nn.Sigmoid(),
        )
        make_orthogonal(self)

    def forward(self, image: Tensor) -> Tensor:
        x = self.down(image)
        for block in self.residual:
            x = block(x)
        shape = (x.shape[-2], x.shape[-1])
        pooled = [
            F.interpolate(each(F.avg_pool2d(x, [max(1, side // cells) for side in shape])), shape, mode="bilinear")
            for cells, each in zip(_POOLED, self.pyramid, strict=True)
        ]
        return self.up(torch.cat((x, *pooled), dim=1))


class _MaskBlock(nn.Module):
    """Residual block whose sum is normalised."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            *_normalised(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x + self.convolutions(x)))


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU(inplace=True)


def make_orthogonal(module: nn.Module) -> None:
    """Initialise all layers without spectral normalisation with orthogonal weights, as ReDO does."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d | nn.Linear) and not is_parametrized(each):
            nn.init.orthogonal_(each.weight, _ORTHOGONAL_GAIN)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "celu": partial(F.celu, alpha=1e-3),
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
}
"""Activations of the U-Net, by name."""


class StackedConv2d(nn.Module):
    """B independent convolutions with zero padding to the same size, as one grouped convolution.

    `(1, B·in_channels, H, W)` to `(1, B·out_channels, H, W)`. Weights are uniform in ±1/√fan_in, the default of
    `torch.nn.Conv2d`, each network's drawn from its own generator.
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

    For one image it equals batch normalisation in training mode, which scales and shifts in the same pass.
    """

    def __init__(self, channels: int, stack: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, channels))
        self.bias = nn.Parameter(torch.zeros(stack, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, self.weight.flatten(), self.bias.flatten(), training=True)


class DoubleConv(nn.Module):
    """One level of the U-Net: 3×3 convolution, instance normalisation and activation, twice."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        generators: Sequence[torch.Generator],
        activation: Callable,
        norm: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        norm = norm or partial(StackedInstanceNorm2d, stack=len(generators))
        self.activation = activation
        self.convolutions = nn.ModuleList(
            [
                StackedConv2d(in_channels, out_channels, 3, generators),
                StackedConv2d(out_channels, out_channels, 3, generators),
            ]
        )
        self.norms = nn.ModuleList([norm(out_channels) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(norm(convolution(x)))
        return x


class UNet(nn.Module):
    """U-Net [39] with `levels` halvings, `(B, in_channels, H, W)` to `(B, out_channels, H, W)`.

    Each halving doubles the channels, each doubling halves them, and levels are connected by concatenation (section
    5.1); as in the released code, though, up to 8·width channels only. Max pooling on the way down, bilinear upsampling
    to the partner's size on the way up, so any image of at least 2^levels pixels on one side and 2^(levels + 1) on the
    other fits.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels of the first level; 64 in the released code, not given in the paper.
    levels : int
        Number of halvings; 4 in the paper.
    seeds : sequence of int
        One per network of the stack.
    activation : callable
        Elementwise, may work in place. ReLU by default: the released code's CELU with α = 1e-3 differs from it by at
        most 1e-3 and takes several times longer on a CPU. Theorem 3.3 requires a smooth one, such as `torch.sigmoid`.
    shared : bool
        One network for all images of a batch, as in Algorithm 3, instead of one per image.
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
        shared: bool = False,
    ):
        super().__init__()
        if shared and len(seeds) != 1:
            raise ValueError(f"a shared network has one seed, not {len(seeds)}")
        self.levels, self.shared = levels, shared
        norm = instance_norm if shared else None
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        widths = [min(width * 2**level, 8 * width) for level in range(levels)]
        # the deepest level keeps its partner's width, so that 4 levels of 64 are the released 64-128-256-512-512
        widths.append(widths[-1] if levels else width)
        self.entry = DoubleConv(in_channels, widths[0], generators, activation, norm)
        self.down = nn.ModuleList(
            DoubleConv(widths[i], widths[i + 1], generators, activation, norm) for i in range(levels)
        )
        ups, below = [], widths[-1]
        for level in reversed(range(levels)):
            above = widths[max(level - 1, 0)]
            ups.append(DoubleConv(below + widths[level], above, generators, activation, norm))
            below = above
        self.up = nn.ModuleList(ups)
        self.exit = StackedConv2d(below, out_channels, 1, generators)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # the instance norm can't divide by the variance of a single pixel
        if (height >> self.levels) * (width >> self.levels) < 2:
            raise _too_small(height, width, self.levels)
        stack = 1 if self.shared else len(x)
        x = self.entry(laid_out(x) if self.shared else one_image(x))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = up(_concatenate(skip, x, stack))
        x = self.exit(x)
        return x if self.shared else x.reshape(stack, -1, height, width)


class SkipNetwork(nn.Module):
    """The encoder-decoder of the deep image prior [45], `(B, in_channels, H, W)` to `(B, out_channels, H, W)`.

    Each level down: two 3×3 convolutions, the first with stride 2; a skip connection passes the level's input through a
    1×1 convolution to a few channels. Each level up: bilinear upsampling to the partner's size, concatenation,
    normalisation, a 3×3 and a 1×1 convolution. All convolutions but the last are followed by a normalisation and leaky
    ReLU with slope 0.2, and mirror the image at its edges. Any image with sides over 2^levels pixels fits.

    Its authors feed it noise and end it with a sigmoid; here it maps an image to a latent image and back like the
    U-Net, so it has neither. They use 5 levels of 128 channels, and 4 channels in the skip connections.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Channels of each level.
    across : int
        Channels of the skip connections; 0 leaves them out.
    seeds : sequence of int
        One per network of the stack.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, widths: Sequence[int], across: int = 4, seeds: Sequence[int]
    ):
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        down, skips, up = [], [], []
        for above, width, below in zip((in_channels, *widths), widths, (*widths[1:], widths[-1]), strict=False):
            down.append(
                nn.Sequential(
                    *_convolution(above, width, 3, generators, stride=2), *_convolution(width, width, 3, generators)
                )
            )
            if across:
                skips.append(nn.Sequential(*_convolution(above, across, 1, generators)))
            up.append(
                nn.Sequential(
                    StackedInstanceNorm2d(across + below, len(seeds)),
                    *_convolution(across + below, width, 3, generators),
                    *_convolution(width, width, 1, generators),
                )
            )
        self.down, self.skips, self.up = map(nn.ModuleList, (down, skips, reversed(up)))
        self.exit = StackedConv2d(widths[0], out_channels, 1, generators)

    def forward(self, x: Tensor) -> Tensor:
        stack, _, height, width = x.shape
        if min(height, width) <= 2 ** len(self.down):  # the deepest level couldn't be mirrored at its edges
            raise _too_small(height, width, len(self.down))
        x = one_image(x)
        entering = []
        for down in self.down:
            entering.append(x)
            x = down(x)
        for up in self.up:
            partner = entering.pop()
            x = F.interpolate(x, size=partner.shape[-2:], mode="bilinear", align_corners=True)
            if self.skips:
                x = _concatenate(self.skips[len(entering)](partner), x, stack)
            x = up(x)
        return self.exit(x).reshape(stack, -1, height, width)


class Discriminator(nn.Module):
    """𝒟 of Algorithm 3: `(B, 3, S, S)` to the logit `(B,)` that an image is real.

    4×4 convolutions with stride 2 that double the channels, instance normalisation after all but the first, leaky ReLU
    with slope 0.2, the sum over pixels, one linear layer. The paper (section 5.1) has five convolutions, from 32
    channels to 512; kernel, pooling and place of the normalisation, which it doesn't give, follow the released code or
    common practice.

    Parameters
    ----------
    width : int
        Channels of the first convolution.
    levels : int
        Number of convolutions; images need at least 2^(levels + 1) pixels per side.
    seed : int
    """

    def __init__(self, *, width: int, levels: int, seed: int):
        super().__init__()
        widths = [3, *(width * 2**level for level in range(levels))]
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for level, (above, below) in enumerate(pairwise(widths)):
                layers.append(nn.Conv2d(above, below, 4, stride=2, padding=1))
                if level:
                    layers.append(instance_norm(below))
                layers.append(nn.LeakyReLU(0.2, inplace=True))
            self.linear = nn.Linear(widths[-1], 1)
        self.convolutions = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convolutions(laid_out(x)).sum(dim=(2, 3)))[:, 0]


def instance_norm(channels: int) -> nn.Module:
    """Instance normalisation [44] for a network shared by many images, as group normalisation of single channels."""
    return nn.GroupNorm(channels, channels)


def laid_out(x: Tensor) -> Tensor:
    """The same `(B, C, H, W)`; on a CPU in the order in memory that is fastest for a network shared by many images.

    With the channels innermost, convolutions are faster, and so is a prediction of 64 pixels or more, by up to 1.15.
    But there the backward pass of torch's group normalisation is slow: with the channels outermost a training step
    takes 0.7 to 0.8 of the time (measured on an AMD EPYC without AVX-512, 32 to 128 pixels).
    """
    if x.device.type != "cpu":
        return x
    return x.contiguous(memory_format=torch.contiguous_format if torch.is_grad_enabled() else torch.channels_last)


class ReflectedConv2d(StackedConv2d):
    """`StackedConv2d` that mirrors the image at its edges, with a stride."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, generators: Sequence[torch.Generator], stride: int = 1
    ):
        super().__init__(in_channels, out_channels, kernel, generators)
        self.reach, self.stride = kernel // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        if self.reach:
            x = F.pad(x, (self.reach,) * 4, mode="reflect")
        return F.conv2d(x, self.weight.flatten(0, 1), self.bias.flatten(), stride=self.stride, groups=len(self.weight))


def _convolution(in_channels: int, out_channels: int, kernel: int, generators, stride: int = 1) -> list[nn.Module]:
    return [
        ReflectedConv2d(in_channels, out_channels, kernel, generators, stride),
        StackedInstanceNorm2d(out_channels, len(generators)),
        nn.LeakyReLU(0.2, inplace=True),
    ]


def _too_small(height: int, width: int, levels: int) -> InputError:
    return InputError(
        f"the image is {height}×{width} pixels, too small to be halved {levels} times; "
        f"enlarge its sides and `size` to at least {2 ** (levels + 1)}, or ask for fewer levels"
    )


def one_image(x: Tensor) -> Tensor:
    """`(B, C, H, W)` as `(1, B·C, H, W)`; on a CPU with the channels innermost in memory.

    That makes convolutions of few channels three to four times as fast. torch recognises a single channel as
    channels-last only by its strides, hence the detour.
    """
    stack, channels, height, width = x.shape
    x = x.reshape(1, stack * channels, height, width)
    if x.device.type != "cpu":
        return x
    if stack * channels == 1:
        return x.reshape(1, height, width, 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _concatenate(first: Tensor, second: Tensor, stack: int) -> Tensor:
    """Channels concatenated per network: `(1, B·C₁, H, W)` and `(1, B·C₂, H, W)` to `(1, B·(C₁ + C₂), H, W)`."""
    if stack == 1:
        return torch.cat((first, second), dim=1)
    parts = [x.unflatten(1, (stack, -1)) for x in (first, second)]
    return torch.cat(parts, dim=2).flatten(1, 2)
