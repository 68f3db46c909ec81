"""A network for any photograph: Algorithm 3 on mixed photographs, taught by single-image masks, without a label.

    python tools/general_network.py run

trains on ECSSD 0001 to 0200, Weizmann's photographs of two objects, each ten times an epoch, and 3,000 flowers, at 64
pixels; then it compares the network with the saliency map, as a mask and as the hint of `ridge`, on photographs that it
has not seen: Weizmann without its first 20, and ECSSD from 0201 on. `DEEPCV_DATA` must have these data sets.

The masks of the photographs are those of `deep-cv` at full size; those of the flowers are of crops, as in
`deepcv train`. book/train.md has the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deepcv.amortized import training
from deepcv.amortized.model import Model
from deepcv.amortized.run import LAST
from deepcv.amortized.segmenter import Segmenter
from deepcv.amortized.settings import settings_for
from deepcv.amortized.teaching import hints_of
from deepcv.baselines.appearance import ridge
from deepcv.companion.experiments.experiment import for_choosing
from deepcv.data import Dataset, load_dataset
from deepcv.data.crops import UNSCORED, Crops, centre_crop, crops
from deepcv.hints.hint import otsu_mask
from deepcv.hints.saliency import structured_matrix_decomposition
from deepcv.images import as_colour, resize, to_uint8
from deepcv.methods import get_method
from deepcv.metrics import bootstrap_interval, f_measure

SIZE, REPEATED, FLOWERS = 64, 10, 3000


def taught(samples: Dataset, size: int) -> tuple[Crops, np.ndarray]:
    """Centre crops of photographs, and the masks that teach them."""
    images, masks = [], []
    for sample in samples:
        membership = get_method("deep-cv").function(sample.image, seed=0, device="cpu").memberships[1]
        images.append(centre_crop(as_colour(sample.image), size))
        masks.append(centre_crop(to_uint8(resize(membership, sample.image.shape[:2])), size))
    unscored = np.full((len(images), size, size), UNSCORED, np.uint8)
    return Crops(samples.names, np.stack(images), unscored), np.stack(masks)


def training_set(size: int) -> tuple[Crops, np.ndarray]:
    """The photographs, repeated, and the flowers, with their masks."""
    ecssd, flowers = load_dataset("ecssd"), load_dataset("flowers", split="train")
    flowers = flowers.only(flowers.names[at] for at in np.linspace(0, len(flowers) - 1, FLOWERS).astype(int))
    parts = [taught(ecssd.only(for_choosing("ecssd", ecssd.names)), size), taught(load_dataset("weizmann2"), size)]
    parts = REPEATED * parts + [(found := crops(flowers, size), hints_of(found, get_method("deep-cv")))]
    names = tuple(f"{number} {name}" for number, (each, _) in enumerate(parts) for name in each.names)
    images, truths = (np.concatenate([getattr(each, kind) for each, _ in parts]) for kind in ("images", "truths"))
    return Crops(names, images, truths), np.concatenate([masks for _, masks in parts])


def compare(segmenter: Segmenter, dataset: str, count: int) -> None:
    """Print the mean F of map, network and their mean, as masks and as hints, and the changes against the map."""
    samples = load_dataset(dataset)
    chosen = set(for_choosing(dataset, samples.names))
    samples = samples.only(name for name in samples.names if name not in chosen).spread(count)
    scores: dict[str, list[float]] = {}
    for sample in samples:
        saliency = structured_matrix_decomposition(sample.image)
        network = np.clip(resize(segmenter.predict([sample.image])[0].memberships[1], saliency.shape), 1e-3, 1 - 1e-3)
        for name, hint in (("map", saliency), ("network", network), ("their mean", (saliency + network) / 2)):
            scores.setdefault(f"{name}, Otsu", []).append(f_measure(otsu_mask(hint), sample.mask))
            scores.setdefault(f"ridge from {name}", []).append(f_measure(ridge(sample.image, hint).mask, sample.mask))
    for name, found in scores.items():
        against = np.array(scores["ridge from map" if name.startswith("ridge") else "map, Otsu"])
        low, high = bootstrap_interval(np.array(found) - against)
        print(
            f"{dataset}, {len(samples)} images, {name}: {np.mean(found):.3f}, change "
            f"{np.mean(found) - against.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        )


def main() -> None:
    """Train, unless the run is there, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the run; an interrupted one resumes")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=100, help="of each data set, evenly spread, to compare on")
    given = parser.parse_args()
    settings = settings_for(
        "default", "cpu", size=SIZE, epochs=given.epochs, width=given.width, model_width=given.width
    )
    last = given.out / LAST
    if not last.is_file() or Segmenter.load(last).card["epoch"]["epoch"] < given.epochs:
        images, masks = training_set(SIZE)
        training.train(settings, images, given.out, make=Model, hints=masks, seed=given.seed, progress=True)
    for dataset in ("weizmann", "ecssd"):
        compare(Segmenter.load(last), dataset, given.images)


if __name__ == "__main__":
    main()
