"""Claims of the paper, verdicts on them, and the rules that the experiments share to decide them.

A rule takes the rows of a recorded run and returns a `Verdict`: a status, and evidence written from the numbers behind
it. Printed numbers come from `results/paper/`.

Some thresholds are a matter of taste. Those for Table 1, Figure 7, the package's own settings, the speed, the guided
filter and "greatly improved" in Table 2 were set after their runs had been recorded; the others before. Table 3's
interval was taken over images until its rows were recorded.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepcv.companion.recorded import full_names
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TOLERANCE = 0.03
"""Allowed distance from a printed score: half the width of a 95 % interval over the 100 photographs of Weizmann."""


FAILS, HOLDS = 0.5, 0.75
"""Under noise, a method fails if it keeps less than the first share of its F without noise, and holds if it keeps at
least the second. Without noise it fails if its mean F is below the first."""


LARGE = 0.5
"""A lead is "large" or "great" if it is at least this share of the printed one."""


SMALL_RISE, NEARLY_ALL = 0.1, 0.95
"""An energy counts as falling if it never rises by more than the first share of its total drop, in at least the second
share of the runs."""


SATISFACTORY = 0.75
"""Least mean IoU of a satisfactory partition."""


NOTHING_GAINED = 0.02
"""A choice "does not greatly increase" a score, or is "of little influence", if it changes it by less than this."""


class Status(enum.StrEnum):
    """Status of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    NOT_RUN = "not yet run"


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95 % bootstrap interval; seeds of an image are averaged first."""

    mean: float
    low: float
    high: float
    images: int

    @classmethod
    def over(cls, values: Series) -> Estimate:
        """The mean of a series with one value per image.

        Raises
        ------
        InputError
            If the series is empty or has a NaN.
        """
        return cls(float(values.mean()), *bootstrap_interval(values.to_numpy()), len(values))

    @classmethod
    def from_row(cls, row: Series, images: float) -> Estimate:
        """From `mean`, `low` and `high` in a row of a summary."""
        return cls(float(row["mean"]), float(row["low"]), float(row["high"]), int(images))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def __format__(self, how: str) -> str:
        """Format `+` writes signs, for a difference; `%` writes percent, for a share."""
        if how == "+":
            return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        if how == "%":
            return f"{self.mean:.0%} ({self.low:.0%} to {self.high:.0%})"
        return str(self)


@dataclass(frozen=True)
class Verdict:
    """The decision on a claim: its status, a sentence or two of evidence, and the numbers in it."""

    status: Status
    evidence: str
    numbers: Mapping[str, Estimate | float] = field(default_factory=dict)


def judged(reproduced: bool, partly: bool) -> Status:
    """Reproduced if the first holds, partly if only the second does; otherwise not reproduced."""
    return Status.REPRODUCED if reproduced else Status.PARTLY if partly else Status.NOT


# -- scores, by image --------------------------------------------------------------------------------------------------

OURS = "deep-cv:default"


SHORT = {"f_measure": "F", "iou": "mIoU", "accuracy": "Acc"}


def score_of(rows: DataFrame, name: str, score: str) -> Series:
    """The score of "method:preset" on each image, mean over seeds; empty if the rows have none."""
    return rows[full_names(rows) == name].groupby("image")[score].mean()


def lead(rows: DataFrame, ours: str, theirs: str, score: str) -> Estimate:
    """Our score minus theirs, paired over the images that both have."""
    return Estimate.over((score_of(rows, ours, score) - score_of(rows, theirs, score)).dropna())


def near(values: Series, printed: float) -> Verdict:
    """Is a score within `TOLERANCE` of the printed one? Partly if only its interval is."""
    if values.empty:
        return not_run("this row")
    found = Estimate.over(values)
    allowed = TOLERANCE + 1e-9
    status = judged(abs(found.mean - printed) <= allowed, found.low - allowed <= printed <= found.high + allowed)
    evidence = f"{found} over {found.images} images, {found.mean - printed:+.3f} from the printed {printed:g}."
    return Verdict(status, evidence, {"ours": found, "printed": printed})


def not_run(what: str) -> Verdict:
    """The verdict on a claim without recorded rows."""
    return Verdict(Status.NOT_RUN, f"Nothing is recorded for {what}.")


def ahead(leads: Iterable[Estimate], *, complete: bool = True) -> Status:
    """Reproduced: the whole interval of every lead is above 0. Partly: every mean is, or an opponent is missing."""
    leads = list(leads)
    return judged(complete and all(each.low > 0 for each in leads), all(each.mean > 0 for each in leads))


def gained(changes: Iterable[Estimate], sign: int = 1) -> Status:
    """Reproduced: the whole interval of every change has this sign. Partly: the mean of one has."""
    changes = list(changes)
    whole = [min(sign * each.low, sign * each.high) > 0 for each in changes]
    return judged(all(whole), any(sign * each.mean > 0 for each in changes))


def listed(what: dict[str, Estimate], how: str = "+") -> str:
    """Estimates with their names, separated by commas."""
    return ", ".join(f"{name} {each:{how}}" for name, each in what.items())


def named(numbers: dict[tuple[str, ...], Estimate]) -> dict[str, Estimate]:
    """Estimates by one name instead of several."""
    return {", ".join(name): each for name, each in numbers.items()}


NEAR = (
    f"The mean over images and seeds. Reproduced: at most {TOLERANCE:g} from the printed number. Partly: only "
    "the 95 % interval comes that close. Not reproduced: otherwise, even if ours is higher."
)


AHEAD = (
    "Reproduced: the whole 95 % interval of the lead over each is above 0. Partly: each mean is, or one of "
    "them is not yet run."
)


ON_ALL = "Reproduced: it holds on every image and with every seed. Partly: on some."


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes
    ----------
    id : str
        "table1/best" …: the notebook that shows it, and a short name.
    section : str
        Where the paper makes it.
    says : str
        The claim in our words.
    test : str
        How it is tested, and what counts as reproduced, partly and not reproduced.
    decide : callable
        From the rows of a recorded run, at least one, makes a `Verdict`.
    run : str, optional
        The recorded run that decides it; default the one named like the notebook.
    printed : str, optional
        The table of `results/paper/` that it is compared with.
    value : str, optional
        For a cell of a table: the number as printed.
    """

    id: str
    section: str
    says: str
    test: str
    decide: Callable[[DataFrame], Verdict]
    run: str = ""
    printed: str | None = None
    value: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "run", self.run or self.notebook)

    @property
    def notebook(self) -> str:
        """The notebook that shows it."""
        return self.id.partition("/")[0]
