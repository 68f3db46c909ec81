"""Locks between processes."""

import os
import subprocess
import sys

import pytest

from deepcv.errors import InputError
from deepcv.files import locked

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
