"""Styles of tables and grids of pictures; saving figures."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepcv.companion.compute import sample_of
from deepcv.companion.items import Item
from deepcv.companion.store import Store, root
from deepcv.errors import InputError
from deepcv.files import write_together
from deepcv.images import as_colour
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series
    from pandas.io.formats.style import Styler


def mask_grid(rows: DataFrame, items: Iterable[Item], images: Sequence[str], headings: Mapping[str, str]) -> Figure:
    """A grid of images, ground truths and masks, with F below; one row per image.

    Parameters
    ----------
    rows : pandas.DataFrame
        From a store, one per mask, all of one data set; `column` is a key of `headings`.
    items : iterable of Item
        The items of the rows, and maybe others.
    images : sequence of str
    headings : mapping of str to str
        The columns of masks and the text above them. Places without a row stay empty.
    """
    import matplotlib.pyplot as plt

    by_key = {item.key: item for item in items}
    images, columns = list(images), list(headings)
    samples = {item.image: item for item in by_key.values()}
    shown = [sample_of(samples[name]) for name in images]
    shape = (len(shown), 2 + len(columns))
    figure, axes = plt.subplots(*shape, figsize=(1.9 * shape[1], 1.75 * shape[0]), squeeze=False)
    for row, sample in zip(axes, shown, strict=True):
        row[0].imshow(sample.image, cmap="gray", vmin=0, vmax=255)
        row[0].set_ylabel(sample.name, fontsize=8)
        show_mask(row[1], sample.image, sample.mask)
    with Store() as store:
        for found in rows.itertuples():
            place = images.index(found.image), 2 + columns.index(found.column)
            show_mask(axes[place], shown[place[0]].image, store.labels(by_key[found.key]) == 1)
            axes[place].set_xlabel(f"F {found.f_measure:.2f}", fontsize=8)
    head_grid(figure, axes, ["image", "ground truth", *headings.values()])
    return figure


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


def compact(shown: Styler, name: str, *, size: float = 0.66, padding: float = 0.28, align: str = "right") -> Styler:
    """Style a table to fit the width of a page.

    Parameters
    ----------
    shown : pandas.io.formats.style.Styler
    name : str
        Unique in a page; the HTML has it instead of a random one.
    size, padding : float
        Font size, and padding left and right of the text, in em.
    align : {"left", "right"}
    """
    type_ = f"font-size: {size}em; white-space: nowrap; font-variant-numeric: tabular-nums"
    cells = f"padding: 0.25em {padding}em; text-align: {align}"
    return (
        shown.set_uuid(name)
        .set_table_attributes(f'style="{type_}"')
        .set_table_styles(
            [
                {"selector": "th, td", "props": cells},
                {"selector": "th.row_heading", "props": "white-space: normal; min-width: 8em"},  # names wrap
            ]
        )
    )


def saved(figure: Figure, name: str) -> Figure:
    """Write a figure into `figures` in `root()`, as SVG, whose text stays text, and as PNG; returns the figure.

    The same figure gives the same files.

    Raises
    ------
    InputError
        If they can't be written.
    """
    import matplotlib as mpl

    folder, content = root() / "figures", {}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=200, bbox_inches="tight", metadata=metadata)
            content[folder / f"{name}.{kind}"] = stream.getvalue()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_together(content)
    except OSError as error:
        raise InputError(
            f"can't write into {folder} ({error.strerror}); set DEEPCV_RESULTS to another folder"
        ) from None
    return figure


def interval(values: Series) -> str:
    """95 % bootstrap interval of the mean, "0.853–0.891"."""
    low, high = bootstrap_interval(values.to_numpy())
    return f"{low:.3f}–{high:.3f}"
