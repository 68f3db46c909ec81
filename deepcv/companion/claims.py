"""Claims of the paper, verdicts on them, and the rules that the experiments share to decide them.

A claim about our model is decided twice, by the paper's algorithm and by this package's default; one on an opponent
or a proof once. These are the `COLUMNS`. A rule takes the rows of a recorded run, and the name of ours in it, and
returns a `Verdict`: a status, and evidence written from the numbers behind it. Printed numbers come from
`results/paper/`.

A rule asks one or more questions, the claim's parts. A part holds if the whole 95 % interval of its number is on the
claimed side of a threshold (`above`, `below`, `within`), fails if the whole interval is on the other side, and is open
otherwise, or over fewer than `FEWEST` images. `judged` makes a status of them.

Some thresholds are a matter of taste, and some rules were set after their rows had been seen (`Claim.set_after`). That
partly takes a part that holds, and that an interval across the threshold is undecided, was decided after all rows
recorded until 2026-11-26 had been seen; so were, a day later, wider intervals over few images and of shares of 0
or 1, and another day later what masks decide whose boundary isn't scored.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deepcv.companion.recorded import full_names, paper
from deepcv.methods import get_method, split_name, title
from deepcv.metrics import bootstrap_interval, interval_over_seeds

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TOLERANCE = 0.03
"""Allowed distance from a printed score: half the width of a 95 % interval over the 100 photographs of Weizmann."""


FAILS = 0.5
"""Under noise, a method fails if it keeps less than this share of its F without noise. Without noise it fails if its
mean F is below it."""


LARGE = 0.5
"""A lead is "large" or "great" if it is at least this share of the printed one."""


SMALL_RISE, NEARLY_ALL = 0.1, 0.95
"""An energy counts as falling if it never rises by more than the first share of its total drop, in at least the second
share of the runs."""


SATISFACTORY = 0.75
"""Least mean IoU of a satisfactory partition."""


NOTHING_GAINED = 0.02
"""A choice "does not greatly increase" a score, or is "of little influence", if it changes it by less than this; one
does "as well" as another if it loses less."""


FOLLOWS = 1.0
"""Latent values follow a prior if their Wasserstein distance to it is below this, in its standard deviations."""


FEWEST = 5
"""An interval over fewer images tells nothing: a bootstrap, which can't reach beyond them, is too narrow."""


TRAININGS = "The interval contains the one over images and, of several trainings, the one over them."
"""`Estimate.with_trainings` in words."""


class Status(enum.StrEnum):
    """Status of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    UNDECIDED = "undecided"
    NOT_RUN = "not yet run"


COLUMNS = {
    "paper": "the paper's algorithm",
    "default": "this package's default",
    "others": "opponents and proofs",
}
"""Whose rows decide: a claim about our model stands in the first two columns, any other in the last."""


SINGLE = {"paper": "deep-cv:paper", "default": "deep-cv:default"}
"""The "method:preset" of ours for an image, by column."""


TRAINED = {"paper": "amortized:paper", "default": "amortized:default"}
"""The "method:preset" of ours for a collection, by column."""


OURS = SINGLE["default"]


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

    @classmethod
    def share(cls, values: Series) -> Estimate:
        """A share from a series with one value in [0, 1] per image.

        Where all are 0 or all are 1 a bootstrap has no width; there the interval is that of Clopper and Pearson.
        """
        found = cls.over(values)
        least = 0.025 ** (1 / found.images)
        if found.low == 1:
            return replace(found, low=least)
        return replace(found, high=1 - least) if found.high == 0 else found

    def with_trainings(self, by_seed: Series) -> Estimate:
        """With an interval that also contains the one over trainings, one per seed, if there are several.

        That over images alone says how well these networks are known, not the next one.
        """
        if len(by_seed) < 2:
            return self
        low, high = interval_over_seeds(by_seed)
        return replace(self, low=min(self.low, low), high=max(self.high, high))

    def __neg__(self) -> Estimate:
        return Estimate(-self.mean, -self.high, -self.low, self.images)

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


# -- what an interval tells ------------------------------------------------------------------------------------------


def above(found: Estimate, limit: float = 0.0) -> bool | None:
    """Whether the whole interval is above the limit: False if none of it is, None if it can't tell.

    It can't if the limit is inside, or if it is over fewer than `FEWEST` images.
    """
    if found.images < FEWEST:
        return None
    return True if found.low > limit else False if found.high <= limit else None


def below(found: Estimate, limit: float = 0.0) -> bool | None:
    """Whether the whole interval is below the limit, likewise."""
    return above(-found, -limit)


def within(found: Estimate, limit: float) -> bool | None:
    """Whether the whole interval is nearer to 0 than the limit: False if all of it is farther, None likewise."""
    if found.images < FEWEST:
        return None
    if max(-found.low, found.high) < limit:
        return True
    return False if max(found.low, -found.high) >= limit else None


def judged(*parts: bool | None) -> Status:
    """The status of a claim by its parts, which hold, fail, or are open (None).

    Reproduced: all hold. Partly: some do. Not reproduced: all fail. Undecided: none holds, and some are open.
    """
    if parts and all(parts):
        return Status.REPRODUCED
    if any(parts):
        return Status.PARTLY
    return Status.NOT if parts and None not in parts else Status.UNDECIDED


def in_a_word(part: bool | None) -> str:
    """Whether a part of a claim holds; "no" if the whole interval is on the other side."""
    return {True: "yes", False: "no", None: "undecided"}[part]


PARTS = (
    "Reproduced: with its whole 95 % interval. Not reproduced: with its whole interval on the other side. Undecided: "
    "the interval has both."
)
"""Ends the test of a claim with one part."""


ALL_PARTS = (
    "Reproduced: the whole 95 % interval of each. Partly: of some. Not reproduced: all intervals are on the other "
    "side. Undecided: otherwise."
)
"""Ends the test of a claim with several parts."""


ON_ALL = "Reproduced: it holds on every image and with every seed. Partly: on some."


# -- scores, by image --------------------------------------------------------------------------------------------------

SHORT = {"f_measure": "F", "iou": "mIoU", "accuracy": "Acc"}


def score_of(rows: DataFrame, name: str, score: str) -> Series:
    """The score of "method:preset" on each image, mean over seeds; empty if the rows have none."""
    return rows[full_names(rows) == name].groupby("image")[score].mean()


def lead(rows: DataFrame, ours: str, theirs: str, score: str) -> Estimate:
    """Our score minus theirs, paired over the images that both have."""
    return Estimate.over((score_of(rows, ours, score) - score_of(rows, theirs, score)).dropna())


def against_ours(ours: Series, theirs: Series) -> dict[str, float]:
    """How often our F is higher than theirs, and Wilcoxon's test of the differences.

    Parameters
    ----------
    ours, theirs : pandas.Series
        F by image, seeds averaged; those that both have are paired.

    Returns
    -------
    dict
        `ours wins`, the share of images on which ours is higher, a tie counted half; `p`, two-sided, of the signed-rank
        test without the ties. NaN if no image differs, as in our own row.
    """
    from scipy.stats import wilcoxon

    difference = (ours - theirs).dropna()
    changed = difference[difference != 0]
    if changed.empty:
        return {"ours wins": float("nan"), "p": float("nan")}
    wins = ((difference > 0) + (difference == 0) / 2).mean()
    return {"ours wins": float(wins), "p": float(wilcoxon(changed).pvalue)}


def p_value(value: float) -> str:
    """A p value as text; a dash for NaN."""
    return "–" if value != value else f"{value:.3f}" if value >= 0.001 else "<0.001"


NEAR = (
    f"The mean over images and seeds. Reproduced: at most {TOLERANCE:g} from the printed number. Not reproduced: the "
    "whole 95 % interval is farther, even if ours is higher. Undecided: otherwise, or over fewer than "
    f"{FEWEST} images, or if the interval is wider than {4 * TOLERANCE:g}, twice that over the 100 photographs of "
    "Weizmann."
)


def near(values: Series, printed: float, by_seed: Series | None = None) -> Verdict:
    """Is a score, given by image, and of trainings by seed, too, within `TOLERANCE` of the printed one? See `NEAR`."""
    if values.empty:
        return not_run("this row")
    found = Estimate.over(values)
    if by_seed is not None:
        found = found.with_trainings(by_seed)
    allowed = TOLERANCE + 1e-9
    found = replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))  # Student's t knows no scale
    if found.images < FEWEST:
        status = Status.UNDECIDED
    elif found.low - printed > allowed or printed - found.high > allowed:
        status = Status.NOT
    else:
        sure = abs(found.mean - printed) <= allowed and found.high - found.low <= 4 * allowed
        status = Status.REPRODUCED if sure else Status.UNDECIDED
    evidence = f"{found} over {found.images} images, {found.mean - printed:+.3f} from the printed {printed:g}."
    return Verdict(status, evidence, {"ours": found, "printed": printed})


def not_run(what: str) -> Verdict:
    """The verdict on a claim without recorded rows."""
    return Verdict(Status.NOT_RUN, f"Nothing is recorded for {what}.")


def listed(what: Mapping[str, Estimate], how: str = "+") -> str:
    """Estimates with their names, separated by commas."""
    return ", ".join(f"{name} {each:{how}}" for name, each in what.items())


def named(numbers: Mapping[tuple[str, ...], Estimate]) -> dict[str, Estimate]:
    """Estimates by one name instead of several."""
    return {", ".join(name): each for name, each in numbers.items()}


# -- what was reduced --------------------------------------------------------------------------------------------------

PRINTED = {"size": 300, "width": 64, "levels": 4, "steps": 401}
"""Settings of Algorithms 1 and 2 in the paper, or in its released code where the paper is silent (width, steps); 300
pixels is the longest side of Weizmann's photographs."""


PRINTED_IMAGES = {"table1": 100, "figure10a": 20}
"""Over how many photographs the paper reports, by recorded run; its other figures show a few."""


TRAINING_IMAGES = {"flowers17": 810, "flowers102": 6149}
"""Photographs in the training split. The paper's are the latter."""


_WATCHED = ("size", "width", "levels", "steps", "first_steps", "second_steps", "epochs")


def reduced(rows: DataFrame, names: tuple[str, ...], run: str = "") -> str:
    """A sentence on what is smaller in these rows than in the paper; "" if nothing is.

    Computed from the column `settings` of the rows: of several values of a setting, the most frequent one. What is full
    size stands in `PRINTED` for the authors' presets of our model, and is the preset itself for the others.
    """
    if "settings" not in rows:
        return ""
    found = {title(name): ", ".join(_smaller(rows[full_names(rows) == name], name, run)) for name in names}
    told = "; ".join(f"{name}, {smaller}" for name, smaller in found.items() if smaller)
    return f" Reduced: {told}." if told else ""


def with_decoder(rows: DataFrame, names: tuple[str, ...]) -> str:
    """A sentence if our default, which has no decoder, was given one in these rows; otherwise ""."""
    if OURS not in names or "settings" not in rows:
        return ""
    given = [settings.get("decoder") for settings in rows[full_names(rows) == OURS]["settings"]]
    return " Our default was given a decoder here, which the claim is about." if given and all(given) else ""


def _smaller(rows: DataFrame, name: str, run: str) -> list[str]:
    """ "size 96 of 300" …"""
    if rows.empty:
        return []
    method, preset = split_name(name)
    made = [(_flat(each["settings"].iloc[0]), len(each)) for _, each in rows.groupby("run", sort=False)]
    used = {}
    for key in made[0][0]:
        counts = Counter[Any]()
        for settings, number in made:
            counts[settings.get(key)] += number
        used[key] = counts.most_common(1)[0][0]
    full = _flat(get_method(method).settings(preset))
    if method == "deep-cv" and preset in ("paper", "printed", "released", "gradient"):
        full |= PRINTED | ({} if used["phases"] == 2 else {"size": 160})  # the side of the composites
    smaller = [_of(key, used[key], full.get(key)) for key in _WATCHED if used.get(key) is not None]
    if get_method(method).trained:
        count = used["images"] or TRAINING_IMAGES.get(used["collection"])
        smaller.append(_of("photographs", count, TRAINING_IMAGES["flowers102"]))
    smaller.append(_of("images", rows["image"].nunique(), PRINTED_IMAGES.get(run, 0)))
    seeds = rows["seed"].nunique()
    return [each for each in (*smaller, "one seed" if get_method(method).random and seeds == 1 else "") if each]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of the training beside the others."""
    return {key: value for key, value in settings.items() if key != "training"} | dict(settings.get("training", {}))


def _of(key: str, used: float | None, full: float | None) -> str:
    key = key.replace("_", " ")
    if used is None or (full is not None and used >= full):
        return ""
    return f"{key} {used:g}" if full is None else f"{key} {used:g} of {full:g}"


# -- claims ------------------------------------------------------------------------------------------------------------


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
        How it is tested, and what counts as reproduced, partly, undecided and not reproduced.
    decide : callable
        The rule: makes a `Verdict` from the rows of a recorded run, at least one, and the name of ours in them; from
        the rows alone if `ours` is empty.
    run : str, optional
        The recorded run that decides it; default the one named like the notebook.
    ours : dict of str to str
        By column, the "method:preset" of ours, or the column of the rows that has its seconds. Empty for a claim that
        isn't about our model.
    against : tuple of str
        The "method:preset" of other rows that decide it.
    set_after : bool
        Whether what counts as reproduced was set, or changed, after the rows had been seen.
    printed : str, optional
        The table of `results/paper/` that it is compared with.
    value : str, optional
        For a cell of a table: the number as printed.
    deciding : callable, optional
        From the rows and the "method:preset"s that decide it to those rows that do. Default all.
    """

    id: str
    section: str
    says: str
    test: str
    decide: Callable[..., Verdict]
    run: str = ""
    ours: Mapping[str, str] = field(default_factory=lambda: SINGLE)
    against: tuple[str, ...] = ()
    set_after: bool = False
    printed: str | None = None
    value: str | None = None
    deciding: Callable[[DataFrame, tuple[str, ...]], DataFrame] | None = None

    def __post_init__(self):
        object.__setattr__(self, "run", self.run or self.notebook)

    @property
    def notebook(self) -> str:
        """The notebook that shows it."""
        return self.id.partition("/")[0]

    def verdicts(self, rows: DataFrame) -> dict[str, Verdict]:
        """The verdict in each column in which the claim stands, from the rows of its run, if any."""
        if self.ours:
            return {column: self._verdict(rows, ours) for column, ours in self.ours.items()}
        return {"others": self._verdict(rows)}

    def _verdict(self, rows: DataFrame, *ours: str) -> Verdict:
        if self.deciding and len(rows):
            rows = self.deciding(rows, (*ours, *self.against))
        if rows.empty:
            return not_run(self.run)
        if self.printed and paper(self.printed).empty:
            return not_run("the paper's numbers")
        if not all(name in rows or (full_names(rows) == name).any() for name in ours):
            return not_run(f"{title(*ours)} in {self.run}")
        found = self.decide(rows, *ours)
        if found.status == Status.NOT_RUN:
            return found
        methods = [name for name in ours if name not in rows]
        told = with_decoder(rows, ours) + reduced(rows, (*methods, *self.against), self.run)
        return replace(found, evidence=found.evidence + told)
