"""The migration of recorded runs finds every row and number again, both ways."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST = "0e579fe"  # the last commit whose recorded runs are of the first format
sys.path.insert(0, str(ROOT / "results"))

import migrate  # noqa: E402

from deepcv.companion import recorded  # noqa: E402


def git(*arguments):
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The runs in the first format, in today's, and back."""
    first, today, back = (tmp_path_factory.mktemp(name) for name in ("first", "today", "back"))
    for path in git("ls-tree", "--name-only", FIRST, "results/recorded/").decode().split():
        (first / Path(path).name).write_bytes(git("show", f"{FIRST}:{path}"))
    for name in migrate.names(first):
        migrate.to_todays(first, name, today)
        migrate.to_first(today, name, back)
    return first, today, back


def test_there_and_back_no_byte_differs(folders):
    first, _, back = folders
    files = [f"{name}.{end}" for name in migrate.names(first) for end in ("csv", "json")]
    assert len(files) == 28
    for file in files:
        assert (back / file).read_bytes() == (first / file).read_bytes(), file


def test_every_row_and_number_is_found_again(folders):
    first, today, _ = folders
    total = 0
    for name in migrate.names(first):
        before, described = migrate.read(first, name)
        rows, _ = migrate.read(today, name)
        measured = [column for column in before[0] if column not in migrate.FIRST]
        same = ("profile", "image", "method", "seed", *migrate.SCORES, "data", "created", *measured)
        assert sorted([row[each] for each in same] for row in before) == sorted(
            [row[each] for each in same] for row in rows
        )
        assert len(recorded.recorded(name, today)[0]) == described["rows"] == len(rows)
        total += len(rows)
    assert total == 28145


def test_what_is_recorded_today_is_what_the_migration_gives(folders):
    _, today, _ = folders
    for name in migrate.names(today):
        with open(today / f"{name}.csv") as file:
            rows = [{**row, "run": ""} for row in csv.DictReader(file)]
        with open(ROOT / "results" / "recorded" / f"{name}.csv") as file:
            there = [{**row, "run": ""} for row in csv.DictReader(file)]
        assert there == rows, name


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "choices",
            ("weizmann", "deep-cv", "nu = 0"),
            ("default", {"variant": "nu = 0", "setting": "nu", "value": "0.0"}),
        ),
        ("figure06", ("weizmann", "deep-cv", "paper: U-Net"), ("paper", {"variant": "U-Net"})),
        ("table1", ("weizmann", "normalized-cuts", "7 regions"), ("regions", {"regions": 7})),
        (
            "table2",
            ("flowers17-64px-test", "amortized", "paper, best on validation"),
            ("paper", {"chosen": "validation"}),
        ),
        ("table2", ("flowers17-64px-test", "saliency", "default"), ("default", {"split": "test", "side": 64})),
        (
            "figure07",
            ("weizmann+noise100-unclipped", "iem", "default"),
            ("default", {"sigma": 100.0, "clipped": False}),
        ),
        ("theory", ("samples", "deep-cv", "elbo"), ("default", {"check": "elbo"})),
    ],
)
def test_what_varies_gets_columns_of_its_own(name, before, after):
    dataset, preset, told = migrate.forward(name, *before)
    assert (dataset, preset) == (before[0].partition("-")[0].partition("+")[0], after[0])
    assert told.items() >= after[1].items()
