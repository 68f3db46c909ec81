"""Adam steps on an energy; on a GPU a step is replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def adam(parameters, learning_rate: float, device: torch.device) -> torch.optim.Optimizer:
    """Adam as one kernel for all parameters, which a CUDA graph can record."""
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused, capturable=device.type == "cuda")


class Descent:
    """Adam steps on a loss whose tensors stay in place; on a GPU recorded as a CUDA graph, then replayed.

    A step is hundreds of kernels, most of which a GPU finishes before the next is launched; a graph launches them all
    at once. On a CPU the step is run directly.

    Parameters
    ----------
    loss : callable
        Returns the losses `(B,)`, and tensors to pass on.
    optimiser : torch.optim.Optimizer
    image : Tensor, `(B, C, H, W)`
        The losses are divided by its number of pixels; a graph is used if it is on a GPU.
    afterwards : callable, optional
        Completes a step, without gradients.
    changes : sequence of Tensor
        The tensors that `afterwards` changes in place.
    """

    def __init__(
        self,
        loss: Callable[[], tuple[Tensor, tuple[Tensor, ...]]],
        optimiser: torch.optim.Optimizer,
        image: Tensor,
        afterwards: Callable[[], None] | None = None,
        changes: Sequence[Tensor] = (),
    ):
        self.loss, self.optimiser, self.image = loss, optimiser, image
        self.afterwards, self.changes = afterwards, changes
        self.graph: Any = None  # a torch.cuda.CUDAGraph
        self.passed_on: tuple[Tensor, ...] = ()

    def __call__(self) -> tuple[Tensor, ...]:
        """Take one step and return the tensors that the loss passes on."""
        if self.image.device.type != "cuda":
            return self._step()
        if self.graph is None:
            self._record()
        self.graph.replay()
        return tuple(each.clone() for each in self.passed_on)

    def _step(self) -> tuple[Tensor, ...]:
        losses, passed_on = self.loss()
        self.optimiser.zero_grad()
        (losses.sum() / self.image[0, 0].numel()).backward()  # each image affects its own parameters only
        self.optimiser.step()
        if self.afterwards:
            with torch.no_grad():
                self.afterwards()
        return tuple(each.detach() for each in passed_on)

    def _record(self) -> None:
        """Record a step, and undo the steps that CUDA needs to warm up."""
        parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        changing = [*parameters, *self.changes]
        before = [each.detach().clone() for each in changing]
        moments = [{k: v.clone() for k, v in self.optimiser.state[each].items()} for each in parameters]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.optimiser.zero_grad()  # so that the graph allocates the gradients
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.passed_on = self._step()
        with torch.no_grad():
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
            for parameter, old in zip(parameters, moments, strict=True):
                for name, moment in self.optimiser.state[parameter].items():
                    moment.copy_(old[name]) if old else moment.zero_()
