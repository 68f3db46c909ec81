"""Figure 1 takes samples of both cases, and shows the numbers of each case by itself."""

import matplotlib
import pandas as pd
import pytest

from deepcv.companion.experiments import experiment, figure01, figure08
from deepcv.companion.experiments.figure01 import CASES, EXPERIMENT, Settings
from deepcv.data import load_dataset
from deepcv.errors import InputError


def row(image, method, f, grey=0.0, latent=0.0, preset="default", seed=0):
    named = {
        f"contrast_{space}_truth": value
        for space, value in zip(figure08.SPACES, (grey, grey, latent, latent), strict=True)
    }
    return {"image": image, "method": method, "preset": preset, "seed": seed, "f_measure": f} | (
        named if method == "deep-cv" else {}
    )


ROWS = pd.DataFrame([
    row("modes-a", "deep-cv", 1.0, 0, 8), row("modes-a", "chan-vese", 0.5),
    row("modes-b", "deep-cv", 0.8, 0, 4), row("modes-b", "chan-vese", 0.7),
    row("overlap-a", "deep-cv", 0.6, 1, 3), row("overlap-a", "chan-vese", 0.2),
])  # fmt: skip


def test_every_case_has_as_many_images():
    items = EXPERIMENT.items(Settings("cpu", n_images=2, seeds=[0, 1]))
    images = list(dict.fromkeys(item.image for item in items))
    assert [figure01.case(image) for image in images] == [
        case for case in (*CASES.values(), figure01.OTHERS) for _ in range(2)
    ]
    assert len(items) == 6 * (len(figure01.METHODS) + 3), "only ours depends on the seed"


def test_a_data_set_without_the_cases_is_refused(monkeypatch):
    photographs = load_dataset("samples")[:3]
    monkeypatch.setattr(experiment, "load_dataset", lambda _: photographs)
    with pytest.raises(InputError, match="photographs has no images of two modes"):
        EXPERIMENT.items(Settings(dataset="photographs"))


def test_each_case_is_told_apart_and_all_together():
    table = figure01.summary(ROWS)
    assert table.loc[("(i) two modes", "contrast"), ["grey", "latent", "images"]].tolist() == [0, 6, 2]
    assert table.loc[("(ii) overlapping", "contrast"), "change"] == 2
    assert table.loc[("all", "contrast"), "latent"] == pytest.approx(5)
    scores = figure01.scores(ROWS)
    assert scores.loc["Chan-Vese [11]", ("(i) two modes", "F")] == pytest.approx(0.6)
    assert scores.loc["Deep Chan-Vese, our default", ("all", "F")] == pytest.approx(0.8)
    assert scores.loc["Deep Chan-Vese, our default", ("(i) two modes", "95 %")] == "0.800–1.000"


def test_chan_vese_s_model_has_no_use_for_two_modes_and_the_latent_image_tells_the_regions_apart(tmp_path, monkeypatch):
    """The composites of case (i) have regions of one mean: the encoder separates what no threshold can."""
    matplotlib.use("Agg")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    settings = Settings(n_images=1, size=64, seeds=(0,), cases=(CASES["modes"],))
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    contrast = figure01.summary(rows).loc[("(i) two modes", "contrast")]
    assert contrast["grey"] < 0.1 < 1 < contrast["latent"]
    scores = rows.set_index(["method", "preset"])["f_measure"]
    assert scores["chan-vese", "exact"] < 0.5 < scores["deep-cv", "default"]
    axes = figure01.plot(rows, settings).axes
    assert len(axes) == 6
    assert axes[5].get_xlabel() == f"F {scores['deep-cv', 'default']:.2f}"
