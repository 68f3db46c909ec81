"""Output that can't be written as it is: another encoding, a full disk, a closed pipe, names that don't work."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deepcv.cli import main

COMMAND = [sys.executable, "-m", "deepcv", "version"]
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")


def test_a_terminal_of_another_encoding_gets_escapes():
    code = "import deepcv.cli.main as m; m.app.command('say')(lambda: print('ν')); m.main(['say'])"
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60)
    assert (found.returncode, found.stdout.split(), found.stderr) == (0, [rb"\u03bd"], b"")


@posix
def test_a_full_disk_behind_the_output_is_a_sentence():
    with open("/dev/full", "wb") as full:
        found = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("deepcv: can't write the output (No space left on device)")
    assert "Traceback" not in found.stderr and "Exception" not in found.stderr


@posix
def test_who_reads_no_further_ends_it_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(COMMAND, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert found.returncode == 1 and "Traceback" not in found.stderr and "Exception" not in found.stderr


LONG = "x" * 300


@posix
@pytest.mark.parametrize(
    "arguments",
    [
        *(("segment", "p.png", "--out", name) for name in ("loop.png", f"{LONG}.png", f"{LONG}/m.png", "pipe.png")),
        ("segment", "p.png", "--out", "m.png", "--overlay", "pipe.png"),
        ("segment", "pipe.png", "--out", "m.png"),
        *(("predict", "p.png", "--out", name) for name in ("loop.png", LONG)),
        *(("predict", "p.png", "--out", "out", "--model", name) for name in ("loop.png", LONG, "pipe.png")),
        *(("export", name, "x.onnx") for name in ("loop.png", LONG)),
        *(("record", "--merge", name, "--into", "into") for name in ("loop.png", LONG)),
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "xxx"),
)
def test_loops_pipes_and_long_names_are_sentences(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    os.symlink("loop.png", "loop.png")
    assert main.main(list(arguments)) == 2
    said = capsys.readouterr().err
    assert said.startswith("deepcv: ") and said.count("\n") == 1
    assert sorted(os.listdir()) == ["loop.png", "pipe.png"]


@pytest.mark.parametrize("option", ["--hint", "--foreground", "--background"])
def test_a_pipe_in_place_of_a_hint_is_refused_and_not_waited_for(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 20), np.uint8)).save("p.png")
    assert main.main(["segment", "p.png", "--method", "chan-vese", option, "pipe.png", "--out", "m.png"]) == 2
    assert "pipe.png is no regular file" in capsys.readouterr().err and not os.path.exists("m.png")
