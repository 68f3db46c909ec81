"""What `make lock` runs: every package with its hashes, then what each of them is licensed under.

`python tools/lock.py` writes requirements.lock and, because torch has builds for the CPU and for NVIDIA's cards,
requirements-cpu.lock and requirements-cuda.lock. `python tools/lock.py --bom`, in an environment installed from them,
writes sbom.cdx.json.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK, CPU_LOCK, CUDA_LOCK = (ROOT / f"requirements{which}.lock" for which in ("", "-cpu", "-cuda"))
PYTHON = "3.11.5"  # the oldest that every locked release supports; the lock holds for later ones, too
OF_CUDA = ("nvidia-", "cuda-", "triton")

HEADER = """\
# Every package that the book and the tests were made with: its version and the SHA-256 of each of its files. `make`
# installs from here; pip then refuses any other file. Written by `make lock`, for Python 3.11 and newer, any system.
"""
CPU_HEADER = """\
# torch without what NVIDIA's cards need, 0.2 in place of 3 GB. `make` takes it where an index or folder that pip knows
# has it, as https://download.pytorch.org/whl/cpu; elsewhere it takes PyPI's, from requirements.lock.
"""
CUDA_HEADER = """\
# What PyPI's torch needs for NVIDIA's cards. `make` installs it with that build. Written by `make lock`.
"""

SHIPPED = {
    "BBBC038v1, six images (deepcv/data/dsb2018)": ("data", "CC0-1.0"),
    "flowers-64px (deepcv/amortized/weights)": ("machine-learning-model", "BSD-3-Clause"),
    "mathjax 3.2.2 (book/_vendor/mathjax)": ("library", "Apache-2.0"),
}
"""What the repository holds and others made, and the network that comes with the package: kind and licence."""


def main() -> None:
    """Write the locks, or with --bom the bill of materials."""
    if "--bom" in sys.argv:
        (ROOT / "sbom.cdx.json").write_text(json.dumps(bill(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    blocks = compiled()
    cuda = [block for block in blocks if block.startswith(OF_CUDA)]
    torch = next(block.split(maxsplit=1)[0] for block in blocks if block.startswith("torch=="))
    LOCK.write_text(HEADER + "".join(block for block in blocks if block not in cuda))
    CPU_LOCK.write_text(CPU_HEADER + with_hash(f"{torch}+cpu"))
    CUDA_LOCK.write_text(CUDA_HEADER + "".join(cuda))


def compiled() -> list[str]:
    """The newest releases that fit each other, a block of lines each; torch stays where the lock has it."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text(re.search(r"^torch==[\w.]+", LOCK.read_text(), re.MULTILINE)[0])
        options = [
            "--extra=companion",
            "--extra=dev",
            f"--constraints={constraints}",
            "--universal",
            "--fork-strategy=fewest",
        ]
        options += [f"--python-version={PYTHON}", "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
        found = subprocess.run(
            [uv, "pip", "compile", "pyproject.toml", *options], cwd=ROOT, check=True, capture_output=True, text=True
        )
    return re.findall(r"^\S+==.*\n(?: .*\n)*", found.stdout, re.MULTILINE)


def with_hash(pin: str) -> str:
    """A pin with the hash of the file that pip takes here."""
    asked = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report=-", pin]
    report = json.loads(subprocess.run([sys.executable, "-m", "pip", *asked], check=True, capture_output=True).stdout)
    return f"{pin} --hash=sha256:{report['install'][0]['download_info']['archive_info']['hashes']['sha256']}\n"


def bill() -> dict[str, Any]:
    """CycloneDX: what is locked and installed here, and what is in the repository and not ours, with licences."""
    pins = re.findall(r"^(\S+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    with open(ROOT / "pyproject.toml", "rb") as file:
        ours = tomllib.load(file)["project"]
    locked = [
        _component("library", name, licence) | {"version": version, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in pins
        if (licence := licence_of(name))
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("library", ours["name"], ours["license"])},
        "components": locked + [_component(kind, name, licence) for name, (kind, licence) in SHIPPED.items()],
    }


def _component(kind: str, name: str, licence: str) -> dict[str, Any]:
    expression = re.fullmatch(r"[\w.+-]*[\d+][\w.+-]*|MIT|ISC|Unlicense|\S+( (AND|OR|WITH) \S+)+", licence)
    return {
        "type": kind,
        "name": name,
        "licenses": [{"expression": licence} if expression else {"license": {"name": licence}}],
    }


def licence_of(name: str) -> str:
    """An installed package's licence as its metadata gives it; empty if it isn't installed."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if expression := found.get("License-Expression"):
        return expression
    classifiers = [
        each.rsplit(" :: ", 1)[1] for each in found.get_all("Classifier", []) if each.startswith("License :: OSI")
    ]
    text = (found.get("License") or "").strip().splitlines()
    short = [line for line in text[:1] if len(line) < 40]
    return " or ".join(classifiers or short) or "not given"


if __name__ == "__main__":
    main()
