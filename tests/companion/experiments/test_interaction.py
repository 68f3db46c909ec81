"""The simulated user marks by the rule, and the table says what each mark gained."""

import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import interaction
from deepcv.companion.experiments.interaction import BOXES, CLICKS, NOTHING, Settings, box_around, next_click

TRUTH = np.zeros((40, 50), bool)
TRUTH[10:30, 10:30] = True


def test_a_box_is_the_masks_or_larger_within_the_image():
    assert box_around(TRUTH) == (10, 10, 30, 30)
    assert box_around(TRUTH, 0.2) == (8, 8, 32, 32)
    assert box_around(TRUTH, 2.0) == (0, 0, 50, 40)


def test_a_click_goes_to_the_middle_of_the_largest_wrong_region_and_says_its_side():
    missed = TRUTH.copy()
    missed[10:19, 10:19] = False  # 81 pixels
    missed[33:37, 40:45] = True  # 20 that aren't the object's
    assert next_click(missed, TRUTH) == ((14, 14), True)
    more = TRUTH.copy()
    more[33:38, 40:45] = True
    assert next_click(more, TRUTH) == ((42, 35), False)
    assert next_click(TRUTH, TRUTH) is None


def test_datasets_take_turns_so_that_a_run_may_be_stopped():
    wanted = {"samples": (8, 4), "nuclei": (6, 1)}
    settings = Settings("quick", datasets=wanted, boxed=("grabcut",), clicked=("grabcut",))
    groups = interaction.groups(settings)
    each = [(group.images.dataset, len(group.images.samples), len(group.variants)) for group in groups]
    assert each[:4] == [("samples", 6, 3), ("nuclei", 6, 3), ("samples", 3, 1), ("nuclei", 1, 1)]
    counts = {name: sum(n for dataset, n, marks in each if dataset == name and marks == 3) for name in wanted}
    assert counts == {"samples": 8, "nuclei": 6}


def test_the_table_pairs_each_mark_with_none():
    common = {"dataset": "weizmann", "method": "grabcut", "preset": "default"}
    found = [
        {**common, "image": image, "marked": marked, "f_measure": f}
        for image, lowest in (("a", 0.5), ("b", 0.7))
        for marked, f in ((NOTHING, lowest), *((box, lowest + 0.1 * i) for i, box in enumerate(BOXES, 1)))
    ]
    found += [
        {**common, "image": "a", "marked": CLICKS, "f_measure": 0.9} | {f"after_{n}": 0.5 + n / 20 for n in range(6)}
    ]
    table = interaction.summary(pd.DataFrame(found)).loc["weizmann", "GrabCut"]
    assert table.loc["box 20 % larger", ("gain", "mean")] == pytest.approx(0.2)
    assert table.loc["box", ("F", "mean")] == pytest.approx(0.7) and table.loc["box", ("run", "images")] == 2
    assert table.loc["5 clicks", ("gain", "mean")] == pytest.approx(0.25)
    whole = interaction.summary(pd.DataFrame(found))
    assert "0.800 (+0.200)" in (shown := interaction.readable(whole).to_html()) and "+0.250" not in shown
    assert interaction.plot(whole).axes[0].get_title() == "Weizmann"
