"""A hundred images of the campaign, a method each; what the campaign's tools do. The whole: book/broken.md."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepcv.images import as_hint, as_image


def _script(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"campaign_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pytest.importorskip("resource", reason="the tools need POSIX")
fuzz, mutants = _script("fuzz"), _script("mutants")


@pytest.mark.parametrize("door", [False, True])
@pytest.mark.parametrize("first", range(100_000, 100_100, 20))
def test_an_odd_image_gives_a_mask_or_one_sentence(first, door):
    """Other images than the campaign's, ten at a time, the quick methods in turn."""
    first += 10 * door
    outcomes = [outcome for number in range(first, first + 10) for outcome in fuzz.attack(number, 1, door=door)]
    assert len(outcomes) == 10
    assert [each for each in outcomes if each[1] == "failed"] == []


def test_the_campaigns_images_are_valid_and_odd():
    images = [fuzz.odd_image(np.random.default_rng(number)) for number in range(300)]
    for number, image in enumerate(images):
        as_image(image)
        hint = fuzz.odd_hint(np.random.default_rng(number), image.shape[:2])
        assert hint is None or as_hint(hint, image.shape[:2]).shape == image.shape[:2]
    assert {image.ndim for image in images} == {2, 3} and min(min(image.shape[:2]) for image in images) == 8
    kinds = 5 + (np.dtype(np.longdouble) != np.dtype(np.float64))  # alike on some machines
    assert len({image.dtype.str for image in images}) == kinds
    assert any(min(image.strides) < 0 for image in images) and any(not image.flags.writeable for image in images)


def test_a_mutant_differs_in_one_place_and_takes_the_functions_place():
    source = "LIMIT = 3\n\ndef small(value, limit=LIMIT):\n    return value < limit and not value == 1\n"
    found = dict(mutants.mutants(source))
    assert list(found) == [
        "4: value < limit and (not value == 1)",
        "4: value < limit",
        "4: not value == 1",
        "4: value == 1",
        "4: 1",
    ]
    module = type(mutants)("module")
    exec(compile(source, "module", "exec"), vars(module))
    module.small.__module__ = "module"
    assert module.small(2) and not module.small(3)
    mutants.put_in(module, found["4: value < limit"])
    assert module.small(3) and not module.small(4)


def test_a_disk_that_is_full_or_read_only_is_named_by_whatever_writes(tmp_path):
    apart = ["unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system has no disks of one's own")
    script = Path(__file__).with_name("places.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*apart, sys.executable, script, tmp_path], env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("full\t", "read-only\t"))]
    assert done.returncode == 0 and len(lines) == 12 and "Traceback" not in done.stdout, done.stderr
    for disk, said in (("full", r"(No space left on device|disk is full).*make room"), ("read-only", "Read-only file")):
        assert len(re.findall(rf"^{disk}\t\w+\t[12]\t(?:[^\t]*\n)?[^\t\n]*{said}", done.stdout, re.M)) == 6, done.stdout
