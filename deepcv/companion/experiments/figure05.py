"""Figure 5: masks of the trained network on test images.

The paper shows them without a comparison; what it claims is Table 2's, here decided image by image, on all test
images. ReDO [13] and Chan-Vese [11] stand beside them. The rows are Table 2's, so a network is trained once for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import PARTS, TRAINED, TRAININGS, Claim, Verdict, above, judged, not_run, score_of
from deepcv.companion.experiments import table2
from deepcv.companion.experiments.experiment import Experiment, Group, Images
from deepcv.companion.experiments.figure03 import share_better
from deepcv.companion.experiments.flowers import EPOCH, NAMES, counted, on_flowers, papers_first, scored
from deepcv.companion.experiments.table2 import BESIDE, LEVEL_SETS, chan_vese_beside, names_of, title
from deepcv.companion.pictures import mask_grid
from deepcv.companion.recorded import full_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_METHODS = ("amortized:default", "redo:default", "chan-vese")


@dataclass(frozen=True)
class Settings(table2.Settings):
    """What to run: as Table 2, with the first seed alone, for some test images.

    Attributes
    ----------
    images : tuple of str
        Their names; default six of the first `n_images`, evenly spread.
    """

    profiles = {name: {**fields, "methods": _METHODS} for name, fields in table2.Settings.profiles.items()}

    images: tuple[str, ...] | None = None


def shown(settings: Settings) -> Images:
    """The test images in the figure.

    Raises
    ------
    InputError
        For a name that is not among them.
    """
    return scored(settings, "test").shown(settings.images)


def groups(settings: Settings) -> list[Group]:
    """Table 2's methods on the images shown, at the last epoch and with one seed."""
    last = [each for each in table2.variants(settings) if each.conditions["chosen"] != "validation"]
    return [Group(shown(settings), [replace(each, once=True) for each in last])]


def summary(rows: DataFrame) -> DataFrame:
    """IoU of each image (rows) by each method (columns), as decided."""
    table = rows.assign(title=names_of(rows).map(title)).pivot_table("iou", "image", "title", sort=False)
    return table.rename_axis(index=None, columns=None)


def plot(rows: DataFrame) -> Figure:
    """Picture grid as in Figure 5: image, ground truth, each method's mask."""
    return mask_grid(rows.assign(column=names_of(rows).map(title)), score="iou")


def by_hint(rows: DataFrame) -> DataFrame:
    """The network and Chan-Vese on test images, by the IoU of the hint's Otsu mask, which Chan-Vese starts from.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of Table 2, after the last epoch.

    Returns
    -------
    pandas.DataFrame
        Indexed by the range of the hint's IoU: mean IoU of both, the share of images on which Chan-Vese's is higher,
        the median of its lead, and the number of images. Seeds of an image are averaged first.
    """
    import pandas as pd

    rows = papers_first(rows, [f"{name}:default" for name in _BY_HINT])
    tested = counted(rows[rows["split"] == "test"], TRAINED["default"])
    of = {name: score_of(tested, f"{name}:default", "iou") for name in _BY_HINT}
    scores = pd.DataFrame(of).dropna()
    lead = scores["chan-vese"] - scores["amortized"]
    columns = {
        "the network": scores["amortized"],
        "Chan-Vese": scores["chan-vese"],
        "Chan-Vese better": (lead > 0).astype(float),
        "its lead, median": lead,
    }
    labels = [f"{low} to {high}" for low, high in pairwise(_HINTS)]
    ranges = pd.cut(scores["saliency"], _HINTS, include_lowest=True, labels=labels)
    groups = pd.DataFrame(columns).groupby(ranges, observed=True)
    table = groups.mean().assign(**{"its lead, median": groups["its lead, median"].median(), "images": groups.size()})
    return table.rename_axis("IoU of the hint")


_BY_HINT = ("saliency", "amortized", "chan-vese")
_HINTS = (0, 0.5, 0.7, 0.9, 1)


def better_masks(rows: DataFrame, ours: str) -> Verdict:
    """On what share of the test images is the network's mask better than that of Chan-Vese?"""
    tested = counted(rows[rows["split"] == "test"], ours)
    scores, theirs = (score_of(tested, name, "iou") for name in (ours, chan_vese_beside(ours)))
    if scores.empty or theirs.empty:
        return not_run("the network and Chan-Vese on test images")
    of_ours = tested[full_names(tested) == ours].set_index("image")
    by_seed = of_ours.groupby("seed")["iou"].agg(lambda each: share_better(each, theirs).mean)
    share = share_better(scores, theirs).with_trainings(by_seed)
    evidence = f"Share of test images with the better IoU: {share:%} of {share.images}."
    return on_flowers(Verdict(judged(above(share, 0.5)), evidence, {"share": share}), tested)


def finding(rows: DataFrame) -> str:
    """On what share of the test images each network is better than the Chan-Vese that is given what it is."""
    told = []
    for ours in TRAINED.values():
        theirs = chan_vese_beside(ours)
        found = papers_first(rows, (ours, theirs))
        share: Any = better_masks(found, ours).numbers.get("share")
        if share:
            told.append(
                f"{share:%} of {share.images} test photographs of {NAMES[found['dataset'].iloc[0]]} favour "
                f"{title(ours)}, over {title(theirs)}"
            )
    return f"{'; '.join(told)}."


CLAIMS = (
    Claim(
        id="figure05/more-accurate",
        section="5.4, Table 2",
        says="On test images of flowers the trained network's masks are better than those of Chan-Vese.",
        test="The paper says so of the mean; image by image is our question. The share of all test images on which the "
        "network's IoU is above that of Chan-Vese (a draw counts half) is more than one half. "
        f"{PARTS} {TRAININGS} {EPOCH} {BESIDE}",
        decide=better_masks,
        run="table2",
        ours=TRAINED,
        deciding=papers_first,
        against=LEVEL_SETS,
        set_after=True,
    ),
)

EXPERIMENT = Experiment(
    name="figure05",
    title="Figure 5",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
    rows_of="table2",
    recorded=False,
)
