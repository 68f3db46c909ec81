"""Map a function over items: in this process, in several, or on a Dask cluster.

Images are independent, so a table is computed in parallel over them. Each worker computes with one thread: two
processes of one thread finish more images than one process of two (`python -m benchmarks.processes`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from multiprocessing import resource_tracker
from typing import Any, TypeVar
from urllib.parse import urlsplit

from deepcv.errors import InputError
from deepcv.provenance import check_same_code, provenance

Item = TypeVar("Item")
Result = TypeVar("Result")

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)
"""Environment of a worker; the libraries read it when they are loaded."""

DEFAULT_IN_FLIGHT = 64
"""Items submitted at once to an executor of unknown size."""

_CONNECTION_TIMEOUT = 10  # seconds


class ItemError(RuntimeError):
    """Computing an item failed; the message names the item, the cause is the original error."""


def run(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | Executor | None = None,
    progress: bool = True,
    description: str = "",
) -> Generator[tuple[Item, Result], None, None]:
    """Compute `function(item)` for each item and yield `(item, result)` as they finish, in any order.

    Parameters
    ----------
    function : callable
    items : iterable
        Consumed lazily, one item per free worker. `str(item)` names an item in messages.
    workers : int or concurrent.futures.Executor, optional
        1 computes in this process, N in N processes of one thread each; default: one per usable core. An executor,
        such as that of `cluster`, is left open.
    progress : bool
        Show a progress bar, on stderr or in the notebook.
    description : str
        Label of the progress bar.

    Raises
    ------
    InputError
        For fewer than one worker. At once when an item raises it, with the item's name. When a worker dies, after the
        other items, with the names of the missing ones. When the cluster is lost.
    ItemError
        When an item raises anything else. Results that are ready are yielded first.

    Notes
    -----
    On Ctrl-C, or when the iterator is closed, the workers are killed; those of an executor finish their items.

    Examples
    --------
    >>> sorted(run(abs, [-2, 1], workers=1, progress=False))
    [(-2, 2), (1, 1)]
    """
    total = len(items) if isinstance(items, Sized) else None
    count = concurrency(workers)
    if isinstance(workers, Executor):
        pairs = _on_executor(workers, function, items)
    elif count > 1 and (total is None or total > 1):
        pairs = _in_processes(count, function, items)
    else:
        pairs = _in_this_process(function, items)
    return _with_bar(pairs, total, progress, description)


def concurrency(workers: int | Executor | None) -> int:
    """Number of items computed at once with the `workers` of `run`; raises `InputError` for fewer than one."""
    if workers is None:
        from joblib.externals.loky import cpu_count

        return cpu_count()
    if not isinstance(workers, Executor):
        if workers < 1:
            raise InputError(f"there must be at least one worker, not {workers}; leave it out to use every core")
        return workers
    if hasattr(workers, "_client"):  # Dask's, whose workers come and go
        try:
            return max(1, len(workers._client.nthreads()))
        except OSError:  # of Dask, too
            raise InputError("the Dask scheduler is gone; start it again with its workers and run again") from None
    return getattr(workers, "_max_workers", DEFAULT_IN_FLIGHT)


def _with_bar(pairs, total: int | None, progress: bool, description: str) -> Generator[tuple[Any, Any], None, None]:
    from tqdm.auto import tqdm

    bar = tqdm(total=total, desc=description or None, disable=not progress or total == 0)
    with contextlib.closing(pairs), bar:
        for pair in pairs:
            bar.update()
            yield pair


def _in_this_process(function, items) -> Generator[tuple[Any, Any], None, None]:
    for item in items:
        with _naming(item):
            result = function(item)
        yield item, result


def _in_processes(count: int, function, items) -> Generator[tuple[Any, Any], None, None]:
    executor = _Processes(count)
    try:
        yield from _on_executor(executor, function, items)
        executor.shutdown()
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise


def _on_executor(executor: Executor, function, items) -> Generator[tuple[Any, Any], None, None]:
    if hasattr(executor, "_client"):  # Dask's
        function = functools.partial(_on_one_thread, function)
    items = iter(items)
    pending: dict[Future, Any] = {}
    missing, reason = [], None
    try:
        while True:
            for item in itertools.islice(items, max(0, concurrency(executor) - len(pending))):
                missing.append(item)  # until it is accepted
                future = executor.submit(function, item)
                pending[future] = missing.pop()
            if not pending:
                break
            done = wait(pending, return_when=FIRST_COMPLETED).done
            failed = [future for future in done if future.cancelled() or future.exception() is not None]
            finished = [(pending.pop(future), future.result()) for future in done.difference(failed)]
            done.clear()  # a cluster recomputes a lost result as long as its future is held
            yield from finished
            for future in failed:
                item = pending.pop(future)
                try:
                    with _naming(item):
                        future.result()
                except BrokenExecutor as error:
                    missing.append(item)
                    reason = error
    except BrokenExecutor as error:  # from an executor that doesn't replace dead workers
        missing += pending.values()
        reason = error
    finally:
        if not isinstance(executor, _Processes):  # these are killed, which loky fails to do once a future is cancelled
            for future in pending:
                future.cancel()
    if missing:
        exit_code = "".join(f" of {code}" for code in re.findall(r"\w+\(-?\d+\)", str(reason))[:1])
        raise InputError(
            f"{', '.join(map(_name, missing))}: not computed, a worker died{exit_code}; if the memory ran out, use "
            "fewer workers or a smaller size"
        ) from reason


class _Processes(Executor):
    """Single-threaded processes, each in its own pool, so that one that dies loses its own item only."""

    def __init__(self, count: int):
        warnings.filterwarnings("ignore", "A worker stopped while")  # loky replaces one whose memory grew
        self._max_workers = count
        self._pools: dict[Any, Future] = {}

    def submit(self, function, /, *arguments, **keywords) -> Future:
        from joblib.externals.loky import ProcessPoolExecutor

        for idle in [pool for pool, last in self._pools.items() if last.done()]:
            try:
                return self._submit_to(idle, function, *arguments, **keywords)
            except BrokenExecutor:  # its process died, with its last item or since
                del self._pools[idle]
        pool = ProcessPoolExecutor(1, env=ONE_THREAD, initializer=_start_worker, initargs=(os.getpid(),))
        return self._submit_to(pool, function, *arguments, **keywords)

    def _submit_to(self, pool, function, *arguments, **keywords) -> Future:
        with _interrupts_blocked():
            self._pools[pool] = pool.submit(function, *arguments, **keywords)
        return self._pools[pool]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with `cancel_futures` kill them and their children."""
        for pool in self._pools:
            pool.shutdown(wait, kill_workers=cancel_futures)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay Ctrl-C, which a terminal sends to every process of a group; processes started here never get it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise the first process starts it, which ends the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(parent: int) -> None:
    """In a worker: leave Ctrl-C to the parent, and exit when the parent is killed."""

    def watch():
        while _lives(parent):
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows; elsewhere it is blocked from the start
    threading.Thread(target=watch, daemon=True).start()


def _lives(parent: int) -> bool:
    """Whether the process that started this one is still there."""
    if sys.platform == "win32":  # there the number stays; elsewhere loky's processes have no sentinel
        above = multiprocessing.parent_process()
        return above is None or above.is_alive()
    return os.getppid() == parent


def _on_one_thread(function, item):
    """Use one thread on a cluster's worker, in libraries that are still to be loaded and in those already loaded."""
    os.environ.update(ONE_THREAD)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)
    return function(item)


@contextlib.contextmanager
def _naming(item) -> Iterator[None]:
    """Put the item's name before the message of an error."""
    try:
        yield
    except BrokenExecutor:
        raise
    except CancelledError as error:
        raise InputError(f"{_name(item)}: the scheduler is gone or dropped it; run again to resume") from error
    except InputError as error:
        raise InputError(f"{_name(item)}: {error}") from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # Dask's, after several workers
            raise InputError(
                f"{_name(item)}: not computed, each worker that tried it died; give it more memory"
            ) from error
        raise ItemError(f"{_name(item)}: {type(error).__name__}: {error}") from error


def _name(item) -> str:
    name = str(item)
    return name if len(name) <= 200 else name[:199] + "…"


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler, as an executor for `run`.

    When a worker dies, the scheduler gives its item to another one. The function must be importable on the workers.

    Parameters
    ----------
    address : str
        `"tcp://host:8786"`, as `dask scheduler` prints it.

    Raises
    ------
    InputError
        When Dask is not installed, the address is malformed, the scheduler can't be reached or has no workers, or a
        worker computes several items at once or has another version of this package or its libraries.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a scheduler needs Dask; install the extra `scale`, or dask[distributed]") from None
    parts = urlsplit(address)
    if not (parts.scheme and parts.hostname):
        raise InputError(
            f"{address!r} is not a scheduler's address; write it as `dask scheduler` does, tcp://host:8786"
        )
    try:
        client = Client(address, timeout=_CONNECTION_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"no Dask scheduler answers at {address} ({reason}); start one with `dask scheduler`"
        ) from None
    with client:
        _check_workers(client, address)
        yield client.get_executor(pure=False)


def _check_workers(client, address: str) -> None:
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
