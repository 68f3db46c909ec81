"""Figure 3 shows Table 1's masks, each in its place, and computes none twice."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import figure03, table1
from deepcv.companion.experiments.figure03 import EXPERIMENT, Settings, shown
from deepcv.data import load_dataset
from deepcv.errors import InputError

SHOWN = ("modes-pair", "overlap-pair")


@pytest.fixture(autouse=True)
def results_folder(tmp_path, monkeypatch, instant_hints):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    matplotlib.use("Agg")


def test_items_are_those_of_table_1_for_the_first_seed():
    methods = ("deep-cv", "saliency")
    ours = EXPERIMENT.items(Settings(methods=methods, images=SHOWN, seeds=(3, 4)))
    theirs = table1.EXPERIMENT.items(table1.Settings(methods=methods, seeds=(3, 4)))
    assert {item.key for item in ours} < {item.key for item in theirs}
    assert {(item.image, item.seed) for item in ours} == {(name, 3) for name in SHOWN}


def test_images_are_spread_over_the_data_set_unless_named():
    names = load_dataset("samples").names
    assert shown(Settings(n_images=12)).samples.names == names[:12:2]
    assert shown(Settings(n_images=2)).samples.names == names[:2]
    with pytest.raises(InputError, match="no image 'nowhere' among these 15"):
        EXPERIMENT.items(Settings(images=["nowhere"]))


def test_grid_has_a_row_per_image_and_a_column_per_method():
    settings = Settings(methods=("saliency", "chan-vese"), images=SHOWN)
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    axes = np.array(figure03.plot(rows).axes).reshape(2, 4)
    titles = [" ".join(axis.get_title().split()) for axis in axes[0]]  # long ones are broken into lines
    assert titles == ["image", "ground truth", "Saliency [34], Otsu", "Chan-Vese [11]"]
    table = figure03.summary(rows)
    samples = {sample.name: sample for sample in load_dataset("samples") if sample.name in SHOWN}
    for row, name in zip(axes, SHOWN, strict=True):
        assert row[0].get_ylabel() == name
        assert row[3].get_xlabel() == f"F {table.loc[name, 'Chan-Vese [11]']:.2f}"
        assert (row[0].get_images()[0].get_array() == samples[name].image).all()
        shown = np.asarray(row[1].get_images()[0].get_array())
        as_it_is = (shown == np.atleast_3d(samples[name].image)).all(axis=2)
        np.testing.assert_array_equal(as_it_is, samples[name].mask)


def test_of_many_regions_the_best_is_shown():
    settings = Settings(methods=("normalized-cuts:regions",), images=SHOWN[:1])
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    figure = figure03.plot(rows)
    assert " ".join(figure.axes[2].get_title().split()) == "Normalized cuts [41], best region"
    assert figure.axes[2].get_xlabel() == f"F {rows['f_measure'].max():.2f}"


def test_wins_are_counted_by_image_over_means_of_seeds():
    f = {("deep-cv", 0): [0.9, 0.5, 0.7], ("deep-cv", 1): [0.7, 0.5, 0.7], ("grabcut", 0): [0.7, 0.5, 0.8]}
    rows = pd.DataFrame(
        {"method": method, "preset": "default", "seed": seed, "image": image, "f_measure": value}
        for (method, seed), values in f.items()
        for image, value in zip("abc", values, strict=True)
    )
    assert figure03.wins(rows).loc["GrabCut"].tolist() == [1, 1, 1, 0.0]
