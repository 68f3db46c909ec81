"""`deepcv segment`."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepcv.cli import many
from deepcv.cli.options import (
    LARGEST_SIDE,
    Again,
    Areas,
    Channel,
    Coco,
    Convert,
    Cutout,
    Device,
    GeoJson,
    Largest,
    Objects,
    Overlay,
    Page,
    Range,
    Soft,
    Workers,
    given,
    reading,
)
from deepcv.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from deepcv.door import Found
    from deepcv.methods import Method


def segment(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURES...",
            help="A picture, several, or folders of them: PNG, JPEG, TIFF (any depth), any other that Pillow reads. "
            "`-` is standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Mask to write: 0 background, 255 foreground; PNG, TIFF or BMP, or `-`. For many pictures a folder; "
            "masks there that are newer than their pictures aren't made again."
        ),
    ] = None,
    overlay: Overlay = None,
    cutout: Cutout = None,
    soft: Soft = None,
    objects: Objects = None,
    geojson: GeoJson = None,
    coco: Coco = None,
    areas: Areas = None,
    largest: Largest = False,
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
    keep_frame: Annotated[
        bool,
        typer.Option("--keep-frame", help="A frame of one colour belongs to the picture; otherwise it is left out."),
    ] = False,
    device: Device = None,
    convert: Convert = False,
    page: Page = None,
    channel: Channel = None,
    limits: Range = None,
    again: Again = False,
    workers: Workers = None,
) -> None:
    """Segment pictures and write their masks.

    \b
    deepcv segment photo.jpg --out mask.png
    deepcv segment photo.jpg --out mask.png --overlay outline.png --nu 2
    deepcv segment photo.jpg --cutout object.png --largest
    deepcv segment photo.jpg --out regions.png --phases 4
    deepcv segment photos/ --out masks --areas areas.csv
    deepcv segment stack.tif --out mask.png --page 12 --channel 2 --range 1,99.5
    deepcv segment scan.tif --out mask.png --convert --method chan-vese
    cat photo.jpg | deepcv segment - --out - > mask.png
    """
    started = time.perf_counter()
    # Set before the libraries are loaded: at this size, a second thread costs more than it gains.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from deepcv.devices import device_kind
    from deepcv.methods import get_method

    chosen = get_method(method)
    settings = _settings(chosen, preset, phases=phases, nu=nu, size=size)
    on = device_kind(device)
    if hint is not None and not chosen.takes_hint(settings):
        raise InputError(f"{chosen.name} with these settings doesn't use a hint; leave --hint out")
    two = preset not in chosen.several and (settings.get("phases") or 2) == 2
    wanted = many.wanted(out, overlay, cutout, soft, objects, geojson, coco, largest, two=two)
    tables = many.Tables(areas, coco)
    one = many.is_one(images, out)
    work = many.Work(
        partial(
            _labels,
            chosen.name,
            settings | {"seed": seed, "device": device},
            hint,
            convert,
            keep_frame=keep_frame,
            choose_nu=nu is None,
            progress=one and sys.stderr.isatty(),
        ),
        reading(convert, page, channel, limits) | {"longest": max(LARGEST_SIDE, 2 * (settings.get("size") or 0))},
        largest=largest,
        title=chosen.title,
    )
    if one:
        many.do_one(work, many.single(images[0], wanted, tables.paths, [hint]), tables, started)
    else:
        pieces = many.several(images, wanted, tables.paths, [hint])
        workers = workers or (None if on == "cpu" else 1)
        many.do_many(work, pieces, wanted["out"], tables, started, workers=workers, batch=1, again=again)


def _settings(method: Method, preset: str, **changes) -> dict[str, Any]:
    """The preset's settings with changes; the method must have all of them except `size`."""
    changes = given(**changes)
    foreign = {name: changes.pop(name) for name in list(changes) if not method.has_setting(name)}
    for name in foreign:
        if name != "size":
            raise InputError(f"{method.name} has no setting {name}; leave --{name} out or choose another --method")
    return method.settings(preset, **changes) | foreign


def _labels(
    method: str,
    settings: dict[str, Any],
    hint: Path | None,
    convert: bool,
    pictures: list[np.ndarray],
    shapes: list[tuple[int, int]],
    **options: bool,
) -> list[Found]:
    """What the method finds in pictures of these full shapes; options are those of `segment_picture`."""
    from deepcv.door import segment_picture
    from deepcv.methods import get_method

    found = []
    for pixels, shape in zip(pictures, shapes, strict=True):
        belief = None if hint is None else _read_hint(hint, shape, pixels.shape[:2], convert)
        found.append(segment_picture(get_method(method), pixels, belief, settings, **options))
    return found


def _read_hint(path: Path, shape: tuple[int, int], reduced: tuple[int, int], convert: bool) -> np.ndarray:
    """Read a hint as float32 `(H, W)` at the reduced size of the picture; colour channels are averaged."""
    from deepcv.images import as_hint, resize
    from deepcv.pictures import read_image

    pixels = read_image(path, convert=convert)
    hint = pixels if pixels.ndim == 2 else pixels.mean(axis=2, dtype="float32") / 255
    if reduced != shape and hint.shape == shape:
        hint = resize(hint, reduced)
    return as_hint(hint, reduced if hint.shape == reduced else shape)
