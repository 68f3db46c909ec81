"""Other maps: what is run, and changes paired over images."""

import numpy as np
import pandas as pd
import pytest

from deepcv.companion.experiments import hints
from deepcv.companion.experiments.confidence import CHOSEN, UNSEEN
from deepcv.companion.experiments.hints import EXPERIMENT, MAPS, REFERENCE, TRUTH, Settings

OTHER = "160 pixels"


def _rows(scores, images=UNSEEN):
    common = {"dataset": "weizmann", "method": "ridge", "preset": "default", "seed": 0, "images": images}
    return [
        common | {"variant": name, "image": image, "f_measure": f}
        for name, each in scores.items()
        for image, f in each.items()
    ]


def test_changes_are_paired_over_images():
    scores = {REFERENCE: {"a": 0.5, "b": 0.7}, OTHER: {"a": 0.6}, TRUTH: {"a": 0.9, "b": 0.9}}
    rows = pd.DataFrame(_rows(scores) + _rows(scores, CHOSEN))
    table = hints.summary(rows).sort_index(level=(0, 1, 2), sort_remaining=False)
    table = table.loc["weizmann", UNSEEN, "Ridge regression"]
    assert table["ΔF", "mean"].tolist() == pytest.approx([0, 0.1, 0.3]) and table["run", "images"].tolist() == [2, 1, 2]
    assert "0.600 (+0.100)" in hints.readable(hints.summary(rows)).to_html()
    assert OTHER in (said := hints.finding(rows)) and "+0.100" in said and "+0.300" in said
    (axis,) = hints.plot(hints.summary(rows)).axes
    assert [each.get_text() for each in axis.get_yticklabels()] == [OTHER]


def test_a_perfect_hint_gives_the_truth_and_a_variant_another_mask(tmp_path, monkeypatch):
    """The saliency threshold shows the hint itself."""
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    rows = EXPERIMENT.run(Settings(n_images=1, device="cpu"), workers=1, progress=False)
    rows = rows.set_index("variant")["f_measure"]
    assert rows[TRUTH] == 1 > rows[REFERENCE]
    assert {len(each) for each in MAPS.values()} == {0, 1, 2, 3} and np.isfinite(rows).all()
