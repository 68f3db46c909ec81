"""Where the time of an iteration goes, in our model and Algorithm 3, and the least it could take on this machine.

torch's profiler tells forward pass, backward pass, optimiser and the rest apart by the marks of autograd and of the
optimiser. A profiled step is slower, so the parts are shares, scaled to a step's time without the profiler; Python is
the time that no operation accounts for. On a GPU a step is one CUDA graph and has kernels only.

The floor: operations of the convolutions over the rate of one large convolution, and bytes that convolutions must read
and write over the rate of a large copy. The bytes of all operations are given too: they bound what fusing could save.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.contenders import synchronise
from deepcv.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

STEPS = 12
"""Steps timed, then profiled; in our model they lie within the first round."""

WARM_UP = 4
"""Untimed steps before them."""


def rows(device: str, sizes: list[str]) -> DataFrame:
    """The profile at each size: "HxW" for our model on an image, "BxSxS" for Algorithm 3 on B training images.

    Returns
    -------
    pandas.DataFrame
        `part` ("profile"), `device`, `size`, `kind`, `name`, `value`, `unit`. Kinds: "step" (milliseconds of a whole
        step), "phase" (milliseconds of each phase), "operation" or "kernel" (its own milliseconds, the twelve longest),
        "count" (operations and bytes of a step), "machine" (rates), "floor" (milliseconds), and for Algorithm 3 "rate"
        (images per second: trained on from memory, and read from the cache).

    Raises
    ------
    InputError
        For a size that isn't two or three numbers.
    """
    import pandas as pd
    import torch

    from deepcv.devices import device_kind

    shapes = [_shape(size) for size in sizes]
    torch.set_num_threads(1)
    rates = machine_rates(device)
    found = [
        {"size": size, **row}
        for size, shape in zip(sizes, shapes, strict=True)
        for row in _profile(shape, device, rates)
    ]
    return pd.DataFrame(found).assign(part="profile", device=device_kind(device))[
        ["part", "device", "size", "kind", "name", "value", "unit"]
    ]


def _shape(size: str) -> tuple[int, ...]:
    if not re.fullmatch(r"(\d+x)?\d+x\d+", size):
        raise InputError(
            f"the size is {size!r}; write height and width as 225x300, or training images and their side as 20x64x64"
        )
    return tuple(map(int, size.split("x")))


def machine_rates(device: str) -> dict[str, float]:
    """Operations per second of a large float32 convolution, and bytes per second that a large copy reads and writes."""
    import torch
    import torch.nn.functional as F

    x, weight = torch.randn(1, 128, 256, 256, device=device), torch.randn(128, 128, 3, 3, device=device)
    large = torch.empty(2**26, device=device)
    convolution = _best(lambda: F.conv2d(x, weight, padding=1), device)
    copy = _best(lambda: large[: 2**25].copy_(large[2**25 :]), device)
    return {"convolution": 2 * 9 * 128 * x.numel() / convolution, "copy": 2 * 4 * 2**25 / copy}


def _best(call: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Fewest seconds of several calls, after an uncounted one."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _steps(shape: tuple[int, ...], device: str) -> Iterator:
    """The loop to profile, as an iterator of steps."""
    return _training(*shape[:2], device) if len(shape) == 3 else _states(*shape, device)


def _training(batch: int, size: int, device: str) -> Iterator:
    """Algorithm 3's loop with its default settings at the size of its profile "cpu", or "paper" on a GPU."""
    import torch

    from deepcv.amortized import model as amortized
    from deepcv.amortized import settings

    settings = settings.settings_for("default", "cpu" if device == "cpu" else "paper", size=size, batch=batch)
    model = amortized.Model(settings, 0).to(device).train()
    optimizers = model.optimizers()
    random = torch.Generator(device).manual_seed(0)
    images = torch.randint(256, (batch, size, size, 3), dtype=torch.uint8, device=device, generator=random)

    def descend(name: str, loss: torch.Tensor) -> None:
        optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        optimizers[name].step()

    def noise(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn((batch, *shape), device=device, generator=random)

    turns = torch.Generator().manual_seed(0)
    while True:
        yield model.step(images, images[..., 0], descend, noise, turns)


def _read(batch: int, size: int, device: str) -> float:
    """Images per second that training reads from the cache, a memory-mapped file, in random order."""
    import torch

    from deepcv.amortized.training import _take

    count = 50 * batch
    with tempfile.TemporaryFile() as file:
        images = np.memmap(file, np.uint8, "w+", shape=(count, size, size, 3))
        images[:] = 1
        order = np.random.default_rng(0).permutation(count).reshape(-1, batch)
        seconds = _best(lambda: [_take(images, index, torch.device(device)) for index in order], device)
    return count / seconds


def _states(height: int, width: int, device: str) -> Iterator:
    """The model's loop on an embedded photograph of that size."""
    from deepcv.data import samples
    from deepcv.images import as_image, resize
    from deepcv.model.segment import pose
    from deepcv.model.settings import Settings
    from deepcv.model.solver import iterate

    sample, shape = samples.load("coffee"), (height, width)
    image, hint = resize(as_image(sample.image), shape), resize(sample.mask.astype(np.float32), shape).clip(0, 1)
    settings = Settings(size=max(shape), rounds=1, steps=2 * (WARM_UP + STEPS))
    return iterate(pose(image, hint, settings, 0, device), settings)


def _profile(shape: tuple[int, ...], device: str, rates: dict[str, float]):
    import torch

    steps = _steps(shape, device)
    seconds = []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        next(steps)
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    step = 1e3 * float(np.median(seconds[WARM_UP:]))
    yield {"kind": "step", "name": "all", "value": step, "unit": "ms"}
    if len(shape) == 3:
        yield {"kind": "rate", "name": "training images", "value": 1e3 * shape[0] / step, "unit": "1/s"}
        yield {"kind": "rate", "name": "images read", "value": _read(*shape[:2], device), "unit": "1/s"}
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(STEPS):
            with torch.profiler.record_function(_STEP):
                next(steps)
                synchronise(device)
    if device.startswith("cuda"):
        yield from _kernels(profiler)
    else:
        yield from _phases(profiler, step)
    yield from _floor(shape, step, rates)


_STEP = "step"
_BACKWARD = "autograd::engine::evaluate_function"
_OPTIMISER = ("Optimizer.step", "aten::_foreach_add_", "aten::_fused_adam_")  # torch's, and the two kernels of ours


def _phases(profiler, step: float):
    """Milliseconds of a step by phase and by operation, scaled from the profiled step to one without the profiler."""
    events = sorted(profiler.events(), key=lambda event: event.time_range.start)
    whole = [event for event in events if event.name == _STEP]
    total = sum(event.time_range.elapsed_us() for event in whole)
    spent = dict.fromkeys(("forward", "backward", "optimiser", "state and bookkeeping"), 0.0)
    for frame in whole:
        phase = "forward"
        for event in frame.cpu_children:
            if event.name.startswith(_BACKWARD):
                phase = "backward"
            elif event.name.startswith(_OPTIMISER):
                phase = "optimiser"
            elif phase == "optimiser":
                phase = "state and bookkeeping"
            spent[phase] += event.time_range.elapsed_us()
    spent["Python and dispatch"] = total - sum(spent.values())
    for name, value in spent.items():
        yield {"kind": "phase", "name": name, "value": step * value / total, "unit": "ms"}
    operations = [each for each in profiler.key_averages() if each.key != _STEP]
    for each in sorted(operations, key=lambda each: -each.self_cpu_time_total)[:12]:
        yield {"kind": "operation", "name": each.key, "value": step * each.self_cpu_time_total / total, "unit": "ms"}


def _kernels(profiler):
    """Milliseconds of a step on the GPU by kernel, and all of them together."""
    kernels = [each for each in profiler.key_averages() if each.self_device_time_total > 0]
    total = sum(each.self_device_time_total for each in kernels)
    yield {"kind": "phase", "name": "kernels", "value": total / STEPS / 1e3, "unit": "ms"}
    for each in sorted(kernels, key=lambda each: -each.self_device_time_total)[:12]:
        value = each.self_device_time_total / STEPS / 1e3
        yield {"kind": "kernel", "name": each.key[:80], "value": value, "unit": "ms"}


def _floor(shape: tuple[int, ...], step: float, rates: dict[str, float]):
    """Counts of one step, which are the same on every device, and what they take at the machine's rates."""
    operations, convolution_bytes, all_bytes = counted(shape)
    yield {"kind": "count", "name": "operations of convolutions", "value": operations, "unit": "FLOP"}
    yield {"kind": "count", "name": "bytes of convolutions", "value": convolution_bytes, "unit": "byte"}
    yield {"kind": "count", "name": "bytes of all operations", "value": all_bytes, "unit": "byte"}
    yield {"kind": "machine", "name": "convolution", "value": rates["convolution"], "unit": "FLOP/s"}
    yield {"kind": "machine", "name": "copy", "value": rates["copy"], "unit": "byte/s"}
    arithmetic, memory = 1e3 * operations / rates["convolution"], 1e3 * convolution_bytes / rates["copy"]
    yield {"kind": "floor", "name": "operations at the convolution's rate", "value": arithmetic, "unit": "ms"}
    yield {"kind": "floor", "name": "convolutions' bytes at the copy's rate", "value": memory, "unit": "ms"}
    unfused = 1e3 * all_bytes / rates["copy"]
    yield {"kind": "floor", "name": "all bytes at the copy's rate", "value": unfused, "unit": "ms"}
    yield {"kind": "floor", "name": "share of the convolution's rate", "value": arithmetic / step, "unit": ""}


def counted(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Counts of one step on the CPU: operations of its convolutions, their bytes, and the bytes of all operations.

    Forward and backward. A multiplication with an addition is two operations. Every operation is taken to read each
    of its tensors once and to write its result once; views count nothing.
    """
    from torch.utils.flop_counter import FlopCounterMode

    steps = _steps(shape, "cpu")
    next(steps)  # creates the networks
    bytes_moved = _count_bytes()
    with FlopCounterMode(display=False) as flops, bytes_moved:
        next(steps)
    return flops.get_total_flops(), bytes_moved.convolutions, bytes_moved.everything


def _count_bytes():
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Count(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.convolutions = self.everything = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if not operation.is_view:
                tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
                moved = sum(each.numel() * each.element_size() for each in tensors)
                self.everything += moved
                self.convolutions += moved if "convolution" in operation.name() else 0
            return result

    return Count()
