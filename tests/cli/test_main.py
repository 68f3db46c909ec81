"""The command line: exit codes, messages, help, and how fast it starts."""

import os
import signal
import subprocess
import sys
import time

import pytest

from deepcv.cli import main
from deepcv.errors import InputError


def test_an_error_of_ours_shows_where_and_writes_nothing(deepcv, folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        raise ZeroDivisionError("by nought")

    stand_in(method)
    assert deepcv("segment", "disc.png", *FAST) == 1
    assert "Traceback" in capsys.readouterr().err
    assert not (folder / "mask.png").exists()


def test_ctrl_c_is_exit_code_130(deepcv, folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    stand_in(method)
    assert deepcv("segment", "disc.png", *FAST) == 130
    err = capsys.readouterr().err
    assert err.endswith("deepcv: stopped\n") and "Traceback" not in err
    assert not (folder / "mask.png").exists()


def test_the_version_is_the_packages(deepcv, capsys):
    from deepcv import __version__

    assert deepcv("--version") == 0 and deepcv("version") == 0
    assert capsys.readouterr().out == f"{__version__}\n" * 2


@pytest.mark.parametrize(
    "command", [(), ("segment",), ("run",), ("record",), ("verdict",), ("data",), ("data", "fetch")]
)
def test_help_has_an_example(deepcv, capsys, command):
    assert deepcv(*command, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: deepcv") and ("deepcv " + " ".join(command) in out.replace("Usage: ", "", 1))


def test_without_a_command_there_is_help(deepcv, capsys):
    assert deepcv() == 0 and deepcv("data") == 0
    assert capsys.readouterr().out.count("Usage: ") == 2


def test_help_answers_at_once():
    code = (
        "import sys; from deepcv.cli.segment import main; code = main(['segment', '--help']); "
        "print([name for name in ('numpy', 'torch', 'pandas', 'cv2', 'skimage', 'rich') if name in sys.modules]); "
        "sys.exit(code)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]"
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


def test_the_module_is_the_command_line():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "deepcv", "frob"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""


def test_input_errors_are_told_from_ours():
    assert main._sentence(InputError("a\n b")) == "a b"
    assert main._sentence(ValueError("a")) is None
