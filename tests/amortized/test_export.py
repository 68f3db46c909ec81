"""The ONNX file computes what the network computes, at any size and for any number of images."""

import json
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from deepcv.amortized import redo, settings
from deepcv.amortized.model import Model
from deepcv.amortized.onnx import to_onnx
from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.settings import Settings
from deepcv.baselines.chan_vese import chan_vese
from deepcv.cli import main
from deepcv.errors import InputError

pytest.importorskip("onnx", reason="install the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="install the extra `onnx`")

UNET = Model(Settings(size=32, levels=3, width=4, model_width=4, hint=""), 3)


@pytest.mark.parametrize("foreground", [0, 1])
def test_onnx_runtime_agrees_with_torch(foreground, tmp_path):
    segmenter = UNET.as_segmenter(foreground, {"seed": 3})
    segmenter.network.eval()
    to_onnx(segmenter, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert (told["size"], json.loads(told["card"])) == ("32", {"seed": 3})
    for shape in ((1, 3, 32, 32), (3, 3, 32, 48), (2, 3, 61, 35)):  # it was written for two of 32×32
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        (found,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(found, segmenter.memberships(2 * image - 1).numpy(), atol=1e-3)


def test_the_network_that_is_exported_stays_where_and_as_it_was(tmp_path, monkeypatch):
    segmenter = UNET.as_segmenter(1, {})
    segmenter.network.train()
    moved, apply = [], nn.Module._apply  # what cpu() calls

    def record(module, *arguments, **options):
        moved.append(module)
        return apply(module, *arguments, **options)

    monkeypatch.setattr(nn.Module, "_apply", record)
    to_onnx(segmenter, tmp_path / "model.onnx")
    assert segmenter.network.training and moved and not any(each is segmenter.network for each in moved)


def test_the_command_writes_onnx_and_half_precision(tmp_path, capsys):
    UNET.as_segmenter(1, {"seed": 3}).save(tmp_path / "last.safetensors")
    for name in ("model.onnx", "small.safetensors"):
        assert (
            main.main(["export", str(tmp_path), str(tmp_path / name)]) == 0
        )  # a run's folder stands for its last epoch
    assert "small.safetensors: " in capsys.readouterr().out
    assert (tmp_path / "small.safetensors").stat().st_size < 0.6 * (tmp_path / "last.safetensors").stat().st_size
    assert Segmenter.load(tmp_path / "small.safetensors").card == {"seed": 3}
    assert main.main(["export", str(tmp_path), str(tmp_path / "model.tflite")]) == 2
    assert "call it model.onnx" in capsys.readouterr().err
    whole = (tmp_path / "last.safetensors").read_bytes()
    assert main.main(["export", str(tmp_path), str(tmp_path / "last.safetensors")]) == 2
    assert "is the model itself" in capsys.readouterr().err and (tmp_path / "last.safetensors").read_bytes() == whole


def test_without_the_package_it_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="install the extra `onnx`"):
        to_onnx(UNET.as_segmenter(1, {}), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_redos_network_is_refused(tmp_path):
    model = redo.Model(redo.Settings(size=32, width=8, mask_width=4, latent=3), 3)
    with pytest.raises(InputError, match="not ReDO's network"):
        to_onnx(model.as_segmenter(1, {}), tmp_path / "model.onnx")


def test_the_default_network_is_faster_than_chan_vese_on_one_core():
    """At 128×128, in time of this thread, the least of several; by a factor of ten and more where it was measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        segmenter = Model(settings.settings_for("default", "cpu"), 0).as_segmenter(1, {})
        segmenter.network.eval()
        image = np.random.default_rng(0).random((128, 128, 3), dtype=np.float32)
        x, hint = torch.from_numpy(2 * image - 1).movedim(-1, 0)[None], image[..., 0]
        network = min(_thread_seconds(segmenter.memberships, x) for _ in range(4))
        assert network < min(_thread_seconds(chan_vese, image, hint) for _ in range(2))
    finally:
        torch.set_num_threads(threads)


def _thread_seconds(function, *arguments):
    started = time.thread_time()
    function(*arguments)
    return time.thread_time() - started
