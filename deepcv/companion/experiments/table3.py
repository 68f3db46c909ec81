"""Table 3: augmentation invariance (AuI) and conservation of region information (CRI), with and without.

The paper's claims (section 5.4): both constraints have little influence on the scores; they prevent collapse, a
segmentation whose foreground or background is empty. So no training is restarted here: one that collapses stays
so and is counted, and the last epoch that all networks have reached is scored, where the paper takes the best on the
validation set. Training starts at random as in the paper; `Settings.starts` adds the package's start, from a hint.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepcv.companion.claims import (
    ALL_PARTS,
    NOTHING_GAINED,
    TRAINED,
    Claim,
    Estimate,
    Status,
    Verdict,
    judged,
    listed,
    not_run,
    within,
)
from deepcv.companion.experiments import flowers, table2
from deepcv.companion.experiments.experiment import Experiment, Group
from deepcv.companion.experiments.flowers import SPLITS, CollectionSettings, network, on_flowers, papers_first, scored
from deepcv.companion.pictures import COLOURS
from deepcv.companion.recorded import full_names, full_run
from deepcv.metrics import interval_over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

CONSTRAINTS = {
    "none": {"invariance": False, "conservation": False},
    "AuI": {"invariance": True, "conservation": False},
    "CRI": {"invariance": False, "conservation": True},
    "AuI+CRI": {"invariance": True, "conservation": True},
}
"""The rows of the paper's table; the condition `constraints`."""

TITLES = {"none": "neither", "AuI": "AuI", "CRI": "CRI", "AuI+CRI": "AuI and CRI"}

STARTS = {"paper": "", "default": ", from a hint"}
"""The presets of Algorithm 3 that training starts with, and how titles of their rows end."""

# -- what is run -------------------------------------------------------------------------------------------------------

STAGES = {"cpu": (8,)}
"""Epochs, by profile, after which networks are scored besides the last: all twelve trainings to epoch 50 take a core
most of a day."""

CHANGES = {profile: networks["amortized:paper"] for profile, networks in table2.NETWORKS.items()}
"""Of the paper's settings, by profile: with both constraints it is the network of Table 2."""


@dataclass(frozen=True)
class Settings(CollectionSettings):
    """What to run; besides the fields of `CollectionSettings`:

    Attributes
    ----------
    constraints : tuple of str
        Keys of `CONSTRAINTS`.
    starts : tuple of str
        "paper": U at random, the paper's settings; "default": held to a hint, the package's.
    """

    profiles = {
        name: {"constraints": tuple(CONSTRAINTS), "starts": ("paper",), **fields}
        for name, fields in {
            "quick": {"dataset": "flowerlike", "size": 32, "n_train": 16, "n_images": 4},
            "cpu": {"dataset": "flowers102", "size": 64},
            "paper": {"dataset": "flowers102", "size": 128, "starts": tuple(STARTS)},
        }.items()
    }

    constraints: tuple[Literal[*CONSTRAINTS], ...] | None = None  # type: ignore[valid-type]  # keys of a table
    starts: tuple[Literal[*STARTS], ...] | None = None  # type: ignore[valid-type]  # keys of a table


def groups(settings: Settings) -> list[Group]:
    """Each network after its last epoch, and after its `STAGES`, on the images of both splits."""
    variants = []
    for start in settings.starts:
        for name in settings.constraints:
            changes = {**CHANGES[settings.profile], **CONSTRAINTS[name], "restarts": 0}
            made = partial(network, settings, f"amortized:{start}", changes, constraints=name)
            last = made("last")
            epochs = last.settings["training"]["epochs"]
            variants += [made(each) for each in STAGES.get(settings.profile, ()) if each < epochs] + [last]
    return [Group(scored(settings, split), variants) for split in SPLITS]


def deciding(rows: DataFrame, names: Collection[str]) -> DataFrame:
    """Of the rows of one collection those of the `latest` epoch; as `flowers.papers_first`."""
    return latest(papers_first(rows, names))


def latest(rows: DataFrame) -> DataFrame:
    """The rows of each start after the last epoch that all its networks have reached, by their `chosen`."""
    kept = np.zeros(len(rows), dtype=bool)
    for places in rows.groupby(["dataset", "preset"]).indices.values():
        group = rows.iloc[places]
        reached = [{*each.unique()} - {"validation"} for _, each in group.groupby(["constraints", "seed"])["chosen"]]
        common = set.intersection(*reached)
        last = max(common, key=lambda each: math.inf if each == "last" else int(each), default="")
        kept[places] = group["chosen"] == last
    return rows[kept]


def by_collection(rows: DataFrame) -> dict[str, DataFrame]:
    """The `latest` rows of each collection, by its name and the epoch; the paper's first."""
    found = {title: latest(each) for title, each in flowers.by_collection(rows).items()}
    return {f"{title}, after epoch {each['epoch'].max():.0f}": each for title, each in found.items() if len(each)}


# -- what is shown -----------------------------------------------------------------------------------------------------


def titles_of(rows: DataFrame) -> Series:
    """Title of each row in the tables: its constraints and start."""
    return rows["constraints"].map(TITLES) + rows["preset"].map(STARTS)


def compared(rows: DataFrame) -> DataFrame:
    """The table with its groups of columns: this run, our recorded run, the paper; as `table2.compared`."""
    ours = latest(rows)
    full = {title: flowers.means(each, titles_of(each)) for title, each in by_collection(full_run("table3")).items()}
    printed = flowers.printed("table3", "constraints", TITLES)
    table = flowers.side_by_side(flowers.means(ours, titles_of(ours)), full, printed)
    order = [title + end for end in STARTS.values() for title in TITLES.values()]
    return table.loc[[title for title in order if title in table.index]]


def summary(rows: DataFrame) -> DataFrame:
    """What each constraint changes on the test images, a row per start and constraints.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`, or of a recorded run, of one collection. The `latest` count.

    Returns
    -------
    pandas.DataFrame
        `Acc`, `mIoU` as decided, `mIoU oracle`, `by seed` (lowest and highest mIoU), `mIoU change` against training
        without constraints from the same start and seed, with its 95 % `interval` over seeds (Student's t);
        `collapsed`, how many of the `seeds`.
    """
    import pandas as pd

    rows = latest(rows)
    means, table = flowers.means(rows, titles_of(rows)), {}
    tested = rows[rows["split"] == "test"]
    by_seed = tested.assign(title=titles_of(tested)).pivot_table("iou", "seed", "title", sort=False)
    for (start, title), group in tested.groupby(["preset", titles_of(tested)], sort=False):
        reference = TITLES["none"] + STARTS[start]
        row = means.loc[title]
        changed = title != reference and reference in by_seed
        change = (by_seed[title] - by_seed[reference]).dropna() if changed else None
        table[title] = {
            "Acc": row["test Acc"],
            "mIoU": row["test mIoU"],
            "mIoU oracle": row["test mIoU oracle"],
            "by seed": row["by seed"],
            "mIoU change": change.mean() if changed else float("nan"),
            "interval": _interval(change) if changed else "",
            "collapsed": int(group.groupby("seed")["collapsed"].max().sum()),
            "seeds": int(row["seeds"]),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def _interval(change: Series) -> str:
    low, high = interval_over_seeds(change)
    return f"{low:+.3f} to {high:+.3f}" if math.isfinite(low) else "one seed"


def plot(rows: DataFrame, title: str = "") -> Figure:
    """The test mIoU of every seed, as decided and with the oracle; a cross where its training collapsed."""
    import matplotlib.pyplot as plt

    rows = latest(rows)
    tested = rows[rows["split"] == "test"]
    by_seed = tested.groupby([titles_of(tested).rename("title"), "seed"], sort=False)
    means = by_seed[["iou", "iou_oracle", "collapsed"]].mean().reset_index()
    titles = list(dict.fromkeys(means["title"]))
    figure, axis = plt.subplots(figsize=(1.6 + 1.3 * len(titles), 3.4))
    colours = COLOURS[:2]
    for shift, (score, label, marker), colour in zip(
        (-0.12, 0.12), (("iou", "as decided", "o"), ("iou_oracle", "with the oracle", "D")), colours, strict=True
    ):
        places = means["title"].map(titles.index) + shift
        for collapsed, shape in ((0, marker), (1, "x")):
            here = means["collapsed"] == collapsed
            shown = None if collapsed else label
            axis.scatter(places[here], means[score][here], color=colour, marker=shape, s=32, alpha=0.8, label=shown)
    axis.set_xticks(range(len(titles)), titles)
    axis.set(ylabel="mIoU of the test images, one point per seed", ylim=(0, 1), title=title)
    axis.grid(axis="y", alpha=0.25)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def finding(rows: DataFrame) -> str:
    """What each constraint changes, and how many trainings collapsed."""
    rows = deciding(rows, [TRAINED["paper"]])
    found = constraints_matter_little(rows, TRAINED["paper"])
    collapsed = constraints_prevent_collapse(rows, TRAINED["paper"])
    changes: Any = found.numbers
    seeds = rows.groupby("constraints")["seed"].nunique()
    tested = rows.loc[rows["split"] == "test", "image"].nunique()
    return (
        f"Change of the mIoU on {tested} test photographs of {flowers.NAMES[rows['dataset'].iloc[0]]} against neither "
        f"constraint, over {_range(seeds)} seeds: {listed(changes)}. {collapsed.evidence}"
    )


# -- what the paper claims ---------------------------------------------------------------------------------------------


def cells() -> list[Claim]:
    """A claim for each score that the table prints."""
    titles = {name: "ours, " + title.replace("neither", "no constraint") for name, title in TITLES.items()}
    return flowers.cells_of("table3", "constraints", titles, ours=tuple(TITLES), deciding=deciding)


def _range(counts: Collection[int]) -> str:
    """ "3", or "2 to 3"."""
    return " to ".join(str(count) for count in sorted({min(counts), max(counts)}))


def constraints_matter_little(rows: DataFrame, ours: str) -> Verdict:
    """Do AuI and CRI change the mIoU of the test images by next to nothing?"""
    test = rows[(rows["split"] == "test") & (full_names(rows) == ours)]
    by_seed = test.pivot_table("iou", "seed", "constraints")
    changes, counts = {}, set[int]()
    for name in ("AuI", "CRI", "AuI+CRI"):
        if {name, "none"} <= set(by_seed) and len(change := (by_seed[name] - by_seed["none"]).dropna()):
            counts.add(len(change))
            changes[name] = Estimate(float(change.mean()), *interval_over_seeds(change), test["image"].nunique())
    if not changes:
        return not_run("the constraints")
    status = judged(*(within(each, NOTHING_GAINED) for each in changes.values()))
    evidence = f"The mIoU changes, over {_range(counts)} seed{'s' if max(counts) > 1 else ''}: {listed(changes)}."
    evidence += " The intervals are too wide to tell." if status == Status.UNDECIDED else ""
    return on_flowers(Verdict(status, evidence, changes), test)


CHANCE = 0.05
"""Greatest chance of at least so large a difference in the numbers of collapses, if there were none."""


def constraints_prevent_collapse(rows: DataFrame, ours: str) -> Verdict:
    """Does training collapse without the constraints, and not with them? `collapsed` is 1 in the rows of its seed."""
    from scipy.stats import fisher_exact

    rows = rows[full_names(rows) == ours]
    if "collapsed" not in rows:
        return not_run("collapses")
    by_seed = rows.groupby(["constraints", "seed"])["collapsed"].max().groupby("constraints")
    counts = {name: (int(each.sum()), len(each)) for name, each in by_seed}
    if not {"none", "AuI+CRI"} <= set(counts):
        return not_run("the constraints")
    (without, seeds), (with_both, seeds_with_both) = counts["none"], counts["AuI+CRI"]
    table = [[without, seeds - without], [with_both, seeds_with_both - with_both]]
    # rounding makes the chance of three against none, 1 in 20, a little more
    fewer, more = (fisher_exact(table, each).pvalue <= CHANCE + 1e-9 for each in ("greater", "less"))
    found = True if fewer else False if more else None
    told = ", ".join(f"{TITLES[name]} {n} of {of}" for name, (n, of) in counts.items())
    evidence = f"Trainings that collapsed: {told}."
    if not without:
        evidence += " Without constraints no training had collapsed by then, so there was nothing to prevent."
    elif found is None:
        evidence += " So few can't tell."
    numbers = {name: n / of for name, (n, of) in counts.items()}
    return on_flowers(Verdict(judged(found, found and with_both == 0), evidence, numbers), rows)


CLAIMS = (
    Claim(
        id="table3/little-influence",
        section="5.4, Table 3",
        says="Both constraints have “relatively little influence” on the scores.",
        test="The change of the test images' mIoU by each of the two, and by both, against training without them from "
        "the same seed, after the last epoch that all networks have reached, is within "
        f"±{NOTHING_GAINED:g}; intervals over seeds. {ALL_PARTS}",
        decide=constraints_matter_little,
        ours=TRAINED,
        deciding=deciding,
        set_after=True,
    ),
    Claim(
        id="table3/prevent-collapse",
        section="5.4",
        says="The constraints prevent the collapse of training.",
        test="The number of seeds whose training collapsed, to an empty foreground or background. Partly: fewer with "
        f"both constraints than without, by Fisher's exact test, one-sided, at {CHANCE:.0%}. Reproduced: moreover none "
        "with both. Not reproduced: more with both, by the same test. Undecided: otherwise.",
        decide=constraints_prevent_collapse,
        ours=TRAINED,
        deciding=deciding,
        set_after=True,
    ),
)

EXPERIMENT = Experiment(
    name="table3",
    title="Table 3",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
    cells=cells,
)
