"""Adam moves as torch's does."""

import pytest
import torch

from deepcv.model.descent import Adam, adam


def _descend(make, steps: int = 20) -> list[torch.Tensor]:
    first, second = (torch.nn.Parameter(torch.linspace(-1, 1, n)) for n in (7, 12))
    optimiser = make([{"params": [first], "lr": 1e-2}, {"params": [second], "lr": 1e-1}])
    for step in range(steps):
        optimiser.zero_grad()
        loss = (first - 0.3).square().sum()
        if step >= steps // 2:  # until then the second parameter has no gradient
            loss = loss + (second**4).sum() * first.mean().square()
        loss.backward()
        optimiser.step()
    return [first.detach(), second.detach()]


def test_steps_are_those_of_torch():
    theirs = _descend(lambda groups: torch.optim.Adam(groups, fused=True))
    for ours, expected in zip(_descend(Adam), theirs, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("given", [list, lambda each: [{"params": list(each), "lr": 0.5}]])
def test_the_first_step_is_the_learning_rate(given):
    """Of each parameter, whatever the size of its gradient (Kingma and Ba, 2015, section 2.1)."""
    parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimiser = adam(given(iter(parameters)), 0.5, torch.device("cpu"))
    (3 * parameters[0].sum() - 1e-3 * parameters[1].sum()).backward()
    optimiser.step()
    for parameter, direction in zip(parameters, (-1, 1), strict=True):
        torch.testing.assert_close(parameter.detach(), torch.full((3,), 0.5 * direction), rtol=1e-4, atol=0)
