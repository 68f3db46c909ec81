"""The command line: what it writes, what it says, and with which exit code."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepcv import pictures
from deepcv.cli import main
from deepcv.cli import segment as cli
from deepcv.companion import recorded
from deepcv.companion.store import Store
from deepcv.errors import InputError
from deepcv.pictures import read_image
from deepcv.segmentation import Segmentation

HEIGHT, WIDTH = 60, 90
DISC = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([30, 50])[:, None, None])) < 18


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a picture of a red disc on green, and a hint for it."""
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH, 3))
    colours = np.where(DISC[..., None], (200, 60, 50), (60, 140, 70)) + noise
    Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8)).save(tmp_path / "disc.png")
    Image.fromarray(cv2.GaussianBlur(DISC * np.uint8(255), (0, 0), 4)).save(tmp_path / "hint.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch):
    """Let another function stand for a method in the registry."""

    def register(function, name="grabcut"):
        from deepcv import methods

        stand_in = replace(methods.METHODS[name], function=function, presets={"default": {}})
        monkeypatch.setitem(methods.METHODS, name, stand_in)

    return register


def deepcv(*arguments):
    return main.main([str(argument) for argument in arguments])


FAST = ("--method", "grabcut", "--hint", "hint.png", "--out", "mask.png")


@pytest.mark.parametrize("method", ["grabcut", "chan-vese", "deep-cv"])
def test_segment_writes_the_mask_and_one_line(folder, capsys, monkeypatch, method):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert deepcv("segment", "disc.png", "--out", "mask.png", "--hint", "hint.png", "--method", method) == 0
    mask = read_image("mask.png")
    assert set(np.unique(mask)) == {0, 255} and mask.shape == (HEIGHT, WIDTH)
    assert np.mean((mask == 255) == DISC) > 0.97
    out, err = capsys.readouterr()
    assert re.fullmatch(r"mask\.png: foreground \d+\.\d%, \d+\.\d s\n", out)
    assert "disc.png: 90×60 pixels" in err
    assert ("step" in err) == (method == "deep-cv")  # its progress


def test_an_overlay_shows_the_outline_and_leaves_the_rest(folder):
    assert deepcv("segment", "disc.png", *FAST, "--overlay", "outline.png") == 0
    picture, overlay, mask = read_image("disc.png"), read_image("outline.png"), read_image("mask.png")
    drawn = (overlay != picture).any(axis=2)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5))) > 0
    assert (overlay == pictures.OUTLINE).all(axis=2).any()
    assert drawn.any() and not drawn[~edge].any()


def test_the_same_seed_gives_the_same_mask(folder):
    deepcv("segment", "disc.png", *FAST)
    first = (folder / "mask.png").read_bytes()
    deepcv("segment", "disc.png", *FAST)
    assert (folder / "mask.png").read_bytes() == first


def test_more_phases_are_more_grey_levels(folder, capsys):
    assert deepcv("segment", "disc.png", "--out", "regions.png", "--phases", 3, "--size", 24) == 0
    found, told = set(np.unique(read_image("regions.png"))), capsys.readouterr().out
    assert {0, 128, 255} > found >= {0, 255} or found == {0, 128, 255}
    assert "3 phases of" in told and ("empty" in told) == (len(found) < 3)


def test_an_empty_phase_is_told_from_a_small_one():
    labels = np.zeros((40, 50), np.uint8)
    labels[0, 0] = 2
    assert cli._areas(labels, 4) == "4 phases of 100.0%, 0.0%, 0.1%, 0.0%; empty: 1, 3"


def test_settings_reach_the_method(folder, stand_in):
    given = {}

    def method(image, hint=None, *, seed=0, device=None, nu=1.0, phases=2, size=300):
        given.update(hint=hint, seed=seed, device=device, nu=nu, phases=phases, size=size)
        labels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8) % phases
        return Segmentation(labels, np.stack([labels == phase for phase in range(phases)]).astype(np.float32))

    stand_in(method)
    options = ("--phases", 4, "--nu", 0.5, "--seed", 7, "--size", 64, "--device", "cpu")
    assert deepcv("segment", "disc.png", *options, "--method", "grabcut", "--out", "mask.png") == 0
    assert given == {"hint": None, "seed": 7, "device": "cpu", "nu": 0.5, "phases": 4, "size": 64}
    assert np.unique(read_image("mask.png")).tolist() == [0, 85, 170, 255]


def test_a_large_picture_is_worked_on_smaller_and_its_mask_has_full_size(folder, stand_in):
    seen = []

    def method(image, hint=None, *, seed=0, device=None):
        seen.append((image.shape, hint.shape))
        labels = (hint > 0.5).astype(np.uint8)
        return Segmentation(labels, np.stack([1 - labels, labels]).astype(np.float32))

    stand_in(method)
    large = cv2.resize(DISC.astype(np.uint8), (3000, 2000), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(large * np.uint8(200)).save("disc.png")
    Image.fromarray(large * np.uint8(255)).save("hint.png")
    assert deepcv("segment", "disc.png", *FAST) == 0
    assert seen == [((683, 1024), (683, 1024))]
    assert np.mean((read_image("mask.png") == 255) == large) > 0.995
    assert deepcv("segment", "disc.png", *FAST, "--size", 90) == 0
    assert seen[1] == ((60, 90), (60, 90))


def _short(path):
    path.write_bytes((path.parent / "disc.png").read_bytes()[:2000])


def _animated(path):
    frames = [Image.fromarray(np.full((20, 20), level, np.uint8)) for level in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _deep(path):
    cv2.imwrite(str(path), np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16))


def _alpha(path):
    Image.open(path.parent / "disc.png").convert("RGBA").save(path)


def _cmyk(path):
    Image.open(path.parent / "disc.png").convert("CMYK").save(path)


PICTURES = {
    "missing": ("nowhere.png", None, "no file nowhere.png"),
    "truncated": ("short.png", _short, "can't be read to its end"),
    "animated": ("two.gif", _animated, "2 frames"),
    "16-bit": ("deep.png", _deep, "16-bit"),
    "alpha": ("alpha.png", _alpha, "alpha"),
    "CMYK": ("ink.jpg", _cmyk, "CMYK"),
    "black": ("black.png", lambda path: Image.new("RGB", (50, 50)).save(path), "one colour"),
    "one colour": ("red.png", lambda path: Image.new("RGB", (50, 50), "red").save(path), "one colour"),
    "one row": ("row.png", lambda path: Image.linear_gradient("L").resize((30, 1)).save(path), "1×30"),
    "no picture": ("words.png", lambda path: path.write_text("words"), "not a picture"),
    "a folder": (".", None, "folder"),
}

OPTIONS = {
    "hint of another size": (("--hint", "small.png"), r"the hint is \(10, 10\) but the image is \(60, 90\)"),
    "no hint": (("--hint", "nowhere.png"), "no file nowhere.png"),
    "one phase": (("--method", "deep-cv", "--phases", 1), "phases.*1"),
    "negative ν": (("--method", "deep-cv", "--nu", -1), "(nu|ν).*-1"),
    "ν of chan-vese": (("--method", "chan-vese", "--nu", -1), "(nu|ν).*-1"),
    "a setting it has not": (("--phases", 3), "grabcut has no setting phases"),
    "unknown method": (("--method", "deep-vc"), "'deep-vc'.*deep-cv"),
    "unknown preset": (("--preset", "papers"), "grabcut has no preset 'papers'; it has default"),
    "size": (("--size", 2), "size is 2"),
    "size of deep-cv": (("--method", "deep-cv", "--size", 2), "size is 2"),
    "unknown device": (("--device", "abacus"), "no device 'abacus'"),
    "unknown option": (("--colour", "red"), "--colour.*segment --help"),
    "no number": (("--nu", "much"), "--nu.*segment --help"),
    "mask as JPEG": (("--out", "mask.jpg"), "call it mask.png"),
    "no folder": (("--out", "nowhere/mask.png"), "no folder nowhere"),
    "overlay's ending": (("--overlay", "outline.xyz"), "call it outline.png"),
    "the picture itself": (("--out", "disc.png"), "disc.png is given twice"),
    "one file for both": (("--overlay", "mask.png"), "mask.png is given twice"),
}


def _refused(folder, capsys, arguments, says):
    """Exit code 2, one sentence with what is wrong, nothing written and nothing changed."""
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert deepcv(*arguments) == 2
    out, err = capsys.readouterr()
    *progress, sentence = err.splitlines()
    assert out == "" and len(progress) <= 1
    assert re.match("deepcv: .*" + says, sentence), err
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("name", "make", "says"), PICTURES.values(), ids=PICTURES)
def test_a_picture_that_cannot_be_used(folder, capsys, name, make, says):
    if make:
        make(folder / name)
    _refused(folder, capsys, ("segment", name, "--method", "grabcut", "--out", "mask.png"), says)


@pytest.mark.parametrize(("options", "says"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used(folder, capsys, options, says):
    Image.linear_gradient("L").resize((10, 10)).save("small.png")
    _refused(folder, capsys, ("segment", "disc.png", *FAST, *options), says)


@pytest.mark.parametrize("kind", ["alpha", "CMYK"])
def test_convert_accepts_what_loses_information(folder, kind):
    name, make, _ = PICTURES[kind]
    make(folder / name)
    assert deepcv("segment", name, *FAST, "--convert") == 0
    assert np.mean((read_image("mask.png") == 255) == DISC) > 0.95


@pytest.mark.parametrize("kind", ["animated", "16-bit"])
def test_convert_takes_the_first_frame_and_stretches_levels(folder, kind, stand_in):
    seen = []

    def method(image, hint=None, *, seed=0, device=None):
        seen.append(image)
        return Segmentation(np.eye(20, dtype=np.uint8), np.zeros((2, 20, 20), np.float32))

    stand_in(method)
    name, make, _ = PICTURES[kind]
    make(folder / name)
    if kind == "animated":  # its first frame has one colour
        frames = [Image.linear_gradient("L").resize((20, 20)), Image.new("L", (20, 20))]
        frames[0].save(name, save_all=True, append_images=frames[1:])
    assert deepcv("segment", name, "--method", "grabcut", "--out", "mask.png", "--convert") == 0
    assert seen[0].shape[:2] == (20, 20) and np.ptp(seen[0]) > 0.9


def test_an_error_of_ours_shows_where_and_writes_nothing(folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        raise ZeroDivisionError("by nought")

    stand_in(method)
    assert deepcv("segment", "disc.png", *FAST) == 1
    assert "Traceback" in capsys.readouterr().err
    assert not (folder / "mask.png").exists()


def test_ctrl_c_is_exit_code_130(folder, capsys, stand_in):
    def method(image, hint=None, *, seed=0, device=None):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    stand_in(method)
    assert deepcv("segment", "disc.png", *FAST) == 130
    err = capsys.readouterr().err
    assert err.endswith("deepcv: stopped\n") and "Traceback" not in err
    assert not (folder / "mask.png").exists()


def test_an_unwritable_disk_leaves_no_half_mask(folder, capsys, monkeypatch):
    def full(picture, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert deepcv("segment", "disc.png", *FAST) == 2
    assert "can't write mask.png (No space left on device); make room" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["disc.png", "hint.png"]


def test_a_mask_is_not_written_without_the_overlay(folder, capsys, monkeypatch):
    for name in ("overlay.mpg", "overlay.xyz"):  # one that Pillow only reads
        _refused(folder, capsys, ("segment", "disc.png", *FAST, "--overlay", name), f"{name} has no ending")
    save = Image.Image.save

    def encode(picture, stream, kind):
        if kind == "TIFF":
            raise OSError("TIFF save handler not installed")
        save(picture, stream, kind)

    monkeypatch.setattr(Image.Image, "save", encode)
    options = ("segment", "disc.png", *FAST, "--overlay", "overlay.tif")
    _refused(folder, capsys, options, "can't write overlay.tif .*not installed.*; make room or call it overlay.png")


@pytest.mark.parametrize(
    "options",
    [
        ("--phases", 3),
        ("--method", "vese-chan"),
        ("--method", "iem"),
        ("--method", "normalized-cuts", "--preset", "regions"),
    ],
)
def test_a_hint_that_would_not_be_looked_at_is_refused(folder, capsys, options):
    arguments = ("segment", "disc.png", "--out", "mask.png", "--hint", "hint.png", *options)
    _refused(folder, capsys, arguments, "doesn't look at a hint; leave --hint out")


@pytest.mark.parametrize("method", ["deep-cv", "grabcut", "vese-chan", "double-dip"])
def test_a_seed_that_no_generator_takes_is_named(folder, capsys, method):
    for seed in (-1, 2**40):
        arguments = ("segment", "disc.png", "--out", "mask.png", "--method", method, "--seed", seed)
        _refused(folder, capsys, arguments, f"seed is {seed}; it must be a whole number of at least 0 and at most")


def test_a_method_that_works_at_the_pictures_size_is_bounded(folder, monkeypatch):
    from deepcv import methods

    given = {}

    def method(image, hint=None, *, seed=0, device=None, progress=False, **settings):
        given.update(settings)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        return Segmentation(labels, np.stack([1 - labels, labels]).astype(np.float32))

    monkeypatch.setitem(methods.METHODS, "double-dip", replace(methods.METHODS["double-dip"], function=method))
    options = ("segment", "disc.png", "--out", "mask.png", "--method", "double-dip")
    assert deepcv(*options) == 0 and given["size"] == cli.WORKING_SIZE
    assert deepcv(*options, "--size", 64) == 0 and given["size"] == 64


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "tabel1"), "no experiment 'tabel1'; there are .*table1"),
        (("run", "table1", "--profile", "fast"), "'fast'.*quick"),
        (("run", "table1", "--profile", "quick", "--methods", "deep-cv,watershed"), "'watershed'.*grabcut"),
        (("run", "table1", "--dataset", "imagenet"), "'imagenet'.*weizmann"),
        (("run", "table1", "--seeds", "0,one"), "--seeds takes whole numbers .*'0,one'"),
        (("run", "table1", "--n-images", "0"), "n_images.*0"),
        (("run", "table1", "--methods", ""), "methods is empty; name at least one"),
        (("run", "table1", "--seeds", "-1"), "seed is -1"),
        (("run", "table1", "--workers", "0"), "worker.*0"),
        (("run", "choices", "--methods", "grabcut"), "choices has no option --methods"),
        (("run",), "experiment.*run --help"),
        (("run", "table1", "--scheduler", "tcp://x:1", "--workers", "2"), "leave one out"),
        (("run", "table1", "--scheduler", "nowhere"), "'nowhere' is not a scheduler.s address; .*tcp://host:8786"),
        (("record", "tabel1"), "no experiment 'tabel1'; there are .*table1"),
        (("record", "--minutes", "0"), "--minutes is 0; it must be more"),
        (("record", "table1", "--profile", "fast"), "'fast'.*quick"),
        (("record", "--merge", "nowhere"), "no recorded run in nowhere"),
        (("record", "table1", "--merge", "nowhere"), "no recorded run table1 in nowhere"),
        (("data", "fetch", "imagenet"), "'imagenet'.*weizmann"),
        (("frob",), "'frob'.*deepcv --help"),
    ],
)
def test_names_that_are_not_there(folder, capsys, monkeypatch, arguments, says):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    _refused(folder, capsys, arguments, says)


def test_run_prints_the_table_and_goes_on_from_the_store(folder, capsys, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    arguments = (
        "run",
        "table1",
        "--profile",
        "quick",
        "--methods",
        "grabcut",
        "--n-images",
        1,
        "--workers",
        1,
        "--seeds",
        0,
    )
    tables, rows = [], []
    for _ in range(2):
        assert deepcv(*arguments) == 0
        tables.append(capsys.readouterr().out)
        with Store() as store:
            rows.append(store.rows(experiment="table1"))
    assert "grabcut" in tables[0].lower() and tables[1] == tables[0]
    assert len(rows[0]) == 1
    pd.testing.assert_frame_equal(rows[1], rows[0])  # to the digit in `seconds`: it was not computed again


def test_run_records_its_rows(folder, capsys, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    arguments = ("run", "table1", "--methods", "grabcut", "--n-images", 1, "--workers", 1, "--seeds", 0, "--record")
    assert deepcv(*arguments) == 0
    assert "table1.csv" in capsys.readouterr().out
    rows, described = recorded.recorded("table1")
    assert rows["method"].tolist() == ["grabcut"] and described["rows"] == 1


@pytest.fixture
def quick_table(folder, monkeypatch):
    """Table 1 of the embedded images by the saliency threshold alone, with hints that take no time."""
    from deepcv.companion import compute as _scored
    from deepcv.companion.experiments import table1

    monkeypatch.setenv("DEEPCV_RESULTS", str(folder / "results"))
    monkeypatch.setitem(table1.PROFILES, "quick", table1.Profile("samples", ("saliency",), {}))
    monkeypatch.setattr(_scored, "hint_for", lambda image: image if image.ndim == 2 else image.mean(axis=2))
    monkeypatch.setattr(_scored, "_hints", {})
    return ("record", "table1", "--profile", "quick", "--device", "cpu")


def test_record_lists_computes_goes_on_and_merges(quick_table, folder, capsys):
    assert deepcv(*quick_table, "--list") == 0
    assert "profile quick: 0 recorded, 0 of them by older code; 15 lacking" in capsys.readouterr().out
    assert deepcv(*quick_table, "--workers", 1, "--minutes", 2, "--into", "piece") == 0
    assert re.match(r"table1: 15 rows merged into piece/table1.csv, 0 lacking\n", capsys.readouterr().out)
    assert deepcv(*quick_table, "--into", "piece") == 0
    assert capsys.readouterr().out == "nothing is lacking\n"
    assert deepcv("record", "--merge", "piece") == 0
    assert capsys.readouterr().out == "table1: 15 rows added, 0 rows replaced, 0 rows left\n"
    assert deepcv(*quick_table, "--list") == 0
    assert "15 recorded, 0 of them by older code; 0 lacking, 0.0 minutes\n" in capsys.readouterr().out
    assert len(recorded.recorded("table1")[0]) == 15


def test_record_stopped_with_ctrl_c_keeps_what_it_has(quick_table, folder, capsys, monkeypatch):
    from deepcv.companion import compute as _scored

    good, computed = _scored.compute, []

    def compute(unit, **options):
        if len(computed) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        computed.append(unit)
        return good(unit, **options)

    monkeypatch.setattr(_scored, "compute", compute)
    assert deepcv(*quick_table, "--workers", 1) == 130
    out, err = capsys.readouterr()
    assert "4 rows merged" in out and "11 lacking" in out and "run it again" in err
    assert len(recorded.recorded("table1")[0]) == 4


def test_methods_and_data_sets_are_listed(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_DATA", str(tmp_path))
    assert deepcv("methods") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("deep-cv", "chan-vese", "grabcut", "saliency", "default", "paper", "released"))
    assert deepcv("data", "list") == 0
    out = capsys.readouterr().out
    assert re.search(r"samples +\d+ images\n", out) and re.search("weizmann +missing.*fetch weizmann", out)


@pytest.fixture
def one_recorded_run(tmp_path, monkeypatch):
    """A results folder with the paper's numbers and our recorded Table 1."""
    repository = Path(__file__).parents[1] / "results"
    for name in ("paper", "recorded"):
        (tmp_path / name).mkdir()
    for path in (*repository.glob("paper/*"), *repository.glob("recorded/table1.*")):
        shutil.copy(path, tmp_path / path.parent.name)
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))


def test_the_verdict_is_told_as_text_and_as_json(one_recorded_run, capsys):
    assert deepcv("verdict") == 0
    text = capsys.readouterr().out
    assert deepcv("verdict", "--format", "json") == 0
    claims = {claim["id"]: claim for claim in json.loads(capsys.readouterr().out)}
    first, counts = text.splitlines()[0], [claim["status"] for claim in claims.values()]
    assert first.startswith(f"{counts.count('reproduced')} reproduced, ")
    assert all(f"{name}: " in text for name in claims)
    assert claims["table1/deep-cv/f_measure"]["numbers"]["printed"] == 0.87
    assert claims["table1/deep-cv/f_measure"]["status"] != "not yet run"
    assert claims["figure07/opponents-fail"]["status"] == "not yet run"


def test_the_verdict_has_two_formats(capsys):
    assert deepcv("verdict", "--format", "xml") == 2
    assert "--format is 'xml'; it is text or json" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys):
    from deepcv import __version__

    assert deepcv("--version") == 0 and deepcv("version") == 0
    assert capsys.readouterr().out == f"{__version__}\n" * 2


@pytest.mark.parametrize(
    "command", [(), ("segment",), ("run",), ("record",), ("verdict",), ("data",), ("data", "fetch")]
)
def test_help_has_an_example(capsys, command):
    assert deepcv(*command, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: deepcv") and ("deepcv " + " ".join(command) in out.replace("Usage: ", "", 1))


def test_without_a_command_there_is_help(capsys):
    assert deepcv() == 0 and deepcv("data") == 0
    assert capsys.readouterr().out.count("Usage: ") == 2


def test_help_answers_at_once():
    code = (
        "import sys; from deepcv.cli.segment import main; code = main(['segment', '--help']); "
        "print([name for name in ('numpy', 'torch', 'pandas', 'cv2', 'skimage', 'rich') if name in sys.modules]); "
        "sys.exit(code)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]"
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


def test_the_module_is_the_command_line():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "deepcv", "frob"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""


def test_input_errors_are_told_from_ours():
    assert main._sentence(InputError("a\n b")) == "a b"
    assert main._sentence(ValueError("a")) is None


@pytest.mark.slow
def test_a_photograph_of_24_million_pixels_stays_under_4_gib(folder):
    large = cv2.resize(read_image("disc.png"), (6000, 4000), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(large).save("large.jpg")
    command = [sys.executable, "-m", "deepcv", "segment", "large.jpg", "--out", "mask.png", "--size", "64"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert used.ru_maxrss * 1024 < 4 * 2**30
    mask = read_image("mask.png")
    assert mask.shape == (4000, 6000) and set(np.unique(mask)) == {0, 255}
