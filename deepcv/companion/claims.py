"""The evidence for each claim of the paper: functions that decide one from the rows of a recorded run.

Each takes rows and gives a `Verdict`: a status, and a sentence or two written from the numbers that it was decided on.
Printed numbers come from `results/paper/`. `deepcv.companion.verdict` says which claim each of them is for.

Some thresholds are a matter of taste. Those for Table 1, Figure 7, the package's own settings, the speed and the guided
filter were set when these runs were recorded already, and the part of the printed difference that "greatly improved"
asks for in Table 2; the others before. Table 3's interval was one over images until its rows were there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepcv.companion.recorded import full_names
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TOLERANCE = 0.03
"""How far a score may be from a printed one: half the width of a 95 % interval over the 100 photographs of Weizmann."""


FAILS, HOLDS = 0.5, 0.75
"""Under noise a method fails that keeps less than this share of its F without noise; it holds with at least that. Where
there is no noise it fails with a mean F below the first."""


LARGE = 0.5
"""Ours is better "by a large margin", or "greatly", that has at least this part of the printed difference."""


SMALL_RISE, NEARLY_ALL = 0.1, 0.95
"""An energy falls that never climbs by more than this share of its fall; it has to fall in nearly all runs."""


SATISFACTORY = 0.75
"""A partition with at least this mean IoU."""


NOTHING_GAINED = 0.02
"""A choice "does not greatly increase" a score, or is "of little influence", that changes it by less."""


class Status(enum.StrEnum):
    """What became of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    NOT_RUN = "not yet run"


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95 % bootstrap interval; seeds of an image were averaged first."""

    mean: float
    low: float
    high: float
    images: int

    @classmethod
    def over(cls, values: Series) -> Estimate:
        """Of a series with a value for each image.

        Raises
        ------
        InputError
            When there is none, or NaN among them.
        """
        return cls(float(values.mean()), *bootstrap_interval(values.to_numpy()), len(values))

    @classmethod
    def told(cls, row: Series, images: float) -> Estimate:
        """From `mean`, `low` and `high` of a summary."""
        return cls(float(row["mean"]), float(row["low"]), float(row["high"]), int(images))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def __format__(self, how: str) -> str:
        """`+` writes the signs, for a difference; `%` writes percent, for a share."""
        if how == "+":
            return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        if how == "%":
            return f"{self.mean:.0%} ({self.low:.0%} to {self.high:.0%})"
        return str(self)


@dataclass(frozen=True)
class Verdict:
    """A claim decided: its status, a sentence or two of evidence, and the numbers in it."""

    status: Status
    evidence: str
    numbers: dict[str, Estimate | float] = field(default_factory=dict)


def judged(reproduced: bool, partly: bool) -> Status:
    """The first of the two that holds, or else not reproduced."""
    return Status.REPRODUCED if reproduced else Status.PARTLY if partly else Status.NOT


# -- scores, by image --------------------------------------------------------------------------------------------------

OURS = "deep-cv:default"


SHORT = {"f_measure": "F", "iou": "mIoU", "accuracy": "Acc"}


def score_of(rows: DataFrame, name: str, score: str) -> Series:
    """A method's score of each image, mean over seeds; empty when the rows have no such "method:preset"."""
    return rows[full_names(rows) == name].groupby("image")[score].mean()


def lead(rows: DataFrame, ours: str, theirs: str, score: str) -> Estimate:
    """How much higher our score is, paired over the images that both have."""
    return Estimate.over((score_of(rows, ours, score) - score_of(rows, theirs, score)).dropna())


def near(values: Series, printed: float) -> Verdict:
    """Is a score the printed one? By its mean, and partly if its interval alone comes as near as `TOLERANCE`."""
    if values.empty:
        return not_run("this row")
    found = Estimate.over(values)
    allowed = TOLERANCE + 1e-9
    status = judged(
        abs(found.mean - printed) <= allowed, found.low - allowed <= printed <= found.high + allowed
    )  # fmt: skip
    evidence = f"{found} over {found.images} images, {found.mean - printed:+.3f} from the printed {printed:g}."
    return Verdict(status, evidence, {"ours": found, "printed": printed})


def not_run(what: str) -> Verdict:
    return Verdict(Status.NOT_RUN, f"Nothing is recorded of {what}.")


def ahead(leads: Iterable[Estimate], *, complete: bool = True) -> Status:
    """Reproduced: every lead above 0 with its interval. Partly: with its mean, or some opponent is lacking."""
    leads = list(leads)
    return judged(complete and all(each.low > 0 for each in leads), all(each.mean > 0 for each in leads))


def gained(changes: Iterable[Estimate], sign: int = 1) -> Status:
    """Reproduced: every change has this sign with its whole interval. Partly: one has it in the mean."""
    changes = list(changes)
    whole = [min(sign * each.low, sign * each.high) > 0 for each in changes]
    return judged(all(whole), any(sign * each.mean > 0 for each in changes))


def listed(what: dict[str, Estimate], how: str = "+") -> str:
    return ", ".join(f"{name} {each:{how}}" for name, each in what.items())


def named(numbers: dict[tuple[str, ...], Estimate]) -> dict[str, Estimate]:
    return {", ".join(name): each for name, each in numbers.items()}


NEAR = (
    f"The mean over images and seeds. Reproduced: at most {TOLERANCE:g} from the printed number. Partly: farther, but "
    "the 95 % interval comes as near as that. Not reproduced: otherwise, also when ours is the higher one."
)


AHEAD = (
    "Reproduced: the lead over each of them is above 0 with its whole 95 % interval. Partly: above 0 in the mean, or "
    "one of them is not yet run."
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
        How it is tested, and what counts as reproduced, as partly and as not reproduced.
    decide : callable
        Takes the rows of the recorded run that decides it, at least one.
    run : str, optional
        That run; default the one of the notebook's name.
    printed : str, optional
        The table of `results/paper/` whose numbers it is held against.
    value : str, optional
        The number that it is, as printed.
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
        """Name of the notebook that shows it."""
        return self.id.partition("/")[0]
