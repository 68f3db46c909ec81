"""Flowers-17's trimaps for the photographs that Flowers-102 has, too: `deepcv data link`.

The two sets share photographs under other names and at other sizes. They are found by comparing pictures: each
photograph of Flowers-17 with the one of Flowers-102 that it correlates with most when both have `COARSE` × `COARSE`
pixels. The two are the same if their aspect ratios agree and they correlate by at least `SAME` at `SIDE` × `SIDE`.
Sides of 256 and 160 pixels suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deepcv.data import flowers
from deepcv.errors import InputError
from deepcv.files import remedy_for, write_whole
from deepcv.images import as_colour, resize
from deepcv.pictures import read_image, write_images

COARSE, SIDE = 16, 64

SAME = 0.987
"""Of 1160 photographs at 256 pixels and 8185 at 160, the 436 shared ones correlate by at least 0.9914. Three others
with the same aspect ratio do by 0.950 to 0.980: the same photograph, cut out a few pixels elsewhere, so a trimap would
not fit. Different photographs reach 0.865, those with the same aspect ratio 0.786."""

ASPECT = 0.01
"""How far two aspect ratios may differ, relatively: sides are rounded. The 436 differ by at most 0.0049; a cut by two
percent correlated by 0.988."""


def link(*, overwrite: bool = False, report: Callable[[str], object] = print, progress: bool = False) -> Path:
    """Write the trimaps of shared photographs to `flowers102/trimaps/`, at Flowers-102's size, and a table of pairs.

    Pixels are rescaled to the nearest. Flowers-17 has some photographs twice: the later trimap is taken, and the table
    has both pairs; it also has those without a trimap.

    Parameters
    ----------
    overwrite : bool
        Replace files that are there; otherwise they are left.
    report : callable
        Called with a sentence.
    progress : bool
        Show a progress bar while decoding.

    Returns
    -------
    pathlib.Path
        The folder of the trimaps.

    Raises
    ------
    InputError
        When a data set is missing, a file can't be read or written, or a trimap has another size than its photograph.
        No file is half written.
    """
    first, second = flowers.root_of("flowers17", "jpg", "trimaps"), flowers.root_of("flowers102", "jpg")
    pairs = shared(*(sorted((root / "jpg").glob("*.jpg")) for root in (first, second)), progress=progress)
    target = second / "trimaps"
    marked = {}
    for ours, theirs in pairs:
        trimap = first / "trimaps" / f"{ours.stem}.png"
        if trimap.exists():
            marked[target / f"{theirs.stem}.png"] = trimap, ours, theirs
    wanted = {path: each for path, each in marked.items() if overwrite or not path.exists()}
    trimaps = {path: _rescaled(*each) for path, each in wanted.items()}
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        remedy = remedy_for(error, "set DEEPCV_DATA to a folder you may write")
        raise InputError(f"can't make {target} ({error.strerror}); {remedy}") from None
    write_images(trimaps)
    table = target / flowers.PAIRS
    if overwrite or not table.exists():
        lines = sorted(f"{theirs.stem},{ours.stem}\n" for ours, theirs in pairs)
        write_whole(table, "".join(["flowers102,flowers17\n", *lines]).encode())
    report(
        f"{len(pairs)} photographs of Flowers-17 are in Flowers-102; "
        f"{len(trimaps)} trimaps written to {target}, {len(marked) - len(trimaps)} were there"
    )
    return target


def _rescaled(trimap: Path, ours: Path, theirs: Path) -> np.ndarray:
    import cv2

    marks = flowers.read_marks(trimap, read_image(ours))
    height, width = read_image(theirs).shape[:2]
    return cv2.resize(marks, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def shared(first: Sequence[Path], second: Sequence[Path], *, progress: bool = False) -> list[tuple[Path, Path]]:
    """The photographs that two lists of picture files share: pairs of paths, in the order of the first list.

    `InputError` is raised when a picture can't be read.
    """
    if not first or not second:
        return []
    ours, theirs = (_thumbnails(paths, progress) for paths in (first, second))
    coarse = [_normalised(_reduced(thumbnails)) for thumbnails, _ in (ours, theirs)]
    nearest = np.argmax(coarse[0] @ coarse[1].T, axis=1)
    correlation = np.sum(_normalised(ours[0]) * _normalised(theirs[0][nearest]), axis=1)
    agree = np.abs(np.log(ours[1] / theirs[1][nearest])) < ASPECT
    same = np.flatnonzero(agree & (correlation >= SAME))
    return [(first[index], second[at]) for index, at in zip(same.tolist(), nearest[same].tolist(), strict=True)]


def _thumbnails(paths: Sequence[Path], progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pictures squeezed into squares, uint8 `(N, SIDE, SIDE, 3)`, and their aspect ratios, `(N,)`."""
    from tqdm import tqdm

    def thumbnail(path: Path) -> tuple[np.ndarray, float]:
        picture = as_colour(read_image(path))
        return resize(picture, (SIDE, SIDE)), picture.shape[1] / picture.shape[0]

    with ThreadPoolExecutor() as threads:  # Pillow releases the GIL while decoding
        found = list(tqdm(threads.map(thumbnail, paths), "decoding", len(paths), disable=not progress, leave=False))
    thumbnails, aspects = zip(*found, strict=True)
    return np.stack(thumbnails), np.array(aspects)


def _reduced(thumbnails: np.ndarray) -> np.ndarray:
    """Means of blocks: `(N, COARSE, COARSE, 3)`."""
    block = SIDE // COARSE
    return thumbnails.reshape(-1, COARSE, block, COARSE, block, 3).mean(axis=(2, 4), dtype=np.float32)


def _normalised(pictures: np.ndarray) -> np.ndarray:
    """Each as a vector of mean 0 and length 1, so that products are correlations; of one colour, 0."""
    vectors = pictures.reshape(len(pictures), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
