"""Our docstrings are written to be read in the source; these rules let Sphinx read them as they are."""

import re

from deepcv.companion.experiments import EXPERIMENTS
from deepcv.methods import METHODS

# stands for a colon while napoleon looks at a docstring, which would take the words before the colon for a type
_COLON = "\ue000"


def display_formulas(lines):
    """Put `::` before each indented paragraph that has a blank line above it: a formula, to be shown as it is."""
    shown = []
    above = ""
    for index, line in enumerate(lines):
        starts_paragraph = index > 0 and line.strip() and not lines[index - 1].strip()
        if starts_paragraph and _indent(line) > _indent(above) and not _opens_a_block(above):
            shown += [" " * _indent(above) + "::", ""]
        shown.append(line)
        if line.strip():
            above = line
    return shown


def bullet_names(lines):
    """Make a list of lines that begin with a name and, after some room, say what it is; more lines may follow it."""
    listed = []
    above = ""
    for line in lines:
        item = re.fullmatch(r"(`[^`]+`) {2,}(\S.*)", line)
        continues = line.startswith("    ") and above.startswith("* ")
        above = f"* {item[1]}: {item[2]}" if item else f"  {line.strip()}" if continues else line
        listed.append(above)
        if continues:
            above = "* "
    return listed


def _indent(line):
    return len(line) - len(line.lstrip())


def _opens_a_block(line):
    return line.rstrip().endswith("::") or re.match(r"\s*(\.\. |[-*] |\d+\. )", line) is not None


def before_napoleon(app, what, name, obj, options, lines):
    lines[:] = display_formulas(bullet_names(lines))
    if what in ("attribute", "data", "property"):
        lines[:] = [re.sub(r"(?<!:):(?!:)", _COLON, line) for line in lines]


def after_napoleon(app, what, name, obj, options, lines):
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def list_registered(app, docname, source):
    """Replace the lines `% every experiment` and `% every method` of a page by a section for each."""
    experiments = [(each.title, f"deepcv.companion.experiments.{name}") for name, each in EXPERIMENTS.items()]
    modules: dict[str, list[str]] = {}
    for each in METHODS.values():
        if not each.trained and ".baselines." in each.function.__module__:
            modules.setdefault(each.function.__module__, []).append(each.title)
    methods = [(", ".join(titles), module) for module, titles in modules.items()]
    for line, listed in (("% every experiment", experiments), ("% every method", methods)):
        sections = (f"## {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n" for title, module in listed)
        source[0] = source[0].replace(line, "\n".join(sections))


def setup(app):
    app.connect("source-read", list_registered)
    app.connect("autodoc-process-docstring", before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", after_napoleon, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
