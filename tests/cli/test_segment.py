"""`deepcv segment`: what it writes, says and refuses."""

import os
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from deepcv import pictures
from deepcv.cli import many
from deepcv.door import WORKING_SIZE
from deepcv.pictures import read_image
from deepcv.segmentation import Segmentation

HEIGHT, WIDTH = 60, 90
DISC = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([30, 50])[:, None, None])) < 18
FAST = ("--method", "grabcut", "--hint", "hint.png", "--out", "mask.png")


@pytest.mark.parametrize("method", ["grabcut", "chan-vese", "deep-cv"])
def test_segment_writes_the_mask_and_one_line(deepcv, folder, capsys, monkeypatch, method):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert deepcv("segment", "disc.png", "--out", "mask.png", "--hint", "hint.png", "--method", method) == 0
    mask = read_image("mask.png")
    assert set(np.unique(mask)) == {0, 255} and mask.shape == (HEIGHT, WIDTH)
    assert np.mean((mask == 255) == DISC) > 0.97
    out, err = capsys.readouterr()
    assert re.fullmatch(r"mask\.png: foreground \d+\.\d%, \d+\.\d s\n", out)
    assert "disc.png: 90×60 pixels" in err
    assert ("step" in err) == (method == "deep-cv")  # its progress


def test_an_overlay_shows_the_outline_and_leaves_the_rest(deepcv, folder):
    assert deepcv("segment", "disc.png", *FAST, "--overlay", "outline.png") == 0
    picture, overlay, mask = read_image("disc.png"), read_image("outline.png"), read_image("mask.png")
    drawn = (overlay != picture).any(axis=2)
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5))) > 0
    assert (overlay == pictures.OUTLINE).all(axis=2).any()
    assert drawn.any() and not drawn[~edge].any()


def test_a_frame_is_left_out_unless_it_is_to_be_kept(deepcv, folder, capsys):
    Image.fromarray(np.pad(read_image("disc.png"), ((12, 12), (12, 12), (0, 0)))).save("framed.png")
    told = []
    for options in ((), ("--keep-frame",)):
        assert deepcv("segment", "framed.png", "--method", "chan-vese", "--out", "mask.png", *options) == 0
        told.append("--keep-frame keeps it" in capsys.readouterr().err)
    assert told == [True, False]


def test_a_cut_out_goes_to_standard_output(folder):
    command = [sys.executable, "-m", "deepcv", "segment", "disc.png", *FAST[:4], "--cutout", "-"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (folder / "written.png").write_bytes(done.stdout)
    assert Image.open(folder / "written.png").mode == "RGBA"


def test_the_same_seed_gives_the_same_mask(deepcv, folder):
    deepcv("segment", "disc.png", *FAST)
    first = (folder / "mask.png").read_bytes()
    deepcv("segment", "disc.png", *FAST)
    assert (folder / "mask.png").read_bytes() == first


def test_more_phases_are_more_grey_levels(deepcv, folder, capsys):
    assert deepcv("segment", "disc.png", "--out", "regions.png", "--phases", 3, "--size", 24) == 0
    found, told = set(np.unique(read_image("regions.png"))), capsys.readouterr().out
    assert {0, 128, 255} > found >= {0, 255} or found == {0, 128, 255}
    assert "3 phases of" in told and ("empty" in told) == (len(found) < 3)


def test_an_empty_phase_is_told_from_a_small_one():
    labels = np.zeros((40, 50), np.uint8)
    labels[0, 0] = 2
    assert many.shares(labels, 4) == "4 phases of 100.0%, 0.0%, 0.1%, 0.0%; empty: 1, 3"


def test_settings_reach_the_method(deepcv, folder, stand_in):
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


def test_a_large_picture_is_worked_on_smaller_and_its_mask_has_full_size(deepcv, folder, stand_in):
    seen = []

    def method(image, hint=None, *, seed=0, device=None):
        seen.append((image.shape, hint.shape))
        labels = (hint > 0.5).astype(np.uint8)
        return Segmentation(labels, np.stack([1 - labels, labels]).astype(np.float32))

    stand_in(method)
    large = cv2.resize(DISC.astype(np.uint8), (4096, 2048), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(large * np.uint8(200)).save("disc.png")
    Image.fromarray(large * np.uint8(255)).save("hint.png")
    assert deepcv("segment", "disc.png", *FAST) == 0
    assert seen == [((512, 1024), (512, 1024))]
    assert np.mean((read_image("mask.png") == 255) == large) > 0.995
    assert deepcv("segment", "disc.png", *FAST, "--size", 90) == 0
    assert seen[1] == ((45, 90), (45, 90))


def _short(path):
    path.write_bytes((path.parent / "disc.png").read_bytes()[:2000])


def _animated(path):
    frames = [Image.fromarray(np.full((20, 20), level, np.uint8)) for level in (0, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _deep(path):
    cv2.imwrite(str(path), np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16))


def _alpha(path):
    picture = Image.open(path.parent / "disc.png").convert("RGBA")
    picture.putpixel((0, 0), (0, 0, 0, 0))
    picture.save(path)


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
    "hint of one colour": (("--hint", "flat.png"), "the hint is 0 everywhere"),
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


@pytest.mark.parametrize(("name", "make", "says"), PICTURES.values(), ids=PICTURES)
def test_a_picture_that_cannot_be_used(refused, folder, name, make, says):
    if make:
        make(folder / name)
    refused(("segment", name, "--method", "grabcut", "--out", "mask.png"), says)


@pytest.mark.parametrize(("options", "says"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used(refused, options, says):
    Image.new("L", (10, 10)).save("flat.png")
    refused(("segment", "disc.png", *FAST, *options), says)


@pytest.mark.parametrize("kind", ["alpha", "CMYK"])
def test_convert_accepts_what_loses_information(deepcv, folder, kind):
    name, make, _ = PICTURES[kind]
    make(folder / name)
    assert deepcv("segment", name, *FAST, "--convert") == 0
    assert np.mean((read_image("mask.png") == 255) == DISC) > 0.95


@pytest.mark.parametrize("kind", ["animated", "16-bit"])
def test_convert_takes_the_first_frame_and_stretches_levels(deepcv, folder, kind, stand_in):
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


def test_an_unwritable_disk_leaves_no_half_mask(deepcv, folder, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "write_together", full)
    assert deepcv("segment", "disc.png", *FAST) == 2
    assert "can't write mask.png (No space left on device); make room" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["disc.png", "hint.png"]


def test_a_mask_is_not_written_without_the_overlay(refused, monkeypatch):
    for name in ("overlay.mpg", "overlay.xyz"):  # one that Pillow only reads
        refused(("segment", "disc.png", *FAST, "--overlay", name), f"the suffix of {name} names no")
    save = Image.Image.save

    def encode(picture, stream, kind, **tags):
        if kind == "TIFF":
            raise OSError("TIFF save handler not installed")
        save(picture, stream, kind, **tags)

    monkeypatch.setattr(Image.Image, "save", encode)
    options = ("segment", "disc.png", *FAST, "--overlay", "overlay.tif")
    refused(options, "can't write overlay.tif .*not installed.*; make room or call it overlay.png")


@pytest.mark.parametrize(
    "options",
    [
        ("--phases", 3),
        ("--method", "vese-chan"),
        ("--method", "iem"),
        ("--method", "normalized-cuts", "--preset", "regions"),
    ],
)
def test_a_hint_that_would_not_be_looked_at_isrefused(refused, options):
    arguments = ("segment", "disc.png", "--out", "mask.png", "--hint", "hint.png", *options)
    refused(arguments, "doesn't use a hint; leave --hint, points")


@pytest.mark.parametrize("method", ["deep-cv", "grabcut", "vese-chan", "double-dip"])
def test_a_seed_that_no_generator_takes_is_named(refused, method):
    for seed in (-1, 2**40):
        arguments = ("segment", "disc.png", "--out", "mask.png", "--method", method, "--seed", seed)
        refused(arguments, f"seed is {seed}; it must be a whole number")


def test_a_method_that_works_at_the_pictures_size_is_bounded(deepcv, folder, monkeypatch):
    from deepcv import methods

    given = {}

    def method(image, hint=None, *, seed=0, device=None, progress=False, **settings):
        given.update(settings)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        return Segmentation(labels, np.stack([1 - labels, labels]).astype(np.float32))

    monkeypatch.setitem(methods.METHODS, "double-dip", replace(methods.METHODS["double-dip"], function=method))
    options = ("segment", "disc.png", "--out", "mask.png", "--method", "double-dip")
    assert deepcv(*options) == 0 and given["size"] == WORKING_SIZE
    assert deepcv(*options, "--size", 64) == 0 and given["size"] == 64


def test_a_large_picture_takes_little_memory_beside_its_mask(deepcv, folder, monkeypatch):
    """The mask as labels and as grey levels; Pillow's own memory isn't traced. 2.1 bytes a pixel measured."""
    monkeypatch.setattr("deepcv.cli.segment.LARGEST_SIDE", 200)
    large = cv2.resize(read_image("disc.png"), (4000, 3000), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(large).save("large.jpg")
    assert deepcv("segment", "disc.png", *FAST) == 0  # what is imported stays
    tracemalloc.start()
    try:
        assert deepcv("segment", "large.jpg", *FAST, "--size", 64) == 0
        assert tracemalloc.get_traced_memory()[1] < 3 * large[..., 0].size
    finally:
        tracemalloc.stop()
    mask = read_image("mask.png")
    assert mask.shape == (3000, 4000) and set(np.unique(mask)) == {0, 255}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the peak of one program")
def test_a_photograph_of_108_million_pixels_takes_less_than_three_quarters_of_a_gib_more(folder):
    """Beside the libraries: torch alone takes 0.1 or, built for CUDA, 0.4 GiB. 0.54 and 0.61 measured."""
    large = cv2.resize(read_image("disc.png"), (12000, 9000), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(large).save("large.jpg")
    # the kernel's ru_maxrss would count the process that started it, too
    measured = "import atexit, runpy, deepcv; deepcv.segment; said = lambda: print(open('/proc/self/status').read());"
    measured += "said(); atexit.register(said); runpy.run_module('deepcv', run_name='__main__')"
    measured = f"import sys; {measured}".replace("read())", "read(), 'torch._dynamo.eval_frame' in sys.modules)")
    command = [sys.executable, "-c", measured, "segment", "large.jpg", "--out", "mask.png", "--size", "64"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "True" not in found  # torch's compiler costs as much as torch
    before, peak = map(int, re.findall(r"VmHWM:\s+(\d+) kB", found))
    assert (peak - before) * 1024 < 0.75 * 2**30, (before, peak)
    mask = read_image("mask.png")
    assert mask.shape == (9000, 12000) and set(np.unique(mask)) == {0, 255}


def test_a_picture_that_may_not_be_read_is_the_users_business(refused, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", forbidden)
    refused(("segment", "disc.png", *FAST), "disc.png can't be read for lack of permission; change its permissions")


def test_a_page_a_channel_and_a_range_are_chosen(deepcv, folder, capsys):
    import tifffile

    disc = cv2.cvtColor(cv2.imread("disc.png"), cv2.COLOR_BGR2GRAY).astype(np.uint16) * 100
    stack = np.zeros((3, 2, HEIGHT, WIDTH), np.uint16)
    stack[1, 1] = disc
    tifffile.imwrite("stack.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    options = ("segment", "stack.tif", "--method", "grab_cut", "--hint", "hint.png", "--out", "mask.png")
    assert deepcv(*options, "--page", 2, "--channel", 2, "--range", "1e0,99") == 0
    assert np.mean((read_image("mask.png") == 255) == DISC) > 0.95
    assert "16-bit samples" in capsys.readouterr().err
    for more, says in (
        ((), "3 pages; choose one with --page 1 to 3"),
        (("--page", 2), "2 channels; choose one with --channel 1 to 2"),
        (("--page", 2, "--channel", 2), "16-bit samples; .* pass --range"),
        (("--page", 2, "--channel", 2, "--range", "all"), "--range is 'all'; give two percentiles"),
        (("--page", 2, "--channel", 2, "--range", "99,1"), "two percentiles from 0 to 100"),
        (("--page", 4, "--channel", 2, "--convert"), "no page 4"),
    ):
        assert deepcv(*options, *more) == 2
        assert re.search(says, capsys.readouterr().err)
    assert deepcv(*options, "--channel", 2, "--convert") == 2  # its first page is black
    assert "one colour" in capsys.readouterr().err


def test_what_is_chosen_by_convert_is_said(deepcv, folder, capsys):
    frames = [Image.open("disc.png"), Image.new("RGB", (WIDTH, HEIGHT))]
    frames[0].save("stack.tif", save_all=True, append_images=frames[1:])
    options = ("segment", "stack.tif", "--method", "grabcut", "--hint", "hint.png", "--out", "mask.png", "--convert")
    assert deepcv(*options) == 0
    assert "the first of 2 pages is taken; --page chooses one" in capsys.readouterr().err
