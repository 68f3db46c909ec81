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

_ROOT = Path(__file__).parent

_LIBRARIES = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "scikit-image": ("scikit-image",),
    "opencv": ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python-headless", "opencv-python"),
}


@functools.cache
def provenance() -> dict[str, Any]:
    """The package, libraries and machine that compute in this process; cached.

    Returns
    -------
    dict
        `package`: its version; `source`: `package_hash()`; `libraries`: versions of those that compute; `machine`: cpu,
        cores, os, python, and the git commit if there is one, with `-dirty` if there are uncommitted changes.
    """
    return {
        "package": __version__,
        "source": package_hash(),
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
        The process, as the error names it.

    Raises
    ------
    InputError
        If a version or the source differs.
    """
    theirs, ours = ({"package": p["package"], "source": p["source"], **p["libraries"]} for p in (made_by, provenance()))
    for name in ours:
        if theirs[name] != ours[name]:
            raise InputError(
                f"{who} has {name} {str(theirs[name])[:12]}, here it is {str(ours[name])[:12]}; install the same there"
            )


@functools.cache
def package_hash() -> str:
    """SHA-256, in hex, over the package's Python files and their names."""
    digest = hashlib.sha256()
    for path in sorted(_ROOT.rglob("*.py"), key=lambda path: path.relative_to(_ROOT).as_posix()):
        source = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def cpu_name() -> str:
    """The processor's model, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit this package is checked out at; None when it is installed or there is no git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some repository around a virtual environment
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
