"""Recomputing recorded rows: drawn at random, what disagrees is named, what can't be recomputed is counted."""

import pytest

from deepcv.companion import checking, networks, recorded
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.items import Item
from deepcv.companion.store import Store
from deepcv.data import load_dataset
from deepcv.errors import InputError
from deepcv.methods import METHODS

TABLE = EXPERIMENTS["table1"]


@pytest.fixture
def table(tmp_path, monkeypatch, instant_hints):
    """Some rows of Table 1 on embedded images, computed and recorded; gives their number."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setenv("DEEPCV_CACHE", str(tmp_path / "cache"))
    settings = TABLE.settings(methods=("saliency", "hint-cut"), n_images=2, device="cpu")
    rows = TABLE.run(settings, workers=1, progress=False)
    recorded.record(rows, "table1")
    return len(rows)


def put(item, **scores):
    with Store() as store:
        store.put(item, profile="quick", **scores)
        recorded.record(store.rows([item]), item.experiment)


def hash_of(image):
    samples = load_dataset("samples")
    return samples[samples.names.index(image)].hash


def check(*names, count=100, **options):
    said = []
    experiments = [EXPERIMENTS[name] for name in names or ["table1"]]
    agree = checking.check(experiments, count, workers=1, progress=False, report=said.append, **options)
    return agree, said


def test_recomputed_rows_agree(table):
    agree, said = check()
    assert agree and said == [
        f"table1: {table} of {table} rows agree",
        f"in all {table} of {table} recomputed rows agree",
    ]


def test_a_number_that_disagrees_is_named_with_both_values(table):
    settings = TABLE.settings(methods=("saliency",), n_images=1, device="cpu")
    (item,) = TABLE.items(settings)
    before, _ = recorded.recorded("table1")
    mine = before[(before["method"] == "saliency") & (before["image"] == item.image)].iloc[0]
    with Store() as store:
        scores = {
            name: mine[name]
            for name in ("f_measure", "iou", "accuracy", "f_measure_oracle", "iou_oracle", "accuracy_oracle")
        }
        scores |= {"f_measure": mine["f_measure"] + 0.003, "iou": mine["iou"] + 0.001, "seconds": 1e6}
        store.put(item, profile="quick", replace=True, **scores)
        recorded.record(store.rows([item]), "table1")
    agree, said = check()
    assert not agree
    assert f"{table - 1} of {table} rows agree" in said[-2]
    (wrong,) = [each for each in said if item.image in each]
    assert f"f_measure {mine['f_measure'] + 0.003:.4f} recorded, {mine['f_measure']:.4f} here" in wrong
    assert "iou" not in wrong and "seconds" not in wrong
    assert "what fits networks moves with the processor" in said[-3]


def test_the_draw_has_as_many_rows_as_asked_for_and_depends_on_the_seed(table, monkeypatch):
    drawn = []

    def recomputed(unit, device):
        drawn.extend((item.image, item.method) for item in unit)
        return [{"measured": {}} for _ in unit]

    monkeypatch.setattr(checking, "_recomputed", recomputed)
    for seed in (0, 0, *range(1, 9)):
        check(count=2, seed=seed)
    pairs = [frozenset(drawn[start : start + 2]) for start in range(0, len(drawn), 2)]
    assert len(drawn) == 20 and pairs[0] == pairs[1] and len(set(pairs)) > 1


def test_every_experiment_has_its_turn(table, monkeypatch):
    put(Item("choices", "samples", "coffee", "saliency", data_hash=hash_of("coffee")), f_measure=0.5)
    monkeypatch.setattr(checking, "_recomputed", lambda unit, device: [{"measured": {}} for _ in unit])
    _, said = check("table1", "choices", count=2)
    assert [each.partition(":")[0] for each in said[:2]] == ["table1", "choices"]


def test_rows_without_their_images_are_left_out_and_counted(table):
    put(Item("table1", "weizmann-of-nobody", "a", "saliency"), f_measure=0.5)
    put(Item("table1", "samples", "coffee", "saliency", seed=7, data_hash="another image"), f_measure=0.5)
    agree, said = check()
    assert agree
    assert "left out: 1 rows whose image isn't here" in said and "left out: 1 rows whose image differs here" in said


def test_networks_are_left_out_unless_trained_or_asked_for(table, monkeypatch):
    settings = METHODS["amortized"].settings()
    item = Item("table1", "samples", "coffee", "amortized", settings=settings, data_hash=hash_of("coffee"))
    put(item, f_measure=0.5)
    sentence = "left out: 1 rows of networks that aren't trained here; name their experiment to train them"
    assert sentence in check()[1]
    monkeypatch.setattr(checking, "_recomputed", lambda unit, device: [{"measured": {}} for _ in unit])
    assert f"in all {table + 1} of {table + 1} recomputed rows agree" in check(trained=True)[1]
    monkeypatch.setattr(networks, "is_trained", lambda item: True)
    assert f"in all {table + 1} of {table + 1} recomputed rows agree" in check()[1]


def test_what_is_measured_counts_where_there_is_no_mask():
    row = {"z": 0.5, "energy": 12000.0, "f_measure": float("nan"), "seconds": 1.0}
    assert checking._differences(row, {"seconds": 9.0, "measured": {"z": 0.5015, "energy": 12020.0}}) == ""
    wrong = checking._differences(row, {"seconds": 9.0, "measured": {"z": 0.503, "energy": 12030.0}})
    assert wrong == "z 0.5000 recorded, 0.5030 here; energy 12000.0000 recorded, 12030.0000 here"
    assert "nan recorded" in checking._differences(row, {"measured": {"new": 1.0}})
    assert checking._differences(row | {"f_measure": 0.5}, {"f_measure": 0.5, "measured": {"z": 9.0}}) == ""


def test_nothing_to_recompute_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    (tmp_path / "recorded").mkdir()
    with pytest.raises(InputError, match="no recorded row"):
        check("playground")
