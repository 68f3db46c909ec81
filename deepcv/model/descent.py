"""Adam steps on an energy; on a GPU a step is replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Adam [Kingma and Ba, 2015] with one kernel per group of parameters, which a CUDA graph can record.

    Its steps are those of `torch.optim.Adam(fused=True)`, bit by bit. That class imports torch's compiler, which takes
    as long as torch itself.

    Parameters
    ----------
    groups : list of dict
        As in `torch.optim`: "params", tensors on a CPU or CUDA GPU, and "lr", their learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        self.param_groups = groups
        self.state = {each: _moments(each) for group in groups for each in group["params"]}

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter in self.state:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient."""
        for group in self.param_groups:
            moved = [each for each in group["params"] if each.grad is not None]
            if not moved:
                continue
            first, second, steps = (
                [self.state[each][name] for each in moved] for name in ("exp_avg", "exp_avg_sq", "step")
            )
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                moved,
                [each.grad for each in moved],
                first,
                second,
                [],
                steps,
                lr=group["lr"],
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.0,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )


def _moments(parameter: Tensor) -> dict[str, Tensor]:
    moments = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
    return moments | {"step": torch.zeros((), device=parameter.device)}


def adam(parameters, learning_rate: float, device: torch.device) -> Adam | torch.optim.Optimizer:
    """Adam on parameters, or groups of them, as one kernel for each where the device has it."""
    if device.type not in ("cpu", "cuda"):
        return torch.optim.Adam(parameters, lr=learning_rate)
    groups = list(parameters)
    return Adam(groups if isinstance(groups[0], dict) else [{"params": groups, "lr": learning_rate}])


class Descent:
    """Adam steps on a loss whose tensors stay in place; on a GPU recorded as a CUDA graph, then replayed.

    A step is hundreds of kernels, most of which a GPU finishes before the next is launched; a graph launches them all
    at once. On a CPU the step is run directly.

    Parameters
    ----------
    loss : callable
        Returns the losses `(B,)`, and tensors to pass on.
    optimiser : Adam or torch.optim.Optimizer
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
        optimiser: Adam | torch.optim.Optimizer,
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
