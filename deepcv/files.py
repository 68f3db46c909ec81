"""Atomic writes and locks."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepcv.errors import InputError


def write_together(content_of: Mapping[Path, bytes]) -> None:
    """Write files under temporary names, then move them into place once all are written.

    The old files survive a kill, and a failed write, which raises `OSError`.
    """
    written: dict[Path, Path] = {}
    try:
        for path, content in content_of.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            written[temporary] = path
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for temporary, path in list(written.items()):
            os.replace(temporary, path)
            del written[temporary]
    finally:
        for temporary in written:
            temporary.unlink(missing_ok=True)


def write_whole(path, content: bytes) -> None:
    """Write a file atomically; its folder is created. Raises `InputError` when it can't be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({path: content})
    except OSError as error:
        kept = "what was there before is intact; " if path.exists() else ""
        remedy = "make room, then run it again to resume" if error.errno == errno.ENOSPC else "choose another place"
        raise InputError(f"can't write {path} ({error.strerror}); {kept}{remedy}") from None


@contextlib.contextmanager
def locked(path) -> Iterator[None]:
    """Hold the lock of a file or folder; wait while another process or thread holds it.

    The lock is advisory and not reentrant. It is held on `.NAME.lock` beside `path`, which need not exist; if that file
    can't be made, `InputError` is raised. The system releases the lock when the process dies.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(lock)
    except OSError as error:
        raise InputError(f"can't lock {path} ({error.strerror}); choose another place") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove an open file; it stays for the next process
            lock.unlink()
        os.close(descriptor)


def _acquired(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
        _lock(descriptor)
        with contextlib.suppress(FileNotFoundError):  # whoever held the lock before may have removed its file
            if os.name == "nt" or os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        while True:
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                return msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError:
                time.sleep(0.05)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
