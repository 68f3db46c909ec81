"""Filling recorded runs: only what lacks, within the time, and nothing that was computed is lost."""

import math
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deepcv import parallel as execution
from deepcv import provenance
from deepcv.companion import compute as _scored
from deepcv.companion import recorded, recording
from deepcv.companion.experiments import table1
from deepcv.companion.store import Item, Store
from deepcv.data import load_dataset
from deepcv.errors import InputError
from deepcv.methods import METHODS

IMAGES = ("modes-blob", "modes-disk", "modes-pair", "overlap-pair")
HASHES = {name: sample.hash for sample in load_dataset("samples") if (name := sample.name) in IMAGES}


def experiment(methods=("saliency", "grabcut"), **settings):
    """A module like those of `deepcv.companion.experiments.experiment`."""

    def items(_):
        return [
            Item("tiny", "samples", image, method, settings=settings, data_hash=HASHES[image])
            for image in IMAGES
            for method in methods
        ]

    return SimpleNamespace(
        __name__="deepcv.companion.experiments.experiment.tiny", Settings=SimpleNamespace, items=items
    )


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """A results folder, a stand-in for computing, and the names of the items that were computed."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(recording, "_MERGING", 0)
    names = []

    def compute(unit, profile, device):
        names.extend(f"{item.image} {item.method}" for item in unit)
        return [{"profile": profile, "f_measure": 0.5, "seconds": 0.2, "extra": {"hint_seconds": 0.1}} for _ in unit]

    monkeypatch.setattr(_scored, "compute", compute)
    return names


def fill(*experiments, into=None, **options):
    gaps = [recording.find_gap(each, profile="quick", device="cpu", into=into) for each in experiments]
    said = []
    options = {"profile": "quick", "device": "cpu", "workers": 1, "progress": False} | options
    recording.fill(gaps, into=into, report=said.append, **options)
    return said


def _recorded(folder=None):
    rows = recorded.recorded("tiny", folder)[0]
    return set(rows["image"] + " " + rows["method"])


ALL = {f"{image} {method}" for image in IMAGES for method in ("saliency", "grabcut")}


def test_what_lacks_is_computed_once_and_recorded(computed):
    (said,) = fill(experiment())
    assert set(computed) == ALL and len(computed) == 8 and _recorded() == ALL
    assert said.startswith("tiny: 8 rows merged into ") and said.endswith("tiny.csv, 0 lacking")
    assert fill(experiment()) == ["nothing is lacking"]
    assert len(computed) == 8


def test_rows_of_other_settings_or_images_lack(computed, monkeypatch):
    fill(experiment())
    assert len(recording.find_gap(experiment(iterations=3), profile="quick").lacking) == 8
    assert len(recording.find_gap(experiment(), profile="cpu").lacking) == 8
    monkeypatch.setitem(HASHES, IMAGES[0], "another")
    assert len(recording.find_gap(experiment(), profile="quick").lacking) == 2


def test_a_setting_that_older_code_did_not_know_is_at_its_default(computed, monkeypatch):
    monkeypatch.setattr(recording, "_defaults", lambda method, preset: {"iterations": 5, "speed": "high"})
    fill(experiment(iterations=5))
    gaps = [
        recording.find_gap(experiment(iterations=5, speed=speed), profile="quick", device="cpu")
        for speed in ("high", "low")
    ]
    assert [len(gap.lacking) for gap in gaps] == [0, 8]


def test_a_setting_without_effect_makes_no_row_lack():
    settings = METHODS["deep-cv"].settings()
    row = SimpleNamespace(method="deep-cv", preset="default", dataset="tiny", image="a", seed=0)
    same, other = (
        recording._fingerprint("cpu", "hash", settings | change, row)
        == recording._fingerprint("cpu", "hash", settings, row)
        for change in ({"start": "random", "warmup": 3}, {"rounds": 1})
    )
    assert same and not other


def test_rows_of_older_code_are_counted_and_computed_again_only_when_wanted(computed, monkeypatch):
    fill(experiment(["saliency"]))
    monkeypatch.setitem(provenance.provenance(), "source", "newer")
    gap = recording.find_gap(experiment(), profile="quick", device="cpu")
    assert len(gap.lacking) == len(gap.outdated) == 4
    del computed[:]
    fill(experiment())
    assert set(computed) == {f"{image} grabcut" for image in IMAGES}
    fill(experiment(), outdated=True)
    assert set(computed) == ALL
    assert {run["source"] for run in recorded.recorded("tiny")[1]["runs"].values()} == {"newer"}


def test_what_would_take_too_long_is_not_begun(computed):
    fill(experiment())
    with Store() as store:
        pace = recording.Pace(store, ["tiny"], profile="quick", device="cpu")
    assert pace.hint == 0.1
    long, short = (_scored.units(experiment([method]).items(None))[0] for method in ("grabcut", "saliency"))
    pace._now["grabcut", "default"] = [1.0, 5.0, 99.0]
    now = time.monotonic()
    assert list(recording._in_time([long, short], pace, now + 5.05)) == [short], "5 s and the hint"
    assert list(recording._in_time([long, short], pace, now + 60)) == [long, short]
    assert list(recording._in_time([long, short], pace, now)) == []


def test_what_nothing_is_known_of_is_begun(computed):
    fill(experiment(["saliency"]), until=time.monotonic() + 0.5)
    assert len(computed) > 0


def test_the_pace_of_this_code_counts_before_that_of_older_code(computed, monkeypatch):
    fill(experiment(["saliency"]))
    item = experiment(["saliency"]).items(None)[0]
    with Store() as store:
        monkeypatch.setitem(provenance.provenance(), "source", "newer")
        pace = recording.Pace(store, ["tiny"], profile="quick", device="cpu")
        assert pace.of(item) == 0.2
        pace.learn([item], [{"seconds": 3.0, "extra": {}}])
        assert pace.of(item) == 3.0
        assert math.isnan(recording.Pace(store, ["tiny"], profile="quick", device="cuda X").of(item))


def test_what_is_in_work_when_the_time_is_over_is_given_up_and_the_rest_is_kept(computed, monkeypatch):
    quick = _scored.compute

    def compute(unit, **options):
        if len(computed) == 2:
            time.sleep(10)
        return quick(unit, **options)

    monkeypatch.setattr(_scored, "compute", compute)
    before = signal.getsignal(signal.SIGALRM)
    started = time.monotonic()
    said = fill(experiment(), until=started + 1.5)
    assert time.monotonic() - started < 5
    assert len(_recorded()) == 2 and said[0].endswith("6 lacking")
    assert signal.getsignal(signal.SIGALRM) is before
    monkeypatch.setattr(_scored, "compute", quick)
    fill(experiment())
    assert _recorded() == ALL and len(computed) == 8, "it goes on from there"


@pytest.mark.parametrize("how", ["interrupted", "failing"])
def test_what_was_computed_is_kept_when_it_ends_early(computed, monkeypatch, how):
    good = _scored.compute

    def ends(unit, **options):
        if len(computed) == 3:
            if how == "failing":
                raise ZeroDivisionError("by nought")
            os.kill(os.getpid(), signal.SIGINT)
        return good(unit, **options)

    monkeypatch.setattr(_scored, "compute", ends)
    with pytest.raises(KeyboardInterrupt if how == "interrupted" else execution.ItemError):
        fill(experiment())
    assert len(_recorded()) == 3


def test_rows_that_a_killed_session_left_in_the_store_are_recorded(computed):
    with Store() as store:
        for item in experiment().items(None)[:5]:
            store.put(item, profile="paper", f_measure=0.25)
    fill(experiment())
    assert len(computed) == 3 and _recorded() == ALL
    assert set(recorded.recorded("tiny")[0]["profile"]) == {"quick"}


def test_pieces_are_computed_elsewhere_and_merged(computed, tmp_path, monkeypatch):
    fill(experiment(["saliency"]))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "borrowed"))
    fill(experiment(), into=tmp_path / "piece")
    assert _recorded() == set() and _recorded(tmp_path / "piece") == ALL
    del computed[:]
    fill(experiment(), into=tmp_path / "piece")
    assert computed == [], "what is in the folder does not lack"
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    said = []
    recording.merge(tmp_path / "piece", report=said.append)
    assert _recorded() == ALL
    assert said[0].startswith("tiny: 4 rows added, ")
    with pytest.raises(InputError, match=r"no recorded run in .*nowhere"):
        recording.merge(tmp_path / "nowhere")


def test_the_listing_counts_and_computes_nothing(computed):
    gap = recording.find_gap(experiment(), profile="quick", device="cpu")
    options = {"profile": "quick", "device": "cpu", "workers": 2}
    table = recording.listing([gap], **options)
    assert table["lacking"].tolist() == [4, 4] and table["minutes"].isna().all() and not computed
    with Store() as store:
        first = experiment().items(None)[0]
        store.put(first, profile="quick", seconds=60.0, extra={"hint_seconds": 6.0})
        recorded.record(store.rows([first]), "tiny")
    gap = recording.find_gap(experiment(), profile="quick", device="cpu")
    table = recording.listing([gap], **options)
    saliency = table.loc[("tiny", "saliency", "default")]
    assert saliency["recorded"] == 1 and saliency["lacking"] == 3 and saliency["outdated"] == 0
    assert saliency["minutes"] == pytest.approx(3 * (60 / 2 + 6) / 60)
    assert math.isnan(table.loc[("tiny", "grabcut", "default"), "minutes"])


# -- units -------------------------------------------------------------------------------------------------------------


def _deep(device="cuda X", seeds=(0, 1)):
    settings = table1.Settings(methods=("deep-cv", "saliency"), size=32, seeds=seeds, device="cpu")
    items = [item for item in table1.items(settings) if item.image in IMAGES]
    return [replace(item, device=device) for item in items]


def test_a_gpu_gets_images_of_the_deep_model_together_and_the_cpu_one_by_one():
    assert {len(unit) for unit in _scored.units(_deep("cpu"))} == {1}
    units = _scored.units(_deep())
    assert [len(unit) for unit in units if unit[0].method == "deep-cv"] == [8]
    assert [len(unit) for unit in units if unit[0].method == "saliency"] == [1] * 4
    units = [unit for unit in _scored.units(_deep(), batch=3) if unit[0].method == "deep-cv"]
    assert [len(unit) for unit in units] == [3, 3, 2]
    flat = [item for unit in units for item in unit]
    assert [item.seed for item in flat] == [0] * 4 + [1] * 4
    shapes = [_scored.load_sample(item.dataset, item.image).image.shape for item in flat[:4]]
    assert shapes == sorted(shapes), "those of one size are next to each other"
    assert {item.key for item in flat} == {item.key for item in _deep() if item.method == "deep-cv"}


def test_a_batch_is_one_call_and_gives_each_image_its_row(monkeypatch):
    from deepcv.model import solver

    calls = []

    def batch(images, hints=None, *, seeds, device=None, progress=False, **settings):
        calls.append((len(images), seeds, settings["size"]))
        return [
            solver.Segmentation(labels := (hint > 0.5).astype("uint8"), labels[None] * [[[1]], [[0]]], seconds=0.25)
            for image, hint in zip(images, hints, strict=True)
        ]

    monkeypatch.setitem(METHODS, "deep-cv", replace(METHODS["deep-cv"], batch=batch))
    monkeypatch.setattr(_scored, "device_kind", lambda _: "cuda X")
    monkeypatch.setattr(
        _scored, "_hints_of", lambda unit: [_scored.load_sample("samples", i.image).mask * 1.0 for i in unit]
    )
    (unit,) = _scored.units([item for item in _deep(seeds=(0,)) if item.method == "deep-cv"])
    rows = _scored.compute(unit, profile="quick", device=None)
    assert calls == [(4, [0] * 4, 32)]
    assert [row["f_measure"] for row in rows] == [1.0] * 4 and {row["seconds"] for row in rows} == {0.25}


def test_hints_of_a_batch_are_found_in_processes_and_kept(monkeypatch):
    found = []

    def run(function, names, **options):
        found.append(list(names))
        return [(name, name) for name in names]

    monkeypatch.setattr(execution, "run", run)
    monkeypatch.setattr(_scored, "_hints", {})
    unit = _scored.Unit(_deep("cpu"))
    names = [("samples", item.image) for item in unit]
    assert _scored._hints_of(unit) == names and len(found[0]) == 4
    assert _scored._hints_of(unit) == names and found[1] == []


def test_another_device_or_image_than_asked_for_is_refused():
    (unit, *_) = _scored.units([item for item in _deep("cuda X") if item.method == "saliency"])
    with pytest.raises(InputError, match="it is for cuda X, but here is cpu"):
        _scored.compute(unit, profile="quick", device="cpu")
    other = _scored.Unit([replace(_deep("cpu")[0], data_hash="another")])
    with pytest.raises(InputError, match="is another image here; fetch samples anew"):
        _scored.compute(other, profile="quick", device="cpu")


def test_outside_the_main_thread_there_is_no_alarm():
    went = []

    def block():
        with recording._given_up_at(time.monotonic() + 0.01):
            time.sleep(0.05)
            went.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert went
