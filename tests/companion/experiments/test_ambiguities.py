"""Every setting in which the two presets differ has its switch, and all switches together are the released preset."""

import dataclasses

import matplotlib
import pandas as pd

from deepcv.companion.experiments import ambiguities
from deepcv.companion.experiments.ambiguities import REFERENCE, RELEASED, VARIANTS, Settings, switches
from deepcv.model import settings

PAPER, THEIRS = (dataclasses.asdict(preset()) for preset in (settings.Settings.paper, settings.Settings.released))


def test_every_difference_is_turned_alone():
    alone = [changes for changes in VARIANTS.values() if len(changes) == 1]
    turned = {name for changes in alone for name in changes}
    assert turned == {name for name in PAPER if PAPER[name] != THEIRS[name]} | {"guided_radius"}
    assert len(alone) == len(turned)
    for changes in alone:
        for name, value in changes.items():
            assert value != PAPER[name]
            assert value == (0 if name == "guided_radius" else THEIRS[name])


def test_all_turned_is_the_released_preset():
    assert PAPER | VARIANTS[RELEASED] == THEIRS
    assert VARIANTS[REFERENCE] == {}


def test_a_shorter_loop_warms_up_for_the_same_share_of_it():
    assert switches(40)[RELEASED]["warmup"] == 19
    assert list(switches(40)) == list(VARIANTS)
    items = ambiguities.EXPERIMENT.items(Settings(n_images=1, seeds=[0]))
    steps = {item.conditions["variant"]: item.settings for item in items}
    assert steps["warmup of half the steps"]["warmup"] < steps["paper"]["steps"] / 2


def test_plot_has_a_row_for_each_switch():
    matplotlib.use("Agg")
    rows = pd.DataFrame(
        [
            {
                "preset": "paper",
                "variant": name,
                "seed": 0,
                "image": image,
                "f_measure": 0.5,
                "iou": 0.4,
                "seconds": 1.0,
            }
            for name in VARIANTS
            for image in "ab"
        ]
    )
    table = ambiguities.summary(rows)
    score, change = ambiguities.plot(table).axes
    assert [label.get_text() for label in score.get_yticklabels()] == list(VARIANTS)
    assert "paper" in change.get_xlabel()
    assert (table["ΔF"]["mean"] == 0).all()
