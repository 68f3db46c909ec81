"""Table 3: augmentation invariance (AuI) and conservation of region information (CRI), with and without.

The paper's claims (section 5.4): both constraints have little influence on the scores; they are there to prevent
collapse, a segmentation whose foreground or background is empty. So nothing is restarted here: a training that
collapses stays so and is counted, and its last epoch is scored, where the paper takes the best on the validation set.
Beyond the paper's own start, at random, `Settings.starts` also has the package's, from a hint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import NOTHING_GAINED, Claim, Estimate, Status, Verdict, judged, listed, not_run
from deepcv.companion.experiments import table2
from deepcv.companion.experiments.experiment import Variant, complete, grid
from deepcv.companion.experiments.table2 import (
    SPLITS,
    CollectionSettings,
    _of_split,
    _on_flowers,
    network,
    scored,
    split_of,
)
from deepcv.companion.recorded import full_run
from deepcv.companion.store import Item
from deepcv.errors import InputError
from deepcv.metrics import interval_over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


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
        return not_run("the constraints")
    whole = [max(-each.low, each.high) < NOTHING_GAINED for each in changes.values()]
    mean = [abs(each.mean) < NOTHING_GAINED for each in changes.values()]
    excluded = [max(each.low, -each.high) >= NOTHING_GAINED for each in changes.values()]
    seeds = f"over {len(by_seed)} seed{'s' if len(by_seed) > 1 else ''}"
    evidence = f"The mIoU changes, {seeds}: {listed(changes)}."
    evidence += (
        "" if all(mean) or any(excluded) else " The intervals are too wide to exclude a change of next to nothing."
    )
    return _on_flowers(Verdict(judged(all(whole), all(mean)), evidence, changes), test)


def constraints_prevent_collapse(rows: DataFrame) -> Verdict:
    """Does training collapse without the constraints, and not with them? `collapsed` is 1 in the rows of its seed."""
    if "collapsed" not in rows:
        return not_run("collapses")
    share = rows.groupby(["preset", "seed"])["collapsed"].max().groupby("preset").mean()
    if not {"none", "AuI+CRI"} <= set(share.index):
        return not_run("the constraints")
    status = judged(share["AuI+CRI"] == 0 < share["none"], share["AuI+CRI"] < share["none"])
    evidence = "Share of seeds that collapsed: " + ", ".join(f"{name} {part:.0%}" for name, part in share.items()) + "."
    if share["none"] == 0 == share["AuI+CRI"]:
        status = Status.NOT_RUN
        evidence += " Without constraints none did, so there was nothing to prevent."
    return Verdict(status, evidence, {name: float(each) for name, each in share.items()})


CONSTRAINTS = {
    "none": {"invariance": False, "conservation": False},
    "AuI": {"invariance": True, "conservation": False},
    "CRI": {"invariance": False, "conservation": True},
    "AuI+CRI": {"invariance": True, "conservation": True},
}
"""The rows of the paper's table."""


HINTED = ", from a hint"


STARTS = {"paper": "", "default": HINTED}
"""The presets of Algorithm 3 that training starts with, and how the rows' presets end."""


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise; as Table 2's but for:

    Attributes
    ----------
    changes : dict
        What is changed of the presets' settings.
    starts : tuple of str
    """

    collection: str
    size: int
    n_train: int | None
    n_images: int | None
    changes: Mapping[str, Any]
    starts: tuple[str, ...] = ("paper",)


_QUICK = table2.PROFILES["quick"]


_CPU = {"levels": 3, "width": 8, "model_width": 8, "discriminator_width": 8, "batch": 20, "epochs": 16}


PROFILES = {
    "quick": Profile("flowerlike", 32, _QUICK.n_train, 6, _QUICK.networks["amortized:paper"]),
    "cpu": Profile("flowers17", 32, 400, None, _CPU),
    "paper": Profile("flowers17", 128, None, None, {}, tuple(STARTS)),
}


@dataclass(frozen=True)
class Settings(CollectionSettings):
    """What to run; besides what every experiment with trained networks takes:

    Attributes
    ----------
    constraints : tuple of str
        Keys of `CONSTRAINTS`.
    starts : tuple of str
        "paper": U at random, the paper's settings; "default": held to a hint, the package's.

    Raises
    ------
    InputError
        For an unknown constraint or start, and as `CollectionSettings` does.
    """

    profiles = PROFILES

    constraints: tuple[str, ...] | None = None
    starts: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in self.constraints or ():
            if name not in CONSTRAINTS:
                raise InputError(f"there are no constraints {name!r}; there are {', '.join(CONSTRAINTS)}")
        for name in self.starts or ():
            if name not in STARTS:
                raise InputError(f"there is no start {name!r}; there are {', '.join(STARTS)}")

    @property
    def variants(self) -> list[Variant]:
        """What is trained: of each network the last epoch."""
        profile = self.defaults
        return [
            network(
                self,
                f"amortized:{start}",
                {**profile.changes, **CONSTRAINTS[name], "restarts": 0},
                name + STARTS[start],
            )[0]
            for start in self.starts or profile.starts
            for name in self.constraints or CONSTRAINTS
        ]


def items(settings: Settings) -> list[Item]:
    """All results that the table needs."""
    samples = [sample for split in SPLITS for sample in scored(settings, split)]
    return grid("table3", settings, (samples, settings.variants))


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Train what isn't trained and give a row per image, constraints and seed; as `table2.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Table 3")


def title(name: str) -> str:
    """How the table calls "amortized:PRESET"."""
    return name.partition(":")[2].replace("none", "neither").replace("AuI+CRI", "AuI and CRI")


def compared(rows: DataFrame) -> DataFrame:
    """The table with its groups of columns: this run, our recorded run, the paper; as `table2.compared`."""
    names = {name: f"amortized:{name}" for name in CONSTRAINTS}
    theirs = table2.printed("table3", "constraints", names)
    table = table2.side_by_side(rows, full_run("table3"), theirs)
    order = [name + end for end in STARTS.values() for name in names.values()]
    table = table.reindex([name for name in order if name in table.index])
    table.index = [title(name) for name in table.index]
    return table


def summary(rows: DataFrame) -> DataFrame:
    """What each constraint changes on the test images, a row per preset; `table2.summary` has the train split, too.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        `Acc`, `mIoU` as decided, `mIoU oracle`, `by seed` (lowest and highest mIoU), `mIoU change` against training
        without constraints from the same start and seed, with its 95 % `interval` over seeds (Student's t);
        `collapsed`, how many of the `seeds`.
    """
    import pandas as pd

    means, table = table2.summary(rows), {}
    tested = split_of(rows, "test")
    by_seed = tested.pivot_table("iou", "seed", "preset", sort=False)
    for preset, group in tested.groupby("preset", sort=False):
        reference = "none" + (HINTED if preset.endswith(HINTED) else "")
        row = means.loc[f"amortized:{preset}"]
        changed = preset != reference and reference in by_seed
        change = (by_seed[preset] - by_seed[reference]).dropna() if changed else None
        table[f"amortized:{preset}"] = {
            "Acc": row["test Acc"],
            "mIoU": row["test mIoU"],
            "mIoU oracle": row["test mIoU oracle"],
            "by seed": row["by seed"],
            "mIoU change": change.mean() if changed else float("nan"),
            "interval": _told(*interval_over_seeds(change)) if changed else "",
            "collapsed": int(group.groupby("seed")["collapsed"].max().sum()),
            "seeds": int(row["seeds"]),
        }
    return pd.DataFrame.from_dict(table, orient="index").rename(title)


def _told(low: float, high: float) -> str:
    return f"{low:+.3f} to {high:+.3f}" if math.isfinite(low) else "one seed"


def plot(rows: DataFrame) -> Figure:
    """The test mIoU of every seed, as decided and with the oracle; a cross where its training collapsed."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    by_seed = split_of(rows, "test").groupby(["preset", "seed"], sort=False)
    told = by_seed[["iou", "iou_oracle", "collapsed"]].mean().reset_index()
    presets = list(dict.fromkeys(told["preset"]))
    figure, axis = plt.subplots(figsize=(1.6 + 1.3 * len(presets), 3.4))
    colours = sns.color_palette("colorblind", 2)
    for shift, (score, label, marker), colour in zip(
        (-0.12, 0.12), (("iou", "as decided", "o"), ("iou_oracle", "with the oracle", "D")), colours, strict=True
    ):
        places = told["preset"].map(presets.index) + shift
        for collapsed, shape in ((0, marker), (1, "x")):
            here = told["collapsed"] == collapsed
            named = label if not collapsed else None
            axis.scatter(places[here], told[score][here], color=colour, marker=shape, s=32, alpha=0.8, label=named)
    axis.set_xticks(range(len(presets)), [title(f"amortized:{preset}") for preset in presets])
    axis.set(ylabel="mIoU of the test images, a seed a point", ylim=(0, 1))
    axis.grid(axis="y", alpha=0.25)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


CLAIMS = (
    Claim(
        id="table3/little-influence",
        section="5.4, Table 3",
        says="Both constraints have “relatively little influence” on the scores.",
        test="What each of the two, and both, change of the mIoU of training without them, on the test images, "
        f"from the same seed. Reproduced: less than {NOTHING_GAINED:g} with the whole 95 % interval over seeds. "
        "Partly: in the mean.",
        decide=constraints_matter_little,
    ),
    Claim(
        id="table3/prevent-collapse",
        section="5.4",
        says="The constraints prevent the collapse of training.",
        test="The share of seeds whose training collapsed, to an empty foreground or background. Reproduced: none "
        "with both constraints, some without. Partly: fewer with both than without. It can't be decided where none "
        "collapsed without.",
        decide=constraints_prevent_collapse,
    ),
)
