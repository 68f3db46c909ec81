"""Export of a trained network as an ONNX file."""

from __future__ import annotations

import copy
import io
import json
import warnings

import torch
from torch import Tensor, nn

from deepcv.amortized.segmenter import Segmenter
from deepcv.errors import InputError
from deepcv.files import write_whole

OPSET = 18
"""Version of the ONNX operators; ONNX Runtime supports it since 1.14."""


class _Foreground(nn.Module):
    """Images in [0, 1], `(N, 3, H, W)`, to memberships of the foreground, `(N, H, W)`."""

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.network, self.foreground = segmenter.network, segmenter.foreground

    def forward(self, image: Tensor) -> Tensor:
        u = self.network(2 * image - 1)[:, 0]
        return u if self.foreground else 1 - u


def to_onnx(segmenter: Segmenter, path) -> None:
    """Write the network as an ONNX file.

    Its input `image` is float32 `(N, 3, H, W)`, RGB in [0, 1]; its output `foreground` is the membership of the
    foreground, float32 `(N, H, W)` in [0, 1]. N, H and W are variable. The metadata contain the `card` and `size`, to
    which `Segmenter.predict` resizes the shorter side of an image.

    Raises
    ------
    InputError
        For ReDO's network, whose pooling ONNX can't express for variable sizes; if the package onnx is missing, or the
        file can't be written.
    """
    if segmenter.architecture["kind"] != "unet":
        raise InputError("only U-Nets of Algorithm 3 can be exported as ONNX, not ReDO's network; choose another model")
    try:
        import onnx
    except ImportError:
        raise InputError("writing ONNX needs the package onnx; install the extra `onnx`") from None
    stream = io.BytesIO()
    side = segmenter.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes compared in Python, and about the other exporter
        torch.onnx.export(
            copy.deepcopy(_Foreground(segmenter)).cpu().eval(),
            (torch.zeros(2, 3, side, side),),
            stream,  # type: ignore[arg-type]  # the exporter that is used here also writes to streams
            input_names=["image"],
            output_names=["foreground"],
            dynamic_axes={"image": {0: "N", 2: "H", 3: "W"}, "foreground": {0: "N", 1: "H", 2: "W"}},
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs another package
        )
    model = onnx.load_from_string(stream.getvalue())
    onnx.helper.set_model_props(model, {"size": str(side), "card": json.dumps(dict(segmenter.card))})
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())
