"""Tables 2 and 3, epochs: a network is trained once for all its images and pages, and its rows are like others'."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from deepcv import parallel
from deepcv.amortized import model as amortized
from deepcv.amortized import training
from deepcv.companion import compute, networks
from deepcv.companion.experiments import epochs, figure05, flowers, table2, table3
from deepcv.data import flowerlike, load_dataset
from deepcv.errors import InputError
from deepcv.methods import get_method
from deepcv.metrics import iou

pytest.importorskip("lightning_fabric", reason="install the extra `train`")

TINY = {"levels": 1, "width": 4, "model_width": 4, "discriminator_width": 4, "batch": 2, "epochs": 2}
NETWORKS = {
    "amortized:default": {**TINY, "hint": "saliency"},
    "amortized:paper": TINY,
    "redo:default": {"width": 8, "generator_width": 4, "mask_width": 4, "latent": 3, "batch": 2, "epochs": 1},
}


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch, instant_hints):
    """A profile of seconds, everything kept aside."""
    monkeypatch.setenv("DEEPCV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    for split, count in {"train": 4, "val": 2, "test": 3}.items():
        monkeypatch.setitem(flowerlike.COUNTS, split, count)
    monkeypatch.setattr(networks, "TIMED", 1)
    monkeypatch.setattr(parallel, "concurrency", lambda workers: 1)  # starting processes takes longer than the work
    compute._sample.cache_clear()  # other pictures have the same names
    sizes = {"n_train": 4, "n_images": 2}
    for settings, more in (
        (table2.Settings, {"networks": NETWORKS, "methods": (*NETWORKS, "saliency")}),
        (figure05.Settings, {"networks": NETWORKS}),
        (table3.Settings, {}),
        (epochs.Settings, {}),
    ):
        monkeypatch.setitem(settings.profiles, "quick", settings.profiles["quick"] | sizes | more)
    monkeypatch.setitem(table2.NETWORKS, "quick", NETWORKS)
    monkeypatch.setitem(table3.CHANGES, "quick", TINY)


@pytest.fixture
def trainings(monkeypatch):
    """What is trained, as it happens."""
    begun, step = [], amortized.Model.step

    def counted(model, *arguments):
        begun.append(id(model))
        return step(model, *arguments)

    monkeypatch.setattr(amortized.Model, "step", counted)
    return begun


def run(module, **changes):
    return module.EXPERIMENT.run(module.Settings(seeds=[0], **changes), workers=1, progress=False)


# -- training for the store --------------------------------------------------------------------------------------------


def test_each_network_is_one_unit_and_segments_every_image_at_both_epochs():
    items = table2.EXPERIMENT.items(table2.Settings(seeds=[0, 1]))
    trained = [unit for unit in compute.units(items) if get_method(unit[0].method).trained]
    assert len(trained) == 2 * len(NETWORKS)
    for unit in trained:
        assert len({(item.method, item.seed) for item in unit}) == 1
        assert len(unit) == 2 * 2 * 2, "images, splits, epochs chosen"


def test_rows_score_the_crops_and_tell_of_the_training(monkeypatch):
    rows = run(table2)
    assert len(rows) == (2 * len(NETWORKS) + 1) * 2 * 2
    assert set(rows["dataset"]) == {"flowerlike"} and set(rows["side"]) == {32}
    assert set(zip(rows["method"], rows["split"], rows["chosen"], strict=True)) == {
        (method, split, chosen)
        for split in ("train", "test")
        for method, epochs in (("amortized", networks.CHOSEN), ("redo", networks.CHOSEN), ("saliency", [""]))
        for chosen in epochs
    }
    assert rows[["accuracy", "iou", "iou_oracle"]].notna().all(axis=None)
    trained = rows[rows["method"] != "saliency"]
    assert trained[["collapsed", "restarts", "epoch", "training_seconds"]].notna().all(axis=None)
    last = trained[(trained["preset"] == "paper") & (trained["chosen"] == "last")]
    assert set(last["epoch"]) == {TINY["epochs"]}
    timed = rows.dropna(subset="network_128")
    assert set(timed["method"] + ":" + timed["preset"]) == {"amortized:default"}
    assert set(timed["split"]) == {"test"}
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
    run(epochs, variants=["printed", "taught by our masks"])
    assert len(trainings) == after
    run(table3, constraints=["AuI"])
    assert len(trainings) == after + TINY["epochs"] * 2


def test_a_network_is_scored_after_one_two_four_epochs_and_the_last():
    assert networks.epochs_kept(1) == (1,) and networks.epochs_kept(6) == (1, 2, 4, 6)
    rows = run(epochs, variants=["neither constraint"])
    assert (rows["after"] == rows["epoch"]).all() and set(rows["after"]) == {1, 2} and len(rows) == 2 * 2
    (row,) = epochs.summary(rows).to_dict("records")
    last = rows.loc[rows["after"] == 2, "iou_oracle"].mean()
    disk = flowers.baseline_iou("disk", "flowerlike", "test", 32, tuple(rows["image"].unique()))
    assert disk != flowers.baseline_iou("disk", "flowerlike", "test", 32), "that is over more images"
    assert row["epochs"] == 2 and row["oracle"] == pytest.approx(last)
    assert row["over the disk"] == pytest.approx(last - disk)
    assert rows["alike"].between(0, 1).all() and row["alike"] == rows.loc[rows["after"] == 2, "alike"].mean()
    assert len(epochs.plot(rows).axes) == len(epochs.CURVES)


def test_masks_are_alike_where_a_network_does_not_look_at_the_images():
    disk = np.hypot(*np.mgrid[-4:5, -4:5]) < 3
    assert networks._alike([disk] * 3) == [1, 1, 1]
    assert networks._alike([disk, disk, ~disk]) == [1, 1, 0]
    assert np.isnan(networks._alike([disk, disk[1:]])).all()


def test_an_early_epoch_is_scored_before_the_later_ones_are_trained(trainings):
    """What is recorded of it doesn't depend on how far the training has gone since."""
    settings = epochs.Settings(seeds=[0], variants=["neither constraint"])
    first, second = epochs.EXPERIMENT.units(epochs.EXPERIMENT.items(settings))
    early = compute.compute(first, "quick", "cpu")
    assert len(trainings) == 2, "one epoch of two iterations"
    compute.compute(second, "quick", "cpu")
    assert len(trainings) == 2 * TINY["epochs"]
    again = compute.compute(first, "quick", "cpu")
    assert [row["measured"] for row in again] == [row["measured"] for row in early]
    assert [row["iou"] for row in again] == [row["iou"] for row in early]


def test_epochs_that_not_all_seeds_have_reached_are_not_averaged():
    columns = {
        "variant": "printed",
        "dataset": "flowerlike",
        "split": "test",
        "side": 32,
        "iou": 0.5,
        "collapsed": 0.0,
        "alike": 0.5,
    }
    reached = [(0, 1, 0.6), (0, 2, 0.1), (1, 1, 0.8)]
    image = load_dataset("flowerlike", split="test", side=32).names[0]
    rows = pd.DataFrame(
        [
            {**columns, "image": image, "seed": seed, "after": after, "iou_oracle": score}
            for seed, after, score in reached
        ]
    )
    row = epochs.summary(rows).loc["printed"]
    assert (row["epochs"], row["seeds"], row["at"]) == (1, 2, 1) and row["oracle"] == pytest.approx(0.7)
    means = [line for line in epochs.plot(rows).axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in means] == [1]


def test_a_mask_for_all_crops_is_scored_where_there_is_a_truth():
    samples = load_dataset("flowerlike", split="test", side=32)
    found = flowers.baseline_iou("mean mask", "flowerlike", "test", 32)
    votes = np.mean([each.mask for each in load_dataset("flowerlike", split="train", side=32)], axis=0)
    assert found == pytest.approx(np.mean([iou(votes > 0.5, each.mask) for each in samples]))


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
    sample = load_dataset("flowerlike", split="test", side=32)[0]
    items = table2.EXPERIMENT.items(table2.Settings(methods=["saliency"]))
    item = next(item for item in items if item.image == sample.name)
    ignore = sample.ignore.copy()
    ignore[:8] = True
    found = get_method("saliency").function(sample.image)
    turned = dataclasses.replace(found, labels=found.labels.copy())
    turned.labels[:8] = 1 - turned.labels[:8]
    scores = [
        compute._labels_and_scores(item, each, dataclasses.replace(sample, ignore=ignore)) for each in (found, turned)
    ]
    assert scores[0]["iou"] == scores[1]["iou"] and scores[0]["accuracy"] == scores[1]["accuracy"]


def test_only_images_that_were_trained_on_count_as_training_images():
    settings = table2.Settings(n_train=3, n_images=10)
    names = load_dataset("flowerlike", split="train").names
    assert flowers.scored(settings, "train").samples.names == names[:3]
    assert len(flowers.scored(settings, "test").samples) == 3


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "experiment, given, said",
    [
        (table2, {"dataset": "weizmann"}, "dataset is 'weizmann'; it must be 'flowers102', 'flowers17'"),
        (table2, {"methods": ["redo:paper"]}, "no network 'redo:paper'; there are amortized:default"),
        (table2, {"methods": ["magic"]}, "no method 'magic'"),
        (table2, {"methods": ["vese-chan"]}, "vese-chan:default gives more than two regions"),
        (table2, {"epochs": 0}, "epochs is 0"),
        (table3, {"constraints": ["BCE"]}, "constraints is 'BCE'; it must be 'none', 'AuI'"),
        (table3, {"starts": ["hint"]}, "starts is 'hint'; it must be 'paper' or 'default'"),
    ],
)
def test_what_is_not_there_is_a_sentence(experiment, given, said):
    with pytest.raises(InputError, match=said):
        experiment.Settings(**given)


@pytest.mark.parametrize("profile", table3.Settings.profiles)
def test_what_is_none_takes_the_profiles_value(profile):
    settings = table3.Settings(profile, constraints=None, starts=None, dataset=None, n_images=None)
    assert settings.constraints == ("none", "AuI", "CRI", "AuI+CRI")
    assert settings.starts == (("paper", "default") if profile == "paper" else ("paper",))


def test_chan_veses_length_weighs_the_same_on_smaller_crops():
    asked = [table2.Settings(size=size, methods=["chan-vese"]) for size in (64, 128)]
    settings = [table2.variants(each)[0].settings for each in asked]
    assert settings[1]["nu"] == table2.CHAN_VESE_NU == 2 * settings[0]["nu"]


# -- the tables --------------------------------------------------------------------------------------------------------


def rows_of(scores):
    """`scores` holds for each value of a column a list of mIoU by seed, the same for two images, 0.1 more on the
    second."""
    ((column, by_value),) = scores.items()
    return pd.DataFrame(
        {
            "dataset": "flowers17",
            "split": split,
            "side": 64,
            "chosen": "last",
            "image": f"{image}",
            "method": "amortized",
            "preset": "paper",
            "seed": seed,
            "accuracy": score,
            "iou": score + 0.1 * image,
            "accuracy_oracle": score,
            "iou_oracle": score + 0.2,
            "seconds": 1.0,
            "collapsed": float(score < 0.2),
            column: value,
        }
        for value, scores in by_value.items()
        for seed, score in enumerate(scores)
        for image in (0, 1)
        for split in ("train", "test")
    )


def test_the_table_averages_seeds_and_tells_their_range():
    row = table2.summary(rows_of({"preset": {"default": [0.5, 0.6]}})).loc["amortized:default"]
    assert row["test mIoU"] == row["train mIoU"] == pytest.approx(0.6)
    assert (row["by seed"], row["images"], row["seeds"]) == ("0.550–0.650", 2, 2)
    assert row["test mIoU oracle"] == pytest.approx(0.75)


def test_constraints_are_compared_with_none_and_collapses_counted():
    table = table3.summary(rows_of({"constraints": {"none": [0.1, 0.5], "AuI+CRI": [0.4, 0.5]}}))
    assert table.loc["AuI and CRI", "mIoU change"] == pytest.approx(0.15)
    assert table.loc["AuI and CRI", "interval"] == "-1.756 to +2.056"  # 0.15 and 12.706 times 0.15
    single = table3.summary(rows_of({"constraints": {"none": [0.1], "AuI": [0.4]}}))
    assert single.loc["AuI", "interval"] == "one seed"
    assert list(table["collapsed"]) == [1, 0]
    assert pd.isna(table.loc["neither", "mIoU change"])


def test_each_start_is_compared_with_its_own_reference():
    rows = [rows_of({"constraints": {"none": [low], "CRI": [0.4]}}).assign(preset=preset)
            for preset, low in (("paper", 0.1), ("default", 0.3))]  # fmt: skip
    table = table3.summary(pd.concat(rows))
    assert table.loc["CRI", "mIoU change"] == pytest.approx(0.3)
    assert table.loc["CRI, from a hint", "mIoU change"] == pytest.approx(0.1)


def test_recorded_rows_stand_beside_one_another_by_collection(monkeypatch):
    ours = rows_of({"preset": {"default": [0.5], "paper": [0.4]}})
    papers = ours[ours["preset"] == "paper"].assign(dataset="flowers102", iou=0.7)
    monkeypatch.setattr(table2, "full_run", lambda name: pd.concat([ours, papers]))
    table = table2.compared(ours)
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == [
        "this run",
        "recorded, Flowers-102",
        "recorded, Flowers-17",
        "paper, Flowers-102",
    ]
    row = table.loc["Algorithm 3, paper's settings"]
    assert row[("recorded, Flowers-102", "test mIoU")] == pytest.approx(0.7)
    assert row[("recorded, Flowers-17", "test mIoU")] == pytest.approx(0.45)
    assert pd.isna(table.loc["Algorithm 3, our default", ("recorded, Flowers-102", "test mIoU")])
    for dataset, label in (("flowers17", "ReDO [13], ours hardly trained"), ("flowers102", "ReDO [13]")):
        redo = papers.assign(method="redo", preset="default", dataset=dataset)
        monkeypatch.setattr(table2, "full_run", lambda name, redo=redo: pd.concat([ours, papers, redo]))
        assert label in table2.compared(ours).index
    told = table2.finding(pd.concat([ours, papers]))
    assert "photographs of Flowers-102 is 0.700" in told and "0.550 (Algorithm 3, our default)" in told


def test_titles_name_the_method_and_how_the_epoch_was_chosen():
    rows = rows_of({"chosen": {"last": [0.5], "validation": [0.6]}})
    table = table2.decided(rows)
    assert list(table.index) == ["Algorithm 3, paper's settings, best on validation", "Algorithm 3, paper's settings"]
    assert table2.title("redo:default") == "ReDO [13]"
    assert table2.title("chan-vese:default") == "Chan-Vese [11]"


def test_trainings_are_told_once_per_network():
    rows = rows_of({"chosen": {"last": [0.5, 0.1], "validation": [0.6, 0.6]}})
    table = table2.trainings(rows.assign(training_seconds=120.0, epoch=8.0, restarts=1.0))
    assert list(table.index) == ["Algorithm 3, paper's settings"]
    assert table.iloc[0].to_dict() == {"minutes": 2, "epochs": 8, "restarts": 2, "collapsed": 1, "seeds": 2}
