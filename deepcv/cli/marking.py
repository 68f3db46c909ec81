"""Options that say what is meant: points, a box, scribbles, a hint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepcv.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from deepcv.seeds import Seeds

Foreground = Annotated[
    Path | None,
    typer.Option(help="Picture, white where scribbled on the object for sure; stretched to the picture."),
]
Background = Annotated[Path | None, typer.Option(help="Picture, white where scribbled on the background for sure.")]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y", help="A pixel of the object for sure, from the top left corner; repeatable."
    ),
]
BackgroundPoints = Annotated[
    list[str] | None,
    typer.Option("--background-point", metavar="X,Y", help="A pixel of the background for sure; repeatable."),
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="LEFT,TOP,RIGHT,BOTTOM", help="The object is in this box and about as large; outside is background."
    ),
]
Hint = Annotated[
    Path | None,
    typer.Option(
        help="Picture of any size, bright where the object probably is, or opaque there if it has an alpha channel. "
        "Black, white and 128 alone are sure background, sure foreground and undecided. Two regions only."
    ),
]
Invert = Annotated[bool, typer.Option("--invert", help="Exchange foreground and background.")]


@dataclass(frozen=True)
class Marking:
    """What the user says about each picture."""

    foreground: Path | None = None
    background: Path | None = None
    points: Sequence[str] = ()
    background_points: Sequence[str] = ()
    box: str | None = None
    hint: Path | None = None
    convert: bool = False

    def __post_init__(self):
        """Raise `InputError` unless the numbers can be read."""
        self._numbers()

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return bool(self.paths or self.points or self.background_points or self.box)

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [path for path in (self.foreground, self.background, self.hint) if path is not None]

    def _numbers(self) -> Seeds:
        from deepcv.seeds import Seeds

        return Seeds(
            [_numbers(each, 2, "--point", "120,90") for each in self.points],
            [_numbers(each, 2, "--background-point", "10,10") for each in self.background_points],
            None if self.box is None else _numbers(self.box, 4, "--box", "80,40,300,220"),
        )

    def read(self, shape: tuple[int, int], reduced: tuple[int, int]) -> tuple[Seeds | None, np.ndarray | None]:
        """Seeds, at a reduced shape, and a hint, as it is, for a picture of a shape.

        A hint of black, white and 128 is a pair of scribbles.
        """
        import numpy as np

        from deepcv.door import without_ripples
        from deepcv.seeds import check_inside, marks_in

        on, off = (None if path is None else self._grey(path) for path in (self.foreground, self.background))
        hint = None if self.hint is None else without_ripples(self._grey(self.hint))
        if hint is not None and (marks := marks_in(hint)) is not None:
            more = [np.asarray(marks == side) for side in (1, 0)]
            on, off = (_joined(each, extra) for each, extra in zip((on, off), more, strict=True))
            hint = None
        seeds = self._numbers()
        check_inside(seeds, shape)
        seeds = seeds.scaled(reduced[1] / shape[1], reduced[0] / shape[0])
        seeds = replace(seeds, foreground=on, background=off)
        return seeds or None, hint

    def _grey(self, path: Path) -> np.ndarray:
        """A picture as uint8 `(h, w)`: its alpha channel if it has one that says something, else its mean channel."""
        import numpy as np

        from deepcv.pictures import alpha_channel, read_image

        if (alpha := alpha_channel(path)) is not None:
            return alpha
        pixels = read_image(path, convert=self.convert)
        return pixels if pixels.ndim == 2 else np.rint(pixels.mean(axis=2)).astype(np.uint8)


def _joined(stroke: np.ndarray | None, more: np.ndarray) -> np.ndarray | None:
    """A scribble and another of another size; None if neither has a stroke."""
    import numpy as np

    from deepcv.images import resize

    if stroke is None:
        return more if more.any() else None
    return (stroke > 127) | (resize(more.astype(np.float32), stroke.shape) > 0.25)


def _numbers(text: str, count: int, option: str, example: str) -> Any:
    try:
        numbers = tuple(float(each) for each in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        wanted = f"{count} numbers" if len(numbers) != count else "finite numbers"
        raise InputError(f"{option} is {text!r}; give {wanted}, such as {example}")
    return numbers
