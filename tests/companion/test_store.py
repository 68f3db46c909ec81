"""The store keeps every finished row once, whatever happens; recorded runs are written and read whole."""

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from deepcv import devices, provenance
from deepcv.companion import pictures, recorded, recording, timings
from deepcv.companion import store as results
from deepcv.companion.store import Item, Store, Unit
from deepcv.errors import InputError


def item(image="coffee", **changes):
    return Item(
        "table1", "samples", image, **{"method": "chan-vese", "settings": {"nu": 1.0}, "data_hash": "d"} | changes
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


def compute(unit):
    return [{"profile": "quick", "f_measure": len(item.image) / 10, "seconds": 0.1} for item in unit]


def test_a_row_comes_back_as_it_was_put(store):
    labels = np.eye(9, 12, dtype=np.uint8)
    assert store.get(item()) is None
    assert store.put(item(), profile="quick", f_measure=0.123456789, labels=labels, extra={"hint": np.float32(0.5)})
    row = store.get(item())
    assert row["f_measure"] == 0.123456789
    assert np.isnan(row["iou"])
    assert row["settings"] == {"nu": 1.0} and row["extra"] == {"hint": 0.5} and row["profile"] == "quick"
    assert row["created"].endswith("+00:00")
    np.testing.assert_array_equal(store.labels(item()), labels)


def test_a_row_says_which_machine_computed_it(store):
    elsewhere = provenance.provenance() | {"machine": {"cpu": "another"}}
    store.put(item(), profile="quick", made_by=elsewhere)
    assert store.get(item())["machine"] == {"cpu": "another"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "abc"}, r"what computed .*coffee.* has source abc, here it is [0-9a-f]{12};"),
        ({"libraries": {"numpy": "0.1"}}, "has numpy 0.1, here it is"),
    ],
)
def test_rows_that_other_code_made_are_refused(store, change, says):
    made_by = provenance.provenance() | change
    made_by["libraries"] = provenance.provenance()["libraries"] | made_by["libraries"]
    with pytest.raises(InputError, match=says):
        store.put(item(), profile="quick", made_by=made_by)
    assert store.rows().empty


def test_what_is_outside_a_row_is_refused(store):
    with pytest.raises(TypeError, match=r"no score 'f_mesure'; there are f_measure"):
        store.put(item(), profile="quick", f_mesure=1)
    with pytest.raises(InputError, match=r"no column 'colour'"):
        store.rows(colour="red")
    assert store.labels(item()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"image": "cat"},
        {"method": "grabcut"},
        {"preset": "paper"},
        {"seed": 1},
        {"settings": {"nu": 2.0}},
        {"settings": {"nu": 1.0, "size": 96}},
        {"data_hash": "e"},
        {"device": "cuda X"},
    ],
)
def test_whatever_can_change_the_number_changes_the_key(change):
    assert item(**change).key != item().key


def test_the_key_is_about_values_not_about_how_they_are_written():
    assert item(settings={"a": 1, "b": (2, 3)}).key == item(settings={"b": [2, np.int64(3)], "a": 1}).key


def test_what_has_no_plain_value_is_refused():
    with pytest.raises(TypeError, match=r"can't be kept in a result"):
        item(settings={"function": len}).key  # noqa: B018


@pytest.mark.parametrize("part", provenance.MADE_BY)
def test_other_code_or_libraries_compute_anew(store, monkeypatch, part):
    store.put(item(), profile="quick")
    other = provenance.provenance() | {part: "other"}
    monkeypatch.setattr(results, "provenance", lambda: other)
    assert store.missing([item()]) == [item()]
    assert store.rows().empty
    assert len(store.rows(outdated=True)) == 1


def test_source_hash_follows_what_can_change_a_number(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "baselines").mkdir()
    hashes = [provenance.source_hash(tmp_path)]
    for name in ("solver.py", "baselines/chan_vese.py", "cli.py", "experiments/table1.py", "results.py"):
        (tmp_path / name).write_text("pass\n")
        hashes.append(provenance.source_hash(tmp_path))
    assert len(set(hashes)) == 3
    assert hashes[2] == hashes[-1]
    (tmp_path / "solver.py").write_bytes(b"pass\r\n")  # line ends are git's business
    assert provenance.source_hash(tmp_path) == hashes[-1]


def test_a_second_put_keeps_the_row_unless_told_to_replace_it(store):
    assert store.put(item(), profile="quick", iou=0.1)
    assert not store.put(item(), profile="quick", iou=0.2)
    assert store.get(item())["iou"] == 0.1
    assert store.put(item(), profile="quick", iou=0.3, replace=True)
    assert list(store.rows()["iou"]) == [0.3]


def test_rows_can_be_chosen_and_have_their_columns_even_when_none_is_there(store):
    empty = store.rows()
    assert tuple(empty.columns) == results.COLUMNS and empty["f_measure"].dtype == float
    assert empty["f_measure"].mean() is not None
    for name in ("b", "a"):
        store.put(item(name), profile="quick")
        store.put(item(name, method="grabcut"), profile="cpu")
    assert list(store.rows(profile="cpu")["image"]) == ["a", "b"]
    assert list(store.rows([item("b"), item("c"), item("a")])["image"]) == ["b", "a"]
    assert len(store.rows(settings={"nu": 1.0})) == 4


def test_complete_computes_only_what_is_missing(store):
    computed = []

    def watched(unit):
        computed.extend(item.image for item in unit)
        return compute(unit)

    store.complete([item("a")], watched, workers=1, progress=False)
    rows = store.complete([item("bb"), item("a")], watched, workers=1, progress=False)
    assert computed == ["a", "bb"]
    assert list(rows["image"]) == ["bb", "a"] and list(rows["f_measure"]) == [0.2, 0.1]
    store.complete([item("a")], watched, recompute=True, workers=1, progress=False)
    assert computed == ["a", "bb", "a"] and len(store.rows()) == 2


def test_items_are_computed_together_as_they_are_put_together(store):
    seen = []

    def watched(unit):
        seen.append([item.image for item in unit])
        return compute(unit)

    def pairs(items):
        return [Unit(items[first : first + 2]) for first in range(0, len(items), 2)]

    store.put(item("bb"), profile="quick")
    rows = store.complete(map(item, ["a", "bb", "ccc", "dddd"]), watched, units=pairs, workers=1, progress=False)
    assert seen == [["a", "ccc"], ["dddd"]]
    assert rows["image"].tolist() == ["a", "bb", "ccc", "dddd"] and rows["f_measure"][3] == 0.4
    assert str(Unit([item(), item("cat")])) == "samples/coffee, chan-vese (default), seed 0 and 1 more"


CHEAP_RUN = """
    import sys, time
    from deepcv.results import Item, Store

    def compute(unit):
        time.sleep(0.02)
        return [{"profile": "quick", "f_measure": item.seed / 60} for item in unit]

    if __name__ == "__main__":
        import cheap_run
        with Store(sys.argv[1]) as store:
            items = [Item("table1", "samples", "coffee", "chan-vese", seed=seed) for seed in range(60)]
            print(len(store.missing(items)), flush=True)
            store.complete(items, cheap_run.compute, workers=int(sys.argv[2]), progress=False)
"""


@pytest.fixture
def cheap_run(tmp_path):
    script = tmp_path / "cheap_run.py"
    script.write_text(textwrap.dedent(CHEAP_RUN))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    def start(workers):
        command = [sys.executable, str(script), str(tmp_path / "store.sqlite"), str(workers)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def _count(path):
    with Store(path) as store:
        return len(store.rows())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_where_it_was(cheap_run, tmp_path, workers):
    path = tmp_path / "store.sqlite"
    first = cheap_run(workers)
    until = time.monotonic() + 60
    while time.monotonic() < until and _count(path) < 8:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    kept = _count(path)
    assert 8 <= kept < 60
    with Store(path) as store:
        before = store.rows()
    second = cheap_run(workers)
    out, err = second.communicate(timeout=60)
    assert (out, err) == (f"{60 - kept}\n", "")
    with Store(path) as store:
        rows = store.rows()
    assert list(rows["seed"]) == list(range(60))
    np.testing.assert_array_equal(rows["f_measure"], np.arange(60) / 60)
    pd.testing.assert_frame_equal(rows[rows["key"].isin(before["key"])].reset_index(drop=True), before)


def test_two_runs_fill_one_store_at_once(cheap_run, tmp_path):
    runs = [cheap_run(1), cheap_run(1)]
    assert [run.communicate(timeout=60)[1] for run in runs] == ["", ""]
    with Store(tmp_path / "store.sqlite") as store:
        assert list(store.rows()["seed"]) == list(range(60))


def _write(path, seeds):
    with Store(path) as store:
        for seed in seeds:
            store.put(item(seed=seed), profile="quick", labels=np.eye(30, dtype=np.uint8))


def test_processes_that_open_a_new_store_at_the_same_moment_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "store.sqlite"
    writers = [context.Process(target=_write, args=(path, range(10 * n, 10 * n + 20))) for n in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert _count(path) == 70


def _grown(path):
    with Store(path) as store:
        for seed in range(40):
            store.put(item(seed=seed), profile="quick", extra={"padding": "x" * 2000})
    return path


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_truncated_store_says_so_and_what_to_do(tmp_path, share):
    path = _grown(tmp_path / "store.sqlite")
    with open(path, "r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with pytest.raises(InputError, match=r"store.sqlite is damaged .* move it .* away") as caught:
        Store(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_store_is_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    with pytest.raises(InputError, match=r"is damaged"):
        Store(text)
    assert text.read_text() == "not a database " * 100
    import sqlite3

    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(InputError, match=r"another program"):
        Store(tmp_path / "other.sqlite")


def test_a_store_of_another_layout_is_refused(tmp_path, monkeypatch):
    Store(tmp_path / "store.sqlite").close()
    monkeypatch.setattr(results, "_LAYOUT", 99)
    with pytest.raises(InputError, match=r"has layout 1, this version of deepcv reads layout 99; move it away"):
        Store(tmp_path / "store.sqlite")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"can't be made in .*file.*DEEPCV_RESULTS"):
        Store(tmp_path / "file" / "store.sqlite")


def test_the_results_folder_is_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPCV_RESULTS", raising=False)
    (tmp_path / "results" / "paper").mkdir(parents=True)
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "deeper")
    assert results.root() == tmp_path / "results"
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "elsewhere"))
    assert results.root() == tmp_path / "elsewhere"


def test_the_numbers_of_table_1_are_the_papers(monkeypatch):
    monkeypatch.chdir(os.path.dirname(__file__))
    monkeypatch.delenv("DEEPCV_RESULTS", raising=False)
    table = recorded.paper("table1").set_index("method")
    assert table.loc["deep-cv"].to_dict() == {"f_measure": 0.87, "iou": 0.79}
    assert table["f_measure"].idxmin() == "normalized-cuts"
    assert len(table) == 5
    with pytest.raises(InputError, match=r"called 'tabel1'; there are .*table1"):
        recorded.paper("tabel1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_without_a_recorded_run_there_are_the_columns(folder):
    rows, provenance = recorded.recorded("table1")
    assert rows.empty and tuple(rows.columns) == recorded.RECORDED and provenance == {}
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


@pytest.mark.parametrize("name", ["ours", "double_dip"])
def test_every_measured_number_is_recorded_and_merged_under_its_name(folder, store, tmp_path, name):
    rows = store.complete([item("a")], compute, workers=1, progress=False)
    measured = rows.assign(extra=[{"measured": {name: 0.25}}])
    recorded.record(measured, "figure10b", folder=tmp_path / "piece")
    recorded.merge(tmp_path / "piece", "figure10b")
    assert recorded.recorded("figure10b")[0][name].tolist() == [0.25]


def test_recording_does_not_depend_on_the_order_of_the_rows(folder, store):
    rows = store.complete([item(image) for image in "abc"], compute, workers=1, progress=False)
    text = recorded.record(rows, "table1").read_text()
    assert recorded.record(rows.iloc[::-1], "table1").read_text() == text


def test_what_is_no_single_run_is_not_recorded(folder, store):
    with pytest.raises(InputError, match=r"no row to record"):
        recorded.record(store.rows(), "table1")
    rows = store.complete([item(), item(settings={"nu": 2.0})], compute, workers=1, progress=False)
    with pytest.raises(InputError, match=r"coffee has two rows"):
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
    with pytest.raises(InputError, match=r"can't be read .* restore both files"):
        recorded.recorded("table1")


def test_nothing_is_left_when_recording_fails(folder, store, monkeypatch):
    rows = store.complete([item()], compute, workers=1, progress=False)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        recorded.record(rows, "table1")
    assert not list(folder.rglob("*.*"))


def test_a_figure_is_saved_for_print_and_for_the_screen_and_given_back(folder, monkeypatch):
    from matplotlib.figure import Figure

    def drawn():
        figure = Figure(figsize=(2, 1))
        figure.subplots().set_xlabel("σ of the noise")
        return figure

    figure = drawn()
    assert pictures.saved(figure, "figure07") is figure
    svg, png = ((folder / "figures" / f"figure07.{kind}").read_bytes() for kind in ("svg", "png"))
    assert "σ of the noise" in svg.decode() and png.startswith(b"\x89PNG")
    pictures.saved(drawn(), "figure07")
    assert (folder / "figures" / "figure07.svg").read_bytes() == svg, "the same figure, the same file"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"No space left on device.*DEEPCV_RESULTS"):
        pictures.saved(figure, "another")
    assert {path.name for path in (folder / "figures").iterdir()} == {"figure07.svg", "figure07.png"}


def test_what_the_repository_records_can_be_read(repository, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(repository / "results"))
    files = {path.stem for path in (repository / "results" / "recorded").glob("*.csv")}
    assert {*timings.NAMES} <= files <= {*recording.WANTED, *timings.NAMES}
    for name in timings.NAMES:
        rows, made_by = timings.recorded(name)
        assert len(rows) and {"machine", "libraries"} <= set.intersection(*map(set, made_by.values()))
    for name in files - {*timings.NAMES}:
        rows, described = recorded.recorded(name)
        assert len(rows) == described["rows"] and not rows.duplicated(list(recorded.RECORDED_AS)).any()
        for digest, run in described["runs"].items():
            made = rows[rows["run"] == digest]
            assert len(made) == run["rows"]
            assert set(made["method"]) == {run["method"]} and set(made["preset"]) == {run["preset"]}


def test_device_kinds():
    assert devices.device_kind("cpu") == "cpu"
    with pytest.raises(InputError, match=r"no device 'tpux' here; use cpu"):
        devices.device_kind("tpux")


def test_provenance_is_plain():
    json.dumps(provenance.provenance())
    assert set(provenance.provenance()) == {"package", "source", "libraries", "machine"}
    assert provenance.provenance()["libraries"]["opencv"]
