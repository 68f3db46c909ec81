"""`deepcv segment` and `predict` with many pictures, folders, standard input and output."""

import csv
import io
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deepcv import parallel
from deepcv.cli import segment
from deepcv.errors import InputError
from deepcv.methods import METHODS
from deepcv.pictures import read_image
from deepcv.segmentation import Segmentation, two_phase


@pytest.fixture
def bright(stand_in):
    """A method that finds what is bright, and counts its calls."""
    calls = []

    def method(image, hint=None, *, seed=0, device=None):
        calls.append(image.shape)
        return two_phase(np.atleast_3d(image)[..., 0] > 0.5)

    stand_in(method)
    return calls


@pytest.fixture
def photos(folder):
    """A folder with two good pictures, one of them in a subfolder, a bad one, and what is no picture."""
    (folder / "photos" / "more").mkdir(parents=True)
    disc = Image.open("disc.png")
    disc.save("photos/a.png")
    disc.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("photos/more/b.png")
    (folder / "photos" / "bad.png").write_bytes((folder / "disc.png").read_bytes()[:1000])
    (folder / "photos" / "notes.txt").write_text("no picture")
    return folder / "photos"


MANY = ("segment", "photos", "--out", "masks", "--method", "grabcut", "--workers", 1)


def _rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_a_folder_is_done_but_for_its_bad_pictures(deepcv, photos, folder, bright, capsys):
    wanted = ("--areas", "areas.csv", "--coco", "coco.json", "--objects", "numbers", "--geojson", "outlines")
    assert deepcv(*MANY, *wanted) == 1
    out, err = capsys.readouterr()
    assert out.startswith("masks: 2 masks, 1 skipped, ") and out.count("\n") == 1
    assert "skipped: photos/bad.png can't be read to its end" in err
    masks = sorted(str(path.relative_to(folder)) for path in (folder / "masks").rglob("*.png"))
    assert masks == ["masks/a.png", "masks/more/b.png"]
    np.testing.assert_array_equal(read_image("masks/a.png") > 0, read_image("photos/a.png")[..., 0] > 127)
    rows = _rows(folder / "areas.csv")
    assert [row["picture"] for row in rows] == ["a.png", "bad.png", "more/b.png"]
    assert rows[0]["pixels"] == rows[2]["pixels"] and "can't be read" in rows[1]["problem"]
    assert int(rows[0]["pixels"]) == np.count_nonzero(read_image("masks/a.png"))
    found = json.loads((folder / "coco.json").read_text())
    assert sum(each["area"] for each in found["annotations"]) == 2 * int(rows[0]["pixels"])
    assert np.asarray(Image.open("numbers/more/b.tif")).max() == int(rows[0]["objects"])
    assert len(json.loads((folder / "outlines/a.geojson").read_text())["features"]) == int(rows[0]["objects"])


def test_what_is_there_and_newer_is_not_made_again(deepcv, photos, folder, bright, capsys):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY, "--areas", "first.csv") == 0 and len(bright) == 2
    assert deepcv(*MANY, "--areas", "second.csv") == 0 and len(bright) == 2
    first, second = (_rows(folder / name) for name in ("first.csv", "second.csv"))
    assert all(row["confidence"] for row in first) and first == second, "it is in the masks"
    assert deepcv(*MANY, "--areas", "masks/third.csv", "--convert") == 0 and _rows(folder / "masks/third.csv") == first
    assert "masks: 0 masks, 2 were there (--again makes them anew), " in capsys.readouterr().out
    later = (folder / "masks" / "a.png").stat().st_mtime + 5
    os.utime(photos / "a.png", (later, later))
    assert deepcv(*MANY) == 0 and len(bright) == 3
    assert deepcv(*MANY, "--overlay", "outlines") == 0 and len(bright) == 5
    assert deepcv(*MANY, "--again") == 0 and len(bright) == 7


def test_a_table_that_cannot_be_written_beside_the_masks_is_refused_before_any_work(deepcv, photos, folder, bright):
    (folder / "masks" / "areas.csv").mkdir(parents=True)
    assert deepcv(*MANY, "--areas", "masks/areas.csv") == 2 and not bright


def test_a_mask_that_is_cut_off_is_made_again(deepcv, photos, folder, bright):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY) == 0
    mask = folder / "masks" / "a.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:60])
    assert deepcv(*MANY) == 0 and len(bright) == 3 and mask.read_bytes() == whole


def test_links_are_followed_and_those_that_lead_nowhere_reported(deepcv, photos, folder, bright, capsys):
    (photos / "bad.png").unlink()
    (folder / "elsewhere").mkdir()
    Image.fromarray(read_image(photos / "a.png")).save(folder / "elsewhere" / "c.png")
    (photos / "linked").symlink_to(folder / "elsewhere")
    (photos / "round").symlink_to(photos)
    (photos / "lost.png").symlink_to(folder / "nowhere.png")
    assert deepcv(*MANY, "--areas", "masks/areas.csv") == 1 and len(bright) == 3
    assert "skipped: there is no file photos/lost.png" in capsys.readouterr().err
    rows = _rows(folder / "masks" / "areas.csv")
    assert [row["picture"] for row in rows] == ["a.png", "linked/c.png", "lost.png", "more/b.png"]


def test_masks_made_by_other_options_are_made_again_and_those_of_other_programs_kept(deepcv, photos, folder, bright):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY) == deepcv(*MANY, "--areas", "first.csv") == 0 and len(bright) == 2
    corrected = np.zeros_like(read_image("masks/a.png"))
    corrected[:3] = 255
    Image.fromarray(corrected).save("masks/a.png")
    assert deepcv(*MANY, "--largest", "--areas", "second.csv") == 0 and len(bright) == 3, "b alone"
    np.testing.assert_array_equal(read_image("masks/a.png"), corrected)
    pixels = [int(row["pixels"]) for row in _rows(folder / "second.csv")]
    assert pixels == [np.count_nonzero(read_image(f"masks/{name}.png")) for name in ("a", "more/b")]
    assert deepcv(*MANY, "--largest") == 0 and len(bright) == 3


def test_outputs_that_are_added_are_made_of_a_corrected_mask(deepcv, photos, folder, bright, capsys):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY, "--overlay", "outlines") == 0 and len(bright) == 2
    corrected = np.zeros_like(read_image("masks/a.png"))
    corrected[10:20, 10:30] = 255
    soft = np.dstack([cv2.GaussianBlur(corrected, (0, 0), 1)] * 3)  # as an editor saves it: colour, soft edges
    Image.fromarray(soft).save("masks/a.png")
    before, overlay = Path("masks/a.png").read_bytes(), Path("outlines/a.png").read_bytes()
    added = ("--geojson", "shapes", "--cutout", "cut", "--overlay", "outlines", "--coco", "coco.json")
    for _ in range(2):
        assert deepcv(*MANY, *added) == 0 and len(bright) == 3, "b alone"
        assert Path("masks/a.png").read_bytes() == before and Path("outlines/a.png").read_bytes() != overlay
        np.testing.assert_array_equal(np.asarray(Image.open("cut/a.png"))[..., 3] > 0, soft[..., 0] > 127)
        assert len(json.loads(Path("shapes/a.geojson").read_text())["features"]) == 1
        boxes = [each["bbox"] for each in json.loads(Path("coco.json").read_text())["annotations"]]
        assert [10, 10, 20, 10] in boxes
    assert (
        "masks: 0 masks, 1 was there (--again makes them anew), 1 of another program stays" in capsys.readouterr().out
    )
    os.utime("masks/a.png", (0, 0))  # older than its picture, as if that had been copied anew
    assert deepcv(*MANY, "--soft", "soft") == 0 and Path("masks/a.png").read_bytes() == before
    assert "photos/a.png: its mask is another program's and has no soft memberships" in capsys.readouterr().err
    Image.fromarray(corrected[::2, ::2]).save("masks/a.png")
    assert deepcv(*MANY, "--areas", "areas.csv") == 1
    assert "masks/a.png has 45×30 pixels, its picture 90×60" in capsys.readouterr().err
    assert deepcv(*MANY, "--again") == 0 and Path("masks/a.png").read_bytes() != before


@pytest.mark.parametrize("way", ["erased", "coloured", "labelled", "bits"])
def test_a_corrected_mask_is_read_as_it_is_meant(deepcv, photos, folder, bright, way):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY) == 0
    mask = np.zeros((60, 90), bool)
    mask[10:20, 10:30] = True
    white = np.full((60, 90, 3), 255, np.uint8)
    palette = Image.fromarray(mask.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])  # black and red, as label editors have them
    saved = {
        "erased": Image.fromarray(np.dstack([white, mask * np.uint8(255)])),
        "coloured": Image.fromarray(mask[..., None] * np.uint8([255, 0, 0])),
        "labelled": palette,
        "bits": Image.fromarray(mask),
    }
    saved[way].save("masks/a.png")
    assert deepcv(*MANY, "--areas", "areas.csv") == 0 and int(_rows(folder / "areas.csv")[0]["pixels"]) == 200


def test_a_mask_of_another_picture_of_that_name_is_made_again(deepcv, photos, folder, bright):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY) == 0 and len(bright) == 2
    other = 255 - read_image(photos / "a.png")
    Image.fromarray(other).save(photos / "a.png")
    os.utime(photos / "a.png", (0, 0))
    assert deepcv(*MANY) == 0 and len(bright) == 3
    np.testing.assert_array_equal(read_image("masks/a.png") > 0, other[..., 0] > 127)


def test_outputs_of_other_options_than_the_mask_are_made_again(deepcv, photos, folder, bright):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY, "--soft", "soft", "--geojson", "shapes") == 0 and len(bright) == 2
    assert deepcv(*MANY, "--soft", "soft", "--geojson", "shapes") == 0 and len(bright) == 2
    assert deepcv(*MANY, "--largest") == 0 and len(bright) == 4
    assert deepcv(*MANY, "--largest", "--soft", "soft", "--geojson", "shapes") == 0 and len(bright) == 6


def test_what_deepcv_made_is_no_picture_of_a_folder(deepcv, photos, folder, bright, capsys):
    (photos / "bad.png").unlink()
    command = ("segment", photos, "--method", "grabcut", "--workers", 1, "--out")
    more = ("--overlay", photos / "outlines", "--objects", photos / "numbers")
    assert deepcv(*command, photos / "masks", *more) == 0
    assert deepcv(*command, photos / "masks") == deepcv(*command, folder / "others") == 0 and len(bright) == 4
    assert "photos: 6 pictures that deepcv made are left out" in capsys.readouterr().err
    assert deepcv("segment", photos / "masks", "--method", "grabcut", "--out", folder / "third") == 2
    assert "no pictures in" in (err := capsys.readouterr().err) and "but 2 that deepcv made" in err


def test_masks_inside_of_the_folder_are_no_pictures(deepcv, photos, bright):
    (photos / "bad.png").unlink()
    for _ in range(2):
        assert deepcv("segment", photos, "--out", photos / "masks", "--method", "grabcut", "--workers", 1) == 0
    assert len(bright) == 2


def test_pictures_of_one_name_keep_as_many_folders_as_tell_them_apart(deepcv, folder, bright):
    for place in ("one/a", "one/b/a"):
        (folder / place).mkdir(parents=True)
        Image.open("disc.png").save(f"{place}/x.png")
    files, folders = ("one/a/x.png", "one/b/a/x.png", "disc.png", folder / "disc.png"), ("one/a", "one/b/a", "disc.png")
    for out, given in (("first", files), ("second", folders)):
        assert (
            deepcv("segment", *given, "--out", out, "--method", "grabcut", "--workers", 1, "--coco", "coco.json") == 0
        )
        names = ["b/a/x.png", "disc.png", "one/a/x.png"]
        assert sorted(path.relative_to(folder / out).as_posix() for path in (folder / out).rglob("*.png")) == names
        found = json.loads((folder / "coco.json").read_text())
        assert [image["file_name"] for image in found["images"]] == names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--overlay", "masks"), "masks/a.png is --out of photos/a.png and would be overwritten by --overlay of"),
        (("--areas", "disc.csv", "disc.csv"), "disc.csv is given and would be overwritten by a table"),
        (("--areas", "disc.png"), "--areas can.t be written to disc.png; call it disc.csv"),
        (("--coco", "t.csv"), "--coco can.t be written to t.csv; call it t.json"),
        (("--hint", "masks/a.png"), "masks/a.png is given and would be overwritten by --out of"),
        (("p.png", "p.jpg", "p.png.tif"), "masks/p.png.png is --out of p.png and would be overwritten by --out of p"),
    ],
)
def test_no_output_overwrites_another_or_what_is_read(refused, photos, options, says):
    for name in ("p.png", "p.jpg", "p.png.tif"):
        Image.open("disc.png").save(name)
    shutil.copy("disc.png", "disc.csv")
    refused(("segment", "photos", "--out", "masks", "--method", "grabcut", *options), says)
    assert not os.path.exists("masks")


def test_an_empty_region_of_a_mask_that_is_there_still_counts(deepcv, folder, stand_in):
    def method(image, hint=None, *, seed=0, device=None, **_):
        labels = np.zeros(image.shape[:2], np.uint8)
        labels[:20, :30] = 2
        return Segmentation(labels, (labels == np.arange(3)[:, None, None]).astype(np.float32))

    stand_in(method, "deep-cv")
    for name in ("first.csv", "second.csv"):
        command = ("segment", "disc.png", "hint.png", "--out", "masks", "--workers", 1, "--phases", 3)
        assert deepcv(*command, "--areas", name) == 0
    assert [row["region"] for row in _rows(folder / "first.csv")] == ["0", "1", "2"] * 2
    assert _rows(folder / "second.csv") == _rows(folder / "first.csv")


@pytest.mark.parametrize("name", ["normalized-cuts", "vese-chan", "feature-clustering"])
def test_settings_tell_how_many_regions_a_method_finds(name, folder):
    method = METHODS[name]
    settings = method.settings(method.several[0])
    found = method.function(read_image("disc.png")[::3, ::3], seed=0, **settings)
    assert segment._regions(method, settings) == len(found.memberships)


def test_processes_get_all_they_need(deepcv, photos, bright, monkeypatch):
    monkeypatch.setattr(parallel, "run", lambda function, items, **_: _in_another_process(function, items))
    assert deepcv(*MANY[:6], "--areas", "areas.csv") == 1
    assert len(_rows(photos.parent / "areas.csv")) == 3
    assert deepcv("predict", "photos", "--out", "found", "--overlay", "outlines", "--device", "cpu") == 1
    assert sorted(os.listdir("outlines")) == ["a.png", "more"]


def _in_another_process(function, items):
    """What a process computes: it gets a copy."""
    for item in items:
        yield item, pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(item)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("disc.png", "hint.png", "--out", "mask.png"), "need a folder, and mask.png is the name of a file"),
        (("disc.png", "hint.png", "--out", "mask.jpg"), "need a folder, and mask.jpg is the name of a file"),
        (("disc.png", "hint.png", "--out", "hint.png"), "hint.png is a file; name a folder"),
        (("disc.png", "hint.png", "--out", "t.csv", "--areas", "t.csv"), "t.csv is a folder; name a file"),
        (("photos", "--cutout", "cut"), "many pictures need --out"),
        (("photos", "--out", "photos"), "photos has the pictures; choose another folder"),
        (("empty", "--out", "masks"), "there are no pictures in empty"),
        (("photos", "nowhere.png", "--out", "masks"), "no file nowhere.png"),
        (("photos", "-", "--out", "masks"), "standard input and output take one picture"),
        (("disc.png",), "nothing to write; name a mask"),
        (("disc.png", "--out", "-", "--cutout", "-"), "standard output takes one"),
        (("disc.png", "--objects", "n.jpg"), "16 bits can't be written to n.jpg; call it n.tif"),
        (("disc.png", "--cutout", "n.jpg"), "transparency can't be written to n.jpg; call it n.png"),
        (("disc.png", "--method", "deep-cv", "--phases", 3, "--soft", "s.tif"), "--soft needs a foreground"),
        (("disc.png", "--method", "vese-chan", "--out", "m.png", "--largest"), "--largest needs a foreground"),
        (("disc.png", "--out", "m.png", "--areas", "nowhere/a.csv"), "no folder nowhere"),
        (("disc.png", "--out", "m.png", "--scheduler", "tcp://x:1"), "--scheduler is for many pictures"),
        (("photos", "--out", "masks", "--workers", 1, "--scheduler", "tcp://x:1"), "--workers counts local processes"),
    ],
)
def test_wrong_use_is_one_sentence(refused, photos, arguments, says):
    (photos.parent / "empty").mkdir()
    refused(("segment", *arguments, *(() if "--method" in arguments else ("--method", "grabcut"))), says)
    assert not os.path.exists("masks")


def test_the_largest_object_is_cut_out_at_full_size(deepcv, folder, bright):
    large = cv2.resize(read_image("disc.png"), (2100, 1400), interpolation=cv2.INTER_NEAREST)
    large[:100, :100] = 255
    Image.fromarray(large).save("large.png")
    assert deepcv("segment", "large.png", "--method", "grabcut", "--cutout", "cut.png", "--largest") == 0
    cut = np.asarray(Image.open("cut.png"))
    np.testing.assert_array_equal(cut[..., :3], large)
    assert cut[700, 1170, 3] == 255 and not cut[:100, :100, 3].any()


def test_standard_input_and_output(deepcv, folder, bright, monkeypatch, capsysbinary):
    for command in (("segment", "--method", "grabcut", "--hint", "hint.png"), ("predict", "--device", "cpu")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "disc.png").read_bytes())))
        assert deepcv(*command, "-", "--out", "-") == 0
        out, err = capsysbinary.readouterr()
        mask = np.asarray(Image.open(io.BytesIO(out)))
        assert mask.shape == (60, 90) and set(np.unique(mask)) <= {0, 255}
        assert b"standard input: 90" in err and b"-: foreground" in err


def test_a_picture_from_standard_input_that_is_none(deepcv, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"words")))
    assert deepcv("segment", "-", "--out", "mask.png", "--method", "grabcut") == 2
    assert "standard input is not a picture but text" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_no_text_is_escaped(deepcv, photos, folder, bright):
    (photos / "bad.png").rename(os.fsdecode(b"photos/b\xe9d.png"))
    (photos / "a.png").rename(os.fsdecode(b"photos/caf\xe9.png"))
    wanted = ("--areas", "areas.csv", "--coco", "coco.json", "--geojson", "outlines")
    for _ in range(2):
        assert deepcv(*MANY, *wanted) == 1 and len(bright) == 2
        rows = _rows(folder / "areas.csv")
        assert [row["picture"] for row in rows] == [r"b\udce9d.png", r"caf\udce9.png", "more/b.png"]
        assert rows[0]["problem"].startswith(r"photos/b\udce9d.png can't be read") and rows[1]["confidence"]
    assert json.loads((folder / "coco.json").read_text())["images"][0]["file_name"] == r"caf\udce9.png"


def test_a_mask_that_is_there_and_cannot_be_read_is_counted_once(deepcv, photos, folder, bright, capsys):
    (photos / "bad.png").unlink()
    assert deepcv(*MANY) == 0
    (folder / "masks" / "a.png").write_bytes(b"edited" + (folder / "masks" / "a.png").read_bytes()[-12:])
    assert deepcv(*MANY, "--areas", "areas.csv") == 1
    assert "masks: 0 masks, 1 was there (--again makes them anew), 1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: x")])
def test_memory_that_runs_out_is_no_bug(deepcv, photos, stand_in, capsys, error):
    def fails(image, hint=None, *, seed=0, device=None):
        raise error

    stand_in(fails)
    assert deepcv(*MANY) == 1
    assert "photos/a.png: the memory ran out; take a smaller --size" in capsys.readouterr().err
    assert deepcv("segment", "photos/a.png", "--out", "mask.png", "--method", "grabcut") == 2
    assert "deepcv: the memory ran out" in capsys.readouterr().err


def test_a_process_that_dies_is_counted(deepcv, photos, folder, capsys, monkeypatch):
    def dying(*_, **__):
        raise InputError("a worker died")
        yield

    monkeypatch.setattr(parallel, "run", dying)
    assert deepcv(*MANY, "--areas", "areas.csv") == 1
    out, err = capsys.readouterr()
    assert "0 masks, 3 skipped" in out and "a worker died" in err
    assert [(row["picture"], "a worker died" in row["problem"]) for row in _rows(folder / "areas.csv")] == [
        (name, True) for name in ("a.png", "bad.png", "more/b.png")
    ]
