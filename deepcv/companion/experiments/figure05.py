"""Figure 5: masks of the trained network over test images.

The paper shows them without a comparison; here ReDO [13] and Chan-Vese [11] stand beside. The rows are Table 2's own,
so the network is trained once for both pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepcv.companion.experiments import table2
from deepcv.companion.experiments.experiment import complete, grid
from deepcv.companion.pictures import mask_grid
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Item
from deepcv.data import Sample
from deepcv.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SHOWN = 6
"""How many images are shown where none are named: they are spread evenly over the test images."""


_METHODS = ("amortized:default", "redo:default", "chan-vese")


@dataclass(frozen=True)
class Settings(table2.Settings):
    """What to run: as Table 2's, but of the seeds the first alone, for some test images:

    Attributes
    ----------
    images : tuple of str
        Their names; default `SHOWN` of the first `n_images`.

    Raises
    ------
    InputError
        For an image that is not among them, and as `deepcv.companion.experiments.table2.Settings` does.
    """

    images: tuple[str, ...] | None = None

    @property
    def shown(self) -> list[Sample]:
        """The crops that are shown."""
        samples = {sample.name: sample for sample in table2.scored(self, "test")}
        names, count = list(samples), min(SHOWN, len(samples))
        wanted = self.images or [names[index * len(names) // count] for index in range(count)]
        for name in wanted:
            if name not in samples:
                raise InputError(
                    f"there is no image {name!r} among the {len(names)} of the test; the first are "
                    f"{', '.join(names[:5])}"
                )
        return [samples[name] for name in wanted]


def items(settings: Settings) -> list[Item]:
    """Table 2's items of the images shown, of the last epoch and the first seed."""
    shown = [
        each
        for each in table2.variants(settings, settings.methods or _METHODS)
        if not each.preset.endswith(table2.VALIDATED)
    ]
    return grid("table2", settings, (settings.shown, shown), seeds=settings.seeds[:1])


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Train what isn't trained, compute what the store lacks, a row per image and method; as `table2.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 5")


def summary(rows: DataFrame) -> DataFrame:
    """IoU of each image (rows) by each method (columns), as decided."""
    titles = full_names(rows).map(table2.title)
    table = rows.assign(title=titles).pivot_table("iou", "image", "title", sort=False)
    return table.rename_axis(index=None, columns=None)


def plot(rows: DataFrame, settings: Settings) -> Figure:
    """Picture grid as in Figure 5: image, ground truth, each method's mask.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run` with the same settings.
    settings : Settings
    """
    rows = rows.assign(column=full_names(rows))
    headings = {name: table2.title(name) for name in dict.fromkeys(rows["column"])}
    return mask_grid(rows, items(settings), [sample.name for sample in settings.shown], headings)
