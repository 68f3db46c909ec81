"""Figure 8's latent image is that of the method's own result, and its numbers say what they are called."""

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import figure08
from deepcv.companion.experiments.experiment import Group, Images, variant
from deepcv.companion.experiments.figure08 import EXPERIMENT, Latent, Settings
from deepcv.data import samples
from deepcv.model.segment import deep_chan_vese

SMALL = {"size": 48, "steps": 4, "rounds": 2, "more_steps": 2}


def rows_of(values, preset="default", seeds=(0,)):
    """Rows as a store gives them: columns of numbers by image."""
    return pd.DataFrame(
        [
            {"method": "deep-cv", "preset": preset, "image": image, "seed": seed} | numbers
            for image, numbers in values.items()
            for seed in seeds
        ]
    )


def numbers(quantity, grey, latent):
    """A quantity by the truth's regions, in each space."""
    return {
        f"{quantity}_{space}_truth": value
        for space, value in zip(figure08.SPACES, (grey, grey, latent, latent), strict=True)
    }


@pytest.fixture
def half():
    """Foreground in the right half of a colour image, and a latent image that knows it."""
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), bool)
    mask[:, 20:] = True
    image = rng.random((40, 40, 3)).astype(np.float32) + 0.4 * mask[..., None] * [1, -1, 0]
    mean = np.where(mask, 10, -10).astype(float)
    return Latent(image, mean, mean + rng.standard_normal(mean.shape), 10.0, {"truth": mask, "found": mask})


@pytest.mark.parametrize("preset", [{}, {"u_step": "gradient", "guided_radius": 5, "levels": 1, "width": 2}])
def test_the_result_is_that_of_the_method(preset):
    sample = samples.load("modes-disk")
    item = dataclasses.replace(EXPERIMENT.items(Settings(seeds=[3]))[0], settings=SMALL | preset)
    hint = np.where(sample.mask, 0.8, 0.2).astype(np.float32)
    found, latent = figure08.encode(item, sample, hint, "cpu")
    expected = deep_chan_vese(sample.image, hint, seed=3, device="cpu", **SMALL, **preset)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.memberships, expected.memberships)
    assert latent.image.shape == latent.mean.shape == (48, 48)
    assert {name: mask.shape for name, mask in latent.regions.items()} == {"truth": (48, 48), "found": (48, 48)}
    assert latent.regions["truth"].mean() == pytest.approx(sample.mask.mean(), abs=0.02)


def test_a_perfect_encoder_is_at_its_priors_and_leaves_no_overlap(half):
    found = figure08.measured(half)
    assert found["prior_drawn_truth"] < 0.1
    assert found["overlap_latent_truth"] == 0
    assert found["overlap_drawn_truth"] == 0
    assert found["distance_drawn_truth"] < 0.1
    assert np.isnan(found["distance_latent_truth"]), "two constants have no Gaussian"
    assert found["contrast_drawn_truth"] == pytest.approx(20, rel=0.1)
    off = figure08.measured(half._replace(drawn=half.drawn - 3))
    assert off["prior_drawn_truth"] == pytest.approx(3, abs=0.05)


def test_the_axis_in_colour_space_shows_what_grey_values_hide(half):
    found = figure08.measured(half)
    assert found["contrast_grey_truth"] < 0.2, "one channel rises by what another falls"
    assert found["contrast_colour_truth"] > 1


def test_an_empty_region_has_no_numbers(half):
    nothing = half._replace(regions={"truth": half.regions["truth"], "found": np.zeros((40, 40), bool)})
    assert all(name.endswith("_truth") for name in figure08.measured(nothing))


def test_table_has_paired_changes_by_regions():
    rows = pd.concat([
        rows_of({"a": numbers("contrast", 1, 3) | numbers("distance", 0.2, 0.1),
                 "b": numbers("contrast", 2, 6) | numbers("distance", 0.2, 0.5)}, seeds=(0, 1)),
        rows_of({"a": numbers("contrast", 1, 0.5)}, "paper"),
    ])  # fmt: skip
    table = figure08.summary(rows)
    contrast = table.loc[("Deep Chan-Vese, our default", "truth", "contrast")]
    assert contrast[["grey", "latent", "change", "better", "images", "seeds"]].tolist() == [1.5, 4.5, 3, 1, 2, 2]
    assert (contrast["low"], contrast["high"]) == (2, 4)
    assert table.loc[("Deep Chan-Vese, our default", "truth", "distance to its own Gaussian"), "better"] == 0.5, (
        "smaller is better"
    )
    assert table.loc[("Deep Chan-Vese, paper's settings", "truth", "contrast"), "better"] == 0
    assert "found" not in table.index.get_level_values("regions")


def test_points_are_images_and_marks_their_means():
    matplotlib.use("Agg")
    rows = rows_of({"a": numbers("contrast", 1, 3), "b": numbers("contrast", 2, 6)}, seeds=(0, 1))
    points, mean = figure08.plot(rows).axes[0].collections[:3:2]
    np.testing.assert_allclose(points.get_offsets(), [[1, 3], [2, 6]])
    assert mean is not points


def test_run_records_every_number_and_the_pictures_can_be_drawn(tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    settings = Settings(seeds=(0,))
    blob = [Group(Images.load("samples").shown(["modes-blob"]), [variant("deep-cv", 32)])]
    monkeypatch.setattr(figure08, "EXPERIMENT", dataclasses.replace(EXPERIMENT, groups=lambda _: blob))
    rows = figure08.EXPERIMENT.run(settings, workers=1, progress=False)
    named = {f"{quantity}_{space}_truth" for quantity in figure08._MEASURES for space in figure08.SPACES}
    assert named | {"prior_drawn_truth", "f_measure"} <= set(rows.columns[rows.notna().any()])
    axes = figure08.plot_latent(settings).axes
    assert [axis.get_title() for axis in axes] == ["image", "latent image", "grey values", "values of the latent image"]


def test_the_paper_s_preset_is_run_on_fewer_images_on_a_cpu():
    cpu, paper = (Settings(name).solvers["deep-cv:paper"] for name in ("cpu", "paper"))
    assert cpu.changes and cpu.n_images
    assert not paper.changes and paper.n_images is None
