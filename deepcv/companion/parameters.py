"""Parameters of a notebook or a command line: lists given as text, and names that nothing reads.

    papermill notebooks/table1.ipynb out.ipynb -p profile quick -p methods deep-cv,grabcut -p seeds 0,1

papermill passes text and numbers, assigns them in a cell below the notebook's own parameters, and only prints a line
about a name that isn't among these.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Mapping
from typing import Any, get_args, get_origin

from deepcv.checks import check_known
from deepcv.errors import InputError

PROFILES = ("quick", "cpu", "paper")
"""The embedded images; real data, reduced for two cores; the paper's settings, for a GPU."""

_INJECTED = "# Parameters\n"
"""papermill's cell begins with it."""


def check_parameters(namespace: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what papermill gave a notebook that nothing in it reads, and an unknown profile.

    Parameters
    ----------
    namespace : dict
        The notebook's `globals()`. IPython's `In`, the cells run so far, has papermill's.
    known : collection of str
        The notebook's parameters.

    Raises
    ------
    InputError
        For a name that is not among these, with the closest one, or a profile that is not in `PROFILES`.
    """
    cells = [cell for cell in namespace.get("In", ()) if cell.startswith(_INJECTED)]
    for node in ast.walk(ast.parse(cells[-1] if cells else "")):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not node.id.startswith("PAPERMILL_"):
            _check_name(node.id, known)
    check_known("profile", namespace["profile"], PROFILES)


def _check_name(name: str, known: Collection[str]) -> None:
    if name not in known:
        (closest,) = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise InputError(
            f"there is no parameter {name!r}; did you mean {closest}? This notebook takes {', '.join(known)}"
        )


def as_entries(value: Any, allowed: Any) -> Any:
    """The tuple that a list, a text or a single value stands for, where an annotation asks for a tuple.

    A text is separated by commas, brackets around it and quotes around entries don't count, and entries become numbers
    where the annotation asks for numbers. An entry with a comma needs a list whose entries are all in quotes.

    Parameters
    ----------
    value : object
    allowed : type
        An annotation, as `deepcv.checks` reads it; what isn't for a tuple returns the value as it is, and so does None.
    """
    tuples = [each for each in (allowed, *get_args(allowed)) if get_origin(each) is tuple]
    if value is None or not tuples:
        return value
    if isinstance(value, str):
        kind = get_args(tuples[0])[0]
        kind = next((each for each in (kind, *get_args(kind)) if each in (int, float)), str)
        return tuple(_entry(part, kind) for part in _parts(value))
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _parts(text: str) -> list[str]:
    try:
        quoted = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        quoted = None
    if isinstance(quoted, list | tuple):
        return [str(part) for part in quoted]
    parts = (part.strip(" \n\"'") for part in text.strip().removeprefix("[").removesuffix("]").split(","))
    return [part for part in parts if part]


def _entry(text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text  # the check of the settings names it
