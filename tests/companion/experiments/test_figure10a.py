"""Only the number of samples differs, and the curve passes through the means."""

import matplotlib
import numpy as np
import pandas as pd

from deepcv.companion.experiments import figure10a
from deepcv.companion.experiments.figure10a import SAMPLES, Settings


def rows_of(preset, by_name):
    return pd.DataFrame(
        [
            {
                "preset": preset,
                "variant": name,
                "seed": 0,
                "image": f"i{image}",
                "f_measure": f,
                "iou": f - 0.1,
                "seconds": 1.0,
            }
            for name, scores in by_name.items()
            for image, f in enumerate(scores)
        ]
    )


ROWS = pd.concat(
    [
        rows_of("default", {"1 sample": [0.6, 0.8], "4 samples": [0.65, 0.85]}),
        rows_of("paper", {"1 sample": [0.3, 0.5]}),
    ]
)


def test_only_the_number_of_samples_differs():
    items = figure10a.EXPERIMENT.items(Settings(n_images=1, seeds=[0], variants=list(SAMPLES)))
    assert [item.settings["samples"] for item in items] == [1, 2, 4, 8, 16]
    assert len({str(item.settings | {"samples": 0}) for item in items}) == 1


def test_one_sample_is_what_the_others_are_compared_with():
    change = figure10a.summary(ROWS)["ΔF"]["mean"]
    assert change["our solver"].round(6).to_dict() == {"1 sample": 0, "4 samples": 0.05}
    assert change["the paper's loop"].to_dict() == {"1 sample": 0}


def test_curves_pass_through_the_means_at_the_numbers_of_samples():
    matplotlib.use("Agg")
    ours, theirs = figure10a.plot(figure10a.summary(ROWS)).axes
    drawn = {container.get_label(): container.lines[0] for container in ours.containers}
    np.testing.assert_array_equal(drawn["F"].get_xdata(), [1, 4])
    np.testing.assert_allclose(drawn["F"].get_ydata().astype(float), [0.7, 0.75])
    np.testing.assert_allclose(drawn["mIoU"].get_ydata().astype(float), [0.6, 0.65])
    assert theirs.get_title() == "the paper's loop"
