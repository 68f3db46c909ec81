"""Training: resumed after a kill it ends the same, two processes compute what one does, nothing is lost on the way."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from deepcv.amortized import redo, teaching, training
from deepcv.amortized.model import Model
from deepcv.amortized.run import BEST, CHECKPOINT, FORMAT, LAST, LOG, at_epoch, load_checkpoint
from deepcv.amortized.segmenter import Segmenter, as_input
from deepcv.amortized.settings import Settings
from deepcv.amortized.training import train
from deepcv.cli import main
from deepcv.data import flowerlike, load_dataset
from deepcv.data.crops import UNSCORED, Crops, crops
from deepcv.errors import InputError
from deepcv.methods import get_method

pytest.importorskip("lightning_fabric", reason="install the extra `train`")

SETTINGS = Settings(
    size=16,
    levels=2,
    width=4,
    model_width=4,
    discriminator_width=4,
    batch=4,
    epochs=4,
    conservation=True,
    hint="saliency",
)
"""Everything switched on, as small as it gets."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Of crops and hints, one for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPCV_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def images(cache):
    return crops(flowerlike.dataset("train")[:12], 16)


@pytest.fixture(scope="module")
def validation(cache):
    return crops(flowerlike.dataset("val")[:4], 16)


def taught(images):
    """Hints that are right."""
    return np.where(images.truths == 1, 255, 0).astype(np.uint8)


def run(images, out, settings=SETTINGS, *, make=Model, **options):
    return train(settings, images, out, make=make, hints=taught(images), **options)


@pytest.fixture(scope="module")
def whole(images, validation, tmp_path_factory):
    """The folder of a run that nothing stopped; tests that may write into it take a copy."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(images, folder, validation=validation)
    return folder


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(whole, tmp_path / "finished")


def history(folder):
    return load_checkpoint(folder / CHECKPOINT)["history"]


def weights(folder):
    return load_checkpoint(folder / CHECKPOINT)["model"]


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def without_times(history):
    return [{name: value for name, value in row.items() if "second" not in name} for row in history]


# -- going on ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def test_a_run_that_was_stopped_in_an_epoch_ends_with_the_same_bits(images, validation, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        step, left = Model.step, iter(range(7))  # three iterations an epoch: two epochs and one more

        def stopping(*arguments):
            if next(left, None) is None:
                raise Killed
            return step(*arguments)

        patch.setattr(Model, "step", stopping)
        with pytest.raises(Killed):
            run(images, tmp_path / "parts", validation=validation)
    assert load_checkpoint(tmp_path / "parts" / CHECKPOINT)["epoch"] == 2
    told = []
    parts = run(images, tmp_path / "parts", validation=validation, report=told.append)
    assert "resuming after epoch 2 of 4" in told[0]
    assert_equal(weights(whole), weights(tmp_path / "parts"))
    assert without_times(history(whole)) == without_times(parts.history)
    for name in (LAST, BEST):
        first, second = (Segmenter.load(each / name) for each in (whole, tmp_path / "parts"))
        assert_equal(first.network.state_dict(), second.network.state_dict())


def test_a_finished_run_is_not_trained_again(images, finished, monkeypatch):
    monkeypatch.setattr(Model, "step", lambda *_: pytest.fail("trained again"))
    assert len(run(images, finished).history) == SETTINGS.epochs


def test_a_killed_process_leaves_a_checkpoint_that_can_be_gone_on_from(tmp_path):
    out = tmp_path / "run"
    command = train_command(tmp_path, out, "--epochs", "5")
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (out / CHECKPOINT).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = load_checkpoint(out / CHECKPOINT)
    assert 1 <= kept["epoch"] < 5
    assert Segmenter.load(out / LAST).card["data"] == "a folder of pictures"
    assert not [path for path in out.iterdir() if str(tmp_path).encode() in path.read_bytes()]
    for folder in (out, tmp_path / "whole"):
        assert main.main(train_command(tmp_path, folder, "--epochs", "5")[3:]) == 0
    assert_equal(weights(out), weights(tmp_path / "whole"))


def test_a_folder_that_holds_another_run_is_not_overwritten(images, finished):
    before = (finished / CHECKPOINT).read_bytes()
    others = ({"seed": 1}, {"settings": Settings(**{**vars(SETTINGS), "epochs": 5})})
    for given, said in zip(others, ("seed 0, now 1", "epochs 4, now 5"), strict=True):
        with pytest.raises(InputError, match=rf"contains a different run \({said}\); choose another --out"):
            run(images, finished, **given)
    with pytest.raises(InputError, match=r"a different run \(images or hints\); choose another --out"):
        run(Crops(images.names, 255 - images.images, images.truths), finished)
    assert (finished / CHECKPOINT).read_bytes() == before


def test_on_another_machine_the_first_ones_checkpoint_counts(images, whole, tmp_path, monkeypatch):
    """A process that is not the first takes what it is sent, whatever lies in a folder of its own."""
    sent = load_checkpoint(whole / CHECKPOINT)
    fabric = training.fabric_for("cpu")
    monkeypatch.setattr(type(fabric), "is_global_zero", False)
    monkeypatch.setattr(fabric, "broadcast", lambda found: sent)
    second = run(images, tmp_path / "second", fabric=fabric)
    assert second.epoch == SETTINGS.epochs and second.history == history(whole)
    assert_equal(second.model.state_dict(), weights(whole))
    assert not (tmp_path / "second").exists()
    monkeypatch.setattr(fabric, "broadcast", lambda found: "its checkpoint is damaged")
    with pytest.raises(InputError, match="its checkpoint is damaged"):
        run(images, tmp_path / "second", fabric=fabric)


def test_training_in_half_precision_follows_that_in_single(images, whole, tmp_path):
    settings = Settings(**{**vars(SETTINGS), "precision": "bfloat16"})
    half = run(images, tmp_path / "half", settings, fabric=training.fabric_for("cpu", precision="bfloat16"))
    for name in ("reconstruction", "kl", "hint", "invariance"):
        assert half.history[-1][name] == pytest.approx(history(whole)[-1][name], rel=0.1), name
    assert all(value.dtype == torch.float32 for value in half.model.state_dict().values())


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_cut_short_or_of_another_version_is_a_sentence(images, tmp_path):
    path = tmp_path / "run" / CHECKPOINT
    run(images, tmp_path / "run", Settings(**{**vars(SETTINGS), "epochs": 1}))
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"checkpoint\.pt is truncated or not a checkpoint; remove it"):
            run(images, tmp_path / "run")
    for version, said in (({"version": 99}, "99"), ({}, "None")):
        torch.save({"format": FORMAT, **version}, path)
        with pytest.raises(InputError, match=rf"version {said} of the format, but this deepcv resumes from 1"):
            run(images, tmp_path / "run")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a checkpoint was run",))


def test_code_in_a_checkpoint_is_not_run(images, tmp_path):
    (tmp_path / "run").mkdir()
    torch.save({"format": FORMAT, "version": 1, "model": Bomb()}, tmp_path / "run" / CHECKPOINT)
    with pytest.raises(InputError, match="truncated or not a checkpoint"):
        run(images, tmp_path / "run")


def test_a_full_disk_leaves_the_last_good_checkpoint_and_training_goes_on_from_it(images, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fsync, left = os.fsync, iter(range(4))  # a network, the log and the checkpoint an epoch

        def full(handle):
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            return fsync(handle)

        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device.*what was there before is intact; make room"):
            run(images, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)["epoch"] == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CHECKPOINT, LAST, LOG}
    rest = without_times(run(images, tmp_path / "run").history)
    scores = {name for row in history(whole) for name in row if name.startswith("val_")}
    assert rest == [{k: v for k, v in row.items() if k not in scores} for row in without_times(history(whole))]


def test_epochs_that_are_asked_for_are_kept(images, tmp_path):
    run(images, tmp_path / "run", Settings(**{**vars(SETTINGS), "epochs": 2}), kept=(1, 9))
    assert Segmenter.load(tmp_path / "run" / at_epoch(1)).card["epoch"]["epoch"] == 1
    assert not (tmp_path / "run" / at_epoch(2)).exists()


def test_the_log_has_a_row_an_epoch(whole):
    with open(whole / LOG, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[-1]["val_iou"]) == history(whole)[-1]["val_iou"]
    wanted = {"reconstruction", "kl", "hint", "invariance", "conservation", "discriminator", "area", "smaller_side"}
    assert wanted | {"val_accuracy", "val_iou_oracle", "images_per_second"} <= set(rows[0])


# -- labels, collapse --------------------------------------------------------------------------------------------------


def test_labels_choose_an_epoch_and_touch_nothing_else(images, whole, tmp_path):
    hidden = Crops(images.names, images.images, np.full_like(images.truths, UNSCORED))
    train(SETTINGS, hidden, tmp_path / "without", make=Model, hints=taught(images))
    assert_equal(weights(whole), weights(tmp_path / "without"))
    assert not (tmp_path / "without" / BEST).exists()
    best = max(history(whole), key=lambda row: row["val_iou"])
    assert Segmenter.load(whole / BEST).card["epoch"]["epoch"] == best["epoch"]
    assert Segmenter.load(whole / LAST).card["epoch"]["epoch"] == SETTINGS.epochs


class Collapsing(Model):
    """Finds nothing, unless its seed is that of the second restart."""

    def __init__(self, settings, seed):
        super().__init__(settings, seed)
        self.works = seed == 2 * training.RESEEDED

    def memberships(self, x):
        u = torch.zeros_like(x[:, 0])
        u[:, 4:12, 4:12] = float(self.works)
        return u


def test_a_collapse_is_reported_early_and_training_starts_again_with_another_seed(images, tmp_path):
    told = []
    plain = {**vars(SETTINGS), "conservation": False}
    done = run(images, tmp_path / "run", Settings(**plain), make=Collapsing, report=told.append)
    assert [(row["attempt"], row["epoch"]) for row in done.history] == [
        (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4),
    ]  # fmt: skip
    assert ["starting again with seed 1000" in told[0], "starting again with seed 2000" in told[1]] == [True, True]
    assert done.collapsed == 0
    patient = Settings(**plain | {"restarts": 0})
    done = run(images, tmp_path / "patient", patient, make=Collapsing, report=told.append)
    assert (len(done.history), done.collapsed) == (4, 4)
    assert "covers 0.0% of an image after epoch 2; these settings allow no restart" in told[2]
    assert "collapsed" in done.summary()


def test_the_scores_leave_out_what_nobody_marked():
    u = np.zeros((2, 4, 4), np.float32)
    u[0, :2] = 1
    truths = np.full((2, 4, 4), UNSCORED, np.uint8)
    truths[0, 0], truths[0, 3] = 1, 0
    assert training.mean_scores(u, truths) == {"accuracy": 1, "iou": 1, "accuracy_oracle": 1, "iou_oracle": 1}
    found = training.mean_scores(1 - u, truths)
    assert (found["accuracy"], found["accuracy_oracle"]) == (0, 1)


def test_redo_trains_in_the_same_loop_and_its_mask_network_is_kept_alike(tmp_path):
    images = crops(flowerlike.dataset("train")[:8], 32)
    settings = redo.Settings(size=32, width=8, generator_width=4, mask_width=4, latent=3, batch=4, epochs=2, restarts=0)
    for _ in range(2):  # the second finds it finished
        done = train(settings, images, tmp_path / "run", make=redo.Model)
    assert {"adversary", "latent", "discriminator", "smaller_side"} <= set(done.history[-1])
    (found,) = Segmenter.load(tmp_path / "run" / LAST).predict([images.images[0]])
    u = done.model.memberships(as_input(torch.from_numpy(np.array(images.images[:1]))))[0].detach().numpy()
    u = u if done.history[-1]["foreground"] else 1 - u
    np.testing.assert_allclose(found.memberships[1], u, atol=1e-5)
    rates = [group["lr"] for optimizer in done.model.optimizers().values() for group in optimizer.param_groups]
    kept = load_checkpoint(tmp_path / "run" / CHECKPOINT)["optimizers"]
    assert [group["lr"] for each in kept.values() for group in each["param_groups"]] == rates  # each its own


# -- hints -------------------------------------------------------------------------------------------------------------


def test_hints_are_computed_once_by_the_method_that_is_named(images, monkeypatch):
    few = Crops(images.names[:3], crops(flowerlike.dataset("train")[:3], 48).images, images.truths[:3])
    found = teaching.hints_of(few, get_method("saliency"), workers=1)
    assert (found.shape, found.dtype) == ((3, 48, 48), np.uint8)
    truths = crops(flowerlike.dataset("train")[:3], 48).truths
    assert training.mean_scores(found / 255, truths)["accuracy"] > 0.8
    first, second, _ = (teaching.cache_folder() / "hints").rglob("*.npy")
    first.write_bytes(b"")  # damaged
    second.write_bytes(second.read_bytes()[:200])
    assert np.array_equal(teaching.hints_of(few, get_method("saliency"), workers=1), found)
    monkeypatch.setattr(teaching, "_teach", lambda *_: pytest.fail("computed again"))
    assert np.array_equal(teaching.hints_of(few, get_method("saliency"), workers=1), found)


def test_hints_that_the_settings_ask_for_must_be_given(images, tmp_path):
    with pytest.raises(InputError, match=r"ask for hints by saliency; pass those of `hints_of`"):
        train(SETTINGS, images, tmp_path / "run", make=Model)


# -- it learns ---------------------------------------------------------------------------------------------------------


def test_a_few_seconds_of_training_teach_it_to_segment_new_flowers(tmp_path):
    images = crops(load_dataset("flowerlike", split="train")[:64], 32)
    validation = crops(load_dataset("flowerlike", split="val")[:16], 32)
    settings = Settings(size=32, levels=2, width=8, model_width=4, batch=8, epochs=6, learning_rate=5e-3)
    done = run(images, tmp_path / "run", settings, validation=validation)
    with torch.no_grad():
        before = Model(settings, 0).memberships(as_input(torch.from_numpy(np.array(validation.images)))).numpy()
    untrained = training.mean_scores(before, validation.truths)["iou_oracle"]  # about 0.3, for any seed
    assert done.history[-1]["val_iou"] > max(0.6, untrained + 0.2)


# -- several processes, the command line -------------------------------------------------------------------------------


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""}


def train_command(tmp_path, out, *options, launcher=()):
    """Train on a small folder of drawn flowers, without hints."""
    place = tmp_path / "pictures"
    place.mkdir(exist_ok=True)
    for seed in range(8):
        Image.fromarray(flowerlike.draw(seed)[0]).save(place / f"{seed}.png")
    small = ("--profile", "quick", "--hint", "none", "--size", "32", "--width", "4", "--batch", "4", "--device", "cpu")
    return [sys.executable, *launcher, "-m", "deepcv", "train", str(place), "--out", str(out), *small, *options]


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "more", "devices", "launcher"),
    [
        (("--hint", "saliency"), {"hint"}, ("--devices", "2"), ()),
        (("--preset", "paper"), {"discriminator", "conservation"}, (), TORCHRUN),
    ],
    ids=["Fabric, hints", "torchrun, steps apart with CRI"],
)
def test_two_processes_compute_what_one_does(settings, more, devices, launcher, tmp_path):
    """Losses, not weights: a bias in front of a norm moves by rounding alone.

    Of one epoch, three steps: where a longer run ends depends on rounding, which Adam amplifies from step to step.
    """
    settings = (*settings, "--epochs", "1", "--workers", "1")

    def losses(name, loss):
        return [row[loss] for row in load_checkpoint(tmp_path / name / CHECKPOINT)["history"]]

    assert main.main(train_command(tmp_path, tmp_path / "one", *settings)[3:]) == 0
    command = train_command(tmp_path, tmp_path / "two", *settings, *devices, launcher=launcher)
    found = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("chosen without labels") == 1  # one of them talks
    for loss in {"reconstruction", "kl", "invariance", "area"} | more:
        # a change of U's weights by 1e-6 changes this one's gradient by 3 %: an instance norm over four pixels
        rtol = 0.05 if loss == "conservation" else 1e-3
        np.testing.assert_allclose(losses("two", loss), losses("one", loss), rtol=rtol, err_msg=loss)
