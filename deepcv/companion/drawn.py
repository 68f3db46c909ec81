"""The numbers that a figure draws, for a file beside its picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Words = Callable[[Any], float | str]
"""From a place on an axis, a number or already a word, to the word at its tick, or else the number."""

LARGEST_MAP = 400
"""Numbers in an image that is a table drawn in colours; larger ones are pictures."""


def drawn(figure: Figure) -> DataFrame:
    """What a figure draws, one row per mark.

    Columns: `panel`, its title, or those of its row and column in a grid of pictures; `series`, as in the legend; `x`
    and `y`, numbers or the words at the ticks; `low` and `high`, the ends of an interval or a bar; `value`, in a map of
    colours; `text`, the words below a picture. Columns without a value are left out.
    """
    import pandas as pd

    rows = [{"panel": _panel(axis), **row} for axis in figure.axes for row in _marks(axis)]
    table = pd.DataFrame(rows, columns=["panel", "series", "x", "y", "low", "high", "value", "text"])
    return table.dropna(axis="columns", how="all")


def _panel(axis: Any) -> str:
    grid = axis.get_subplotspec()
    if grid is None or not axis.images:
        return axis.get_title()
    places = [(each, spec) for each in axis.figure.axes if (spec := each.get_subplotspec())]
    headings = (each.get_title() for each, spec in places if spec.is_first_row() and spec.colspan == grid.colspan)
    lines = (each.get_ylabel() for each, spec in places if spec.is_first_col() and spec.rowspan == grid.rowspan)
    heading, line = next(headings, ""), next(lines, "")
    return ", ".join(filter(None, (line, axis.get_title() or heading)))


def _marks(axis: Any) -> Iterator[dict[str, Any]]:
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.patches import Polygon

    across, down = _words(axis.xaxis), _words(axis.yaxis)
    intervals = [each for each in axis.containers if isinstance(each, ErrorbarContainer) and each.lines[2]]
    for container in intervals:
        yield from _intervals(container, across, down)
    for container in axis.containers:
        if isinstance(container, BarContainer):
            yield from _bars(container, across, down)
    drawn_already = {line for container in intervals for line in (container.lines[0], *container.lines[1])}
    points: list[tuple[Any, Any]] = [
        (line, zip(*line.get_data(), strict=True))
        for line in axis.lines
        if line not in drawn_already and line.get_transform() == axis.transData  # others cross the panel
    ]
    scattered = (each for each in axis.collections if isinstance(each, PathCollection))
    points += [(each, np.ma.getdata(each.get_offsets())) for each in scattered]
    points += [(each, each.get_xy()) for each in axis.patches if isinstance(each, Polygon)]  # outlines of histograms
    for artist, places in points:
        for x, y in places:
            yield {"series": _name(artist), "x": across(x), "y": down(y)}
    for image in axis.images:
        values = np.asarray(image.get_array(), float)
        if values.ndim == 2 and values.size <= LARGEST_MAP:
            for (row, column), value in np.ndenumerate(values):
                yield {"x": across(column), "y": down(row), "value": float(value)}
        elif axis.get_xlabel():
            yield {"text": axis.get_xlabel()}


def _intervals(container: Any, across: Words, down: Words) -> Iterator[dict[str, Any]]:
    """The points of an error bar; of one both ways, the intervals along x."""
    line, _, bars = container.lines
    along = 0 if container.has_xerr else 1
    for x, y, ends in zip(*line.get_data(), bars[0].get_segments(), strict=False):
        if not len(ends):
            continue  # what is not a number isn't drawn
        low, high = (float(end[along]) for end in (ends[0], ends[-1]))
        yield {"series": _name(container), "x": across(x), "y": down(y), "low": low, "high": high}


def _bars(container: Any, across: Words, down: Words) -> Iterator[dict[str, Any]]:
    for bar, length in zip(container.patches, container.datavalues, strict=True):
        if container.orientation == "horizontal":
            low, place = bar.get_x(), {"y": down(bar.get_y() + bar.get_height() / 2)}
        else:
            low, place = bar.get_y(), {"x": across(bar.get_x() + bar.get_width() / 2)}
        yield {"series": _name(container), **place, "low": float(low), "high": float(low + length)}


def _name(artist: Any) -> str | None:
    """What the legend calls it, unless it has no entry."""
    name = str(artist.get_label())
    return None if name.startswith("_") else name


def _words(axis: Any) -> Words:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    beside = 0.3  # series are moved aside by less, and ticks with words are one apart
    words: dict[float, str] = {}
    if isinstance(axis.get_major_locator(), FixedLocator) and isinstance(axis.get_major_formatter(), FuncFormatter):
        places = axis.get_majorticklocs()
        words = dict(zip(map(float, places), axis.get_major_formatter().format_ticks(places), strict=True))

    def word(at: Any) -> float | str:
        if isinstance(at, str):
            return at
        nearest = min(words, key=lambda place: abs(place - at), default=math.inf)
        return words[nearest] if abs(nearest - at) < beside else float(at)

    return word
