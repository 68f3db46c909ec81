"""The pages of the book that extend the package, followed to the letter on a copy of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
COMMANDS = re.compile(r"```console\n(.*?)```", re.DOTALL)


def follow(page, folder):
    """Copy the repository into a folder, write the page's files, make its edits; the command lines are returned."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("deepcv", "tests", "book", "results"):
        ignored = shutil.ignore_patterns("__pycache__", "executed", "store.sqlite*", "_vendor", "notebooks", "recorded")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    text = (ROOT / "book" / "extend" / page).read_text(encoding="utf-8")
    path = None
    for part in re.split(r"(```\w+\n.*?```)", text, flags=re.DOTALL):
        fenced = re.fullmatch(r"```(\w+)\n(.*?)```", part, re.DOTALL)
        if fenced is None:
            named = re.findall(r"`((?:deepcv|tests|book)/[\w/]+\.(?:py|yml))`", part)
            path = folder / named[-1] if named else path
        elif fenced[1] == "python":
            path.write_text(fenced[2], encoding="utf-8")
        elif fenced[1] == "diff":
            path.write_text(edited(path.read_text(encoding="utf-8"), fenced[2]), encoding="utf-8")
    return [line.removeprefix("$ ") for block in COMMANDS.findall(text) for line in block.splitlines()]


def edited(text, diff):
    """Text after a diff without line numbers; its unchanged and removed lines stand in one place of the text."""
    before, after = ("".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] in kept) for kept in (" -", " +"))
    assert text.count(before) == 1, f"the page edits lines that are no longer there:\n{before}"
    return text.replace(before, after)


def run(folder, *command):
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "DEEPCV_RESULTS": str(folder / "results"),
        "DEEPCV_DATA": str(folder / "data"),
        "COLUMNS": "200",
        "LOKY_MAX_CPU_COUNT": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


MAIN = """
import json, sys, pytest
from deepcv.cli.main import main
for program, *arguments in json.loads(sys.argv[1]):
    failed = main(arguments) if program == "deepcv" else pytest.main(arguments)
    assert not failed, (program, arguments)
    print("\\f", end="", flush=True)
"""


def commands(folder, lines, *tests):
    """What the page's command lines print; then these tests run. All in one process: to start one takes long."""
    split = [line.split() for line in lines]
    for _, *arguments, _, target in (each for each in split if each[0] == "sed"):
        (folder / target).write_text(run(folder, "sed", *arguments), encoding="utf-8")
    split = [each for each in split if each[0] != "sed"] + [["pytest", "-q", *tests]]
    assert {program for program, *_ in split} <= {"deepcv", "pytest"}
    *found, _ = run(folder, sys.executable, "-c", MAIN, json.dumps(split)).split("\f")
    return found[:-1]


def picture(path, shift=0):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10 + shift : 35 + shift] = 255
    noise = np.random.default_rng(shift).integers(0, 40, (*mask.shape, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([mask // 2, mask // 4, 120 - mask // 3], -1) + noise).save(path)
    return mask


@pytest.mark.slow
def test_a_method_of_ones_own(tmp_path):
    lines = follow("method.md", tmp_path)
    picture(tmp_path / "picture.png")
    tests = ("tests/baselines/test_two_means.py", "tests/test_methods.py", "-k", "two-means or two_means")
    methods, _, table = commands(tmp_path, lines, *tests)
    assert "two-means" in methods
    assert (tmp_path / "mask.png").is_file()
    assert "two-means:default" in table
    listed = "from deepcv.companion.experiments.table1 import Settings; print(*Settings().methods)"
    assert "two-means" in run(tmp_path, sys.executable, "-c", listed)


@pytest.mark.slow
def test_a_data_set_of_ones_own(tmp_path):
    lines = follow("dataset.md", tmp_path)
    for index in range(3):
        mask = picture(tmp_path / "data" / "pairs" / "images" / f"{index}.png", index)
        (tmp_path / "data" / "pairs" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "data" / "pairs" / "masks" / f"{index}.png")
    table, noisy = commands(tmp_path, lines, "tests/data/test_pairs.py")
    assert all(name in table for name in ("chan-vese", "grabcut", "saliency"))
    assert "Chan-Vese" in noisy


@pytest.mark.slow
def test_an_experiment_of_ones_own(tmp_path):
    lines = follow("experiment.md", tmp_path)
    table, _, verdict = commands(tmp_path, lines, "tests/companion/experiments/test_smoothness.py")
    assert "ν = 3000" in table
    assert re.search(r"smoothness/shorter: .*\n(. (reproduced|undecided)) +This package's default: ", verdict)
    executed = tmp_path / "smoothness.ipynb"
    run(
        tmp_path,
        sys.executable,
        "-m",
        "papermill",
        "notebooks/smoothness.ipynb",
        str(executed),
        "-p",
        "profile",
        "quick",
    )
    assert "ν = 3000" in executed.read_text(encoding="utf-8")
