"""Adam steps on energies of tensors that keep their place; on a GPU a step is replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def adam(parameters, learning_rate: float, device: torch.device) -> torch.optim.Optimizer:
    """Adam as one kernel for all parameters, not some ten for each; fit for a CUDA graph."""
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused, capturable=device.type == "cuda")


class Descent:
    """Adam steps on a loss of tensors that keep their place; on a GPU recorded as a CUDA graph, then replayed.

    A step is hundreds of kernels, most so small that a GPU is done before the next is launched; a graph launches all
    of them at once. On a CPU a step is simply taken.

    Parameters
    ----------
    loss : callable
        Gives the losses `(B,)`, and tensors to be handed on.
    optimiser : torch.optim.Optimizer
    image : Tensor
        Whose pixels the loss is a mean over, and whose device is used.
    afterwards : callable, optional
        What else belongs to a step, without gradients.
    changes : sequence of Tensor
        What `afterwards` changes in place.
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
        self.graph = self.handed_on = None

    def __call__(self) -> tuple[Tensor, ...]:
        """Take one step and give what the loss hands on."""
        if self.image.device.type != "cuda":
            return self._step()
        if self.graph is None:
            self._record()
        self.graph.replay()
        return tuple(each.clone() for each in self.handed_on)

    def _step(self) -> tuple[Tensor, ...]:
        losses, handed_on = self.loss()
        _descend(self.optimiser, losses, self.image)
        if self.afterwards:
            with torch.no_grad():
                self.afterwards()
        return tuple(each.detach() for each in handed_on)

    def _record(self) -> None:
        """Record a step. The steps that warm up for it leave no trace."""
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
        self.optimiser.zero_grad()  # so that the graph allots the gradients itself
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.handed_on = self._step()
        with torch.no_grad():
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
            for parameter, old in zip(parameters, moments, strict=True):
                for name, moment in self.optimiser.state[parameter].items():
                    moment.copy_(old[name]) if old else moment.zero_()


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, image: Tensor) -> None:
    """One Adam step on the images' losses `(B,)`, per pixel; each image moves its own parameters only."""
    optimiser.zero_grad()
    (loss.sum() / image[0, 0].numel()).backward()
    optimiser.step()
