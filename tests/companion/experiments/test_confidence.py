"""The experiment on confidence: what is run, and its numbers on rows that can be judged by hand."""

import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import confidence
from deepcv.companion.experiments.confidence import BINS, CHOSEN, EMBEDDED, EXPERIMENT, RANKED, UNSEEN, Settings


def _row(image, value, f, **changes):
    """One row whose pixels are all in the last bin, believed with 0.95, and of which a share `f` is foreground."""
    bins = {f"{name}_{number}": 0.0 for name in ("share", "true", "sum") for number in range(BINS)}
    last = BINS - 1
    bins |= {f"share_{last}": 1.0, f"true_{last}": f, f"sum_{last}": 0.95}
    ranked = dict.fromkeys(RANKED, value) | {"brier_belief": 0.1, "brier_mask": 0.2, "brier_hint": 0.3}
    common = {
        "dataset": "weizmann",
        "images": UNSEEN,
        "image": image,
        "method": "deep-cv",
        "preset": "default",
        "seed": 0,
    }
    return common | ranked | {"f_measure": f} | bins | changes


def test_ranks_and_doubtful_images():
    rows = pd.DataFrame([_row("a", 0.5, 0.6), _row("b", 0.8, 0.8), _row("c", 0.9, 0.9), _row("d", 0.95, 0.7)])
    table = confidence.summary(rows).loc["weizmann", UNSEEN]
    row = table.loc[RANKED["confidence"]]
    assert row["rho"] == pytest.approx(0.4) and row["low"] <= 0.4 <= row["high"]
    assert (row["images"], row["doubtful"], row["F doubtful"]) == (4, 1, 0.6)
    assert row["F others"] == pytest.approx(0.8)
    assert "0.40" in confidence.readable(confidence.summary(rows)).to_html()


def test_the_calibration_error_is_the_gap_of_belief_and_truth():
    rows = pd.DataFrame([_row("a", 0.5, 0.6), _row("b", 0.8, 0.8)])
    table = confidence.calibration(rows)
    assert table["ECE"].item() == pytest.approx(0.95 - 0.7)
    believed, true, _ = confidence.reliability(rows)
    assert (believed[-1], true[-1]) == pytest.approx((0.95, 0.7)) and np.isnan(believed[:-1]).all()
    assert "0.250" in confidence.finding(rows) and confidence.plot(rows).axes


def test_the_finding_is_of_images_that_nothing_was_chosen_on():
    rows = pd.DataFrame([_row("a", 0.5, 0.6), _row("b", 0.8, 0.8), _row("c", 0.9, 0.9)])
    chosen = pd.DataFrame([_row("d", 0.5, 0.1, images=CHOSEN), _row("e", 0.4, 0.2, images=CHOSEN)])
    assert confidence.finding(pd.concat([rows, chosen])) == confidence.finding(rows)


def test_embedded_pictures_are_not_called_unseen():
    groups = confidence.groups(Settings(datasets={"nuclei": (0, 2), "samples": (0, 1)}))
    assert [group.variants[0].conditions["images"] for group in groups] == [UNSEEN, EMBEDDED]
    assert CHOSEN != UNSEEN and EXPERIMENT.measure is confidence.measure
