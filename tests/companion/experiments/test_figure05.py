"""Figure 5 shows Table 2's masks of some test images, each in its place, and trains nothing of its own."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion import compute
from deepcv.companion.experiments import figure05, table2
from deepcv.companion.experiments.figure05 import EXPERIMENT, Settings
from deepcv.companion.store import Store
from deepcv.data import flowerlike
from deepcv.errors import InputError

pytest.importorskip("lightning_fabric", reason="install the extra `train`")

TINY = {"levels": 1, "width": 4, "model_width": 4, "discriminator_width": 4, "batch": 2, "epochs": 1}


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """A profile of seconds, everything kept aside."""
    monkeypatch.setenv("DEEPCV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path / "results"))
    for split, count in {"train": 4, "val": 2, "test": 9}.items():
        monkeypatch.setitem(flowerlike.COUNTS, split, count)
    compute._sample.cache_clear()  # other pictures have the same names
    networks = {"amortized:paper": TINY}
    for settings in (table2.Settings, Settings):
        changes = {"n_train": 4, "n_images": 8, "networks": networks, "methods": (*networks, "saliency")}
        monkeypatch.setitem(settings.profiles, "quick", settings.profiles["quick"] | changes)
    matplotlib.use("Agg")


def test_items_are_table_2s_of_the_last_epoch_and_the_first_seed():
    ours = EXPERIMENT.items(Settings(seeds=(3, 4)))
    theirs = table2.EXPERIMENT.items(table2.Settings(seeds=(3, 4)))
    assert {item.key for item in ours} < {item.key for item in theirs}
    assert {(item.seed, item.conditions["split"]) for item in ours} == {(3, "test")}
    assert {(item.method, item.conditions["chosen"]) for item in ours} == {("amortized", "last"), ("saliency", "")}


def test_images_are_spread_over_the_test_split_unless_named():
    names = figure05.scored(Settings(), "test").samples.names
    assert len(names) == 8
    assert figure05.shown(Settings()).samples.names == tuple(names[index * 8 // 6] for index in range(6))
    assert figure05.shown(Settings(images=names[1:2])).samples.names == names[1:2]
    with pytest.raises(InputError, match="no image 'rose' among these 8"):
        EXPERIMENT.items(Settings(images=["rose"]))


def test_grid_shows_the_masks_that_the_store_keeps():
    settings = Settings(n_images=2)
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    assert len(rows) == 2 * 2
    with Store() as store:
        kept = [store.labels(item) for item in EXPERIMENT.items(settings)]
    assert all(labels.shape == (32, 32) for labels in kept)
    axes = np.array(figure05.plot(rows).axes).reshape(2, 4)
    titles = [" ".join(axis.get_title().split()) for axis in axes[0]]
    assert titles == ["image", "ground truth", "Algorithm 3, paper's settings", "Saliency [34], Otsu"]
    for line, name in zip(axes, figure05.shown(settings).samples.names, strict=True):
        assert line[0].get_ylabel() == name
        iou = rows.set_index(["image", "method"]).loc[(name, "saliency"), "iou"]
        assert line[3].get_xlabel() == f"IoU {iou:.2f}"


def test_table_has_the_iou_of_each_image_and_method():
    rows = pd.DataFrame(
        {"method": method, "preset": "default", "chosen": chosen, "image": image, "iou": iou}
        for method, chosen, values in (("redo", "last", (0.2, 0.4)), ("chan-vese", "", (0.6, 0.8)))
        for image, iou in zip("ab", values, strict=True)
    )
    table = figure05.summary(rows)
    assert table.to_dict() == {"ReDO [13]": {"a": 0.2, "b": 0.4}, "Chan-Vese [11]": {"a": 0.6, "b": 0.8}}


def test_chan_vese_is_compared_by_how_good_its_hint_is():
    rows = pd.DataFrame(
        {
            "method": method,
            "preset": "default",
            "chosen": chosen,
            "dataset": "flowers17",
            "split": "test",
            "image": image,
            "iou": iou,
            "seed": 0,
        }
        for method, chosen, values in (
            ("saliency", "", (0.4, 0.6, 0.95, 0.0)),
            ("amortized", "last", (0.5, 0.8, 0.9, 0.3)),
            ("amortized", "validation", (0.0, 0.0, 0.0, 0.0)),
            ("chan-vese", "", (0.3, 0.7, 0.98, 0.1)),
        )
        for image, iou in zip("abcd", values, strict=True)
    )
    table = figure05.by_hint(rows)
    assert list(table.index) == ["0 to 0.5", "0.5 to 0.7", "0.9 to 1"]
    assert table["Chan-Vese better"].tolist() == [0, 0, 1]
    assert table["its lead, median"].tolist() == pytest.approx([-0.2, -0.1, 0.08])
    assert table["images"].tolist() == [2, 1, 1]
