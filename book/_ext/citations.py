"""One scheme of citations: [11] is the paper's own reference 11, [Kim 2020] one that the paper doesn't have.

Both link to the list of references, [11] wherever it stands, in titles of methods and notebooks' tables, too.
"""

import functools
import re
from pathlib import Path

from pybtex.database import parse_file
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle

REFERENCES = Path(__file__).parents[1] / "references.bib"
PAGE = "bibliography"
UNLINKED = ("a", "code", "pre", "script", "style", "select", "title", "summary")
"""Elements whose text stays as it is; so do formulas."""


class Labels(BaseLabelStyle):
    def format_labels(self, entries):
        return [label(entry) for entry in entries]


class PapersStyle(Style):
    default_label_style = Labels
    default_sorting_style = "author_year_title"


def label(entry):
    """What stands for an entry of `references.bib` in the text, between brackets."""
    surname = str(entry.persons["author"][0].last_names[0]).replace("{", "").replace("}", "")
    return entry.fields.get("paper") or f"{surname} {entry.fields['year']}"


@functools.cache
def keys():
    """The keys of the entries by label."""
    return {label(entry): key for key, entry in parse_file(str(REFERENCES)).entries.items()}


def linked(body, page):
    """A page's HTML in which each [number] leads to its entry on the page of references."""
    closing, shown = [], []  # the ends of open elements that stay as they are
    for part in re.split(r"(<[^>]*>)", body):
        if found := re.match(r"<(/?)([a-z0-9]+)", part):
            name = found[2]
            if closing and found[1] and closing[-1] == name:
                closing.pop()
            elif not found[1] and (closing[-1:] == [name] or name in UNLINKED or 'class="math' in part):
                closing.append(name)
        elif not closing:
            part = re.sub(r"\[(\d+)\]", lambda found: _link(found[1], page), part)
        shown.append(part)
    return "".join(shown)


def _link(number, page):
    key = keys().get(number)
    return f'<a href="{page}#cite-{key}">[{number}]</a>' if key else f"[{number}]"


def link(app, pagename, templatename, context, doctree):
    if "body" in context and pagename != PAGE:
        context["body"] = linked(context["body"], context["pathto"](PAGE))


def setup(app):
    register_plugin("pybtex.style.formatting", "papers", PapersStyle)
    app.connect("html-page-context", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
