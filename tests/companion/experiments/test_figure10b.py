"""Figure 10b times what it says it times, and finds the power by which seconds grow."""

import functools

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from deepcv.checks import resolve
from deepcv.companion import compute
from deepcv.companion.experiments import figure10b
from deepcv.companion.experiments.figure10b import EXPERIMENT, Settings
from deepcv.companion.items import Unit
from deepcv.data import samples
from deepcv.model import segment, solver
from deepcv.model.settings import Settings as ModelSettings


def rows_of(sides=(64, 128, 256), seeds=(0, 1)):
    """Rows whose seconds follow known powers: ours pixels¹, the paper's settings pixels^0.5, Double-DIP pixels^1.5."""
    return pd.DataFrame(
        [
            {"image": "coffee", "seed": seed, "pixels": side, "ours": 1e-4 * side**2, "ours_paper": 2.0 * side}
            | {"double_dip": 1e-4 * side**3}
            for side in sides
            for seed in seeds
        ]
    )


def test_every_image_seed_and_side_is_a_row():
    settings = Settings(profile="cpu", seeds=(0, 1))
    items, sides = EXPERIMENT.items(settings), settings.sides
    assert len(items) == 2 * 2 * len(sides)
    assert [item.conditions for item in items[: len(sides)]] == [{"pixels": side} for side in sides]
    assert {item.conditions["pixels"] for item in EXPERIMENT.items(Settings(size=64))} == {64}


def test_power_is_found_with_its_interval():
    sides = np.array([32.0, 64, 128, 256])
    power, low, high, factor = figure10b.fit(sides, 3e-5 * sides**2.4)
    assert (power, factor) == pytest.approx((1.2, 3e-5))
    assert low == pytest.approx(high)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        _, low, high, _ = figure10b.fit(sides, np.exp(rng.normal(0, 0.2, 4)) * sides**2.4)
        covered += low < 1.2 < high
    assert covered / 200 == pytest.approx(0.95, abs=0.05)
    assert np.isnan(figure10b.fit(sides[:1], sides[:1])).all(), "one size shows no growth"


def test_tables_hold_medians_powers_ratios_and_the_printed_seconds():
    table = figure10b.summary(rows_of())
    assert table["exponent"].tolist() == pytest.approx([1, 0.5, 1.5])
    assert table[128].tolist() == pytest.approx([1e-4 * 128**2, 256, 1e-4 * 128**3])
    assert table["paper, 128"].tolist()[1:] == [29.73, 549.39]
    ratio = figure10b.ratios(rows_of())
    assert ratio[64].tolist() == pytest.approx([64, 1e-4 * 64**3 / 128])
    assert ratio["paper, 128"].tolist()[1] == pytest.approx(18.48, abs=0.01)


def test_all_times_and_the_printed_ones_are_drawn():
    matplotlib.use("Agg")
    (axis,) = figure10b.plot(rows_of()).axes
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert len(labels) == 4
    assert labels[0].endswith("pixels^1.00 (1.00 to 1.00)")
    drawn = np.concatenate([np.asarray(each.get_offsets()) for each in axis.collections])
    assert (drawn == [128, 549.39]).all(axis=1).any()


def test_only_steps_after_the_first_of_a_part_are_timed_and_scaled_to_all(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(figure10b.time, "perf_counter", lambda: next(clock))
    begun = []

    def loop():
        begun.append(0)
        for _ in range(8):
            begun[-1] += 1
            yield

    stopwatch = figure10b._scaled(loop, steps=100, parts=(4, 2), device=torch.device("cpu"))
    assert [next(stopwatch), next(stopwatch)] == [(10 + 10) / 6 * 100] * 2
    assert begun == [8, 8], "each turn is a loop of its own: of each part one step to warm up and the others timed"


def test_a_row_has_seconds_of_all_three_and_no_mask(monkeypatch):
    def short(image, hint, seed, device):  # the paper's networks take seconds to be made
        settings = resolve(ModelSettings, {"u_step": "gradient", "steps": 401, "size": 32})
        return functools.partial(solver.iterate, segment.pose(image, hint, settings, seed, "cpu"), settings), 401

    monkeypatch.setattr(figure10b, "_papers_loop", short)
    monkeypatch.setattr(compute, "_hint", lambda name: compute._sample(name).mask.astype(np.float32))
    (item,) = EXPERIMENT.items(Settings(size=32, seeds=(0,), device="cpu"))
    [row] = EXPERIMENT.compute("quick", "cpu")(Unit([item]))
    measured = row["measured"]
    assert 0 < measured["ours"] < min(measured["ours_paper"], measured["double_dip"])
    assert "labels" not in row
    assert "f_measure" not in row


def test_double_dips_two_steps_are_timed_in_their_proportion():
    sample = samples.load("overlap-disk")
    image, hint = (np.asarray(each, np.float32)[:64, :64] for each in (sample.image / 255, sample.mask))
    loop, steps, parts = figure10b._double_dips_loop(image, hint, 0, torch.device("cpu"), 6)
    short = loop.args[1]
    assert (steps, parts) == (6000, (2, 4))
    assert (short.first_steps, short.second_steps) == (1 + 2, 1 + 4)
