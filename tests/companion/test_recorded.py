"""Recorded runs survive edits that are told, writers at once, and a kill at any step."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from deepcv.companion import recorded, timings
from deepcv.companion import store as results
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.items import Item
from deepcv.companion.store import Store
from deepcv.errors import InputError


def item(image="coffee", **changes):
    return Item(
        "table1", "samples", image, **{"method": "chan-vese", "settings": {"nu": 1.0}, "data_hash": "d"} | changes
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A results folder without anything, outside the repository."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(results, "_REPOSITORY", tmp_path / "none")
    return tmp_path / "results"


def compute(unit):
    return [{"profile": "quick", "f_measure": len(item.image) / 10, "seconds": 0.1} for item in unit]


def test_the_numbers_of_table_1_are_the_papers(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.delenv("DEEPCV_RESULTS", raising=False)
    table = recorded.paper("table1").set_index("method")
    assert table.loc["deep-cv"].to_dict() == {"f_measure": 0.87, "iou": 0.79}
    assert table["f_measure"].idxmin() == "normalized-cuts"
    assert len(table) == 5
    with pytest.raises(InputError, match=r"called 'tabel1'; choose from .*table1"):
        recorded.paper("tabel1")


def test_without_a_recorded_run_there_are_the_columns(folder):
    rows, provenance = recorded.recorded("table1")
    assert rows.empty and tuple(rows.columns) == recorded.RECORDED and provenance == {}
    assert recorded.full_run("table1").empty
    assert recorded.paper("table1").empty


def test_a_recorded_run_is_read_as_it_was_recorded(folder, store):
    items = [item(image, method=method, seed=1) for image in ("b", "007") for method in ("grabcut", "chan-vese")]
    rows = store.complete(items, compute, workers=1, progress=False)
    path = recorded.record(rows, "table1", note="first")
    again, described = recorded.recorded("table1")
    assert [tuple(row) for row in again[["method", "image"]].to_numpy()] == [
        ("chan-vese", "007"),
        ("chan-vese", "b"),
        ("grabcut", "007"),
        ("grabcut", "b"),
    ]
    assert again["f_measure"].tolist() == [0.3, 0.1, 0.3, 0.1] and again["iou"].isna().all()
    assert path.read_text().splitlines()[1].startswith("quick,samples,007,chan-vese,default,1,0.3000,,,,,,0.1000,d,20")
    assert described["rows"] == 4
    run = described["runs"][again["run"][0]]
    assert run["method"] == "chan-vese" and run["settings"] == {"nu": 1.0} and run["rows"] == 2
    assert run["libraries"]["numpy"] == np.__version__ and run["machine"]["cores"] == os.cpu_count()
    assert run["device"] == "cpu" and run["note"] == "first"
    assert sorted(each.name for each in path.parent.iterdir()) == ["table1.csv", "table1.json"]


def _recorded_by(cpu, rows, **changes):
    """The rows as if another machine had computed them."""
    return rows.assign(machine=[{"cpu": cpu}] * len(rows), **changes)


def _machines(folder=None):
    rows, described = recorded.recorded("table1", folder)
    return dict(zip(rows["image"], [described["runs"][run]["machine"]["cpu"] for run in rows["run"]], strict=True))


def test_new_rows_take_the_place_of_recorded_ones_and_the_others_stay(folder, store):
    rows = store.complete(map(item, "abc"), compute, workers=1, progress=False)
    recorded.record(_recorded_by("first", rows.iloc[:2]), "table1")
    path = recorded.record(_recorded_by("second", rows.iloc[1:], f_measure=0.7), "table1")
    assert _machines() == {"a": "first", "b": "second", "c": "second"}
    assert recorded.recorded("table1")[0]["f_measure"].tolist() == [0.1, 0.7, 0.7]
    text = path.read_text()
    recorded.record(_recorded_by("second", rows, f_measure=[0.1, 0.7, 0.7]), "table1")
    assert set(_machines().values()) == {"second"}
    assert len(recorded.recorded("table1")[1]["runs"]) == 1, "what made rows that are gone is gone"
    recorded.record(_recorded_by("first", rows.iloc[:1]), "table1")
    assert path.read_text() == text


def test_of_two_recorded_runs_the_newer_rows_stay(folder, store, tmp_path):
    rows = store.complete(map(item, "abcd"), compute, workers=1, progress=False)
    days = np.array(["2026-01-01", "2026-01-02", "2026-01-02", "2026-01-01"])
    recorded.record(_recorded_by("ours", rows.iloc[:3], created=days[:3]), "table1")
    theirs = ["2026-01-02", "2026-01-02", "2026-01-01", "2026-01-01"]
    recorded.record(_recorded_by("theirs", rows, created=theirs), "table1", folder=tmp_path / "piece")
    before = {path: path.read_bytes() for path in (tmp_path / "piece").iterdir()}
    assert recorded.merge(tmp_path / "piece", "table1") == {"added": 1, "replaced": 1, "left": 2}
    assert _machines() == {"a": "theirs", "b": "ours", "c": "ours", "d": "theirs"}
    text = (folder / "recorded" / "table1.csv").read_text()
    assert recorded.merge(tmp_path / "piece", "table1") == {"added": 0, "replaced": 0, "left": 4}
    assert (folder / "recorded" / "table1.csv").read_text() == text
    assert {path: path.read_bytes() for path in (tmp_path / "piece").iterdir()} == before
    with pytest.raises(InputError, match=r"no recorded run choices in .*piece"):
        recorded.merge(tmp_path / "piece", "choices")


def test_conditions_and_measured_numbers_are_recorded_with_their_types(folder, store, tmp_path):
    noisy = item("a", conditions={"sigma": 0.00001, "clipped": True, "regions": 7})
    store.put(noisy, profile="cpu", measured={"rise": 0.25, "energy": np.nan})
    path = recorded.record(store.rows(), "figure07", folder=tmp_path / "piece")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("profile,dataset,image,method,preset,seed,clipped,regions,sigma,f_measure,iou,")
    assert lines[0].endswith(",run,energy,rise")
    assert lines[1].startswith("cpu,samples,a,chan-vese,default,0,True,7,1e-05,") and lines[1].endswith(",,0.2500")
    store.put(item("a", conditions={"variant": "no noise"}), profile="cpu", measured={"decay": 1})
    recorded.record(store.rows([item("a", conditions={"variant": "no noise"})]), "figure07")
    assert recorded.merge(tmp_path / "piece", "figure07") == {"added": 1, "replaced": 0, "left": 0}
    rows, described = recorded.recorded("figure07")
    assert described["conditions"] == {"variant": "str", "clipped": "bool", "regions": "int", "sigma": "float"}
    assert described["measured"] == ["decay", "energy", "rise"]
    plain, noisy = rows.to_dict("records") if rows["variant"][0] else rows.to_dict("records")[::-1]
    assert noisy["variant"] == "" and noisy["clipped"] is True and (noisy["regions"], noisy["sigma"]) == (7, 1e-5)
    assert noisy["rise"] == 0.25 and np.isnan(noisy["decay"])
    assert plain["variant"] == "no noise" and np.isnan([plain["clipped"], plain["sigma"], plain["rise"]]).all()


def test_rows_of_other_conditions_are_other_rows(folder, store):
    for sigma in (0, 100, 100):
        store.put(item(conditions={"sigma": sigma}), profile="cpu", iou=sigma / 1000)
    recorded.record(store.rows(), "figure07")
    recorded.record(store.rows([item(conditions={"sigma": 100})]).assign(iou=0.7), "figure07")
    assert recorded.recorded("figure07")[0][["sigma", "iou"]].to_numpy().tolist() == [[0, 0], [100, 0.7]]


def test_a_condition_has_one_type(folder, store):
    store.put(item(conditions={"sigma": 1}), profile="cpu")
    store.put(item(conditions={"sigma": "1"}), profile="cpu")
    with pytest.raises(InputError, match=r"the condition 'sigma' is (str|int) in some rows, (str|int) in others"):
        recorded.record(store.rows(), "figure07")
    store.put(item(conditions={"nu": 1}), profile="cpu")
    store.put(item(conditions={"nu": 1.5}), profile="cpu")
    recorded.record(store.rows([item(conditions={"nu": nu}) for nu in (1, 1.5)]), "figure07")
    assert recorded.recorded("figure07")[1]["conditions"] == {"nu": "float"}


def test_the_paper_profile_is_best_where_it_covers_the_cpu_profile(folder, store):
    for profile, variants in (("cpu", "abc"), ("paper", "ab")):
        for variant in variants:
            store.put(item(conditions={"variant": variant}, device=profile), profile=profile)
    recorded.record(store.rows(), "choices")
    assert set(recorded.full_run("choices")["profile"]) == {"cpu"}
    store.put(item(conditions={"variant": "c", "side": 128, "truth": "official"}, device="paper"), profile="paper")
    recorded.record(store.rows(), "choices")
    assert set(recorded.full_run("choices")["profile"]) == {"paper"}, "the images' size and truth don't matter"


def test_recording_does_not_depend_on_the_order_of_the_rows(folder, store):
    rows = store.complete([item(image) for image in "abc"], compute, workers=1, progress=False)
    text = recorded.record(rows, "table1").read_text()
    assert recorded.record(rows.iloc[::-1], "table1").read_text() == text


def test_what_is_no_single_run_is_not_recorded(folder, store):
    with pytest.raises(InputError, match=r"no row to record"):
        recorded.record(store.rows(), "table1")
    rows = store.complete([item(), item(settings={"nu": 2.0})], compute, workers=1, progress=False)
    with pytest.raises(InputError, match=r"coffee, .* has two rows"):
        recorded.record(rows, "table1")
    assert not folder.exists()


def test_a_recorded_run_that_was_changed_by_hand_is_noticed(folder, store):
    path = recorded.record(store.complete([item()], compute, workers=1, progress=False), "table1")
    path.write_text(path.read_text().replace("0.6000", "0.9000"))
    with pytest.raises(InputError, match=r"don't belong together"):
        recorded.recorded("table1")
    path.write_text("method,seed\nsaliency,0\n")
    with pytest.raises(InputError, match=r"table1.csv has other columns .*; record it again"):
        recorded.recorded("table1")
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"can't read .* restore both files"):
        recorded.recorded("table1")


def _three_rows(folder):
    """A recorded run of a and b, and new rows of b and c."""
    with Store(folder / "store.sqlite") as store:
        rows = store.complete(map(item, "abc"), compute, workers=1, progress=False)
    recorded.record(rows.iloc[:2], "table1", folder=folder)
    return rows.iloc[1:].assign(f_measure=0.9)


STEPS = ("_write_file", "_write_file", "replace", "replace")


@pytest.mark.parametrize("step", range(len(STEPS) + 1))
@pytest.mark.parametrize("when", ["before", "after", "half written"])
def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new_run(tmp_path, monkeypatch, step, when):
    rows, done = _three_rows(tmp_path), []

    class Killed(BaseException):
        pass

    def watched(name, function):
        def call(*arguments):
            done.append(name)
            if len(done) - 1 == step:
                if when == "half written" and name == "_write_file":
                    arguments[0].write_text(arguments[1][: len(arguments[1]) // 2])
                if when == "after":
                    function(*arguments)
                raise Killed
            return function(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(recorded, "_write_file", watched("_write_file", recorded._write_file))
        patched.setattr(os, "replace", watched("replace", os.replace))
        if step < len(STEPS):
            with pytest.raises(Killed):
                recorded.record(rows, "table1", folder=tmp_path)
        else:
            recorded.record(rows, "table1", folder=tmp_path)
    assert tuple(done) == STEPS[: step + 1], "the steps of a writer are others; kill it at each of them"
    committed = step > 2 or (step == 2 and when == "after")
    for _ in range(2):
        found, described = recorded.recorded("table1", tmp_path)
        assert found["image"].tolist() == (["a", "b", "c"] if committed else ["a", "b"])
        assert described["rows"] == len(found)
    recorded.record(rows, "table1", folder=tmp_path)
    assert recorded.recorded("table1", tmp_path)[0]["f_measure"].tolist() == [0.1, 0.9, 0.9]
    assert {path.name for path in tmp_path.glob("*table1*")} == {"table1.csv", "table1.json"}


def test_a_first_run_killed_after_its_commit_is_there(tmp_path, monkeypatch):
    with Store(tmp_path / "store.sqlite") as store:
        rows = store.complete([item()], compute, workers=1, progress=False)
    with monkeypatch.context() as patched:
        replace = os.replace
        patched.setattr(os, "replace", lambda old, new: (new.suffix == ".csv" and 1 / 0) or replace(old, new))
        with pytest.raises(ZeroDivisionError):
            recorded.record(rows, "table1", folder=tmp_path)
    assert not (tmp_path / "table1.csv").exists()
    assert len(recorded.recorded("table1", tmp_path)[0]) == 1


def test_a_full_disk_leaves_the_old_run_and_no_other_file(tmp_path, monkeypatch):
    rows = _three_rows(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("*table1*")}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(InputError, match=r"can't write .*table1.csv \(No space left on device\); make room"):
            recorded.record(rows, "table1", folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.glob("*table1*")} == before
    assert not list(tmp_path.glob(".*"))


def test_a_table_that_cannot_be_replaced_yet_is_not_lost(tmp_path, monkeypatch):
    rows, replace = _three_rows(tmp_path), os.replace

    def busy(old, new):
        if new.suffix == ".csv":
            raise PermissionError(13, "Permission denied")
        replace(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", busy)
        for attempt in (lambda: recorded.record(rows, "table1", folder=tmp_path),
                        lambda: recorded.recorded("table1", tmp_path)):  # fmt: skip
            with pytest.raises(InputError, match=r"can't write .*Permission denied.*close programs"):
                attempt()
    assert recorded.recorded("table1", tmp_path)[0]["image"].tolist() == ["a", "b", "c"]


def _merge(source, target, start):
    start.wait(60)
    recorded.merge(source, "table1", folder=target)


def test_processes_that_merge_at_once_lose_no_row(tmp_path):
    pieces, target = [], tmp_path / "recorded"
    with Store(tmp_path / "store.sqlite") as store:
        for number in range(8):
            items = [item(f"{number}-{place}") for place in range(5)]
            rows = store.complete([*items, item("shared")], compute, workers=1, progress=False)
            pieces.append(tmp_path / f"piece{number}")
            recorded.record(rows, "table1", folder=pieces[-1])
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(pieces))
    mergers = [context.Process(target=_merge, args=(piece, target, start)) for piece in pieces]
    for merger in mergers:
        merger.start()
    for merger in mergers:
        merger.join(120)
    assert [merger.exitcode for merger in mergers] == [0] * 8
    rows, described = recorded.recorded("table1", target)
    assert len(rows) == described["rows"] == 41
    assert sorted(path.name for path in target.iterdir()) == ["table1.csv", "table1.json"]


def test_a_reader_meets_no_half_written_run_while_another_writes(tmp_path):
    rows = _three_rows(tmp_path)
    writer = multiprocessing.get_context("fork").Process(target=_write_often, args=(rows, tmp_path))
    writer.start()
    counts = {len(recorded.recorded("table1", tmp_path)[0])}
    while writer.is_alive():
        counts.add(len(recorded.recorded("table1", tmp_path)[0]))
    writer.join()
    assert writer.exitcode == 0 and counts <= {2, 3}


def _write_often(rows, folder):
    for number in range(30):
        recorded.record(rows.assign(f_measure=number / 30), "table1", folder=folder)


def test_a_new_results_folder_reads_what_the_repository_records(folder, tmp_path, monkeypatch, store):
    rows = store.complete([item()], compute, workers=1, progress=False)
    monkeypatch.setattr(results, "_REPOSITORY", tmp_path / "repository")
    recorded.record(rows, "table1", folder=tmp_path / "repository" / "recorded")
    (tmp_path / "repository" / "paper").mkdir()
    (tmp_path / "repository" / "paper" / "table1.csv").write_text("method,iou\ndeep-cv,0.5\n")
    assert len(recorded.recorded("table1")[0]) == 1 and recorded.paper("table1")["iou"].tolist() == [0.5]
    recorded.record(rows.assign(image="another"), "table1")
    assert recorded.recorded("table1")[0]["image"].tolist() == ["another"]
    assert len(recorded.recorded("table1", tmp_path / "repository" / "recorded")[0]) == 1


def test_seconds_of_a_gpu_do_not_stand_among_those_of_a_cpu(repository, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(repository / "results"))
    for name in ("figure06", "figure08"):
        runs = recorded.recorded(name)[1]["runs"]
        rows = recorded.full_run(name)
        on_cpu = rows["run"].map(lambda key, runs=runs: runs[key]["device"] == "cpu")
        assert on_cpu.any() and (rows["seconds"].notna() == on_cpu).all()


def test_what_the_repository_records_can_be_read(repository, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(repository / "results"))
    files = {path.stem for path in (repository / "results" / "recorded").glob("*.csv")}
    experiments = {name for name, experiment in EXPERIMENTS.items() if experiment.recorded}
    assert {*timings.NAMES} <= files <= {*experiments, *timings.NAMES}
    for name in timings.NAMES:
        rows, made_by = timings.recorded(name)
        assert len(rows) and {"machine", "libraries"} <= set.intersection(*map(set, made_by.values()))
    for name in files - {*timings.NAMES}:
        rows, described = recorded.recorded(name)
        identity = [*recorded.IDENTITY, *described["conditions"]]
        assert len(rows) == described["rows"] and not rows.duplicated(identity).any()
        for digest, run in described["runs"].items():
            made = rows[rows["run"] == digest]
            assert len(made) == run["rows"]
            assert set(made["method"]) == {run["method"]} and set(made["preset"]) == {run["preset"]}
