"""Figure 3: the masks behind Table 1, image by image.

The paper's claim, from pictures: the deep Chan-Vese model's masks are more accurate than the other methods'. The rows
are Table 1's, so each notebook finds in the store what the other has computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deepcv.companion.claims import ALL_PARTS, OURS, Claim, Estimate, Verdict, above, judged, listed, score_of
from deepcv.companion.experiments import table1
from deepcv.companion.experiments.experiment import Experiment, Group, Images
from deepcv.companion.experiments.table1 import OPPONENTS, best_count, fast_then_slow, not_yet, opponents_in
from deepcv.companion.pictures import mask_grid
from deepcv.companion.recorded import full_names
from deepcv.methods import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

_METHODS = ("deep-cv", "double-dip:otsu", "normalized-cuts:regions", "chan-vese", "statistical", "grabcut")


@dataclass(frozen=True)
class Settings(table1.Settings):
    """What to run: as Table 1, with the first seed alone, for some images.

    Attributes
    ----------
    images : tuple of str
        Their names; default six of the first `n_images`, evenly spread.
    """

    profiles = {name: {**fields, "methods": _METHODS} for name, fields in table1.Settings.profiles.items()}

    images: tuple[str, ...] | None = None


def shown(settings: Settings) -> Images:
    """The images in the figure.

    Raises
    ------
    InputError
        For a name that is not among the images asked for.
    """
    return Images.load(settings.dataset).first(settings.n_images).shown(settings.images)


def groups(settings: Settings) -> list[Group]:
    """Table 1's methods on the images shown, with one seed."""
    images = shown(settings)
    return [Group(images, [replace(each, once=True) for each in found]) for _, found in fast_then_slow(settings)]


def summary(rows: DataFrame) -> DataFrame:
    """F of each image (rows) by each method (columns), best mean first."""
    rows = best_count(rows)
    titles = full_names(rows).map(title)
    table = rows.assign(title=titles).pivot_table("f_measure", "image", "title")
    order = table.mean().sort_values(ascending=False).index
    return table[order].rename_axis(index=None, columns=None)


def wins(rows: DataFrame) -> DataFrame:
    """On how many images our default has a higher F than each other method, and by how much.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of Table 1, from `Experiment.run` or a recorded run.

    Returns
    -------
    pandas.DataFrame
        A row per method: the numbers of images with `ours higher`, `equal`, `ours lower`, and the `median difference`
        of F. Seeds of an image are averaged first; only images that both methods have count.
    """
    import pandas as pd

    rows = best_count(rows)
    by_image = rows.assign(name=full_names(rows)).pivot_table("f_measure", "image", "name")
    table = {}
    for name in by_image.columns.drop(OURS):
        difference = (by_image[OURS] - by_image[name]).dropna()
        table[title(name)] = {
            "ours higher": int((difference > 0).sum()),
            "equal": int((difference == 0).sum()),
            "ours lower": int((difference < 0).sum()),
            "median difference": round(difference.median(), 3),
        }
    return pd.DataFrame.from_dict(table, orient="index").sort_values("median difference")


def plot(rows: DataFrame) -> Figure:
    """Picture grid as in Figure 3: image, ground truth, the mask of each method; of several regions the best one."""
    rows = best_count(rows)
    return mask_grid(rows.assign(column=full_names(rows).map(title)))


def share_better(ours: Series, theirs: Series) -> Estimate:
    """The share of images on which our score is the higher one; a draw counts half."""
    return Estimate.share(np.sign((ours - theirs).dropna()) / 2 + 0.5)


def more_accurate(rows: DataFrame, ours: str) -> Verdict:
    """On what share of the photographs is our mask the better one?"""
    rows = best_count(rows)
    opponents, missing = opponents_in(rows)
    scores = score_of(rows, ours, "f_measure")
    shares = {theirs: share_better(scores, score_of(rows, name, "f_measure")) for name, theirs in opponents.items()}
    status = judged(*(above(each, 0.5) for each in shares.values()), *[None] * len(missing))
    evidence = f"Share of photographs with the better F: {listed(shares, '%')}.{not_yet(missing)}"
    return Verdict(status, evidence, shares)


def finding(rows: DataFrame) -> str:
    """On what share of the photographs ours is better than each opponent, and than GrabCut."""
    rows = best_count(rows)
    names = [*opponents_in(rows)[0], "grabcut:default"]
    ours = score_of(rows, OURS, "f_measure")
    shares = {title(name): share_better(ours, score_of(rows, name, "f_measure")) for name in names}
    told = ", ".join(f"{name} on {share.mean:.0%}" for name, share in shares.items())
    return f"Of {len(ours)} photographs of Weizmann, our default has a higher F than {told}."


CLAIMS = (
    Claim(
        id="figure03/more-accurate",
        section="5.2, Figure 3",
        says="Seen side by side, its masks are more accurate than those of the other methods.",
        test="The share of photographs on which our F is above that of each of the paper's opponents (a draw counts "
        f"half) is more than one half. {ALL_PARTS} An opponent that isn't yet run leaves it open.",
        run="table1",
        decide=more_accurate,
        against=OPPONENTS,
    ),
)

EXPERIMENT = Experiment(
    name="figure03",
    title="Figure 3",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
    rows_of="table1",
    recorded=False,
)
