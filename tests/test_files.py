"""Locks between processes; files written all or none; temporary folders."""

import errno
import os
import re
import stat
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepcv.errors import InputError
from deepcv.files import FULL, check_place, configured_folder, locked, temporary_folder, write_together, write_whole
from deepcv.pictures import write_images

COUNT = """
import sys, time
from pathlib import Path
from deepcv.files import locked

counter = Path(sys.argv[1])
for _ in range(20):
    with locked(counter):
        count = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(count + 1))
"""


def _python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **options)


def test_no_update_is_lost_between_processes(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [_python(COUNT, counter) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert counter.read_text() == "80"
    if os.name != "nt":
        assert list(tmp_path.iterdir()) == [counter]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys, time; from deepcv.files import locked\nwith locked(sys.argv[1]): print(flush=True); time.sleep(60)"
    )
    with _python(code, tmp_path / "run", stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.kill()
    with locked(tmp_path / "run"):
        pass


def test_a_folder_in_place_of_the_parent_is_made_and_a_file_refused(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't lock .*file.run"), locked(tmp_path / "file" / "run"):
        pass


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["in the way", "while replacing"])
def test_if_one_file_can_not_be_written_none_is(fails, tmp_path, monkeypatch):
    first, new, last = tmp_path / "mask.png", tmp_path / "new.png", tmp_path / "overlay.png"
    first.write_bytes(b"old")
    if fails == "in the way":
        last.mkdir()
    else:
        replace = os.replace

        def refused(source, target):
            if target == last:
                raise OSError(1, "Operation not permitted")
            replace(source, target)

        monkeypatch.setattr(os, "replace", refused)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"no regular file|not permitted"):
        write_together({first: b"mask", new: b"new", last: b"overlay"})
    assert first.read_bytes() == b"old" and sorted(tmp_path.iterdir()) == before


def test_long_names_that_begin_alike_are_all_written(tmp_path):
    content = {tmp_path / ("x" * 249 + end): end.encode() for end in "ab"}
    for _ in range(2):
        write_together(content)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_two_threads_may_write_one_file(tmp_path, monkeypatch):
    path, both, fsync = tmp_path / "mask.png", threading.Barrier(2), os.fsync

    def together(descriptor):
        both.wait(60)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", together)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda content: write_together({path: content}), (b"one", b"two")))
    assert path.read_bytes() in (b"one", b"two") and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other modes, and no pipes in folders")
def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "real.png", tmp_path / "link.png"
    link.symlink_to("real.png")
    write_whole(link, b"first")  # a link to nothing yet
    file.chmod(0o600)
    write_together({link: b"second", tmp_path / "other": b""})
    assert link.is_symlink() and file.read_bytes() == b"second"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "other", "real.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_what_can_not_be_written_is_a_sentence_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("pipe", "no regular file"), ("loop", "symbolic links"), ("x" * 300, "too long")):
        for attempt in (check_place, lambda path: write_whole(path, b"")):
            with pytest.raises(InputError, match=rf"can't write .*{name} \(.*{why}"):
                attempt(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and (tmp_path / "loop").is_symlink()
    write_whole(tmp_path / ("x" * 250), b"as long as it may be")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "choose another place"),
        (errno.EACCES, "choose another place"),
        (errno.EDQUOT, "choose another place"),
        (errno.ENOSPC, "make room"),
    ],
)
def test_a_write_that_fails_says_why_and_what_helps(number, remedy, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "mask.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(
        InputError, match=re.escape(f"({os.strerror(number)}); what was there before is intact; {remedy}")
    ):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", FULL)
def test_where_nothing_fits_any_more_room_is_asked_for(number, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(InputError, match=re.escape(f"mask.png ({os.strerror(number)}); make room there")):
        write_images({tmp_path / "mask.png": np.zeros((2, 2), np.uint8)})


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="the system doesn't say how disks are mounted")
def test_a_place_on_a_disk_that_is_mounted_read_only_is_not_said_to_lack_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="Permission denied"):
        check_place(tmp_path / "mask.png")
    monkeypatch.setattr(os, "statvfs", lambda _: types.SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(InputError, match="Read-only file system"):
        check_place(tmp_path / "mask.png")


KILLED = """
import os, sys
from pathlib import Path
from deepcv.files import temporary_folder

with temporary_folder(Path(sys.argv[1]), ".fetch-") as folder:
    (folder / "half").write_bytes(b"x")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="folders can't be locked there")
def test_the_next_call_removes_what_a_killed_one_left_and_no_more(tmp_path):
    assert _python(KILLED, tmp_path).wait(60) == -9
    (left,) = tmp_path.iterdir()
    (tmp_path / "other").mkdir()
    with temporary_folder(tmp_path, ".fetch-") as one, temporary_folder(tmp_path, ".fetch-") as two:
        assert not left.exists() and one.is_dir() and two.is_dir() and one != two
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_of_an_unknown_user_is_a_sentence(monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", "~nouser/x")
    with pytest.raises(InputError, match="DEEPCV_RESULTS is ~nouser/x, and there is no such user"):
        configured_folder("DEEPCV_RESULTS")
