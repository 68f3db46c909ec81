"""What the command line does before a method and after it: frames, orientations, many small objects."""

import io
import json
import re
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from deepcv import METHODS, deep_chan_vese, frames, get_method, tones
from deepcv.cli import main as command_line
from deepcv.data import nuclei, samples
from deepcv.door import mean_width, segment, segment_picture
from deepcv.errors import InputError
from deepcv.hints import saliency
from deepcv.images import as_image, to_uint8
from deepcv.methods import Method
from deepcv.orientation import Turn, canonical
from deepcv.pictures import read_image
from deepcv.seeds import Seeds
from deepcv.segmentation import Segmentation, two_phase

HEIGHT, WIDTH = 80, 120
MASK = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([42, 64])[:, None, None])) < 22
NOISE = np.random.default_rng(0).normal(0, 8, (HEIGHT, WIDTH, 3))
PICTURE = np.clip(np.where(MASK[..., None], (200, 120, 60), (120, 140, 110)) + NOISE, 0, 255).astype(np.uint8)


def found(pixels, near=None, **options):
    """By Chan-Vese, from a blurred mask if one is given, which takes less time than a saliency map."""
    chosen = get_method("chan-vese")
    hint = None if near is None else cv2.GaussianBlur(near.astype(np.float32), (0, 0), 5)
    return segment_picture(chosen, pixels, hint, chosen.settings(nu=0.5) | {"seed": 0}, **options)


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def _turned(array, angle, colour):
    return np.asarray(Image.fromarray(array).rotate(angle, expand=True, fillcolor=colour))


FRAMED = {
    "border": [np.pad(PICTURE, ((9, 9), (9, 9), (0, 0))), np.pad(MASK, 9)],
    "letterbox": [np.pad(PICTURE, ((14, 14), (0, 0), (0, 0)), constant_values=3), np.pad(MASK, ((14, 14), (0, 0)))],
    "one side": [np.pad(PICTURE, ((0, 0), (0, 30), (0, 0)), constant_values=255), np.pad(MASK, ((0, 0), (0, 30)))],
    "turned": [_turned(PICTURE, 7, (0, 0, 0)), _turned(MASK, 7, False)],
    "turned on white": [_turned(PICTURE, -20, (255, 255, 255)), _turned(MASK, -20, False)],
}


@pytest.mark.parametrize("kind", FRAMED)
def test_a_frame_is_found_named_and_background(kind):
    pixels, mask = FRAMED[kind]
    scene = frames.scene(pixels)
    assert scene is not None and (scene.outside is not None) == kind.startswith("turned")
    result = found(pixels, mask)
    assert iou(result.labels == 1, mask) > 0.95
    assert any("frame of one colour is left out" in note for note in result.notes)
    np.testing.assert_allclose(result.memberships.sum(axis=0), 1, atol=1e-5)
    assert result.labels.shape == result.memberships.shape[1:] == pixels.shape[:2]
    full = scene.framed(np.ones(scene.cut(mask).shape, np.uint8), mask.shape)
    assert not full[0, 0 if kind != "one side" else -1] and full[mask].mean() > 0.99
    assert not any("frame" in note for note in found(pixels, mask, keep_frame=True).notes)


@pytest.mark.parametrize("name", ["astronaut", "camera"])
def test_a_black_frame_is_found_where_the_scene_is_dark_beside_it(name):
    image = to_uint8(as_image(samples.load(name).image))
    framed = np.pad(image, ((20, 20), (20, 20)) + ((0, 0),) * (image.ndim - 2))
    found = frames.scene(framed)
    assert found is not None and found.outside is None
    assert (found.rows, found.columns) == tuple(slice(21, side + 19) for side in image.shape[:2])


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_in_a_jpeg_is_found_although_its_edges_ripple(quality, level):
    noise = np.random.default_rng(0).normal(0, 400, (200, 300, 3)).astype(np.float32)
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 4) + 120, 60, 180).astype(np.uint8)
    for pads in (((30, 30), (0, 0)), ((0, 0), (45, 45)), ((25, 25), (25, 25))):
        framed = np.pad(image, (*pads, (0, 0)), constant_values=level)
        Image.fromarray(framed).save(file := io.BytesIO(), "jpeg", quality=quality)
        found = frames.scene(np.asarray(Image.open(file)))
        for within, (width, _), side in zip((found.rows, found.columns), pads, framed.shape, strict=False):
            widths = np.array([within.start, side - within.stop])
            assert ((widths > width) & (widths <= width + 3)).all() if width else not widths.any()  # a line is mixed


def test_a_flipped_frame_is_the_flipped_frame():
    """Bright specks in the strip of one side are too many for its line within the others' strips."""
    framed = np.pad(np.random.default_rng(0).integers(60, 255, (340, 340), dtype=np.uint8), 40)
    framed[:40, 80:400:80] = 255
    expected = frames.scene(framed)
    for turn in (Turn(*each) for each in np.ndindex(2, 2, 2)):
        inside = np.zeros(framed.shape, bool)
        inside[expected.rows, expected.columns] = True
        found = frames.scene(turn.there(framed))
        np.testing.assert_array_equal(found.cut(turn.there(inside)).size, inside.sum())
        assert found.cut(turn.there(inside)).all()


def test_of_a_frame_around_almost_nothing_nothing_is_left_out():
    for inside, width in (((6, 30), 5), ((2, 30), 3)):
        scene = np.random.default_rng(0).integers(0, 255, inside).astype(np.uint8)
        assert frames.scene(np.pad(scene, width)) is None


def test_a_backdrop_is_no_frame():
    alone = np.where(MASK[..., None], PICTURE, 255).astype(np.uint8)
    corner = np.where(np.add(*np.mgrid[:HEIGHT, :WIDTH])[..., None] > 190, PICTURE, 255).astype(np.uint8)
    square = np.zeros((40, 60), np.uint8)
    square[10:30, 20:40] = 200
    gradient = np.repeat(np.linspace(0, 255, 20).astype(np.uint8)[:, None], 30, axis=1)
    rng = np.random.default_rng(0)
    upright = rng.integers(68, 73, (120, 160, 3), dtype=np.uint8)
    upright[35:85, 45:115] = rng.integers(90, 255, (50, 70, 3))
    on_the_table = upright[:85]
    disk = np.where(np.hypot(*(np.mgrid[:200, :200] - 100)) < 97, 40, 250).astype(np.uint8)
    Image.fromarray(disk).save(file := io.BytesIO(), "jpeg", quality=60)
    assert frames.scene(np.asarray(Image.open(file))) is None
    shown = (PICTURE, alone, corner, square, gradient, np.where(MASK, 200, 60).astype(np.uint8), upright, on_the_table)
    for pixels in shown:
        assert frames.scene(pixels) is None
    assert all(
        frames.scene(to_uint8(as_image(sample.image))) is None for sample in map(samples.load, samples.PHOTOGRAPHS)
    )


def test_a_flipped_or_transposed_picture_has_the_flipped_or_transposed_mask():
    result = found(PICTURE, MASK).labels
    for turn in (
        Turn(True),
        Turn(False, True),
        Turn(False, False, True),
        Turn(True, True, False),
        Turn(True, True, True),
    ):
        turned = turn.there(PICTURE)
        np.testing.assert_array_equal(turn.back(turned), PICTURE)
        np.testing.assert_array_equal(canonical(turned).there(turned), canonical(PICTURE).there(PICTURE))
        np.testing.assert_array_equal(turn.back(found(turned, turn.there(MASK)).labels), result)


def test_many_small_objects_are_found_by_chan_vese():
    y, x = np.mgrid[:150, :200]
    random = np.random.default_rng(1)
    cells = np.zeros(y.shape, bool)
    for cy, cx, radius in zip(*(random.integers(*each, 25) for each in ((8, 142), (8, 192), (4, 9))), strict=True):
        cells |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    grey = np.clip(np.where(cells, 180, 60) + random.normal(0, 10, y.shape), 0, 255).astype(np.uint8)
    for pixels in (grey, 255 - grey):
        result = found(pixels)
        assert iou(result.labels == 1, cells) > 0.97 and "many small objects" in result.notes[0]
    assert "ν" in result.notes[0] and "ν" not in found(grey, may_choose=()).notes[0]
    shaded = np.clip(grey * 0.6 + x / 200 * 70 + (y / 150) ** 2 * 30, 0, 255).astype(np.uint8)
    for pixels in (shaded, 255 - shaded):
        result = found(pixels)
        assert iou(result.labels == 1, cells) > 0.97 and "without its shading" in result.notes[0]
    few = np.zeros(y.shape, bool)
    for cy, cx, radius in ((30, 40, 9), (40, 150, 8), (110, 60, 10), (100, 140, 8), (70, 100, 9)):
        few |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    pixels = np.clip(np.where(few, 180, 60) + random.normal(0, 10, y.shape), 0, 255).astype(np.uint8)
    assert iou(found(pixels).labels == 1, few) > 0.97
    hinted = segment(grey, "chan-vese", hint=cells)
    assert iou(hinted.mask, cells) > 0.97 and "ν" in hinted.notes[0]


@pytest.mark.parametrize("longest", [40, 299, 400])
def test_a_small_picture_is_enlarged_for_the_saliency_map(monkeypatch, longest):
    sides = []
    shape = saliency._working_shape
    monkeypatch.setattr(saliency, "_working_shape", lambda *given: sides.append(shape(*given)) or sides[-1])
    ramp = np.tile(np.linspace(0, 1, longest), (longest // 2, 1)) ** 2
    assert segment(ramp, "hint-cut").labels.shape == ramp.shape
    assert [max(each) for each in sides] == [300]


def test_photographs_have_no_many_small_objects_and_nuclei_do():
    photographs = {name: as_image(samples.load(name).image) for name in samples.PHOTOGRAPHS}
    objects = {name: tones.many_objects(image) for name, image in photographs.items()}
    assert [name for name, each in objects.items() if each is not None] == ["coins"] and objects["coins"].shaded
    assert sum(tones.many_objects(as_image(nuclei.load(name).image)) is not None for name in nuclei.FOR_CHOOSING) == 3


def test_a_hint_is_taken_for_rough_where_the_method_is_held_to_it_alone(monkeypatch):
    asked = []
    monkeypatch.setattr("deepcv.door.rough_hint", lambda image, hint: asked.append(hint) or hint)
    quick = {"size": 48, "width": 2, "levels": 2, "steps": 2}
    assert segment(PICTURE, "deep-cv", preset="paper", hint=MASK, **quick).settings["hint_weight"] == 0 and not asked
    segment(PICTURE, "ridge", hint=MASK)
    assert len(asked) == 1


def test_a_rough_hint_stays_one_where_its_reduction_has_three_levels():
    """Averages of pairs of pixels are 0, ½ and 1, which alone would be marks."""
    masks = []
    for left in (50, 51, 53):
        hint = np.zeros(PICTURE.shape[:2], bool)
        hint[10:60, left:110] = True
        masks.append(segment(PICTURE, "grabcut", hint=hint, size=60).mask)
    assert iou(masks[1], masks[0]) > 0.9 and iou(masks[2], masks[0]) > 0.9


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(PICTURE).quantize(16), r"Pillow's mode P; convert it first: image.convert\('RGB'\)"),
        (Image.fromarray(MASK), r"Pillow's mode 1; convert it first: image.convert\('RGB'\)"),
        (PICTURE.astype(int).tolist(), r"int64, from \d+ to \d+; make it uint8"),
        (PICTURE.astype(np.uint16) * 200, r"uint16, from \d+ to \d+; scale it to \[0, 1\]: \(image - \d+\) / \d+"),
        (MASK, "bool, from 0 to 1; make it floats"),
        (np.ma.masked_less(PICTURE, 90), r"a masked array, .* by image.filled\(0\)"),
    ],
)
def test_an_image_that_would_be_misread_is_refused_with_a_remedy_that_works(image, said):
    with pytest.raises(InputError, match=said):
        segment(image, "hint-cut", hint=MASK)


def test_a_seed_out_of_range_is_refused_by_every_method():
    with pytest.raises(InputError, match="seed is -1"):
        segment(PICTURE, "hint-cut", hint=MASK, seed=-1)


def test_a_setting_that_was_asked_for_stays():
    line = np.full((100, 100), 60, np.uint8)
    line[20:80, 50:52] = 220
    found = segment(line, "ridge", hint=line > 100)
    assert found.settings["balance"] == 0 and any("aren't balanced" in note for note in found.notes)
    asked = segment(line, "ridge", hint=line > 100, balance=0.6)
    assert asked.settings["balance"] == 0.6 and not any("aren't balanced" in note for note in asked.notes)


def test_a_thin_object_in_a_reduced_picture_is_said_to_need_more_pixels():
    line = np.zeros((100, 150), bool)
    line[50:53] = True
    pixels = np.where(line, 200, 60).astype(np.uint8)
    assert mean_width(line) == pytest.approx(3, rel=0.05) and mean_width(MASK) == pytest.approx(17, rel=0.3)
    chosen = replace(get_method("saliency"), function=lambda image, *_, **__: two_phase(image > 0.3))
    for size, said in ((60, True), (150, False)):
        settings = chosen.settings() | {"seed": 0, "size": size}
        notes = segment_picture(chosen, pixels, None, settings).notes
        assert any("--size 150 draws thin parts" in note for note in notes) == said


def test_the_size_of_the_shorter_side_is_what_thin_parts_are_told_of_where_that_is_what_it_bounds():
    line = np.zeros((100, 300), bool)
    line[50:52] = True
    for size, said in ((50, "reduced 2.0 times"), (100, "")):
        chosen = replace(get_method("iem"), function=lambda image, *_, size=0, **__: two_phase(image > 0.3))
        pixels = np.where(line, 0.8, 0.2)
        notes = segment_picture(chosen, pixels, None, {"seed": 0, "start": "centre", "size": size}).notes
        told = [note for note in notes if "draws thin parts" in note]
        assert len(told) == bool(said) and all(said in note and "--size 100 draws" in note for note in told)


BAD = {
    "hint of one axis": ({"hint": np.linspace(0, 1, 10)}, r"the hint is \(10,\); give one value for each pixel"),
    "empty hint": ({"hint": np.zeros((0, 0))}, r"the hint is \(0, 0\); give one value"),
    "hint in colour": ({"hint": PICTURE}, r"the hint is \(80, 120, 3\); give .* grey"),
    "hint of 0 and 1": ({"hint": MASK.view(np.uint8)}, "the hint is uint8, from 0 to 1, which is nearly black; make"),
    "hint of indices": ({"hint": Image.fromarray(PICTURE).quantize(4)}, r"mode P; convert it first: hint.convert\('L'"),
    "masked hint": ({"hint": np.ma.masked_array(MASK, ~MASK)}, r"hint is a masked array, .* by hint.filled\(0\)"),
    "masked seeds": ({"seeds": np.ma.masked_array(MASK, ~MASK)}, "seeds is a masked array"),
    "size in words": ({"size": "big"}, "size is 'big'; it must be a whole number of at least 8, or None"),
    "size of no number": ({"size": float("nan")}, "size is nan; it must be"),
    "broken size": ({"size": 200.5}, "size is 200.5; it must be"),
    "no method": ({"method": None}, "method is None; give a name, one of deep-cv, chan-vese"),
    "no device": ({"method": "iem", "device": 3}, "device is 3; give a name, such as 'cpu'"),
    "setting": ({"nu": -1.0}, "nu is -1.0"),
}


@pytest.mark.parametrize(("given", "says"), BAD.values(), ids=BAD)
def test_what_cant_be_used_is_named(given, says):
    with pytest.raises(InputError, match=says):
        segment(PICTURE, **{"method": "chan-vese"} | given)


def test_marks_are_named_as_they_were_given():
    wide = np.zeros((20, 1500), np.uint8)
    wide[5:9, 5:9] = 200
    with pytest.raises(InputError, match=re.escape("the point (1600, 3) of points isn't in the image, 1500×20")):
        segment(wide, "grabcut", seeds=Seeds(points=[(1600, 3)]))


def test_of_several_regions_a_frame_has_the_labels_beside_it():
    bands = np.repeat(np.repeat([[20], [120], [220]], 20, axis=0), 60, axis=1).astype(np.uint8)
    bands += np.random.default_rng(0).integers(0, 6, bands.shape).astype(np.uint8)
    chosen = get_method("deep-cv")
    settings = chosen.settings(phases=3, rounds=1, steps=3, size=60)
    framed = segment_picture(chosen, np.pad(bands, 12), None, settings | {"seed": 0, "device": "cpu"})
    assert any("gets the labels beside it" in note for note in framed.notes)
    assert len(framed.memberships) == 3
    np.testing.assert_array_equal(framed.labels[:12], np.broadcast_to(framed.labels[12], (12, 84)))
    np.testing.assert_allclose(framed.memberships.sum(axis=0), 1, atol=1e-5)


def mine(labels, memberships):
    def function(image, hint=None, *, seed=0, device=None):
        return Segmentation(labels, memberships, seconds=0.0, method="mine", settings={})

    return Method("mine", "Mine", function)


def test_what_ones_own_method_returns_is_checked_and_gets_the_promised_types(monkeypatch):
    memberships = np.stack([1.0 - MASK, 1.0 * MASK])
    monkeypatch.setitem(METHODS, "mine", mine(MASK.astype(int), memberships))
    own = segment(PICTURE, "mine")
    assert own.labels.dtype == np.uint8 and own.memberships.dtype == np.float32
    np.testing.assert_array_equal(own.mask, MASK)
    monkeypatch.setitem(METHODS, "mine", mine(MASK * 255, memberships))
    for seeds in (None, Seeds(box=(40, 18, 90, 66))):
        with pytest.raises(InputError, match=r"mine returned int64 labels .*, 0 to 255, and memberships"):
            segment(PICTURE, "mine", seeds=seeds)
    for wrong in (mine(MASK[:9, :9] * 1, memberships), mine(np.zeros((0, 0), int), memberships[:1])):
        monkeypatch.setitem(METHODS, "mine", wrong)
        with pytest.raises(InputError, match="mine returned int64 labels"):
            segment(PICTURE, "mine")
    monkeypatch.setitem(METHODS, "mine", Method("mine", "Mine", lambda image, hint=None, **_: MASK))
    with pytest.raises(InputError, match=r"mine returned a ndarray; a method returns a deepcv\.Segmentation"):
        segment(PICTURE, "mine")


def test_marks_hold_ones_own_method_too(monkeypatch):
    memberships = np.stack([1.0 - MASK, 1.0 * MASK])
    monkeypatch.setitem(METHODS, "mine", mine(MASK.astype(np.uint8), memberships))
    assert segment(PICTURE, "mine", seeds=Seeds(points=[(3, 3)], background_points=[(64, 42)])).mask[3, 3]


def test_a_line_by_ones_own_method_is_checked_and_told_like_any(monkeypatch):
    line = np.zeros(MASK.shape, int)
    line[40, 5:100] = 1

    def function(image, hint=None, *, seed=0, device=None, balance=0.5):
        return Segmentation(line, np.stack([1.0 - line, 1.0 * line]), settings={"balance": balance})

    monkeypatch.setitem(METHODS, "mine", Method("mine", "Mine", function))
    own = segment(PICTURE, "mine", hint=MASK)
    assert own.labels.dtype == np.uint8 and own.settings == {"balance": 0.0, "size": 1024}


def test_ones_own_method_may_take_marks_itself(monkeypatch):
    given = []

    def function(image, hint=None, *, seeds=None, seed=0, device=None):
        given.append(seeds)
        return two_phase(MASK)

    monkeypatch.setitem(METHODS, "mine", Method("mine", "Mine", function))
    segment(PICTURE, "mine", seeds=Seeds(points=[(3, 3)]))
    assert given[0].points == ((3, 3),)


def test_of_several_regions_wedges_keep_what_is_mirrored_into_them():
    bands = np.repeat(np.repeat([[60], [140], [240]], 40, axis=0), 120, axis=1).astype(np.uint8)
    bands += np.random.default_rng(0).integers(0, 6, bands.shape).astype(np.uint8)
    turned = _turned(bands, 7, 0)
    assert frames.scene(turned).outside is not None
    own = segment(turned, "normalized-cuts:regions", size=100)
    assert own.labels.shape == turned.shape and any("gets the labels beside it" in note for note in own.notes)
    np.testing.assert_allclose(own.memberships.sum(axis=0), 1, atol=1e-5)


def test_a_preset_is_named_with_its_method_or_beside_it():
    both = [segment(PICTURE, "chan-vese:exact", hint=MASK), segment(PICTURE, "chan-vese", preset="exact", hint=MASK)]
    np.testing.assert_array_equal(both[0].labels, both[1].labels)
    assert both[0].settings == both[1].settings and both[0].settings["solver"] == "exact"
    with pytest.raises(InputError, match="preset is 'textbook'; leave one of them out"):
        segment(PICTURE, "chan-vese:exact", preset="textbook")


def test_all_settings_are_told_and_numpys_numbers_are_numbers():
    own = segment(PICTURE, "grabcut", hint=MASK, seed=np.int64(3), size=np.int64(64))
    assert json.loads(json.dumps(own.settings)) == own.settings
    assert (own.settings["size"], own.settings["seed"]) == (64, 3)
    given = {"seed": np.int64(1), "nu": np.float32(250), "rounds": np.int64(1)}
    assert json.loads(json.dumps(deep_chan_vese(PICTURE[::2, ::2], **given).settings))["nu"] == 250


@pytest.mark.parametrize("step", [1e-5, 1e-7, 1e-40])
def test_a_picture_whose_steps_are_hardly_there_is_segmented(step):
    faint = np.full((HEIGHT, WIDTH), 0.5 if step > 1e-20 else 0.0)
    faint[MASK] += step
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segment(faint, "saliency").labels.shape == MASK.shape


def test_notes_name_what_python_calls_an_option():
    (note,) = (each for each in segment(FRAMED["border"][0], "saliency").notes if "frame" in each)
    assert note.endswith("keep_frame=True keeps it")


def test_no_size_is_the_working_size_with_every_method():
    for method in ("chan-vese", "saliency"):
        found, default = (segment(PICTURE, method, hint=MASK, **given).labels for given in ({"size": None}, {}))
        np.testing.assert_array_equal(found, default)


def test_lines_are_not_balanced_by_area():
    """A few thin objects are; thick ones and many aren't."""
    rows, columns = np.mgrid[:60, :150]
    for mask, lines in (
        (abs(rows - 30) < 2, True),
        (abs(rows - 30) < 9, False),
        ((rows % 12 < 3) & (columns % 30 > 5), False),
    ):
        pixels, given = np.where(mask, 200, 60).astype(np.uint8), []

        def method(image, hint=None, *, seed=0, device=None, balance=0.5, mask=mask, given=given):
            given.append(balance)
            return two_phase(mask if mask.shape == image.shape[:2] else mask.T)

        chosen = replace(get_method("saliency"), function=method)
        segment_picture(chosen, pixels, mask, {"balance": 0.5, "seed": 0}, keep_frame=True)
        assert given == ([0.5, 0.0] if lines else [0.5])


@pytest.mark.parametrize("marked", [False, True])
def test_python_and_the_command_line_give_the_same_mask(tmp_path, marked):
    """Of a framed picture, from which the frame is left out, and of one that is larger than the method's size."""
    pixels, mask = FRAMED["border"]
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    Image.fromarray(cv2.GaussianBlur(np.uint8(255) * mask, (0, 0), 3)).resize((50, 30)).save(tmp_path / "hint.png")
    options = ["--method", "chan-vese", "--size", "70", "--out", str(tmp_path / "mask.png")]
    options += ["--box", "20,10,120,90"] if marked else ["--hint", str(tmp_path / "hint.png")]
    assert command_line.main(["segment", str(tmp_path / "picture.png"), *options]) == 0
    said = {"seeds": Seeds(box=(20, 10, 120, 90))} if marked else {"hint": read_image(tmp_path / "hint.png")}
    found = segment(pixels, "chan-vese", size=70, **said)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.png"), 255 * found.labels)
    assert found.memberships.shape == (2, *mask.shape) and found.method == "chan-vese" and found.trace
    assert any("frame" in note for note in found.notes) != marked
    floats = segment(as_image(pixels), "chan-vese", size=70, **said)
    np.testing.assert_array_equal(floats.labels, found.labels)
