"""Write to a disk that is full and to one that is mounted read-only: whatever writes must say so in a sentence.

    unshare --map-root-user --mount python tests/campaign/places.py FOLDER

The disks are mounted within an empty folder, and gone with the process. Prints the disk, the command, its status and
what it said.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from deepcv.cli.main import main
from deepcv.data.fetch import FETCHABLE

RECORDED = Path(__file__).parents[2] / "results" / "recorded"


def mounted(place: Path, size: str) -> Path:
    """A new disk of a size, in memory."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    return place


def disks(folder: Path) -> dict[str, Path]:
    """One without room for a byte, and one mounted read-only that has the masks and rows of before."""
    full, read_only = mounted(folder / "full", "16k"), mounted(folder / "read-only", "4m")
    with contextlib.suppress(OSError), open(full / "all", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    (read_only / "mask.png").touch()
    (read_only / "recorded").mkdir()
    for end in ("csv", "json"):
        shutil.copy(RECORDED / f"figure10b.{end}", read_only / "recorded")
    subprocess.run(["mount", "-o", "remount,ro", str(read_only)], check=True)
    return {"full": full, "read-only": read_only}


def attempts(folder: Path, disk: Path) -> list[tuple[str, ...]]:
    """Command lines that write to a disk; results and data are there, too."""
    picture = str(folder / "picture.png")
    segment = ("segment", picture, "--method", "chan-vese", "--out")
    return [
        (*segment, str(disk / "mask.png")),
        (*segment, str(folder / "mask.png"), "--overlay", str(disk / "overlay.png")),
        ("segment", picture, picture, "--method", "chan-vese", "--out", str(disk / "masks")),
        ("run", "figure10b"),
        ("record", "--merge", str(folder / "rows")),
        ("data", "fetch", "weizmann", "--mirror", str(folder / "mirror")),
    ]


def said(command: tuple[str, ...]) -> tuple[int, str]:
    """Status and standard error of a command."""
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(io.StringIO()):
        return main(list(command)), heard.getvalue()


def prepare(folder: Path) -> None:
    """A picture, rows to merge, and a mirror."""
    image = np.random.default_rng(0).integers(0, 256, (24, 30), np.uint8)
    Image.fromarray(image).save(folder / "picture.png")
    for name in ("rows", "mirror"):
        (folder / name).mkdir()
    for end in ("csv", "json"):
        shutil.copy(RECORDED / f"figure10b.{end}", folder / "rows")
    with zipfile.ZipFile(folder / "mirror" / FETCHABLE["weizmann"].archives[0].file, "w") as archive:
        archive.writestr("1obj/large", bytes(1 << 16))


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    prepare(folder)
    for kind, disk in disks(folder).items():
        os.environ |= {"DEEPCV_RESULTS": str(disk), "DEEPCV_DATA": str(disk / "data")}
        for command in attempts(folder, disk):
            status, sentence = said(command)
            print(kind, command[0], status, sentence.strip(), sep="\t")
