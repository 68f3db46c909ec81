"""Torch devices."""

from __future__ import annotations

import torch

from deepcv.errors import InputError


def device_kind(device=None) -> str:
    """Device type, with the GPU's name for `"cuda"`.

    Parameters
    ----------
    device : str or torch.device, optional
        Default: the GPU if there is one.
    """
    if str(device or "").startswith("cpu"):
        return "cpu"
    if str(device or "").startswith("mps") and not torch.backends.mps.is_available():
        raise InputError(f"there is no device {str(device)!r} here; use cpu, or leave it out")
    found = torch_device(None if device is None else str(device))
    return f"cuda {torch.cuda.get_device_name(found)}" if found.type == "cuda" else found.type


_DEVICES = ("cpu", "cuda", "mps", "xpu")


def torch_device(device: str | torch.device | None) -> torch.device:
    """The device, or that of this name; default: the GPU if there is one.

    Raises
    ------
    InputError
        If torch doesn't know or doesn't have it, and for a number.
    """
    if not isinstance(device, str | torch.device | None):
        raise InputError(f"device is {device!r}; give a name, such as 'cpu' or 'cuda:0', or a torch.device")
    name = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if name.partition(":")[0] not in _DEVICES:
        raise InputError(f"there is no device {name!r} here; use {', '.join(_DEVICES[:-1])} or {_DEVICES[-1]}")
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"there is no device {name!r} here ({reason}); use cpu, or leave it out") from None
    return found
