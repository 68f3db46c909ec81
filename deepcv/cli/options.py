"""Options that several commands share."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from deepcv.errors import InputError

LARGEST_SIDE = 2048
"""Longest side in pixels of the picture that is handed to a method, unless it works on more than half of that: larger
ones are reduced while they are read, and the mask is enlarged."""

Device = Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU, if any]")]
Convert = Annotated[
    bool,
    typer.Option(
        "--convert",
        help="Allow lossy conversion: the first page or frame, samples deeper than 8 bits, several channels as "
        "colours, alpha over white, CMYK. What was done is said.",
    ),
]
Page = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Page of a stack, of a series in time or of an animation, from 1. A picture with several pages is read "
        "only with this or --convert.",
    ),
]
Channel = Annotated[int | None, typer.Option(min=1, help="Read this channel alone, from 1, as grey.")]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="Percentiles of the samples that become black and white; allows samples deeper than 8 bits. With "
        "--convert alone 0.1,99.9.",
    ),
]

_EACH = "For many pictures a folder."
Overlay = Annotated[
    Path | None, typer.Option(help=f"Also write the picture, up to 2048 pixels, with the outline on it. {_EACH}")
]
Cutout = Annotated[
    Path | None,
    typer.Option(help=f"Also write the picture with a transparent background: PNG, TIFF or WebP. {_EACH}"),
]
Soft = Annotated[
    Path | None,
    typer.Option(help=f"Also write how probably each pixel is foreground, from 0 to 65535; TIFF or PNG. {_EACH}"),
]
Objects = Annotated[
    Path | None,
    typer.Option(
        help=f"Also write the number of each pixel's object: 16-bit TIFF or PNG, 0 in the background. {_EACH}"
    ),
]
GeoJson = Annotated[
    Path | None, typer.Option(help=f"Also write the objects' outlines, as QuPath reads them: NAME.geojson. {_EACH}")
]
Coco = Annotated[Path | None, typer.Option(help="Also write all pictures' objects into one COCO file, NAME.json.")]
Areas = Annotated[
    Path | None, typer.Option(help="Also write a table, NAME.csv: areas, numbers of objects, pictures that failed.")
]
Largest = Annotated[bool, typer.Option("--largest", help="Keep the largest object alone.")]
Again = Annotated[
    bool, typer.Option("--again", help="Of many pictures also segment those whose outputs are there and newer.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Pictures at once, a process each. [default: as many as cores; 1 on a GPU]"),
]
Scheduler = Annotated[str | None, typer.Option(help="Compute on the workers of this Dask scheduler, tcp://host:8786.")]


@contextlib.contextmanager
def computing_on(workers: int | None, scheduler: str | None, default: int | None = None) -> Iterator[Any]:
    """What `deepcv.parallel.run` takes as `workers`: a number, by default `default`, or the executor of a scheduler."""
    if scheduler is None:
        yield default if workers is None else workers
        return
    from deepcv.parallel import cluster

    if workers is not None:
        raise InputError("--workers counts local processes, --scheduler uses a cluster; leave one out")
    with cluster(scheduler) as executor:
        yield executor


@dataclass(frozen=True)
class Shared:
    """What `deepcv segment` and `deepcv predict` both take."""

    overlay: Overlay = None
    cutout: Cutout = None
    soft: Soft = None
    objects: Objects = None
    geojson: GeoJson = None
    coco: Coco = None
    areas: Areas = None
    largest: Largest = False
    convert: Convert = False
    page: Page = None
    channel: Channel = None
    limits: Range = None
    again: Again = False
    scheduler: Scheduler = None
    device: Device = None

    def check_one(self) -> None:
        """Raise `InputError` for what one picture has no use for."""
        if self.scheduler is not None:
            raise InputError("--scheduler is for many pictures; leave it out, or name a folder")

    def reading(self) -> dict[str, Any]:
        """Keyword arguments of `deepcv.pictures.read_picture`; `InputError` unless the range is two numbers."""
        percentiles = None
        if self.limits is not None:
            try:
                low, high = map(float, self.limits.split("," if "," in self.limits else "-"))
            except ValueError:
                raise InputError(f"--range is {self.limits!r}; give two percentiles, such as 0.1,99.9") from None
            percentiles = (low, high)
        return {"convert": self.convert, "page": self.page, "channel": self.channel, "percentiles": percentiles}

    def looking(self) -> tuple[Any, ...]:
        """The options of `reading` that change how a picture that can be read looks, as `--convert` doesn't."""
        return self.page, self.channel, self.limits


def with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """A command, whose last argument is a `Shared`, with the fields of that as options in its place."""
    *own, last = inspect.signature(command).parameters.values()
    added = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default) for each in fields(Shared)
    ]
    hints = get_type_hints(command, include_extras=True) | get_type_hints(Shared, include_extras=True)

    @functools.wraps(command)
    def call(**options: Any) -> None:
        shared = Shared(**{each.name: options.pop(each.name) for each in added})
        command(**options, **{last.name: shared})

    parameters = [each.replace(annotation=hints[each.name]) for each in (*own, *added)]
    wrapped: Any = call
    wrapped.__signature__ = inspect.Signature(parameters)
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    del wrapped.__wrapped__  # in whose source Sphinx would look for the defaults of all options
    return call


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave: those that aren't None."""
    return {name: value for name, value in options.items() if value is not None}
