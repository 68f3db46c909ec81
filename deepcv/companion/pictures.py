"""Styles of tables and grids of pictures; saving figures."""

from __future__ import annotations

import functools
import io
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.compute import sample_of
from deepcv.companion.drawn import drawn
from deepcv.companion.store import Store, root
from deepcv.errors import InputError
from deepcv.files import remedy_for, write_together
from deepcv.images import as_colour
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series
    from pandas.io.formats.style import Styler

COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
"""Ten colours that colour-blind eyes tell apart: seaborn's palette "colorblind"."""

_DATASETS = {
    "samples": "embedded",
    "nuclei": "embedded nuclei",
    "weizmann": "Weizmann",
    "weizmann2": "two objects",
    "ecssd": "ECSSD",
    "dsb2018": "cell nuclei",
    "regions": "composites",
    "weizmann2-regions": "two objects",
}


def dataset_title(name: str) -> str:
    """What a reader calls a data set; the name itself of one that isn't in the tables of several."""
    return _DATASETS.get(name, name)


def picture_grid(
    rows: DataFrame,
    given: Mapping[str, Mapping[str, np.ndarray]],
    draw: Callable[[Any, np.ndarray], tuple[np.ndarray, str]],
    columns: Sequence[str] | None = None,
) -> Figure:
    """A grid of given pictures and, to their right, of one picture per row of a store.

    Parameters
    ----------
    rows : pandas.DataFrame
        `line` is a key of `given`, `column` a heading; places without a row stay empty.
    given : dict of str to dict
        The given pictures, by label of the line and by heading.
    draw : callable
        From a row, as a named tuple, and its label map to the picture and the text below it.
    columns : sequence of str, optional
        Order of the headings; default as they come.
    """
    import matplotlib.pyplot as plt

    first, columns = list(next(iter(given.values()))), list(columns or dict.fromkeys(rows["column"]))
    shape = (len(given), len(first) + len(columns))
    figure, axes = plt.subplots(*shape, figsize=(1.35 * shape[1], 1.35 * shape[0]), squeeze=False)
    lines = dict(zip(given, axes, strict=True))
    for label, line in lines.items():
        line[0].set_ylabel(label, fontsize=8)
        for axis, picture in zip(line, given[label].values(), strict=False):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    with Store() as store:
        for row in rows.itertuples():
            picture, below = draw(row, store.labels(row))
            axis = lines[row.line][len(first) + columns.index(row.column)]
            axis.imshow(picture)
            axis.set_xlabel(below, fontsize=8)
    head_grid(figure, axes, [*first, *columns])
    return figure


def mask_grid(rows: DataFrame, columns: Sequence[str] | None = None, score: str = "f_measure") -> Figure:
    """A `picture_grid` of images, ground truths and masks, with a score below; one line per image.

    Parameters
    ----------
    rows : pandas.DataFrame
        From a store, one per mask; `column` is its heading.
    columns : sequence of str, optional
        As in `picture_grid`.
    score : {"f_measure", "iou"}
    """
    samples = [sample_of(row) for row in rows.drop_duplicates("image").itertuples()]
    given = {each.name: {"image": each.image, "ground truth": faded(each.image, each.mask)} for each in samples}
    draw = functools.partial(mask_and_score, score=score)
    return picture_grid(rows.assign(line=rows["image"]), given, draw, columns)


def mask_and_score(row: Any, labels: np.ndarray, score: str = "f_measure") -> tuple[np.ndarray, str]:
    """The mask of a row on its image, and F or IoU."""
    title = {"f_measure": "F", "iou": "IoU"}[score]
    return faded(sample_of(row).image, labels == 1), f"{title} {getattr(row, score):.2f}"


def head_grid(figure: Figure, axes: np.ndarray, headings: list[str]) -> None:
    """Write a heading over each column of a grid and remove the ticks."""
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(textwrap.fill(heading, 15), fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[], frame_on=False)
    figure.tight_layout()


def show_mask(axis, image: np.ndarray, mask: np.ndarray) -> None:
    """Draw `faded` on an axis."""
    axis.imshow(faded(image, mask))


def faded(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with its background faded to grey and blue, which stays visible in grey print.

    Takes uint8 `(H, W)` or `(H, W, 3)` and bool `(H, W)`; returns uint8 `(H, W, 3)`.
    """
    grey = image.mean(axis=2) if image.ndim == 3 else image
    background = 0.25 * grey[..., None] + 0.75 * np.array([185, 205, 230])
    return np.where(mask[..., None], as_colour(image), background).astype(np.uint8)


def compact(shown: Styler, name: str = "") -> Styler:
    """A table as all of the book's are: its class is `results`, which `book/_style/book.css` describes.

    Parameters
    ----------
    shown : pandas.io.formats.style.Styler
    name : str
        Unique on a page; the HTML has it instead of a random one. Default: a hash of the table.
    """
    shown = shown.set_uuid(name or f"{zlib.crc32(shown.data.to_csv().encode()):08x}")
    return shown.set_table_attributes('class="results"')


def tabled(table: DataFrame | Styler, name: str) -> Styler:
    """Write a table into `figures` in `root()` as CSV, and return it styled.

    Parameters
    ----------
    table : pandas.DataFrame or Styler
    name : str
        Unique in the book, which gives the table of this name a number, a caption and a link to the CSV.

    Raises
    ------
    InputError
        If it can't be written.
    """
    shown = compact(table.style.format(precision=3, na_rep="–")) if hasattr(table, "style") else table
    _written({f"{name}.csv": shown.data.to_csv().encode()})
    return shown.set_uuid(name)


def saved(figure: Figure, name: str) -> Figure:
    """Write a figure into `figures` in `root()`; returns the figure.

    As SVG, whose text stays text, as PNG, and its numbers (`deepcv.companion.drawn`) as CSV. The same figure gives the
    same files.

    Raises
    ------
    InputError
        If they can't be written.
    """
    import matplotlib as mpl

    content = {f"{name}.csv": drawn(figure).to_csv(index=False, float_format="%.6g").encode()}
    quickly: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.draw_without_rendering()
        tight = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])  # once, as finding it is a draw
        for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", quickly)):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=200, bbox_inches=tight, **options)
            content[f"{name}.{kind}"] = stream.getvalue()
    _written(content)
    return figure


def _written(content: Mapping[str, bytes]) -> None:
    """Write files into `figures` in `root()`, all or none."""
    folder = root() / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_together({folder / name: written for name, written in content.items()})
    except OSError as error:
        remedy = remedy_for(error, "set DEEPCV_RESULTS to another folder")
        raise InputError(f"can't write into {folder} ({error.strerror}); {remedy}") from None


def interval(values: Series) -> str:
    """95 % bootstrap interval of the mean, "0.853–0.891"; "–" for one image, which has none."""
    if len(values) == 1:
        return "–"
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"
