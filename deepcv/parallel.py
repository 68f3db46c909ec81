"""How many items are computed at once: in this process, in several, or on a cluster.

Images are independent, so a table is parallel over them. Each worker process computes with one thread: two processes
of one thread finish more images than one process of two. Workers are started afresh (spawn), not forked, since a
forked process that inherits torch's thread pools may hang. `cluster` reaches the workers of a Dask scheduler.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from deepcv.errors import InputError

Item = TypeVar("Item")


Result = TypeVar("Result")


ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    )
}
"""The environment of a worker; the libraries read it when they are loaded, so it must be there before."""


_ELSEWHERE_SUBMITTED = 64  # items submitted at once to an executor that doesn't tell its size


_CONNECTING = 10  # seconds to wait for a scheduler


class ItemError(RuntimeError):
    """Computing an item failed, or its worker died; the message names the item."""


def run(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | Executor | None = None,
    progress: bool = True,
    description: str = "",
) -> Iterator[tuple[Item, Result]]:
    """Compute `function(item)` for each item, and give `(item, result)` as they finish, in any order.

    Parameters
    ----------
    function : callable
        For several processes a module's function, or a `functools.partial` of one: they import it anew.
    items : iterable
        Taken when a worker is free for it. `str(item)` names an item in messages.
    workers : int or concurrent.futures.Executor, optional
        1 computes in this process; more in so many processes of one thread each; default: the usable cores. An
        executor is used as it is and left open; `cluster` gives one.
    progress : bool
        Show a bar, on stderr or in the notebook.
    description : str
        What stands before the bar.

    Raises
    ------
    InputError
        For fewer than one worker, a function that other processes can't import; and when computing an item raises it,
        then with the item's name.
    ItemError
        When computing an item raises something else, which is then the cause, or a worker dies (a cluster computes
        its item again elsewhere), or the cluster is lost. What finished before has been given.
    KeyboardInterrupt
        Ctrl-C drops what is queued and kills the workers; those of a cluster finish what they are at.

    Examples
    --------
    >>> sorted(run(abs, [-2, 1], workers=1, progress=False))
    [(-2, 2), (1, 1)]
    """
    total = len(items) if hasattr(items, "__len__") else None
    if isinstance(workers, Executor):
        finished = _on_executor(workers, function, items)
    else:
        count = concurrency(workers)
        if count < 1:
            raise InputError(f"there must be at least one worker, not {workers}; leave it out to use every core")
        count = count if total is None else min(count, total)
        if count > 1:
            _check_importable(function)
        finished = _in_processes(function, items, count) if count > 1 else _here(function, items)
    return _watched(finished, total, progress, description)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler, as an executor for `run`.

    When a worker dies, the scheduler gives what it was at to another one. A function that computes on a cluster must
    be importable there.

    Parameters
    ----------
    address : str
        `"tcp://host:8786"`, as `dask scheduler` prints it.

    Raises
    ------
    InputError
        When Dask is not installed, the address is none, the scheduler can't be reached or has no workers, or a worker
        computes several items at once or has another version of this package or its libraries.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a scheduler needs Dask; install the extra `scale`, or dask[distributed]") from None
    parts = urlsplit(address)
    if not (parts.scheme and parts.hostname):
        raise InputError(f"{address!r} is no scheduler's address; write it as `dask scheduler` does, tcp://host:8786")
    try:
        client = Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"no Dask scheduler answers at {address} ({reason}); start one with `dask scheduler`"
        ) from None
    with client:
        _check_workers(client, address)
        yield client.get_executor(pure=False)


def _check_workers(client, address: str) -> None:
    from deepcv.provenance import check_same_code, provenance

    threads = client.nthreads()
    if not threads:
        raise InputError(f"{address} has no workers; start some with `dask worker {address} --nthreads 1`")
    for worker, count in threads.items():
        if count != 1:
            raise InputError(f"the worker {worker} computes {count} items at once; start it with --nthreads 1")
    for worker, found in client.run(provenance, on_error="return").items():
        if isinstance(found, BaseException):
            raise InputError(f"the worker {worker} can't use deepcv ({found}); install it there")
        check_same_code(found, f"the worker {worker}")


def _on_one_thread(function, item):
    """On a cluster's worker, whose environment is not ours: libraries to be loaded, and those that are."""
    os.environ.update(ONE_THREAD)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)
    return function(item)


def usable_cores() -> int:
    """How many cores this process may use: its affinity mask, and no more than a container's quota of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # control groups are Linux's, and "max" means no quota
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def concurrency(workers: int | Executor | None) -> int:
    """How many items are computed at once with the `workers` of `run`."""
    if not isinstance(workers, Executor):
        return usable_cores() if workers is None else workers
    if hasattr(workers, "_client"):  # Dask's, whose workers come and go
        return max(1, len(workers._client.nthreads()))
    return getattr(workers, "_max_workers", _ELSEWHERE_SUBMITTED)


def _watched(finished, total: int | None, progress: bool, description: str) -> Iterator[tuple[Any, Any]]:
    from tqdm.auto import tqdm

    bar = tqdm(total=total, desc=description or None, disable=not progress or total == 0)
    with contextlib.closing(finished), bar:
        for pair in finished:
            bar.update()
            yield pair


def _here(function, items) -> Iterator[tuple[Any, Any]]:
    for item in items:
        try:
            result = function(item)
        except Exception as error:
            raise _named(item, error) from error
        yield item, result


def _on_executor(executor: Executor, function, items) -> Iterator[tuple[Any, Any]]:
    if hasattr(executor, "_client"):  # Dask's
        function = functools.partial(_on_one_thread, function)
    pending: dict[Future, tuple[int, Any]] = {}
    try:
        yield from _as_finished(
            lambda index, item: executor.submit(function, item), items, lambda: concurrency(executor), pending
        )
    except BrokenExecutor as error:
        raise ItemError(_died([item for _, item in pending.values()], "")) from error
    finally:
        for future in pending:
            future.cancel()


def _in_processes(function, items, workers: int) -> Iterator[tuple[Any, Any]]:
    pending: dict[Future, tuple[int, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="deepcv-") as notes:
        executor = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
        )
        processes = executor._processes  # kept: the executor forgets them when one dies

        def submit(index, item):
            with _as_workers_start(function):
                return executor.submit(_noted, notes, function, index, item)

        try:
            yield from _as_finished(submit, items, lambda: workers, pending)
            executor.shutdown()
        except BrokenExecutor as error:
            died = list(processes.values())
            executor.shutdown()  # the executor ends the other workers, and waits until their exit codes are known
            raise _who_died(died, notes, pending) from error
        except BaseException:
            running = list(processes.values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            for process in running:
                process.join()
            raise


def _as_finished(
    submit, items, ahead: Callable[[], int], pending: dict[Future, tuple[int, Any]]
) -> Iterator[tuple[Any, Any]]:
    """Keep `ahead()` items submitted, give what is finished; `pending` tells the caller what is not."""
    numbered = enumerate(items)
    while True:
        for index, item in itertools.islice(numbered, max(0, ahead() - len(pending))):
            pending[submit(index, item)] = (index, item)
        if not pending:
            return
        done = wait(pending, return_when=FIRST_COMPLETED).done
        failed = [future for future in done if future.cancelled() or future.exception() is not None]
        finished = [(pending.pop(future)[1], future.result()) for future in done.difference(failed)]
        done.clear()  # a cluster computes a lost result again as long as somebody holds its future
        yield from finished  # first what is good, so that it isn't lost
        for future in failed:
            if future.cancelled():
                raise ItemError(f"{_name(pending[future][1])}: the scheduler is gone or dropped it; run again to go on")
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                raise error
            raise _named(pending.pop(future)[1], error) from error


def _noted(notes: str, function, index: int, item):
    """In a worker: note which item it is at, for the case that it dies, and compute."""
    Path(notes, str(os.getpid())).write_text(str(index))
    return function(item)


def _who_died(processes, notes: str, pending: dict[Future, tuple[int, Any]]) -> ItemError:
    """The error that names the item at which a worker died."""
    killed = [process for process in processes if process.exitcode not in (0, None, -signal.SIGTERM)]
    at_work = dict(pending.values())
    items = []
    for process in killed or processes:  # the executor ends the survivors with SIGTERM, so by itself that says nothing
        with contextlib.suppress(OSError, ValueError):
            index = int(Path(notes, str(process.pid)).read_text())
            items += [at_work[index]] if index in at_work else []
    how = f" (exit code {killed[0].exitcode})" if killed else ""
    return ItemError(_died(items, how))


def _died(items: list, how: str) -> str:
    if not items:
        return (
            f'a worker died before it began{how}; a script must call this below `if __name__ == "__main__":`, and '
            "workers=1 shows what is wrong"
        )
    names = " or ".join(map(_name, items))
    return f"a worker died at {names}{how}; if the memory ran out, use fewer workers or a smaller size"


def _named(item, error: BaseException) -> Exception:
    if isinstance(error, InputError):
        return InputError(f"{_name(item)}: {error}")
    return ItemError(f"{_name(item)}: {type(error).__name__}: {error}")


def _name(item) -> str:
    name = str(item)
    return name if len(name) <= 200 else name[:199] + "…"


def _check_importable(function) -> None:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", "")
    typed_in = function.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    if "<" in name or typed_in:
        raise InputError(
            f"other processes can't import {name or function!r}; define it at the top of a module, or set workers=1"
        )


@contextlib.contextmanager
def _as_workers_start(function) -> Iterator[None]:
    """What a worker inherits from the moment at which it is started: one thread, no Ctrl-C, no script.

    A Ctrl-C in the terminal reaches every process; it is blocked here, in the calling thread, a worker inherits that,
    and this process gets it a moment later. A spawned worker would run the calling script once more, which matters
    only to functions defined in it, and ends badly for a script without `if __name__ == "__main__":`.
    """
    main = sys.modules["__main__"]
    while isinstance(function, functools.partial):
        function = function.func
    hidden = {} if function.__module__ == "__main__" else _hide(main)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    masks = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else None
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        vars(main).update(hidden)
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _hide(main) -> dict[str, Any]:
    """Take away what spawn would find the script by, and give it back to be restored."""
    hidden = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    vars(main).pop("__file__", None)
    return hidden


def _end_with_parent() -> None:
    """In a worker: end as soon as the process that started it is gone, even if that was killed."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
