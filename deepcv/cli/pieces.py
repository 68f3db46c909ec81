"""Which pictures there are, where their outputs go, and what is done already."""

from __future__ import annotations

import collections
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepcv.cli.options import Shared
from deepcv.errors import InputError

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
    corrected: bool = False
    """Whether its mask is there and another program's; it stays, and other outputs are made of it."""

    def __str__(self) -> str:
        return str(self.path)


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


def made_by(*what: object) -> str:
    """A hash of what masks depend on."""
    return hashlib.sha256(repr(what).encode(errors="backslashreplace")).hexdigest()[:16]


def made_of(options: str, picture: Path) -> str:
    """The hash that is written into outputs: of the options', and of what tells a picture from another of its name."""
    try:
        with open(picture, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            blocks = [(file.seek(place), file.read(2**14)) for place in range(0, max(1, size), max(2**14, size // 8))]
            return made_by(options, size, blocks)
    except OSError:
        return options


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
            if "-" in taken:
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

    A piece is done if all of its outputs are newer than the picture and the other inputs, and its mask was made of this
    picture with these options. A mask that is another program's, as after a correction by hand, stays, however old.
    """
    from deepcv.files import as_text, check_place, remedy_for
    from deepcv.pictures import check_parent, is_cut_off

    if "out" not in wanted:
        raise InputError("many pictures need --out, a folder for their masks; those that are there aren't made again")
    if STREAM in (*images, *wanted.values()):
        raise InputError("standard input and output take one picture; name files or folders for more")
    for path in wanted.values():
        _check_folder(path)
    for path in tables:
        if path in wanted.values() or path.is_dir():
            raise InputError(f"{path} is a folder; name a file for the table")
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
        there = places["out"].is_file() and not is_cut_off(places["out"])
        by = noted(places["out"])[0] if there else ""
        corrected = there and not by
        ours = there and by == made_of(made_by, path) and places["out"].stat().st_mtime >= newest
        done = (corrected or ours) and _go_with(places, newest)
        pieces.append(Piece(path, as_text(name), places, done, corrected))
    for path in {place.parent for piece in pieces for place in piece.places.values()}:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = remedy_for(error, "name another one")
            raise InputError(f"can't make the folder {path} ({error.strerror}); {remedy}") from None
    return pieces


def _go_with(places: Mapping[str, Path], newest: float) -> bool:
    """Whether the other outputs are there, newer than what they are made of, and made with the mask or after it."""
    from deepcv.pictures import note_in

    mask = places["out"]
    written, note = mask.stat().st_mtime, note_in(mask)
    others = [place for kind, place in places.items() if kind != "out"]
    if not all(place.is_file() and place.stat().st_mtime >= newest for place in others):
        return False
    return all(place.stat().st_mtime >= written or (note and note_in(place) == note) for place in others)


def noted(mask: Path) -> tuple[str, float | None]:
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
    from PIL import Image

    from deepcv.outputs import KINDS

    Image.init()
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the outputs of many pictures")
    suffixes = {*Image.EXTENSION, *(suffix for kind in KINDS.values() for suffix in kind.suffixes)}
    if not path.exists() and path.suffix.lower() in suffixes:
        raise InputError(f"many pictures need a folder, and {path} is the name of a file; leave {path.suffix} out")


def _suffix(kind: str) -> str:
    from deepcv.outputs import KINDS

    return (KINDS[kind].suffixes or (".png",))[0]


def _pictures(images: Sequence[Path], outputs: list[Path]) -> dict[Path, Path]:
    """Each picture and its name below the folder that was given; in folders outputs are left out.

    Pictures of one name get as many folders before it as tell them apart.
    """
    from deepcv.data.folder import picture_files
    from deepcv.pictures import note_in

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
        pictures = [path for path in inside if note_in(path) is None]
        ours = len(inside) - len(pictures)
        if not pictures:
            but = f" but {ours} that deepcv made" if ours else ""
            raise InputError(f"there are no pictures in {given}{but}; name another folder, or single files")
        if ours:
            say(f"{given}: {ours} pictures that deepcv made are left out; name them as files to segment them")
        found |= {path: path.relative_to(given) for path in pictures}
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


def say(sentence: str) -> None:
    """A line on stderr, above the bar."""
    from tqdm import tqdm

    tqdm.write(sentence, file=sys.stderr)
