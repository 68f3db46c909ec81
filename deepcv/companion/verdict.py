"""The verdict on the paper's claims, from recorded rows: as text, as JSON, for the book.

A claim about our model has two verdicts, by the paper's algorithm and by this package's default; any other claim has
one, in the last of the `COLUMNS`.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deepcv.companion import timings
from deepcv.companion.claims import COLUMNS, TOLERANCE, Claim, Status, Verdict
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.pictures import compact
from deepcv.companion.recorded import full_run, recorded

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    Decided = list[tuple[Claim, dict[str, Verdict]]]


def claims() -> list[Claim]:
    """The claims made in words, in the paper's order."""
    return [claim for experiment in EXPERIMENTS.values() for claim in experiment.claims]


def cells() -> list[Claim]:
    """A claim for each score printed in Tables 1 to 3."""
    return [claim for experiment in EXPERIMENTS.values() for claim in experiment.cells()]


MARKS = {
    Status.REPRODUCED: "✔",
    Status.PARTLY: "◐",
    Status.NOT: "✘",
    Status.UNDECIDED: "?",
    Status.NOT_RUN: "○",
}


COLOURS = {
    Status.REPRODUCED: "#029e73",
    Status.PARTLY: "#de8f05",
    Status.NOT: "#d55e00",
    Status.UNDECIDED: "#0173b2",
    Status.NOT_RUN: "#949494",
}
"""Safe for colour-blind readers; the status is always written beside them."""


SET = {
    False: "What counts as reproduced was set before its rows were seen.",
    True: "What counts as reproduced was set, or changed, after rows had been seen.",
}
"""By `Claim.set_after`."""


def rows_of(run: str) -> DataFrame:
    """The rows of a recorded run, in its best profile, with their `settings`; empty if nothing is recorded."""
    if run in timings.NAMES:
        return timings.recorded(run)[0]
    rows = full_run(run)
    made = {key: each["settings"] for key, each in recorded(run)[1].get("runs", {}).items()}
    return rows.assign(settings=[made[key] for key in rows["run"]])


def decide(wanted: Iterable[Claim] | None = None) -> Decided:
    """Decide claims.

    Parameters
    ----------
    wanted : iterable of Claim, optional
        Default all: those in words, then the printed numbers.

    Returns
    -------
    list of (Claim, dict of str to Verdict)
        With each claim its verdicts, by the key of the column in `COLUMNS`.
    """
    rows = functools.cache(rows_of)
    wanted = (*claims(), *cells()) if wanted is None else wanted
    return [(claim, claim.verdicts(rows(claim.run))) for claim in wanted]


def counted(decided: Decided, column: str) -> str:
    """The number of claims of each status in a column: "7 reproduced, 2 partly …"."""
    statuses = [verdicts[column].status for _, verdicts in decided if column in verdicts]
    return ", ".join(f"{statuses.count(status)} {status}" for status in Status)


def counts(decided: Mapping[str, Decided]) -> DataFrame:
    """The number of claims of each status: a row per column and kind of claim, which the keys name."""
    import pandas as pd

    found = {
        (title, kind): {
            marked(status): sum(verdicts[column].status == status for _, verdicts in of_kind if column in verdicts)
            for status in Status
        }
        for column, title in COLUMNS.items()
        for kind, of_kind in decided.items()
    }
    return pd.DataFrame.from_dict(found, orient="index")


def marked(status: Status) -> str:
    """A status and its mark."""
    return f"{MARKS[status]} {status}"


def _said(claim: Claim, verdicts: dict[str, Verdict]) -> list[tuple[str, Verdict, str]]:
    """By column its key, the verdict, and who decides: "" if the claim isn't about our model."""
    return [(column, verdict, COLUMNS[column] if claim.ours else "") for column, verdict in verdicts.items()]


def as_text(decided: Decided, width: int = 100) -> str:
    """Counts by column, then claim, status and evidence of each, wrapped to `width` columns."""
    lines = []
    for column, title in COLUMNS.items():
        lines += textwrap.wrap(f"{counted(decided, column)}: {title}", width, subsequent_indent="  ")
    longest = max(map(len, Status)) + 4
    indent = " " * longest
    for claim, verdicts in decided:
        lines.append("")
        text = f"{claim.id}: {claim.says} (paper, {claim.section})"
        lines += textwrap.wrap(text, width, subsequent_indent="  ")
        for _, verdict, who in _said(claim, verdicts):
            text = f"{who[0].upper()}{who[1:]}: {verdict.evidence}" if who else verdict.evidence
            lead = marked(verdict.status).ljust(longest)
            lines += textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=indent)
    return "\n".join(lines)


def as_json(decided: Decided) -> str:
    """A JSON list of objects: the fields of each `Claim`, and by column `status`, `evidence`, `numbers`, or null."""
    shown = ("id", "section", "says", "test", "set_after", "notebook", "run")
    found = [
        {name: getattr(claim, name) for name in shown}
        | {column: dataclasses.asdict(verdicts[column]) if column in verdicts else None for column in COLUMNS}
        for claim, verdicts in decided
    ]
    return json.dumps(found, indent=1, ensure_ascii=False)


def as_html(decided: Decided) -> str:
    """An HTML block per claim: the claim, status and evidence by column, how it is decided, and a link to its page.

    The two columns stand side by side, or on a narrow screen one below the other.
    """
    return "\n".join(_block(claim, verdicts) for claim, verdicts in decided)


def _block(claim: Claim, verdicts: dict[str, Verdict]) -> str:
    say = html.escape
    columns = "".join(
        f'<div style="border-left: 0.4em solid {COLOURS[verdict.status]}; padding-left: 0.6em">'
        f"<b>{marked(verdict.status)}</b>{f' · {say(who)}' if who else ''}"
        f'<div style="font-size: 0.85em; overflow-wrap: anywhere">{say(verdict.evidence)}</div></div>'
        for _, verdict, who in _said(claim, verdicts)
    )
    return (
        f'<div id="{anchor(claim)}" style="margin: 1.8em 0">'
        f'<h3 style="margin: 0; font-size: 1em; font-weight: normal; line-height: inherit">{say(claim.says)} '
        f'<span style="font-size: 0.85em">paper, {say(claim.section)} · {_link(claim)}</span></h3>'
        '<div style="display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17em, 100%), 1fr)); '
        f'gap: 0.6em 1.2em; margin: 0.4em 0">{columns}</div>'
        f'<details style="font-size: 0.85em"><summary>how it is decided</summary>{say(claim.test)} '
        f"{SET[claim.set_after]}</details></div>"
    )


def anchor(claim: Claim) -> str:
    """Where a claim's block stands on the page."""
    return claim.id.replace("/", "-")


def _link(claim: Claim) -> str:
    """A link to the page of the claim's notebook."""
    name = html.escape(claim.notebook)
    return f'<a href="{name}.html">{name}</a>'


def overview(decided: Decided):
    """A styled table of the claims in words, by column the status, which links to the claim's block (`as_html`).

    Claims of one wording, decided by different runs, share a row.
    """
    rows: dict[str, dict[str, str]] = {}
    for claim, verdicts in decided:
        says, link = html.escape(claim.says), f'<a href="#{anchor(claim)}">{{}}</a>'
        given = {COLUMNS[column]: link.format(marked(verdict.status)) for column, verdict in verdicts.items()}
        rows[says] = {**rows.get(says, dict.fromkeys(COLUMNS.values(), "")), **given}
    return _styled(rows, COLUMNS.values())


def table(decided: Decided):
    """A styled table of the printed numbers: a row per claim of `cells`, by column our number and the status."""
    rows = {
        f'<a href="{claim.notebook}.html">{html.escape(claim.says)}</a>': {
            "printed": claim.value,
            **{title: _cell(verdicts.get(column)) for column, title in COLUMNS.items()},
        }
        for claim, verdicts in decided
    }
    return _styled(rows, ["printed", *COLUMNS.values()])


def _styled(rows: Mapping[str, Mapping[str, Any]], columns: Iterable[str]):
    """A table whose cells with a status have its colour at their left edge."""
    import pandas as pd

    def coloured_edge(cell: str) -> str:
        here = [colour for status, colour in COLOURS.items() if marked(status) in cell]
        return f"border-left: 0.4em solid {here[0]}" if here else ""

    shown = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    coloured = shown.style.map(coloured_edge, subset=list(COLUMNS.values()))
    return compact(coloured, "verdict").set_table_styles([{"selector": "td", "props": "text-align: left"}])


def _cell(verdict: Verdict | None) -> str:
    """The status, and below it our number with its interval."""
    if verdict is None:
        return ""
    return f"{marked(verdict.status)}<br>{verdict.numbers.get('ours', '–')}"


def plot(decided: Decided) -> Figure:
    """Printed scores (diamonds; bars show the tolerance) and ours, with 95 % intervals.

    Dots are decided by the paper's algorithm, squares by this package's default, triangles are opponents. At the right
    edge stand the marks of the columns.

    Parameters
    ----------
    decided : list of (Claim, dict of str to Verdict)
        Those of `cells`; the ones without a number are left out.
    """
    import matplotlib.pyplot as plt

    shown = [
        (claim, verdicts)
        for claim, verdicts in reversed(decided)
        if any("ours" in verdict.numbers for verdict in verdicts.values())
    ]
    figure, axis = plt.subplots(figsize=(8, 0.36 * len(shown) + 1.2))
    for row, (claim, verdicts) in enumerate(shown):
        printed, last = float(claim.value), not row
        axis.barh(row, 2 * TOLERANCE, 0.8, left=printed - TOLERANCE, color="0.88", zorder=1)
        axis.plot(printed, row, "D", color="white", mec="0.25", ms=6, zorder=2, label="the paper" if last else "")
        for shape, column, shift in zip("os^", COLUMNS, (0.15, -0.15, 0), strict=True):
            if column not in verdicts or "ours" not in verdicts[column].numbers:
                continue
            ours: Any = verdicts[column].numbers["ours"]
            error = [[ours.mean - ours.low], [ours.high - ours.mean]]
            colour = COLOURS[verdicts[column].status]
            axis.errorbar(
                ours.mean, row + shift * (len(verdicts) > 1), xerr=error, fmt=shape, color=colour, ms=5, lw=1.2,
                zorder=3,
            )  # fmt: skip
        marks = " ".join(MARKS[verdict.status] for verdict in verdicts.values())
        axis.annotate(marks, (1.01, row), xycoords=("axes fraction", "data"), va="center")
    axis.set(yticks=range(len(shown)), yticklabels=[claim.says for claim, _ in shown], xlabel="score")
    axis.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axis.grid(axis="x", alpha=0.25)
    if shown:
        for shape, title in zip("os^", (COLUMNS["paper"], COLUMNS["default"], "opponents"), strict=True):
            axis.plot([], [], shape, color="0.3", ms=5, label=title)
        axis.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    figure.tight_layout()
    return figure
