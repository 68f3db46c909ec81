"""Several starts, each solved to its end, and one mask of them: does choosing break the bottleneck of the hint?

Not in the paper. Where the saliency map errs, so does what starts from it (`deepcv.companion.experiments.hints`). Here
the model also starts from maps of other priors and from the masks of other methods (`STARTS`), and rules that see no
truth choose among the results or combine them (`RULES`). Nothing was fitted: each rule is the first that was tried.

Reported apart: images of `deepcv.companion.experiments.experiment.for_choosing`, and others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.companion.claims import Estimate
from deepcv.companion.compute import segment
from deepcv.companion.experiments import experiment, hints
from deepcv.companion.experiments.confidence import UNSEEN, both_parts
from deepcv.companion.experiments.experiment import REDUCED, Experiment, Group, variant
from deepcv.companion.items import Item, as_json
from deepcv.companion.pictures import dataset_title
from deepcv.confidence import DOUBTFUL, confidence
from deepcv.data import Sample
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_colour, as_image
from deepcv.methods import get_method
from deepcv.metrics import f_measure, iou
from deepcv.seeds import rough_hint
from deepcv.segmentation import Segmentation, two_phase

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from pandas.io.formats.style import Styler

REFERENCE = hints.REFERENCE
STARTS: dict[str, dict[str, Any] | str] = {
    REFERENCE: {},
    "no centre": {"centre_width": 10.0, "object_bias": 0.0},
    "colours alone": {"texture_weight": 0.0},
    "GrabCut": "grabcut",
    "normalized cuts": "normalized-cuts",
    "IEM": "iem",
}
"""Where the model starts: settings of the saliency map, or a method, whose mask is a rough hint."""

SEEDS = (0, 1000, 2000)
"""Added to the seed of a row, for three runs from the map."""

BEST = hints.BY_TRUTH[1]

# -- what is run -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings(experiment.Settings):
    """What to run; besides the fields of every experiment:

    Attributes
    ----------
    methods : tuple of str
        "method" or "method:preset", models with an energy.
    datasets : dict of str to tuple
        As of `deepcv.companion.experiments.confidence.Settings`.
    variants : tuple of str
        Keys of `STARTS` and `RULES`.
    """

    profiles = {
        "quick": {
            "datasets": {"samples": (0, 1)},
            "variants": (REFERENCE, "GrabCut", "least energy", "majority"),
            "size": 64,
        },
        "cpu": {"datasets": {"weizmann": (20, 80), "ecssd": (50, 60)}},
        "paper": {"datasets": {"weizmann": (20, 80), "ecssd": (200, 800)}},
    }

    methods: tuple[str, ...] = ("deep-cv",)
    datasets: Mapping[str, tuple[int, int]] | None = None
    variants: tuple[str, ...] | None = None


def groups(settings: Settings) -> list[Group]:
    """Image by image, so that what the variants share is computed once; the data sets in turn."""
    found: list[list[Group]] = []
    wanted = [each for each in VARIANTS if each in (settings.variants or VARIANTS)]
    for name in settings.methods:
        for part, images in both_parts(settings):
            conditions = [{"variant": each, "images": part} for each in wanted]
            variants = [variant(name, settings.size, conditions=each) for each in conditions]
            found.append([Group(image, variants) for image in images.each()])
    return [group for turn in zip_longest(*found) for group in turn if group is not None]


def measure(item: Item, sample: Sample, hint: np.ndarray, device: str | None) -> tuple[Segmentation, dict[str, float]]:
    """What the variant makes of the image; `choice`, the place among `STARTS` of what a rule chooses, else -1."""
    wanted = item.conditions["variant"]
    key = as_json([item.dataset, item.image, item.method, item.preset, item.seed, item.settings, device])
    if key not in _last:
        _last.clear()
        _last[key] = Results(item, sample, hint, device)
    found = _last[key].start(wanted) if wanted in STARTS else RULES[wanted](_last[key])
    chosen = [place for place, each in enumerate(STARTS) if wanted not in STARTS and _last[key].known(each) is found]
    return found, {"choice": float(chosen[0] if chosen else -1)}


class Results:
    """What the model makes of an image from each start, computed when it is asked for."""

    def __init__(self, item: Item, sample: Sample, hint: np.ndarray, device: str | None):
        self.item, self.sample, self.hint, self.device = item, sample, hint, device
        self._found: dict[str, Segmentation] = {}

    def known(self, start: str) -> Segmentation | None:
        """The result from a start, if it was asked for."""
        return self._found.get(start)

    def start(self, name: str) -> Segmentation:
        """The result from a start."""
        if name not in self._found:
            self._found[name] = self.solved(self._hint_of(STARTS[name]))
        return self._found[name]

    def solved(self, hint: np.ndarray, seed: int = 0, **changes: Any) -> Segmentation:
        """The result from a hint, with another seed or changed settings."""
        settings = {**self.item.settings, **changes}
        return segment(
            replace(self.item, seed=self.item.seed + seed, settings=settings), self.sample, hint, self.device
        )

    def _hint_of(self, start: Mapping[str, Any] | str) -> np.ndarray:
        if isinstance(start, str):
            found = get_method(start).function(self.sample.image, self.hint, seed=self.item.seed)
            return rough_hint(self.sample.image, found.mask.astype(np.float32))
        return structured_matrix_decomposition(self.sample.image, **start) if start else self.hint

    @cached_property
    def all(self) -> list[Segmentation]:
        """From every start."""
        return [self.start(name) for name in STARTS]

    @cached_property
    def majority(self) -> Segmentation:
        """The mean of the masks of all starts."""
        return _mean([each.mask for each in self.all])

    @cached_property
    def certainty(self) -> float:
        """Confidence in the mask from the map."""
        return confidence(self.sample.image, self.start(REFERENCE).mask)

    def by(self, score: Callable[[Segmentation], float]) -> Segmentation:
        """The result with the greatest score, the first of equal ones."""
        return max(self.all, key=score)

    def agreement(self, found: Segmentation) -> float:
        """Mean IoU of a mask with those of all starts."""
        return float(np.mean([iou(found.mask, each.mask) for each in self.all]))

    def algorithm_1(self) -> Segmentation:
        """The paper's loop, reduced, from the mask: its real networks as a denoiser."""
        preset = get_method("deep-cv").settings("paper", **REDUCED["deep-cv:paper"].changes)
        return self.solved(self.start(REFERENCE).mask.astype(np.float32), **preset)


_last: dict[str, Results] = {}


def _mean(masks: Sequence[np.ndarray]) -> Segmentation:
    return two_phase(np.asarray(np.mean(masks, axis=0, dtype=np.float32) > 0.5))


def energy(found: Segmentation) -> float:
    """The energy at the end without the hint's term, which differs between starts: minus the model's own bound."""
    return float(sum(found.trace[term][-1] for term in ("reconstruction", "region", "length")))


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean of the gradient's norm along the boundary, over its mean; 0 for a mask without a boundary."""
    along = [np.hypot(*np.gradient(channel)) for channel in np.moveaxis(as_colour(as_image(image)), 2, 0)]
    norm = np.sqrt(np.sum(np.square(along), axis=0))
    boundary = np.hypot(*np.gradient(mask.astype(np.float32))) > 0
    return float(norm[boundary].mean() / max(norm.mean(), 1e-12)) if boundary.any() else 0.0


RULES: dict[str, Callable[[Results], Segmentation]] = {
    "least energy": lambda results: results.by(lambda found: -energy(found)),
    "most agreement": lambda results: results.by(results.agreement),
    "most contrast": lambda results: results.by(lambda found: contrast(results.sample.image, found.mask)),
    "most confidence": lambda results: results.by(lambda found: confidence(results.sample.image, found.mask)),
    "majority": lambda results: results.majority,
    "majority where doubtful": lambda results: (
        results.majority if results.certainty < DOUBTFUL else results.start(REFERENCE)
    ),
    "three seeds": lambda results: _mean([results.solved(results.hint, seed).memberships[1] for seed in SEEDS]),
    "hint weighed by confidence": lambda results: results.solved(
        results.hint, hint_weight=results.certainty * results.item.settings["hint_weight"]
    ),
    "Algorithm 1 from the mask": Results.algorithm_1,
    BEST: lambda results: results.by(lambda found: f_measure(found.mask, results.sample.mask)),
}
"""What is made of the results, without the truth but for the last, which no rule that chooses can exceed."""

VARIANTS = (*STARTS, *RULES)

# -- what is shown -----------------------------------------------------------------------------------------------------


def summary(rows: DataFrame) -> DataFrame:
    """F of each variant and its paired difference to the start from the map; as `hints.summary`."""
    return hints.summary(rows, VARIANTS)


def readable(table: DataFrame) -> Styler:
    """A styled `summary`: a row for each variant and method, a column by data set and part; changes in brackets."""
    return hints.readable(table, VARIANTS)


def plot(table: DataFrame) -> Figure:
    """The change of F with each variant but the best by the truth, a panel for each data set; from `summary`."""
    return hints.plot(table, VARIANTS)


def finding(rows: DataFrame) -> str:
    """What the rules do to F on unseen images, and what the best choice would."""
    table, told = summary(rows), []
    for dataset, part in dict.fromkeys(index[:2] for index in table.index):
        own = table.loc[(dataset, part)].droplevel(0)
        changes = {name: Estimate.from_row(row["ΔF"], row["run", "images"]) for name, row in own.iterrows()}
        rules = {name: each for name, each in changes.items() if name in RULES and name != BEST}
        if part != UNSEEN or not rules:
            continue
        best = max(rules, key=lambda name: rules[name].mean)
        sentence = f"{dataset_title(dataset)}: of {len(rules)} rules “{best}” does most, {rules[best]:+}"
        told.append(sentence + (f"; the best of the starts by the truth, {changes[BEST]:+}" if BEST in changes else ""))
    if not told:
        return "No rule is recorded on unseen images yet."
    return f"Change of F against the start from the map, on unseen images. {'. '.join(told)}."


EXPERIMENT = Experiment(
    name="hypotheses",
    title="Several starts",
    settings=Settings,
    groups=groups,
    summary=summary,
    finding=finding,
    plot=plot,
    measure=measure,
)
