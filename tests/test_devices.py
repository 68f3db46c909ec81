"""Devices are named, and an unknown one is refused."""

import pytest
import torch

from deepcv import devices
from deepcv.errors import InputError


def test_device_kinds():
    assert devices.device_kind("cpu") == "cpu"
    with pytest.raises(InputError, match=r"no device 'tpux' here; use cpu"):
        devices.device_kind("tpux")


def test_a_device_of_torch_is_taken_and_what_is_neither_refused():
    assert devices.torch_device(torch.device("cpu")) == devices.torch_device("cpu") == torch.device("cpu")
    for wrong in (3, 1.5, ["cpu"]):
        with pytest.raises(InputError, match=r"device is .*; give a name"):
            devices.torch_device(wrong)
