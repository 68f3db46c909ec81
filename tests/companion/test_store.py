"""The store keeps each finished row once, whatever happens."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from deepcv import provenance
from deepcv.companion import items
from deepcv.companion import store as results
from deepcv.companion.items import Item, Unit
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


def compute(unit):
    return [{"profile": "quick", "f_measure": len(item.image) / 10, "seconds": 0.1} for item in unit]


def test_a_row_comes_back_as_it_was_put(store):
    labels = np.eye(9, 12, dtype=np.uint8)
    assert store.get(item()) is None
    assert store.put(item(), profile="quick", f_measure=0.123456789, labels=labels, measured={"dice": np.float32(0.5)})
    row = store.get(item())
    assert row["f_measure"] == 0.123456789
    assert np.isnan(row["iou"])
    assert row["settings"] == {"nu": 1.0} and row["dice"] == 0.5 and row["profile"] == "quick"
    assert row["created"].endswith("+00:00")
    np.testing.assert_array_equal(store.labels(item()), labels)


def test_a_row_says_which_machine_computed_it(store):
    elsewhere = provenance.provenance() | {"machine": {"cpu": "another"}}
    store.put(item(), profile="quick", made_by=elsewhere)
    assert store.get(item())["machine"] == {"cpu": "another"}


@pytest.mark.parametrize(("part", "value"), [("numpy", "0.1"), ("source", "abc")])
def test_rows_that_other_code_or_libraries_computed_are_refused(store, part, value):
    made_by = provenance.provenance() | {part: value}
    made_by["libraries"] = made_by["libraries"] | ({part: value} if part == "numpy" else {})
    with pytest.raises(InputError, match=rf"what computed .*coffee.* has {part} {value}, here it is"):
        store.put(item(), profile="quick", made_by=made_by)
    assert store.rows().empty


def test_unknown_scores_and_names_of_other_columns_are_refused(store):
    with pytest.raises(TypeError, match=r"no score 'f_mesure'; choose from f_measure"):
        store.put(item(), profile="quick", f_mesure=1)
    with pytest.raises(TypeError, match=r"a column 'iou' already"):
        store.put(item(), profile="quick", measured={"iou": 1.0})
    with pytest.raises(TypeError, match=r"a column 'sigma' already"):
        store.put(item(conditions={"sigma": 1}), profile="quick", measured={"sigma": 1.0})
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
        {"conditions": {"sigma": 5}},
        {"code": "f00"},
    ],
)
def test_whatever_can_change_the_number_changes_the_key(change):
    assert item(**change).key != item().key


def test_the_key_is_about_values_not_about_how_they_are_written():
    assert item(settings={"a": 1, "b": (2, 3)}).key == item(settings={"b": [2, np.int64(3)], "a": 1}).key


def test_what_has_no_plain_value_is_refused():
    with pytest.raises(TypeError, match=r"can't be stored"):
        item(settings={"function": len}).key  # noqa: B018


def test_other_libraries_compute_anew(store, monkeypatch):
    store.put(item(), profile="quick")
    other = provenance.provenance() | {"libraries": {"numpy": "0.1"}}
    monkeypatch.setattr(items, "provenance", lambda: other)
    assert store.missing([item()]) == [item()] and store.get(item()) is None
    assert len(store.rows()) == 1, "the row of the other libraries is still in the file"


def test_a_second_put_keeps_the_row_unless_told_to_replace_it(store):
    assert store.put(item(), profile="quick", iou=0.1)
    assert not store.put(item(), profile="quick", iou=0.2)
    assert store.get(item())["iou"] == 0.1
    assert store.put(item(), profile="quick", iou=0.3, replace=True)
    assert list(store.rows()["iou"]) == [0.3]


def test_rows_come_sorted_or_in_the_order_of_the_items(store):
    empty = store.rows()
    assert tuple(empty.columns) == results.COLUMNS and empty["f_measure"].dtype == float
    assert np.isnan(empty["f_measure"].mean())
    for name in ("b", "a"):
        store.put(item(name), profile="quick")
        store.put(item(name, method="grabcut"), profile="cpu")
    rows = store.rows()
    assert rows[rows["profile"] == "cpu"]["image"].tolist() == ["a", "b"]
    assert list(store.rows([item("b"), item("c"), item("a")])["image"]) == ["b", "a"]


def test_each_condition_and_each_measured_number_is_a_column(store):
    noisy = item(conditions={"variant": "4 samples", "sigma": 100, "clipped": True})
    store.put(noisy, profile="quick", measured={"rise": 0.5, "energy": np.nan})
    alone = store.rows([noisy])
    assert alone.columns[-5:].tolist() == ["clipped", "sigma", "variant", "energy", "rise"]
    assert alone["clipped"].dtype == bool and alone["sigma"].tolist() == [100] and np.isnan(alone["energy"][0])
    store.put(item(conditions={"pixels": 128}), profile="quick")
    rows = store.rows([noisy, item(conditions={"pixels": 128})])
    assert rows["variant"].tolist() == ["4 samples", ""]
    assert rows["sigma"][0] == 100 and np.isnan(rows["sigma"][1]) and np.isnan(rows["rise"][1])
    assert rows["clipped"][0] is True and np.isnan(rows["clipped"][1])
    assert rows[rows["clipped"] == True].index.tolist() == [0]  # noqa: E712
    assert rows["conditions"].tolist() == [noisy.conditions, {"pixels": 128}]


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
    from deepcv.companion.items import Item
    from deepcv.companion.store import Store

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
        noise = np.random.default_rng(0).integers(256, size=(40, 50), dtype=np.uint8)
        for seed in range(40):
            store.put(item(seed=seed), profile="quick", labels=noise)
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
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(InputError, match=r"another program"):
        Store(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before


def test_a_store_of_another_layout_is_refused(tmp_path, monkeypatch):
    Store(tmp_path / "store.sqlite").close()
    monkeypatch.setattr(results, "_LAYOUT", 99)
    with pytest.raises(InputError, match=r"has layout \d+, this version of deepcv needs 99; move it away"):
        Store(tmp_path / "store.sqlite")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"can't make .*file.*DEEPCV_RESULTS"):
        Store(tmp_path / "file" / "store.sqlite")


def test_the_results_folder_is_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPCV_RESULTS", raising=False)
    (tmp_path / "results" / "paper").mkdir(parents=True)
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / "deeper")
    assert results.root() == tmp_path / "results"
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "elsewhere"))
    assert results.root() == tmp_path / "elsewhere"
