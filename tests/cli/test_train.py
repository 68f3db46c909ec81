"""`deepcv train` and `predict`."""

import os

import numpy as np
import pytest
from PIL import Image

from deepcv.amortized import teaching
from deepcv.data import flowerlike
from deepcv.pictures import read_image

pytest.importorskip("lightning_fabric", reason="install the extra `train`")


def test_train_and_predict_on_a_folder_of_ones_own(deepcv, tmp_path, monkeypatch, capsys):
    place = tmp_path / "pictures"
    place.mkdir()
    for seed in range(8):
        Image.fromarray(flowerlike.draw(seed)[0]).save(place / f"{seed}.png")
    (place / "broken.png").write_bytes((place / "0.png").read_bytes()[:300])
    (place / "flat.dds").write_bytes(b"DDS " + bytes(120))
    small = ("--profile", "quick", "--hint", "none", "--size", 32, "--width", 4, "--batch", 4, "--device", "cpu")
    assert deepcv("train", place, "--out", tmp_path / "run", *small, "--epochs", 1) == 0
    out, err = capsys.readouterr()
    assert "epoch 1, the last epoch, chosen without labels" in out
    assert "broken.png can't be read to its end" in err and "flat.dds" in err and "2 of 10 pictures are skipped" in err
    monkeypatch.chdir(tmp_path)
    Image.fromarray(flowerlike.draw(50)[0][:, :, 0]).save("grey.png")
    assert deepcv("predict", "pictures/0.png", "pictures/1.png", "grey.png", "--model", "run", "--out", "masks") == 0
    for name in ("pictures/0.png", "pictures/1.png", "grey.png"):
        mask = read_image(tmp_path / "masks" / os.path.basename(name))
        assert mask.shape == read_image(name).shape[:2]
        assert set(np.unique(mask)) <= {0, 255}
    assert deepcv("predict", "grey.png", "--model", "run", "--out", "one.png") == 0
    np.testing.assert_array_equal(read_image("one.png"), read_image("masks/grey.png"))
    os.replace("pictures/0.png", "grey.jpg")
    assert deepcv("predict", "grey.png", "grey.jpg", "--model", "run", "--out", "both") == 0
    assert sorted(os.listdir("both")) == ["grey.jpg.png", "grey.png.png"]
    for given, out, said in (
        (["grey.png"], ".", "grey.png is given and would be overwritten by --out of grey.png"),
        (["grey.png"], "grey.jpg", "grey.jpg is a file"),
    ):
        assert deepcv("predict", *given, "--model", "run", "--out", out) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "empty", "--out", "run"], "there are no pictures in empty"),
        (["train", "nowhere", "--out", "run"], "nowhere is neither a folder nor a data set"),
        (["train", "flowerlike", "--out", "run", "--preset", "best"], "there is no preset 'best'"),
        (["train", "flowerlike", "--out", "run", "--seed", 2**64], "seed is 18446744073709551616; it must be a whole"),
        (["train", "flowerlike", "--out", "run", "--hint", "guess"], "there is no method 'guess'"),
        (["train", "flowerlike", "--out", "run", "--hint", "vese-chan"], "--hint vese-chan gives no mask of one image"),
        (["train", "flowerlike", "--out", "run", "--hint", "redo"], "--hint redo gives no mask of one image"),
        (
            ["predict", "a.png", "--model", "absent.safetensors", "--out", "masks"],
            "there is no file absent.safetensors",
        ),
        (["train", "flowerlike", "--out", "a.png"], "can't write into a.png; choose another --out"),
        (["train", "flowerlike", "--out", "run", "--device", "gpu9"], "gpu9"),
        (["predict", "a.png", "--model", "a.png", "--out", "masks"], "a.png is truncated or not a model"),
        (["predict", "a.png", "nowhere.png", "--out", "masks"], "there is no file nowhere.png"),
        (["predict", "a.png", "a.png", "--out", "-"], "standard input and output take one picture"),
        (["predict", "a.png", "--out", "a.png/masks"], "can't make the folder a.png/masks (Not a directory)"),
    ],
)
def test_bad_input_is_one_sentence(arguments, said, deepcv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.fromarray(flowerlike.draw(0)[0]).save("a.png")
    monkeypatch.setattr(teaching, "hints_of", lambda *_, **__: pytest.fail("hints were computed first"))
    assert deepcv(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "masks").exists()
