"""The ladder's steps differ in size and width alone, and are compared on the images that both have."""

import pandas as pd
import pytest

from deepcv.companion.experiments import ladder
from deepcv.companion.experiments.ladder import EXPERIMENT, REFERENCE, Settings


def test_steps_differ_in_size_and_width_alone():
    items = EXPERIMENT.items(Settings(seeds=[0], n_images=1))
    assert len({item.conditions["variant"] for item in items}) == len(items) == 2
    first, second = (item.settings for item in items)
    assert {name for name in first if first[name] != second[name]} == {"size", "width"}
    assert {(item.method, item.preset) for item in items} == {("deep-cv", "paper")}


def test_the_recorded_ladder_has_the_form_of_table_1():
    assert REFERENCE in {ladder._name(rung) for rung in Settings("cpu", dataset="samples").rungs}


def test_a_step_is_compared_on_the_images_that_both_have():
    scores = {REFERENCE: {"a": 0.5, "b": 0.9}, "300 px, width 64": {"a": 0.6}}
    rows = pd.DataFrame(
        {"preset": "paper", "variant": name, "seed": 0, "image": image, "f_measure": f, "iou": f, "seconds": 1.0}
        for name, of in scores.items()
        for image, f in of.items()
    )
    table = ladder.summary(rows)
    assert list(table.index) == [REFERENCE, "300 px, width 64"]
    assert table["ΔF", "mean"].tolist() == pytest.approx([0, 0.1])
    assert REFERENCE in ladder.plot(table).axes[1].get_xlabel()
