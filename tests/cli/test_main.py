"""The command line: exit codes, messages, help, and how fast it starts."""

import os
import signal
import subprocess
import sys
import time

import pytest

from deepcv.errors import InputError

SEGMENT = ("segment", "disc.png", "--method", "grabcut", "--hint", "hint.png", "--out", "mask.png")


@pytest.mark.parametrize("error", [ZeroDivisionError, ValueError, FileNotFoundError, PermissionError])
def test_a_bug_is_told_from_a_users_error_and_writes_nothing(deepcv, folder, capsys, stand_in, error):
    def method(image, hint=None, *, seed=0, device=None):
        raise error("inside")

    stand_in(method)
    assert deepcv(*SEGMENT) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "inside" in err
    assert err.splitlines()[-1].startswith("deepcv: this is a bug; please report it")
    assert not (folder / "mask.png").exists()


def test_a_users_error_is_one_sentence_on_one_line(deepcv, folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        raise InputError("a\n b")

    stand_in(method)
    assert deepcv(*SEGMENT) == 2
    assert capsys.readouterr().err.endswith("\ndeepcv: a b\n")


def test_an_unknown_command_is_refused(refused):
    refused(("frob",), "'frob'.*deepcv --help")


def test_ctrl_c_is_exit_code_130(deepcv, folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    stand_in(method)
    assert deepcv(*SEGMENT) == 130
    err = capsys.readouterr().err
    assert err.endswith("deepcv: stopped\n") and "Traceback" not in err
    assert not (folder / "mask.png").exists()


def test_the_version_is_the_packages(deepcv, capsys):
    from deepcv import __version__

    assert deepcv("--version") == 0 and deepcv("version") == 0
    assert capsys.readouterr().out == f"{__version__}\n" * 2


COMMANDS = "segment train predict export run record verdict methods version data"
WITH_EXAMPLES = [
    (),
    *((name,) for name in COMMANDS.split()),
    *(("data", name) for name in ["list", "fetch", "link", "truths"]),
]


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_help_has_an_example(deepcv, capsys, command):
    assert deepcv(*command, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: deepcv") and ("deepcv " + " ".join(command) in out.replace("Usage: ", "", 1))


def test_without_a_command_there_is_help(deepcv, capsys):
    assert deepcv() == 0 and deepcv("data") == 0
    assert capsys.readouterr().out.count("Usage: ") == 2


HEAVY = ("numpy", "torch", "pandas", "cv2", "skimage", "sklearn", "joblib", "PIL", "tqdm", "rich", "deepcv.companion")


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import deepcv", 0.5),
        ("from deepcv.cli.main import main; main(['--help'])", 2.5),
        ("from deepcv.cli.main import main; main(['segment', '--help'])", 4),
    ],
)
def test_imports_and_help_are_light(code, most):
    """In units of what numpy's import takes at the same moment: seconds depend on the machine and what else it does."""
    code = f"import sys; {code}; print(*(name for name in {HEAVY} if name in sys.modules), '.')"
    ours, numpys = zip(*((_cpu_seconds(code), _cpu_seconds("import numpy; print('.')")) for _ in range(3)), strict=True)
    assert min(ours) < most * min(numpys)


def _cpu_seconds(code):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    before = os.times()
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "."
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_the_module_is_the_command_line():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "deepcv", "frob"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""
