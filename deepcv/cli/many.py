"""One picture or many: which there are, where their outputs go, what is done already, and what is said at the end."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deepcv.cli.options import Shared
from deepcv.cli.tables import Tables
from deepcv.errors import TOO_LARGE, InputError, out_of_memory

if TYPE_CHECKING:
    import numpy as np

    from deepcv.contours import Objects
    from deepcv.door import Found

STREAM = Path("-")
"""Standard input or output."""


@dataclass(frozen=True)
class Piece:
    """A picture and where its outputs go."""

    path: Path
    name: str
    """In tables: relative to the folder that was given."""
    places: Mapping[str, Path]
    """By the keys of `deepcv.outputs.KINDS`."""
    done: bool = False
    """Whether all outputs are there and newer."""

    def __str__(self) -> str:
        return str(self.path)


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
    """Differs with what a mask depends on besides the picture (`made_by`)."""
    largest: bool = False
    rows: bool = False
    objects: bool = False
    say: bool = False
    """Whether to say, before it is segmented, what a picture is."""
    title: str = ""


# -- what there is to do -----------------------------------------------------------------------------------------------


def wanted(out: Path | None, options: Shared, *, two: bool = True) -> dict[str, Path]:
    """The outputs of each picture that are wanted, by the keys of `deepcv.outputs.KINDS`."""
    foreground = {name: getattr(options, name) for name in ("cutout", "soft", "objects", "geojson")}
    for name, path in {**foreground, "coco": options.coco, "largest": options.largest or None}.items():
        if path is not None and not two:
            raise InputError(f"--{name} needs a foreground and a background, and there are more regions; leave it out")
    found = {"out": out, "overlay": options.overlay, **foreground}
    found = {name: path for name, path in found.items() if path is not None}
    if not found:
        raise InputError("there is nothing to write; name a mask, as in --out mask.png, or a folder for many")
    return found


def made_by(*options: object) -> str:
    """A hash of the options that masks depend on; it is written into them."""
    return hashlib.sha256(repr(options).encode(errors="backslashreplace")).hexdigest()[:16]


def is_one(images: Sequence[Path], out: Path | None) -> bool:
    """Whether one picture is to be segmented, so that outputs are files and not folders."""
    return len(images) == 1 and not images[0].is_dir() and not (out is not None and out.is_dir())


def single(image: Path, wanted: Mapping[str, Path], tables: Iterable[Path], inputs: Iterable[Path | None]) -> Piece:
    """The piece of one picture, whose outputs are files; raises `InputError` unless they can be written."""
    from deepcv.files import as_text, check_place
    from deepcv.outputs import check_suffix
    from deepcv.pictures import check_parent, check_picture

    taken = [os.path.realpath(path) for path in (image, *inputs) if path is not None and path != STREAM]
    for kind, path in (*wanted.items(), *(("", table) for table in tables)):
        if path == STREAM:
            if "-" in taken or not kind:
                raise InputError("standard output takes one mask or picture; write the others to files")
            taken.append("-")
            continue
        if kind:
            check_suffix(kind, path)
        if os.path.realpath(path) in taken:
            raise InputError(f"{path} is given twice and would be overwritten; give the output another name")
        taken.append(os.path.realpath(path))
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        if kind and kind != "geojson":
            check_picture(path)
        check_parent(path)
        check_place(path)
    return Piece(image, as_text(Path(image.name)), wanted)


def several(
    images: Sequence[Path],
    wanted: Mapping[str, Path],
    tables: Iterable[Path],
    inputs: Iterable[Path | None],
    made_by: str = "",
) -> list[Piece]:
    """The pieces of pictures and folders of pictures, whose outputs go into folders, which are made.

    A piece is done if all of its outputs are newer than the picture and the other inputs, and its mask wasn't made by
    other options; one that another program wrote, as after a correction by hand, counts as done.
    """
    from deepcv.files import as_text, check_place, remedy_for
    from deepcv.pictures import check_parent, is_cut_off

    if "out" not in wanted:
        raise InputError("many pictures need --out, a folder for their masks; those that are there aren't made again")
    if STREAM in (*images, *wanted.values(), *tables):
        raise InputError("standard input and output take one picture; name files or folders for more")
    for path in wanted.values():
        _check_folder(path)
    for path in tables:
        if path.parent.exists() or path.parent not in wanted.values():  # these are made
            check_parent(path)
            check_place(path)
    found = _pictures(images, list(wanted.values()))
    names = collections.Counter(name.with_suffix("") for name in found.values())
    others = [path for path in inputs if path is not None]
    taken = {_key(path): "given" for path in (*found, *others)}
    for path in tables:
        _claim(taken, path, "a table")
    latest = max((os.stat(path).st_mtime for path in others if path.exists()), default=0.0)
    pieces = []
    for path, name in found.items():
        alike = names[name.with_suffix("")] > 1  # photo.jpg beside photo.png: their masks keep these suffixes
        stem = name if alike else name.with_suffix("")
        places = {kind: folder / f"{stem}{_suffix(kind)}" for kind, folder in wanted.items()}
        for kind, place in places.items():
            _claim(taken, place, f"--{kind} of {path}")
            check_place(place)
        newest = max(latest, path.stat().st_mtime if path.exists() else 0.0)  # a link may lead nowhere
        done = all(place.is_file() and place.stat().st_mtime >= newest for place in places.values())
        done = done and not is_cut_off(places["out"]) and _noted(places["out"])[0] in ("", made_by)
        pieces.append(Piece(path, as_text(name), places, done))
    for path in {place.parent for piece in pieces for place in piece.places.values()}:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = remedy_for(error, "name another one")
            raise InputError(f"can't make the folder {path} ({error.strerror}); {remedy}") from None
    return pieces


def _noted(mask: Path) -> tuple[str, float | None]:
    """By what options a mask was made, and its confidence, if that is known; "" if another program wrote it."""
    from deepcv.pictures import note_in

    made_by, _, confidence = (note_in(mask) or "").partition(" ")
    return made_by, float(confidence) if confidence else None


def _key(path: Path) -> str:
    """The same for all names of a file."""
    return os.path.normcase(os.path.realpath(path))


def _claim(taken: dict[str, str], place: Path, what: str) -> None:
    """Note what is written at a place; raises `InputError` if something else is there already."""
    before = taken.get(_key(place))
    if before:
        raise InputError(f"{place} is {before} and would be overwritten by {what}; choose another name or folder")
    taken[_key(place)] = what


def _check_folder(path: Path) -> None:
    from deepcv.outputs import KINDS

    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the outputs of many pictures")
    suffixes = {suffix for kind in KINDS.values() for suffix in kind.suffixes}
    if not path.exists() and path.suffix.lower() in suffixes:
        raise InputError(f"many pictures need a folder, and {path} is the name of a file; leave {path.suffix} out")


def _suffix(kind: str) -> str:
    from deepcv.outputs import KINDS

    return (KINDS[kind].suffixes or (".png",))[0]


def _pictures(images: Sequence[Path], outputs: list[Path]) -> dict[Path, Path]:
    """Each picture and its name below the folder that was given; folders of outputs are left out.

    Pictures of one name get as many folders before it as tell them apart.
    """
    from deepcv.data.folder import picture_files

    kept_out = [Path(os.path.realpath(folder)) for folder in outputs]
    found: dict[Path, Path] = {}
    for given in images:
        if not given.is_dir():
            if not given.exists():
                raise InputError(f"there is no file {given}; check the spelling and the folder")
            found[given] = Path(given.name)
            continue
        if Path(os.path.realpath(given)) in kept_out:
            raise InputError(f"{given} has the pictures; choose another folder for what is made of them")
        there = sorted(picture_files(given))
        inside = [path for path in there if not set(kept_out) & set(Path(os.path.realpath(path)).parents)]
        if not inside:
            raise InputError(f"there are no pictures in {given}; name another folder, or single files")
        found |= {path: path.relative_to(given) for path in inside}
    first = {os.path.abspath(path): path for path in reversed(found)}  # a picture may be given twice
    return _told_apart({path: found[path] for path in found if first[os.path.abspath(path)] == path})


def _told_apart(found: dict[Path, Path]) -> dict[Path, Path]:
    while True:
        times = collections.Counter(found.values())
        longer = dict(found)
        for path, name in found.items():
            if times[name] > 1:
                longer[path] = Path(*Path(os.path.abspath(path)).parts[1:][-len(name.parts) - 1 :])
        if longer == found:
            return found
        found = longer


# -- doing it ----------------------------------------------------------------------------------------------------------


def compute(work: Work, batch: Sequence[Piece], *, alone: bool = False) -> list[Report]:
    """Segment a batch of pictures and write their outputs; those that fail are reported, unless `alone`."""
    from deepcv.pictures import read_checked

    reports: list[Report] = []
    pictures: list[tuple[Piece, Any]] = []
    for piece in batch:
        try:
            if piece.done:
                reports.append(_reported(work, piece, *_there(piece, work.phases)))
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

    from deepcv import outputs
    from deepcv.confidence import told
    from deepcv.pictures import enlarged, read_picture, with_note, write_images

    phases = len(found.memberships)
    labels = enlarged(found.labels, phases, picture.shape)
    objects = _foreground(labels, phases)
    if work.largest:
        labels = objects.largest().view("uint8")
        objects = _foreground(labels, phases)
    soft = found.memberships if found.belief is None else np.stack((1 - found.belief, found.belief))

    def whole() -> np.ndarray:
        if picture.pixels.shape[:2] == picture.shape:
            return picture.pixels
        return read_picture(piece.path, **{**work.reading, "longest": None}).pixels

    written = outputs.encoded(piece.places, labels, soft, picture.pixels, piece.name, objects, whole)
    mask = piece.places.get("out")
    note = work.made_by + ("" if found.confidence is None else f" {found.confidence:.3f}")
    write_images((path, with_note(path, each, note) if path == mask else each) for path, each in written)
    report = _reported(work, piece, labels, phases, objects, found.confidence)
    notes = found.notes if work.say else (*picture.notes, *found.notes)
    line = shares(labels, phases) + ("" if found.confidence is None else f", {told(found.confidence)}")
    return replace(report, notes=notes, line=line)


def _reported(
    work: Work, piece: Piece, labels: np.ndarray, phases: int, objects: Objects, confidence: float | None = None
) -> Report:
    from deepcv import outputs

    rows = outputs.areas(labels, phases, piece.name, objects, confidence) if work.rows else ()
    return Report(piece, rows=rows, objects=(labels.shape, outputs.coco_objects(objects)) if work.objects else None)


def _foreground(labels: np.ndarray, phases: int) -> Objects:
    """The objects of region 1; of two regions without a copy."""
    from deepcv.contours import Objects

    return Objects(labels.view(bool) if phases == 2 else labels == 1)


def _there(piece: Piece, phases: int | None) -> tuple[np.ndarray, int, Objects, float | None]:
    """Labels, number of regions, the foreground's objects and the confidence, if known, of a mask that is there."""
    from deepcv.pictures import gathered, read_image

    labels, phases = gathered(read_image(piece.places["out"]), phases)
    return labels, phases, _foreground(labels, phases), _noted(piece.places["out"])[1]


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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        given = piece
        if piece.path == STREAM:
            given = replace(piece, path=Path(folder, "picture"), name="standard input")
            if sys.stdin is None:
                raise InputError("standard input is closed; send the picture to it, or name a file")
            given.path.write_bytes(sys.stdin.buffer.read())
        try:
            (report,) = compute(work, [given], alone=True)
        except InputError as error:
            raise InputError(str(error).replace(str(given.path), given.name)) from None
    report.add_to(tables)
    tables.write()
    first = next(iter(piece.places.values()))
    seconds = time.perf_counter() - started
    for note in report.notes:
        print(note, file=sys.stderr)
    print(f"{first}: {report.line}, {seconds:.1f} s", file=sys.stderr if STREAM in piece.places.values() else None)


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
        pieces = [replace(piece, done=False) for piece in pieces]
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
                    _say(f"{report.piece}: {note}")
                if report.problem:
                    failed.append(report)
                    _say(f"skipped: {report.problem}")
    except KeyboardInterrupt:
        _say("finished pictures are kept; run the command again to resume")
        raise
    except InputError as error:  # a process died
        if not left:
            raise
        for piece in left.values():
            failed.append(Report(piece, f"{piece}: {error}"))
            failed[-1].add_to(tables)
        _say(str(error))
    tables.write()
    there = sum(piece.done for piece in pieces) - sum(report.piece.done for report in failed)
    written = len(pieces) - there - len(failed)
    parts = [f"{written} mask{'s' * (written != 1)}"]
    parts += [f"{there} {'was' if there == 1 else 'were'} there (--again makes them anew)"] * (there > 0)
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


def _say(sentence: str) -> None:
    """A line on stderr, above the bar."""
    from tqdm import tqdm

    tqdm.write(sentence, file=sys.stderr)
