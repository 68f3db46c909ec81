"""Pictures and tables that notebooks make get a number, a caption, an alternative text and links to what they show.

`captions.yml` has the texts by name: that under which a picture is saved, or that of a table (`tabled`). Links lead to
the picture as SVG, to the numbers in it or in the table as CSV, and to the recorded rows behind them, where there are
some.
"""

import base64
import functools
import hashlib
import json
import re
import shutil
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.transforms import SphinxTransform

from deepcv.companion.experiments import EXPERIMENTS
from deepcv.companion.recorded import full_run

BOOK = Path(__file__).parents[1]
CAPTIONS = BOOK / "captions.yml"
DRAWN, RECORDED = (BOOK.parent / "results" / name for name in ("figures", "recorded"))
SAVED = re.compile(r'\bsaved\(.*?"([\w-]+)"\)$', re.DOTALL | re.MULTILINE)
TABLE = re.compile(r'<table id="T_([a-z0-9]+(?:-[a-z]+)+)"')


class Table(nodes.figure):
    """A table that a notebook made."""


@functools.cache
def all_entries():
    return yaml.safe_load(CAPTIONS.read_text(encoding="utf-8"))


def entry(name):
    """The caption, and a picture's alternative text, of a name."""
    captions = all_entries()
    return captions.get(name) or captions[re.sub(r"-(recorded|run)$", "", name)]


def names_in(notebook):
    """Names of the pictures in an executed notebook, by the hash that is the file's name."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        shown = [
            output["data"]["image/png"] for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
        ]
        saved = SAVED.findall("".join(cell["source"]))
        if len(saved) == len(shown):
            hashes = (hashlib.sha256(base64.b64decode(picture)).hexdigest() for picture in shown)
            found |= dict(zip(hashes, saved, strict=True))
    return found


def rows_behind(name):
    """The recorded run that a picture or table of this name shows, or ""."""
    page = name.partition("-")[0]
    if page == "speed":
        return "profile" if name in ("speed-operations", "speed-step") else "" if "-run" in name else "benchmark"
    return EXPERIMENTS[page].rows_of or page if "-recorded" in name else ""


@functools.cache
def origin(name, profile):
    """Where its numbers come from, with the parameters."""
    if name.endswith("-compared") or name.startswith("verdict"):
        return ""
    run = rows_behind(name)
    if not run:
        return f"This run, profile {profile}. "
    if run in EXPERIMENTS:
        rows = full_run(run)
        profiles = " and ".join(sorted(rows["profile"].unique()))
        seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
        return f"Recorded run, profile {profiles}, seeds {seeds}. "
    return "Recorded timings. "


class Captions(SphinxTransform):
    """Put each saved picture, and each named table, into a figure."""

    default_priority = 500

    def apply(self):
        notebook = Path(self.env.doc2path(self.env.docname))
        if notebook.suffix != ".ipynb":
            return
        names = names_in(notebook)
        given = json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("parameters", {})
        self.profile = given.get("profile", "quick")
        for image in list(self.document.findall(nodes.image)):
            if name := names.get(Path(image["uri"]).stem):
                image["alt"] = entry(name)["alt"]
                self.wrap(image, name, nodes.figure("", ids=[f"picture-{name}"]))
        for raw in list(self.document.findall(nodes.raw)):
            if found := TABLE.search(raw.astext()):
                self.wrap(raw, found[1], Table("", ids=[f"table-{found[1]}"], classes=["results"]))
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code_output":  # pictures first, which Jupyter shows last
                cell.children.sort(key=lambda shown: any(shown.findall(Table)))

    def wrap(self, shown, name, figure):
        shown.replace_self(figure)
        kind = "Table" if isinstance(figure, Table) else "Picture"
        scrolls = (
            f'<div class="results" tabindex="0" role="group" aria-label="{kind}">'  # where it is wide, by keyboard, too
        )
        around = [nodes.raw("", each, format="html") for each in (scrolls, "</div>")]
        links = {"SVG": f"figures/{name}.svg", "CSV": f"figures/{name}.csv", "rows": f"data/{rows_behind(name)}.csv"}
        there = [each for each in links.items() if (BOOK.parent / "results" / _folder(each[1])).is_file()]
        text = origin(name, self.profile) + entry(name)["caption"] + (" " if there else "")
        caption = nodes.caption("", "", nodes.Text(text))
        for index, each in enumerate(there):
            caption += [nodes.Text(", ")] if index else []
            caption += nodes.raw("", f'<a href="../_static/{each[1]}">{each[0]}</a>', format="html")
        figure += [around[0], shown, around[1], caption]


def _folder(path):
    """Where in `results` the copy in the book comes from."""
    return path.replace("data/", "recorded/")


def copy(app, exception):
    """Put the files that captions link to beside the pages."""
    if exception or app.builder.format != "html":
        return
    for folder, kinds, target in ((DRAWN, ("svg", "csv"), "figures"), (RECORDED, ("csv",), "data")):
        place = app.outdir / "_static" / target
        place.mkdir(parents=True, exist_ok=True)
        for path in (path for kind in kinds for path in folder.glob(f"*.{kind}")):
            shutil.copy(path, place)


def setup(app):
    visit = (lambda self, node: self.visit_figure(node), lambda self, node: self.depart_figure(node))
    app.add_enumerable_node(Table, "table", html=visit)
    app.add_transform(Captions)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
