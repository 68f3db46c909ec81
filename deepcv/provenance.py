"""What computed a result: code, libraries, machine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from deepcv import __version__
from deepcv.errors import InputError

MADE_BY = ("package", "source", "libraries")
"""The rest of the key: package version, hash of its source, versions of the libraries that compute."""


_LIBRARIES = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "scikit-image": ("scikit-image",),
    "opencv": ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python-headless", "opencv-python"),
}


_WITHOUT_NUMBERS = {
    "cli.py",
    "__main__.py",
    "claims.py",
    "evidence.py",
    "verdict.py",
    "widgets.py",
    "results.py",
    "recording.py",
    "execution.py",
    "timings.py",
    "experiments",
}


@functools.cache
def provenance() -> dict[str, Any]:
    """What computes in this process, found once.

    Returns
    -------
    dict
        `package`: version; `source`: `source_hash()`; `libraries`: versions of those that compute; `machine`: cpu,
        cores, os, python, and the git commit, `-dirty` with uncommitted changes, where there is one.
    """
    return {
        "package": __version__,
        "source": source_hash(),
        "libraries": {name: _version(distributions) for name, distributions in _LIBRARIES.items()},
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "os": platform.platform(),
            "python": platform.python_version(),
            "commit": _commit(),
        },
    }


def check_same_code(made_by: dict[str, Any], who: str) -> None:
    """Check that another process computes with the same package, source and libraries as this one.

    Parameters
    ----------
    made_by : dict
        Its `provenance()`.
    who : str
        How to call it.

    Raises
    ------
    InputError
        When it doesn't.
    """
    theirs, ours = (
        {name: each[name] for name in MADE_BY if name != "libraries"} | each["libraries"]
        for each in (made_by, provenance())
    )
    for name in ours:
        if theirs[name] != ours[name]:
            raise InputError(
                f"{who} has {name} {str(theirs[name])[:12]}, here it is {str(ours[name])[:12]}; install the same there"
            )


def source_hash(folder=None) -> str:
    """SHA-256, in hex, over the Python files of the package that can change a number.

    Those are all but the command line, the claims and their verdict, the widgets, this module, `recording`,
    `execution` and the experiments, whose choices reach a result through the settings.
    """
    folder = Path(folder or Path(__file__).parent)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if relative.parts[0] not in _WITHOUT_NUMBERS:
            source = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{relative.as_posix()}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit this package is checked out at; None when it is installed, or git is not there."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some repository around a virtual environment
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
