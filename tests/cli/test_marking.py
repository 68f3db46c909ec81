"""`deepcv segment` with points, boxes, scribbles and hints."""

import re

import numpy as np
import pytest
from PIL import Image

from deepcv.cli.marking import Marking
from deepcv.pictures import alpha_channel, read_image
from deepcv.seeds import Seeds

from .conftest import DISC, HEIGHT, WIDTH


@pytest.fixture
def given(monkeypatch, stand_in):
    """What the method is given."""
    found = {}

    def method(image, hint=None, *, seeds=None, seed=0, device=None):
        from deepcv.segmentation import two_phase

        found.update(shape=np.shape(image)[:2], hint=hint, seeds=seeds)
        return two_phase(np.resize(DISC, found["shape"]))

    stand_in(method)
    return found


def picture(name, array):
    Image.fromarray(np.asarray(array)).save(name)
    return name


def test_numbers_are_points_and_a_box(deepcv, folder, given):
    options = ("--point", "50,30", "--point", "48,28", "--background-point", "3,4", "--box", "30,10,70,50")
    assert deepcv("segment", "disc.png", "--method", "grabcut", "--out", "mask.png", *options) == 0
    seeds = given["seeds"]
    assert [*map(tuple, seeds.points)] == [(50, 30), (48, 28)] and [*map(tuple, seeds.background_points)] == [(3, 4)]
    assert tuple(seeds.box) == (30, 10, 70, 50) and given["hint"] is None


def test_marks_of_a_large_picture_shrink_with_it(deepcv, folder, given):
    assert (
        deepcv("segment", "disc.png", "--method", "grabcut", "--out", "mask.png", "--size", 45, "--point", "50,30") == 0
    )
    assert given["shape"] == (30, 45) and [*map(tuple, given["seeds"].points)] == [(25, 15)]


def test_scribbles_are_stretched(deepcv, folder, given):
    stroke = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    stroke[60:64, 96:104] = 255
    options = ("--foreground", picture("on.png", stroke), "--background", picture("off.png", stroke[::-1, ::-1]))
    assert deepcv("segment", "disc.png", "--method", "grabcut", "--out", "mask.png", *options) == 0
    marks = given["seeds"].marks((HEIGHT, WIDTH))
    assert marks[30, 50] == 1 and marks[28, 40] == 0 and np.isnan(marks[0, 0])


def test_a_hint_of_three_levels_is_marks(deepcv, folder, given):
    hint = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    hint[14:16, 24:27], hint[0] = 255, 0
    assert deepcv("segment", "disc.png", "--method", "grabcut", "--out", "m.png", "--hint", picture("h.png", hint)) == 0
    marks = given["seeds"].marks((HEIGHT, WIDTH))
    assert given["hint"] is None and marks[29, 50] == 1 and (marks[0] == 0).all() and np.isnan(marks[50, 10])


def test_a_hint_of_another_size_is_stretched_and_an_alpha_channel_is_one(deepcv, folder, given):
    soft = np.rint(np.linspace(0, 255, 4 * HEIGHT))[:, None].repeat(4 * WIDTH, axis=1).astype(np.uint8)
    rgba = np.dstack([soft * 0, soft * 0, soft * 0, soft])
    for name in (picture("soft.png", soft), picture("alpha.png", rgba)):
        assert deepcv("segment", "disc.png", "--method", "grabcut", "--out", "mask.png", "--hint", name) == 0
        assert given["hint"].shape == (HEIGHT, WIDTH) and given["seeds"] is None
        np.testing.assert_allclose(given["hint"][:, 0], np.linspace(0, 1, HEIGHT), atol=0.02)
    assert alpha_channel("soft.png") is None
    picture("opaque.png", np.dstack([soft] * 3 + [np.full_like(soft, 255)]))
    assert alpha_channel("opaque.png") is None and alpha_channel("none.png") is None


def test_invert_exchanges_the_sides(deepcv, folder, capsys):
    fast = ("--method", "saliency", "--hint", "hint.png")
    deepcv("segment", "disc.png", *fast, "--out", "mask.png", "--soft", "soft.png")
    deepcv("segment", "disc.png", *fast, "--out", "other.png", "--soft", "less.png", "--invert")
    np.testing.assert_array_equal(read_image("other.png"), 255 - read_image("mask.png"))
    soft, less = (np.asarray(Image.open(name), float) for name in ("soft.png", "less.png"))
    np.testing.assert_allclose(soft + less, 65535, atol=2)
    assert deepcv("segment", "disc.png", "--out", "x.png", "--phases", 3, "--invert") == 2
    assert "--invert needs a foreground" in capsys.readouterr().err


def test_a_frame_stays_background_when_the_sides_are_exchanged(deepcv, folder):
    picture("framed.png", np.pad(read_image("disc.png"), ((12, 12), (12, 12), (0, 0))))
    deepcv("segment", "framed.png", "--method", "saliency", "--out", "mask.png", "--invert")
    mask = read_image("mask.png") > 0
    assert not mask[:10].any() and not mask[:, :10].any() and mask[16, 16] and not mask[42, 62]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--point", "5000,100"), "the point (5000, 100) of points isn't in the image, 3600×2400"),
        (("--box", "4000,0,5000,9"), "box is (4000.0, 0.0, 5000.0, 9.0), which has no pixel of the image, 3600×2400"),
        (("--box", "1000,0,2000,999", "--point", "900,600"), "(900, 600) lies outside the box (1000.0, 0.0, 2000.0"),
    ],
)
def test_marks_beside_a_large_picture_are_named_as_they_were_given(refused, folder, options, says):
    picture("large.png", np.kron(read_image("disc.png")[..., 0], np.ones((40, 40), np.uint8)))
    refused(("segment", "large.png", "--method", "grabcut", "--out", "mask.png", *options), re.escape(says))


@pytest.mark.parametrize(("mask", "says"), [(DISC & False, "nothing is foreground"), (DISC | True, "100.0% of the")])
def test_an_empty_or_full_mask_is_a_warning(deepcv, folder, capsys, stand_in, mask, says):
    from deepcv.segmentation import two_phase

    stand_in(lambda image, hint=None, *, seed=0, device=None: two_phase(mask))
    assert deepcv("segment", "disc.png", "--method", "grabcut", "--out", "mask.png") == 0
    assert re.search(f"warning: {says}", capsys.readouterr().err)


def test_an_outline_without_edges_is_a_warning(deepcv, folder, capsys, stand_in):
    from deepcv.segmentation import two_phase

    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    stand_in(lambda image, hint=None, *, seed=0, device=None: two_phase(DISC))
    for name, warned in ((picture("noise.png", noise), True), ("disc.png", False)):
        assert deepcv("segment", name, "--method", "grabcut", "--out", "mask.png") == 0
        assert ("barely supports" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--point", "5"), "--point is '5'; give 2 numbers"),
        (("--box", "1,2,x,4"), "--box is '1,2,x,4'; give 4 numbers"),
        (("--box", "30,5,20,40"), "right must exceed left"),
        (("--point", "90,30"), "isn't in the image"),
        (("--foreground", "none.png"), "there is no file none.png"),
        (("--method", "vese-chan", "--point", "5,5"), "doesn't use a hint"),
    ],
)
def test_what_cant_be_meant_is_refused(refused, options, says):
    refused(("segment", "disc.png", "--out", "mask.png", *options), re.escape(says))


def test_nothing_said_is_nothing(folder):
    assert not Marking() and Marking(points=["1,2"]) and not Seeds() and Seeds(box=(0, 0, 5, 5))
    assert Marking().read((HEIGHT, WIDTH), (HEIGHT, WIDTH)) == (None, None)
