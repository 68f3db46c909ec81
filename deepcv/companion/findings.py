"""What a page found: a sentence written from recorded rows, and what becomes of the paper's claims."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from deepcv.checks import check_known
from deepcv.companion import timings, verdict
from deepcv.companion.claims import COLUMNS
from deepcv.companion.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from pandas import DataFrame

FINDINGS: dict[str, Callable[[DataFrame], str]] = {
    name: each.finding for name, each in EXPERIMENTS.items() if each.finding
} | {"speed": timings.finding}
"""From recorded rows to a sentence or two, by the notebook's name."""


class Finding(NamedTuple):
    """A finding as HTML, which a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def finding(name: str) -> Finding:
    """The finding of a page, and the verdicts on the claims that it decides, to be shown in its notebook.

    Parameters
    ----------
    name : str
        The notebook's, a key of `FINDINGS`.

    Raises
    ------
    InputError
        For an unknown name.
    """
    check_known("page", name, FINDINGS)
    rows = verdict.rows_of("benchmark" if name == "speed" else EXPERIMENTS[name].rows_of or name)
    sentence = html.escape(FINDINGS[name](rows)) if len(rows) else "Nothing is recorded yet."
    claims = EXPERIMENTS[name].claims if name in EXPERIMENTS else ()
    decided = "".join(
        f'<li><a href="verdict.html#{verdict.anchor(claim)}">{html.escape(claim.says)}</a> {_statuses(verdicts)}</li>'
        for claim, verdicts in verdict.decide(claims)
    )
    return Finding(f"<p><b>The finding.</b> {sentence}</p>" + (f"<ul>{decided}</ul>" if decided else ""))


def _statuses(verdicts) -> str:
    """ "✔ reproduced by the paper's algorithm, ? undecided by this package's default", or the status alone."""
    if len(verdicts) == 1:
        return verdict.marked(next(iter(verdicts.values())).status)
    return ", ".join(f"{verdict.marked(each.status)} by {COLUMNS[column]}" for column, each in verdicts.items())
