"""Torch devices, and torch without its compiler."""

from __future__ import annotations

import sys
import types
from typing import Any

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
    found = torch_device(None if device is None else str(device))
    return f"cuda {torch.cuda.get_device_name(found)}" if found.type == "cuda" else found.type


_DEVICES = ("cpu", "cuda", "mps", "xpu")


def torch_device(name: str | None) -> torch.device:
    """The device of that name; default: the GPU if there is one.

    Raises
    ------
    InputError
        If torch doesn't know or doesn't have it.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in _DEVICES:
        raise InputError(f"there is no device {name!r} here; use {', '.join(_DEVICES[:-1])} or {_DEVICES[-1]}")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"there is no device {name!r} here ({reason}); use cpu, or leave it out") from None
    return device


class _Uncompiled(types.ModuleType):
    """In place of `torch._dynamo`: nothing is compiled; whoever asks for more gets the compiler after all."""

    @staticmethod
    def disable(function, *_, **__):
        return function

    @staticmethod
    def graph_break() -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        from torch import _dynamo

        return getattr(_dynamo, name)


def without_compiler() -> None:
    """Spare a process that segments one picture torch's compiler, which takes as long to import as torch itself.

    Torch's optimisers import it at their first step, only to tell it that they aren't to be compiled.
    """
    if "torch._dynamo" not in sys.modules:
        sys.modules["torch._dynamo"] = _Uncompiled("torch._dynamo")
