"""The package's trained network as a script of the book, which the page “Your own picture” loads when it is chosen."""

import base64
import json

import numpy as np

from deepcv.amortized.pretrained import MODEL
from deepcv.amortized.segmenter import Segmenter

SCRIPT = "_static/trained_network.js"


def script():
    """JavaScript that calls `receiveNetwork` with what `TrainedNetwork.read` takes: weights in half precision."""
    segmenter = Segmenter.load(MODEL)
    tensors, parts, end = {}, [], 0
    for name, value in segmenter.network.state_dict().items():
        begin, end = end, end + value.numel()
        tensors[name] = [begin, end]
        parts.append(value.numpy().astype("<f2").ravel())
    halves = base64.b64encode(np.concatenate(parts).tobytes()).decode()
    return f"receiveNetwork({json.dumps({'side': segmenter.size, 'tensors': tensors, 'halves': halves})});"


def write(app, exception):
    """Write the script beside the others."""
    if not exception and app.builder.format == "html":
        (app.outdir / SCRIPT).write_text(script(), encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
