"""Repairs of the built pages: they run without a network and without errors in the console, and show their text early.

Of what Sphinx, its extensions and the theme put into a page's head, scripts wait until the text is there, and what no
page uses is left out: widgets, tabs and cards, kernels from another host. Style sheets lose the rules that no page can
match, and the icons' font all but the icons in use. Pictures become WebP and load when they come near, from files of
their own, also those that a notebook puts into its HTML.
"""

import base64
import hashlib
import io
import logging
import re

from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image

UNUSED = ("thebe", "sphinx-design", "design-tabs", "widget-state+json")
"""In the names or text of files and scripts that no page needs."""

ICONS = "vendor/fontawesome/webfonts/fa-solid-900"
"""The theme's font of icons, beside its style sheets; it goes into them, since Firefox loads no font beside a page that
is read from the disk. The theme also has the icons as a script of 1.5 MB."""

FEW_COLOURS = 8192
"""A picture with no more is a plot, and packed without loss."""

HELD = re.compile(r"data:image/webp;base64,([A-Za-z0-9+/]+=*)")
"""A picture within an address."""


def lighten(app, pagename, templatename, context, doctree):
    """Leave out what the page doesn't use, and let scripts and pictures wait for the text."""
    if pagename.startswith("notebooks/"):  # their pictures and tables need the room of the list of headings
        context["meta"] = {**(context.get("meta") or {}), "html_theme.sidebar_secondary.remove": "true"}
    body = re.sub(r"(_images/[\w-]+)\.png", r"\1.webp", context.get("body", ""))
    body = HELD.sub(lambda found: context["pathto"](_filed(app, found[1]), resource=True), body)
    context["body"] = re.sub(r"<img (?![^>]*\bloading=)", '<img loading="lazy" ', body)
    kept = []
    for script in context["script_files"]:
        text = f"{script.filename} {script.attributes}"
        if any(name in text for name in UNUSED):
            continue
        # a script in the page extends the options; the search page's own scripts can't wait
        if script.filename and "documentation_options" not in script.filename and pagename != "search":
            attributes = {**script.attributes, "defer": "defer"}
            script = type(script)(script.filename, priority=script.priority, **attributes)
        kept.append(script)
    context["script_files"] = kept
    context["css_files"] = [sheet for sheet in context["css_files"] if not any(name in str(sheet) for name in UNUSED)]


def mended(page):
    """A page's HTML without what its extensions and the theme tell a screen reader wrongly."""
    toggle = '<span class="toctree-toggle" role="presentation">'  # opens a page's list of pages in the sidebar
    page = page.replace(f"<summary>{toggle}", f'<summary aria-label="Pages below">{toggle}')
    page = page.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    return re.sub(r'<dl>\n(<dd><em class="sig-param">.*?)</dl>', _as_list, page, flags=re.DOTALL)


def _as_list(found):
    """Parameters of a function, a line each: a list, but none of definitions."""
    items = found[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
    return f'<ul class="parameters">{items}</ul>'


def _filed(app, content):
    """Where in the book the file is that has this content, base64."""
    name = f"_static/pictures/{hashlib.sha256(content.encode()).hexdigest()[:16]}.webp"
    path = app.outdir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(content))
    return name


def trim(app, exception):
    """Mend the pages and shrink what was written: style sheets, the font of icons, pictures."""
    if exception or app.builder.format != "html":
        return
    static = app.outdir / "_static"
    for left_over in static.glob("scripts/fontawesome.js*"):
        left_over.unlink()
    scripts = [path for path in static.rglob("*.js") if "mathjax" not in path.parts]
    for page in app.outdir.rglob("*.html"):
        page.write_text(mended(page.read_text(encoding="utf-8")), encoding="utf-8")
    texts = (path.read_text(encoding="utf-8") for path in [*app.outdir.rglob("*.html"), *scripts])
    words = {word for text in texts for word in re.findall(r"[\w-]+", text)}
    for sheet in [*static.glob("*.css"), *static.glob("styles/*.css")]:
        css = matching(sheet.read_text(encoding="utf-8"), words)
        if '@import "../basic.css";' in css:  # a page would ask for it only then
            css = css.replace('@import "../basic.css";', (static / "basic.css").read_text().replace("url(", "url(../"))
        css = re.sub(rf"url\(\.\./{ICONS}\.woff2\)[^}}]*", lambda _, css=css: icons(css, static / f"{ICONS}.ttf"), css)
        sheet.write_text(css, encoding="utf-8")
    for path in (app.outdir / "_images").glob("*.png"):
        with Image.open(path) as picture:
            plot = picture.getcolors(FEW_COLOURS) is not None
            picture.convert("RGB").save(path.with_suffix(".webp"), lossless=plot, quality=90)
        path.unlink()


def matching(css, words):
    """The style sheet without the selectors that ask for a class that is none of the words."""

    def rule(found):
        selectors, body = found.groups()
        if selectors.lstrip().startswith("@"):
            return found[0]
        kept = [each for each in re.split(r",(?![^(]*\))", selectors) if can_match(each)]
        return f"{','.join(kept)}{{{body}}}" if kept else ""

    def can_match(selector):
        asked = re.findall(r"\.(?!bs-)([a-zA-Z_-][\w-]*)", re.sub(r"\([^()]*\)", "", selector))
        return words.issuperset(asked)  # Bootstrap's script puts together names that begin with "bs-"

    licences = "".join(re.findall(r"/\*!.*?\*/", css, flags=re.S))
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    return licences + re.sub(r"@media[^{}]*\{\s*\}", "", re.sub(r"([^{};]*)\{([^{}]*)\}", rule, css))


def icons(css, font):
    """The font with only the characters that the style sheet asks for, as an address that holds it."""
    used = {int(code, 16) for code in re.findall(r'content:"\\([0-9a-f]{2,5}) ?"', css)}
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    small = TTFont(font)
    subsetter = subset.Subsetter()
    subsetter.populate(unicodes=used)
    subsetter.subset(small)
    small.flavor = "woff"
    written = io.BytesIO()
    small.save(written)
    return f"url(data:font/woff;base64,{base64.b64encode(written.getvalue()).decode()})"


def setup(app):
    # Last of the handlers, so that every other extension has added what it adds.
    app.connect("html-page-context", lighten, priority=10_000)
    app.connect("build-finished", trim, priority=10_000)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
