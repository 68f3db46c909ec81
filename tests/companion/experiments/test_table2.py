"""Tables 2 and 3, Figure 5: a network is trained once for all its images and pages, and its rows are like others'."""

import dataclasses

import pandas as pd
import pytest

from deepcv import parallel as execution
from deepcv.amortized import model as amortized
from deepcv.amortized import training
from deepcv.companion import compute as _scored
from deepcv.companion import networks as _trained
from deepcv.companion.experiments import figure05, table2, table3
from deepcv.companion.store import Store
from deepcv.data import flowerlike, load_dataset
from deepcv.errors import InputError

pytest.importorskip("lightning_fabric", reason="install the extra `train`")

TINY = {"levels": 1, "width": 4, "model_width": 4, "discriminator_width": 4, "batch": 2, "epochs": 2}
NETWORKS = {
    "amortized:default": {**TINY, "hint": "saliency"},
    "amortized:paper": TINY,
    "redo:default": {"width": 8, "mask_width": 4, "latent": 3, "batch": 2, "epochs": 1},
}


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """A profile of seconds, everything kept aside."""
    monkeypatch.setenv("DEEPCV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    for split, count in {"train": 4, "val": 2, "test": 3}.items():
        monkeypatch.setitem(flowerlike.COUNTS, split, count)
    monkeypatch.setattr(_trained, "TIMED", 1)
    monkeypatch.setattr(execution, "concurrency", lambda workers: 1)  # starting processes takes longer than the work
    _scored.load_sample.cache_clear()  # other pictures have the same names
    profile = table2.Profile("flowerlike", 32, 4, 2, NETWORKS, ("saliency",))
    monkeypatch.setitem(table2.PROFILES, "quick", profile)
    monkeypatch.setitem(table3.PROFILES, "quick", table3.Profile("flowerlike", 32, 4, 2, TINY))


@pytest.fixture
def trainings(monkeypatch):
    """What is trained, as it happens."""
    begun, step = [], amortized.Model.step

    def counted(model, *arguments):
        begun.append(id(model))
        return step(model, *arguments)

    monkeypatch.setattr(amortized.Model, "step", counted)
    return begun


def run(experiment, **changes):
    return experiment.run(experiment.Settings(seeds=[0], **changes), workers=1, progress=False)


# -- training for the store --------------------------------------------------------------------------------------------


def test_each_network_is_one_unit_and_segments_every_image_at_both_epochs():
    items = table2.items(table2.Settings(seeds=[0, 1]))
    networks = [unit for unit in _scored.units(items) if unit[0].method in _trained.KINDS]
    assert len(networks) == 2 * len(NETWORKS)
    for unit in networks:
        assert len({(item.method, item.seed) for item in unit}) == 1
        assert len(unit) == 2 * 2 * 2, "images, splits, epochs chosen"


def test_rows_score_the_crops_and_tell_of_the_training(monkeypatch):
    rows = run(table2)
    assert len(rows) == (2 * len(NETWORKS) + 1) * 2 * 2
    assert set(rows["dataset"]) == {"flowerlike-32px-train", "flowerlike-32px-test"}
    assert rows[["accuracy", "iou", "iou_oracle"]].notna().all(axis=None)
    networks = rows[rows["method"].isin(list(_trained.KINDS))]
    assert networks[["collapsed", "restarts", "epoch", "training_seconds"]].notna().all(axis=None)
    last = networks[networks["preset"] == "paper"]
    assert set(last["epoch"]) == {TINY["epochs"]}
    timed = rows.dropna(subset="network_128")
    assert set(timed["method"] + ":" + timed["preset"]) == {"amortized:default"}
    assert (timed[["network_128", "chan_vese_128", "network_batch"]] > 0).all(axis=None)
    printed = pd.DataFrame({"method": ["amortized", "chan-vese"], "seconds": [0.02, 1.95]})
    monkeypatch.setattr(table2, "paper", lambda name: printed)
    table = table2.seconds(rows)
    assert table.loc["times as long", "paper"] == pytest.approx(97.5)
    assert (table["ours"] > 0).all() and len(table) == 4


def test_pages_share_a_network(trainings):
    run(table2, methods=["amortized:default", "amortized:paper"])
    after = len(trainings)
    assert after == 2 * TINY["epochs"] * 2
    run(figure05, methods=["amortized:default"])
    run(table3, constraints=["AuI+CRI"])  # the paper's settings have both
    assert len(trainings) == after
    run(table3, constraints=["AuI"])
    assert len(trainings) == after + TINY["epochs"] * 2


def test_a_training_that_was_stopped_goes_on(trainings, monkeypatch):
    class Stopped(BaseException):
        pass

    keep = training._Job.keep

    def stopping(*arguments):
        keep(*arguments)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(training._Job, "keep", stopping)
        with pytest.raises(Stopped):
            run(table2, methods=["amortized:paper"])
    run(table2, methods=["amortized:paper"])
    assert len(trainings) == TINY["epochs"] * 2, "the epoch that was kept is not trained again"


def test_the_boundary_of_a_crop_is_not_scored(monkeypatch):
    """Where nobody has said which side a pixel is on, turning it round changes no score."""
    sample = load_dataset("flowerlike-32px-test")[0]
    item = next(item for item in table2.items(table2.Settings(methods=["saliency"])) if item.image == sample.name)
    ignore = sample.ignore.copy()
    ignore[:8] = True
    found = _scored.get_method("saliency").function(sample.image)
    turned = dataclasses.replace(found, labels=found.labels.copy())
    turned.labels[:8] = 1 - turned.labels[:8]
    scores = [
        _scored._labels_and_scores(item, each, dataclasses.replace(sample, ignore=ignore)) for each in (found, turned)
    ]
    assert scores[0]["iou"] == scores[1]["iou"] and scores[0]["accuracy"] == scores[1]["accuracy"]


def test_only_images_that_were_trained_on_count_as_training_images():
    settings = table2.Settings(n_train=3, n_images=10)
    names = load_dataset("flowerlike-train").names
    assert tuple(sample.name for sample in table2.scored(settings, "train")) == names[:3]
    assert len(table2.scored(settings, "test")) == 3


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "experiment, given, said",
    [
        (table2, {"dataset": "weizmann"}, "no collection to train on; there are flowerlike, flowers17"),
        (table2, {"methods": ["redo:paper"]}, "no network 'redo:paper'; there are amortized:default"),
        (table2, {"methods": ["magic"]}, "no method 'magic'"),
        (table2, {"epochs": 0}, "epochs is 0"),
        (table3, {"constraints": ["BCE"]}, "no constraints 'BCE'; there are none, AuI"),
        (table3, {"starts": ["hint"]}, "no start 'hint'; there are paper, default"),
    ],
)
def test_what_is_not_there_is_a_sentence(experiment, given, said):
    with pytest.raises(InputError, match=said):
        experiment.Settings(**given)


def test_an_image_that_is_not_there_is_a_sentence():
    with pytest.raises(InputError, match="no image 'rose' among the 2 of the test"):
        figure05.items(figure05.Settings(images=["rose"]))


def test_chan_veses_length_weighs_the_same_on_smaller_crops():
    settings = [table2.variants(table2.Settings(size=size), ["chan-vese"])[0].settings for size in (64, 128)]
    assert settings[1]["nu"] == table2.CHAN_VESE_NU == 2 * settings[0]["nu"]


# -- the tables --------------------------------------------------------------------------------------------------------


def rows_of(scores, **columns):
    """`scores` holds for each preset a list of mIoU by seed, the same for two images, 0.1 more on the second."""
    return pd.DataFrame(
        {
            "dataset": f"flowers17-64px-{split}",
            "image": f"{image}",
            "method": "amortized",
            "preset": preset,
            "seed": seed,
            "accuracy": value,
            "iou": value + 0.1 * image,
            "accuracy_oracle": value,
            "iou_oracle": value + 0.2,
            "seconds": 1.0,
            "collapsed": float(value < 0.2),
        }
        | columns
        for preset, values in scores.items()
        for seed, value in enumerate(values)
        for image in (0, 1)
        for split in ("train", "test")
    )


def test_the_table_averages_seeds_and_tells_their_range():
    row = table2.summary(rows_of({"default": [0.5, 0.6]})).loc["amortized:default"]
    assert row["test mIoU"] == row["train mIoU"] == pytest.approx(0.6)
    assert (row["by seed"], row["images"], row["seeds"]) == ("0.550–0.650", 2, 2)
    assert row["test mIoU oracle"] == pytest.approx(0.75)


def test_constraints_are_compared_with_none_and_collapses_counted():
    table = table3.summary(rows_of({"none": [0.1, 0.5], "AuI+CRI": [0.4, 0.5]}))
    assert table.loc["AuI and CRI", "mIoU change"] == pytest.approx(0.15)
    assert table.loc["AuI and CRI", "interval"] == "-1.756 to +2.056"  # 0.15 and 12.706 times 0.15
    assert table3.summary(rows_of({"none": [0.1], "AuI": [0.4]})).loc["AuI", "interval"] == "one seed"
    assert list(table["collapsed"]) == [1, 0]
    assert pd.isna(table.loc["neither", "mIoU change"])


def test_titles_name_the_method_and_how_the_epoch_was_chosen():
    assert table2.title("amortized:paper" + table2.VALIDATED) == "Algorithm 3, paper's settings, best on validation"
    assert table2.title("redo:default") == "ReDO [13]"
    assert table2.title("chan-vese:default") == "Chan-Vese [11]"


def test_figure_5_shows_the_masks_that_the_store_keeps():
    settings = figure05.Settings(methods=["amortized:paper", "saliency"])
    rows = figure05.run(settings, workers=1, progress=False)
    assert len(rows) == 2 * 2
    with Store() as store:
        assert all(store.labels(item).shape == (32, 32) for item in figure05.items(settings))
    assert len(figure05.plot(rows, settings).axes) == 2 * 4
