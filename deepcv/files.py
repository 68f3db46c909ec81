"""Atomic writes and locks."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepcv.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a user's share of it or a file that can't grow."""


def remedy_for(error: OSError, otherwise: str) -> str:
    """What helps against a failed write: room, where there is none left; else `otherwise`."""
    return "make room there, then run it again" if error.errno in FULL else otherwise


def write_together(content_of: Mapping[Path, bytes]) -> None:
    """Write files under temporary names, then move them into place once all are written: all or none.

    The old files survive a kill, and a failed write, which raises `OSError`. A file keeps its mode, and a link stays a
    link to the file that is written. What is no regular file, as a pipe, is refused.
    """
    places = {place_of(path): content for path, content in content_of.items()}
    written: dict[Path, Path] = {}
    before: dict[Path, Path] = {}  # what the others would need if a later one failed
    replaced: list[Path] = []
    try:
        for path, content in places.items():
            temporary, old = (path.with_name(f".deepcv-{uuid.uuid4().hex}") for _ in range(2))
            written[temporary] = path
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
            with open(temporary, "xb", opener=_private if mode is not None else None) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(mode)
            if mode is not None and len(places) > 1:
                before[path] = old
                try:
                    os.link(path, old)
                except OSError:  # a file system without links
                    shutil.copy2(path, old)
        for temporary, path in written.items():
            os.replace(temporary, path)
            replaced.append(path)
    except BaseException:
        for path in replaced:
            os.replace(before.pop(path), path) if path in before else path.unlink()
        raise
    finally:
        for each in (*written, *before.values()):
            each.unlink(missing_ok=True)


def place_of(path: Path) -> Path:
    """The file that writing to a path would make or replace: behind links.

    Raises
    ------
    OSError
        For links that lead back to themselves, and for what is there but no regular file.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if os.path.lexists(place) and not place.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return place


def as_text(path: Path) -> str:
    """A path with slashes that every encoding of text takes: bytes of a name that aren't UTF-8 are escaped."""
    return path.as_posix().encode(errors="backslashreplace").decode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_whole(path, content: bytes) -> None:
    """Write a file atomically; its folder is created. Raises `InputError` when it can't be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({path: content})
    except OSError as error:
        kept = "what was there before is intact; " if os.path.lexists(path) else ""
        remedy = "make room, then run it again to resume" if error.errno == errno.ENOSPC else "choose another place"
        raise InputError(f"can't write {path} ({error.strerror}); {kept}{remedy}") from None


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder in `parent` that is removed at the end, or by the next call if this process is killed.

    The folder is locked while it is in use, so that calls at the same time leave each other's alone. Raises `OSError`
    when it can't be made.
    """
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _held(left):
            shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.ExitStack() as leaving:
            leaving.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                leaving.enter_context(_held(folder))
            except BlockingIOError:  # another process has just found it without a lock
                continue
            except OSError:  # no locks here; then nobody removes it either
                pass
            if folder.exists():
                yield folder
                return


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; raises `OSError` if another process does, and on Windows, which has none."""
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "folders can't be locked")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def configured_folder(variable: str) -> Path | None:
    """The folder that an environment variable names; None if it isn't set. `InputError` for `~` of an unknown user."""
    folder = os.environ.get(variable)
    try:
        return Path(folder).expanduser() if folder else None
    except RuntimeError:
        raise InputError(f"{variable} is {folder}, and there is no such user; name a folder") from None


def check_place(path: Path) -> None:
    """Raise `InputError` unless a file can be written there (`write_together`), before there is anything to write."""
    try:
        place = place_of(path)
        for each in filter(os.path.exists, (place.parent, place)):
            if not os.access(each, os.W_OK):
                reason = errno.EROFS if on_read_only_disk(each) else errno.EACCES
                raise OSError(reason, os.strerror(reason))
        place.exists()  # raises if the name is too long
    except OSError as error:
        raise InputError(f"can't write {path} ({error.strerror}); choose another place or name") from None


def on_read_only_disk(path: Path) -> bool:
    """Whether what is there is on a disk that is mounted read-only; False where the system can't tell, as Windows."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):
        return False


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
        remedy = remedy_for(error, "choose another place")
        raise InputError(f"can't lock {path} ({error.strerror}); {remedy}") from None
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

    def _lock(descriptor: int) -> None:
        while True:
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                return msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError:
                time.sleep(0.05)
else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
