"""Pictures that notebooks save get a number, a caption, an alternative text and links to what they show.

`captions.yml` has the texts by the name under which a picture is saved. Links lead to the picture as SVG and to the
recorded rows behind it as CSV, where there are some.
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

BOOK = Path(__file__).parents[1]
CAPTIONS = BOOK / "captions.yml"
DRAWN, RECORDED = (BOOK.parent / "results" / name for name in ("figures", "recorded"))
SAVED = re.compile(r'\bsaved\(.*?"([\w-]+)"\)$', re.DOTALL | re.MULTILINE)


@functools.cache
def all_entries():
    return yaml.safe_load(CAPTIONS.read_text(encoding="utf-8"))


def entry(name):
    """The caption and alternative text of a picture's name."""
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


class Captions(SphinxTransform):
    """Put each saved picture into a figure."""

    default_priority = 500

    def apply(self):
        notebook = Path(self.env.doc2path(self.env.docname))
        if notebook.suffix != ".ipynb":
            return
        names = names_in(notebook)
        for image in list(self.document.findall(nodes.image)):
            if name := names.get(Path(image["uri"]).stem):
                self.wrap(image, name)

    def wrap(self, image, name):
        texts = entry(name)
        image["alt"] = texts["alt"]
        figure = nodes.figure("", ids=[f"picture-{name}"])
        image.replace_self(figure)
        links = [link("SVG", f"figures/{name}.svg")] if (DRAWN / f"{name}.svg").is_file() else []
        experiment = name.removesuffix("-recorded")
        if experiment != name and (RECORDED / f"{experiment}.csv").is_file():
            links.append(link("rows as CSV", f"data/{experiment}.csv"))
        source = "Recorded run. " if experiment != name else "This run. " if name.endswith("-run") else ""
        caption = nodes.caption("", "", nodes.Text(source + texts["caption"] + (" " if links else "")))
        for index, each in enumerate(links):
            caption += [nodes.Text(", ")] if index else []
            caption += each
        figure += [image, caption]


def link(text, path):
    return nodes.raw("", f'<a href="../_static/{path}">{text}</a>', format="html")


def copy(app, exception):
    """Put the files that captions link to beside the pages."""
    if exception or app.builder.format != "html":
        return
    for folder, kind, target in ((DRAWN, "svg", "figures"), (RECORDED, "csv", "data")):
        place = app.outdir / "_static" / target
        place.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"*.{kind}"):
            shutil.copy(path, place)


def setup(app):
    app.add_transform(Captions)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
