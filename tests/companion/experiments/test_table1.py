"""Table 1 asks for the right results, computes each once, and keeps its three groups of numbers apart."""

import shutil
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from deepcv import methods
from deepcv.companion import compute, store
from deepcv.companion.experiments import experiment, table1
from deepcv.companion.experiments.table1 import EXPERIMENT, Settings
from deepcv.companion.items import Unit
from deepcv.companion.recorded import full_run, record
from deepcv.data import Dataset, Sample
from deepcv.errors import InputError
from deepcv.methods import METHODS
from deepcv.metrics import bootstrap_interval
from deepcv.model import segment

NAMES = ("ant", "bee", "cow")
CHEAP = ("saliency", "chan-vese")


def sample(name):
    """A small disk on a ground, another for each name."""
    generator = np.random.default_rng(len(name) + ord(name[0]))
    rows, columns = np.indices((34, 40))
    mask = np.hypot(rows - 17, columns - generator.integers(16, 24)) < 9
    image = np.where(mask[..., None], [0.8, 0.3, 0.2], [0.3, 0.5, 0.6]) + generator.normal(0, 0.03, (34, 40, 3))
    return Sample(name, np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask, "samples", "made up")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Three small images instead of a data set, and a store of their own."""
    datasets = {"samples": Dataset(NAMES, sample), "weizmann": Dataset([f"w{i:02}" for i in range(30)], sample)}
    for module in (experiment, compute):
        monkeypatch.setattr(module, "load_dataset", datasets.__getitem__)
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.setattr(store, "_REPOSITORY", tmp_path / "none")
    monkeypatch.setattr(compute, "_hints", {})
    compute._sample.cache_clear()
    yield
    compute._sample.cache_clear()


@pytest.fixture
def counted(monkeypatch):
    """What was computed, as (image, method, seed)."""
    calls = []
    original = compute.compute

    def watched(unit, **options):
        calls.extend((item.image, item.method, item.seed) for item in unit)
        return original(unit, **options)

    monkeypatch.setattr(compute, "compute", watched)
    return calls


def rows_of(scores, dataset="samples", seeds=1):
    """Rows as a store gives them, from F-measures by "method:preset" or "method:preset:regions"."""
    rows = []
    for name, values in scores.items():
        method, preset, *regions = name.split(":")
        for index, value in enumerate(values):
            for seed in range(seeds):
                rows.append(
                    {
                        "profile": "quick",
                        "dataset": dataset,
                        "image": f"i{index:02}",
                        "method": method,
                        "preset": preset,
                        "seed": seed,
                        "f_measure": value,
                        "iou": value / (2 - value),
                        "accuracy": value,
                        "f_measure_oracle": max(value, 0.5),
                        "iou_oracle": value,
                        "accuracy_oracle": value,
                        "seconds": 1.0 + index,
                        "device": "cpu",
                        "regions": float(*regions) if regions else np.nan,
                    }
                )
    return pd.DataFrame(rows)


def recordable(rows):
    return rows.drop(columns="regions").assign(
        settings=[{}] * len(rows),
        conditions=[{}] * len(rows),
        code="c",
        package="1",
        libraries=[{}] * len(rows),
        machine=[{}] * len(rows),
        data_hash="d",
        created="2026",
    )


# what is asked for


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"profile": "fast"}, "no profile 'fast'; choose from quick, cpu, paper"),
        ({"n_images": 0}, "n_images is 0"),
        ({"n_images": -2}, "n_images is -2"),
        ({"seeds": ()}, "no seed"),
        ({"methods": ("snakes",)}, "no method 'snakes'"),
        ({"methods": ("deep-cv:papers",)}, "no preset 'papers'"),
        ({"methods": ("saliency", "grabcut:paper")}, "grabcut has no preset 'paper'"),
        ({"methods": ("saliency", "vese-chan")}, "vese-chan gives more than two regions"),
    ],
)
def test_settings_that_name_nothing_are_refused(given, named):
    with pytest.raises(InputError, match=named):
        Settings(**given)


def test_a_size_too_small_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(InputError, match="size is 3"):
        EXPERIMENT.run(Settings(methods=("deep-cv",), size=3), workers=1, progress=False)
    assert not list(tmp_path.iterdir())


def test_lists_are_taken_as_a_notebook_gives_them():
    settings = Settings(methods=["saliency"], seeds=[1, 2])
    assert settings == Settings(methods=("saliency",), seeds=(1, 2))


def test_random_methods_run_for_every_seed_and_the_others_once():
    found = EXPERIMENT.items(Settings(seeds=(4, 5, 6)))
    count = Counter((item.method, item.preset) for item in found)
    assert count["deep-cv", "default"] == count["grabcut", "default"] == 3 * len(NAMES)
    assert count["saliency", "default"] == count["chan-vese", "default"] == len(NAMES)
    assert {item.seed for item in found if item.method == "saliency"} == {4}
    assert {item.seed for item in found if item.method == "deep-cv"} == {4, 5, 6}
    assert len({item.key for item in found}) == len(found)


@pytest.mark.parametrize("images", [1, 2, 3, 50])
def test_only_the_first_images_by_name(images):
    found = EXPERIMENT.items(Settings(n_images=images, methods=CHEAP))
    assert [item.image for item in found if item.method == "saliency"] == list(NAMES[:images])
    assert len(found) == 2 * min(images, len(NAMES))


def test_items_carry_the_image_and_every_setting():
    (item,) = EXPERIMENT.items(Settings(n_images=1, methods=("chan-vese",)))
    assert item.data_hash == sample("ant").hash and item.experiment == "table1" and item.dataset == "samples"
    assert {"nu", "solver", "dt"} <= set(item.settings)
    ours, theirs = (
        next(i.settings for i in EXPERIMENT.items(Settings(n_images=1, methods=("deep-cv",), size=size)))
        for size in (None, 64)
    )
    assert theirs == ours | {"size": 64}


@pytest.mark.parametrize(("preset", "images"), [("paper", 30), ("printed", experiment.N_TUNING_IMAGES)])
def test_authors_presets_are_reduced_on_a_cpu_and_but_for_the_recommended_one_over_the_first_images(preset, images):
    def items(profile, wanted):
        asked = Settings(profile, methods=("deep-cv", f"deep-cv:{preset}"), seeds=(0,))
        return [item for item in EXPERIMENT.items(asked) if item.preset == wanted]

    reduced, full = items("cpu", preset), items("paper", preset)
    assert len(reduced) == images and len(full) == len(items("cpu", "default")) == 30
    changes = experiment.REDUCED[f"deep-cv:{preset}"].changes
    assert changes and all(item.settings == full[0].settings | changes for item in reduced)
    assert {(item.settings["size"], item.settings["width"]) for item in full} == {(300, 64)}


def test_an_interrupted_run_has_whole_images_of_the_first_seed():
    found = EXPERIMENT.items(Settings("cpu", seeds=(0, 1)))
    fast = set(Settings("cpu").methods) - set(Settings("cpu").reduced)
    keys = {item.key for item in EXPERIMENT.items(Settings("cpu", methods=sorted(fast), seeds=(0,)))}
    first = [item for item in found if item.key in keys]
    assert found[: len(first)] == first
    assert [item.image for item in first] == sorted(item.image for item in first)


# the run


def test_run_computes_each_result_once(counted):
    settings = Settings(methods=CHEAP, n_images=1, seeds=(0, 1))
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    assert sorted(counted) == [("ant", "chan-vese", 0), ("ant", "saliency", 0)]
    again = EXPERIMENT.run(settings, workers=1, progress=False)
    assert len(counted) == 2
    pd.testing.assert_frame_equal(rows, again)
    more = EXPERIMENT.run(Settings(methods=CHEAP, n_images=2), workers=1, progress=False)
    assert sorted(counted[2:]) == [("bee", "chan-vese", 0), ("bee", "saliency", 0)]
    assert len(more) == 4
    EXPERIMENT.run(Settings(methods=CHEAP, n_images=1, recompute=True), workers=1, progress=False)
    assert len(counted) == 6


def test_rows_are_scored_against_the_truth_from_the_shared_hint():
    rows = EXPERIMENT.run(Settings(methods=CHEAP, n_images=2), workers=1, progress=False)
    assert set(zip(rows["image"], rows["method"], strict=True)) == {(n, m) for n in NAMES[:2] for m in CHEAP}
    assert rows.loc[rows["method"] == "saliency", "f_measure"].between(0.9, 1).all()
    assert (rows["f_measure"] <= rows["f_measure_oracle"]).all()
    np.testing.assert_allclose(rows["iou"], rows["f_measure"] / (2 - rows["f_measure"]))
    assert (rows["seconds"] > 0).all() and (rows["profile"] == "quick").all()


def test_a_failure_keeps_what_was_finished_and_is_named(monkeypatch, counted):
    settings = Settings(methods=CHEAP, n_images=2)
    watched = compute.compute

    def failing(unit, **options):
        if unit[0].image == "bee":
            raise InputError("the pen broke")
        return watched(unit, **options)

    with monkeypatch.context() as patch:
        patch.setattr(compute, "compute", failing)
        with pytest.raises(InputError, match=r"bee.*the pen broke"):
            EXPERIMENT.run(settings, workers=1, progress=False)
    assert len(counted) == 2
    assert len(EXPERIMENT.run(settings, workers=1, progress=False)) == 4
    assert len(counted) == 4


def test_a_batch_that_does_not_fit_into_memory_is_halved(monkeypatch):
    tried, original = [], segment.deep_chan_vese_batch

    def small_memory(images, *hints, **options):
        tried.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return original(images, *hints, **options)

    items = EXPERIMENT.items(Settings(methods=("deep-cv",), seeds=(0,), size=20, device="cpu"))
    monkeypatch.setitem(METHODS, "deep-cv", replace(METHODS["deep-cv"], batch=small_memory))
    monkeypatch.setattr(
        compute, "_hints", {("samples", (), name): sample(name).mask.astype(np.float32) for name in NAMES}
    )
    rows = compute.compute(Unit(items), "quick", "cpu")
    assert tried == [3, 2], "an image by itself needs no batch"
    alone = [compute.compute(Unit([item]), "quick", "cpu")[0] for item in items]
    assert [row["f_measure"] for row in rows] == [row["f_measure"] for row in alone]


# the tables


def test_summary_averages_seeds_then_images_and_puts_the_best_first():
    rows = rows_of({"saliency:default": [0.4, 0.6], "deep-cv:default": [0.8, 0.9]})
    extra = rows[rows["method"] == "deep-cv"].assign(seed=1, f_measure=[0.6, 0.7])
    found = table1.summary(pd.concat([rows, extra]))
    assert list(found.index) == ["deep-cv:default", "saliency:default"]
    assert list(found.columns) == [
        "F", "F interval", "F median", "mIoU", "mIoU interval", "F oracle",
        "ours wins", "p", "s/image", "images", "seeds",
    ]  # fmt: skip
    assert found["F"].tolist() == found["F median"].tolist() == pytest.approx([0.75, 0.5])
    assert found["ours wins"].tolist() == pytest.approx([np.nan, 1], nan_ok=True)
    low, high = bootstrap_interval([0.7, 0.8])
    assert found.loc["deep-cv:default", "F interval"] == f"{low:.3f}–{high:.3f}"
    assert found["images"].tolist() == [2, 2] and found["seeds"].tolist() == [2, 1]
    assert found.loc["saliency:default", ["F oracle", "s/image"]].tolist() == [0.55, 1.5]


def test_images_count_alike_whatever_their_seeds():
    rows = rows_of({"deep-cv:default": [0.4, 0.8]})
    more = pd.concat([rows, *(rows.iloc[:1].assign(seed=seed) for seed in (1, 2))])
    assert table1.summary(more)["F oracle"].item() == pytest.approx(table1.summary(rows)["F oracle"].item())


def test_the_finding_compares_with_what_has_all_images_and_leaves_out_what_is_missing():
    rows = rows_of({"deep-cv:default": [0.5, 0.7], "chan-vese:default": [0.4, 0.6], "statistical:default": [0.9]})
    found = table1.finding(rows)
    assert found.startswith("On 2 photographs our default has an F of 0.600. Its lead is +0.1")
    assert "Chan-Vese" in found and "Statistical" not in found and "GrabCut" not in found and "nan" not in found


def test_what_ran_on_fewer_images_comes_last():
    rows = rows_of({"saliency:default": [0.4, 0.6], "deep-cv:default": [0.9], "grabcut:default": [0.3, 0.5]})
    assert list(table1.summary(rows).index) == ["saliency:default", "grabcut:default", "deep-cv:default"]


def test_ours_is_compared_image_by_image_after_averaging_seeds():
    theirs = np.linspace(0.3, 0.8, 9)
    ours = theirs + np.array([0.1, 0.2, -0.045, 0.03, 0.04, 0.05, 0, 0.06, 0.07])
    rows = rows_of({"deep-cv:default": ours, "grabcut:default": theirs}, seeds=3)
    found = table1.summary(rows).loc["grabcut:default"]
    assert found["ours wins"] == pytest.approx((7 + 0.5) / 9)
    # without the tie the negative difference has rank 3 of 8; signs are equally likely if nothing differs
    subsets = [sum(rank for rank in range(1, 9) if code >> (rank - 1) & 1) for code in range(2**8)]
    assert found["p"] == pytest.approx(2 * np.mean([total <= 3 for total in subsets]))
    assert list(table1.paired(rows).index) == ["Deep Chan-Vese, our default", "GrabCut"]


def test_few_images_and_no_row_of_ours_are_compared_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = table1.summary(rows_of({"deep-cv:default": [0.5, 0.4], "grabcut:default": [0.5, 0.2]}))
        none = table1.summary(rows_of({"grabcut:default": [0.5, 0.2]}))
    assert one.loc["grabcut:default", ["ours wins", "p"]].tolist() == [0.75, 1.0]
    assert none[["ours wins", "p"]].isna().all(axis=None)


def test_quick_leaves_out_what_takes_seconds_and_the_full_profiles_have_every_ablation():
    ablations = {"hint-cut", "ridge", "mixture"}
    slower = {"forest", "feature-clustering", "mixture:grabcut", "deep-cv:auto-encoder"}
    assert ablations <= set(Settings().methods) and not slower & set(Settings().methods)
    assert all(ablations | slower <= set(Settings(profile).methods) for profile in ("cpu", "paper"))


def test_three_groups_stand_side_by_side_and_are_never_mixed(repository, tmp_path):
    shutil.copytree(repository / "results" / "paper", tmp_path / "paper")
    full = {"deep-cv:default": [0.71, 0.73], "grabcut:default": [0.5, 0.6], "deep-cv:paper": [0.3, 0.32]}
    record(recordable(rows_of(full, "weizmann").assign(profile="cpu")), "table1")
    fewer = rows_of({"deep-cv:default": [0.99]}, "weizmann").assign(profile="paper")
    record(recordable(fewer), "table1")  # a better profile counts when it has all images
    table = table1.compared(rows_of({"saliency:default": [0.9], "deep-cv:default": [0.1]}))
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == ["this run", "recorded run", "paper"]
    ours = table.loc["Deep Chan-Vese, our default"]
    assert ours["this run", "F"] == pytest.approx(0.1)
    assert ours["recorded run", "F"] == pytest.approx(0.72)
    algorithm = table.loc["Deep Chan-Vese, paper's settings"]
    assert algorithm["paper", "F"] == 0.87 and algorithm["paper", "mIoU"] == 0.79
    assert table.loc["Chan-Vese [11]", "paper"].tolist() == [0.79, 0.68]
    for row, group in (
        ("GrabCut", "this run"),
        ("GrabCut", "paper"),
        ("Saliency [34], Otsu", "recorded run"),
        ("Saliency [34], Otsu", "paper"),
        ("Double-DIP [18], surer hint", "this run"),
        ("Double-DIP [18], surer hint", "recorded run"),
        ("Chan-Vese [11]", "this run"),
        ("Deep Chan-Vese, our default", "paper"),
    ):
        assert table.loc[row, group].isna().all(), (row, group)
    assert table.index.is_unique and len(table) == 8
    assert list(table.index[:2]) == ["Saliency [34], Otsu", "Deep Chan-Vese, our default"]  # this run's, best first
    html = table1.style(table).to_html()
    assert "0.720" in html and "0.87" in html and "–" in html and "nan" not in html.lower()


def test_table_stands_without_a_recorded_run_and_without_the_papers_numbers():
    table = table1.compared(rows_of({"saliency:default": [0.9, 0.8], "deep-cv:default": [0.1, 0.3]}))
    assert table["this run", "F"].tolist() == pytest.approx([0.85, 0.2])
    assert table["recorded run"].isna().all(axis=None) and table["paper"].isna().all(axis=None)
    assert "0.850" in table1.style(table).to_html()
    assert table1.by_count(full_run("table1")).empty


def test_halves_part_the_images_by_name():
    f = np.r_[np.full(experiment.N_TUNING_IMAGES, 0.9), np.full(10, 0.5)]
    rows = rows_of({"deep-cv:default": f, "saliency:default": f - 0.2}, "weizmann")
    other = rows_of({"deep-cv:default": [0.0] * 5}, "samples")
    found = table1.halves(pd.concat([other, rows.sample(frac=1, random_state=0)]))
    chosen, others = dict.fromkeys(found.columns.get_level_values(0))
    assert found.loc["Deep Chan-Vese, our default", (chosen, "F")] == pytest.approx(0.9)
    assert found.loc["Deep Chan-Vese, our default", (others, "F")] == pytest.approx(0.5)
    assert found.loc["Saliency [34], Otsu", (others, "F")] == pytest.approx(0.3)
    assert found[chosen, "images"].tolist() == [20, 20] and found[others, "images"].tolist() == [10, 10]


def test_every_method_and_preset_has_a_title_of_its_own():
    names = {name for profile in Settings.profiles for name in Settings(profile).methods}
    assert len({methods.title(name) for name in names}) == len(names)


def test_the_best_count_of_regions_over_all_images_is_shown_and_no_other():
    counts = {f"normalized-cuts:regions:{k}": [0.1 * k, 0.8 - 0.1 * k] for k in (2, 3)}
    counts["normalized-cuts:regions:4"] = [0.9, 0.3]
    found = table1.summary(rows_of(counts | {"saliency:default": [0.5, 0.5]}))
    assert found["F"].to_dict() == pytest.approx({"normalized-cuts:regions": 0.6, "saliency:default": 0.5})
    halves = table1.halves(rows_of({name: f + [0.0] * 19 for name, f in counts.items()}, "weizmann"))
    assert list(halves.index) == ["Normalized cuts [41], best region"]
    counts["normalized-cuts:regions:10"] = [0.2, 0.2]
    assert table1.by_count(rows_of(counts))["F"].to_dict() == pytest.approx(
        {"2 regions": 0.4, "3 regions": 0.4, "4 regions": 0.6, "10 regions": 0.2}
    )


def test_regions_are_scored_by_the_one_that_fits_best_and_each_count_has_a_row():
    settings = Settings(methods=("normalized-cuts:regions",), n_images=1, seeds=(0,))
    rows = EXPERIMENT.run(settings, workers=1, progress=False)
    assert set(rows["preset"]) == {"regions"} and list(rows["regions"]) == list(table1.REGIONS)
    assert rows["f_measure"].max() > 0.9  # one of the regions is the disk, not the one called foreground
