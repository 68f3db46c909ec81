"""Devices are named, and an unknown one is refused."""

import pytest

from deepcv import devices
from deepcv.errors import InputError


def test_device_kinds():
    assert devices.device_kind("cpu") == "cpu"
    with pytest.raises(InputError, match=r"no device 'tpux' here; use cpu"):
        devices.device_kind("tpux")
