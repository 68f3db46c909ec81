"""The evidence for each claim of the paper: functions that decide one from the rows of a recorded run.

Each takes rows and gives a `Verdict`: a status, and a sentence or two written from the numbers that it was decided on.
Printed numbers come from `results/paper/`. `deepcv.claims` says which claim each of them is for.

Some thresholds are a matter of taste. Those for Table 1, Figure 7, the package's own settings, the speed and the guided
filter were set when these runs were recorded already, and the part of the printed difference that "greatly improved"
asks for in Table 2; the others before. Table 3's interval was one over images until its rows were there.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .metrics import bootstrap_interval, interval_over_seeds
from .results import full_names, paper

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
        return _not_run("this row")
    found = Estimate.over(values)
    allowed = TOLERANCE + 1e-9
    status = judged(
        abs(found.mean - printed) <= allowed, found.low - allowed <= printed <= found.high + allowed
    )  # fmt: skip
    evidence = f"{found} over {found.images} images, {found.mean - printed:+.3f} from the printed {printed:g}."
    return Verdict(status, evidence, {"ours": found, "printed": printed})


def _not_run(what: str) -> Verdict:
    return Verdict(Status.NOT_RUN, f"Nothing is recorded of {what}.")


def ahead(leads: Iterable[Estimate], *, complete: bool = True) -> Status:
    """Reproduced: every lead above 0 with its interval. Partly: with its mean, or some opponent is lacking."""
    leads = list(leads)
    return judged(complete and all(each.low > 0 for each in leads), all(each.mean > 0 for each in leads))


def _listed(what: dict[str, Estimate], how: str = "+") -> str:
    return ", ".join(f"{name} {each:{how}}" for name, each in what.items())


# -- Figure 1 ----------------------------------------------------------------------------------------------------------

CHAN_VESE = {
    "chan-vese:default": "from the saliency map",
    "chan-vese:exact": "means and mask minimised exactly in turn",
}


def _cases(rows: DataFrame) -> dict[str, DataFrame]:
    """The rows of the two cases of Figure 1."""
    from .experiments import figure01

    of = rows["image"].map(figure01.case)
    return {case: rows[of == case] for case in figure01.CASES.values() if (of == case).any()}


def chan_vese_fails(rows: DataFrame) -> Verdict:
    """Does Chan-Vese fail in both cases, from the saliency map, or at least with exact steps?"""
    found = {
        (how, case): Estimate.over(score_of(group, name, "f_measure"))
        for name, how in CHAN_VESE.items()
        for case, group in _cases(rows).items()
    }
    failed = {how: all(each.mean < FAILS for (of, _), each in found.items() if of == how) for how in CHAN_VESE.values()}
    status = judged(failed["from the saliency map"], any(each.mean < FAILS for each in found.values()))
    evidence = "; ".join(
        f"{how}: " + _listed({case: each for (of, case), each in found.items() if of == how}, "")
        for how in CHAN_VESE.values()
    )
    return Verdict(status, f"F of Chan-Vese {evidence}.", _named(found))


def better_in_both_cases(rows: DataFrame) -> Verdict:
    """Is our F above Chan-Vese's in both cases?"""
    leads = {case: lead(group, OURS, "chan-vese:default", "f_measure") for case, group in _cases(rows).items()}
    ours = {f"F, {case}": Estimate.over(score_of(group, OURS, "f_measure")) for case, group in _cases(rows).items()}
    status = judged(all(each.low > 0 for each in leads.values()), any(each.mean > 0 for each in leads.values()))
    return Verdict(status, f"F {_listed(ours, '').replace('F, ', '')}; lead {_listed(leads)}.", leads | ours)


def simplified(rows: DataFrame) -> Verdict:
    """Do the distributions of the true regions overlap less in the latent image, in both cases?"""
    from .experiments import figure01, figure08

    table = figure01.summary(rows).xs(figure08.QUANTITIES["overlap"], level=1)
    changes, evidence = _to_latent(table[table.index.isin(figure01.CASES.values())])
    status = judged(all(each.high < 0 for each in changes.values()), any(each.mean < 0 for each in changes.values()))
    return Verdict(status, f"Overlap, {evidence}.", changes)


# -- Table 1 and Figure 3 ----------------------------------------------------------------------------------------------


def _opponents(rows: DataFrame) -> tuple[dict[str, str], str]:
    """Titles of the paper's opponents that the rows have, and a sentence about those they lack."""
    from .experiments import table1

    names = [name for name in table1.PAPERS_METHODS if name != OURS]
    there = {name: table1.title(name) for name in names if len(score_of(rows, name, "f_measure"))}
    lacking = [table1.title(name) for name in names if name not in there]
    return there, f" Not yet run: {', '.join(lacking)}." if lacking else ""


def highest(rows: DataFrame) -> Verdict:
    """Has our model the highest F and mIoU among the methods that the paper compares?"""
    from .experiments import table1

    rows = table1.best_count(rows)
    opponents, lacking = _opponents(rows)
    scores = {score: Estimate.over(score_of(rows, OURS, score)) for score in ("f_measure", "iou")}
    leads = {score: {title: lead(rows, OURS, name, score) for name, title in opponents.items()} for score in scores}
    every = {f"{SHORT[score]} over {title}": each for score, by in leads.items() for title, each in by.items()}
    evidence = "; ".join(f"{SHORT[score]} {scores[score]}, lead over {_listed(by)}" for score, by in leads.items())
    compared = {name.partition(":")[0] for name in table1.PAPERS_METHODS}
    others = rows[~rows["method"].isin(compared)]
    if len(others):
        best = ":".join(others.groupby(["method", "preset"])["f_measure"].mean().idxmax())
        every[f"F over {table1.title(best)}"] = lead(rows, OURS, best, "f_measure")
        evidence += f". Not in the paper: F over {table1.title(best)} {every[f'F over {table1.title(best)}']:+}"
    status = ahead([each for by in leads.values() for each in by.values()], complete=not lacking)
    how = "".join(_reduced(rows, name) for name in opponents)
    return Verdict(status, f"{evidence}.{lacking}{how}", every)


def better_than_chan_vese(rows: DataFrame) -> Verdict:
    """Is our lead in F over Chan-Vese a large part of the printed one?"""
    printed = _printed_scores("f_measure")
    margin = printed["deep-cv"] - printed["chan-vese"]
    found = lead(rows, OURS, "chan-vese:default", "f_measure")
    status = judged(found.low > 0 and found.mean >= LARGE * margin, found.low > 0)
    evidence = f"F is {found:+} higher over {found.images} images; the printed difference is {margin:+.2f}."
    return Verdict(status, evidence, {"lead": found, "printed": margin})


def more_accurate_pictures(rows: DataFrame) -> Verdict:
    """On how many photographs is our mask the better one?"""
    from .experiments import table1

    rows = table1.best_count(rows)
    opponents, lacking = _opponents(rows)
    ours = score_of(rows, OURS, "f_measure")
    shares = {}
    for name, title in opponents.items():
        difference = (ours - score_of(rows, name, "f_measure")).dropna()
        shares[title] = Estimate.over(np.sign(difference) / 2 + 0.5)
    how = "".join(_reduced(rows, name) for name in opponents)
    status = judged(
        not lacking and all(each.low > 0.5 for each in shares.values()),
        all(each.mean > 0.5 for each in shares.values()),
    )
    return Verdict(status, f"Share of photographs with the better F: {_listed(shares, '%')}.{lacking}{how}", shares)


def papers_settings(rows: DataFrame) -> Verdict:
    """Do the settings that the paper prints, or those that were released, lead to the printed F?"""

    printed = _printed_scores("f_measure")["deep-cv"]
    found = {preset: near(score_of(rows, f"deep-cv:{preset}", "f_measure"), printed) for preset in _PRESETS}
    found = {preset: each for preset, each in found.items() if each.numbers}
    if not found:
        return _not_run("the authors' settings")
    statuses = [each.status for each in found.values()]
    status = judged(
        "paper" in found and found["paper"].status == Status.REPRODUCED,
        Status.REPRODUCED in statuses or Status.PARTLY in statuses,
    )
    how = "".join(_reduced(rows, f"deep-cv:{preset}") for preset in found)
    evidence = " ".join(f"With {_PRESETS[preset]}, F {each.evidence}" for preset, each in found.items())
    return Verdict(status, evidence + how, {preset: each.numbers["ours"] for preset, each in found.items()})


_PRESETS = {"paper": "the settings of the paper", "released": "those of the released code"}


def _reduced(rows: DataFrame, name: str) -> str:
    """How "method:preset" was reduced in Table 1, a sentence; nothing where it wasn't."""
    from .experiments import table1

    slow = table1.PROFILES[rows["profile"].iloc[0]].slow
    changes = slow[name].changes if name in slow else {}
    told = ", ".join(f"{setting} {value}" for setting, value in changes.items())
    return f" {table1.title(name)} is reduced: {told}." if told else ""


def _printed_scores(score: str) -> dict[str, float]:
    """Of Table 1, by the paper's method."""
    return paper("table1").set_index("method")[score].to_dict()


def table1_cell(rows: DataFrame, *, name: str, score: str, printed: float) -> Verdict:
    """Is a score of Table 1 the printed one?"""
    from .experiments import table1

    verdict = near(score_of(table1.best_count(rows), name, score), printed)
    return replace(verdict, evidence=verdict.evidence + (_reduced(rows, name) if verdict.numbers else ""))


# -- Figure 4 ----------------------------------------------------------------------------------------------------------


def _partitions(rows: DataFrame) -> dict[str, Series]:
    """Mean IoU of each image by method, of normalized cuts with the best count."""
    from .experiments import figure04

    rows = figure04.best_count(rows)
    return {name: group.groupby("image")["mean_iou_matched"].mean() for name, group in rows.groupby("name", sort=False)}


def better_partitions(rows: DataFrame) -> Verdict:
    """Is our mean IoU above that of normalized cuts and of multi-phase Chan-Vese, from each start or from one?"""
    from .experiments import figure04
    from .experiments.table1 import title

    found = _partitions(rows)
    leads = {
        method: {
            title(name): Estimate.over((found[OURS] - theirs).dropna())
            for name, theirs in found.items()
            if name.startswith(method)
        }
        for method in ("normalized-cuts:best count", "vese-chan:")
    }
    every = {name: each for by in leads.values() for name, each in by.items()}
    status = judged(
        all(each.low > 0 for each in every.values()),
        all(any(each.mean > 0 for each in by.values()) for by in leads.values()),
    )
    ours = Estimate.over(found[OURS])
    beside = ""
    if figure04.ALGORITHM_2 in found:
        theirs = Estimate.over(found[figure04.ALGORITHM_2])
        beside = f" Not judged: {title(figure04.ALGORITHM_2)} from a random start, reduced, has {theirs}."
    return Verdict(status, f"Mean IoU {ours}, lead over {_listed(every)}.{beside}", every | {"ours": ours})


def satisfactory_partitions(rows: DataFrame) -> Verdict:
    """Is our mean IoU high enough on every image?"""
    ours = _partitions(rows)[OURS]
    share = Estimate.over((ours >= SATISFACTORY).astype(float))
    evidence = (
        f"Share of images with a mean IoU of at least {SATISFACTORY:g}: {share:%}; the lowest is {ours.min():.3f}."
    )
    return Verdict(judged(share.mean == 1, share.mean >= 0.5), evidence, {"share": share, "lowest": float(ours.min())})


# -- Tables 2 and 3 ----------------------------------------------------------------------------------------------------

FLOWERS_SPLITS, FLOWERS_SCORES = ("train", "test"), ("accuracy", "iou")


def _of_split(rows: DataFrame, split: str) -> DataFrame:
    return rows[rows["dataset"].str.endswith(f"-{split}")]


def flowers_cell(rows: DataFrame, *, name: str, split: str, score: str, printed: float) -> Verdict:
    """Is a score of Table 2 or 3, with the orientation oracle that the paper's scorer has, the printed one?

    On another data set than the paper's a score can't tell; it is given nevertheless.
    """
    of_split = _of_split(rows, split)
    name = name if ":" in name else f"{name}:default"
    found = _on_flowers(near(score_of(of_split, name, f"{score}_oracle"), printed), of_split)
    papers = of_split["dataset"].str.startswith("flowers102-").all()
    return found if papers else replace(found, status=Status.NOT_RUN)


def _on_flowers(verdict: Verdict, rows: DataFrame) -> Verdict:
    """The verdict, with a word on the data set where it isn't the paper's."""
    others = sorted(name for name in rows["dataset"].unique() if not name.startswith("flowers102-"))
    if not others or verdict.status == Status.NOT_RUN:
        return verdict
    return replace(
        verdict, evidence=f"{verdict.evidence} On {', '.join(others)}; the paper's are Flowers-102 at 128 pixels."
    )


def flowers_ahead(rows: DataFrame, *, theirs: str, greatly: bool = False) -> Verdict:
    """Is the trained network above another method, in both scores and both splits, and if asked for `greatly`?"""
    leads = _flowers_leads(rows, "amortized:default", theirs)
    if not leads:
        return _not_run(theirs)
    complete = len(leads) == len(FLOWERS_SPLITS) * len(FLOWERS_SCORES)
    evidence = f"Lead in {_listed(leads)}." + ("" if complete else " Not yet run: the other split.")
    status = ahead(leads.values(), complete=complete)
    if greatly:
        table = paper("table2").set_index(["method", "split"])
        printed = {
            f"{split} {SHORT[score]}": table.loc[("amortized", split), score] - table.loc[(theirs, split), score]
            for split in FLOWERS_SPLITS
            for score in FLOWERS_SCORES
        }
        evidence += " Printed: " + ", ".join(f"{name} {printed[name]:+.3f}" for name in leads) + "."
        if status == Status.REPRODUCED and any(each.mean < LARGE * printed[name] for name, each in leads.items()):
            status = Status.PARTLY
    beside = _flowers_leads(rows, "amortized:paper", theirs)
    if beside:
        evidence += f" Not judged: with the paper's settings, after a short training, {_listed(beside)}."
    return _on_flowers(Verdict(status, evidence, leads), rows)


def _flowers_leads(rows: DataFrame, ours: str, theirs: str) -> dict[str, Estimate]:
    """How far a network is ahead, by split and score; what isn't recorded is left out."""
    leads = {}
    for split in FLOWERS_SPLITS:
        of_split = _of_split(rows, split)
        if len(score_of(of_split, f"{theirs}:default", "iou")) and len(score_of(of_split, ours, "iou")):
            for score in FLOWERS_SCORES:
                leads[f"{split} {SHORT[score]}"] = lead(of_split, ours, f"{theirs}:default", score)
    return leads


def flowers_faster(rows: DataFrame) -> Verdict:
    """How many times as long as the trained network does Chan-Vese take?"""
    printed = paper("seconds").set_index("method")["seconds"]
    printed = float(printed["chan-vese"] / printed["amortized"])
    timed = ["network_128", "chan_vese_128"]
    if not set(timed) <= set(rows) or rows[timed].isna().all(axis=None):
        return _not_run("seconds at 128×128")
    ours, theirs = (float(each) for each in rows.loc[rows["preset"] == "default", timed].median())
    ratio = theirs / ours
    evidence = f"On one core an image takes the network {ours:.3g} s, Chan-Vese {theirs:.3g} s, {ratio:.3g} times as "
    evidence += f"long; printed {printed:.3g} times."
    return Verdict(judged(ratio >= printed / 2, ratio > 1), evidence, {"ratio": ratio, "printed": printed})


def constraints_matter_little(rows: DataFrame) -> Verdict:
    """Do AuI and CRI change the mIoU of the test images by next to nothing?"""
    test = _of_split(rows, "test")
    by_seed = test.pivot_table("iou", "seed", "preset")
    changes = {}
    for name in ("AuI", "CRI", "AuI+CRI"):
        if {name, "none"} <= set(by_seed):
            change = (by_seed[name] - by_seed["none"]).dropna()
            changes[name] = Estimate(float(change.mean()), *interval_over_seeds(change), test["image"].nunique())
    if not changes:
        return _not_run("the constraints")
    whole = [max(-each.low, each.high) < NOTHING_GAINED for each in changes.values()]
    mean = [abs(each.mean) < NOTHING_GAINED for each in changes.values()]
    excluded = [max(each.low, -each.high) >= NOTHING_GAINED for each in changes.values()]
    seeds = f"over {len(by_seed)} seed{'s' if len(by_seed) > 1 else ''}"
    evidence = f"The mIoU changes, {seeds}: {_listed(changes)}."
    evidence += (
        "" if all(mean) or any(excluded) else " The intervals are too wide to exclude a change of next to nothing."
    )
    return _on_flowers(Verdict(judged(all(whole), all(mean)), evidence, changes), test)


def constraints_prevent_collapse(rows: DataFrame) -> Verdict:
    """Does training collapse without the constraints, and not with them? `collapsed` is 1 in the rows of its seed."""
    if "collapsed" not in rows:
        return _not_run("collapses")
    share = rows.groupby(["preset", "seed"])["collapsed"].max().groupby("preset").mean()
    if not {"none", "AuI+CRI"} <= set(share.index):
        return _not_run("the constraints")
    status = judged(share["AuI+CRI"] == 0 < share["none"], share["AuI+CRI"] < share["none"])
    evidence = "Share of seeds that collapsed: " + ", ".join(f"{name} {part:.0%}" for name, part in share.items()) + "."
    if share["none"] == 0 == share["AuI+CRI"]:
        status = Status.NOT_RUN
        evidence += " Without constraints none did, so there was nothing to prevent."
    return Verdict(status, evidence, {name: float(each) for name, each in share.items()})


# -- settings turned alone: a learned variance, Figures 6 and 10a -----------------------------------------------------


def _changes(table: DataFrame) -> dict[str, Estimate]:
    """What each variant of a summary changes of F."""
    return {name: Estimate.told(row["ΔF"], row["run", "images"]) for name, row in table.iterrows()}


def little_gained(gains: Iterable[Estimate]) -> Status:
    """Reproduced: every gain below `NOTHING_GAINED`, with its interval. Partly: in the mean."""
    gains = list(gains)
    return judged(all(each.high < NOTHING_GAINED for each in gains), all(each.mean < NOTHING_GAINED for each in gains))


def unit_variance(rows: DataFrame) -> Verdict:
    """Does a learned variance add nothing to a variance of 1?"""
    from .experiments import choices

    gain = _changes(choices.summary(rows)).get("learned variance")
    if gain is None:
        return _not_run("a learned variance")
    evidence = f"With a learned variance F changes by {gain:+} over {gain.images} images."
    return Verdict(little_gained([gain]), evidence, {"gain": gain})


def guided_filter(rows: DataFrame) -> Verdict:
    """Does the guided filter at the end of the paper's loop add to F?"""
    from .experiments import ambiguities

    changes = _changes(ambiguities.summary(rows))
    loss = next((each for (_, name), each in changes.items() if name == ambiguities.UNFILTERED), None)
    if loss is None:
        return _not_run("the paper's loop without the filter")
    gain = Estimate(-loss.mean, -loss.high, -loss.low, loss.images)
    evidence = f"In the paper's loop, reduced, the filter changes F by {gain:+} over {gain.images} images."
    return Verdict(judged(gain.low > 0, gain.mean > 0), evidence, {"gain": gain})


def more_samples(rows: DataFrame) -> Verdict:
    """Do more samples of η add nothing to one, in each solver?"""
    from .experiments import figure10a

    gains = _changes(figure10a.summary(rows).drop(index=figure10a.REFERENCE, level=1))
    return Verdict(little_gained(gains.values()), f"F changes {_by_solver(gains)}.", _named(gains))


def stable_architectures(rows: DataFrame) -> Verdict:
    """Is F the same with each of the paper's architectures, in each solver?"""
    from .experiments import figure06

    table = figure06.summary(rows)
    names = table.index.get_level_values(1)
    changes = _changes(table[names.isin(figure06.PAPERS) & (names != figure06.REFERENCE)])
    whole = [max(-each.low, each.high) <= TOLERANCE for each in changes.values()]
    means = dict.fromkeys(table.index.get_level_values(0), 0.0)
    for (solver, _), each in changes.items():
        means[solver] = max(means[solver], abs(each.mean))
    spread = figure06.spread(rows)
    between = "; ".join(
        f"{solver}: {row['mean F', 'lowest']:.3f} to {row['mean F', 'highest']:.3f}, a single run's deviation over "
        f"architectures {row['over architectures', 'deviation']:.3f}, over seeds {row['over seeds', 'deviation']:.3f}"
        for solver, row in spread.iterrows()
    )
    evidence = (
        f"Mean F of an architecture, {between}. Against the {figure06.REFERENCE} F changes {_by_solver(changes)}."
    )
    return Verdict(judged(all(whole), min(means.values()) <= TOLERANCE), evidence, _named(changes))


def _by_solver(changes: dict[tuple[str, str], Estimate]) -> str:
    solvers = dict.fromkeys(solver for solver, _ in changes)
    return "; ".join(
        f"in {solver}: " + _listed({name: each for (of, name), each in changes.items() if of == solver})
        for solver in solvers
    )


def _named(numbers: dict[tuple[str, ...], Estimate]) -> dict[str, Estimate]:
    return {", ".join(name): each for name, each in numbers.items()}


# -- Figure 8 ----------------------------------------------------------------------------------------------------------


def contrast_magnified(rows: DataFrame) -> Verdict:
    """Is the contrast of the true regions greater in the latent image, with every setting that was run?"""
    return _latent(rows, "contrast", more=True)


def more_gaussian(rows: DataFrame) -> Verdict:
    """Are the true regions nearer to Gaussians in the latent image, with every setting that was run?"""
    return _latent(rows, "distance", more=False)


def _latent(rows: DataFrame, quantity: str, *, more: bool) -> Verdict:
    from .experiments import figure08

    label = figure08.QUANTITIES[quantity]
    changes, evidence = _to_latent(figure08.summary(rows).xs(("truth", label), level=(1, 2)))
    sign = 1 if more else -1
    whole = [min(sign * each.low, sign * each.high) > 0 for each in changes.values()]
    mean = [sign * each.mean > 0 for each in changes.values()]
    return Verdict(judged(all(whole), any(mean)), f"{label[0].upper()}{label[1:]}, {evidence}.", changes)


def _to_latent(table: DataFrame) -> tuple[dict[str, Estimate], str]:
    """What changes from the grey values to the latent image, by row of a summary, and how that is told."""
    changes = {name: Estimate.told(row.rename({"change": "mean"}), row["images"]) for name, row in table.iterrows()}
    told = "; ".join(
        f"{name}: {row['grey']:.2f} in the grey values, {row['latent']:.2f} in the latent image, "
        f"change {changes[name]:+} over {changes[name].images} images"
        for name, row in table.iterrows()
    )
    return changes, told


# -- Figure 9 ----------------------------------------------------------------------------------------------------------


def dissipation(rows: DataFrame) -> Verdict:
    """Does the energy, averaged over some steps, fall throughout, in each loop?"""
    falls, changes = {}, {}
    for loop, group in _loops(rows):
        by_image = group.assign(
            falls=group["rise_mean"] <= SMALL_RISE, change=group["energy_last"] - group["energy_1"]
        ).groupby("image")
        falls[loop], changes[loop] = (Estimate.over(by_image[name].mean()) for name in ("falls", "change"))
    status = judged(
        all(each.mean >= NEARLY_ALL for each in falls.values()), all(each.high < 0 for each in changes.values())
    )
    evidence = (
        f"Share of runs in which it never climbs by more than {SMALL_RISE:.0%} of its fall: {_listed(falls, '%')}. "
        f"From the first step to the last it changes, per pixel: {_listed(changes)}."
    )
    numbers = {f"falls, {loop}": each for loop, each in falls.items()}
    return Verdict(status, evidence, numbers | {f"change, {loop}": each for loop, each in changes.items()})


def improving(rows: DataFrame) -> Verdict:
    """Is F higher at the end than at the start, in each loop?"""
    gains = {
        loop: Estimate.over((group["f_last"] - group["f_0"]).groupby(group["image"]).mean())
        for loop, group in _loops(rows)
    }
    status = judged(all(each.low > 0 for each in gains.values()), any(each.mean > 0 for each in gains.values()))
    return Verdict(status, f"From the first mask to the last F changes: {_listed(gains)}.", gains)


def _loops(rows: DataFrame) -> list[tuple[str, DataFrame]]:
    from .experiments.table1 import title

    names = full_names(rows)
    return [(title(name), rows[names == name]) for name in names.unique()]


# -- Figure 10b --------------------------------------------------------------------------------------------------------


def less_time(rows: DataFrame) -> Verdict:
    """Does Double-DIP take longer at every size, with our settings and with the paper's?"""
    from .experiments import figure10b
    from .experiments.table1 import title

    table = figure10b.ratios(rows).drop(columns="paper, 128")
    table.index = [title(figure10b.CONTENDERS[column]) for column in ("ours", "ours_paper")]
    slower = [(row.dropna() > 1).all() for _, row in table.iterrows()]
    evidence = "; ".join(
        f"in those of {name} {', '.join(f'{ratio:.3g} at {side}' for side, ratio in row.dropna().items())}"
        for name, row in table.iterrows()
    )
    numbers = {f"{name}, {side}": float(ratio) for name, row in table.iterrows() for side, ratio in row.items()}
    return Verdict(judged(all(slower), any(slower)), f"Double-DIP's seconds {evidence} pixels a side.", numbers)


def grows_less(rows: DataFrame) -> Verdict:
    """Is the exponent of our time in the number of pixels the smaller one, with our settings and with the paper's?"""
    from .experiments import figure10b
    from .experiments.table1 import title

    table = figure10b.summary(rows)
    exponents = {
        column: Estimate(*table.loc[title(name), ["exponent", "low", "high"]], images=rows["image"].nunique())
        for column, name in figure10b.CONTENDERS.items()
    }
    theirs = exponents["double_dip"]
    ours = [exponents[column] for column in ("ours", "ours_paper")]
    status = judged(all(each.high < theirs.low for each in ours), any(each.mean < theirs.mean for each in ours))
    named = {title(figure10b.CONTENDERS[column]): each for column, each in exponents.items()}
    return Verdict(status, f"Exponent of the number of pixels: {_listed(named, '')}.", named)


def printed_ratio(rows: DataFrame) -> Verdict:
    """Does Double-DIP take as many times our time at 128×128 as printed, to a factor of 2?"""
    from .experiments import figure10b
    from .experiments.table1 import title

    printed = paper("seconds").set_index("method")["seconds"]
    printed = printed["double-dip"] / printed["deep-cv"]
    at_128 = rows[rows["preset"] == "128"]
    if at_128.empty:
        return _not_run("128×128 pixels")
    found = {column: float((at_128["double_dip"] / at_128[column]).median()) for column in ("ours_paper", "ours")}
    status = judged(printed / 2 <= found["ours_paper"] <= 2 * printed, max(found.values()) >= printed / 2)
    evidence = ", ".join(
        f"{ratio:.3g} times that of {title(figure10b.CONTENDERS[each])}" for each, ratio in found.items()
    )
    evidence = f"At 128×128 Double-DIP's time is {evidence}; printed {printed:.3g} times."
    return Verdict(status, evidence, found | {"printed": float(printed)})


# -- section 3, in numbers ---------------------------------------------------------------------------------------------


def elbo(rows: DataFrame) -> Verdict:
    """Proposition 3.1: is the closed form the evidence lower bound?"""
    return _statements(rows, "elbo", ("z",))


def dataset_elbo(rows: DataFrame) -> Verdict:
    """Proposition 7.4: is the loss (4.9) an evidence lower bound, for masks of 0 and 1 and for those between?"""
    found = _statements(rows, "dataset", ("z_binary", "z_between"), ("z_printed", "z_entropy"))
    if found.status != Status.NOT:
        return found
    binary = _statements(rows, "dataset", ("z_binary",)).status
    return replace(found, status=Status.PARTLY if binary == Status.REPRODUCED else found.status)


def shrinkage(rows: DataFrame) -> Verdict:
    """Proposition 3.2: is the formula the minimiser?"""
    return _statements(rows, "shrinkage", ("deviation", "excess"))


def convergence(rows: DataFrame) -> Verdict:
    """Theorem 3.3 under its assumptions: does the energy fall as (7.8) says, and has the path a finite length?"""
    return _statements(rows, "descent", ("falls", "decrease_c0", "tail"))


def relative_error(rows: DataFrame) -> Verdict:
    """(7.9) with its printed constant."""
    return _statements(rows, "descent", ("relative",), ("relative_c1",))


def _statements(rows: DataFrame, check: str, numbers: tuple[str, ...], beside: tuple[str, ...] = ()) -> Verdict:
    """Do these statements of `theory` hold on every image and seed? What stands beside them is told, not judged."""
    from .experiments import theory

    table = theory.summary(rows)
    named = {each.number: each.says for each in theory.STATEMENTS if each.check == check}
    judged_on = table[table.index.isin([named[number] for number in numbers])]
    if judged_on.empty:
        return _not_run(check)
    told = table.loc[table.index.isin([named[number] for number in (*numbers, *beside)])]
    evidence = "; ".join(
        f"{says}: {row['worst']:.3g} at worst, must be {row['must be']}, holds in {row['holds']} of {row['of']}"
        for says, row in told.iterrows()
    )
    holds = judged_on["holds"] == judged_on["of"]
    numbers = {says: float(row["worst"]) for says, row in told.iterrows()}
    return Verdict(judged(holds.all(), (judged_on["holds"] > 0).all()), f"{evidence}.", numbers)


# -- Figure 7 ----------------------------------------------------------------------------------------------------------

COMPARED_UNDER_NOISE = ("chan-vese", "statistical", "double-dip")


def kept_under_noise(rows: DataFrame) -> DataFrame:
    """The share of the F without noise that is left, by method and clipping (rows) and σ (columns)."""
    from .experiments import figure07

    means = figure07.by_image(rows).pivot_table("f_measure", ["name", "clipping"], "sigma")
    return means.drop(columns=0).div(means[0], axis=0)


def opponents_fail(rows: DataFrame) -> Verdict:
    """Does every compared method fail at every level of noise?"""
    from .experiments import table1

    kept = kept_under_noise(rows)
    methods = kept.index.get_level_values("name").str.partition(":").get_level_values(0)
    kept = kept[methods.isin(COMPARED_UNDER_NOISE)]
    lacking = [name for name in COMPARED_UNDER_NOISE if name not in methods]
    failed = kept < FAILS
    status = judged(not lacking and failed.all(axis=None), failed.any(axis=None))
    least = kept.min(axis=1).groupby("name").min()
    evidence = "Share of the F without noise that is left, the least over all σ and both kinds of clipping: "
    evidence += ", ".join(f"{table1.title(name)} {share:.0%}" for name, share in least.items()) + "."
    evidence += f" Not yet run: {', '.join(map(table1.title, lacking))}." if lacking else ""
    return Verdict(status, evidence, {table1.title(name): float(share) for name, share in least.items()})


def ours_holds(rows: DataFrame) -> Verdict:
    """Does our model keep most of its F at every level of noise?"""
    from .experiments import figure07

    kept = kept_under_noise(rows).loc[OURS]
    worst = {clipping: float(shares.min()) for clipping, shares in kept.iterrows()}
    by = figure07.by_image(rows)
    by = by[(by["name"] == OURS) & (by["sigma"] == by["sigma"].max())]
    scores = {clipping: Estimate.over(group["f_measure"]) for clipping, group in by.groupby("clipping")}
    evidence = f"At σ = {by['sigma'].max()} F is {_listed(scores, '')}; of the F without noise at least " + ", ".join(
        f"{share:.0%} ({clipping})" for clipping, share in worst.items()
    )
    shares = {f"kept, {clipping}": share for clipping, share in worst.items()}
    return Verdict(
        judged(min(worst.values()) >= HOLDS, max(worst.values()) >= HOLDS), f"{evidence} is left.", shares | scores
    )
