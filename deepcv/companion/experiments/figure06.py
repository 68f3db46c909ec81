"""Figure 6: encoder and decoder of different architecture.

The paper's claim, from pictures: segmentation is stable as the depth or the architecture of the networks varies, the
deep image prior's skip network [45] with depth 2 to 5 and the U-Net [39]. Here each is scored, in the package's own
solver and in the paper's loop, reduced, and the spread over architectures is held against the spread over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.claims import TOLERANCE, Verdict, _named, judged
from deepcv.companion.experiments import variants as _variants
from deepcv.companion.experiments.experiment import CHOSEN_ON, SLOW, Slow, complete, grid, variant
from deepcv.companion.experiments.variants import SOLVERS, Profile, _by_solver, _changes, of_solver
from deepcv.companion.pictures import mask_grid
from deepcv.companion.store import Item
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def stable_architectures(rows: DataFrame) -> Verdict:
    """Is F the same with each of the paper's architectures, in each solver?"""
    from deepcv.companion.experiments import figure06

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


REFERENCE = "U-Net"


PAPERS: dict[str, dict[str, Any]] = {
    **{f"skip, depth {depth}": {"architecture": "skip", "levels": depth} for depth in (2, 3, 4, 5)},
    REFERENCE: {"architecture": "unet", "levels": 4},
}
"""The architectures of the paper; width and everything else are the solver's."""


ARCHITECTURES = PAPERS | {"two convolutions": {"architecture": "unet", "levels": 0}}
"""Those of the paper and the package's default."""


HINT = "the hint alone"
"""The saliency map at its Otsu threshold, where our solver starts from: what a network finds that only learns it by
heart."""


PROFILES = {
    "quick": Profile(
        "samples",
        {"default": Slow({"size": 96}, 3), "paper": Slow({"size": 64, "width": 8, "steps": 30}, 2)},
        tuple(ARCHITECTURES),
    ),
    "cpu": Profile(
        "weizmann",
        {"default": Slow({}, CHOSEN_ON), "paper": replace(SLOW["deep-cv:paper"], n_images=5)},
        tuple(ARCHITECTURES),
    ),
    "paper": Profile("weizmann", {"default": Slow(), "paper": Slow()}, tuple(ARCHITECTURES)),
}


@dataclass(frozen=True)
class Settings(_variants.Settings):
    """What to run; the variants are names in `ARCHITECTURES`, and the U-Net is always run beside them."""

    profiles = PROFILES
    known = ARCHITECTURES


def items(settings: Settings) -> list[Item]:
    """All results that are needed: the hint's threshold, the package's solver, the paper's loop."""
    hint = [replace(variant("saliency"), preset=HINT)]
    return [
        *grid("figure06", settings, (_variants.samples_of(settings, "default"), hint)),
        *_variants.items("figure06", settings, ARCHITECTURES, REFERENCE),
    ]


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, solver, architecture and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 6")


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each solver with each architecture, and the paired difference to the U-Net.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by solver and architecture; the columns of `choices.summary`.
    """
    return _variants.by_solver(rows, [HINT, *ARCHITECTURES], REFERENCE)


def spread(rows: DataFrame) -> DataFrame:
    """How far F of an image lies apart over the paper's architectures, and over seeds.

    Standard deviations of single runs: over architectures with the same seed, and over seeds with the same
    architecture. Were all architectures alike, the two would be the same but for chance.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        A row per solver. `over architectures` and `over seeds`, each with `deviation`, `low` and `high` (root of the
        mean variance over images, 95 % bootstrap; NaN with one seed), and `mean F` with the `lowest` and the `highest`
        mean of an architecture.
    """
    import pandas as pd

    table = {}
    for solver in SOLVERS:
        of_it = of_solver(rows, solver)
        of_it = of_it[of_it["preset"].isin(PAPERS)]
        if of_it.empty:
            continue
        means = of_it.groupby("preset")["f_measure"].mean()
        row = {("mean F", "lowest"): means.min(), ("mean F", "highest"): means.max()}
        for over, fixed in (("architectures", "seed"), ("seeds", "preset")):
            variance = of_it.groupby(["image", fixed])["f_measure"].var().groupby("image").mean().dropna()
            low, high = bootstrap_interval(variance) if len(variance) else (np.nan, np.nan)
            for name, value in (("deviation", variance.mean()), ("low", low), ("high", high)):
                row[f"over {over}", name] = value**0.5
        table[SOLVERS[solver]] = row
    return pd.DataFrame.from_dict(table, orient="index")


def plot(table: DataFrame) -> Figure:
    """F with each architecture, and its paired difference to the U-Net; `table` from `summary`."""
    return _variants.plot(table, REFERENCE)


def plot_masks(rows: DataFrame, settings: Settings, solver: str = "default") -> Figure:
    """Picture grid as in Figure 6: image, ground truth, and the mask with each architecture, of the first seed.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run` with the same settings.
    settings : Settings
    solver : {"default", "paper"}
        Whose masks.
    """
    rows = of_solver(rows[rows["seed"] == settings.seeds[0]], solver)
    names = [name for name in (HINT, *ARCHITECTURES) if name in set(rows["preset"])]
    images = list(dict.fromkeys(rows["image"]))
    return mask_grid(rows.assign(column=rows["preset"]), items(settings), images, dict(zip(names, names, strict=True)))
