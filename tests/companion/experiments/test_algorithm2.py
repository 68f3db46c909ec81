"""The starts differ in nothing else, the true one is the partition itself, and energies are compared run by run."""

import numpy as np
import pandas as pd
import pytest

from deepcv.companion.compute import sample_of
from deepcv.companion.experiments import algorithm2
from deepcv.companion.experiments.algorithm2 import EXPERIMENT, STARTS, Settings
from deepcv.metrics import mean_iou_matched


def items(**changes):
    return EXPERIMENT.items(Settings(n_images=1, seeds=[0], **changes))


def test_starts_differ_in_the_start_alone():
    found = items()
    assert [item.conditions["start_from"] for item in found] == list(STARTS)
    assert {(item.method, item.preset) for item in found} == {("deep-cv", "paper")}
    assert len({str({**item.settings, "start": ""}) for item in found}) == 1


def test_the_true_start_is_the_partition():
    sample = sample_of(items()[0])
    count = int(sample.regions.max()) + 1
    start = algorithm2._one_hot(sample.regions, count, sample.regions.shape)
    assert np.array_equal(start.argmax(axis=0), sample.regions) and np.array_equal(start.sum(axis=0), start.max(axis=0))


def test_a_run_that_hardly_moves_stays_where_it_started():
    [item] = items(starts=("truth",))
    item.settings.update(learning_rate=1e-9, learning_rate_phi=1e-9, steps=2, guided_radius=0, size=144)
    sample = sample_of(item)
    found, numbers = algorithm2.measure(item, sample, None, "cpu")
    assert mean_iou_matched(found.labels, sample.regions) > 0.99
    assert np.isfinite(numbers["energy"]) and numbers["empty"] == 0


def test_the_partition_costs_at_least_its_length_and_one_region_no_more_than_half_the_variance():
    least = algorithm2.bounds(Settings(n_images=2, seeds=[0]))
    assert (least["regions"] >= 3).all() and len(least) == 2
    [item] = items(starts=("truth",))
    item.settings.update(learning_rate=1e-9, learning_rate_phi=1e-9, steps=2)
    sample = sample_of(item)
    _, numbers = algorithm2.measure(item, sample, None, "cpu")
    row = least.loc[sample.name]
    assert numbers["one_region"] == pytest.approx(row["one region, at most"])
    assert numbers["energy"] > 0.95 * row["the truth, at least"] > 0  # u is a softmax, a little short of 0 and 1
    # the length of (4.1): √2 or 1 where a pixel differs from both or one of those above and at its left, in each phase
    regions = np.pad(algorithm2._one_hot(sample.regions, 3, (48, 48)).argmax(axis=0), ((1, 0), (1, 0)), mode="edge")
    here, above, left = regions[1:, 1:], regions[:-1, 1:], regions[1:, :-1]
    lengths = [np.hypot((here == n) != (above == n), (here == n) != (left == n), dtype=float) for n in range(3)]
    assert row["the truth, at least"] == pytest.approx(np.sum(lengths) / here.size, rel=1e-5)


def test_energies_are_compared_with_those_from_the_truth():
    energies = {("truth", "a"): 2.0, ("truth", "b"): 2.0, ("random", "a"): 1.5, ("random", "b"): 2.5}
    rows = pd.DataFrame(
        {
            "start_from": start,
            "image": image,
            "seed": 0,
            "mean_iou_matched": 0.5,
            "adjusted_rand_index": 0.4,
            "energy": energy,
            "empty": 0.0,
            "one_region": 0.1,
        }
        for (start, image), energy in energies.items()
    )
    table = algorithm2.summary(rows)
    assert list(table.index) == ["truth", "random"]
    assert table.loc["random", "lower"] == pytest.approx(0.5)
    assert algorithm2.plot(rows).axes[0].get_xlabel()
