"""Other pictures: no image that settings may be chosen on is run, and leads are paired over images."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import domains, experiment
from deepcv.companion.experiments.domains import EXPERIMENT, Settings
from deepcv.companion.experiments.experiment import Images
from deepcv.data import Dataset, Sample
from deepcv.errors import InputError

OURS, THEIRS = "deep-cv", "grabcut"


def row(method, image, f, dataset="ecssd", seed=0):
    return {"dataset": dataset, "image": image, "method": method, "preset": "default", "seed": seed, "f_measure": f,
            "iou": f / 2, "seconds": 1.0}  # fmt: skip


ROWS = pd.DataFrame(
    [
        *(row(OURS, *each, seed=seed) for seed in (0, 1) for each in (("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6))),
        *(row(THEIRS, *each) for each in (("a", 0.5), ("b", 0.8), ("c", 0.8), ("d", 0.5))),
        *(row(method, "e", f, "nuclei") for method, f in ((OURS, 0.2), (THEIRS, 0.3))),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "names", "left"),
    [
        ("weizmann", [f"{number:02d}" for number in range(30)], [f"{number:02d}" for number in range(20, 30)]),
        ("ecssd", ["0003", "0200", "0201", "0999"], ["0201", "0999"]),
        ("dsb2018", list("abcde"), ["b", "d"]),
        ("weizmann2", ["a", "b"], ["a", "b"]),
    ],
)
def test_images_that_settings_may_be_chosen_on_are_left_out(monkeypatch, dataset, names, left):
    image = np.arange(80, dtype=np.uint8).reshape(8, 10)

    def load(name):
        return Sample(name, image, image > 40, dataset, "made up")

    monkeypatch.setattr(experiment, "load_dataset", lambda name: Dataset(names, load))
    assert list(Images.load(dataset).unseen().samples.names) == left
    items = EXPERIMENT.items(Settings("cpu", dataset=dataset, methods=["saliency"]))
    assert [(item.dataset, item.image) for item in items] == [(dataset, name) for name in left]


def test_what_has_no_mask_is_refused():
    with pytest.raises(InputError, match="more than two regions"):
        Settings(methods=["vese-chan"])


def test_leads_are_paired_over_images():
    table = domains.summary(ROWS)
    default = "Deep Chan-Vese, our default"
    assert list(table.index) == [("ecssd", default), ("ecssd", "GrabCut"), ("nuclei", "GrabCut"), ("nuclei", default)]
    ours, theirs = table.loc["ecssd", default], table.loc["ecssd", "GrabCut"]
    assert (ours["F", "mean"], ours["F", "median"]) == pytest.approx((0.75, 0.75))
    assert ours["mIoU", "mean"] == pytest.approx(0.375) and np.isnan(ours["ours", "lead"])
    assert theirs["ours", "lead"] == pytest.approx((0.4 + 0 - 0.1 + 0.1) / 4)
    assert theirs["ours", "won"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert (ours["run", "seeds"], ours["run", "images"], theirs["run", "seeds"]) == (2, 4, 1)
    shown = domains.readable(table).data
    assert shown["ours better"].tolist() == ["–", "62%", "0%", "–"]


def test_what_ran_on_fewer_images_comes_last():
    table = domains.summary(pd.DataFrame([*ROWS.to_dict("records"), row("iem", "a", 1.0)]))
    assert table.loc["ecssd"].index[-1] == "IEM"


def test_the_best_other_method_is_no_variant_of_ours():
    variant = pd.DataFrame([row(OURS, image, 1.0) | {"preset": "auto-encoder"} for image in "abcd"])
    told = domains.finding(pd.concat([ROWS[ROWS["dataset"] == "ecssd"], variant]))
    assert "against GrabCut" in told and "decoder" not in told


def test_each_data_set_has_a_panel_with_means_and_medians():
    matplotlib.use("Agg")
    table = domains.summary(ROWS)
    first, second = domains.plot(table).axes
    assert (first.get_title(), second.get_title()) == ("ECSSD", "embedded nuclei")
    drawn = first.containers[0].lines[0].get_xdata().astype(float)
    np.testing.assert_allclose(drawn, table.loc["ecssd"]["F", "mean"])


def test_kinds_count_alike_and_want_all_images(monkeypatch):
    more = pd.DataFrame([row("ridge", "a", 1.0), row("ridge", "e", 1.0, "nuclei")])
    recorded = pd.DataFrame([row(OURS, f"{number:02d}", 1 - number / 100, "weizmann") for number in range(22)])
    other = recorded.assign(method=THEIRS, f_measure=0.5)
    monkeypatch.setattr(domains, "full_run", lambda name: pd.concat([recorded, other]))
    table = domains.over_kinds(pd.concat([ROWS, more]))
    assert list(table.index) == ["Deep Chan-Vese, our default", "GrabCut"]  # ridge has one image of ECSSD
    ours = table.loc["Deep Chan-Vese, our default"]
    assert ours["weizmann"] == pytest.approx(0.795) and ours["ecssd"] == pytest.approx(0.75)
    assert ours["mean"] == pytest.approx((0.795 + 0.75 + 0.2) / 3) and ours["lowest"] == pytest.approx(0.2)
    assert table.loc["GrabCut", "least lead"] == pytest.approx(-0.1) and np.isnan(ours["least lead"])
    assert "-0.100" in domains.readable_kinds(table).to_html()
