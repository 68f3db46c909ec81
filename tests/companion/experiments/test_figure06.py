"""Architectures are compared with everything else alike, within a solver, and the spreads are those of the rows."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import figure06
from deepcv.companion.experiments.figure06 import ARCHITECTURES, EXPERIMENT, HINT, PAPERS, Settings
from deepcv.errors import InputError
from deepcv.methods import get_method


def rows_of(score, solver="default", seeds=(0, 1, 2), names=PAPERS):
    """Rows as `run` gives them, F of three images by `score(image, architecture, seed)`, architectures by number."""
    return pd.DataFrame(
        [
            {"preset": solver, "variant": name, "seed": seed, "image": f"i{image}",
             "f_measure": score(image, number, seed), "iou": score(image, number, seed) / 2, "seconds": 1.0}
            for image in range(3) for number, name in enumerate(names) for seed in seeds
        ]
    )  # fmt: skip


def test_nothing_but_the_architecture_differs_within_a_solver():
    items = EXPERIMENT.items(Settings(n_images=1, seeds=[0]))
    assert [item.conditions["variant"] for item in items if item.method == "saliency"] == [HINT]
    deep = [item for item in items if item.method == "deep-cv"]
    assert len(deep) == 2 * len(ARCHITECTURES)
    assert len({str(item.settings) for item in deep}) == len(deep)
    for solver in ("default", "paper"):
        settings = [item.settings for item in deep if item.preset == solver]
        changed = {name for each in settings for name, value in each.items() if value != settings[0][name]}
        assert changed == {"architecture", "levels"}
        assert settings[0]["u_step"] == get_method("deep-cv").settings(solver)["u_step"]


def test_the_u_net_is_always_run_and_the_hint_once():
    items = EXPERIMENT.items(Settings(n_images=1, variants=["skip, depth 3"], seeds=[4, 5]))
    ours = [(item.conditions["variant"], item.seed) for item in items if item.preset == "default"]
    assert sorted(ours) == [("U-Net", 4), ("U-Net", 5), ("skip, depth 3", 4), ("skip, depth 3", 5), (HINT, 4)]
    with pytest.raises(InputError, match=r"'skip, depth 9'.*skip, depth 5"):
        Settings(variants=["skip, depth 9"])


def test_differences_are_to_the_u_net_of_the_same_solver():
    ours = rows_of(lambda image, number, seed: 0.1 * image + 0.02 * number + 0.01 * seed)
    theirs = rows_of(lambda image, number, seed: 0.5 - 0.1 * number, "paper")
    hint = rows_of(lambda *_: 0.2, seeds=[0], names=[HINT])
    table = figure06.summary(pd.concat([ours, theirs, hint]))
    change = table["ΔF"]["mean"]
    # the U-Net is the last of the five; of the hint the first seed alone can be paired
    np.testing.assert_allclose(change["our solver"], [0.2 - 0.18, -0.08, -0.06, -0.04, -0.02, 0], atol=1e-12)
    np.testing.assert_allclose(change["the paper's loop"], [0.4, 0.3, 0.2, 0.1, 0], atol=1e-12)
    assert table.loc[("our solver", "U-Net"), ("run", "seeds")] == 3


def test_spread_tells_architectures_from_seeds():
    by_seed = figure06.spread(rows_of(lambda image, number, seed: 0.3 * image + 0.1 * seed)).loc["our solver"]
    assert by_seed["over seeds", "deviation"] == pytest.approx(0.1)
    assert by_seed["over architectures", "deviation"] == pytest.approx(0, abs=1e-9)
    by_architecture = figure06.spread(rows_of(lambda image, number, seed: 0.1 * number, "paper"))
    row = by_architecture.loc["the paper's loop"]
    assert row["over architectures", "deviation"] == pytest.approx(np.std(0.1 * np.arange(5), ddof=1))
    assert row["over seeds", "deviation"] == pytest.approx(0, abs=1e-9)
    assert (row["mean F", "lowest"], row["mean F", "highest"]) == pytest.approx((0, 0.4))


def test_spread_over_a_single_seed_is_not_a_number():
    row = figure06.spread(rows_of(lambda image, number, seed: 0.1 * number, seeds=[0])).loc["our solver"]
    assert np.isnan(row["over seeds", "deviation"]) and row["over architectures", "low"] > 0


def test_plot_has_a_row_for_each_architecture_and_a_series_for_each_solver():
    matplotlib.use("Agg")
    ours, theirs = rows_of(lambda image, *_: 0.1 * image), rows_of(lambda image, *_: 0.2 * image, "paper")
    figure = figure06.plot(figure06.summary(pd.concat([ours, theirs])))
    score = figure.axes[0]
    assert [label.get_text() for label in score.get_yticklabels()] == list(PAPERS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["our solver", "the paper's loop"]
    np.testing.assert_allclose(score.containers[0].lines[0].get_xdata().astype(float), 0.1)
    assert score.get_ylim()[0] > score.get_ylim()[1], "the first is on top"


def test_pictures_show_the_masks_of_the_asked_solver(tmp_path, monkeypatch, instant_hints):
    matplotlib.use("Agg")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    settings = Settings(n_images=1, size=32, variants=["skip, depth 2"], seeds=[0])
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    for solver, columns in (("default", [HINT, "skip, depth 2", "U-Net"]), ("paper", ["skip, depth 2", "U-Net"])):
        axes = figure06.plot_masks(rows, settings, solver).axes
        assert [axis.get_title() for axis in axes] == ["image", "ground truth", *columns]
        assert all(axis.get_xlabel().startswith("F 0.") for axis in axes[2:])
