"""Figure 3: what the rows of Table 1 look like, image by image.

The paper's claim, from pictures: the deep Chan-Vese model's masks are more accurate than the other methods'. The rows
are Table 1's own, so what one notebook has computed the other finds in the store.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepcv.companion.claims import OURS, Claim, Estimate, Verdict, judged, listed, score_of
from deepcv.companion.experiments import table1
from deepcv.companion.experiments.experiment import complete, grid
from deepcv.companion.experiments.table1 import _opponents, _reduced
from deepcv.companion.pictures import mask_grid
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Item
from deepcv.data import load_dataset
from deepcv.errors import InputError
from deepcv.methods import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def more_accurate_pictures(rows: DataFrame) -> Verdict:
    """On how many photographs is our mask the better one?"""

    rows = table1.best_count(rows)
    opponents, lacking = _opponents(rows)
    ours = score_of(rows, OURS, "f_measure")
    shares = {}
    for name, their_title in opponents.items():
        difference = (ours - score_of(rows, name, "f_measure")).dropna()
        shares[their_title] = Estimate.over(np.sign(difference) / 2 + 0.5)
    how = "".join(_reduced(rows, name) for name in opponents)
    status = judged(
        not lacking and all(each.low > 0.5 for each in shares.values()),
        all(each.mean > 0.5 for each in shares.values()),
    )
    return Verdict(status, f"Share of photographs with the better F: {listed(shares, '%')}.{lacking}{how}", shares)


_METHODS = ("deep-cv", "double-dip:otsu", "normalized-cuts:regions", "chan-vese", "statistical", "grabcut")


PROFILES = {name: dataclasses.replace(profile, methods=_METHODS) for name, profile in table1.PROFILES.items()}


SHOWN = 6
"""How many images are shown where none are named: they are spread evenly over the data set."""


@dataclass(frozen=True)
class Settings(table1.Settings):
    """What to run: as Table 1's, but of the seeds the first alone, for some images:

    Attributes
    ----------
    images : tuple of str
        Their names; default `SHOWN` of the first `n_images`.

    Raises
    ------
    InputError
        For an image that is not there, and as `deepcv.companion.experiments.table1.Settings` does.
    """

    profiles = PROFILES

    images: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        unknown = sorted(set(self.images or ()) - set(self.samples.names))
        if unknown:
            raise InputError(
                f"there is no image {unknown[0]!r} among the {len(self.samples)} asked for; the first are "
                f"{', '.join(self.samples.names[:5])}"
            )

    @property
    def samples(self):
        """The data set, cut to `n_images`."""
        return load_dataset(self.dataset or self.defaults.dataset)[: self.n_images]

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the images that are shown."""
        names = self.samples.names
        count = min(SHOWN, len(names))
        return self.images or tuple(names[index * len(names) // count] for index in range(count))


def items(settings: Settings) -> list[Item]:
    """Table 1's items of the images shown and the first seed."""
    samples = settings.samples
    shown = [samples[samples.names.index(name)] for name in settings.shown]
    methods = settings.methods or settings.defaults.methods
    wanted = table1.parts(methods, settings.defaults.slow, settings.size)
    return grid("table1", settings, *((shown, variants) for _, variants in wanted), seeds=settings.seeds[:1])


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image and method; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 3")


def summary(rows: DataFrame) -> DataFrame:
    """F of each image (rows) by each method (columns), best mean first."""
    rows = table1.best_count(rows)
    titles = full_names(rows).map(title)
    table = rows.assign(title=titles).pivot_table("f_measure", "image", "title")
    order = table.mean().sort_values(ascending=False).index
    return table[order].rename_axis(index=None, columns=None)


def wins(rows: DataFrame) -> DataFrame:
    """On how many images ours, in its default, has the higher F than each other method, and by how much.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `table1.run`, or its recorded run.

    Returns
    -------
    pandas.DataFrame
        A row per method: `ours higher`, `equal`, `ours lower` in numbers of images, and `median difference` of F. Seeds
        of an image are averaged first; only images that both have count.
    """
    import pandas as pd

    rows = table1.best_count(rows)
    by_image = rows.pivot_table("f_measure", "image", ["method", "preset"])
    ours = by_image["deep-cv", "default"]
    table = {}
    for method, preset in by_image.columns.drop([("deep-cv", "default")]):
        difference = (ours - by_image[method, preset]).dropna()
        table[title(f"{method}:{preset}")] = {
            "ours higher": int((difference > 0).sum()),
            "equal": int((difference == 0).sum()),
            "ours lower": int((difference < 0).sum()),
            "median difference": round(difference.median(), 3),
        }
    return pd.DataFrame.from_dict(table, orient="index").sort_values("median difference")


def plot(rows: DataFrame, settings: Settings) -> Figure:
    """Picture grid as in Figure 3: image, ground truth, each method's mask. Of many regions the one that fits best.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run` with the same settings.
    settings : Settings
    """
    rows = table1.best_count(rows)
    rows = rows.assign(column=full_names(rows))
    headings = {name: title(name) for name in dict.fromkeys(rows["column"])}
    return mask_grid(rows, items(settings), settings.shown, headings)


CLAIMS = (
    Claim(
        id="figure03/more-accurate",
        section="5.2, Figure 3",
        says="Seen side by side, its masks are more accurate than those of the other methods.",
        test="The share of photographs on which our F is above an opponent's (a draw counts half). Reproduced: "
        "above one half against each of the paper's opponents, with its 95 % interval. Partly: in the mean, or one "
        "of them is not yet run.",
        run="table1",
        decide=more_accurate_pictures,
    ),
)
