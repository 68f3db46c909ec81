"""A trained network: apply it to images, save it, load it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, get_type_hints

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from deepcv.amortized.settings import Levels, Side
from deepcv.checks import Width, check
from deepcv.errors import InputError
from deepcv.files import write_whole
from deepcv.images import as_colour, as_image, resize
from deepcv.model.networks import MaskNetwork, UNet
from deepcv.segmentation import Segmentation, two_phase


def as_input(images: Tensor) -> Tensor:
    """uint8 `(B, S, S, 3)` in 0..255 to the networks' input, float32 `(B, 3, S, S)` in [-1, 1]."""
    return images.movedim(-1, 1).float() / 127.5 - 1


FORMAT, VERSION = "deepcv segmenter", "1"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained U."""

    network: nn.Module
    """Images in [-1, 1], `(B, 3, H, W)`, to memberships of one side, `(B, 1, H, W)`."""
    architecture: dict[str, Any]
    """The network's "kind", "unet" or "redo", and its sizes."""
    size: int
    """Side of the training images in pixels, to which the shorter side of others is resized."""
    foreground: int = 1
    """1 if the network's output is the foreground, 0 if it is the background."""
    card: Mapping = dataclasses.field(default_factory=dict)
    """How it was trained: data, settings, seed, epoch, choice of the epoch, scores. Plain values."""

    @torch.no_grad()
    def memberships(self, x: Tensor) -> Tensor:
        """Memberships of the foreground, for images in [-1, 1]: `(B, 3, H, W)` to `(B, H, W)`."""
        u = self.network(x)[:, 0].float()
        return u if self.foreground else 1 - u

    def save(self, path, *, half: bool = False) -> None:
        """Write a safetensors file, which can't contain code; with `half`, weights in half precision."""
        weights = {name: value.contiguous().cpu() for name, value in self.network.state_dict().items()}
        weights = {name: value.half() if half else value for name, value in weights.items()}
        about = {"architecture": self.architecture, "size": self.size, "foreground": self.foreground, "card": self.card}
        write_whole(path, to_safetensors(weights, {"format": FORMAT, "version": VERSION, "about": json.dumps(about)}))

    @classmethod
    def load(cls, path, device: str | torch.device = "cpu") -> Segmenter:
        """Read a file that `save` wrote.

        Raises
        ------
        InputError
            If the file is missing, truncated, not a model, or of another version; if its header is out of bounds or
            doesn't describe its tensors, which is found before a network is built; if weights are NaN or infinite.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no file {path}; `deepcv train` makes one, such as RUN/last.safetensors")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                # copies, as the file may change while the network is used
                weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is truncated or not a model ({error}); train or copy it again") from None
        if about.get("format") != FORMAT:
            raise InputError(f"{path} is not a deepcv model; name a file that `deepcv train` wrote")
        if about.get("version") != VERSION:
            raise InputError(
                f"{path} has version {about.get('version')} of the format, but this deepcv reads {VERSION}; "
                "train it again, or use the deepcv that wrote it"
            )
        try:
            fields = _checked(json.loads(about["about"]))
            with torch.device("meta"):  # which takes no memory, whatever the header asks for
                network = _network(**fields["architecture"])
            if not all(value.is_floating_point() for value in weights.values()):
                raise ValueError
            weights = {name: value.float() for name, value in weights.items()}
            network.load_state_dict(weights, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # of these are InputError and RecursionError
            why = f" ({error})" if isinstance(error, InputError) else ""
            raise InputError(f"{path} doesn't contain the network it describes{why}; train or copy it again") from None
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise InputError(f"{path} has weights that are NaN or infinite; train or copy it again")
        return cls(network.to(device).eval().requires_grad_(False), **fields)

    def predict(self, images: Sequence[np.ndarray], *, batch: int = 32) -> list[Segmentation]:
        """Segment images `(H, W)` or `(H, W, 3)`, at most `batch` of one shape at once.

        They are uint8 in 0..255 or float in [0, 1], of any sizes. U sees them with the shorter side resized to `size`;
        masks have the images' sizes.

        Raises
        ------
        InputError
            For an image that `deepcv.images.as_image` rejects, and when the network gives NaN or infinite memberships.
        """
        method = "redo" if self.architecture["kind"] == "redo" else "amortized"
        reduced = [self._reduced(image) for image in images]
        found: list[Any] = [None] * len(images)
        device = next(self.network.parameters()).device
        for together in _batches(reduced, batch):
            started = time.perf_counter()
            x = torch.from_numpy(np.stack([reduced[i] for i in together])).to(device).movedim(-1, 1) * 2 - 1
            soft = self.memberships(x).cpu().numpy()
            seconds = (time.perf_counter() - started) / len(together)
            for i, u in zip(together, soft, strict=True):
                u = resize(u, np.shape(images[i])[:2])
                found[i] = two_phase(u > 0.5, u, seconds=seconds, method=method, settings={"size": self.size})
        return found

    def _reduced(self, image) -> np.ndarray:
        """The image in colour with its shorter side `size`: float32 `(h, w, 3)` in [0, 1]."""
        image = as_colour(as_image(image))
        scale = self.size / min(image.shape[:2])
        # multiples of 4, so that every network can halve them twice and more images share a shape
        return resize(image, tuple(max(self.size, 4 * round(side * scale / 4)) for side in image.shape[:2]))


class _Header(TypedDict):
    architecture: dict
    size: Side
    foreground: Literal[0, 1]
    card: dict


class _UNet(TypedDict):
    kind: Literal["unet"]
    width: Width
    levels: Levels


class _MaskNetwork(TypedDict):
    kind: Literal["redo"]
    width: Width


def _checked(fields: Any) -> dict[str, Any]:
    """The header, if its names are those that `save` writes and its values within the bounds of the settings."""
    kinds = {"unet": _UNet, "redo": _MaskNetwork}
    sizes = fields["architecture"]
    for found, expected in ((fields, _Header), (sizes, kinds[sizes["kind"]])):
        if set(found) != set(get_type_hints(expected)):
            raise ValueError
        check(expected, found)
    return fields


def _network(kind: str, **sizes) -> nn.Module:
    """A segmenter's network with initial weights."""
    if kind == "unet":
        return nn.Sequential(UNet(3, 1, shared=True, seeds=[0], **sizes), nn.Sigmoid())
    return MaskNetwork(**sizes)


def _batches(images: Sequence[np.ndarray], batch: int) -> Iterator[list[int]]:
    """Indices of at most `batch` images of one shape."""
    alike: dict[tuple, list[int]] = {}
    for i, image in enumerate(images):
        alike.setdefault(image.shape, []).append(i)
    for indices in alike.values():
        yield from (indices[start : start + batch] for start in range(0, len(indices), batch))
