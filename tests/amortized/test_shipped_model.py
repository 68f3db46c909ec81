"""The network in results/models: small, and as good as its page says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deepcv import data
from deepcv.amortized.onnx import to_onnx
from deepcv.amortized.segmenter import Segmenter
from deepcv.data import flowerlike, load_dataset
from deepcv.data.crops import centre_crop
from deepcv.metrics import scores

PATH = Path(__file__).parents[1] / "results" / "models" / "flowers17-64px.safetensors"


def mean_scores(dataset, count=None):
    """Accuracy and IoU, as decided, the mean over images."""
    samples = list(load_dataset(dataset)[:count])
    found = Segmenter.load(PATH).predict([sample.image for sample in samples])
    rows = [scores(each.mask, sample.mask, sample.ignore) for each, sample in zip(found, samples, strict=True)]
    return [np.mean([row[name] for row in rows]) for name in ("accuracy", "iou")]


def test_it_is_small_and_tells_what_made_it():
    assert PATH.stat().st_size < 5 * 2**20
    card = Segmenter.load(PATH).card
    assert "flowers17" in card["data"] and card["chosen"] == "last epoch"
    assert {"hint", "size", "epochs"} <= set(card["settings"])


def test_it_finds_flowers_that_the_package_draws():
    assert mean_scores("flowerlike-64px-test", 16)[1] > 0.65


def test_onnx_runtime_computes_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install the extra `onnx`")
    segmenter = Segmenter.load(PATH)
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
    assert mean_scores("flowers17-64px-test") == pytest.approx([0.953, 0.870], abs=2e-3)
