"""Tables and plots of timings say what their rows say."""

import json

import numpy as np
import pandas as pd
import pytest

from deepcv.companion import store, timings
from deepcv.errors import InputError


def images(contender, seconds, scores, **more):
    for image, (second, score) in enumerate(zip(seconds, scores, strict=True)):
        yield {
            **{"part": "images", "dataset": "samples", "image": str(image), "contender": contender},
            **{"seconds": second, "f_measure": score, "peak_mib": 100.0, "baseline_mib": 90.0},
            **{"f_from": "this run", "timed": "whole run"},
            **more,
        }


def test_table_of_the_images_gives_ratios_on_the_same_images():
    rows = pd.DataFrame(
        [
            *images("deep-cv", (1.0, 2.0), (0.8, 0.6)),
            *images("grabcut", (0.5, 0.5), (0.7, 0.7)),
            *images("deep-cv:released", (300.0,), (np.nan,), f_from=None, timed="2 of 401 steps, scaled"),
            *images("deep-cv:released", (np.nan, np.nan), (0.5, 0.3), f_from="recorded", timed=None),
        ]
    )
    table = timings.images(rows)
    assert table.loc[("samples", "deep-cv"), "times ours"] == 1
    assert table.loc[("samples", "grabcut"), "times ours"] == pytest.approx((0.5 + 0.25) / 2)
    released = table.loc[("samples", "deep-cv:released")]
    assert released[["times ours", "F", "images"]].tolist() == [300, 0.4, 1]
    assert released[["F from", "timed"]].tolist() == ["recorded", "2 of 401 steps, scaled"]


def test_energies_are_compared_image_by_image():
    def of(contender, seconds, energies):
        pairs = zip(seconds, energies, strict=True)
        return [
            {
                **{"part": "chan-vese", "dataset": "samples", "image": str(image), "contender": contender, "nu": 1.0},
                **{"seconds": second, "energy": energy},
            }
            for image, (second, energy) in enumerate(pairs)
        ]

    table = timings.energies(pd.DataFrame(of(timings.PEER, (1.0, 3.0), (10, 10)) + of("ours", (0.1, 0.1), (9, 11))))
    assert table.loc[("ν = 1", "ours")].tolist() == pytest.approx([0.1, 20, 10, 0.5, 2])


def test_growth_finds_the_power_of_the_pixels():
    rows = [
        {
            **{"part": "scaling", "contender": "ours", "size": size},
            **{"seconds": 3e-6 * size**2.4, "baseline_mib": 100.0, "peak_mib": 100 + 1e-3 * size**2},
        }
        for size in (64, 128, 256)
    ]
    seconds, memory = timings.growth(pd.DataFrame(rows))
    assert seconds.loc["ours", "exponent"] == pytest.approx(1.2)
    assert memory.loc["ours", "exponent"] == pytest.approx(1.0)


def test_growth_is_drawn_for_every_contender_and_scaled_times_dashed():
    rows = [
        {
            **{"part": "scaling", "contender": name, "size": size, "timed": timed},
            **{"seconds": 1e-5 * size**2, "baseline_mib": 100.0, "peak_mib": 100 + 1e-3 * size},
        }
        for name, timed in (("ours", "whole run"), ("theirs", "2 of 401 steps, scaled"))
        for size in (64, 128)
    ]
    rows += [
        {"part": "scaling", "contender": "theirs", "size": size, "timed": "left out: too long"} for size in (256, 512)
    ]
    figure = timings.plot_growth(pd.DataFrame(rows))
    drawn = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert drawn == {"ours: 1.00, 0.50": "-", "theirs: 1.00, 0.50": "--"}
    assert [text.get_text() for text in figure.texts] == ["theirs: 256² pixels and more left out: too long"]


def test_phases_stand_above_the_step_and_its_floor():
    kinds = [("phase", "forward", 2.0), ("phase", "backward", 3.0), ("step", "all", 5.0), ("floor", "bytes", 1.0)]
    kinds += [("operation", "a convolution", 2.5), ("machine", "copy", 1e9)]
    rows = pd.DataFrame(
        [{"part": "profile", "device": "cpu", "size": "9x9", "kind": k, "name": n, "value": v} for k, n, v in kinds]
    )
    table = timings.iteration(rows)
    assert list(table.index) == ["forward", "backward", "the whole step", "bytes"]
    assert table[("cpu", "9x9")].tolist() == [2, 3, 5, 1]
    (axis,) = timings.plot_operations(rows).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a convolution"]


def test_recorded_timings_come_with_what_made_them(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setattr(store, "_REPOSITORY", tmp_path)
    rows, made_by = timings.recorded("benchmark")
    assert rows.empty and made_by == {}
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "benchmark.csv").write_text("part,seconds\nimages,2.5\n")
    with pytest.raises(InputError, match="can't be read"):
        timings.recorded("benchmark")
    (tmp_path / "recorded" / "benchmark.json").write_text(json.dumps({"made_by": {"images, cpu": {"package": "1"}}}))
    rows, made_by = timings.recorded("benchmark")
    assert rows["seconds"].tolist() == [2.5] and made_by == {"images, cpu": {"package": "1"}}


def test_every_method_is_timed_here_after_the_hint(monkeypatch):
    monkeypatch.setitem(timings.SIDES, "quick", 40)
    table = timings.here("quick", "cpu")
    assert table.index[0] == "the hint" and {"Deep Chan-Vese", "GrabCut"} <= set(table.index)
    assert (table["seconds"] > 0).all()
    with pytest.raises(InputError, match="no profile 'fast'"):
        timings.here("fast")
