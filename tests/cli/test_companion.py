"""`deepcv run`, `record` and `verdict`."""

import functools
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

from deepcv.companion import recorded, store, verdict
from deepcv.companion.store import Store


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "tabel1"), "no experiment 'tabel1'; there are .*table1"),
        (("run", "table1", "--profile", "fast"), "'fast'.*quick"),
        (("run", "table1", "--profile", "quick", "--methods", "deep-cv,watershed"), "'watershed'.*grabcut"),
        (("run", "table1", "--dataset", "imagenet"), "'imagenet'.*weizmann"),
        (("run", "table1", "--seeds", "0,one"), "an entry of seeds is 'one'; it must be a whole number"),
        (("run", "table1", "--n-images", "0"), "n_images.*0"),
        (("run", "table1", "--methods", ""), "methods is empty; name at least one"),
        (("run", "table1", "--seeds", "-1"), "an entry of seeds is -1"),
        (("run", "table1", "--workers", "0"), "worker.*0"),
        (("run", "choices", "--methods", "grabcut"), "choices has no option --methods"),
        (("run",), "experiment.*run --help"),
        (("run", "table1", "--scheduler", "tcp://x:1", "--workers", "2"), "leave one out"),
        (("run", "table1", "--scheduler", "nowhere"), "'nowhere' is not a scheduler's address; .*tcp://host:8786"),
        (("record", "tabel1"), "no experiment 'tabel1'; there are .*table1"),
        (("record", "--minutes", "0"), "--minutes is 0; it must be more"),
        (("record", "table1", "--profile", "fast"), "'fast'.*quick"),
        (("record", "--merge", "nowhere"), "no recorded run in nowhere"),
        (("record", "table1", "--merge", "nowhere"), "no recorded run table1 in nowhere"),
    ],
)
def test_names_that_are_not_there(refused, folder, monkeypatch, arguments, says):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    refused(arguments, says)


def test_run_prints_the_table_and_goes_on_from_the_store(deepcv, folder, capsys, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    arguments = ("run", "table1", "--methods", "grabcut", "--n-images", 1, "--workers", 1, "--seeds", 0)
    tables, rows = [], []
    for _ in range(2):
        assert deepcv(*arguments) == 0
        tables.append(capsys.readouterr().out)
        with Store() as store:
            rows.append(store.rows())
    assert "grabcut" in tables[0].lower() and tables[1] == tables[0]
    assert len(rows[0]) == 1
    pd.testing.assert_frame_equal(rows[1], rows[0])  # to the digit in `seconds`: it was not computed again


def test_run_records_its_rows(deepcv, folder, capsys, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    arguments = ("run", "table1", "--methods", "grabcut", "--n-images", 1, "--workers", 1, "--seeds", 0, "--record")
    assert deepcv(*arguments) == 0
    assert "table1.csv" in capsys.readouterr().out
    rows, described = recorded.recorded("table1")
    assert rows["method"].tolist() == ["grabcut"] and described["rows"] == 1


@pytest.fixture
def quick_table(folder, monkeypatch):
    """Table 1 of the embedded images by the saliency threshold alone, with hints that take no time."""
    from deepcv.companion import compute
    from deepcv.companion.experiments import table1

    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    monkeypatch.setitem(
        table1.Settings.profiles, "quick", {"dataset": "samples", "methods": ("saliency",), "reduced": {}}
    )
    monkeypatch.setattr(compute, "hint_for", lambda image: image if image.ndim == 2 else image.mean(axis=2))
    monkeypatch.setattr(compute, "_hints", {})
    return ("record", "table1", "--profile", "quick", "--device", "cpu")


def test_record_lists_computes_goes_on_and_merges(deepcv, quick_table, folder, capsys):
    assert deepcv(*quick_table, "--list") == 0
    assert "0 recorded, the code of 0 changed since; 15 missing" in capsys.readouterr().out
    assert deepcv(*quick_table, "--workers", 1, "--minutes", 2, "--into", "piece") == 0
    assert re.match(r"table1: 15 rows merged into piece/table1.csv, 0 left to compute\n", capsys.readouterr().out)
    assert deepcv(*quick_table, "--into", "piece") == 0
    assert capsys.readouterr().out == "nothing is missing\n"
    assert deepcv("record", "--merge", "piece") == 0
    assert capsys.readouterr().out == "table1: 15 rows added, 0 rows replaced, 0 rows left\n"
    assert deepcv(*quick_table, "--list") == 0
    assert "15 recorded, the code of 0 changed since; 0 missing, 0.0 minutes\n" in capsys.readouterr().out
    assert len(recorded.recorded("table1")[0]) == 15


def test_rows_whose_code_has_changed_are_computed_again_when_asked_for(deepcv, quick_table, capsys, monkeypatch):
    from deepcv.companion import compute

    assert deepcv(*quick_table, "--workers", 1) == 0
    monkeypatch.setattr(compute, "code_of", lambda *_: "another")
    capsys.readouterr()
    assert deepcv(*quick_table, "--workers", 1) == 0
    assert capsys.readouterr().out == "nothing is missing\n"
    assert deepcv(*quick_table, "--workers", 1, "--outdated") == 0
    assert {run["code"] for run in recorded.recorded("table1")[1]["runs"].values()} == {"another"}


def test_record_stopped_with_ctrl_c_keeps_what_it_has(deepcv, quick_table, folder, capsys, monkeypatch):
    from deepcv.companion import compute

    good, computed = compute.compute, []

    def interrupted(unit, **options):
        if len(computed) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        computed.append(unit)
        return good(unit, **options)

    monkeypatch.setattr(compute, "compute", interrupted)
    assert deepcv(*quick_table, "--workers", 1) == 130
    out, err = capsys.readouterr()
    assert "4 rows merged" in out and "11 left to compute" in out and "run the command again" in err
    assert len(recorded.recorded("table1")[0]) == 4


def test_record_check_recomputes_and_tells_by_its_status_whether_numbers_agree(deepcv, quick_table, capsys):
    assert deepcv(*quick_table, "--workers", 1) == 0
    check = ("record", "table1", "--check", 5, "--workers", 1)
    assert deepcv(*check) == 0
    assert capsys.readouterr().out.endswith("table1: 5 of 5 rows agree\nin all 5 of 5 recomputed rows agree\n")
    rows, described = recorded.recorded("table1")
    folder = Path(os.environ["DEEPCV_RESULTS"]) / "recorded"
    rows = rows.assign(iou=rows["iou"] + 0.003)
    recorded.write(folder, "table1", rows, described["runs"], described["conditions"], described["measured"])
    assert deepcv(*check) == 1
    out = capsys.readouterr().out
    assert re.search(r"iou 0\.\d{4} recorded, 0\.\d{4} here", out) and "in all 0 of 5 recomputed rows agree" in out
    assert deepcv("record", "--check", 0) == 2
    assert "--check is 0; it must be more than 0" in capsys.readouterr().err


@pytest.fixture
def one_recorded_run(tmp_path, monkeypatch):
    """A results folder with the paper's numbers and our recorded Table 1."""
    repository = Path(__file__).parents[2] / "results"
    for name in ("paper", "recorded"):
        (tmp_path / name).mkdir()
    for path in (*repository.glob("paper/*"), *repository.glob("recorded/table1.*")):
        shutil.copy(path, tmp_path / path.parent.name)
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))


def test_the_list_names_experiments_whose_data_are_not_here(deepcv, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    assert deepcv("record", "table1", "theory", "--list", "--profile", "cpu") == 0
    out, err = capsys.readouterr()
    assert "theory" in out and err.startswith("table1: ") and "deepcv data fetch weizmann" in err
    assert deepcv("record", "table1", "--list", "--profile", "cpu") == 2


def test_the_verdict_is_told_as_text_and_as_json(deepcv, one_recorded_run, monkeypatch, capsys):
    monkeypatch.setattr(verdict, "decide", functools.cache(verdict.decide))
    assert deepcv("verdict") == 0
    text = capsys.readouterr().out
    assert deepcv("verdict", "--format", "json") == 0
    claims = {claim["id"]: claim for claim in json.loads(capsys.readouterr().out)}
    for column in ("paper", "default"):
        statuses = [claim[column]["status"] for claim in claims.values() if claim[column]]
        assert f"{statuses.count('reproduced')} reproduced, {statuses.count('partly')} partly, " in text
    assert all(f"{name}: " in text for name in claims)
    cell = claims["table1/deep-cv/f_measure"]
    assert cell["default"]["numbers"]["printed"] == 0.87 and cell["default"]["status"] != "not yet run"


def _of_table_1():
    """All take ten seconds."""
    return [claim for claim in (*verdict.claims(), *verdict.cells()) if claim.run == "table1"]


def test_where_the_results_folder_is_new_the_verdict_reads_the_repositorys_rows(deepcv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verdict, "decide", functools.partial(verdict.decide, _of_table_1()))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "new"))
    assert deepcv("verdict", "--format", "json") == 0
    new = capsys.readouterr().out
    monkeypatch.delenv("DEEPCV_RESULTS")
    assert deepcv("verdict", "--format", "json") == 0
    assert capsys.readouterr().out == new
    ran = [each for claim in json.loads(new) for each in map(claim.get, verdict.COLUMNS) if each and each["numbers"]]
    assert len(ran) > 10
    assert any("Reduced: " in each["evidence"] for each in ran), "the repository's settings, too"
    assert not (tmp_path / "new").exists()


def test_without_recorded_rows_the_verdict_says_where_they_are(deepcv, tmp_path, monkeypatch, capsys):
    """As in a package installed from its wheel."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setattr(store, "_REPOSITORY", tmp_path)
    assert deepcv("verdict") == 0
    out, err = capsys.readouterr()
    assert "not yet run" in " ".join(out.split()) and "✔" not in out
    assert err.startswith(f"no run is recorded in {tmp_path}; the rows are in the repository") and err.count("\n") == 1


def test_the_verdict_has_two_formats(deepcv, capsys):
    assert deepcv("verdict", "--format", "xml") == 2
    assert "--format is 'xml'; it must be text or json" in capsys.readouterr().err
