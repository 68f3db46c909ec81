"""Tables on a page: small type, figures under one another, the same HTML in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def compact(shown: Styler, name: str, *, size: float = 0.66, padding: float = 0.28, align: str = "right") -> Styler:
    """A table that fits the page's width.

    Parameters
    ----------
    shown : pandas.io.formats.style.Styler
    name : str
        Its own in a page; it goes into the HTML in the place of a random one.
    size, padding : float
        Of the type, and left and right of it, in em.
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
                {"selector": "th.row_heading", "props": "white-space: normal; min-width: 8em"},  # names give way
            ]
        )
    )
