"""Filling recorded runs: only what is missing, within the time, and nothing that was computed is lost."""

import math
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deepcv import parallel
from deepcv.companion import compute, recorded, recording
from deepcv.companion.experiments import experiment
from deepcv.companion.experiments.experiment import Experiment
from deepcv.companion.items import Item
from deepcv.companion.store import Store
from deepcv.data import load_dataset
from deepcv.errors import InputError
from deepcv.methods import METHODS

IMAGES = ("modes-blob", "modes-disk", "modes-pair", "overlap-pair")
HASHES = {name: sample.hash for sample in load_dataset("samples") if (name := sample.name) in IMAGES}


class Tiny(Experiment):
    """An experiment of four images, with the code hash "now" unless another is given."""

    def __init__(self, methods=("saliency", "grabcut"), code="now", conditions=None, **settings):
        super().__init__("tiny", "Tiny", SimpleNamespace, list, lambda rows: rows)
        object.__setattr__(self, "given", (methods, code, conditions or {}, settings))

    def items(self, settings=None, *, device="cpu"):
        methods, code, conditions, settings = self.given
        return [
            Item(
                "tiny",
                "samples",
                image,
                method,
                settings=settings,
                conditions=conditions,
                data_hash=HASHES[image],
                code=code,
            )
            for image in IMAGES
            for method in methods
        ]


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """A results folder, a stand-in for computing, and the names of the items that were computed."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(recording, "_MERGING", 0)
    names = []

    def compute_unit(unit, profile, device, measure=None):
        names.extend(f"{item.image} {item.method}" for item in unit)
        return [{"profile": profile, "f_measure": 0.5, "seconds": 0.2, "hint_seconds": 0.1} for _ in unit]

    monkeypatch.setattr(compute, "compute", compute_unit)
    return names


def gap_of(experiment, profile="quick", into=None):
    return recording.find_gap(experiment, profile=profile, device="cpu", into=into)


def fill(*experiments, into=None, **options):
    said = []
    options = {"profile": "quick", "device": "cpu", "workers": 1, "progress": False} | options
    recording.fill([gap_of(each, into=into) for each in experiments], into=into, report=said.append, **options)
    return said


def _recorded(folder=None):
    rows = recorded.recorded("tiny", folder)[0]
    return set(rows["image"] + " " + rows["method"])


ALL = {f"{image} {method}" for image in IMAGES for method in ("saliency", "grabcut")}


def test_what_is_missing_is_computed_once_and_recorded(computed):
    (said,) = fill(Tiny())
    assert set(computed) == ALL and len(computed) == 8 and _recorded() == ALL
    assert said.startswith("tiny: 8 rows merged into ") and said.endswith("tiny.csv, 0 left to compute")
    assert fill(Tiny()) == ["nothing is missing"]
    assert len(computed) == 8


def test_rows_of_other_settings_conditions_profiles_or_images_are_missing(computed, monkeypatch):
    fill(Tiny(conditions={"variant": "plain", "sigma": 10.0, "note": ""}))
    same = Tiny(conditions={"variant": "plain", "sigma": 10, "note": ""})
    assert len(gap_of(same).missing) == 0
    assert len(gap_of(same, profile="cpu").missing) == 8
    for other in (
        Tiny(iterations=3),
        Tiny(conditions={"variant": "plain"}),
        Tiny(conditions={"variant": "other", "sigma": 10.0}),
    ):
        assert len(gap_of(other).missing) == 8
    monkeypatch.setitem(HASHES, IMAGES[0], "another")
    assert len(gap_of(same).missing) == 2


def test_rows_say_which_truth_they_were_scored_by_if_there_are_several(computed, monkeypatch):
    truths = {}

    def loaded(name):
        return load_dataset(name).only(IMAGES).map(lambda each: replace(each, truth=truths.get(each.name, "")))

    monkeypatch.setattr(experiment, "load_dataset", loaded)
    groups = [experiment.Group(experiment.Images.load("samples"), [experiment.variant("saliency")])]
    options = {"profile": "quick", "seeds": [0], "device": "cpu"}
    tiny = Experiment("tiny", "Tiny", lambda profile: SimpleNamespace(**options), lambda _: groups, lambda rows: rows)
    fill(tiny)
    assert "truth" not in recorded.recorded("tiny")[0]
    truths |= {"modes-blob": "official", "modes-disk": "trimap"}
    assert len(gap_of(tiny).missing) == 2  # not those that say nothing
    fill(tiny)
    rows = recorded.recorded("tiny")[0]
    assert sorted(rows["truth"]) == ["", "", "", "", "official", "trimap"]
    assert not gap_of(tiny).missing


def test_a_setting_that_older_code_did_not_know_is_at_its_default(computed, monkeypatch):
    monkeypatch.setattr(recording, "_preset", lambda method, preset: {"iterations": 5, "speed": {"up": 1, "down": 2}})
    fill(Tiny(iterations=5, speed={"up": 3}))
    gaps = [gap_of(Tiny(iterations=5, speed={"up": 3, "down": down})) for down in (2, 4)]
    assert [len(gap.missing) for gap in gaps] == [0, 8]


def test_a_setting_without_effect_makes_no_row_missing():
    settings = METHODS["deep-cv"].settings()
    same, other = (
        recording._fingerprint(Item("tiny", "tiny", "a", "deep-cv", settings=settings | change))
        == recording._fingerprint(Item("tiny", "tiny", "a", "deep-cv", settings=settings))
        for change in ({"sureness": "otsu", "warmup": 3}, {"rounds": 1})
    )
    assert same and not other


def test_rows_whose_code_changed_are_counted_and_computed_again_only_when_wanted(computed):
    fill(Tiny(["saliency"]))
    gap = gap_of(Tiny(code="newer"))
    assert len(gap.missing) == len(gap.outdated) == 4
    del computed[:]
    fill(Tiny(code="newer"))
    assert set(computed) == {f"{image} grabcut" for image in IMAGES}
    fill(Tiny(code="newer"), outdated=True)
    assert set(computed) == ALL
    assert {run["code"] for run in recorded.recorded("tiny")[1]["runs"].values()} == {"newer"}


def test_what_would_take_too_long_is_not_started(computed):
    fill(Tiny())
    with Store() as store:
        pace = recording.Pace(store, ["tiny"], profile="quick", device="cpu")
    assert pace.hint == 0.1
    long, short = (Tiny([method]).units(Tiny([method]).items())[0] for method in ("grabcut", "saliency"))
    for _ in range(9):
        pace.learn(long, [{"seconds": 5.0}])
    now = time.monotonic()
    assert list(recording._in_time([long, short], pace, now + 5.05)) == [short], "5 s and the hint"
    assert list(recording._in_time([long, short], pace, now + 60)) == [long, short]
    assert list(recording._in_time([long, short], pace, now)) == []


def test_after_its_time_no_experiment_is_looked_at(computed, monkeypatch):
    looked = []
    monkeypatch.setattr(Tiny, "units", lambda self, items: looked.append(items) or [])
    fill(Tiny(), until=time.monotonic() - 1)
    assert not looked and not computed


def test_a_network_that_is_not_trained_takes_an_unknown_time(computed, monkeypatch):
    fill(Tiny(["saliency"]))
    item = Tiny(["amortized"]).items()[0]
    with Store() as store:
        pace = recording.Pace(store, ["tiny"], profile="quick", device="cpu")
    pace.learn([item], [{"seconds": 0.01}])
    monkeypatch.setattr(recording, "is_trained", lambda item: False)
    assert math.isnan(pace.of(item))
    monkeypatch.setattr(recording, "is_trained", lambda item: True)
    assert pace.of(item) == 0.01


def test_an_item_of_unknown_time_is_started(computed):
    fill(Tiny(["saliency"]), until=time.monotonic() + 60)
    assert len(computed) == 4


def test_the_pace_here_counts_before_that_of_recorded_rows(computed, tmp_path, monkeypatch):
    fill(Tiny(["saliency"]))
    item = Tiny(["saliency"]).items()[0]
    with Store(tmp_path / "fresh.sqlite") as store:
        pace = recording.Pace(store, ["tiny"], profile="quick", device="cpu")
        assert pace.of(item) == 0.2
        pace.learn([item], [{"seconds": 3.0}])
        assert pace.of(item) == 3.0
        assert math.isnan(recording.Pace(store, ["tiny"], profile="quick", device="cuda X").of(item))


def test_what_is_in_work_when_the_time_is_over_is_dropped_and_the_rest_is_kept(computed, monkeypatch):
    quick = compute.compute

    def slow(unit, **options):
        if len(computed) == 2:
            time.sleep(10)
        return quick(unit, **options)

    monkeypatch.setattr(compute, "compute", slow)
    before = signal.getsignal(signal.SIGALRM)
    started = time.monotonic()
    said = fill(Tiny(), until=started + 1.5)
    assert time.monotonic() - started < 5
    assert len(_recorded()) == 2 and said[0].endswith("6 left to compute")
    assert signal.getsignal(signal.SIGALRM) is before
    monkeypatch.setattr(compute, "compute", quick)
    fill(Tiny())
    assert _recorded() == ALL and len(computed) == 8, "it continues from there"


@pytest.mark.parametrize("how", ["interrupted", "failing"])
def test_what_was_computed_is_kept_when_it_ends_early(computed, monkeypatch, how):
    good = compute.compute

    def ends(unit, **options):
        if len(computed) == 3:
            if how == "failing":
                raise ZeroDivisionError("by nought")
            os.kill(os.getpid(), signal.SIGINT)
        return good(unit, **options)

    monkeypatch.setattr(compute, "compute", ends)
    with pytest.raises(KeyboardInterrupt if how == "interrupted" else parallel.ItemError):
        fill(Tiny())
    assert len(_recorded()) == 3


def test_rows_are_merged_on_the_way(computed, monkeypatch):
    good, merged = compute.compute, []

    def looking(unit, **options):
        merged.append(len(_recorded()))
        return good(unit, **options)

    monkeypatch.setattr(compute, "compute", looking)
    monkeypatch.setattr(recording, "_MERGED_EVERY", 0)
    fill(Tiny())
    assert merged == [0, 1, 2, 3, 4, 5, 6, 7]


def test_rows_that_a_killed_session_left_in_the_store_are_recorded(computed):
    with Store() as store:
        for item in Tiny().items()[:5]:
            store.put(item, profile="paper", f_measure=0.25)
    fill(Tiny())
    assert len(computed) == 3 and _recorded() == ALL
    assert set(recorded.recorded("tiny")[0]["profile"]) == {"quick"}


def test_pieces_are_computed_elsewhere_and_merged(computed, tmp_path, monkeypatch):
    fill(Tiny(["saliency"]))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "borrowed"))
    fill(Tiny(), into=tmp_path / "piece")
    assert _recorded() == set() and _recorded(tmp_path / "piece") == ALL
    del computed[:]
    fill(Tiny(), into=tmp_path / "piece")
    assert computed == [], "what is in the folder isn't missing"
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    said = []
    recording.merge(tmp_path / "piece", report=said.append)
    assert _recorded() == ALL
    assert said[0].startswith("tiny: 4 rows added, ")
    with pytest.raises(InputError, match=r"no recorded run in .*nowhere"):
        recording.merge(tmp_path / "nowhere")


def test_the_listing_counts_and_computes_nothing(computed):
    options = {"profile": "quick", "device": "cpu", "workers": 2}
    table = recording.listing([gap_of(Tiny())], **options)
    assert table.loc[("tiny", "quick"), "missing"] == 8 and math.isnan(table["minutes"].iloc[0]) and not computed
    with Store() as store:
        first, second = Tiny().items()[:2]
        store.put(first, profile="quick", seconds=60.0, hint_seconds=6.0)
        store.put(second, profile="quick", seconds=120.0)
        recorded.record(store.rows([first]), "tiny")
    row = recording.listing([gap_of(Tiny())], **options).iloc[0]
    assert row["recorded"] == 1 and row["missing"] == 7 and row["code changed since"] == 0
    assert row["minutes"] == pytest.approx((3 * 60 / 2 + 4 * 120 / 2 + 4 * 6) / 60)
    assert recording.listing([gap_of(Tiny(code="newer"))], **options)["code changed since"].tolist() == [1]


def test_a_limit_of_ages_is_none():
    with recording._stopped_at(time.monotonic() + 1e12):
        pass


def test_outside_the_main_thread_there_is_no_alarm():
    went = []

    def block():
        with recording._stopped_at(time.monotonic() + 0.01):
            time.sleep(0.05)
            went.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert went
