"""Examples in docstrings run, and those on the pages compile and import what there is."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

import deepcv

PACKAGE = Path(deepcv.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_a_docstrings_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCV_RESULTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_what_the_pages_import_is_there(repository):
    """Those on extending the package, a folder below, have tests of their own."""
    pages = [repository / "README.md", *sorted((repository / "book").glob("*.md"))]
    blocks = [(page, block) for page in pages for block in BLOCK.findall(page.read_text(encoding="utf-8"))]
    assert len(blocks) >= 5
    for page, block in blocks:
        for node in ast.walk(ast.parse(block, str(page))):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "deepcv":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, each.name) for each in node.names), (page, node.module)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "deepcv":
                assert hasattr(deepcv, node.attr), (page, node.attr)
