"""The verdict on the paper's claims, from recorded rows: as text, as JSON, for the book."""

from __future__ import annotations

import dataclasses
import functools
import html
import json
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deepcv.companion import timings
from deepcv.companion.claims import TOLERANCE, Claim, Status, Verdict
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.pictures import compact
from deepcv.companion.recorded import full_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    Decided = list[tuple[Claim, Verdict]]


def claims() -> list[Claim]:
    """The claims made in words, in the paper's order."""
    return [claim for experiment in EXPERIMENTS.values() for claim in experiment.claims]


def cells() -> list[Claim]:
    """A claim for each score printed in Tables 1 to 3."""
    return [claim for experiment in EXPERIMENTS.values() for claim in experiment.cells()]


MARKS = {Status.REPRODUCED: "✔", Status.PARTLY: "◐", Status.NOT: "✘", Status.NOT_RUN: "○"}


COLOURS = {Status.REPRODUCED: "#029e73", Status.PARTLY: "#de8f05", Status.NOT: "#d55e00", Status.NOT_RUN: "#949494"}
"""Safe for colour-blind readers; the status is always written beside them."""


def rows_of(run: str) -> DataFrame:
    """The rows of a recorded run, in its best profile; empty if nothing is recorded."""
    return timings.recorded(run)[0] if run in timings.NAMES else full_run(run)


def decide(wanted: Iterable[Claim] | None = None) -> Decided:
    """Decide claims.

    Parameters
    ----------
    wanted : iterable of Claim, optional
        Default all: those in words, then the printed numbers.

    Returns
    -------
    list of (Claim, Verdict)
    """
    rows = functools.cache(rows_of)
    return [(claim, _verdict(claim, rows(claim.run))) for claim in wanted or (*claims(), *cells())]


def _verdict(claim: Claim, rows: DataFrame) -> Verdict:
    return claim.decide(rows) if len(rows) else Verdict(Status.NOT_RUN, f"Nothing is recorded for {claim.run}.")


def counted(decided: Decided) -> str:
    """The number of claims of each status: "7 reproduced, 2 partly …"."""
    statuses = [verdict.status for _, verdict in decided]
    return ", ".join(f"{statuses.count(status)} {status}" for status in Status)


def as_text(decided: Decided, width: int = 100) -> str:
    """Status, claim and evidence of each, wrapped to `width` columns."""
    longest = max(map(len, Status)) + 4
    lines = [counted(decided), ""]
    for claim, verdict in decided:
        lead = f"{MARKS[verdict.status]} {verdict.status}".ljust(longest)
        for text, before in (
            (f"{claim.id}: {claim.says} (paper, {claim.section})", lead),
            (verdict.evidence, " " * longest),
        ):
            lines += textwrap.wrap(text, width, initial_indent=before, subsequent_indent=" " * longest)
    return "\n".join(lines)


def as_json(decided: Decided) -> str:
    """A JSON list of objects: the fields of each `Claim`, and `status`, `evidence`, `numbers` of its verdict."""
    shown = ("id", "section", "says", "test", "notebook", "run")
    found = [{name: getattr(claim, name) for name in shown} | dataclasses.asdict(verdict) for claim, verdict in decided]
    return json.dumps(found, indent=1, ensure_ascii=False)


def as_html(decided: Decided) -> str:
    """An HTML block per claim: status, claim, evidence, how it was decided, and a link to its page."""
    return "\n".join(_block(claim, verdict) for claim, verdict in decided)


def _block(claim: Claim, verdict: Verdict) -> str:
    say, status = html.escape, verdict.status
    return (
        f'<div style="border-left: 0.4em solid {COLOURS[status]}; padding-left: 0.8em; margin: 1.2em 0">'
        f"<div><b>{MARKS[status]} {status}</b> · paper, {say(claim.section)} · {_link(claim)}</div>"
        f"<div>{say(claim.says)}</div>"
        f'<div style="font-size: 0.9em">{say(verdict.evidence)}</div>'
        f'<details style="font-size: 0.9em"><summary>how it is decided</summary>{say(claim.test)}</details></div>'
    )


def _link(claim: Claim) -> str:
    """A link to the page of the claim's notebook."""
    name = html.escape(claim.notebook)
    return f'<a href="{name}.html">{name}</a>'


def table(decided: Decided):
    """A styled table of the printed numbers: a row per claim of `cells`, with our number and the status."""
    import pandas as pd

    rows = {
        claim.says: {
            "printed": claim.value,
            "ours": str(verdict.numbers.get("ours", "–")),
            "status": f"{MARKS[verdict.status]} {verdict.status}",
            "page": _link(claim),
        }
        for claim, verdict in decided
    }
    colours = {f"{MARKS[status]} {status}": f"border-left: 0.4em solid {colour}" for status, colour in COLOURS.items()}
    shown = pd.DataFrame.from_dict(rows, orient="index", columns=["printed", "ours", "status", "page"])
    coloured = shown.style.map(colours.get, subset=["status"])
    return compact(coloured, "verdict", size=0.8, padding=0.6, align="left")


def plot(decided: Decided) -> Figure:
    """Printed scores (diamonds; bars show the tolerance) and ours (dots with 95 % intervals).

    Parameters
    ----------
    decided : list of (Claim, Verdict)
        Those of `cells`; the ones not yet run are left out.
    """
    import matplotlib.pyplot as plt

    shown = [(claim, verdict) for claim, verdict in reversed(decided) if "ours" in verdict.numbers]
    figure, axis = plt.subplots(figsize=(8, 0.3 * len(shown) + 1.2))
    for row, (claim, verdict) in enumerate(shown):
        printed, colour = float(claim.value), COLOURS[verdict.status]
        ours: Any = verdict.numbers["ours"]
        error = [[ours.mean - ours.low], [ours.high - ours.mean]]
        axis.barh(row, 2 * TOLERANCE, 0.7, left=printed - TOLERANCE, color="0.88", zorder=1)
        axis.plot(printed, row, "D", color="white", mec="0.25", ms=6, zorder=2, label="" if row else "the paper")
        axis.errorbar(
            ours.mean, row, xerr=error, fmt="o", color=colour, ms=5, lw=1.2, zorder=3, label="" if row else "ours"
        )
        axis.annotate(MARKS[verdict.status], (1.01, row), xycoords=("axes fraction", "data"), va="center")
    axis.set(yticks=range(len(shown)), yticklabels=[claim.says for claim, _ in shown], xlabel="score")
    axis.grid(axis="x", alpha=0.25)
    if shown:
        axis.legend(fontsize=8)
    figure.tight_layout()
    return figure
