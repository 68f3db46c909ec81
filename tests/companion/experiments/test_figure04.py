"""Figure 4 asks for the right numbers of regions, scores partitions however labelled, and draws them from the store."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import figure04
from deepcv.companion.experiments.figure04 import EXPERIMENT, Settings
from deepcv.companion.store import Store
from deepcv.data import weizmann
from deepcv.errors import InputError


def rows_of(scores):
    """Rows as a store gives them: by method and regions, the mean IoU of each image; the Rand index is half of it."""
    return pd.DataFrame(
        [
            {"dataset": "regions", "image": image, "method": method, "regions": regions, "seed": seed,
             "preset": "regions" if method == "normalized-cuts" else "default",
             "mean_iou_matched": value, "adjusted_rand_index": value / 2, "seconds": 1.0}
            for (method, regions), by_image in scores.items() for image, values in by_image.items()
            for seed, value in enumerate(values)
        ]
    )  # fmt: skip


ROWS = rows_of(
    {
        ("deep-cv", np.nan): {"mean-a": (0.5, 0.7), "texture-b": (0.8, 0.8), "texture-c": (0.4, 0.6)},
        ("normalized-cuts", 3): {"mean-a": (0.9,), "texture-b": (0.1,), "texture-c": (0.2,)},
        ("normalized-cuts", 7): {"mean-a": (0.7,), "texture-b": (0.4,), "texture-c": (0.4,)},
    }
)


def test_each_method_is_asked_for_what_the_paper_asks_it_for():
    settings = Settings("cpu", n_images=12, seeds=[0, 1], photographs=0)
    truth = {sample.name: sample.regions.max() + 1 for sample in figure04.images_of(settings).samples}
    assert set(truth.values()) == {3, 4}
    items = EXPERIMENT.items(settings)
    ours = [item for item in items if item.method == "deep-cv"]
    assert all(item.settings["phases"] == truth[item.image] for item in ours)
    assert len(ours) == 2 * 2 * len(truth)
    assert {item.settings["start"] for item in ours if item.preset == "paper"} == {"random"}
    circles = [item for item in items if item.method == "vese-chan" and item.preset == "default"]
    assert len(circles) == len(truth), "they don't depend on the seed"
    cuts = [item for item in items if item.method == "normalized-cuts"]
    told = {item.image: item.settings["regions"] for item in cuts if "regions" not in item.conditions}
    assert told == truth
    features = [item for item in items if item.method == "feature-clustering"]
    assert {item.image: item.settings["regions"] for item in features} == truth and len(features) == 2 * len(truth)
    counts = [item.conditions.get("regions") for item in cuts if item.image == "mean-bands"]
    assert counts == [*range(3, 21), None]
    assert all(item.seed == 0 and not item.settings["merge"] for item in cuts)


@pytest.mark.skipif(
    not weizmann.photographs_folder(part="2obj").is_dir(), reason="there are no photographs with two objects"
)
def test_photographs_with_two_objects_are_asked_for_three_regions():
    items = EXPERIMENT.items(Settings("cpu", n_images=2, methods=["deep-cv:default"], seeds=[0]))
    added = [item for item in items if item.dataset == figure04.PHOTOGRAPHS]
    assert len(added) == len(items) - len(added) == 2
    assert all(item.settings["phases"] == 3 for item in added)
    named = EXPERIMENT.items(Settings("cpu", dataset="regions", methods=["deep-cv:default"], seeds=[0]))
    assert {item.dataset for item in named} == {"regions"}


def test_photographs_stand_apart():
    photographs = ROWS.assign(dataset=figure04.PHOTOGRAPHS, mean_iou_matched=0.1)
    both = pd.concat([ROWS, photographs], ignore_index=True)
    table = figure04.summary(both)
    pd.testing.assert_frame_equal(table.loc["composites"], figure04.summary(ROWS))
    np.testing.assert_allclose(table.loc["two objects"]["mean IoU"], 0.1)
    pd.testing.assert_frame_equal(figure04.by_kind(both), figure04.by_kind(ROWS))
    ours = "deep-cv:default"
    assert figure04.satisfactory_partitions(both, ours) == figure04.satisfactory_partitions(ROWS, ours)
    asked = {where.rpartition(", ")[2] for where in figure04.better_partitions(both, ours).numbers}
    assert asked == {"composites", "photographs"}
    assert "photographs" not in figure04.better_partitions(ROWS, ours).evidence


def test_what_cannot_be_run_is_refused():
    with pytest.raises(InputError, match="an entry of methods is 'grabcut'; it must be 'deep-cv:default'"):
        Settings(methods=["grabcut"])
    with pytest.raises(InputError, match="samples/astronaut has no true regions"):
        EXPERIMENT.items(Settings(dataset="samples", n_images=1))


def test_the_count_is_the_best_over_all_images():
    table = figure04.summary(ROWS)
    assert list(table.index) == ["Deep Chan-Vese, our default", "Normalized cuts [41], best count: 7 regions"]
    np.testing.assert_allclose(table["mean IoU"], [(0.6 + 0.8 + 0.5) / 3, 0.5])
    np.testing.assert_allclose(table["adjusted Rand index"], table["mean IoU"] / 2)
    assert table["images"].tolist() == [3, 3] and table["seeds"].tolist() == [2, 1]


def test_the_true_count_stands_beside_the_best_one():
    true = rows_of({("normalized-cuts", np.nan): {"mean-a": (0.1,), "texture-b": (0.2,), "texture-c": (0.3,)}})
    other = true.assign(method="feature-clustering", mean_iou_matched=0.3)
    table = figure04.summary(pd.concat([ROWS, true, other], ignore_index=True))
    assert table.loc["Normalized cuts [41], true count", "mean IoU"] == pytest.approx(0.2)
    assert table.loc["Feature clustering, true count", "mean IoU"] == pytest.approx(0.3)
    assert len(table) == 4


def test_kinds_of_images_stand_apart():
    table = figure04.by_kind(ROWS)
    assert list(table.columns.levels[0]) == ["means differ", "only texture differs"]
    np.testing.assert_allclose(table["means differ"]["mean IoU"], [0.6, 0.7])
    np.testing.assert_allclose(table["only texture differs"]["mean IoU"], [0.65, 0.4])
    assert table["only texture differs"]["mean IoU interval"].iloc[0] == "0.500–0.800"


def test_points_are_the_means_of_each_kind():
    matplotlib.use("Agg")
    [axis] = figure04.plot(ROWS).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["means differ", "only texture differs"]
    drawn = {each.get_label(): each.lines[0].get_ydata() for each in axis.containers}
    np.testing.assert_allclose(drawn["Deep Chan-Vese, our default"], [0.6, 0.65])


def test_a_partition_has_the_colours_of_the_truth_and_what_is_left_over_is_white():
    truth = np.repeat([0, 1, 2], 6)[None].repeat(6, axis=0)
    colours = figure04.coloured(truth, truth)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 3
    np.testing.assert_array_equal(figure04.coloured(np.array([9, 4, 6])[truth], truth), colours)
    split = np.where(np.arange(18) < 2, 7, truth)
    drawn = figure04.coloured(split, truth)
    assert (drawn[:, 0] == 255).all() and (drawn[:, 1] == 120).all()
    np.testing.assert_array_equal(drawn[:, 2:], colours[:, 2:])


def test_partitions_are_kept_scored_and_drawn(tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    methods = ("deep-cv:default", "normalized-cuts:true count")
    settings = Settings(n_images=1, size=32, seeds=(0,), methods=methods)
    [sample] = figure04.images_of(settings).samples
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    assert len(rows) == 2 and rows["f_measure"].isna().all()
    assert rows["mean_iou_matched"].between(0.1, 1).all() and rows["adjusted_rand_index"].le(1).all()
    with Store() as store:
        kept = [store.labels(item) for item in EXPERIMENT.items(settings)]
    assert [labels.shape for labels in kept] == [sample.regions.shape] * 2
    assert figure04.mean_iou_matched(kept[1], sample.regions) == rows["mean_iou_matched"].iloc[1]
    axes = np.array(figure04.plot_regions(rows).axes).reshape(1, 4)
    np.testing.assert_array_equal(axes[0, 3].images[0].get_array(), figure04.coloured(kept[1], sample.regions))
    assert axes[0, 3].get_xlabel() == f"IoU {rows['mean_iou_matched'].iloc[1]:.2f}"
