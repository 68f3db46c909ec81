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
_here = threading.local()  # `busy` in a Python thread with a call
_calls = 0  # outermost ones that run now, in all of Python's threads
_before: tuple[Any, int] = (None, 1)  # limits of linear algebra, and torch's threads


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and the linear algebra of NumPy and SciPy use one thread; afterwards as many as before.

    Nothing is changed where the environment says how many (`OMP_NUM_THREADS`), and within another call.
    """
    if "OMP_NUM_THREADS" in os.environ or getattr(_here, "busy", False):
        yield
        return
    global _calls, _before
    torch = sys.modules.get("torch")
    with _lock:  # of several calls at once, the first knows how many threads there were
        limits = threadpool_limits(1, user_api="blas")
        threads = torch.get_num_threads() if torch else 1  # asked first, or another thread may still change it here
        if not _calls:
            _before = limits, threads
        _calls += 1
        if torch:
            torch.set_num_threads(1)  # of Python's current thread, and of those that start now
    _here.busy = True
    try:
        yield
    finally:
        _here.busy = False
        with _lock:
            _calls -= 1
            if not _calls:
                _before[0].restore_original_limits()  # OpenMP's, too
            with threadpool_limits():  # changes nothing, but lets other threads set limits (threadpoolctl 3.8)
                pass
            if torch:
                torch.set_num_threads(_before[1])


def on_one_thread(function: Function) -> Function:
    """The function, each call of which runs in `one_thread`."""

    def call(*arguments, **keywords):
        with one_thread():
            return function(*arguments, **keywords)

    wrapped: Any = functools.wraps(function)(call)
    wrapped.__kwdefaults__ = function.__kwdefaults__  # `deepcv.checks.checked_settings` asks for them
    return wrapped
