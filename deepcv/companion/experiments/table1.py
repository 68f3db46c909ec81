"""Table 1: segment coverage on the Weizmann database, our model against its opponents.

The paper's claim: the deep Chan-Vese model has the highest F-measure and mIoU of all compared methods, from the same
saliency hint [34].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import (
    _NEAR,
    LARGE,
    OURS,
    SHORT,
    Claim,
    Estimate,
    Status,
    Verdict,
    _listed,
    _not_run,
    ahead,
    judged,
    lead,
    near,
    score_of,
)
from deepcv.companion.experiments import experiment as experiments
from deepcv.companion.experiments.experiment import CHOSEN_ON, SLOW, Slow, Variant, complete, grid, interval, variant
from deepcv.companion.pictures import compact
from deepcv.companion.recorded import full_run, paper
from deepcv.companion.store import Item
from deepcv.data import load_dataset
from deepcv.methods import title

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# -- Table 1 and Figure 3 ----------------------------------------------------------------------------------------------


def _opponents(rows: DataFrame) -> tuple[dict[str, str], str]:
    """Titles of the paper's opponents that the rows have, and a sentence about those they lack."""
    from deepcv import methods
    from deepcv.companion.experiments import table1

    names = [name for name in table1.PAPERS_METHODS if name != OURS]
    there = {name: methods.title(name) for name in names if len(score_of(rows, name, "f_measure"))}
    lacking = [methods.title(name) for name in names if name not in there]
    return there, f" Not yet run: {', '.join(lacking)}." if lacking else ""


def highest(rows: DataFrame) -> Verdict:
    """Has our model the highest F and mIoU among the methods that the paper compares?"""
    from deepcv import methods
    from deepcv.companion.experiments import table1

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
        every[f"F over {methods.title(best)}"] = lead(rows, OURS, best, "f_measure")
        evidence += f". Not in the paper: F over {methods.title(best)} {every[f'F over {methods.title(best)}']:+}"
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
    from deepcv import methods
    from deepcv.companion.experiments import table1

    slow = table1.PROFILES[rows["profile"].iloc[0]].slow
    changes = slow[name].changes if name in slow else {}
    told = ", ".join(f"{setting} {value}" for setting, value in changes.items())
    return f" {methods.title(name)} is reduced: {told}." if told else ""


def _printed_scores(score: str) -> dict[str, float]:
    """Of Table 1, by the paper's method."""
    return paper("table1").set_index("method")[score].to_dict()


def table1_cell(rows: DataFrame, *, name: str, score: str, printed: float) -> Verdict:
    """Is a score of Table 1 the printed one?"""
    from deepcv.companion.experiments import table1

    verdict = near(score_of(table1.best_count(rows), name, score), printed)
    return replace(verdict, evidence=verdict.evidence + (_reduced(rows, name) if verdict.numbers else ""))


def _table1() -> list[Claim]:
    from deepcv.companion.experiments import table1
    from deepcv.methods import title

    names = {theirs: mine for mine, theirs in table1.PAPERS_METHODS.items()}
    return [
        Claim(
            id=f"table1/{row['method']}/{score}",
            section="5.2, Table 1",
            says=f"Table 1: {SHORT[score]} of {title(names[row['method']])}",
            test=_NEAR,
            decide=partial(table1_cell, name=names[row["method"]], score=score, printed=row[score]),
            printed="table1",
            value=f"{row[score]:.2f}",
        )
        for row in paper("table1").to_dict("records")
        for score in ("f_measure", "iou")
    ]


PAPERS_METHODS = {
    "deep-cv:default": "deep-cv",
    "chan-vese:default": "chan-vese",
    "statistical:default": "statistical",
    "normalized-cuts:regions": "normalized-cuts",
    "double-dip:otsu": "double-dip",
}
"""Which row of the paper's table stands beside which of ours."""


REGIONS = range(2, 11)
"""How many regions normalized cuts is asked for: the count with the highest mean F over the data set is shown, as in
the paper, each image scored by its best single region."""


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise.

    Attributes
    ----------
    dataset : str
    methods : tuple of str
        "method" or "method:preset". Our model works at the size of its settings, the opponents at the image's own.
    slow : dict of str to Slow
        Which of the methods come after the others.
    """

    dataset: str
    methods: tuple[str, ...]
    slow: dict[str, Slow]


_COMPARED = (
    *("deep-cv", "chan-vese", "chan-vese:exact", "statistical", "normalized-cuts", "normalized-cuts:regions"),
    *("iem", "grabcut", "saliency"),
)


_SHORT_DIP = {"size": 64, "first_steps": 200, "second_steps": 200, "ramp": 100}


_QUICK = dict.fromkeys(("double-dip:otsu", "double-dip", "double-dip:textbook-filter"), _SHORT_DIP)


_EVERYTHING = (*_COMPARED, *SLOW)


PROFILES = {
    "quick": Profile("samples", _COMPARED, {name: Slow(_QUICK.get(name, how.changes)) for name, how in SLOW.items()}),
    "cpu": Profile("weizmann", _EVERYTHING, SLOW),
    "paper": Profile("weizmann", _EVERYTHING, dict.fromkeys(SLOW, Slow())),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; besides what every experiment takes:

    Attributes
    ----------
    methods : tuple of str
        "method" or "method:preset", as `deepcv methods` lists them.

    Raises
    ------
    InputError
        For an unknown method or preset, and as `deepcv.companion.experiments.experiment.Settings` does.
    """

    profiles = PROFILES

    methods: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in self.methods or ():
            variant(name)


def _variants(name: str, size: int | None, reduced: dict[str, Any]) -> list[Variant]:
    """What is run under a name: with many regions every count of them, otherwise the preset itself."""
    found = variant(name, size, **reduced)
    if found.preset != "regions":
        return [found]
    return [Variant(found.method, f"{count} regions", found.settings | {"regions": count}) for count in REGIONS]


def of_counts(rows: DataFrame) -> Series:
    """Which rows are of normalized cuts that was asked for a number of regions."""
    return rows["preset"].str.fullmatch(r"\d+ regions")


def best_count(rows: DataFrame) -> DataFrame:
    """The rows with many regions reduced to those of the count with the best mean F, as the preset "regions"."""
    import pandas as pd

    several = of_counts(rows)
    if not several.any():
        return rows
    best = rows[several].groupby("preset")["f_measure"].mean().idxmax()
    return pd.concat([rows[~several], rows[rows["preset"] == best].assign(preset="regions")])


def by_count(rows: DataFrame) -> DataFrame:
    """F and mIoU of normalized cuts' best region, means over images, a row for each number of regions asked for."""
    table = rows[of_counts(rows)].groupby("preset")[["f_measure", "iou"]].mean().set_axis(["F", "mIoU"], axis=1)
    return table.loc[sorted(table.index, key=lambda name: int(name.split()[0]))].rename_axis(None)


def parts(methods: Sequence[str], slow: dict[str, Slow], size: int | None) -> list[tuple[int | None, list[Variant]]]:
    """What to run, in its order: first the fast methods, then each slow one; each part with its number of images."""
    fast = [each for name in methods if name not in slow for each in _variants(name, size, {})]
    later = [(slow[name].n_images, _variants(name, size, slow[name].changes)) for name in methods if name in slow]
    return [(None, fast), *later]


def items(settings: Settings) -> list[Item]:
    """All results that the table needs: within a seed first what runs on every image, then what is slow."""
    profile = settings.defaults
    samples = list(load_dataset(settings.dataset or profile.dataset)[: settings.n_images])
    wanted = parts(settings.methods or profile.methods, profile.slow, settings.size)
    return grid("table1", settings, *((samples[:count], variants) for count, variants in wanted))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks and return the rows of the table.

    Parameters
    ----------
    settings : Settings
    workers : int or concurrent.futures.Executor, optional
        As in `deepcv.parallel.run`.
    progress : bool

    Returns
    -------
    pandas.DataFrame over `deepcv.companion.store.COLUMNS`, a row per image, method, preset and seed.
    """
    return complete(items(settings), settings, workers=workers, progress=progress, description="Table 1")


def summary(rows: DataFrame) -> DataFrame:
    """Means over images, a row per method and preset, best F-measure first.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by "method:preset", with `F`, `F interval` and `mIoU`, `mIoU interval` (95 %, bootstrap over images,
        seeds of an image averaged first), `F oracle` (the better of mask and complement), `s/image` (median, without
        the hint), `images`, `seeds`.
    """
    import pandas as pd

    table = {}
    for (method, preset), group in best_count(rows).groupby(["method", "preset"], sort=False):
        by_image = group.groupby("image")
        f, overlap = by_image["f_measure"].mean(), by_image["iou"].mean()
        table[f"{method}:{preset}"] = {
            "F": f.mean(),
            "F interval": interval(f),
            "mIoU": overlap.mean(),
            "mIoU interval": interval(overlap),
            "F oracle": group["f_measure_oracle"].mean(),
            "s/image": group["seconds"].median(),
            "images": len(by_image),
            "seeds": group["seed"].nunique(),
        }
    columns = ["F", "F interval", "mIoU", "mIoU interval", "F oracle", "s/image", "images", "seeds"]
    result = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    return result.sort_values("F", ascending=False)


def compared(rows: DataFrame) -> DataFrame:
    """The table with its three groups of columns side by side: this run, our recorded full run, the paper.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`.

    Returns
    -------
    pandas.DataFrame
        Indexed by the methods' titles; columns are pairs of (group, quantity), NaN or empty where a group has no
        such row.
    """
    import pandas as pd

    ours, full = summary(rows), summary(full_run("table1"))
    printed = paper("table1").set_index("method")[["f_measure", "iou"]].astype(float)
    printed.columns = ["F", "mIoU"]
    printed.index = [
        {theirs: mine for mine, theirs in PAPERS_METHODS.items()}.get(name, name) for name in printed.index
    ]
    shown = ["F", "F interval", "mIoU", "s/image", "images"]
    groups = {"this run": ours[shown[:-1]], "recorded run": full[shown], "paper": printed}
    table = pd.concat(groups, axis=1)
    order = [*ours.index, *(name for name in full.index if name not in ours.index)]
    table = table.reindex([*order, *(name for name in table.index if name not in order)])
    table.index = [title(name) for name in table.index]
    return table


def style(table: DataFrame):
    """`compared`'s or `halves`' table for the eye: a dash where there is nothing, what the paper prints as printed."""
    digits = {column: "{:.3f}" for column in table if column[1] in ("F", "mIoU")}
    digits |= {column: "{:.2f}" for column in table if column[1] == "s/image"}
    digits |= {column: "{:.0f}" for column in table if column[1] == "images"}
    digits |= {column: "{:.2f}" for column in table if column[0].startswith("paper")}
    return compact(table.style.format(digits, na_rep="–"), "table1")


def halves(rows: DataFrame) -> DataFrame:
    """`summary` of the images that settings were chosen on, and of the others, side by side.

    Only rows of Weizmann have the two halves.
    """
    import pandas as pd

    rows = best_count(rows[rows["dataset"] == "weizmann"])
    names = sorted(rows["image"].unique())
    chosen = rows["image"].isin(names[:CHOSEN_ON])
    shown = ["F", "F interval", "mIoU", "images"]
    parts = {
        f"first {CHOSEN_ON}, settings chosen here": summary(rows[chosen])[shown],
        "the others": summary(rows[~chosen])[shown],
    }
    table = pd.concat(parts, axis=1)
    table.index = [title(name) for name in table.index]
    return table
