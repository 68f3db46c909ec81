"""The benchmark's smallest part runs, and its counts are right."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not part of the installed package", allow_module_level=True)
sys.path.insert(0, str(ROOT))  # they lie beside the package

from benchmarks import __main__ as bench  # noqa: E402
from benchmarks import contenders, iteration, measure  # noqa: E402
from deepcv import methods  # noqa: E402
from deepcv.companion import timings  # noqa: E402
from deepcv.errors import InputError  # noqa: E402


def test_smallest_part_runs_and_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    arguments = ["scaling", "--sizes", "64", "--contenders", "chan-vese:exact"]
    assert bench.main(arguments) == 0
    assert "chan-vese:exact" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "benchmarks" / "benchmark.csv")
    assert len(rows) == 1 and rows["contender"].item() == "chan-vese:exact" and rows["device"].item() == "cpu"
    assert 0 < rows["seconds"].item() < 10 and 0 <= rows["f_measure"].item() <= 1
    assert 50 < rows["baseline_mib"].item() <= rows["peak_mib"].item() < 2000
    described = json.loads((tmp_path / "benchmarks" / "benchmark.json").read_text())
    assert described["rows"] == 1 and {"machine", "libraries", "options"} <= described["made_by"]["scaling, cpu"].keys()


def test_what_would_take_too_long_or_too_much_memory_is_left_out():
    row = {"size": 64, "seconds": 1.0, "baseline_mib": 100.0, "peak_mib": 101.0}
    assert not bench.too_much(row, 128, longest=4.0)
    assert bench.too_much(row, 256, longest=4.0) == "it would take some 16 s"
    stepwise = row | {"seconds": 1e6, "seconds_a_step": 31.0}
    assert bench.too_much(stepwise, 128, longest=4.0) == "a step would take some 124 s"
    assert not bench.too_much(stepwise | {"seconds_a_step": 30.0}, 128, longest=4.0)
    assert "GiB" in bench.too_much(row | {"peak_mib": 2.0**40}, 128, longest=1e9)


def test_every_part_runs_unless_some_are_named():
    assert tuple(bench._parser().parse_args([]).parts) == bench.PARTS
    assert bench._parser().parse_args(["scaling"]).parts == ["scaling"]


def test_rows_take_the_place_of_those_of_the_same_part_and_device(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    for part, device, seconds in (("images", "cpu", 1.0), ("images", "cuda", 2.0), ("images", "cpu", 3.0)):
        rows = pd.DataFrame({"part": [part], "device": [device], "seconds": [seconds]})
        bench._write(rows, "benchmark", SimpleNamespace(record=True))
    kept = pd.read_csv(tmp_path / "recorded" / "benchmark.csv")
    assert kept["device"].tolist() == ["cuda", "cpu"] and kept["seconds"].tolist() == [2, 3]
    described = json.loads((tmp_path / "recorded" / "benchmark.json").read_text())
    assert described["made_by"].keys() == {"images, cpu", "images, cuda"} and described["rows"] == 2


def timed(images, *, peers=1.0, **ours):
    """Rows of part "images": each peer takes `peers` seconds, each of ours its own."""
    seconds = dict.fromkeys(timings.YARDSTICKS, peers) | ours
    rows = [(image, contender, taken) for image in images for contender, taken in seconds.items()]
    rows = pd.DataFrame(rows, columns=["image", "contender", "seconds"])
    return rows.assign(part="images", dataset="samples", timed="whole run")


def test_a_slowdown_is_told_from_a_slow_machine():
    before = timed("abc", ours=2.0, other=1.0, left=1.0)
    found = timings.slower(timed("bcd", peers=3.0, ours=6.0, other=9.0), before)
    assert found.index.tolist() == ["other", "ours"] and found["images"].tolist() == [2, 2]
    assert found["times slower"].tolist() == pytest.approx([3.0, 1.0])
    with pytest.raises(InputError, match="no image was timed in both"):
        timings.slower(timed("de"), before)


def test_the_processors_seconds_count_where_they_were_measured():
    before, busy = timed("ab", ours=2.0), timed("ab", ours=9.0)
    spent = np.where(busy["contender"] == "ours", 3.0, 1.0)
    assert timings.slower(busy.assign(cpu_seconds=spent), before)["times slower"].tolist() == pytest.approx([1.5])
    spent[busy["image"] == "b"] = np.nan
    found = timings.slower(busy.assign(cpu_seconds=spent), before)
    assert found["times slower"].tolist() == pytest.approx([(1.5 + 4.5) / 2])


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (4.0, 1)])
def test_check_writes_nothing_and_tells_by_its_status(factor, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    before = timed("ab", hint=1.0, **{"deep-cv": 2.0})
    monkeypatch.setattr(timings, "recorded", lambda name: (before, {}))
    here = before.assign(seconds=before["seconds"] * np.where(before["contender"] == "hint", factor, 1.0))
    monkeypatch.setattr(bench, "_images", lambda hints, options: here.to_dict("records"))
    assert bench.main(["--check"]) == status
    said = capsys.readouterr()
    assert "times slower" in said.out
    sentence = "the hint takes 4 times as long as the peers, 1 times when it was recorded: 4 times slower on 2 images"
    assert [line.startswith(sentence) for line in said.err.splitlines()] == [True] * status
    assert not (tmp_path / "benchmarks").exists()


def test_check_without_a_recorded_benchmark_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(timings, "recorded", lambda name: (pd.DataFrame(columns=["part"]), {}))
    assert bench.main(["--check"]) == 2
    assert "no benchmark is recorded to compare with; record one with --record" in capsys.readouterr().err


def test_every_preset_of_the_methods_that_are_timed_takes_part():
    taking_part = {*contenders.names(), *contenders.SCALING}
    assert {"deep-cv", "chan-vese", "chan-vese:exact", "grabcut", *contenders.STEPWISE} <= taking_part
    for name in taking_part:
        assert callable(contenders.function(name, "cpu"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pictures"], "there is no part 'pictures'"),
        (["profile", "--profiled", "large"], "the size is 'large'"),
        (["profile", "--profiled", "2x3x64x64"], "the size is '2x3x64x64'"),
        (["images", "--contenders", "nobody"], "there is no method 'nobody'"),
        (["images", "--device", "gpu9"], "gpu9"),
    ],
)
def test_what_cannot_be_measured_is_named(arguments, named, capsys):
    assert bench.main(arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("name", ["deep-cv:released", "feature-clustering"])
def test_a_step_of_a_slow_preset_is_timed_and_scaled(name, tmp_path):
    image = {"dataset": "samples", "image": "overlap-disk"}
    np.save(measure.hint_path(tmp_path, image), np.linspace(0, 1, 144 * 144).reshape(144, 144))
    job = {"contender": name, "device": "cpu", "patience": 0.0, "hints": str(tmp_path)}
    [row] = measure.measure(job | {"tasks": [image | {"size": 32}]})
    method, _, preset = name.partition(":")
    steps = methods.get_method(method).settings(preset or "default")["steps"]
    assert row["steps_timed"] == 1 and row["steps"] == steps > 50 and row["height"] == row["width"] == 32
    assert row["seconds"] == pytest.approx(steps * row["seconds_a_step"])
    assert "f_measure" not in row


def test_operations_of_the_default_networks_are_counted():
    # forward: 3×3 from 3 to 8, from 8 to 8, 1×1 to 1; backward: once more for the weights and once for what goes in,
    # but for the image itself
    forward = 9 * (3 * 8 + 8 * 8) + 8 * 1
    operations, convolution_bytes, all_bytes = iteration.counted((24, 40))
    assert operations == 2 * 24 * 40 * (3 * forward - 9 * 3 * 8)
    assert 0 < convolution_bytes < all_bytes


def test_a_step_of_training_is_profiled_and_its_images_counted(monkeypatch):
    monkeypatch.setattr(iteration, "machine_rates", lambda device: {"convolution": 1e11, "copy": 1e10})
    monkeypatch.setattr(iteration, "STEPS", 3)
    monkeypatch.setattr(iteration, "WARM_UP", 1)
    rows = iteration.rows("cpu", ["2x64x64"]).set_index(["kind", "name"])["value"]
    assert rows["rate", "training images"] == pytest.approx(2e3 / rows["step", "all"])
    assert rows["phase"].sum() == pytest.approx(rows["step", "all"], rel=0.02)
    assert rows["rate", "images read"] > rows["rate", "training images"]
    assert iteration.counted((4, 64, 64))[0] == 2 * rows["count", "operations of convolutions"]
