"""Our recorded full runs, kept in git, and the numbers printed in the paper.

A recorded run is a table, `results/recorded/NAME.csv`, with one row per result, and `NAME.json`, which says what made
the rows, which conditions the experiment varies, and the hash of the table. A writer writes the new table beside the
old one, as `.NAME.csv.next`, then replaces the JSON, which commits the change, then the table. If it is killed after
the commit, the next reader replaces the table.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcv.companion.items import OF_THE_IMAGE, as_json, plain
from deepcv.companion.store import COLUMNS, SCORES, found, root
from deepcv.errors import InputError
from deepcv.files import locked, remedy_for

if TYPE_CHECKING:
    from pandas import DataFrame, Series

IDENTITY = ("profile", "dataset", "image", "method", "preset", "seed")
"""What identifies a recorded row, together with all conditions of its run; a run has one row per identity."""

RECORDED = (*IDENTITY, *SCORES, "data", "created", "run")
"""Columns of every recorded run; `data`: first digits of the image's hash, `run`: a key of the JSON's `runs`. The
conditions stand after `seed`, in the order of the JSON; measured numbers come last, sorted."""

_RUN = ("method", "preset", "settings", "code", "package", "libraries", "machine", "device")
_TYPES = {bool: "bool", int: "int", float: "float", str: "str"}
_OURS = "is ours"  # marks rows while two runs are merged; not a valid name of a measured number


def paper(name: str) -> DataFrame:
    """The numbers printed in a table or figure of the paper.

    Parameters
    ----------
    name : str
        `"table1"`: columns `method, f_measure, iou`.

    Returns
    -------
    pandas.DataFrame
        Empty, with the columns of Table 1, if there are no printed numbers at all, as in a package installed without
        the repository.

    Raises
    ------
    InputError
        If there are printed numbers, but none of this name.
    """
    import pandas as pd

    path = found("paper", f"{name}.csv")
    if path.is_file():
        return pd.read_csv(path)
    known = sorted(path.stem for path in found("paper").glob("*.csv"))
    if known:
        raise InputError(f"the paper has no numbers called {name!r}; choose from {', '.join(known)}")
    return pd.DataFrame(columns=["method", "f_measure", "iou"])


def recorded(name: str, folder=None) -> tuple[DataFrame, dict[str, Any]]:
    """Our recorded full run.

    Parameters
    ----------
    name : str
        `"table1"` …
    folder : path, optional
        Default `recorded` in `root()`, or in the repository's own `results` if there is no run of this name.

    Returns
    -------
    rows : pandas.DataFrame
        Columns `RECORDED`, the conditions and the measured numbers. A missing number or bool is NaN, a missing string
        "". Empty if nothing is recorded under this name.
    description : dict
        `name`; `rows`, their number; `csv_sha256`; `conditions`, the type of each by name; `measured`, names;
        `runs`, what made the rows by the digest in their column `run`: method, preset, settings, code, package,
        libraries, machine, device, the number of rows, maybe a note. Empty if nothing is recorded.

    Raises
    ------
    InputError
        If the two files can't be read or don't belong together.
    """
    folder = found("recorded", f"{name}.json").parent if folder is None else Path(folder)
    try:
        return _read(folder, name)
    except InputError:
        if not os.access(folder, os.W_OK):
            raise
    with _healed(folder, name):  # a writer is at work, or was killed
        return _read(folder, name)


def full_run(name: str) -> DataFrame:
    """The rows of our recorded run in its best profile: "paper" if it covers everything that "cpu" does, or else "cpu".

    Parameters
    ----------
    name : str

    Returns
    -------
    pandas.DataFrame
        As from `recorded`. Where some come from a CPU, the seconds of those from a GPU, which don't compare, are NaN.
    """
    rows, described = recorded(name)
    varied = [each for each in described.get("conditions", {}) if each not in OF_THE_IMAGE]
    kind = rows.groupby(["method", "preset", *varied], dropna=False, sort=False).ngroup()
    images = rows.groupby(["profile", kind])["image"].nunique()
    cpu, full = (images.get(profile, {}) for profile in ("cpu", "paper"))
    best = "paper" if all(full.get(each, 0) >= count for each, count in cpu.items()) else "cpu"
    rows = rows[rows["profile"] == best]
    on_cpu = rows["run"].map({key: run["device"] == "cpu" for key, run in described.get("runs", {}).items()})
    return rows.assign(seconds=rows["seconds"].where(on_cpu.astype(bool))) if on_cpu.nunique() == 2 else rows


def full_names(rows: DataFrame) -> Series:
    """The "method:preset" of each row."""
    return rows["method"] + ":" + rows["preset"]


def record(rows: DataFrame, name: str, *, folder=None, note: str = "") -> Path:
    """Merge rows of a store into our recorded run.

    They replace recorded rows of the same identity; the others stay. Rows are sorted and numbers have four decimals,
    so that a change is few lines in git.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Store.rows` or `Store.complete`.
    name : str
        `"table1"` …
    folder : path, optional
        Default `recorded` in `root()`.
    note : str
        A remark for readers of these rows, kept with what made them.

    Returns
    -------
    pathlib.Path
        The CSV file.

    Raises
    ------
    InputError
        If there is no row, or two of one identity, or the recorded run can't be read or written.
    """
    if rows.empty:
        raise InputError("there is no row to record; run the experiment first")
    conditions = _types_of(rows["conditions"])
    measured = sorted(set(rows.columns) - {*COLUMNS, *conditions})
    repeated = rows[rows.duplicated([*IDENTITY, *conditions])]
    if len(repeated):
        first = ", ".join(str(repeated.iloc[0][column]) for column in (*IDENTITY, *conditions))
        raise InputError(f"{first} has two rows; record the rows of one run")
    runs = [{column: row[column] for column in _RUN} for row in rows.to_dict("records")]
    runs = [json.loads(as_json(run | {"note": note} if note else run)) for run in runs]
    digests = [digest(run) for run in runs]
    rows = rows.assign(run=digests, data=rows["data_hash"].str[:8])[[*RECORDED, *conditions, *measured]]
    with _opened(name, folder) as (folder, before, described):
        conditions = _joined_types(described.get("conditions", {}), conditions)
        measured = {*described.get("measured", []), *measured}
        runs = described.get("runs", {}) | dict(zip(digests, runs, strict=True))
        merged = _typed(_joined(before, rows), conditions, measured)
        merged = merged.drop_duplicates([*IDENTITY, *conditions], keep="last")
        return write(folder, name, merged, runs, conditions, measured)


def merge(source, name: str, *, folder=None) -> dict[str, int]:
    """Merge a run recorded in another folder into ours.

    Of two rows of one identity the one computed last stays (`created`); ours if computed in the same second.

    Parameters
    ----------
    source : path
        The folder of the other `NAME.csv` and `NAME.json`.
    name : str
    folder : path, optional
        Ours; default `recorded` in `root()`.

    Returns
    -------
    dict
        How many rows of the other run were `"added"`, `"replaced"` one of ours, or were `"left"` out.

    Raises
    ------
    InputError
        If the other folder has no such run, or one of the two can't be read or written.
    """
    theirs, their_description = recorded(name, source)
    if theirs.empty:
        raise InputError(f"there is no recorded run {name} in {source}; name a folder that --into wrote")
    with _opened(name, folder) as (folder, ours, described):
        conditions = _joined_types(described.get("conditions", {}), their_description["conditions"])
        measured = {*described.get("measured", []), *their_description["measured"]}
        runs = their_description["runs"] | described.get("runs", {})
        both = _typed(_joined(theirs.assign(**{_OURS: False}), ours.assign(**{_OURS: True})), conditions, measured)
        merged = both.sort_values("created", kind="stable").drop_duplicates([*IDENTITY, *conditions], keep="last")
        write(folder, name, merged, runs, conditions, measured)
    added = len(merged) - len(ours)
    taken = int((~merged[_OURS].astype(bool)).sum())
    return {"added": added, "replaced": taken - added, "left": len(theirs) - taken}


@contextlib.contextmanager
def _opened(name: str, folder) -> Iterator[tuple[Path, DataFrame, dict[str, Any]]]:
    """The folder, rows and description of a recorded run, with its lock held."""
    folder = root() / "recorded" if folder is None else Path(folder)
    with _healed(folder, name):
        yield folder, *_read(folder, name)


def digest(run: Mapping[str, Any]) -> str:
    """The key of a run in the JSON's `runs`: eight hex digits of its hash."""
    return _sha256(as_json(run))[:8]


def write(
    folder: Path,
    name: str,
    rows: DataFrame,
    runs: Mapping[str, Mapping[str, Any]],
    conditions: Mapping[str, str],
    measured: Iterable[str],
) -> Path:
    """Replace a recorded run; the caller holds the lock of its JSON (`deepcv.files.locked`).

    Parameters
    ----------
    folder : path
    name : str
    rows : pandas.DataFrame
        Columns `RECORDED`, the conditions and the measured numbers; others are left out.
    runs : mapping of str to dict
        What made the rows, by digest; those without a row are left out.
    conditions : mapping of str to {"str", "bool", "int", "float"}
    measured : iterable of str

    Returns
    -------
    pathlib.Path
        The CSV file.

    Raises
    ------
    InputError
        If a file can't be written; the old or the new run stays readable.
    """
    rows = _typed(rows, conditions, measured).sort_values(
        ["profile", "dataset", "method", "preset", *conditions, "seed", "image"]
    )
    text = _as_text(rows, conditions)[_columns(conditions, measured)].to_csv(
        index=False, float_format="%.4f", lineterminator="\n"
    )
    counts = rows["run"].value_counts().to_dict()
    in_order = sorted(counts, key=lambda each: (runs[each]["method"], runs[each]["preset"], each))
    described = {
        "name": name,
        "rows": len(rows),
        "csv_sha256": _sha256(text),
        "conditions": dict(conditions),
        "measured": sorted(measured),
        "runs": {each: {**runs[each], "rows": counts[each]} for each in in_order},
    }
    csv, description = folder / f"{name}.csv", folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_file(_next(csv), text)
        _write_file(_next(description), json.dumps(described, indent=1, ensure_ascii=False, default=plain) + "\n")
        os.replace(_next(description), description)  # commits
        os.replace(_next(csv), csv)
    except OSError as error:
        with contextlib.suppress(OSError):
            _heal(folder, name)
        raise _unwritable(csv, error) from None
    return csv


def _read(folder: Path, name: str) -> tuple[DataFrame, dict[str, Any]]:
    import pandas as pd

    csv, description = folder / f"{name}.csv", folder / f"{name}.json"
    if not csv.is_file() and not description.is_file():
        return _typed(pd.DataFrame(columns=list(RECORDED)), {}, ()), {}
    try:
        described = json.loads(description.read_text(encoding="utf-8"))
        text = csv.read_text(encoding="utf-8")
        conditions, measured = described.get("conditions", {}), described.get("measured", [])
        columns = _columns(conditions, measured)
        numbers = {*SCORES, *measured, *(each for each, kind in conditions.items() if kind in ("int", "float"))}
        strings = dict.fromkeys({*columns} - {*numbers, "seed"}, str)
        blank = {each: [""] for each in numbers}
        rows = pd.read_csv(io.StringIO(text), dtype=strings, keep_default_na=False, na_values=blank)
        if list(rows.columns) == columns:
            rows = _typed(rows, conditions, measured)
    except (OSError, ValueError) as error:
        raise InputError(f"can't read the recorded run {csv} ({error}); restore both files from git") from error
    if list(rows.columns) != columns:
        raise InputError(f"{csv} has other columns than this version of deepcv writes; record it again")
    if described.get("csv_sha256") != _sha256(text) or set(rows["run"]) != set(described["runs"]):
        raise InputError(f"{csv.name} and {description.name} in {csv.parent} don't belong together; record them again")
    return rows, described


def _heal(folder: Path, name: str) -> None:
    """Finish or drop what a killed writer left; the caller holds the lock."""
    csv, description, committed = folder / f"{name}.csv", folder / f"{name}.json", False
    with contextlib.suppress(OSError, ValueError, KeyError):
        wanted = json.loads(description.read_text(encoding="utf-8"))["csv_sha256"]
        committed = wanted == _sha256(_next(csv).read_text(encoding="utf-8"))
    if committed:
        os.replace(_next(csv), csv)
    for path in (csv, description):
        _next(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _healed(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a run, after finishing what a killed writer left."""
    with locked(folder / f"{name}.json"):
        try:
            _heal(folder, name)
        except OSError as error:
            raise _unwritable(folder / f"{name}.csv", error) from None
        yield


def _unwritable(csv: Path, error: OSError) -> InputError:
    remedy = remedy_for(error, "close programs that use it and try again, or choose another folder")
    return InputError(f"can't write {csv} ({error.strerror}); {remedy}")


def _next(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


def _write_file(path: Path, text: str) -> None:
    with open(path, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _columns(conditions: Iterable[str], measured: Iterable[str]) -> list[str]:
    return [*IDENTITY, *conditions, *SCORES, "data", "created", "run", *sorted(measured)]


def _types_of(conditions: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The type of each condition, from the conditions of each row."""
    types: dict[str, str] = {}
    for each in conditions:
        types = _joined_types(types, {name: _TYPES[type(value)] for name, value in each.items()})
    return types


def _joined_types(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    types = dict(ours)
    for name, kind in theirs.items():
        if {kind, types.get(name, kind)} == {"int", "float"}:
            kind = "float"
        if types.setdefault(name, kind) != kind and kind != "float":
            raise InputError(f"the condition {name!r} is {kind} in some rows, {types[name]} in others; use one type")
        types[name] = kind
    return types


def _typed(rows: DataFrame, conditions: Mapping[str, str], measured: Iterable[str]) -> DataFrame:
    """Rows with all columns, in their types; missing ones are added."""
    columns = [*rows.columns, *({*conditions, *measured} - {*rows.columns})]
    rows = rows.reindex(columns=columns).astype({**dict.fromkeys((*SCORES, *measured), float), "seed": int})
    for name, kind in conditions.items():
        column = rows[name]
        if kind == "str":
            column = column.fillna("")
        elif kind == "bool":
            column = column.map({"True": True, "False": False, True: True, False: False})
            column = column.astype(object if column.isna().any() else bool)
        else:
            column = column.astype(int if kind == "int" and column.notna().all() else float)
        rows[name] = column
    return rows


def _as_text(rows: DataFrame, conditions: Mapping[str, str]) -> DataFrame:
    """Numeric conditions as text, in full instead of with four decimals."""
    kinds = {"int": int, "float": float}
    numbers = {name: kinds[kind] for name, kind in conditions.items() if kind in kinds}
    return rows.assign(
        **{
            name: [repr(kind(value)) if value == value else "" for value in rows[name]]
            for name, kind in numbers.items()
        }
    )


def _joined(*parts: DataFrame) -> DataFrame:
    import pandas as pd

    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
