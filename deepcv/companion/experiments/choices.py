"""The package's own settings: what each choice does to the F-measure and to the time.

Not in the paper. Each setting of the default is changed alone, on the images that the settings were chosen on: the
first 20 of Weizmann by name. The choices are the defaults of `deepcv.model.settings.Settings`; Table 1 reports the
other 80 images separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepcv.companion.claims import (
    NOTHING_GAINED,
    OURS,
    PARTS,
    Claim,
    Estimate,
    Verdict,
    above,
    below,
    judged,
    not_run,
)
from deepcv.companion.experiments import variants
from deepcv.companion.experiments.experiment import N_TUNING_IMAGES, Experiment, Group, Reduction
from deepcv.companion.experiments.variants import (
    ONLY_THE_IMAGE,
    ONLY_THE_IMAGE_TEST,
    UNIT_VARIANCE,
    changes_of,
    from_the_image_alone,
)
from deepcv.companion.pictures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

EFFORT = ("size", "rounds", "settled", "steps", "more_steps", "width", "levels", "precision")
"""Settings that trade time for score; the others define the model."""

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"{name} = {str(value).removesuffix('.0')}": {name: value} for name, values in (
        ("size", (100, 160, 300)),
        ("rounds", (1, 2, 3)),
        ("settled", (0.0, 0.001, 0.01)),
        ("steps", (10, 20, 60)),
        ("more_steps", (5, 20)),
        ("width", (4, 16)),
        ("levels", (1, 2)),
        ("precision", ("bfloat16",)),
        ("balance", (0.0, 0.5, 1.0)),
        ("nu", (0.0, 100.0, 1000.0)),
        ("hint_weight", (0.0, 50.0, 200.0)),
        ("edge_sensitivity", (0.0, 3.0)),
        ("guided_radius", (10, 50)),
        ("start", ("clusters", "textures")),
    ) for value in values},
    "decoder": {"decoder": True},
    "decoder, learned variance": {"decoder": True, "learned_variance": True},
    "decoder, 4 samples": {"decoder": True, "samples": 4},
    "decoder, pixels to 20": {"decoder": True, "pixel_range": 20.0},
    "decoder, pixels to 255": {"decoder": True, "pixel_range": 255.0},
}  # fmt: skip

_FARTHEST = -0.15  # changes of F below this are written, not drawn

_SOME = ("default", "rounds = 1", "steps = 10", "hint_weight = 0", "balance = 0")


@dataclass(frozen=True)
class Settings(variants.Settings):
    """Settings; the variants are names in `VARIANTS`, and the default always runs, too."""

    profiles = {
        "quick": {"dataset": "samples", "solvers": {"default": Reduction({"size": 64}, 2)}, "variants": _SOME},
        "cpu": {"dataset": "weizmann", "solvers": {"default": Reduction({}, N_TUNING_IMAGES)}},
        "paper": {"dataset": "weizmann", "solvers": {"default": Reduction({}, N_TUNING_IMAGES)}},
    }
    known = VARIANTS


def groups(settings: Settings) -> list[Group]:
    """Each setting changed alone, in our solver."""
    return variants.groups(settings, VARIANTS, "default")


def summary(rows: DataFrame) -> DataFrame:
    """Scores of each variant and the paired difference to the default, as in `variants.summary`."""
    return variants.summary(rows, VARIANTS, "default")


def plot(table: DataFrame) -> Figure:
    """F against seconds for the settings that trade time for score, and the change of F by every choice.

    Parameters
    ----------
    table : pandas.DataFrame
        From `summary`.
    """
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    figure, (trade, change) = plt.subplots(1, 2, figsize=(10.5, 0.24 * len(table) + 2.2), width_ratios=(1.15, 1))
    cost = table.set_axis([" ".join(column) for column in table.columns], axis=1)
    colours = dict(zip(EFFORT, COLOURS, strict=False))
    markers = dict(zip(EFFORT, "osD^vP<X", strict=True))
    for name in EFFORT:
        turned = cost[[index.startswith(f"{name} =") for index in cost.index]]
        if turned.empty:
            continue
        along = cost.loc[["default", *turned.index]].sort_values("run s/image")
        trade.plot("run s/image", "F mean", data=along, label="_", color=colours[name], lw=0.8, alpha=0.6)
        trade.scatter(
            "run s/image", "F mean", data=turned, color=colours[name], marker=markers[name], label=name, zorder=3
        )
        for label, row in turned.iterrows():
            place = (row["run s/image"], row["F mean"])
            trade.annotate(label.split("= ")[1], place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    default = cost.loc[["default"]]
    trade.scatter("run s/image", "F mean", data=default, color="black", marker="*", s=140, label="default", zorder=4)
    trade.set(xscale="log", xlabel="seconds per image, one core (log scale)", ylabel="F-measure, mean over images")
    trade.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    trade.xaxis.set_major_formatter("{x:g}")
    trade.xaxis.set_minor_formatter(ticker.NullFormatter())
    trade.legend(fontsize=8)
    trade.grid(alpha=0.25)
    variants.plot_intervals(change, table["ΔF"].drop(index="default"), least=_FARTHEST, color="black", marker="o")
    change.axvline(0, color="0.3", lw=0.8, ls="--")
    change.set_xlabel("change of F against the default, 95 % interval")
    change.xaxis.set_major_locator(ticker.MaxNLocator(5))
    figure.tight_layout()
    return figure


def _changes(rows: DataFrame, names: list[str], reference: str = "default") -> dict[str, Estimate]:
    """The change of F by each of these variants that has rows, against the reference."""
    changes = changes_of(variants.summary(rows, (reference, *names), reference))
    return {name: changes[name] for name in names if name in changes}


_LEARNED = "decoder, learned variance"


def unit_variance(rows: DataFrame, ours: str) -> Verdict:
    """Does a learned variance gain nothing over a variance of 1, with a decoder, without which 1 is the best?"""
    gain = _changes(rows, [_LEARNED], "decoder").get(_LEARNED)
    if gain is None:
        return not_run("a learned variance")
    evidence = f"With a decoder, a learned variance changes F by {gain:+} over {gain.images} images."
    return Verdict(judged(below(gain, NOTHING_GAINED)), evidence, {"gain": gain})


def only_the_image(rows: DataFrame, ours: str) -> Verdict:
    """Is F that of a working method, although nothing but the image is given?"""
    unhinted = [name for name in VARIANTS if name.startswith("start = ")]
    return from_the_image_alone(rows, unhinted, "default", "default")


_OURS = {"default": OURS}


def finding(rows: DataFrame) -> str:
    """How many choices these images can tell from the default, and the most costly one."""
    table = summary(rows).drop(index="default")
    changes = changes_of(table)
    better, worse = (sum(rule(each) is True for each in changes.values()) for rule in (above, below))
    worst = min(changes, key=lambda name: changes[name].mean)
    return (
        f"Of {len(changes)} changes, {better} raise{'s' * (better == 1)} F and {worse} lower{'s' * (worse == 1)} it, "
        f"by intervals that exclude 0, on {table['run', 'images'].max()} photographs; the most costly is “{worst}”, "
        f"{changes[worst]:+}."
    )


CLAIMS = (
    Claim(
        id="choices/only-the-image",
        section="abstract; 1.1",
        says=ONLY_THE_IMAGE,
        test=ONLY_THE_IMAGE_TEST,
        decide=only_the_image,
        ours=_OURS,
        set_after=True,
    ),
    Claim(
        id="choices/unit-variance",
        section="5.1",
        says=UNIT_VARIANCE,
        test="The gain in F from a learned variance, paired over images and seeds, is below "
        f"{NOTHING_GAINED:g}. {PARTS}",
        decide=unit_variance,
        ours=_OURS,
        set_after=True,
    ),
)

EXPERIMENT = Experiment(
    name="choices",
    title="Our settings",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    claims=CLAIMS,
)
