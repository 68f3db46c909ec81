"""What the book's own extensions of Sphinx make of pages, piece by piece."""

import importlib
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("sphinx", reason="install the extra `companion`")

ROOT = Path(__file__).parents[1]
REFERENCES = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    return importlib.import_module


@pytest.mark.parametrize("given", ["https://github.com/owner/name", "https://github.com/owner/name.git"])
def test_a_repository_gives_every_page_its_launch_links(extension, given):
    links = extension("pages").launch_links(given, "table1")
    binder, colab = (urlsplit(links[service]) for service in ("Binder", "Colab"))
    assert (binder.scheme, binder.netloc, binder.path) == ("https", "mybinder.org", "/v2/gh/owner/name/main")
    assert parse_qs(binder.query) == {"labpath": ["notebooks/table1.ipynb"]}
    assert (colab.scheme, colab.netloc) == ("https", "colab.research.google.com")
    assert colab.path == "/github/owner/name/blob/main/notebooks/table1.ipynb"
    assert (ROOT / "notebooks" / colab.path.rpartition("/")[2]).is_file()


def test_no_repository_gives_no_links_and_another_address_is_refused(extension):
    pages = extension("pages")
    assert pages.launch_links("", "table1") == {}
    for wrong in ("https://example.org/owner/name", "github.com/owner/name", "https://github.com/owner"):
        with pytest.raises(Exception, match="give https"):
            pages.launch_links(wrong, "table1")


def test_parameters_are_the_notebooks_own_and_papermills(extension):
    cell = {"metadata": {"tags": ["parameters"]}, "source": ['profile = "quick"\n', "seeds = [0]\n", "size = None"]}
    notebook = {"cells": [cell], "metadata": {"papermill": {"parameters": {"profile": "cpu"}}}}
    assert extension("pages").parameters(notebook) == {"profile": "cpu", "seeds": [0]}


def test_every_reference_has_a_doi_and_a_label_of_its_own(extension):
    entries = re.findall(r"^@\w+\{(\w+),(.*?)^\}", REFERENCES, re.DOTALL | re.MULTILINE)
    assert len(entries) == len(extension("citations").keys())
    assert not [key for key, text in entries if not re.search(r"^ +doi +=", text, re.MULTILINE)]


def test_a_number_of_the_papers_links_to_its_reference_but_not_in_code_formulas_and_links(extension):
    linked = extension("citations").linked
    assert linked("<td>Chan-Vese [11]</td>", "b.html") == '<td>Chan-Vese <a href="b.html#cite-chan2001">[11]</a></td>'
    for same in ("<code>x[11]</code>", '<span class="math notranslate">\\([11]\\)</span>', "<a>[11]</a>", "<p>[0]</p>"):
        assert linked(same, "b.html") == same
    nested = '<span class="math">a<span>b</span>[11]</span>'
    assert linked(nested, "b.html") == nested


def test_every_bracketed_number_in_titles_and_texts_is_a_reference(extension):
    paths = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.md"), ROOT / "deepcv" / "methods.py"]
    written = {number for path in paths for number in re.findall(r"\w \[(\d\d)\]", path.read_text(encoding="utf-8"))}
    assert written and written <= extension("citations").keys().keys()
