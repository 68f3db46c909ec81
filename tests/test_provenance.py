"""What computed a result is known, and other code is refused."""

import json

import pytest

from deepcv import provenance
from deepcv.errors import InputError


def test_provenance_is_plain():
    found = provenance.provenance()
    json.dumps(found)
    assert set(found) == {"package", "source", "libraries", "machine"}
    assert found["libraries"]["opencv"]


def test_package_hash_follows_every_file(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    hashes = []
    for name, source in (("a.py", b"x\n"), ("cli/b.py", b"x\n"), ("cli/b.py", b"y\n"), ("cli/b.py", b"y\r\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(source)
        hashes.append(provenance.package_hash.__wrapped__())
    assert len(set(hashes)) == 3
    assert hashes[2] == hashes[3]  # line ends are git's business


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"package": "0.0.1"}, "the worker has package 0.0.1, here it is"),
        ({"source": "abc"}, "the worker has source abc, here it is"),
        (
            {"libraries": provenance.provenance()["libraries"] | {"torch": "1.0"}},
            "the worker has torch 1.0, here it is",
        ),
    ],
)
def test_other_code_is_refused(other, message):
    provenance.check_same_code(provenance.provenance() | {"machine": {}}, "the worker")
    with pytest.raises(InputError, match=message):
        provenance.check_same_code(provenance.provenance() | other, "the worker")
