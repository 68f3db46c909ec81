"""Algorithm 3 over its epochs: does it learn more than where flowers are, and what decides it?

Not in the paper, which shows no training. U starts at random, so at first it knows nothing; a mask that doesn't look at
the image, a centred disk or the mean of the training masks, already has a high IoU, since photographers centre flowers.
Here the networks of Tables 2 and 3, and others that differ from the printed algorithm in one choice, are scored after
1, 2, 4, … epochs beside these two, and compared with one another: a network that gives all images the same mask doesn't
look at them either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from deepcv.companion.claims import TRAINED, Estimate, reduced
from deepcv.companion.experiments import flowers, table2, table3
from deepcv.companion.experiments.experiment import Experiment, Group
from deepcv.companion.experiments.flowers import CollectionSettings, network, scored
from deepcv.companion.networks import epochs_kept
from deepcv.companion.pictures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

PRINTED, TAUGHT = "printed", "taught by our masks"


class Choice(NamedTuple):
    """A network, "method:preset" of Table 2, and the settings that it changes."""

    name: str
    changes: Mapping[str, Any]


_PAPER = "amortized:paper"
CHOICES = {
    PRINTED: Choice(_PAPER, table3.CONSTRAINTS["AuI+CRI"]),
    "neither constraint": Choice(_PAPER, table3.CONSTRAINTS["none"]),
    "AuI alone": Choice(_PAPER, table3.CONSTRAINTS["AuI"]),
    "CRI alone": Choice(_PAPER, table3.CONSTRAINTS["CRI"]),
    "one joint step": Choice(_PAPER, {"joint": True}),
    "μ = ±10": Choice(_PAPER, {"latent_mean": 10.0}),
    "μ = ±1": Choice(_PAPER, {"latent_mean": 1.0}),
    "rate 3e-3, decaying": Choice(_PAPER, {"learning_rate": 3e-3, "decay": True}),
    "batches of 32": Choice(_PAPER, {"batch": 32}),
    "five U-Nets": Choice(_PAPER, {"separate_encoders": True, "separate_decoders": True, "channel_mean": True}),
    "distorted images": Choice(_PAPER, {"distortion": 1.0}),
    TAUGHT: Choice("amortized:default", {}),
    "ReDO": Choice("redo:default", {}),
}
"""The condition `variant`. The first four are the networks of Table 3, the last two and the first those of Table 2;
"five U-Nets" is the released code's model."""


@dataclass(frozen=True)
class Settings(CollectionSettings):
    """What to run; besides the fields of `CollectionSettings`:

    Attributes
    ----------
    variants : tuple of str
        Keys of `CHOICES`.
    """

    profiles = {
        "quick": {"dataset": "flowerlike", "size": 32, "n_train": 16, "n_images": 4, "variants": (PRINTED, TAUGHT)},
        "cpu": {"dataset": "flowers102", "size": 64, "variants": tuple(CHOICES)},
        "paper": {"dataset": "flowers102", "size": 128, "variants": tuple(CHOICES)},
    }

    variants: tuple[Literal[*CHOICES], ...] | None = None  # type: ignore[valid-type]  # keys of a table


def groups(settings: Settings) -> list[Group]:
    """Each network after each of its `epochs_kept`, on the test images."""
    images, found = scored(settings, "test"), []
    for variant in settings.variants or ():
        name, changes = CHOICES[variant]
        changes = {**table2.NETWORKS[settings.profile][name], **changes}
        last = network(settings, name, changes, "last").settings["training"]["epochs"]
        found += [network(settings, name, changes, epoch, variant=variant, after=epoch) for epoch in epochs_kept(last)]
    return [Group(images, found)]


# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """Each network after its last epoch, the last that all its seeds have reached, and whether it is better than a mask
    that doesn't look at the image.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Experiment.run`, or of a recorded run.

    Returns
    -------
    pandas.DataFrame
        Indexed by variant; `epochs`; test `mIoU` as decided and `oracle`; `over the disk`, the oracle's IoU minus the
        disk's mean, with its 95 % `interval` over images, seeds averaged; `best` oracle mIoU over epochs and `at` which
        epoch; `alike`, the mean IoU of the masks with their majority, 1 if all images have the same mask; `collapsed`,
        how many of the `seeds`.
    """
    import pandas as pd

    disk, table = flowers.baseline(rows, "disk"), {}
    for variant in _variants(rows):
        group = rows[rows["variant"] == variant]
        curve = _by_seed(group).dropna().mean(axis=1)
        last = group[group["after"] == curve.index.max()]
        by_image = last.groupby("image")[["iou", "iou_oracle"]].mean()
        lead = Estimate.over(by_image["iou_oracle"] - disk)
        table[variant] = {
            "epochs": int(curve.index.max()),
            "mIoU": by_image["iou"].mean(),
            "oracle": by_image["iou_oracle"].mean(),
            "over the disk": lead.mean,
            "interval": f"{lead.low:+.3f} to {lead.high:+.3f}",
            "best": curve.max(),
            "at": int(curve.idxmax()),
            "alike": last["alike"].mean(),
            "collapsed": int(last.groupby("seed")["collapsed"].max().sum()),
            "seeds": last["seed"].nunique(),
        }
    return pd.DataFrame.from_dict(table, orient="index")


def _variants(rows: DataFrame) -> list[str]:
    """Those of the rows, the printed algorithm first."""
    return sorted(rows["variant"].unique(), key=[*CHOICES].index)


def _by_seed(rows: DataFrame, score: str = "iou_oracle") -> DataFrame:
    """Means over images by epoch, a column per seed; NaN where a seed's training hasn't come so far."""
    return rows.pivot_table(score, "after", "seed")


CURVES = {"iou_oracle": "mIoU, with the oracle", "alike": "IoU with the mask of the majority"}
"""What is drawn against epochs, and the labels."""


def plot(rows: DataFrame) -> Figure:
    """`CURVES` of the test images: means over seeds, each seed thin; with mIoU the disk and the mean mask."""
    import matplotlib.pyplot as plt

    variants = _variants(rows)
    panels = [variants[first : first + 4] for first in range(0, len(variants), 4)]
    size = 3.6 * len(panels) + 0.6, 6
    figure, axes = plt.subplots(2, len(panels), figsize=size, sharex=True, sharey=True, squeeze=False)
    for name, style in (("disk", "--"), ("mean mask", ":")):
        for axis in axes[0]:
            axis.axhline(flowers.baseline(rows, name), color="0.35", linestyle=style, linewidth=1, label=name)
    for (score, label), line in zip(CURVES.items(), axes, strict=True):
        for axis, shown in zip(line, panels, strict=True):
            for variant, colour in zip(shown, COLOURS, strict=False):
                table = _by_seed(rows[rows["variant"] == variant], score)
                axis.plot(table.index, table, color=colour, linewidth=0.6, alpha=0.5)
                mean = table.dropna().mean(axis=1)
                axis.plot(mean.index, mean, color=colour, marker="o", markersize=3, label=variant)
            axis.set_xscale("log", base=2)
            axis.set(ylim=(0, 1.02))
            axis.xaxis.set_major_formatter("{x:.0f}")
            axis.grid(alpha=0.25)
        line[0].set_ylabel(label)
    for above, below in axes.T:
        above.legend(fontsize=7, loc="lower left")
        below.set_xlabel("epochs")
    figure.tight_layout()
    return figure


def finding(rows: DataFrame) -> str:
    """How high each training rises, where it ends, and whether its masks then still follow the images."""
    told = ". ".join(
        f"{name[0].upper()}{name[1:]} has {row['best']:.3f} at best, after epoch {row['at']}, and {row['oracle']:.3f} "
        f"after epoch {row['epochs']}, when its masks overlap their majority by {row['alike']:.2f}"
        for name, row in summary(rows).iterrows()
    )
    return (
        f"A centred disk has an mIoU with the oracle of {flowers.baseline(rows, 'disk'):.3f}; the trainings, mean over "
        f"seeds, where “printed” is the paper's settings: {told}.{reduced(rows, (TRAINED['paper'],), 'epochs')}"
    )


EXPERIMENT = Experiment(
    name="epochs",
    title="Epochs",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
)
