"""A folder with pictures to segment, the command line, and what it does with input that can't be used."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from deepcv.cli import main

HEIGHT, WIDTH = 60, 90
DISC = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([30, 50])[:, None, None])) < 18


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a picture of a red disc on green and a hint for it."""
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH, 3))
    colours = np.where(DISC[..., None], (200, 60, 50), (60, 140, 70)) + noise
    Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8)).save(tmp_path / "disc.png")
    Image.fromarray(cv2.GaussianBlur(DISC * np.uint8(255), (0, 0), 4)).save(tmp_path / "hint.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def deepcv():
    """Run a command line in this process."""
    return lambda *arguments: main.main([str(argument) for argument in arguments])


@pytest.fixture
def stand_in(monkeypatch):
    """Replace the function of a method in the registry."""

    def register(function, name="grabcut"):
        from deepcv import methods

        stand_in = replace(methods.METHODS[name], function=function, presets={"default": {}})
        monkeypatch.setitem(methods.METHODS, name, stand_in)

    return register


@pytest.fixture
def refused(folder, deepcv, capsys):
    """Check for exit code 2, one sentence that says what is wrong, and nothing written or changed."""

    def check(arguments, says):
        before = {path: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}
        assert deepcv(*arguments) == 2
        out, err = capsys.readouterr()
        *progress, sentence = err.splitlines()
        assert out == "" and len(progress) <= 1
        assert re.match("deepcv: .*" + says, sentence), err
        assert {path: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()} == before

    return check
