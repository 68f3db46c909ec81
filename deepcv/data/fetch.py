"""Verified, atomic downloads of the data sets that are not embedded."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from deepcv.checks import check_known
from deepcv.data import weizmann
from deepcv.data.dataset import data_folder
from deepcv.errors import InputError
from deepcv.files import FULL, remedy_for, temporary_folder

FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/"
SEGMENTATION_DATABASE = "https://www.wisdom.weizmann.ac.il/~vision/Seg_Evaluation_DB/"
HIERARCHICAL_SALIENCY = "https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/"

TIMEOUT = 30
"""Seconds to wait for a server."""

LONGEST = 3 * 3600
"""Seconds that a file may take."""

LARGEST, LARGEST_UNPACKED, MOST_FILES = 2**29, 2**30, 100_000
"""Bytes of an archive, bytes it may unpack to, and its number of files; no data set here reaches half of them."""


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Attributes
    ----------
    addresses : tuple of str
        URLs, tried in turn.
    md5 : str or None
        Checksum; None if none is published; then its SHA-256 is reported, and only the unpacked files are checked.
    """

    addresses: tuple[str, ...]
    md5: str | None = None

    @property
    def file(self) -> str:
        return self.addresses[0].rsplit("/", 1)[1]


@dataclass(frozen=True)
class Fetchable:
    """A data set on the network.

    Attributes
    ----------
    page : str
        Its web page.
    archives : tuple of Archive
    check : callable
        Raises `InputError` unless the unpacked folder is complete.
    place : str
        Its folder in the folder of the data sets, if it isn't named like the data set.
    """

    page: str
    archives: tuple[Archive, ...]
    check: Callable[[Path], object]
    place: str = ""


def fetch(name: str, folder=None, *, mirror=None, report: Callable[[str], object] = print) -> Path:
    """Download and unpack a data set, unless it is there already, and return its folder, mostly `folder/name`.

    All work is done in a temporary folder beside the final one, and moved there when complete; errors leave no trace.

    Parameters
    ----------
    name : str
        A key of `FETCHABLE`.
    folder : path, optional
        The folder of the data sets; default: `data_folder()`.
    mirror : str, optional
        Source of the archives, under their official file names, instead of the official URLs: the beginning of a URL,
        or a folder.
    report : callable
        Called with a sentence for each step. Progress bars go to standard error.

    Raises
    ------
    InputError
        For an unknown name; an incomplete folder in the way; an archive that can't be downloaded within `LONGEST`, is
        larger than `LARGEST`, damaged, has another checksum, would unpack to more than `LARGEST_UNPACKED` or outside
        its folder, or is incomplete; a full disk.
    """
    check_known("downloadable data set", name, sorted(FETCHABLE))
    wanted = FETCHABLE[name]
    target = Path(folder or data_folder()) / (wanted.place or name)
    if target.exists():
        _require_complete(target, wanted)
        report(f"{target} is already complete")
        return target
    with _temporary_folder(target.parent) as temporary:
        staged = temporary / (wanted.place or name)
        staged.mkdir(parents=True)
        try:
            for archive in wanted.archives:
                _unpack(_obtain(archive, wanted.page, mirror, temporary, report), staged)
            _lift(staged)
            wanted.check(staged)
            os.replace(staged, target)
        except OSError as error:
            remedy = "make room there, or " if error.errno in FULL else ""
            reason = f"can't put {name} into {target.parent} ({error.strerror or type(error).__name__})"
            raise InputError(f"{reason}; {remedy}set DEEPCV_DATA to another folder") from None
    report(f"{name} is in {target}")
    return target


def _require_complete(target: Path, wanted: Fetchable) -> None:
    try:
        wanted.check(target)
    except InputError as error:
        missing = str(error).split(";")[0]
        raise InputError(f"{target} exists but is incomplete ({missing}); move it away, then fetch again") from None


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`; parents created for it are removed again if they stay empty.

    Folders that killed downloads left are removed.
    """
    made = [each for each in (parent, *parent.parents) if not each.exists()]
    with ExitStack() as leaving:
        leaving.callback(_remove_empty, made)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            temporary = leaving.enter_context(temporary_folder(parent, ".fetch-"))
        except OSError as error:
            remedy = remedy_for(error, "set DEEPCV_DATA to another folder")
            raise InputError(f"can't write to {parent} ({error.strerror}); {remedy}") from None
        yield temporary


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for each in folders:
            each.rmdir()


# --- getting an archive -----------------------------------------------------------------------------------------------


def _obtain(archive: Archive, page: str, mirror, temporary: Path, report) -> Path:
    """The local path of an archive, with its checksum verified."""
    addresses = archive.addresses if mirror is None else (f"{str(mirror).rstrip('/')}/{archive.file}",)
    if "://" in addresses[0]:
        path = _download(addresses, archive, page, temporary)
    else:
        path = Path(addresses[0])
        if not path.is_file():
            named = _without_password(str(path))
            raise InputError(f"there is no file {named}; download {archive.file} from {page} to that folder")
    if archive.md5 is None:
        report(f"{archive.file} has no published checksum; its SHA-256 is {_digest(path, 'sha256')}")
    elif (found := _digest(path, "md5")) != archive.md5:
        raise InputError(
            f"{archive.file} has the MD5 checksum {found}, not {archive.md5}: it is damaged or not the official file; "
            f"fetch it again, or download it from {page} and pass its folder as the mirror"
        )
    return path


def _download(addresses: tuple[str, ...], archive: Archive, page: str, temporary: Path) -> Path:
    failures = []
    for address in addresses:
        try:
            return _save(address, temporary / archive.file)
        except (OSError, ValueError) as error:  # requests' own errors are OSErrors
            if getattr(error, "errno", None) in FULL:
                raise
            failures.append(f"{_without_password(address)}: {_short(error)}")
    raise InputError(
        f"can't download {archive.file} ({'; '.join(failures)}); check the connection, or download it from {page} "
        "and pass its folder as the mirror"
    )


def _save(address: str, path: Path) -> Path:
    """Download a file; its body is read as it arrives, so that a slow server can't hold the limits up."""
    import requests
    from tqdm import tqdm
    from urllib3.exceptions import HTTPError

    until, received = time.monotonic() + LONGEST, 0
    headers = {"Accept-Encoding": "identity"}
    with requests.get(address, stream=True, timeout=TIMEOUT, headers=headers) as answer, open(path, "wb") as file:
        answer.raise_for_status()
        size = int(answer.headers.get("Content-Length", 0))
        quiet = not sys.stderr.isatty()
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name, disable=quiet) as bar:
            try:
                while piece := answer.raw.read1(2**16):
                    received += len(piece)
                    if max(size, received) > LARGEST:
                        raise ValueError(f"it is larger than {LARGEST / 2**20:.0f} MiB")
                    if time.monotonic() > until:
                        raise ValueError(f"it takes longer than {LONGEST / 60:.0f} minutes")
                    file.write(piece)
                    bar.update(len(piece))
            except HTTPError as error:
                raise ValueError(str(error)) from None
    if received < size:
        raise ValueError(f"the connection ended after {received} of {size} bytes")
    return path


def _without_password(text: str) -> str:
    return re.sub(r"(?<=//)[^/\s]*@|[^/\s]+:[^/\s]*@", "", text)


def _short(error: BaseException) -> str:
    """The reason in a few words, without layers of wrapping."""
    if (response := getattr(error, "response", None)) is not None:
        return f"{response.status_code} {response.reason}"
    return {"ConnectionError": "no connection", "Timeout": "no answer", "ReadTimeout": "no answer"}.get(
        type(error).__name__,
        _without_password(str(error).splitlines()[0])[:120] if str(error) else type(error).__name__,
    )


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


# --- unpacking it -----------------------------------------------------------------------------------------------------


def _unpack(path: Path, folder: Path) -> None:
    """Write an archive's regular files to `folder`; a MATLAB file is copied.

    Links and special files are skipped; a name outside `folder`, or more than `LARGEST_UNPACKED`, raises `InputError`
    before anything is written.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path.name} is larger than {LARGEST / 2**20:.0f} MiB; get it from another source")
        if path.suffix == ".mat":
            shutil.copyfile(path, folder / path.name)
            return
        zipped = path.suffix.lower() == ".zip"
        if not zipped:
            _check_gzip(path)
        places = _places(path, _zip_sizes(path) if zipped else _tar_sizes(path))
        for name, stream in (_zip_members if zipped else _tar_members)(path):
            place = folder / places[name]
            place.parent.mkdir(parents=True, exist_ok=True)
            with stream, open(place, "wb") as out:
                shutil.copyfileobj(stream, out)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError) or getattr(error, "errno", None) in FULL:
            raise
        raise InputError(
            f"{path.name} can't be unpacked ({_short(error)}): it is damaged or truncated; fetch it again"
        ) from None


def _places(path: Path, sizes: Iterable[tuple[str, int]]) -> dict[str, PurePosixPath]:
    """Where each file of an archive goes, by its name; counts what it would take."""
    places: dict[str, PurePosixPath] = {}
    total = 0
    for count, (name, size) in enumerate(sizes, 1):
        total += size
        if total > LARGEST_UNPACKED or count > MOST_FILES:
            raise _too_large(path)
        places[name] = _inside(name, path)
    return places


def _too_large(path: Path) -> InputError:
    limits = f"{LARGEST_UNPACKED / 2**20:.0f} MiB or {MOST_FILES} files"
    return InputError(f"{path.name} would unpack to more than {limits}; don't use it; get it from another source")


def _check_gzip(path: Path) -> None:
    """Read to the end, which tarfile doesn't: past the checksum, or to where it was cut off."""
    total = 0
    with gzip.open(path) as stream:
        while piece := stream.read(2**20):
            total += len(piece)
            if total > LARGEST_UNPACKED:
                raise _too_large(path)


def _zip_sizes(path: Path) -> Iterator[tuple[str, int]]:
    with zipfile.ZipFile(path) as archive:
        yield from ((member.filename, member.file_size) for member in archive.infolist() if _is_file(member))


def _tar_sizes(path: Path) -> Iterator[tuple[str, int]]:
    with tarfile.open(path, "r:gz") as archive:
        yield from ((member.name, member.size) for member in archive if member.isfile())


def _is_file(member: zipfile.ZipInfo) -> bool:
    return not member.is_dir() and (member.external_attr >> 16) & 0o170000 != 0o120000


def _zip_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and open streams of the regular files."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if _is_file(member):
                yield member.filename, archive.open(member)


def _tar_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                yield member.name, file


def _inside(name: str, path: Path) -> PurePosixPath:
    """A member's name as a relative path inside the folder."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if not relative.parts:
        raise InputError(f"{path.name} has a file without a name; don't use it; get it from another source")
    if relative.is_absolute() or ".." in relative.parts or ":" in relative.parts[0]:
        raise InputError(
            f"{path.name} would write to {name}, outside its folder; don't use it; get it from another source"
        )
    return relative


def _lift(staged: Path) -> None:
    """Move the contents of a top folder named like a Weizmann archive or the data set one level up."""
    for outer in (staged / "Weizmann_Seg_DB_1obj", staged / "Weizmann_Seg_DB_2obj", staged / staged.name):
        if outer.is_dir():
            for each in outer.iterdir():
                os.replace(each, staged / each.name)
            outer.rmdir()


# --- the data sets ----------------------------------------------------------------------------------------------------


def _check_counts(folder: Path, counts: dict[str, int]) -> None:
    for pattern, expected in counts.items():
        found = sum(1 for _ in folder.glob(pattern))
        if found != expected:
            raise InputError(f"{folder.name} has {found} files {pattern}, not {expected}; fetch it again")


FETCHABLE = {
    "weizmann": Fetchable(
        SEGMENTATION_DATABASE + "dl.html",
        (Archive((SEGMENTATION_DATABASE + "Weizmann_Seg_DB_1obj.ZIP", SEGMENTATION_DATABASE + "1obj.zip")),),
        lambda folder: weizmann.check(folder.parent.parent),
        "weizmann/1obj",
    ),
    "weizmann2": Fetchable(
        SEGMENTATION_DATABASE + "dl.html",
        (Archive((SEGMENTATION_DATABASE + "Weizmann_Seg_DB_2obj.ZIP",)),),
        lambda folder: weizmann.check_two(folder.parent.parent),
        "weizmann/2obj",
    ),
    "ecssd": Fetchable(
        HIERARCHICAL_SALIENCY + "dataset.html",
        (
            Archive((HIERARCHICAL_SALIENCY + "data/ECSSD/images.zip",)),
            Archive((HIERARCHICAL_SALIENCY + "data/ECSSD/ground_truth_mask.zip",)),
        ),
        partial(_check_counts, counts={"images/*.jpg": 1000, "ground_truth_mask/*.png": 1000}),
    ),
    "flowers102": Fetchable(
        FLOWERS + "102/",
        (
            Archive((FLOWERS + "102/102flowers.tgz",), "52808999861908f626f3c1f4e79d11fa"),
            Archive((FLOWERS + "102/102segmentations.tgz",), "51375996b6c4f367a4b9f4492d7ecef5"),
            Archive((FLOWERS + "102/setid.mat",), "a5357ecc9cb78c4bef273ce3793fc85c"),
            Archive((FLOWERS + "102/imagelabels.mat",), "e0620be6f572b9609742df49c70aed4d"),
        ),
        partial(_check_counts, counts={"jpg/*.jpg": 8189, "segmim/*.jpg": 8189, "*.mat": 2}),
    ),
    "flowers17": Fetchable(
        FLOWERS + "17/",
        (
            Archive((FLOWERS + "17/17flowers.tgz",), "b59a65d8d1a99cd66944d474e1289eab"),
            Archive((FLOWERS + "17/trimaps.tgz",)),
            Archive((FLOWERS + "17/datasplits.mat",), "4828cddfd0d803c5abbdebcb1e148a1e"),
        ),
        partial(_check_counts, counts={"jpg/*.jpg": 1360, "trimaps/*.png": 849, "datasplits.mat": 1}),
    ),
}
"""The data sets that `fetch` knows. No checksum is published for Weizmann, ECSSD and the Flowers-17 trimaps."""
