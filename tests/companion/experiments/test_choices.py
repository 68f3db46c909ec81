"""Each setting is changed alone, and compared with the default on the same images and seeds."""

import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import choices, variants
from deepcv.errors import InputError


@pytest.fixture(autouse=True)
def results_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))


def rows_of(scores):
    """Rows as `run` gives them: scores[variant][seed][image]."""
    return pd.DataFrame(
        [
            {
                "preset": "default",
                "variant": variant,
                "seed": seed,
                "image": f"i{image}",
                "f_measure": f,
                "iou": f / 2,
                "seconds": 1.0,
            }
            for variant, by_seed in scores.items()
            for seed, by_image in enumerate(by_seed)
            for image, f in enumerate(by_image)
        ]
    )


def test_every_variant_changes_something_and_is_a_valid_setting():
    items = choices.EXPERIMENT.items(choices.Settings(seeds=[0], n_images=1, variants=list(choices.VARIANTS)))
    settings = [tuple(item.settings.items()) for item in items]
    assert len(items) == len(choices.VARIANTS) == len(set(settings))


def test_the_default_is_always_run_beside_the_variants():
    items = choices.EXPERIMENT.items(choices.Settings(variants=["rounds = 1"], n_images=2, seeds=[0, 1]))
    assert {item.preset for item in items} == {"default"}
    assert [item.conditions for item in items[:2]] == [
        {"variant": "default", "setting": "", "value": ""},
        {"variant": "rounds = 1", "setting": "rounds", "value": "1"},
    ]
    assert len(items) == 2 * 2 * 2


def test_differences_are_paired_by_image_and_seed():
    # images differ by far more than the variants do: unpaired, the interval would cross 0
    image = np.linspace(0.1, 0.8, 8)
    rows = rows_of({"default": [image, image + 0.01], "rounds = 1": [image + 0.1, image + 0.11]})
    table = choices.summary(rows)
    change = table["ΔF"]
    assert change.loc["rounds = 1", "mean"] == pytest.approx(0.1)
    assert 0.09 < change.loc["rounds = 1", "low"] <= change.loc["rounds = 1", "high"] < 0.11
    assert change.loc["default", "mean"] == 0
    assert table["F", "mean"].tolist() == pytest.approx([0.455, 0.555])
    assert table["run", "images"].tolist() == [8, 8] and table["run", "seeds"].tolist() == [2, 2]


def test_readable_table_has_the_interval_beside_the_mean():
    table = choices.summary(rows_of({"default": [[0.4, 0.6]], "nu = 0": [[0.3, 0.5]]}))
    assert variants.readable(table, seconds=False).data.loc["nu = 0"].to_dict() == {
        "F": "0.400 (0.300 to 0.500)",
        "mIoU": "0.200 (0.150 to 0.250)",
        "ΔF": "-0.100 (-0.100 to -0.100)",
        "images": "2",
        "seeds": "1",
    }
    assert variants.readable(table).to_html() == variants.readable(table).to_html()
    table["run", "s/image"] = [1.234, float("nan")]
    assert variants.readable(table).data["s/image"].tolist() == ["1.23", "–"]


def test_plot_labels_both_axes_and_shows_every_variant():
    image = np.linspace(0.1, 0.8, 4)
    table = choices.summary(rows_of({"default": [image], "width = 16": [image + 0.1], "nu = 0": [image - 0.1]}))
    trade, change = choices.plot(table).axes
    assert "seconds" in trade.get_xlabel() and "F-measure" in trade.get_ylabel()
    assert [label.get_text() for label in change.get_yticklabels()] == ["width = 16", "nu = 0"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"profile": "fast"}, "'fast'.*quick"),
        ({"variants": ["rounds = 7"]}, "'rounds = 7'.*rounds = 3"),
        ({"n_images": 0}, "n_images is 0"),
        ({"seeds": []}, "no seed"),
        ({"size": 3}, "size is 3"),
    ],
)
def test_settings_out_of_range(given, says):
    with pytest.raises(InputError, match=says):
        choices.Settings(**given)
