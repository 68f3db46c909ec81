"""Devices are named, and an unknown one is refused."""

import subprocess
import sys

import pytest

from deepcv import devices
from deepcv.errors import InputError


def test_device_kinds():
    assert devices.device_kind("cpu") == "cpu"
    with pytest.raises(InputError, match=r"no device 'tpux' here; use cpu"):
        devices.device_kind("tpux")


UNCOMPILED = """
import sys, torch
from deepcv.devices import without_compiler
without_compiler()
weight = torch.nn.Parameter(torch.ones(1))
adam = torch.optim.Adam([weight], lr=0.1)
weight.sum().backward()
adam.step()
assert abs(weight.item() - 0.9) < 1e-4 and "torch._dynamo.config" not in sys.modules
assert torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(1)) == 2 and "torch._dynamo.config" in sys.modules
"""


def test_optimisers_do_without_the_compiler_and_whoever_asks_for_it_gets_it():
    subprocess.run([sys.executable, "-c", UNCOMPILED], check=True)
