"""`deepcv segment`."""

from __future__ import annotations

import inspect
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepcv.cli.options import LARGEST_SIDE, Channel, Convert, Device, Page, Range, given, reading
from deepcv.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from deepcv.methods import Method

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
"""Suffixes allowed for a mask; JPEG would blur its values."""

WORKING_SIZE = 1024
"""Longest side in pixels for methods without a bound of their own. Every method then needs less than 1 GiB and, except
Double-DIP, a few seconds."""


def segment(
    image: Annotated[
        Path, typer.Argument(help="The picture: PNG, JPEG, TIFF (any depth), any other that Pillow reads.")
    ],
    out: Annotated[Path, typer.Option(help="Mask to write: 0 background, 255 foreground; PNG, TIFF or BMP.")],
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the picture, up to 2048 pixels, with the outline on it.")
    ] = None,
    hint: Annotated[
        Path | None,
        typer.Option(help="Grey picture of the same size, bright where the foreground probably is; two regions only."),
    ] = None,
    method: Annotated[str, typer.Option(help="As listed by `deepcv methods`.")] = "deep-cv",
    preset: Annotated[str, typer.Option(help="Named settings of the method.")] = "default",
    phases: Annotated[int | None, typer.Option(help="Number N of regions; the mask has N grey levels.")] = None,
    nu: Annotated[float | None, typer.Option(help="Weight ν of the boundary length; larger is smoother.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same mask.")] = 0,
    size: Annotated[
        int | None,
        typer.Option(
            help="Longest side (for iem the shorter side), in pixels, during computation; the mask has full size."
        ),
    ] = None,
    device: Device = None,
    convert: Convert = False,
    page: Page = None,
    channel: Channel = None,
    limits: Range = None,
) -> None:
    """Segment a picture and write its mask.

    \b
    deepcv segment photo.jpg --out mask.png
    deepcv segment photo.jpg --out mask.png --overlay outline.png --nu 2
    deepcv segment photo.jpg --out regions.png --phases 4
    deepcv segment stack.tif --out mask.png --page 12 --channel 2 --range 1,99.5
    deepcv segment scan.tif --out mask.png --convert --method chan-vese
    """
    started = time.perf_counter()
    # Set before the libraries are loaded: at this size, a second thread costs more than it gains.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from deepcv.devices import device_kind
    from deepcv.methods import get_method
    from deepcv.pictures import enlarged, outlined, read_checked, spread, write_images

    chosen = get_method(method)
    settings = _settings(chosen, preset, phases=phases, nu=nu, size=size)
    device_kind(device)
    _check_outputs(out, overlay, image, hint)
    options = reading(convert, page, channel, limits)
    picture = read_checked(image, **options, longest=max(LARGEST_SIDE, 2 * (settings.get("size") or 0)))
    pixels = picture.pixels
    if hint is not None and not chosen.takes_hint(settings):
        raise InputError(f"{chosen.name} with these settings doesn't use a hint; leave --hint out")
    belief = None if hint is None else _read_hint(hint, picture.shape, pixels.shape[:2], convert)
    height, width = picture.shape
    print("; ".join((f"{image}: {width}×{height} pixels, {chosen.title} …", *picture.notes)), file=sys.stderr)
    labels, regions = _labels(chosen, pixels, belief, settings | {"seed": seed, "device": device})
    outputs = {out: spread(enlarged(labels, regions, picture.shape), regions)}
    if overlay is not None:
        outputs[overlay] = outlined(pixels, labels)
    write_images(outputs)
    print(f"{out}: {_areas(labels, regions)}, {time.perf_counter() - started:.1f} s")


def _settings(method: Method, preset: str, **changes) -> dict[str, Any]:
    """The preset's settings with changes; the method must have all of them except `size`."""
    changes = given(**changes)
    foreign = {name: changes.pop(name) for name in list(changes) if not method.has_setting(name)}
    for name in foreign:
        if name != "size":
            raise InputError(f"{method.name} has no setting {name}; leave --{name} out or choose another --method")
    return method.settings(preset, **changes) | foreign


def _labels(method: Method, pixels: np.ndarray, hint: np.ndarray | None, settings: dict) -> tuple[np.ndarray, int]:
    """Run a method at a bounded size and return labels `(H, W)` at the picture's size and the number of phases.

    The size is `WORKING_SIZE` unless one is given or the method has a default. For a method without the setting `size`
    the picture is shrunk and the labels are enlarged here.
    """
    from deepcv.images import SMALLEST_SIDE, as_image, resize, working_shape
    from deepcv.pictures import enlarged

    shape = pixels.shape[:2]
    if not method.has_setting("size"):
        longest = settings.pop("size", WORKING_SIZE)
        if longest < SMALLEST_SIDE:
            raise InputError(f"--size is {longest}; it must be at least {SMALLEST_SIDE} pixels")
        working = working_shape(shape, longest)
        pixels = resize(as_image(pixels), working)
        hint = None if hint is None else resize(hint, working)
    elif settings["size"] is None:  # the image's own size
        settings["size"] = WORKING_SIZE
    if "progress" in inspect.signature(method.function).parameters:
        settings["progress"] = sys.stderr.isatty()
    found = method.function(pixels, hint, **settings)
    return enlarged(found.labels, len(found.memberships), shape), len(found.memberships)


def _check_outputs(out: Path, overlay: Path | None, *inputs: Path | None) -> None:
    """Check that both pictures can be written, before anything is computed."""
    from deepcv.files import check_place
    from deepcv.pictures import check_picture, picture_name

    if out.suffix.lower() not in LOSSLESS:
        raise InputError(f"a mask can't be written to {out}; call it {picture_name(out)}.png")
    taken = [os.path.realpath(path) for path in inputs if path is not None]
    for path in (out, overlay):
        if path is None:
            continue
        if os.path.realpath(path) in taken:
            raise InputError(f"{path} is given twice and would be overwritten; give the output another name")
        taken.append(os.path.realpath(path))
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        check_picture(path)
        check_place(path)


def _read_hint(path: Path, shape: tuple[int, int], reduced: tuple[int, int], convert: bool) -> np.ndarray:
    """Read a hint as float32 `(H, W)` at the reduced size of the picture; colour channels are averaged."""
    from deepcv.images import as_hint, resize
    from deepcv.pictures import read_image

    pixels = read_image(path, convert=convert)
    hint = pixels if pixels.ndim == 2 else pixels.mean(axis=2, dtype="float32") / 255
    if reduced != shape and hint.shape == shape:
        hint = resize(hint, reduced)
    return as_hint(hint, reduced if hint.shape == reduced else shape)


def _areas(labels: np.ndarray, phases: int) -> str:
    import numpy as np

    shares = np.bincount(labels.ravel(), minlength=phases) / labels.size
    if phases == 2:
        return f"foreground {shares[1]:.1%}"
    empty = ", ".join(str(phase) for phase in np.flatnonzero(shares == 0))
    parts = ", ".join(f"{share:.1%}" for share in shares)
    return f"{phases} phases of {parts}" + (f"; empty: {empty}" if empty else "")
