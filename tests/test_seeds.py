"""What is marked: read as meant, held by every method, spread to what is like it."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import deepcv
from deepcv import seeds as module
from deepcv.door import segment, without_ripples
from deepcv.errors import InputError
from deepcv.hints import hint as hints
from deepcv.methods import METHODS
from deepcv.model import marked
from deepcv.seeds import UNDECIDED, Seeds, as_marks, marks_in, rough_hint

HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
DISC = np.hypot(ROWS - 24, COLUMNS - 30) < 14
CORNER = (ROWS > 36) & (COLUMNS > 52)
"""A second object, of the disc's colour."""
IMAGE = np.where((DISC | CORNER)[..., None], (0.8, 0.3, 0.2), (0.2, 0.5, 0.3)).astype(np.float32)
IMAGE += np.random.default_rng(0).normal(0, 0.02, IMAGE.shape).astype(np.float32)
HINTED = [name for name, each in METHODS.items() if each.takes_hint(each.settings()) and name != "double-dip"]
SMALL = {"deep-cv": {"steps": 8, "rounds": 2, "size": 32}, "mixture": {"rounds": 1, "components": 2, "size": 32}}
SMALL |= {"feature-clustering": {"steps": 5}, "statistical": {"max_iterations": 50}}


@pytest.fixture(autouse=True)
def no_saliency(monkeypatch):
    """A saliency map that knows nothing but the centre; the true one takes a second."""

    def centred(image):
        rows, columns = (np.linspace(-1, 1, side) for side in image.shape[:2])
        return np.exp(-(rows[:, None] ** 2) - columns**2).astype(np.float32)

    monkeypatch.setattr(module, "structured_matrix_decomposition", centred)
    monkeypatch.setattr(hints, "structured_matrix_decomposition", centred)
    monkeypatch.setattr(module, "_maps", {})


def test_points_boxes_and_scribbles_become_marks():
    stroke = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    stroke[40:44, 50:70] = 255
    marks = Seeds([(30, 24)], [(2, 3)], (10, 5, 60, 45), foreground=stroke).marks((HEIGHT, WIDTH))
    assert marks[24, 30] == 1 and marks[3, 2] == 0
    assert (marks[20:22, 25:35] == 1).all()  # the stroke at half the size
    assert (marks[:5] == 0).all() and (marks[45:] == 0).all() and (marks[:, :10] == 0).all()
    assert np.isnan(marks[30, 20]) and np.count_nonzero(marks == 1) < 40


def test_a_thin_stroke_survives_beside_a_thick_one():
    drawn = np.zeros((900, 1200), bool)
    drawn[100, 200:900] = True
    alone = Seeds(foreground=drawn).marks((90, 120)) == 1
    drawn[500:540, 100:1000] = True
    both = Seeds(foreground=drawn).marks((90, 120)) == 1
    assert alone.any() and (both[:30] == alone[:30]).all()


@pytest.mark.parametrize("array", [np.full((9, 9), 65535, np.uint16), np.full((9, 9), 200.0), np.full((9, 9), np.nan)])
def test_a_scribble_that_is_no_picture_is_refused(array):
    with pytest.raises(InputError, match=r"the foreground scribble is (uint16|float64), .*give bool, uint8, or floats"):
        Seeds(foreground=array).marks((9, 9))


def test_marks_that_contradict_each_other_are_said_to():
    with pytest.raises(InputError, match="of the object and of the background cover the same pixels"):
        segment(IMAGE, "saliency", seeds=Seeds(points=[(30, 24)], background_points=[(30, 24)]))


@pytest.mark.parametrize("left", range(495, 505))
def test_a_point_on_the_edge_of_its_box_stays_in_it_at_another_size(left):
    seeds = Seeds(box=(left, 290, 1210, 910), points=[(left, 600)])
    marks = seeds.scaled(0.512, 0.512).marks((768, 1024))
    assert (marks == 1).any() and not (marks[:, : int(left * 0.512) - 1] == 1).any()
    with pytest.raises(InputError, match="lies outside the box"):
        Seeds(box=seeds.box, points=[(left - 9, 600)]).marks((1500, 2000))


def test_a_thin_stroke_on_a_large_picture_survives():
    stroke = np.zeros((40 * HEIGHT, 40 * WIDTH), bool)
    stroke[960] = True
    assert Seeds(background=stroke).marks((HEIGHT, WIDTH))[24].tolist() == [0] * WIDTH


def test_arrays_say_the_same_in_floats_and_in_bytes():
    floats = np.full((HEIGHT, WIDTH), np.nan)
    floats[:4], floats[20:24, 25:35] = 0, 1
    levels = np.select([floats == 0, floats == 1], [0, 255], UNDECIDED).astype(np.uint8)
    np.testing.assert_array_equal(as_marks(floats, floats.shape), as_marks(levels, floats.shape))
    np.testing.assert_array_equal(marks_in(levels), floats)
    np.testing.assert_array_equal(marks_in(np.nan_to_num(floats, nan=0.5)), floats)


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        (Seeds(), "mark no pixel"),
        (Seeds([(64, 3)]), r"the point \(64, 3\) of points isn't in the image, 64×48"),
        (Seeds([(5, 5)], box=(10, 10, 40, 40)), "outside the box"),
        (Seeds(box=(70, 0, 90, 20)), "no pixel of the image"),
        (Seeds(foreground=np.zeros((9, 9), np.uint8)), "no stroke"),
        (Seeds(foreground=np.zeros((9, 9, 3), np.uint8)), r"\(9, 9, 3\)"),
        (np.zeros((3, 3)), "resize the seeds"),
        ({"box": (1, 2, 3, 4)}, r"seeds are \{'box': .* or deepcv.Seeds with points"),
        ((30, 20), r"seeds are \(30, 20\); give"),
        (np.full((HEIGHT, WIDTH), 0.3), "value 0.3"),
        (np.full((HEIGHT, WIDTH), np.nan), "mark no pixel"),
        (np.zeros((HEIGHT, WIDTH), int), "int64"),
    ],
)
def test_what_cant_be_meant_is_told(seeds, says):
    with pytest.raises(InputError, match=says):
        as_marks(seeds, (HEIGHT, WIDTH))


@pytest.mark.parametrize("wrong", [{"box": (1, 2, 3)}, {"box": (30, 5, 20, 40)}, {"points": [(1, "x")]}])
def test_a_point_or_box_is_numbers_in_order(wrong):
    with pytest.raises(InputError, match=r"give \d numbers|must exceed"):
        Seeds(**wrong)


@pytest.mark.parametrize("wrong", [{"points": 5}, {"points": None}, {"background_points": 2.0}])
def test_points_are_a_sequence(wrong):
    with pytest.raises(InputError, match=r"points is .*; give a sequence of points"):
        Seeds(**wrong)


def test_arrays_of_points_and_a_box_say_the_same_as_tuples():
    given = [(30, 24), (40, 30)], [(2, 3)], (12, 6, 62, 46)
    seeds, same = Seeds(*map(np.array, given)), Seeds(*given)
    assert seeds and (seeds.points, seeds.box) == (((30.0, 24.0), (40.0, 30.0)), (12.0, 6.0, 62.0, 46.0))
    assert not Seeds(points=np.empty((0, 2))) and seeds.scaled(0.5, 0.5).box == (6, 3, 31, 23)
    for each in (seeds, seeds.scaled(1, 1)):
        np.testing.assert_array_equal(each.marks((HEIGHT, WIDTH)), same.marks((HEIGHT, WIDTH)))
    found = segment(IMAGE, "saliency", seeds=Seeds(points=np.array([[30, 24]])))
    np.testing.assert_array_equal(found.mask, segment(IMAGE, "saliency", seeds=Seeds(points=[(30, 24)])).mask)


def test_a_map_that_others_evict_at_once_is_still_returned(monkeypatch):
    class Forgetful(dict):
        def __setitem__(self, key, value):
            """Another thread has evicted it."""

    monkeypatch.setattr(module, "_maps", Forgetful())
    assert module._saliency(IMAGE).shape == (HEIGHT, WIDTH)


def test_the_last_maps_are_kept_whatever_threads_ask(monkeypatch):
    images = np.random.default_rng(0).random((6, 8, 8)).astype(np.float32)
    monkeypatch.setattr(module, "structured_matrix_decomposition", lambda image: image + 1)
    with ThreadPoolExecutor(8) as pool:
        asked = np.tile(images, (50, 1, 1))
        np.testing.assert_array_equal([*pool.map(module._saliency, asked)], asked + 1)
    assert len(module._maps) == module._KEPT


@pytest.mark.parametrize("name", HINTED)
def test_every_method_holds_what_is_marked_and_looks_where_it_is_told(name):
    method = METHODS[name]
    settings = {key: value for key, value in SMALL.get(name, {}).items() if method.has_setting(key)}
    seeds = Seeds([(30, 24)], [(58, 42)], box=(12, 6, 62, 46))
    found = segment(IMAGE, name, seeds=seeds, **settings)
    marks = seeds.marks((HEIGHT, WIDTH))
    assert found.mask[marks == 1].all() and not found.mask[marks == 0].any()
    np.testing.assert_array_equal(found.memberships[1][marks == 1], 1)
    np.testing.assert_allclose(found.memberships.sum(axis=0), 1, atol=1e-6)
    assert deepcv.metrics.f_measure(found.mask, DISC) > 0.8
    assert found.labels.shape == DISC.shape and found.method == name


@pytest.mark.parametrize("name", ["saliency", "chan-vese"])
def test_a_click_brings_back_what_it_is_on_and_takes_away_what_isnt_meant(name):
    missed = segment(IMAGE, name, seeds=Seeds([(30, 24)], [(58, 42)])).mask
    assert missed[DISC].mean() > 0.9 and missed[CORNER].mean() < 0.1
    both = segment(IMAGE, name, seeds=Seeds([(30, 24), (58, 42)], [(5, 5)])).mask
    assert both[DISC].mean() > 0.9 and both[CORNER].mean() > 0.9


def test_a_hint_of_three_levels_is_marks_and_a_tiny_one_a_click():
    strokes = np.full((HEIGHT, WIDTH), 128, np.uint8)
    strokes[22:27, 26:34], strokes[:3] = 255, 0
    click = np.zeros((HEIGHT, WIDTH), np.uint8)
    click[24:26, 30:32] = 255
    for hint in (strokes, click, click > 0):
        found = METHODS["chan-vese"].function(IMAGE, hint).mask
        assert found[DISC].mean() > 0.9 and found[hint == 255].all()
        assert found[~(DISC | CORNER)].mean() < 0.1
    assert marks_in(DISC) is None and marks_in(DISC.astype(np.uint8) * 255) is None
    assert marks_in(np.random.default_rng(0).random((9, 9))) is None


def _as_jpeg(levels: np.ndarray, quality: int) -> np.ndarray:
    Image.fromarray(levels).save(file := io.BytesIO(), "jpeg", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [60, 75, 95])
@pytest.mark.parametrize("scale", [1, 255])
def test_marks_saved_as_jpeg_are_marks(quality, scale):
    rows, columns = np.mgrid[:200, :300]
    strokes = np.full((200, 300), 128, np.uint8)
    strokes[98:102, 120:180], strokes[(columns < 8) & (rows % 50 < 25)] = 255, 0
    click = np.where(np.hypot(rows - 90, columns - 150) < 4, 255, 0).astype(np.uint8)
    for levels in (strokes, click):
        saved = _as_jpeg(levels, quality)
        assert marks_in(saved) is None
        restored = marks_in(without_ripples(saved if scale == 255 else saved / 255))
        wanted = marks_in(levels)
        assert restored is not None and (np.isnan(restored) == np.isnan(wanted)).mean() > 0.995
        both = ~np.isnan(restored) & ~np.isnan(wanted)
        assert both.any() and (restored[both] == wanted[both]).all()


def test_a_rough_hint_keeps_its_shades():
    soft = np.exp(-((ROWS - 24) ** 2 + (COLUMNS - 30) ** 2) / 200)
    blurred = _as_jpeg((DISC * 255).astype(np.uint8), 75)
    for hint in (soft, 0.5 + 0.5 * soft, (soft * 255).astype(np.uint8), blurred, DISC, np.full((9, 9), UNDECIDED)):
        assert without_ripples(hint) is hint


def test_without_marks_the_method_gets_what_it_was_given():
    given = []

    @module.takes_seeds
    def method(image, hint=None, *, seed=0, device=None, nu=1.0):
        given.append((image, hint, seed, nu))

    hint = np.random.default_rng(0).random((HEIGHT, WIDTH))
    method(IMAGE, hint, seed=3, nu=2.0)
    method(IMAGE)
    assert given[0][0] is IMAGE and given[0][1] is hint and given[0][2:] == (3, 2.0)
    assert given[1][1] is None
    assert method.__kwdefaults__ == {"seed": 0, "device": None, "nu": 1.0}


def test_seeds_are_in_the_docstring_and_no_setting():
    for name in HINTED:
        method = METHODS[name]
        assert "The keyword `seeds` says" in method.function.__doc__.partition("Parameters")[0]
        assert "seeds" not in method.settings()
    with pytest.raises(InputError, match="no setting 'seeds'"):
        METHODS["chan-vese"].settings(seeds=1)


def test_seeds_are_for_two_regions():
    with pytest.raises(InputError, match="two regions"):
        deepcv.deep_chan_vese(IMAGE, phases=3, seeds=Seeds([(30, 24)]))
    with pytest.raises(InputError, match="doesn't use a hint"):
        segment(IMAGE, "vese-chan", seeds=Seeds([(30, 24)]))


def test_the_object_fills_its_box():
    """Where the belief knows a half alone, the cut goes on until it spans the box."""
    image = np.where(((ROWS > 10) & (ROWS < 38) & (COLUMNS > 10) & (COLUMNS < 50))[..., None], 0.7, 0.3)
    image = np.repeat(image + np.where(COLUMNS > 30, 0.15, 0)[..., None], 3, axis=2).astype(np.float32)
    off = ~((ROWS > 9) & (ROWS < 39) & (COLUMNS > 9) & (COLUMNS < 51))
    belief = np.where(COLUMNS > 30, 0.9, 0.35).astype(np.float32)
    found, p, near = marked.told(image, belief, np.zeros_like(off), off, boxed=True)
    assert marked._sides(found)[1] >= marked.SPAN * marked._sides(~off)[1]
    assert (p >= 0).all() and (p <= 1).all() and near[off].min() == pytest.approx(1)


def test_distance_goes_around_edges():
    image = np.zeros((40, 40, 3), np.float32)
    image[:30, 20] = 1  # a wall with a gap
    start = np.zeros((40, 40), bool)
    start[5, 10] = True
    how = marked.Spread(change=10, ignored=0, colour=0, reach=1, doubt=0.1, prior=1)
    found = marked.distance(image, start, how)
    assert found[5, 10] < found[5, 15] < found[35, 30] < found[5, 30]
    assert found[5, 30] > 2 * np.hypot(0, 20) / 40
    assert np.isinf(marked.distance(image, np.zeros_like(start), how)).all()


def test_a_rough_hint_has_any_size_and_is_not_held():
    ellipse = np.hypot((ROWS - 24) / 20, (COLUMNS - 30) / 20) < 1
    f_measure = deepcv.metrics.f_measure
    assert f_measure(rough_hint(IMAGE, ellipse) > 0.5, DISC) > f_measure(ellipse, DISC) + 0.05
    assert f_measure(segment(IMAGE, "saliency", hint=ellipse[::2, ::2]).mask, ellipse) > 0.9  # it has nothing else
    click = np.zeros((100, 100), np.uint8)
    click[50, 47] = 255
    found = segment(IMAGE, "saliency", hint=click)
    assert found.memberships[1][24, 30] == 1 and f_measure(found.mask, DISC) > 0.8


def test_a_box_around_one_colour_is_told():
    image = np.pad(np.zeros((40, 40)), ((0, 40), (0, 40)), constant_values=0.5)
    image[70:, 70:] = 1
    with pytest.raises(InputError, match="one colour"):
        segment(image, "saliency", seeds=Seeds(box=(5, 5, 15, 15)))
    with pytest.raises(InputError, match="box is"):
        segment(image, "saliency", seeds=Seeds(box=(5, 5, 5, 15)))
