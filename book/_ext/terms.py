"""Terms of the glossary say what they mean where they are used: in a title, which shows under the pointer."""

import functools
import html
import re

from docutils import nodes

PAGE = "glossary"


@functools.cache
def meanings(app):
    """The entries by the anchors of their terms."""
    return {
        term["ids"][0]: " ".join(entry.next_node(nodes.definition).astext().split())
        for entry in app.env.get_doctree(PAGE).findall(nodes.definition_list_item)
        for term in entry.findall(nodes.term)
    }


def titled(app, pagename, templatename, context, doctree):
    """Give links into the glossary their entry as a title."""
    if PAGE not in app.env.all_docs or "body" not in context:
        return

    def with_title(found):
        meaning = meanings(app).get(found["term"])
        return f'{found[0]} title="{html.escape(meaning)}"' if meaning else found[0]

    context["body"] = re.sub(
        rf'<a class="[^"]*" href="[^"]*{PAGE}\.html#(?P<term>term-[^"]+)"', with_title, context["body"]
    )


def setup(app):
    app.connect("html-page-context", titled)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
