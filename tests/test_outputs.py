"""What is written of a segmentation says where its objects are, exactly."""

import itertools
import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from deepcv import contours, outputs
from deepcv.errors import InputError
from deepcv.pictures import read_image, write_images

RING = np.zeros((9, 12), np.uint8)
RING[1:6, 2:7], RING[3, 4], RING[7, 9:12] = 1, 0, 1
"""Two objects, one with a hole of a pixel."""
OBJECTS = contours.Objects(RING == 1)


def _masks(count):
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.random(random.integers(1, 9, 2)) < random.random()


def _drawn(outline, shape):
    """Pixels inside of COCO's polygons or run lengths."""
    if isinstance(outline, dict):
        values = np.arange(len(outline["counts"])) % 2
        return np.repeat(values, outline["counts"]).reshape(shape[::-1]).T.astype(bool)
    corners = np.reshape(outline[0], (-1, 2))
    large = Image.new("1", (4 * shape[1], 4 * shape[0]))
    ImageDraw.Draw(large).polygon([tuple(corner) for corner in (4 * corners).tolist()], fill=1)
    return np.asarray(large)[2::4, 2::4]


def test_outlines_enclose_the_pixels_and_never_touch_themselves():
    for mask in _masks(200):
        objects = contours.Objects(mask)
        for (*_, area), (outer, *holes) in zip(objects.boxes, objects.outlines, strict=True):
            assert contours.doubled_area(outer) > 0 > max(map(contours.doubled_area, holes), default=-1)
            assert sum(map(contours.doubled_area, (outer, *holes))) == 2 * area
            for ring in (outer, *holes):
                assert ring[0] == ring[-1] and len(set(ring)) == len(ring) - 1
                turns = zip(ring[:-1], ring[1:], [*ring[2:], ring[1]], strict=True)
                assert all((a[0] == b[0]) != (b[0] == c[0]) for a, b, c in turns)


def test_coco_gives_the_mask_back():
    for mask in (*itertools.islice(_masks(60), 20, 60), RING == 1):
        found = outputs.coco_objects(contours.Objects(mask))
        drawn = [_drawn(each["segmentation"], mask.shape) for each in found]
        assert [each["area"] for each in found] == [one.sum() for one in drawn]
        np.testing.assert_array_equal(np.any([*drawn, np.zeros_like(mask)], axis=0), mask)
        for each, one in zip(found, drawn, strict=True):
            x, y, width, height = each["bbox"]
            assert one[y : y + height, x : x + width].sum() == each["area"]
    together = outputs.coco({"a.png": (RING.shape, outputs.coco_objects(OBJECTS)), "b.png": ((5, 5), [])})
    assert [each["id"] for each in together["annotations"]] == [1, 2]
    assert {each["image_id"] for each in together["annotations"]} == {1}
    assert together["images"][1] == {"id": 2, "file_name": "b.png", "width": 5, "height": 5}


def test_geojson_has_an_annotation_per_object():
    found = json.loads(json.dumps(outputs.geojson(OBJECTS, "ring.png")))
    assert found["type"] == "FeatureCollection" and found == outputs.geojson(OBJECTS, "ring.png") | found
    first, second = found["features"]
    assert first["geometry"]["coordinates"][0][0] == first["geometry"]["coordinates"][0][-1]
    assert sorted(map(len, first["geometry"]["coordinates"])) == [5, 5]
    assert sorted(second["geometry"]["coordinates"][0][:-1]) == [[9, 7], [9, 8], [12, 7], [12, 8]]
    assert first["properties"]["objectType"] == "annotation" and first["id"] != second["id"]


def test_every_kind_can_be_read_again(tmp_path):
    kinds = {"out": "m.png", "overlay": "o.jpg", "cutout": "c.png", "soft": "s.tif", "objects": "n.tif"}
    wanted = {kind: tmp_path / name for kind, name in kinds.items()}
    soft = np.stack([1 - RING, RING]).astype(np.float32)
    pixels = np.arange(RING.size * 3).reshape(*RING.shape, 3).astype(np.uint8)
    write_images(outputs.encoded(wanted, RING, soft, pixels, "ring", OBJECTS))
    np.testing.assert_array_equal(read_image(wanted["out"]), RING * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(wanted["cutout"])), np.dstack([pixels, RING * np.uint8(255)]))
    np.testing.assert_array_equal(np.asarray(Image.open(wanted["soft"])), RING * np.uint16(65535))
    numbers = np.asarray(Image.open(wanted["objects"]))
    assert numbers.dtype == np.uint16 and np.unique(numbers).tolist() == [0, 1, 2] and ((numbers > 0) == RING).all()
    for kind, name in (("soft", "soft.jpg"), ("objects", "n.bmp"), ("cutout", "cut.jpg"), ("geojson", "a.png")):
        with pytest.raises(InputError, match="can't be written to"):
            outputs.check_suffix(kind, tmp_path / name)


def test_areas_count_objects_and_regions():
    (row,) = outputs.areas(RING, 2, "ring.png", OBJECTS)
    assert (row["pixels"], row["objects"], row["largest"], row["share"]) == (27, 2, 24, "0.250000")
    assert [row["pixels"] for row in outputs.areas(RING, 3, "ring.png", OBJECTS)] == [81, 27, 0]
    assert OBJECTS.largest().sum() == 24 and not contours.Objects(RING == 9).largest().any()


def test_objects_are_numbered_and_traced_once(monkeypatch, tmp_path):
    called = []

    def watch(place, name):
        function = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given, **more: [called.append(name), function(*given, **more)][1])

    watch(cv2, "connectedComponentsWithStats")
    watch(contours, "polygons")
    objects = contours.Objects(RING == 1)
    wanted = {"objects": tmp_path / "n.tif", "geojson": tmp_path / "a.geojson"}
    dict(outputs.encoded(wanted, RING, None, RING, "ring", objects))
    outputs.coco_objects(objects)
    outputs.areas(RING, 2, "ring", objects)
    assert sorted(called) == ["connectedComponentsWithStats", "polygons"]
