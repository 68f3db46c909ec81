"""The trained network that comes with the package."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import torch

from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.settings import Settings, Trained
from deepcv.devices import torch_device
from deepcv.errors import InputError
from deepcv.segmentation import Segmentation

MODEL = Path(__file__).parent / "weights" / "flowers-64px.safetensors"
"""A network of Algorithm 3, trained on both sets of flowers at 64 pixels; README.md beside it is its model card."""


@functools.lru_cache(maxsize=2)
def _load(device: torch.device) -> Segmenter:
    return Segmenter.load(MODEL, device)


def segment(method: str, image, hint=None, *, seed: int = 0, device: str | None = None, **settings) -> Segmentation:
    """Segment an image with the package's trained network, as `deepcv.methods.Method.function`.

    Parameters
    ----------
    method : str
        "amortized" or "redo".
    image, hint, seed, device
        As for every method (`deepcv.images.as_image`). Hint and seed are ignored: the network is already trained.
    settings
        As `deepcv.amortized.settings.Trained`. The network was trained on more flowers and at a reduced size:
        `collection` and `training` must be the default's, or exactly the network's own (`Segmenter.card`).

    Raises
    ------
    InputError
        If the package has no network of this method trained with such settings, or for an unusable image.
    """
    if method != "amortized":
        raise InputError(
            f"the package has no trained network of {method}; train and score one with `deepcv run table2`"
        )
    segmenter = _load(torch_device(device))
    card = segmenter.card
    expected = {
        "collection": (Trained().collection, card["data"]),
        "images": (None, card["images"]),
        "chosen": ("last",),
    }
    expected["training"] = (dataclasses.asdict(Settings()), card["settings"])
    for name, value in settings.items():
        if value not in expected.get(name, ()):
            raise InputError(
                f"the package's network was trained on {card['data']} with the default settings, but {name} differs; "
                "leave it out, or train your own with `deepcv train` and use it with `deepcv predict --model`"
            )
    return segmenter.predict([image])[0]
