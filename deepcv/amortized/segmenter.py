"""A trained network, ready for use: saved, loaded, applied."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from deepcv.errors import InputError
from deepcv.files import write_whole
from deepcv.images import as_colour, as_image, resize
from deepcv.model.networks import MaskNetwork, UNet
from deepcv.segmentation import Segmentation, two_phase


def as_input(images: Tensor) -> Tensor:
    """uint8 `(B, S, S, 3)` in 0..255 as the networks take them: float32 `(B, 3, S, S)` in [-1, 1]."""
    return images.movedim(-1, 1).float() / 127.5 - 1


# --- what is kept -----------------------------------------------------------------------------------------------------

FORMAT, VERSION = "deepcv segmenter", "1"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained U, ready for use.

    Attributes
    ----------
    network : torch.nn.Module
        Images in [-1, 1], `(B, 3, H, W)`, to memberships of one side, `(B, 1, H, W)`.
    architecture : dict
        The network's "kind", "unet" or "redo", and what it is made with.
    size : int
        The shorter side, in pixels, of the images it was trained on; others are brought to it.
    foreground : int
        As `foreground_phase` tells.
    card : dict
        What made it: data, settings, seed, epoch, how the epoch was chosen, scores. Plain values.
    """

    network: nn.Module
    architecture: dict[str, Any]
    size: int
    foreground: int = 1
    card: Mapping = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    def memberships(self, x: Tensor) -> Tensor:
        """The foreground's membership of images in [-1, 1], `(B, 3, H, W)` to `(B, H, W)`."""
        u = self.network(x)[:, 0].float()
        return u if self.foreground else 1 - u

    def save(self, path, *, half: bool = False) -> None:
        """Write it as a safetensors file, which holds numbers and text and can't run code.

        Parameters
        ----------
        half : bool
            Keep the weights in half precision, half as large a file.
        """
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
            When the file is missing, is no model, is cut short, or comes from another version.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no file {path}; `deepcv train` makes one")
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is no model or cut short ({error}); train or copy it again") from None
        if about.get("format") != FORMAT:
            raise InputError(f"{path} is no model of deepcv; name a file that `deepcv train` wrote")
        if about.get("version") != VERSION:
            raise InputError(
                f"{path} has version {about.get('version')} of the format, this deepcv reads {VERSION}; train it "
                "again, or use the deepcv that wrote it"
            )
        try:
            told = json.loads(about["about"])
            if not (isinstance(told["size"], int) and told["size"] > 0):
                raise ValueError
            network = _network(**told["architecture"])
            network.load_state_dict(weights)
            return cls(network.to(device).eval().requires_grad_(False), **told)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(f"{path} doesn't hold the network that it tells of; train or copy it again") from None

    def predict(self, images: Sequence[np.ndarray], *, batch: int = 32) -> list[Segmentation]:
        """Segment images, those of one shape together.

        Parameters
        ----------
        images : sequence of numpy.ndarray, `(H, W)` or `(H, W, 3)`
            uint8 in 0..255 or float in [0, 1], of any sizes. The shorter side is brought to `size` pixels for U; masks
            have the images' sizes.
        batch : int
            Images at a time, at most.

        Raises
        ------
        InputError
            For what `deepcv.images.as_image` refuses.
        """
        method = "redo" if self.architecture["kind"] == "redo" else "amortized"
        reduced = [self._reduced(image) for image in images]
        found: list[Segmentation | None] = [None] * len(images)
        device = next(self.network.parameters()).device
        for together in _of_one_shape(reduced, batch):
            started = time.perf_counter()
            x = torch.from_numpy(np.stack([reduced[i] for i in together])).to(device).movedim(-1, 1) * 2 - 1
            soft = self.memberships(x).cpu().numpy()
            seconds = (time.perf_counter() - started) / len(together)
            for i, u in zip(together, soft, strict=True):
                u = resize(u, np.shape(images[i])[:2])
                found[i] = two_phase(u > 0.5, u, seconds=seconds, method=method, settings={"size": self.size})
        return found

    def _reduced(self, image) -> np.ndarray:
        """The image in colour, its shorter side `size`: float32 `(h, w, 3)` in [0, 1]."""
        image = as_colour(as_image(image))
        scale = self.size / min(image.shape[:2])
        # in fours, so that every network here can halve it twice, and more images share a shape
        return resize(image, tuple(max(self.size, 4 * round(side * scale / 4)) for side in image.shape[:2]))


def _network(kind: str, **sizes) -> nn.Module:
    """A segmenter's network, without its weights."""
    if kind == "unet":
        return nn.Sequential(UNet(3, 1, shared=True, seeds=[0], **sizes), nn.Sigmoid())
    return MaskNetwork(**sizes)


def _of_one_shape(images: Sequence[np.ndarray], batch: int) -> Iterator[list[int]]:
    """Indices of images that can be stacked, at most `batch` at a time."""
    alike: dict[tuple, list[int]] = {}
    for i, image in enumerate(images):
        alike.setdefault(image.shape, []).append(i)
    for indices in alike.values():
        yield from (indices[start : start + batch] for start in range(0, len(indices), batch))
