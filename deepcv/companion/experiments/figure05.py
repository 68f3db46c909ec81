"""Figure 5: masks of the trained network on test images.

The paper shows them without a comparison; here ReDO [13] and Chan-Vese [11] stand beside them. The rows are Table 2's,
so a network is trained once for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepcv.companion.experiments import table2
from deepcv.companion.experiments.experiment import Experiment, Group, Images
from deepcv.companion.experiments.flowers import scored
from deepcv.companion.experiments.table2 import names_of, title
from deepcv.companion.pictures import mask_grid

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
    return mask_grid(rows.assign(column=names_of(rows).map(title)))


EXPERIMENT = Experiment(
    name="figure05",
    title="Figure 5",
    settings=Settings,
    groups=groups,
    summary=summary,
    plot=plot,
    rows_of="table2",
    recorded=False,
)
