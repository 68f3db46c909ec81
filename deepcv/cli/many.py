"""Segment pictures, one or many, from the command line: write what is made of them and say how it went."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deepcv.cli.pieces import STREAM, Piece, made_of, noted, say
from deepcv.cli.tables import Tables
from deepcv.errors import TOO_LARGE, InputError, out_of_memory

if TYPE_CHECKING:
    import numpy as np

    from deepcv.contours import Objects
    from deepcv.door import Found


@dataclass(frozen=True)
class Report:
    """What became of a picture."""

    piece: Piece
    problem: str = ""
    notes: tuple[str, ...] = ()
    line: str = ""
    rows: Sequence[dict[str, Any]] = ()
    objects: tuple[tuple[int, int], list[dict[str, Any]]] | None = None

    def add_to(self, tables: Tables) -> None:
        """Add the picture to tables."""
        tables.add(self.piece.name, self.rows, self.objects, self.problem)


@dataclass(frozen=True)
class Work:
    """What is done with each picture; processes get a copy."""

    segment: Callable[[list[np.ndarray], list[tuple[int, int]]], list[Found]]
    """From pictures as they were read, and their full shapes."""
    reading: Mapping[str, Any]
    """Keywords of `deepcv.pictures.read_checked`."""
    phases: int | None = 2
    """Number of regions; None if only the masks tell."""
    made_by: str = ""
    """A hash of what a mask depends on besides the picture."""
    largest: bool = False
    rows: bool = False
    objects: bool = False
    say: bool = False
    """Whether to say, before it is segmented, what a picture is."""
    title: str = ""


def compute(work: Work, batch: Sequence[Piece], *, alone: bool = False) -> list[Report]:
    """Segment a batch of pictures and write their outputs; those that fail are reported, unless `alone`."""
    from deepcv.pictures import read_checked

    reports: list[Report] = []
    pictures: list[tuple[Piece, Any]] = []
    for piece in batch:
        try:
            if piece.done or piece.corrected:
                reports.append(_kept(work, piece))
                continue
            picture = read_checked(piece.path, **work.reading)
            if work.say:
                height, width = picture.shape
                first = f"{piece.name}: {width}×{height} pixels, {work.title} …"
                print("; ".join((first, *picture.notes)), file=sys.stderr)
            pictures.append((piece, picture))
        except Exception as error:
            reports.append(_failed(piece, error, alone))
    try:
        found = work.segment([each.pixels for _, each in pictures], [each.shape for _, each in pictures])
    except Exception as error:
        return reports + [_failed(piece, error, alone) for piece, _ in pictures]
    for (piece, picture), each in zip(pictures, found, strict=True):
        try:
            reports.append(_written(work, piece, picture, each))
        except Exception as error:
            reports.append(_failed(piece, error, alone))
    return reports


def _failed(piece: Piece, error: Exception, alone: bool) -> Report:
    if alone:
        raise error
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error} (please report this bug)"
    said = TOO_LARGE if out_of_memory(error) else " ".join(said.split())
    return Report(piece, said if str(piece) in said else f"{piece}: {said}")


def _written(work: Work, piece: Piece, picture, found: Found) -> Report:
    import numpy as np

    from deepcv.confidence import told
    from deepcv.pictures import enlarged

    phases = len(found.memberships)
    labels, objects = _with_objects(work, enlarged(found.labels, phases, picture.shape), phases)
    soft = found.memberships if found.belief is None else np.stack((1 - found.belief, found.belief))
    _write(work, piece, piece.places, picture, labels, soft, objects, found.confidence)
    report = _reported(work, piece, labels, objects, phases, found.confidence)
    notes = found.notes if work.say else (*picture.notes, *found.notes)
    line = shares(labels, phases) + ("" if found.confidence is None else f", {told(found.confidence)}")
    return replace(report, notes=notes, line=line)


def _write(
    work: Work,
    piece: Piece,
    places: Mapping[str, Path],
    picture,
    labels: np.ndarray,
    soft: np.ndarray | None,
    objects: Objects,
    confidence: float | None,
) -> None:
    """Write outputs, with a note of what they were made of."""
    from deepcv import outputs
    from deepcv.pictures import read_picture, with_note, write_images

    def whole() -> np.ndarray:
        if picture.pixels.shape[:2] == picture.shape:
            return picture.pixels
        return read_picture(piece.path, **{**work.reading, "longest": None}).pixels

    note = made_of(work.made_by, piece.path) + ("" if confidence is None else f" {confidence:.3f}")
    written = outputs.encoded(places, labels, soft, picture.pixels, piece.name, objects, whole)
    write_images((path, with_note(path, each, note)) for path, each in written)


def _kept(work: Work, piece: Piece) -> Report:
    """The report of a mask that stays; the other outputs are made of it if it is another program's."""
    from deepcv.pictures import gathered, read_checked, read_image

    mask = piece.places["out"]
    if not piece.corrected:
        labels, phases = gathered(read_image(mask), work.phases)
        return _reported(work, piece, *_with_objects(work, labels, phases), phases, noted(mask)[1])
    picture = read_checked(piece.path, **work.reading)
    labels, phases = _corrected(mask, work.phases, picture.shape)
    labels, objects = _with_objects(work, labels, phases)
    others = {kind: place for kind, place in piece.places.items() if kind != "out"}
    if not piece.done:
        _write(work, piece, others, picture, labels, None, objects, None)
    notes = ["its mask is another program's and has no soft memberships"] * ("soft" in others)
    return replace(_reported(work, piece, labels, objects, phases), notes=tuple(notes))


def _corrected(mask: Path, phases: int | None, shape: tuple[int, int]) -> tuple[np.ndarray, int]:
    """The labels in a mask that another program wrote, of a picture of a shape, and the number of regions."""
    import numpy as np

    from deepcv.pictures import alpha_channel, gathered, read_image

    grey = read_image(mask, convert=True, indices=(phases or 2) > 2)  # what is transparent is white in it
    if (alpha := alpha_channel(mask)) is not None:  # and here black: it was erased
        grey = np.maximum(grey.astype(np.int16) - (255 - alpha.reshape(alpha.shape + (1,) * (grey.ndim - 2))), 0)
    grey = grey if grey.ndim == 2 else grey.max(axis=2)
    if grey.shape != shape:
        (height, width), (full_height, full_width) = grey.shape, shape
        raise InputError(
            f"the mask {mask} has {width}×{height} pixels, its picture {full_width}×{full_height}; save it at that "
            "size, or make it anew (--again)"
        )
    if phases is None:
        return gathered(grey, None)
    if grey.max() < phases:  # the labels themselves
        return grey.astype(np.uint8), phases
    return np.rint(grey * np.float32((phases - 1) / 255)).astype(np.uint8), phases


def _reported(
    work: Work, piece: Piece, labels: np.ndarray, objects: Objects, phases: int, confidence: float | None = None
) -> Report:
    from deepcv import outputs

    rows = outputs.areas(labels, phases, piece.name, objects, confidence) if work.rows else ()
    return Report(piece, rows=rows, objects=(labels.shape, outputs.coco_objects(objects)) if work.objects else None)


def _with_objects(work: Work, labels: np.ndarray, phases: int) -> tuple[np.ndarray, Objects]:
    """The labels, of the largest object alone if that is asked for, and the objects of region 1."""
    from deepcv.contours import Objects

    objects = Objects(labels.view(bool) if phases == 2 else labels == 1)
    if not work.largest:
        return labels, objects
    largest = objects.largest()
    return largest.view("uint8"), Objects(largest)


def shares(labels: np.ndarray, phases: int) -> str:
    """The regions' shares of a picture in words."""
    import numpy as np

    if phases == 2:
        return f"foreground {np.count_nonzero(labels) / labels.size:.1%}"
    found = [np.count_nonzero(labels == phase) / labels.size for phase in range(phases)]
    empty = ", ".join(str(phase) for phase, share in enumerate(found) if not share)
    return f"{phases} phases of {', '.join(f'{share:.1%}' for share in found)}" + (f"; empty: {empty}" if empty else "")


# -- from the command line ---------------------------------------------------------------------------------------------


def do_one(work: Work, piece: Piece, tables: Tables, started: float) -> None:
    """Segment one picture, from standard input if its name is "-", and say what came out."""
    work = replace(work, say=True, rows=bool(tables.areas), objects=bool(tables.coco))
    (report,) = _from_stream(work, piece) if piece.path == STREAM else compute(work, [piece], alone=True)
    report.add_to(tables)
    tables.write()
    first = next(iter(piece.places.values()))
    seconds = time.perf_counter() - started
    for note in report.notes:
        print(note, file=sys.stderr)
    print(f"{first}: {report.line}, {seconds:.1f} s", file=sys.stderr if STREAM in piece.places.values() else None)


def _from_stream(work: Work, piece: Piece) -> list[Report]:
    """`compute` for the picture in standard input, from a temporary file."""
    from deepcv.files import temporary_folder

    if sys.stdin is None:
        raise InputError("standard input is closed; send the picture to it, or name a file")
    try:
        place = Path(tempfile.gettempdir())
    except OSError:
        raise InputError("no folder for temporary files can be written; set TMPDIR to one, or name a file") from None
    with temporary_folder(place, "deepcv-input-") as folder:
        given = replace(piece, path=folder / "picture", name="standard input")
        given.path.write_bytes(sys.stdin.buffer.read())
        try:
            return compute(work, [given], alone=True)
        except InputError as error:
            raise InputError(str(error).replace(str(given.path), given.name)) from None


def do_many(
    work: Work,
    pieces: list[Piece],
    out: Path,
    tables: Tables,
    started: float,
    *,
    workers: int | Executor | None,
    batch: int,
    again: bool,
) -> None:
    """Segment many pictures in several processes; raise `typer.Exit` with status 1 if some can't be segmented."""
    from deepcv import parallel

    function = partial(compute, replace(work, rows=bool(tables.areas), objects=bool(tables.coco)))
    if isinstance(workers, Executor):
        function = partial(_within, Path.cwd(), function)
    if again:
        pieces = [replace(piece, done=False, corrected=False) for piece in pieces]
    todo = [piece for piece in pieces if not piece.done or tables.paths]
    batches = [Batch(todo[first : first + batch]) for first in range(0, len(todo), batch)]
    if not isinstance(workers, Executor):
        workers = min(workers or parallel.concurrency(None), max(1, len(batches)))
    left = {piece.path: piece for piece in todo}
    failed: list[Report] = []
    bar = sys.stderr.isatty()
    try:
        for _, reports in parallel.run(function, batches, workers=workers, progress=bar):
            for report in reports:
                del left[report.piece.path]
                report.add_to(tables)
                for note in report.notes:
                    say(f"{report.piece}: {note}")
                if report.problem:
                    failed.append(report)
                    say(f"skipped: {report.problem}")
    except KeyboardInterrupt:
        say("finished pictures are kept; run the command again to resume")
        raise
    except InputError as error:  # a process died
        if not left:
            raise
        for piece in left.values():
            failed.append(Report(piece, f"{piece}: {error}"))
            failed[-1].add_to(tables)
        say(str(error))
    tables.write()
    lost = {report.piece.path for report in failed}
    kept = sum(piece.corrected for piece in pieces if piece.path not in lost)
    there = sum(piece.done and not piece.corrected for piece in pieces if piece.path not in lost)
    written = len(pieces) - there - kept - len(failed)
    parts = [f"{written} mask{'s' * (written != 1)}"]
    parts += [f"{there} {'was' if there == 1 else 'were'} there (--again makes them anew)"] * (there > 0)
    parts += [f"{kept} of another program stay{'s' * (kept == 1)}"] * (kept > 0)
    parts += [f"{len(failed)} skipped"] * bool(failed)
    print(f"{out}: {', '.join(parts)}, {time.perf_counter() - started:.1f} s")
    if failed:
        raise typer.Exit(1)


def _within(folder: Path, function: Callable[[Batch], list[Report]], batch: Batch) -> list[Report]:
    """Call a function in the folder that relative paths start from, on a machine that may have started elsewhere."""
    try:
        with contextlib.chdir(folder):
            return function(batch)
    except FileNotFoundError:
        raise InputError(
            f"a worker has no folder {folder}; pictures and masks must lie where all workers see them"
        ) from None


class Batch(list[Piece]):
    """Pieces that are segmented together."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))
