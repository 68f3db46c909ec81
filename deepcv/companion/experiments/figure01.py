"""Figure 1: two ways in which the assumption of the Chan-Vese model fails, and what the encoder makes of them.

The model assumes that foreground and background are two Gaussians, well apart. The paper (section 1) shows a photograph
in which one of them is not Gaussian, and one in which they overlap much; Chan-Vese fails on both, while in the latent
space the distributions are "simplified" so that it applies. Its photographs are not published. The embedded composites
(`deepcv.data.samples`), whose regions are known exactly, break the assumption in these two ways: in `modes-*` one
region has two modes, in `overlap-*` both have the same intensities. The quantities are those of Figure 8, which
measures them on photographs (`deepcv.companion.experiments.figure08`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepcv.companion.claims import (
    ALL_PARTS,
    FAILS,
    Claim,
    Estimate,
    Verdict,
    above,
    below,
    judged,
    lead,
    listed,
    named,
    score_of,
)
from deepcv.companion.compute import sample_of, segment
from deepcv.companion.experiments import experiment, figure08
from deepcv.companion.experiments.experiment import REDUCED, Group, Images, Reduction, by_title, variant
from deepcv.companion.items import Item
from deepcv.companion.pictures import head_grid, interval, show_mask
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Store
from deepcv.data import Sample
from deepcv.errors import InputError
from deepcv.methods import title
from deepcv.segmentation import Segmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

CASES = {"modes": "(i) two modes", "overlap": "(ii) overlapping"}
"""How the assumption fails, by the first word of the sample's name."""

OTHERS = "photographs"
"""The case of all other samples."""

METHODS = ("saliency", "chan-vese", "chan-vese:exact", "deep-cv")
"""The start of all others; the local minimum of Chan-Vese nearest to it; exact means and masks in turn; ours."""

_PAPER = "deep-cv:paper"
_SHOWN = ("chan-vese:default", "deep-cv:default")  # in the picture


_ALL = {"dataset": "samples", "cases": (*CASES.values(), OTHERS)}


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; `n_images` counts the images of each case. Besides the fields of every experiment:

    Attributes
    ----------
    cases : tuple of str
        Of `CASES` and `OTHERS`.
    papers : Reduction, optional
        How the paper's loop is reduced; without it, it isn't run.
    """

    profiles = {
        "quick": {"dataset": "samples", "cases": tuple(CASES.values()), "n_images": 1, "size": 96},
        "cpu": _ALL | {"papers": REDUCED[_PAPER]},
        "paper": _ALL | {"papers": Reduction()},
    }

    cases: tuple[Literal["(i) two modes", "(ii) overlapping", "photographs"], ...] | None = None
    papers: Reduction | None = None


def case(image: str) -> str:
    """The case of a sample, by its name."""
    return CASES.get(image.partition("-")[0], OTHERS)


def groups(settings: Settings) -> list[Group]:
    """All methods on each image, case by case.

    Raises
    ------
    InputError
        When the data set has no image of these cases.
    """
    images = Images.load(settings.dataset)
    of_case = [[name for name in images.samples.names if case(name) == each] for each in settings.cases]
    names = [name for found in of_case for name in found[: settings.n_images]]
    if not names:
        raise InputError(f"{settings.dataset} has no images of two modes or overlapping; take the profile cpu")
    variants = [variant(name, settings.size) for name in METHODS]
    if settings.papers:
        variants.append(settings.papers.variant(_PAPER, settings.size))
    return [Group(images.shown(names), variants)]


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """The method's result; for our model also the numbers of `figure08`."""
    if item.method == "deep-cv":
        return figure08.measure(item, sample, hint, device)
    return segment(item, sample, hint, device), {}


def by_case(rows: DataFrame) -> dict[str, DataFrame]:
    """The rows of each case that has any."""
    cases = rows["image"].map(case)
    return {name: rows[cases == name] for name in (*CASES.values(), OTHERS) if (cases == name).any()}


def _and_all(rows: DataFrame) -> dict[str, DataFrame]:
    found = by_case(rows)
    return found | {"all": rows} if len(found) > 1 else found


def summary(rows: DataFrame, ours: str = "deep-cv:default") -> DataFrame:
    """Contrast, overlap and distance to a Gaussian of the true regions, before and after the encoder.

    Indexed by case and quantity; the columns are those of `figure08.summary`.
    """
    import pandas as pd

    parts = _and_all(rows[full_names(rows) == ours])
    return pd.concat({name: figure08.summary(part).droplevel(0).loc["truth"] for name, part in parts.items()})


def scores(rows: DataFrame) -> DataFrame:
    """F of each method by case: means over images and their 95 % intervals, seeds of an image averaged first."""
    import pandas as pd

    table: dict[str, dict] = {}
    for name, part in _and_all(rows).items():
        for method, group in by_title(part).items():
            by_image = group.groupby("image")["f_measure"].mean()
            table.setdefault(method, {}).update({(name, "F"): by_image.mean(), (name, "95 %"): interval(by_image)})
    found = pd.DataFrame.from_dict(table, orient="index")
    return found.set_axis(pd.MultiIndex.from_tuples(found.columns), axis=1)


def plot(rows: DataFrame, settings: Settings, images: tuple[str, ...] | None = None) -> Figure:
    """As in Figure 1: image, its distributions, Chan-Vese; latent image, its distributions, ours; the first seed.

    `rows` are from a run with the same settings; `images` are the names to show, default the first two of each case.
    """
    import matplotlib.pyplot as plt

    items = {
        (item.image, f"{item.method}:{item.preset}"): item
        for item in EXPERIMENT.items(settings)
        if item.seed == settings.seeds[0]
    }
    names = dict.fromkeys(image for image, _ in items)
    images = images or [image for wanted in CASES.values() for image in [i for i in names if case(i) == wanted][:2]]
    first = rows[rows["seed"] == settings.seeds[0]]
    scored = first.set_index(["image", full_names(first)])["f_measure"]
    figure, axes = plt.subplots(len(images), 6, figsize=(10.5, 2 * len(images)), squeeze=False)
    with Store() as store:
        for row, image in zip(axes, images, strict=True):
            latent = figure08.latent_of(items[image, _SHOWN[1]], settings.device)
            figure08.show_pair(row[0], row[3], latent, image)
            figure08.show_distributions(row[1], latent, "grey")
            figure08.show_distributions(row[4], latent, "latent")
            for axis, name in zip(row[[2, 5]], _SHOWN, strict=True):
                item = items[image, name]
                show_mask(axis, sample_of(item).image, store.labels(item) == 1)
                axis.set_xlabel(f"F {scored[image, name]:.2f}", fontsize=8)
    chan_vese, ours = map(title, _SHOWN)
    head_grid(figure, axes[:, [0, 2, 3, 5]], ["image", chan_vese, "latent image", ours])
    figure08.head_distributions(figure, axes[0, [1, 4]], ["grey values", "latent image"])
    return figure


_TOLD = {
    "chan-vese:default": "of Chan-Vese from the saliency map",
    "chan-vese:exact": "of Chan-Vese with exact steps and ν = 1",
    _PAPER: "of the paper's loop",
    "deep-cv:default": "of our default",
}


def finding(rows: DataFrame) -> str:
    """F in both cases, and what the encoder does to the overlap."""
    overlaps = summary(rows).xs(figure08.QUANTITIES["overlap"], level=1)
    there = set(full_names(rows))
    shown = {name: whose for name, whose in _TOLD.items() if name in there}
    told = []
    for case, part in _two_cases(rows).items():
        if case not in overlaps.index.get_level_values(0):
            continue
        scores = ", ".join(f"{whose} {score_of(part, name, 'f_measure').mean():.2f}" for name, whose in shown.items())
        before, after = overlaps.loc[case, "grey"], overlaps.loc[case, "latent"]
        told.append(f"{case}: F {scores}; the default's encoder changes the overlap from {before:.2f} to {after:.2f}")
    images = overlaps.loc[overlaps.index.get_level_values(0).isin(CASES.values()), "images"].sum()
    return f"On {images:.0f} composites: {'. '.join(told)}."


# -- what the paper claims ---------------------------------------------------------------------------------------------

CHAN_VESE = {
    "chan-vese:default": "from the saliency map",
    "chan-vese:exact": "means and mask minimised exactly in turn",
}


def _two_cases(rows: DataFrame) -> dict[str, DataFrame]:
    return {name: part for name, part in by_case(rows).items() if name != OTHERS}


def chan_vese_fails(rows: DataFrame) -> Verdict:
    """Does Chan-Vese fail in both cases, from the saliency map and with exact steps?"""
    found = {
        how: {case: Estimate.over(score_of(part, name, "f_measure")) for case, part in _two_cases(rows).items()}
        for name, how in CHAN_VESE.items()
    }
    evidence = "; ".join(f"{how}: {listed(by, '')}" for how, by in found.items())
    numbers = named({(how, case): each for how, by in found.items() for case, each in by.items()})
    return Verdict(judged(*(below(each, FAILS) for each in numbers.values())), f"F of Chan-Vese {evidence}.", numbers)


def better_in_both_cases(rows: DataFrame, ours: str) -> Verdict:
    """Is our F above that of Chan-Vese in both cases?"""
    parts = _two_cases(rows)
    leads = {case: lead(part, ours, "chan-vese:default", "f_measure") for case, part in parts.items()}
    scores = {case: Estimate.over(score_of(part, ours, "f_measure")) for case, part in parts.items()}
    numbers = leads | {f"F, {case}": each for case, each in scores.items()}
    status = judged(*map(above, leads.values()))
    return Verdict(status, f"F {listed(scores, '')}; lead {listed(leads)}.", numbers)


def simplified(rows: DataFrame, ours: str) -> Verdict:
    """Do the distributions of the true regions overlap less in the latent image, in both cases?"""
    table = summary(rows, ours).xs(figure08.QUANTITIES["overlap"], level=1)
    changes, evidence = figure08.changes_to_latent(table[table.index.isin(CASES.values())])
    return Verdict(judged(*map(below, changes.values())), f"Overlap, {evidence}.", changes)


CLAIMS = (
    Claim(
        id="figure01/chan-vese-fails",
        section="1, Figure 1",
        says="Chan-Vese fails where foreground or background is not Gaussian, and where the two overlap much.",
        test="F on embedded composites of the two kinds, from the saliency map, as everywhere here, and with means and "
        f"mask minimised exactly in turn. Four parts: it is below {FAILS:g} in both cases, either way. {ALL_PARTS}",
        decide=chan_vese_fails,
        ours={},
        against=tuple(CHAN_VESE),
        set_after=True,
    ),
    Claim(
        id="figure01/better",
        section="1, Figure 1; 1.1",
        says="In both of these cases ours is more accurate.",
        test="The lead in F over Chan-Vese from the same saliency map, paired over the composites of each kind, is "
        f"above 0. {ALL_PARTS}",
        decide=better_in_both_cases,
        against=("chan-vese:default",),
    ),
    Claim(
        id="figure01/simplified",
        section="1.1, Figure 1",
        says="The encoder simplifies the two distributions so that the Chan-Vese model applies.",
        test="The overlap of the true regions' distributions (1 minus their Jensen-Shannon divergence) in the latent "
        f"image minus that in the grey values is below 0, in both cases. {ALL_PARTS}",
        decide=simplified,
    ),
)

EXPERIMENT = experiment.Experiment(
    name="figure01",
    title="Figure 1",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
    claims=CLAIMS,
)
