"""Figure 7: segmentation under strong Gaussian noise.

The paper's claim, from pictures: at σ = 100 to 160 all compared methods fail while the deep Chan-Vese model still finds
the object. Here it is scored: F against σ, with intervals, every method from the saliency map of the noisy image. The
paper doesn't say whether noisy values were cut to 0..255; both are tried (`deepcv.data.noise`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepcv.checks import check_whole
from deepcv.companion.claims import FAILS, HOLDS, OURS, Claim, Estimate, Verdict, judged, listed
from deepcv.companion.experiments import experiment as experiments
from deepcv.companion.experiments.experiment import CHOSEN_ON, SLOW, Slow, complete, grid, variant
from deepcv.companion.experiments.table1 import parts
from deepcv.companion.pictures import head_grid, show_mask
from deepcv.companion.recorded import full_names
from deepcv.companion.store import Item, Store
from deepcv.data import Sample, load_dataset
from deepcv.methods import title
from deepcv.metrics import bootstrap_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

# -- Figure 7 ----------------------------------------------------------------------------------------------------------

COMPARED_UNDER_NOISE = ("chan-vese", "statistical", "double-dip")


def kept_under_noise(rows: DataFrame) -> DataFrame:
    """The share of the F without noise that is left, by method and clipping (rows) and σ (columns)."""

    means = by_image(rows).pivot_table("f_measure", ["name", "clipping"], "sigma")
    return means.drop(columns=0).div(means[0], axis=0)


def opponents_fail(rows: DataFrame) -> Verdict:
    """Does every compared method fail at every level of noise?"""
    kept = kept_under_noise(rows)
    compared = kept.index.get_level_values("name").str.partition(":").get_level_values(0)
    kept = kept[compared.isin(COMPARED_UNDER_NOISE)]
    lacking = [name for name in COMPARED_UNDER_NOISE if name not in compared]
    failed = kept < FAILS
    status = judged(not lacking and failed.all(axis=None), failed.any(axis=None))
    least = kept.min(axis=1).groupby("name").min()
    evidence = "Share of the F without noise that is left, the least over all σ and both kinds of clipping: "
    evidence += ", ".join(f"{title(name)} {share:.0%}" for name, share in least.items()) + "."
    evidence += f" Not yet run: {', '.join(map(title, lacking))}." if lacking else ""
    return Verdict(status, evidence, {title(name): float(share) for name, share in least.items()})


def ours_holds(rows: DataFrame) -> Verdict:
    """Does our model keep most of its F at every level of noise?"""

    kept = kept_under_noise(rows).loc[OURS]
    worst = {clipping: float(shares.min()) for clipping, shares in kept.iterrows()}
    by = by_image(rows)
    by = by[(by["name"] == OURS) & (by["sigma"] == by["sigma"].max())]
    scores = {clipping: Estimate.over(group["f_measure"]) for clipping, group in by.groupby("clipping")}
    evidence = f"At σ = {by['sigma'].max()} F is {listed(scores, '')}; of the F without noise at least " + ", ".join(
        f"{share:.0%} ({clipping})" for clipping, share in worst.items()
    )
    shares = {f"kept, {clipping}": share for clipping, share in worst.items()}
    return Verdict(
        judged(min(worst.values()) >= HOLDS, max(worst.values()) >= HOLDS), f"{evidence} is left.", shares | scores
    )


SIGMAS = (0, 100, 120, 140, 160)
"""The paper's, on the 0..255 scale, and none."""


CLIPPING = {"clipped": "", "unclipped": "-unclipped"}
"""How the noisy values are brought back to 0..255, and the end of the noisy data set's name."""


@dataclass(frozen=True)
class Profile:
    """What a profile fixes unless `Settings` says otherwise."""

    dataset: str
    n_images: int | None
    sigmas: tuple[int, ...]
    methods: tuple[str, ...]
    slow: dict[str, Slow] = field(default_factory=dict)


_DOUBLE_DIP = "double-dip:otsu"


_COMPARED = ("deep-cv", "chan-vese", "statistical", "normalized-cuts", "grabcut", "iem", "saliency")


_EVERYTHING = (*_COMPARED, _DOUBLE_DIP)


PROFILES = {
    "quick": Profile("samples", 5, (0, 100, 160), ("deep-cv", "chan-vese", "grabcut", "saliency")),
    "cpu": Profile(
        "weizmann", 2 * CHOSEN_ON, SIGMAS, _EVERYTHING, {_DOUBLE_DIP: Slow(SLOW[_DOUBLE_DIP].changes, CHOSEN_ON)}
    ),
    "paper": Profile("weizmann", None, SIGMAS, _EVERYTHING, {_DOUBLE_DIP: Slow()}),
}


@dataclass(frozen=True)
class Settings(experiments.Settings):
    """What to run; the seeds are those of the random methods, the noise of an image is always the same. Besides:

    Attributes
    ----------
    methods : tuple of str
        "method" or "method:preset".
    sigmas : tuple of int, at least 0
        Standard deviations of the noise on the 0..255 scale.

    Raises
    ------
    InputError
        For an unknown method or preset, a negative sigma, and as `deepcv.companion.experiments.experiment.Settings` does.
    """

    profiles = PROFILES

    methods: tuple[str, ...] | None = None
    sigmas: tuple[int, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        for sigma in self.sigmas or ():
            check_whole("sigma", sigma, 0)
        for name in self.methods or ():
            variant(name)


def _noisy_names(dataset: str, sigmas: tuple[int, ...]) -> list[str]:
    """The data set at each level of noise, cut and not cut; without noise it is the same either way."""
    return [f"{dataset}+noise{sigma}{end}" if sigma else dataset
            for sigma in sigmas for end in (CLIPPING.values() if sigma else ("",))]  # fmt: skip


def items(settings: Settings) -> list[Item]:
    """All results that are needed, those of slow methods last within a seed."""
    profile = settings.defaults
    sets = [
        list(load_dataset(name)[: settings.n_images or profile.n_images])
        for name in _noisy_names(settings.dataset or profile.dataset, settings.sigmas or profile.sigmas)
    ]
    wanted = parts(settings.methods or profile.methods, profile.slow, settings.size)
    return grid("figure07", settings, *((_image_by_image(sets, count), variants) for count, variants in wanted))


def _image_by_image(sets: list[list[Sample]], count: int | None) -> list[Sample]:
    return sorted((sample for samples in sets for sample in samples[:count]), key=lambda sample: sample.name)


def run(settings: Settings, *, workers=None, progress: bool = True) -> DataFrame:
    """Compute what the store lacks, a row per image, noise, method and seed; parameters as in `table1.run`."""
    return complete(items(settings), settings, workers=workers, progress=progress, description="Figure 7")


def by_image(rows: DataFrame) -> DataFrame:
    """F of each image, mean over seeds, with the noise told by columns `clipping` and `sigma`."""
    import pandas as pd

    noise = rows["dataset"].str.extract(r"\+noise(\d+)(-unclipped)?$")
    told = rows.assign(
        sigma=pd.to_numeric(noise[0]).fillna(0).astype(int),
        clipping=noise[1].notna().map({True: "unclipped", False: "clipped"}),
        name=full_names(rows),
    )
    by = told.groupby(["name", "clipping", "sigma", "image"], sort=False)["f_measure"].mean().reset_index()
    clean = by[by["sigma"] == 0]
    return pd.concat([by, clean.assign(clipping="unclipped")]) if (by["clipping"] == "unclipped").any() else by


def unseen(rows: DataFrame) -> DataFrame:
    """The rows of Weizmann's images other than those that `Settings.noise_caution` of our model was chosen on."""
    first = sorted(rows["image"].unique())[:CHOSEN_ON]
    return rows[~rows["image"].isin(first)]


def summary(rows: DataFrame) -> DataFrame:
    """Mean F by method, clipping and σ.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by method and clipping, a column of F for each σ, and `kept`: the share of the clean F that is left at
        the first σ above 0, and `images`, their number. Best first at the greatest σ.
    """
    found = by_image(rows)
    table = found.pivot_table("f_measure", ["name", "clipping"], "sigma", sort=False)
    levels = sorted(table.columns)
    table = table[levels]
    if len(levels) > 1 and levels[0] == 0:
        table = table.assign(kept=table[levels[1]] / table[0])
    table["images"] = found.groupby(["name", "clipping"])["image"].nunique()
    table = table.sort_values(levels[-1], ascending=False).sort_index(level="clipping", sort_remaining=False)
    table.index = table.index.set_levels([title(name) for name in table.index.levels[0]], level=0)
    return table.rename_axis(["", ""]).rename_axis(columns="σ")


def plot(rows: DataFrame) -> Figure:
    """F against σ for every method, with 95 % bootstrap intervals over images; a panel for each kind of clipping."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    found = by_image(rows)
    names = list(dict.fromkeys(found["name"]))
    colours = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    markers = dict(zip(names, "osD^vP<X>"[: len(names)], strict=True))
    panels = [kind for kind in CLIPPING if kind in set(found["clipping"])]
    figure, axes = plt.subplots(1, len(panels), figsize=(5.6 * len(panels), 4.2), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], panels, strict=True):
        for index, name in enumerate(names):
            group = found[(found["name"] == name) & (found["clipping"] == kind)].groupby("sigma")["f_measure"]
            mean, bounds = group.mean(), [bootstrap_interval(values.to_numpy()) for _, values in group]
            error = [[m - low for m, (low, _) in zip(mean, bounds, strict=True)],
                     [high - m for m, (_, high) in zip(mean, bounds, strict=True)]]  # fmt: skip
            shift = 1.6 * (index - (len(names) - 1) / 2)  # so that the intervals don't hide one another
            axis.errorbar(
                mean.index + shift, mean, yerr=error, color=colours[name], marker=markers[name], ms=5, lw=1,
                elinewidth=0.8, label=title(name),
            )  # fmt: skip
        axis.set(xlabel="σ of the noise, on the 0..255 scale", title=f"noisy values {kind}", ylim=(0, 1))
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("F-measure, mean over images")
    axes[0, 0].legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    return figure


def plot_masks(rows: DataFrame, settings: Settings, image: str | None = None) -> Figure:
    """Picture grid as in Figure 7: one image at each clipped noise level, and every method's mask of the first seed.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `run` with the same settings.
    settings : Settings
    image : str, optional
        Its name; default the first.
    """
    import matplotlib.pyplot as plt

    needed = [item for item in items(settings) if item.seed == settings.seeds[0] and "unclipped" not in item.dataset]
    image = image or needed[0].image
    needed = [item for item in needed if item.image == image]
    scores = rows[rows["seed"] == settings.seeds[0]].set_index(["dataset", "image", "method", "preset"])["f_measure"]
    datasets = list(dict.fromkeys(item.dataset for item in needed))
    columns = list(dict.fromkeys((item.method, item.preset) for item in needed))
    with Store() as store:
        masks = {(item.dataset, item.method, item.preset): store.labels(item) for item in needed}
    shape = (len(datasets), 1 + len(columns))
    figure, axes = plt.subplots(*shape, figsize=(1.9 * shape[1], 1.75 * shape[0]), squeeze=False)
    for row, dataset in zip(axes, datasets, strict=True):
        samples = load_dataset(dataset)
        picture = samples[samples.names.index(image)].image
        row[0].imshow(picture, cmap="gray", vmin=0, vmax=255)
        row[0].set_ylabel("σ = " + (dataset.partition("+noise")[2] or "0"), fontsize=8)
        for axis, (method, preset) in zip(row[1:], columns, strict=True):
            show_mask(axis, picture, masks[dataset, method, preset] == 1)
            axis.set_xlabel(f"F {scores[dataset, image, method, preset]:.2f}", fontsize=8)
    head_grid(figure, axes, ["image", *(title(f"{method}:{preset}") for method, preset in columns)])
    return figure


CLAIMS = (
    Claim(
        id="figure07/opponents-fail",
        section="6, Figure 7",
        says="Under noise of σ = 100 to 160 all compared methods fail.",
        test="Chan-Vese, the statistical model and Double-DIP, each from the saliency map of the noisy image. A "
        f"method fails that keeps less than {FAILS:.0%} of its F without noise. Reproduced: all of them, at every σ, "
        "with noisy values cut to 0..255 and not. Partly: one of them, somewhere.",
        decide=opponents_fail,
    ),
    Claim(
        id="figure07/ours-holds",
        section="6, Figure 7; 7",
        says="Ours still captures enough details of the object at all of these levels.",
        test=f"Reproduced: it keeps at least {HOLDS:.0%} of its F without noise at every σ, with noisy values cut to "
        "0..255 and not. Partly: with one of the two.",
        decide=ours_holds,
    ),
)
