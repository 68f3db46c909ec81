"""Figure 7 asks for every level of noise, and its curve and table say what the rows say."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import figure07
from deepcv.companion.experiments.figure07 import EXPERIMENT, Settings
from deepcv.errors import InputError


def rows_of(by_noise):
    """Rows as a store gives them: F of two images by σ and clipping."""
    return pd.DataFrame(
        [
            {"sigma": sigma, "clipped": clipped, "image": image, "method": method, "preset": "default", "seed": 0,
             "f_measure": value}
            for (sigma, clipped), methods in by_noise.items()
            for method, values in methods.items()
            for image, value in zip("ab", values, strict=True)
        ]
    )  # fmt: skip


ROWS = rows_of(
    {
        (0.0, True): {"deep-cv": (0.9, 0.7), "grabcut": (1.0, 0.8)},
        (100.0, True): {"deep-cv": (0.7, 0.5), "grabcut": (0.1, 0.5)},
        (100.0, False): {"deep-cv": (0.4, 0.4), "grabcut": (0.2, 0.2)},
    }
)


def test_each_image_is_asked_for_clean_and_at_each_noise_cut_and_not():
    items = EXPERIMENT.items(Settings(n_images=2, sigmas=[0, 100], methods=["saliency", "grabcut"], seeds=[0, 1]))
    noises = {(item.conditions["sigma"], item.conditions["clipped"]) for item in items}
    assert noises == {(0, True), (100, True), (100, False)}
    assert len(items) == 3 * 2 * (1 + 2)  # the threshold doesn't depend on the seed
    assert len({item.data_hash for item in items}) == 6
    assert [item.image for item in items[:6]] == [items[0].image] * 6, "image by image"
    with pytest.raises(InputError, match="an entry of sigmas is -3"):
        Settings(sigmas=[-3])


def test_table_has_a_column_for_each_noise_and_what_is_kept():
    table = figure07.summary(ROWS)
    ours = table.loc[("Deep Chan-Vese, our default", "clipped")]
    assert ours.tolist() == pytest.approx([0.8, 0.6, 0.75, 2])
    assert table.loc[("GrabCut", "unclipped")].tolist() == pytest.approx([0.9, 0.2, 2 / 9, 2])
    assert [method for method, kind in table.index if kind == "clipped"] == ["Deep Chan-Vese, our default", "GrabCut"]


def test_curves_pass_through_the_means():
    matplotlib.use("Agg")
    clipped, unclipped = figure07.plot(ROWS).axes
    for axis, expected in ((clipped, [0.8, 0.6]), (unclipped, [0.8, 0.4])):
        drawn = {container.get_label(): container.lines[0].get_ydata().astype(float) for container in axis.containers}
        np.testing.assert_allclose(drawn["Deep Chan-Vese, our default"], expected)


def test_pictures_have_a_row_for_each_noise(tmp_path, monkeypatch, instant_hints):
    matplotlib.use("Agg")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    settings = Settings(n_images=1, sigmas=(0, 160), methods=("saliency",), seeds=(0,))
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    assert len(rows) == 3
    axes = np.array(figure07.plot_masks(rows).axes).reshape(2, 2)
    assert [row[0].get_ylabel() for row in axes] == ["σ = 0", "σ = 160"]
    clean = rows.loc[rows["sigma"] == 0, "f_measure"].item()
    assert axes[0, 1].get_xlabel() == f"F {clean:.2f}"


def test_a_share_that_every_image_keeps_is_known_exactly():
    clean = {"deep-cv": np.linspace(0.5, 0.9, 6), "grabcut": np.linspace(0.9, 0.3, 6)}
    left = {"deep-cv": 0.9, "grabcut": 0.8}
    rows = pd.DataFrame(
        {"sigma": sigma, "clipped": True, "image": image, "method": method, "preset": "default", "f_measure": value}
        for method, values in clean.items()
        for sigma, share in ((0, 1.0), (100, left[method]))
        for image, value in zip("abcdef", share * values, strict=True)
    )
    found = figure07.kept_more(rows, "deep-cv:default", "grabcut:default")
    assert (found.mean, found.low, found.high, found.images) == pytest.approx((0.1, 0.1, 0.1, 6))
