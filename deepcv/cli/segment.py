"""`deepcv segment`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepcv.cli import many, pieces
from deepcv.cli.marking import Background, BackgroundPoints, Box, Foreground, Hint, Invert, Marking, Points
from deepcv.cli.options import LARGEST_SIDE, Shared, Workers, computing_on, given, with_shared
from deepcv.cli.tables import Tables
from deepcv.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from deepcv.door import Found
    from deepcv.methods import Method


@with_shared
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
    point: Points = None,
    background_point: BackgroundPoints = None,
    box: Box = None,
    foreground: Foreground = None,
    background: Background = None,
    hint: Hint = None,
    invert: Invert = False,
    method: Annotated[
        str, typer.Option(help="As listed by `deepcv methods`, with a preset as method:preset.")
    ] = "deep-cv",
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
    workers: Workers = None,
    *,
    more: Shared,
) -> None:
    """Segment pictures and write their masks.

    \b
    deepcv segment photo.jpg --out mask.png
    deepcv segment photo.jpg --out mask.png --overlay outline.png --nu 2
    deepcv segment photo.jpg --cutout object.png --largest
    deepcv segment photo.jpg --out mask.png --box 80,40,300,220
    deepcv segment photo.jpg --out mask.png --point 120,90 --background-point 20,15
    deepcv segment photo.jpg --out mask.png --foreground strokes.png --background others.png
    deepcv segment photo.jpg --out mask.png --hint rough.png --invert
    deepcv segment photo.jpg --out regions.png --phases 4
    deepcv segment photos/ --out masks --areas areas.csv
    deepcv segment stack.tif --out mask.png --page 12 --channel 2 --range 1,99.5
    deepcv segment scan.tif --out mask.png --convert --method chan-vese
    cat photo.jpg | deepcv segment - --out - > mask.png
    """
    started = time.perf_counter()
    # Set before the libraries are loaded: at this size, a second thread costs more than it gains.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from deepcv.checks import Seed, check_value
    from deepcv.devices import device_kind
    from deepcv.methods import with_preset

    chosen, preset = with_preset(method, preset)
    check_value("seed", seed, Seed)
    settings = _settings(chosen, preset, phases=phases, nu=nu, size=size)
    on = device_kind(more.device)
    said = Marking(foreground, background, point or (), background_point or (), box, hint, more.convert)
    if said and not chosen.takes_hint(settings):
        raise InputError(
            f"{chosen.name} with these settings doesn't use a hint; leave --hint, points, boxes and scribbles out"
        )
    two = preset not in chosen.several and (settings.get("phases") or 2) == 2
    if invert and not two:
        raise InputError("--invert needs a foreground and a background, and there are more regions; leave it out")
    wanted = pieces.wanted(out, more, two=two)
    tables = Tables(more.areas, more.coco)
    one = pieces.is_one(images, out)
    work = many.Work(
        partial(
            _labels,
            chosen.name,
            settings | {"seed": seed, "device": more.device},
            said,
            keep_frame=keep_frame,
            may_choose=("nu", "balance")[nu is not None :] if preset == "default" else (),
            confidence=one or more.areas is not None,
            invert=invert,
            progress=one and sys.stderr.isatty(),
        ),
        more.reading() | {"longest": max(LARGEST_SIDE, 2 * (settings.get("size") or 0))},
        phases=2 if two else _regions(chosen, settings),
        made_by=pieces.made_by(
            chosen.name,
            sorted(settings.items()),
            (seed, nu, keep_frame, invert, more.largest),
            *(() if two else ("a frame has the labels beside it",)),
            replace(said, convert=False),
            more.looking(),
        ),
        largest=more.largest,
        title=chosen.title,
    )
    if one:
        more.check_one()
        many.do_one(work, pieces.single(images[0], wanted, tables.paths, said.paths), tables, started)
    else:
        with computing_on(workers, more.scheduler, default=None if on == "cpu" else 1) as where:
            todo = pieces.several(images, wanted, tables.paths, said.paths, work.made_by)
            many.do_many(work, todo, wanted["out"], tables, started, workers=where, batch=1, again=more.again)


def _settings(method: Method, preset: str, **changes) -> dict[str, Any]:
    """The preset's settings with changes; the method must have all of them except `size`."""
    changes = given(**changes)
    foreign = {name: changes.pop(name) for name in list(changes) if not method.has_setting(name)}
    for name in foreign:
        if name != "size":
            raise InputError(f"{method.name} has no setting {name}; leave --{name} out or choose another --method")
    return method.settings(preset, **changes) | foreign


def _regions(method: Method, settings: dict[str, Any]) -> int | None:
    """How many regions a method of several finds, some perhaps empty; None if its settings don't say."""
    return 4 if method.name == "vese-chan" else settings.get("phases") or settings.get("regions")


def _labels(
    method: str,
    settings: dict[str, Any],
    said: Marking,
    pictures: list[np.ndarray],
    shapes: list[tuple[int, int]],
    **options: Any,
) -> list[Found]:
    """What the method finds in pictures of these full shapes; options are those of `segment_picture`."""
    from deepcv.door import segment_picture, with_warnings
    from deepcv.methods import get_method

    found = []
    for pixels, shape in zip(pictures, shapes, strict=True):
        seeds, hint = said.read(shape, pixels.shape[:2])
        marked = settings | ({"seeds": seeds} if seeds else {})
        each = segment_picture(get_method(method), pixels, hint, marked, **options)
        found.append(with_warnings(each, pixels))
    return found
