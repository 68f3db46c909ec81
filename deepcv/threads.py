"""One thread per call: at the size of these models more threads cost more than they gain, by far beside other jobs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

Function = TypeVar("Function", bound=Callable[..., Any])

_lock = threading.Lock()
_calls = 0  # that run now, in all of Python's threads
_blas: Any = None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and the linear algebra of NumPy and SciPy use one thread; afterwards as many as before.

    Nothing is changed where the environment says how many (`OMP_NUM_THREADS`).
    """
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    global _calls, _blas
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with _lock:  # of several calls at once, the first knows how many threads there were
        limits = threadpool_limits(1, user_api="blas")
        if not _calls:
            _blas = limits
        _calls += 1
    try:
        if torch:
            torch.set_num_threads(1)  # of Python's current thread
        yield
    finally:
        if torch:
            torch.set_num_threads(before)
        with _lock:
            _calls -= 1
            _blas.restore_original_limits()


def on_one_thread(function: Function) -> Function:
    """The function, each call of which runs in `one_thread`."""

    def call(*arguments, **keywords):
        with one_thread():
            return function(*arguments, **keywords)

    wrapped: Any = functools.wraps(function)(call)
    wrapped.__kwdefaults__ = function.__kwdefaults__  # `deepcv.checks.checked_settings` asks for them
    return wrapped
