"""What changes the hash of a row's code, and what doesn't."""

import functools
import re
import time
from pathlib import Path

import pytest

import deepcv
from deepcv.companion import closure as code
from deepcv.companion import compute
from deepcv.companion.closure import closure, closure_hash
from deepcv.companion.experiments import EXPERIMENTS
from deepcv.errors import InputError
from deepcv.methods import METHODS

PACKAGE = Path(deepcv.__file__).parent

SOURCES = {
    "__init__.py": "",
    "solver.py": '''
"""Solves."""
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
import numpy as np
from fake import terms
from fake.base import Base, decorated
import fake.tables as tables
if TYPE_CHECKING:
    from fake.unused import Typed

LIMIT: int = 7
STARTS = {"zero": 0.0}
STARTS["one"] = 1.0
STARTS.update(two=2.0)
if LIMIT > 3:
    FACTOR = 2
else:
    FACTOR = 3
for each in (1, 2):
    LAST = each


@dataclass
class Settings(Base):
    """Settings."""

    nu: float = 1.0


@decorated
def solve(image: np.ndarray, steps=LIMIT) -> Typed:
    """Solve."""
    from fake.late import smooth

    settings = Settings()  # the defaults
    if steps < 0:
        raise ValueError(f"{steps} is negative")
    values = [terms.energy(image, FACTOR) for _ in range(steps)]
    return smooth(np.sum(values)) + STARTS["zero"] + LAST + getattr(tables, "WEIGHT") + settings.nu


def unreached():
    return 1
''',
    "terms.py": """
from .late import half

def energy(image, factor):
    half = image / 2
    return half * factor

def other(image, factor):
    return image
""",
    "base.py": """
import functools

class Base:
    def check(self):
        return 3

def decorated(function):
    @functools.wraps(function)
    def wrapped(*arguments):
        return function(*arguments)
    return wrapped
""",
    "late.py": """
def smooth(value):
    return value * 0.5

def half(value):
    return value / 2
""",
    "tables.py": "WEIGHT = 4\n",
    "unused.py": "class Typed:\n    pass\n",
}


def written(folder, sources=SOURCES):
    """A package in the folder, for `closure`."""
    root = folder / "fake"
    root.mkdir(parents=True)
    for name, text in sources.items():
        (root / name).write_text(text)
    return root


def hash_after(folder, *edits, start="fake.solver:solve"):
    """The hash of `solve` after edits of `SOURCES`: file, old text, new text."""
    sources = dict(SOURCES)
    for file, old, new in edits:
        assert not old or old in sources[file], old
        sources[file] = sources[file].replace(old, new) if old else new
    return closure_hash(written(folder, sources), [start])


@pytest.fixture
def before(tmp_path):
    return hash_after(tmp_path / "before")


MEANINGLESS = {
    "docstring": [("solver.py", '"""Solve."""', '"""Solve it."""')],
    "no docstring": [("solver.py", '    """Solve."""\n', "")],
    "docstring of a class": [("solver.py", '"""Settings."""', '"""All settings."""')],
    "comment": [("solver.py", "# the defaults", "# others")],
    "annotations of a function": [("solver.py", "image: np.ndarray, steps=LIMIT) -> Typed", "image, steps=LIMIT)")],
    "annotation of a constant": [("solver.py", "LIMIT: int = 7", "LIMIT = 7")],
    "error message": [("solver.py", 'f"{steps} is negative"', '"negative", steps')],
    "how an error is shown": [
        ("base.py", "class Base:\n", "class Base:\n    def _render_traceback_(self):\n        return []\n\n"),
    ],
    "layout": [("solver.py", "def solve(image: np.ndarray, steps=LIMIT)", "def solve(\n    image, steps=(LIMIT)\n)")],
    "unreached definition": [("solver.py", "return 1\n", "return 2\n")],
    "unreached neighbour": [("terms.py", "return image\n", "return -image\n")],
    "name hidden by a local variable": [("late.py", "return value / 2", "return value / 3")],
    "import for type checkers": [("unused.py", "pass", "x = 1")],
    "new module": [("new.py", "", "x = 1\n")],
    "order": [
        ("late.py", "def smooth(value):\n    return value * 0.5\n\n", ""),
        ("late.py", "return value / 2\n", "return value / 2\n\ndef smooth(value):\n    return value * 0.5\n"),
    ],
    "renamed function": [("late.py", "smooth", "smoothed"), ("solver.py", "smooth", "smoothed")],
    "renamed class": [("solver.py", "Settings", "Options")],
    "renamed constant": [("solver.py", "FACTOR", "SCALE")],
    "moved function": [
        ("late.py", "def smooth(value):\n    return value * 0.5\n", ""),
        ("terms.py", "from .late import half\n", "def smooth(value):\n    return value * 0.5\n"),
        ("solver.py", "fake.late", "fake.terms"),
    ],
    "renamed module": [
        ("sums.py", "", SOURCES["terms.py"]),
        ("solver.py", "import terms", "import sums"),
        ("solver.py", "terms.energy", "sums.energy"),
    ],
    "module imported by another name": [
        ("solver.py", "fake import terms", "fake import terms as t"),
        ("solver.py", "terms.energy", "t.energy"),
    ],
    "definition imported itself": [
        ("solver.py", "from fake import terms", "from fake.terms import energy"),
        ("solver.py", "terms.energy", "energy"),
    ],
    "package imported": [
        ("solver.py", "from fake import terms", "import fake.terms"),
        ("solver.py", "terms.energy(", "fake.terms.energy("),
    ],
    "library imported by another name": [
        ("solver.py", "import numpy as np", "import numpy"),
        ("solver.py", "np.", "numpy."),
    ],
    "import at the top": [
        ("solver.py", "    from fake.late import smooth\n\n", ""),
        ("solver.py", "import numpy as np", "import numpy as np\nfrom fake.late import smooth"),
    ],
}

MEANINGFUL = {
    "constant": [("solver.py", "LIMIT: int = 7", "LIMIT: int = 8")],
    "constant, item assigned": [("solver.py", "= 1.0\nSTARTS", "= 1.5\nSTARTS")],
    "constant, updated": [("solver.py", "two=2.0", "two=2.5")],
    "condition at a module's level": [("solver.py", "LIMIT > 3", "LIMIT > 4")],
    "branch at a module's level": [("solver.py", "FACTOR = 3", "FACTOR = 4")],
    "loop at a module's level": [("solver.py", "(1, 2)", "(1, 3)")],
    "field's type": [("solver.py", "nu: float", "nu: int")],
    "field's default": [("solver.py", "nu: float = 1.0", "nu: float = 2.0")],
    "base class": [("base.py", "return 3", "return 4")],
    "decorator": [("base.py", "return function(*arguments)", "return function(*arguments[:1])")],
    "decorator left out": [("solver.py", "@decorated\n", "")],
    "default of an argument": [("solver.py", "steps=LIMIT", "steps=3")],
    "late import": [("late.py", "0.5", "0.6")],
    "attribute of a module": [("terms.py", "half * factor", "half + factor")],
    "another function of equal name": [
        ("solver.py", "from fake.late", "from fake.tables"),
        ("tables.py", "WEIGHT = 4\n", "WEIGHT = 4\ndef smooth(value):\n    return value\n"),
    ],
    "another function of the module": [("solver.py", "terms.energy", "terms.other")],
    "another function of a library": [("solver.py", "np.sum", "np.prod")],
    "attribute of a module, found by name": [("tables.py", "WEIGHT = 4", "WEIGHT = 5")],
    "kind of error": [("solver.py", "raise ValueError", "raise TypeError")],
    "effect of a module": [("terms.py", "from .late import half", "import numpy\nnumpy.seterr(all='raise')")],
}


@pytest.mark.parametrize("edit", MEANINGLESS)
def test_what_has_no_meaning_keeps_the_hash(tmp_path, before, edit):
    assert hash_after(tmp_path / "after", *MEANINGLESS[edit]) == before


@pytest.mark.parametrize("edit", MEANINGFUL)
def test_what_has_a_meaning_changes_the_hash(tmp_path, before, edit):
    assert hash_after(tmp_path / "after", *MEANINGFUL[edit]) != before


def test_exchanged_functions_change_the_hash(tmp_path):
    hashes = set()
    for difference in ("a.f() - b.f()", "b.f() - a.f()"):
        start = f"from fake import a, b\ndef start():\n    return {difference}\n"
        functions = {"a.py": "def f():\n    return 1\n", "b.py": "def f():\n    return 2\n"}
        root = written(tmp_path / difference, {"__init__.py": "", "c.py": start, **functions})
        hashes.add(closure_hash(root, ["fake.c:start"]))
    assert len(hashes) == 2


def test_names_of_one_assignment_are_told_apart(tmp_path):
    hashes = set()
    for name in "AB":
        source = f"A, B = 1, 2\ndef start():\n    return {name}\n"
        root = written(tmp_path / name, {"__init__.py": "", "c.py": source})
        hashes.add(closure_hash(root, ["fake.c:start"]))
    assert len(hashes) == 2


def test_a_global_that_is_assigned_is_reached(tmp_path):
    source = "COUNT = 0\ndef start():\n    global COUNT\n    COUNT += 1\n    count = 2\n    return count\n"
    root = written(tmp_path, {"__init__.py": "", "c.py": source + "count = 3\n"})
    assert set(closure(root, ["fake.c:start"])) == {"fake.c:start", "fake.c:COUNT"}


def test_closure_names_what_is_reached(tmp_path):
    root = written(tmp_path)
    found = closure(root, ["fake.solver:solve"])
    assert set(found) == {
        *(f"fake.solver:{name}" for name in ("solve", "Settings", "LIMIT", "STARTS", "FACTOR", "LAST", "each")),
        *("fake.terms:energy", "fake.base:Base", "fake.base:decorated", "fake.late:smooth"),
        *("fake.tables:", "fake.tables:WEIGHT"),
    }
    assert "numpy.sum" in found["fake.solver:solve"]
    assert "negative" not in found["fake.solver:solve"]


def test_modules_left_out_are_not_followed(tmp_path):
    start, without = ["fake.solver:solve"], ("fake.late",)
    before = written(tmp_path / "before")
    after = written(tmp_path / "after", SOURCES | {"late.py": SOURCES["late.py"].replace("0.5", "0.6")})
    assert closure_hash(before, start, without) == closure_hash(after, start, without)
    assert closure_hash(before, start) != closure_hash(after, start)
    assert "fake.late:smooth" not in closure(before, start, without)


def test_a_method_stands_for_its_class(tmp_path):
    root = written(tmp_path)
    assert set(closure(root, ["fake.solver:Settings.check"])) == {"fake.solver:Settings", "fake.base:Base"}


def test_names_that_a_package_imports_on_first_use_are_followed(tmp_path):
    attached = "lazy_loader.attach(__name__, submod_attrs={'late': ['smooth']})"
    lazy = f"import lazy_loader\n__getattr__, __dir__, __all__ = {attached}\n"
    start = "import fake\ndef start():\n    return fake.smooth(1)\n"
    root = written(tmp_path, SOURCES | {"__init__.py": lazy, "start.py": start})
    assert set(closure(root, ["fake.start:start"])) == {"fake.start:start", "fake.late:smooth"}


@pytest.mark.parametrize("start", ["fake.solver:absent", "fake.absent:solve", "numpy:sum"])
def test_what_is_not_there_is_named(tmp_path, start):
    with pytest.raises(InputError, match=f"{start} isn't defined in .*fake"):
        closure(written(tmp_path), [start])


def test_star_imports_are_refused(tmp_path):
    root = written(tmp_path, {"__init__.py": "", "c.py": "from fake.d import *\ndef start():\n    return 1\n"})
    with pytest.raises(InputError, match=r"fake\.d import \*"):
        closure(root, ["fake.c:start"])


# -- functions ---------------------------------------------------------------------------------------------------------


def measured(item, factor=2):
    return factor * scale(item)


def scale(item):
    return len(item)


def test_wrappers_count_as_what_they_wrap():
    assert code.code_hash(functools.cache(measured)) == code.code_hash(measured)
    assert code.code_hash(measured) != code.code_hash(scale)


def test_a_partials_arguments_count():
    hashes = {code.code_hash(functools.partial(measured, factor=factor)) for factor in (2, 3, scale)}
    assert len(hashes | {code.code_hash(measured)}) == 4


def test_a_function_without_a_file_is_refused():
    with pytest.raises(InputError, match="has no source file"):
        code.code_hash(len)


# -- the package's own rows --------------------------------------------------------------------------------------------


@pytest.fixture
def codes_of(monkeypatch):
    """`codes_of(root)`: the codes of rows if the package's source were in another folder.

    Those of every method, with a hint and without, and those that each experiment measures without a hint.
    """

    def clear():
        code.code_hash.cache_clear()
        compute._code.cache_clear()

    def codes(root):
        clear()
        monkeypatch.setattr(code, "_ROOT", root)
        found = {
            (name, hint): compute._code(name, "", hint == "hint", None) for name in METHODS for hint in ("hint", "")
        }
        measures = {name: each.measure for name, each in EXPERIMENTS.items() if each.measure}
        return found | {name: compute._code("deep-cv", "", False, measure) for name, measure in measures.items()}

    yield codes
    clear()


def copied(folder, edit=lambda path, text: text):
    """A copy of the package's source, after an edit of each file's text."""
    root = folder / "deepcv"
    for path in sorted(PACKAGE.rglob("*.py")):
        copy = root / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(edit(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")))
    return root


def doubled(file, constant):
    """An edit that doubles a constant of a file."""

    def edit(path, text):
        if path != file:
            return text
        edited, count = re.subn(rf"^{constant}(: \w+)? = ", rf"{constant}\1 = 2 * ", text, flags=re.M)
        assert count == 1
        return edited

    return edit


def test_docstrings_and_comments_change_no_row(tmp_path, codes_of):
    edited = copied(tmp_path, lambda path, text: re.sub(r'"""(?=\w)', '"""Once more: ', text) + "# the end\n")
    assert codes_of(edited) == codes_of(PACKAGE)


def test_a_new_module_changes_no_row(tmp_path, codes_of):
    edited = copied(tmp_path)
    (edited / "hints" / "another.py").write_text("ANOTHER = 1\n")
    (edited / "companion" / "experiments" / "figure99.py").write_text("def measure():\n    return 1\n")
    assert codes_of(edited) == codes_of(PACKAGE)


def test_a_renamed_module_changes_no_row(tmp_path, codes_of):
    edited = copied(tmp_path, lambda path, text: text.replace("baselines.level_set", "baselines.contour"))
    (edited / "baselines" / "level_set.py").rename(edited / "baselines" / "contour.py")
    assert codes_of(edited) == codes_of(PACKAGE)


def changed(before, after):
    return {row for row in before if before[row] != after[row]}


@pytest.mark.parametrize(
    ("file", "constant"),
    [("hints/features.py", "GABOR_SHAPE"), ("hints/saliency.py", "structured_matrix_decomposition")],
)
def test_saliency_changes_rows_that_start_from_a_hint_alone(tmp_path, codes_of, file, constant):
    def edit(path, text):
        if constant.isupper():
            return doubled(file, constant)(path, text)
        return text.replace(f"def {constant}(", f"@staticmethod\ndef {constant}(") if path == file else text

    found = changed(codes_of(PACKAGE), codes_of(copied(tmp_path, edit)))
    assert found == {(name, "hint") for name in METHODS}


@pytest.mark.parametrize(
    ("file", "constant", "experiment"),
    [
        ("companion/experiments/figure09.py", "WINDOW", "figure09"),
        ("companion/theory/descent.py", "PENALTY", "theory"),
    ],
)
def test_a_measures_constant_changes_its_experiments_rows_alone(tmp_path, codes_of, file, constant, experiment):
    assert changed(codes_of(PACKAGE), codes_of(copied(tmp_path, doubled(file, constant)))) == {experiment}


def test_a_methods_constant_changes_its_rows(tmp_path, codes_of):
    found = changed(codes_of(PACKAGE), codes_of(copied(tmp_path, doubled("baselines/double_dip.py", "_NOISE_SCALE"))))
    assert {row for row in found if isinstance(row, tuple)} == {("double-dip", "hint"), ("double-dip", "")}


def test_what_is_measured_of_networks_changes_their_rows(tmp_path, codes_of):
    found = changed(
        codes_of(PACKAGE), codes_of(copied(tmp_path, doubled("companion/networks.py", "SIDE, TIMED, TOGETHER")))
    )
    assert found == {(name, hint) for name in ("amortized", "redo") for hint in ("hint", "")}


def test_codes_differ_between_methods(codes_of):
    codes = codes_of(PACKAGE)
    assert len({code for row, code in codes.items() if isinstance(row, tuple)}) == 2 * len(METHODS)


def test_a_code_is_found_quickly():
    code.code_hash.cache_clear()
    code.code_hash(METHODS["deep-cv"].function)
    code.code_hash.cache_clear()
    started = time.perf_counter()
    code.code_hash(METHODS["deep-cv"].function)
    assert time.perf_counter() - started < 0.5
