"""Every reading is a valid setting of the paper's loop, unlike the others; differences are to the reference."""

import pandas as pd

from deepcv.companion.experiments import readings
from deepcv.companion.experiments.readings import EXPERIMENT, REFERENCE, START, VARIANTS, Settings
from deepcv.methods import get_method


def test_every_reading_changes_the_reference_and_all_start_from_it():
    items = EXPERIMENT.items(Settings(n_images=1, seeds=[0], variants=tuple(VARIANTS)))
    assert [item.conditions["variant"] for item in items] == list(VARIANTS)
    assert {(item.method, item.preset) for item in items} == {("deep-cv", "paper")}
    assert len({str(item.settings) for item in items}) == len(items)
    reference = items[0].settings
    assert {name: reference[name] for name in ("sureness", "start_limit", "learning_rate")} == {
        name: START[name] for name in ("sureness", "start_limit", "learning_rate")
    }
    for item in items:
        changed = {name for name, value in item.settings.items() if value != reference[name]}
        assert changed == set(readings.choices(24)[item.conditions["variant"]])


def test_the_literal_reading_is_the_preset_printed_but_for_its_steps():
    method = get_method("deep-cv")
    literal, printed = method.settings("paper", **START | VARIANTS["literal"]), method.settings("printed")
    assert {name for name, value in literal.items() if printed[name] != value} == {"steps"}


def test_the_papers_preset_is_the_reference_with_what_was_chosen():
    paper = get_method("deep-cv").settings("paper")
    assert {name: value for name, value in START.items() if paper[name] != value} == {"penalty": 0.1}
    assert {"penalty": paper["penalty"]} in VARIANTS.values()


def test_a_shorter_loop_warms_up_for_the_same_share_of_it():
    assert list(readings.choices(24)) == list(VARIANTS)
    assert readings.choices(24)["warm-up of half"] == {"warmup": 12}


def test_differences_are_to_the_reference():
    scores = {REFERENCE: 0.5, "literal": 0.2}
    rows = pd.DataFrame(
        {"preset": "paper", "variant": name, "seed": 0, "image": image, "f_measure": f, "iou": f, "seconds": 1.0}
        for name, f in scores.items()
        for image in "ab"
    )
    table = readings.summary(rows)
    assert table["ΔF", "mean"].round(6).tolist() == [0, -0.3]
    assert table.index.get_level_values(1).tolist() == list(scores)
    labels = [label.get_text() for label in readings.plot(table).axes[0].get_yticklabels()]
    assert labels == list(scores)
