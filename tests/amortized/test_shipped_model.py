"""The package's network: in the wheel, small, and as good as its card says."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepcv import data
from deepcv.amortized.onnx import to_onnx
from deepcv.amortized.pretrained import MODEL
from deepcv.amortized.segmenter import Segmenter
from deepcv.data import flowerlike, load_dataset
from deepcv.data.crops import centre_crop
from deepcv.errors import InputError
from deepcv.methods import get_method
from deepcv.metrics import iou, scores
from deepcv.pictures import read_image

ROOT = Path(__file__).parents[2]


def mean_scores(dataset, count=None):
    """Accuracy and IoU, as decided: means over images."""
    samples = list(load_dataset(dataset, split="test", side=64)[:count])
    found = Segmenter.load(MODEL).predict([sample.image for sample in samples])
    rows = [scores(each.mask, sample.mask, sample.ignore) for each, sample in zip(found, samples, strict=True)]
    return [np.mean([row[name] for row in rows]) for name in ("accuracy", "iou")]


def test_it_is_small_and_tells_what_made_it():
    assert MODEL.stat().st_size < 5 * 2**20
    card = Segmenter.load(MODEL).card
    assert card["data"] == "flowers" and card["chosen"] == "last epoch"
    assert {"hint", "size", "epochs"} <= set(card["settings"])


@pytest.mark.slow
def test_an_installed_package_predicts_with_it_when_no_model_is_given(tmp_path):
    """Of the wheel, unpacked elsewhere."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "deepcv", source / "deepcv", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)

    def python(*arguments, cwd, **environment):
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, check=True)

    python("-c", "from setuptools.build_meta import build_wheel; build_wheel('.')", cwd=source)
    with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    Image.fromarray(flowerlike.draw(50)[0]).save(tmp_path / "flower.png")
    command = ("-m", "deepcv", "predict", "flower.png", "--out", "masks", "--device", "cpu")
    python(*command, cwd=tmp_path, PYTHONPATH=str(installed))
    mask = read_image(tmp_path / "masks" / "flower.png")
    assert iou(mask > 127, flowerlike.draw(50)[1]) > 0.5


def test_as_a_method_it_takes_the_default_settings_or_its_own_and_tells_of_no_others():
    method, image = get_method("amortized"), flowerlike.draw(50)[0]
    card = Segmenter.load(MODEL).card
    own = method.settings(collection=card["data"], images=card["images"], **card["settings"])
    masks = [method.function(image, device="cpu", **given).mask for given in ({}, method.settings(), own)]
    assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2])
    for given in ({"epochs": 3}, {"chosen": "validation"}, {"collection": "flowers102"}):
        with pytest.raises(InputError, match=r"trained on flowers .* differs; leave it out, or train your own"):
            method.function(image, **method.settings(**given))
    with pytest.raises(InputError, match="no trained network of redo; train"):
        get_method("redo").function(image)


@pytest.mark.arithmetic
def test_it_finds_flowers_that_the_package_draws():
    assert mean_scores("flowerlike", 16)[1] > 0.65


@pytest.mark.arithmetic
def test_onnx_runtime_computes_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install the extra `onnx`")
    segmenter = Segmenter.load(MODEL)
    to_onnx(segmenter, tmp_path / "flowers.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "flowers.onnx")
    for size in (64, 128):
        images = np.stack([centre_crop(flowerlike.draw(seed)[0], size) for seed in range(3)])
        x = torch.from_numpy(images).movedim(-1, 1) / 255
        (found,) = session.run(None, {"image": x.numpy()})
        np.testing.assert_allclose(found, segmenter.memberships(2 * x - 1).numpy(), atol=1e-3)


@pytest.mark.data
def test_its_scores_on_the_test_images_are_those_of_its_page():
    if not (data.data_folder() / "flowers17" / "jpg").is_dir():
        pytest.skip("there is no Flowers-17 under DEEPCV_DATA")
    assert mean_scores("flowers17") == pytest.approx([0.956, 0.878], abs=2e-3)
