"""Computing items: in batches where the device gains by it, with hints found once."""

from dataclasses import replace

import numpy as np
import pytest

from deepcv import parallel
from deepcv.companion import compute
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.items import Unit
from deepcv.data import Sample
from deepcv.errors import InputError
from deepcv.methods import METHODS
from deepcv.segmentation import Segmentation

IMAGES = ("modes-blob", "modes-disk", "modes-pair", "overlap-pair")
TABLE = EXPERIMENTS["table1"]


def items(device="cuda X", seeds=(0, 1)):
    settings = TABLE.settings(methods=("deep-cv", "saliency"), size=32, seeds=seeds)
    return [item for item in TABLE.items(settings, device=device) if item.image in IMAGES]


def test_a_gpu_gets_images_of_the_deep_model_together_and_the_cpu_one_by_one():
    assert {len(unit) for unit in compute.units(items("cpu"))} == {1}
    units = compute.units(items())
    assert [len(unit) for unit in units if unit[0].method == "deep-cv"] == [8]
    assert [len(unit) for unit in units if unit[0].method == "saliency"] == [1] * 4
    units = [unit for unit in compute.units(items(), batch=3) if unit[0].method == "deep-cv"]
    assert [len(unit) for unit in units] == [3, 3, 2]
    flat = [item for unit in units for item in unit]
    assert [item.seed for item in flat] == [0] * 4 + [1] * 4
    shapes = [compute.sample_of(item).image.shape for item in flat[:4]]
    assert shapes == sorted(shapes), "those of one size are next to each other"
    assert {item.key for item in flat} == {item.key for item in items() if item.method == "deep-cv"}


def test_what_is_measured_image_by_image_is_not_batched():
    assert {len(unit) for unit in compute.units(items(), measured=True)} == {1}


def test_a_batch_is_one_call_and_gives_each_image_its_row(monkeypatch):
    calls = []

    def batch(images, hints=None, *, seeds, device=None, progress=False, **settings):
        calls.append((len(images), seeds, settings["size"]))
        return [
            Segmentation(labels := (hint > 0.5).astype("uint8"), labels[None] * [[[1]], [[0]]], seconds=0.25)
            for hint in hints
        ]

    (unit,) = compute.units([item for item in items(seeds=(0,)) if item.method == "deep-cv"])
    monkeypatch.setitem(METHODS, "deep-cv", replace(METHODS["deep-cv"], batch=batch))
    monkeypatch.setattr(compute, "device_kind", lambda _: "cuda X")
    monkeypatch.setattr(compute, "_hints_of", lambda unit: [compute.sample_of(item).mask * 1.0 for item in unit])
    rows = compute.compute(unit, profile="quick", device=None)
    assert calls == [(4, [0] * 4, 32)]
    assert [row["f_measure"] for row in rows] == [1.0] * 4 and {row["seconds"] for row in rows} == {0.25}


def test_of_several_regions_the_one_that_fits_where_there_is_a_truth_is_scored():
    labels = np.repeat(np.arange(3, dtype=np.uint8), 10)[None].repeat(4, axis=0)
    mask, ignore = labels == 1, np.zeros((4, 30), bool)
    mask[:, 20:] = True  # region 2 fits it as well as region 1, which fits alone where 9 columns of 10 are ignored
    mask[:, 10:12] = False
    ignore[:, 21:] = True
    found = Segmentation(labels, (labels == np.arange(3)[:, None, None]).astype(np.float32))
    sample = Sample("a", np.zeros((4, 30, 3), np.uint8), mask, "folder", "here", ignore=ignore)
    item = replace(items("cpu")[0], settings={"merge": False})
    row = compute._labels_and_scores(item, found, sample)
    np.testing.assert_array_equal(row["labels"], labels == 1)


def test_hints_of_a_batch_are_found_in_processes_and_kept(monkeypatch):
    found = []

    def run(function, names, **options):
        found.append(list(names))
        return [(name, name) for name in names]

    monkeypatch.setattr(parallel, "run", run)
    monkeypatch.setattr(compute, "_hints", {})
    unit = Unit(items("cpu"))
    names = [("samples", (), item.image) for item in unit]
    assert compute._hints_of(unit) == names and len(found[0]) == 4
    assert compute._hints_of(unit) == names and found[1] == []


def test_another_device_or_image_than_asked_for_is_refused():
    (unit, *_) = compute.units([item for item in items() if item.method == "saliency"])
    with pytest.raises(InputError, match="it is for cuda X, but the device here is cpu"):
        compute.compute(unit, profile="quick", device="cpu")
    other = Unit([replace(items("cpu")[0], data_hash="another")])
    with pytest.raises(InputError, match=r"modes-blob .*samples"):
        compute.compute(other, profile="quick", device="cpu")
