"""Figure 6: encoders and decoders of different architectures.

The paper claims, from pictures, that segmentation is stable as the depth or the architecture of the networks varies:
the deep image prior's skip network [45] with depth 2 to 5, and the U-Net [39]. Here each is scored in the package's own
solver, with a decoder as in the paper, and, reduced, in the paper's loop, and the spread over architectures is compared
with the spread over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.claims import ALL_PARTS, TOLERANCE, Claim, Estimate, Verdict, judged, listed, within
from deepcv.companion.experiments import variants
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, REDUCED, Experiment, Group, Reduction, variant
from deepcv.companion.experiments.variants import SOLVERS, changes_of, of_solver
from deepcv.companion.pictures import mask_grid
from deepcv.methods import split_name
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

REFERENCE = "U-Net"

PAPERS: dict[str, dict[str, Any]] = {
    **{f"skip, depth {depth}": {"architecture": "skip", "levels": depth} for depth in (2, 3, 4, 5)},
    REFERENCE: {"architecture": "unet", "levels": 4},
}
"""The paper's architectures; the width and everything else are the solver's."""

ARCHITECTURES = PAPERS | {"two convolutions": {"architecture": "unet", "levels": 0}}
"""The paper's architectures and the package's default."""

HINT = "the hint alone"
"""The saliency map at its Otsu threshold, from which our solver starts: the result of a network that memorises it."""


@dataclass(frozen=True)
class Settings(variants.Settings):
    """Settings; the variants are names in `ARCHITECTURES`, and the U-Net always runs, too."""

    profiles = {
        "quick": {
            "dataset": "samples",
            "solvers": {
                "default": Reduction({"decoder": True, "size": 48, "rounds": 2, "steps": 10, "more_steps": 5}, 2),
                "paper": Reduction({"size": 48, "width": 4, "steps": 20}, 2),
            },
        },
        "cpu": {
            "dataset": "weizmann",
            "solvers": {
                "default": Reduction({"decoder": True}, N_TUNING_IMAGES),
                "paper": replace(REDUCED["deep-cv:paper"], n_images=10),
            },
        },
        "paper": {"dataset": "weizmann", "solvers": {"default": Reduction({"decoder": True}), "paper": Reduction()}},
    }
    known = ARCHITECTURES
    unseen = True


def groups(settings: Settings) -> list[Group]:
    """The thresholded hint, the package's solver, the paper's loop."""
    hint = variant("saliency", conditions={"variant": HINT, "setting": "", "value": ""})
    return [
        Group(variants.images_of(settings, "default"), [hint]),
        *variants.groups(settings, ARCHITECTURES, REFERENCE),
    ]


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each architecture in each solver and the paired difference to the U-Net, as in `variants.by_solver`."""
    return variants.by_solver(rows, [HINT, *ARCHITECTURES], REFERENCE)


def spread(rows: DataFrame) -> DataFrame:
    """Standard deviation of F on an image, over the paper's architectures and over seeds.

    Over architectures with the same seed, and over seeds with the same architecture. If all architectures were alike,
    the two would differ only by chance.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by solver. `over architectures` and `over seeds`, each with `deviation`, `low` and `high` (root of the
        mean variance over images, 95 % bootstrap; NaN with one seed); `mean F` with the `lowest` and the `highest` mean
        of an architecture.
    """
    import pandas as pd

    table = {}
    for solver in SOLVERS:
        of_it = of_solver(rows, solver)
        of_it = of_it[of_it["variant"].isin(PAPERS)]
        if of_it.empty:
            continue
        means = of_it.groupby("variant")["f_measure"].mean()
        row = {("mean F", "lowest"): means.min(), ("mean F", "highest"): means.max()}
        for over, fixed in (("architectures", "seed"), ("seeds", "variant")):
            variance = of_it.groupby(["image", fixed])["f_measure"].var().groupby("image").mean().dropna()
            low, high = bootstrap_interval(variance) if len(variance) else (np.nan, np.nan)
            for name, value in (("deviation", variance.mean()), ("low", low), ("high", high)):
                row[f"over {over}", name] = value**0.5
        table[SOLVERS[solver]] = row
    return pd.DataFrame.from_dict(table, orient="index")


def plot(table: DataFrame) -> Figure:
    """F of each architecture and its paired difference to the U-Net; `table` from `summary`."""
    return variants.plot(table, REFERENCE)


def plot_masks(rows: DataFrame, settings: Settings, solver: str = "default") -> Figure:
    """A grid as in Figure 6: image, ground truth, and the mask of each architecture with the first seed.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run` with the same settings.
    settings : Settings
    solver : {"default", "paper"}
    """
    rows = of_solver(rows[rows["seed"] == settings.seeds[0]], solver)
    names = [name for name in (HINT, *ARCHITECTURES) if name in set(rows["variant"])]
    return mask_grid(rows.assign(column=rows["variant"]), names)


def stable_architectures(rows: DataFrame, ours: str) -> Verdict:
    """Is F the same for all of the paper's architectures?"""
    solver = split_name(ours)[1]
    changes = changes_of(variants.summary(rows, PAPERS, REFERENCE, solver).drop(index=REFERENCE))
    row = spread(rows).loc[SOLVERS[solver]]
    evidence = (
        f"Mean F of an architecture: {row['mean F', 'lowest']:.3f} to {row['mean F', 'highest']:.3f}; a single run's "
        f"deviation over architectures {row['over architectures', 'deviation']:.3f}, over seeds "
        f"{row['over seeds', 'deviation']:.3f}. Change of F from the {REFERENCE}: {listed(changes)}."
    )
    return Verdict(judged(*(within(each, TOLERANCE) for each in changes.values())), evidence, changes)


def finding(rows: DataFrame) -> str:
    """The range of the architectures' mean F in each solver, and what two convolutions do."""
    table, told = summary(rows), []
    for solver, row in spread(rows).iterrows():
        small = Estimate.from_row(table.loc[(solver, "two convolutions"), "ΔF"], 0)
        told.append(
            f"in {solver} from {row['mean F', 'lowest']:.3f} to {row['mean F', 'highest']:.3f}, with two convolutions "
            f"{small:+} against the {REFERENCE}"
        )
    alone = [row["F", "mean"] for (_, name), row in table.iterrows() if name == HINT]
    start = f" The thresholded hint, from which each starts, has {alone[0]:.3f}." if alone else ""
    return f"Mean F of the paper's five architectures: {'; '.join(told)}.{start}"


CLAIMS = (
    Claim(
        id="figure06/stable",
        section="6, Figure 6; 7",
        says="The result is stable as the depth or the architecture of the networks varies.",
        test="F of the skip network [45] of depth 2 to 5 minus that of the U-Net [39], paired over images and seeds, "
        f"is within ±{TOLERANCE:g}. {ALL_PARTS}",
        decide=stable_architectures,
    ),
)

EXPERIMENT = Experiment(
    name="figure06",
    title="Figure 6",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
)
