"""Figure 9 watches the very loop that segments, and says rightly how often and how far an energy falls."""

import base64
import io
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepcv.checks import resolve
from deepcv.companion.experiments import figure09
from deepcv.companion.experiments.figure09 import EXPERIMENT, Course, Settings, dissipation, measured
from deepcv.data import samples
from deepcv.images import as_image
from deepcv.methods import split_name
from deepcv.model.segment import deep_chan_vese
from deepcv.model.settings import Settings as ModelSettings


def course_of(energies, masks):
    known = np.asarray(energies, float) - 0.5
    terms = {"reconstruction": np.full(len(known), 0.5), "region": known, "length": 0 * known, "hint": 0 * known}
    return Course(terms, masks, np.zeros((2, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("energies", "expected"),
    [
        ((4, 3, 2, 1), (1, 0)),
        ((4, 2, 3, 0), (2 / 3, 1 / 4)),
        ((4, 1, 2, 3), (1 / 3, 2 / 3)),  # climbs twice, and so farther than in any one step
        ((1, 2, 3), (0, np.inf)),
        ((1, 1, 1), (1, 0)),
    ],
)
def test_dissipation(energies, expected):
    assert dissipation(np.array(energies, float)) == pytest.approx(expected)


def test_numbers_of_a_course_that_ends_before_the_last_look():
    truth = np.zeros((4, 4), bool)
    truth[1:3, 1:3] = True
    masks = [np.zeros_like(truth)] * 10 + [truth] * 5
    found = measured(course_of(np.linspace(14, 1, 14), masks), truth)
    assert [found[f"f_{step}"] for step in (0, 10, 20, 40, 100, "last")] == [0, 1, 1, 1, 1, 1]
    assert [found[f"energy_{step}"] for step in (1, 10, 20, 100, "last")] == [14, 5, 1, 1, 1]
    assert found["steps"] == 14
    assert found["falls"] == found["falls_mean"] == found["falls_known"] == 1
    assert found["rise"] == found["rise_mean"] == 0
    assert found["rank_energy"] == -1
    assert 0.8 < found["rank"] < 1
    assert np.isnan(measured(course_of([2, 1], masks[:3]), truth)["rank"]), "F that doesn't change has no rank"


def test_moving_mean_sees_through_noise():
    noise = np.random.default_rng(0).normal(0, 1, 400)
    found = measured(course_of(np.linspace(100, 0, 400) + noise, [np.ones((4, 4), bool)] * 401), np.ones((4, 4), bool))
    assert found["falls"] < 0.7 < found["falls_mean"]
    assert found["rise_mean"] < found["rise"]


@pytest.mark.parametrize("changes", [{"rounds": 2, "steps": 6, "more_steps": 3}, {"u_step": "gradient", "steps": 8}])
def test_what_is_watched_is_what_segments(changes):
    sample = samples.load("overlap-disk")
    image, hint = as_image(sample.image), sample.mask.astype(np.float32) * 0.8 + 0.1
    settings = resolve(ModelSettings, changes | {"size": 48})
    course = figure09.watch(image, hint, settings, 3, "cpu")
    found = deep_chan_vese(image, hint, seed=3, device="cpu", size=48, **changes)
    np.testing.assert_array_equal(course.masks[-1], found.mask)
    for term, values in found.trace.items():
        if term != "changed":
            np.testing.assert_allclose(course.energy[term], values, rtol=1e-5)
    assert len(course.masks) == len(course.total) + 1


def rows_of(**by_loop):
    names = ("energy_1", "energy_10", "energy_20", "energy_40", "energy_100", "energy_last")
    scores = ("f_0", "f_10", "f_20", "f_40", "f_100", "f_last")
    shares = {
        f"{what}{end}": value for what, value in (("falls", 0.9), ("rise", 0.1)) for end in ("", "_mean", "_known")
    }
    return pd.DataFrame(
        [
            {"method": "deep-cv", "preset": preset, "image": image, "seed": seed, "rank": np.nan, **shares}
            | dict(zip(names, (11, 9, 7, 5, 3, 1), strict=True))
            | dict(zip(scores, np.linspace(first, last, 6), strict=True))
            for preset, (first, last) in by_loop.items()
            for image in "ab"
            for seed in (0, 1)
        ]
    )


def test_table_and_curves_say_what_the_rows_say():
    matplotlib.use("Agg")
    rows = rows_of(default=(0.5, 0.8), paper=(0.5, 0.0))
    table = figure09.summary(rows)
    assert table["ΔF"].tolist() == pytest.approx([0.3, -0.5])
    assert table["energy at the end"].tolist() == [1, 1]
    assert table[["images", "seeds"]].to_numpy().tolist() == [[2, 2], [2, 2]]
    assert "<td " in (shown := figure09.readable(table).to_html()) and ">2<" in shown and ">0.300<" in shown
    left, right = figure09.plot(rows).axes
    np.testing.assert_allclose(left.containers[0].lines[0].get_ydata(), [1, 0.8, 0.6, 0.4, 0.2])
    np.testing.assert_allclose(right.containers[1].lines[0].get_ydata(), np.linspace(0.5, 0, 6), atol=1e-12)


def test_both_loops_are_asked_for_on_their_images():
    settings = Settings(seeds=(0, 1))
    items = EXPERIMENT.items(settings)
    for name, how in settings.solvers.items():
        assert sum((item.method, item.preset) == split_name(name) for item in items) == 2 * how.n_images


@pytest.fixture(scope="module")
def found():
    """Two short courses on the image of the pictures."""
    sample = samples.load(figure09.SHOWN)
    half = sample.mask.copy()
    half[:100] = False
    return {
        "one": course_of((3, 2, 1), [half, half, sample.mask, sample.mask]),
        "other": course_of((3, 2, 1, 1), [sample.mask, half, half, half, np.zeros_like(half)]),
    }


def test_animation_is_small_moves_and_asks_nobody(found):
    shown = figure09.animation(found, count=2)
    assert len(shown) < 1.5e6
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">]{0,40})', shown)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1])))
    assert picture.is_animated
    assert picture.n_frames == 3  # 0, 1, 4
    assert 'alt="' in shown


def test_pictures_have_a_row_for_each_loop_and_its_f(found):
    matplotlib.use("Agg")
    axes = np.array(figure09.plot_masks(found).axes).reshape(2, 7)
    assert [axis.get_title() for axis in axes[0]] == ["image", "0", "10", "20", "40", "100", "last"]
    assert axes[0, 2].get_xlabel() == "F 1.00"
    assert axes[1, 6].get_xlabel() == "F 0.00"
    above, *_, below = figure09.plot_courses(found).axes
    total = above.lines[0]
    np.testing.assert_allclose(total.get_ydata(), [3, 2, 1])
    assert len(below.lines[0].get_ydata()) == 5
