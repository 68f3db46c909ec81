"""The result store, and the three kinds of numbers a table shows: this run, our recorded run, the paper.

A finished result is one row of an SQLite file, written in a transaction of its own as soon as it is there. Its key is
a hash over everything that can change the number: what was computed (`Item`), on which data, by which source of this
package, with which libraries, on which kind of device. So a row is found again exactly when computing it again would
give the same, a run killed at any moment loses only the items in work, and several processes may fill one store.

`Store`      this run's rows
`recorded`   our full runs, kept in git: the rows in `results/recorded/NAME.csv`, what made each in `NAME.json`
`paper`      the numbers the paper prints, `results/paper/NAME.csv`
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .files import write_together
from .images import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

SCORES = ("f_measure", "iou", "accuracy", "f_measure_oracle", "iou_oracle", "accuracy_oracle", "seconds")
"""What is measured of a result; `_oracle`: the better of the mask and its complement, chosen with the truth."""

IDENTITY = ("experiment", "dataset", "image", "method", "preset", "seed", "settings", "data_hash", "device")
"""What a result is a result of: the fields of `Item`."""

MADE_BY = ("package", "source", "libraries")
"""The rest of the key: package version, hash of its source, versions of the libraries that compute."""

COLUMNS = ("key", *IDENTITY, *MADE_BY, "machine", "profile", *SCORES, "created", "extra")
"""The columns of `Store.rows`."""

RECORDED_AS = ("profile", "dataset", "method", "preset", "seed", "image")
"""What a recorded row is found by; a run holds one row of each."""

_OURS = "is ours"  # while two runs are merged; no measured number is called so

RECORDED = ("profile", "dataset", "image", "method", "preset", "seed", *SCORES, "data", "created", "run")
"""The columns of a recorded run; `data`: the first digits of the image's hash, `run`: a key of the JSON's `runs`. After
them come the numbers that the experiment measures besides (`with_measured`)."""

_RUN = ("method", "preset", "settings", *MADE_BY, "machine", "device")
_JSON = ("settings", "libraries", "machine", "extra")
_LIBRARIES = {
    "torch": ("torch",),
    "numpy": ("numpy",),
    "scikit-image": ("scikit-image",),
    "opencv": ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python-headless", "opencv-python"),
}
_WITHOUT_NUMBERS = {
    "cli.py",
    "__main__.py",
    "claims.py",
    "evidence.py",
    "verdict.py",
    "widgets.py",
    "results.py",
    "recording.py",
    "execution.py",
    "timings.py",
    "experiments",
}
_APPLICATION_ID = 0x44454356  # "DECV": marks the SQLite file as ours
_LAYOUT = 1  # raise when the columns change
_PATIENCE = 60  # seconds to wait while another process writes


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing to compute, and all that its result depends on besides the code.

    Attributes
    ----------
    experiment, dataset, image, method, preset : str
    seed : int
    settings : dict
        Every setting the method runs with, the working size among them; plain values.
    data_hash : str
        `Sample.hash`.
    device : str
        The kind of device, from `device_kind`.
    """

    experiment: str
    dataset: str
    image: str
    method: str
    preset: str = "default"
    seed: int = 0
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    data_hash: str = ""
    device: str = "cpu"

    @property
    def key(self) -> str:
        """SHA-256, in hex, over the fields, the package's version and source, and the libraries' versions."""
        described = {name: getattr(self, name) for name in IDENTITY} | {name: provenance()[name] for name in MADE_BY}
        return hashlib.sha256(as_json(described).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.dataset}/{self.image}, {self.method} ({self.preset}), seed {self.seed}"


class Unit(tuple):
    """Items that are computed together, a tuple of `Item`."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self[0]) if len(self) == 1 else f"{self[0]} and {len(self) - 1} more"


class Store:
    """Rows of results in an SQLite file.

    Parameters
    ----------
    path : path, optional
        The file, made when it is not there; default `store.sqlite` in `root()`.

    Raises
    ------
    InputError
        When the file is damaged, not a store, or of another version's layout, or can't be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> store = Store(pathlib.Path(tempfile.mkdtemp()) / "store.sqlite")
    >>> item = Item("table1", "samples", "coffee", "chan-vese")
    >>> store.put(item, profile="quick", f_measure=0.9)
    True
    >>> store.get(item)["f_measure"]
    0.9
    >>> store.close()
    """

    def __init__(self, path=None):
        self.path = Path(path) if path is not None else root() / "store.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the result store can't be made in {self.path.parent} ({error}); {_ELSEWHERE}") from None
        with self._explained():
            # Autocommit: a statement is a transaction, so a row is there whole or not at all.
            self._connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def get(self, item: Item) -> dict[str, Any] | None:
        """The row of an item, a dict over `COLUMNS`, or None when it was never finished (by this code)."""
        found = self._select("WHERE key = ?", [item.key])
        return found[0] if found else None

    def put(
        self,
        item: Item,
        *,
        profile: str,
        labels: np.ndarray | None = None,
        extra: dict[str, Any] | None = None,
        made_by: dict[str, Any] | None = None,
        replace: bool = False,
        **scores: float,
    ) -> bool:
        """Write the result of an item.

        Parameters
        ----------
        item : Item
        profile : str
        labels : numpy.ndarray of uint8, `(H, W)`, optional
            The label map, kept as PNG for picture grids.
        extra : dict, optional
            Anything else worth keeping; plain values.
        made_by : dict, optional
            `provenance()` of the process that computed it; default: this one's.
        replace : bool
            What happens when the row is already there: False keeps it, True writes the new one in its place.
        **scores : float
            Any of `SCORES`; what is left out is NaN.

        Returns
        -------
        bool
            False when the row was there already and was kept.

        Raises
        ------
        TypeError
            For a score that is not in `SCORES`.
        InputError
            When the file can't be written, or another version of the package or its libraries made the row.
        """
        made_by = made_by or provenance()
        check_same_code(made_by, f"what computed {item}")
        unknown = set(scores) - set(SCORES)
        if unknown:
            raise TypeError(f"there is no score {sorted(unknown)[0]!r}; there are {', '.join(SCORES)}")
        row = dataclasses.asdict(item) | made_by | {name: None for name in SCORES}
        row |= {name: float(value) for name, value in scores.items()}
        row |= {"key": item.key, "profile": profile, "created": _now(), "extra": extra or {}}
        row |= {name: as_json(row[name]) for name in _JSON}
        row["labels"] = None if labels is None else _to_png(labels)
        columns = (*COLUMNS, "labels")
        statement = (
            f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO results ({', '.join(columns)}) "
            f"VALUES ({', '.join('?' * len(columns))})"
        )
        with self._explained():
            return self._connection.execute(statement, [row[name] for name in columns]).rowcount == 1

    def missing(self, items: Iterable[Item]) -> list[Item]:
        """Those of the items that have no row, in their order."""
        with self._explained():
            there = {key for (key,) in self._connection.execute("SELECT key FROM results")}
        return [item for item in items if item.key not in there]

    def rows(self, items: Iterable[Item] | None = None, *, outdated: bool = False, **equal) -> DataFrame:
        """Rows as a table, in the order of `items`, or else sorted.

        Parameters
        ----------
        items : iterable of Item, optional
            Only the rows of these; items without a row are left out.
        outdated : bool
            Also rows that another version of this package or its libraries made (not together with `items`).
        **equal
            Only rows whose column has this value, `experiment="table1"`, `method="chan-vese"` …

        Returns
        -------
        pandas.DataFrame over `COLUMNS`; without rows, too.
        """
        unknown = set(equal) - set(COLUMNS)
        if unknown:
            raise InputError(f"there is no column {sorted(unknown)[0]!r}; there are {', '.join(COLUMNS)}")
        if not outdated:
            equal |= {name: provenance()[name] for name in MADE_BY}
        wanted = {name: as_json(value) if name in _JSON else value for name, value in equal.items()}
        condition = " AND ".join(f"{name} = ?" for name in wanted) or "TRUE"
        found = self._select(
            f"WHERE {condition} ORDER BY experiment, profile, dataset, method, preset, seed, image, created",
            list(wanted.values()),
        )
        if items is not None:
            by_key = {row["key"]: row for row in found}
            found = [by_key[item.key] for item in items if item.key in by_key]
        return _table(found)

    def labels(self, item: Item) -> np.ndarray | None:
        """The label map kept with an item's row, uint8 `(H, W)`; None without a row or without labels."""
        with self._explained():
            found = self._connection.execute("SELECT labels FROM results WHERE key = ?", [item.key]).fetchone()
        return _from_png(found[0]) if found and found[0] is not None else None

    def fill(
        self,
        units: Iterable[Unit],
        compute: Callable[[Unit], list[dict[str, Any]]],
        *,
        replace: bool = False,
        **options,
    ) -> Iterator[tuple[Unit, list[dict[str, Any]]]]:
        """Compute units, write the rows of each as soon as it is there, and give `(unit, results)` then.

        Parameters
        ----------
        units : iterable of Unit
            Taken as they are needed.
        compute : callable
            Takes a unit, gives the keyword arguments of `put` for each of its items. It runs in other processes: a
            module's function, or a `functools.partial` of one.
        replace : bool
            As in `put`.
        **options
            `workers`, `progress`, `description` as in `deepcv.execution.run`.
        """
        from .execution import run

        with contextlib.closing(run(compute, units, **options)) as finished:
            for unit, found in finished:
                for item, result in zip(unit, found, strict=True):
                    self.put(item, replace=replace, **result)
                yield unit, found

    def complete(
        self,
        items: Iterable[Item],
        compute: Callable[[Unit], list[dict[str, Any]]],
        *,
        units: Callable[[list[Item]], list[Unit]] | None = None,
        recompute: bool = False,
        **options,
    ) -> DataFrame:
        """Compute the items that have no row yet and return the rows of all, in the order of `items`.

        Parameters
        ----------
        items : iterable of Item
        compute, **options
            As in `fill`.
        units : callable, optional
            Puts items together that are computed at once; default: each by itself.
        recompute : bool
            Compute every item and replace the rows that are there.

        Returns
        -------
        pandas.DataFrame over `COLUMNS`.
        """
        items = list(items)
        to_do = items if recompute else self.missing(items)
        together = units(to_do) if units else [Unit([item]) for item in to_do]
        for _ in self.fill(together, compute, replace=recompute, **options):
            pass
        return self.rows(items)

    def close(self) -> None:
        """Close the file; the store can't be used afterwards."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _open(self) -> None:
        """Check the file, and lay out a new one."""
        _patiently(lambda: self._connection.execute("PRAGMA journal_mode = WAL"))  # readers don't block the writer
        (health,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        _patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))  # two processes may both find no file
        try:
            tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            marked = self._connection.execute("PRAGMA application_id").fetchone()[0]
            layout = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if tables and marked != _APPLICATION_ID:
                raise InputError(f"{self.path} is a database of another program; name another file for the results")
            if tables and layout != _LAYOUT:
                raise InputError(
                    f"the result store {self.path} has layout {layout}, this version of deepcv reads layout {_LAYOUT}; "
                    "move it away, and what it held will be computed again"
                )
            if not tables:
                self._connection.execute(_SCHEMA)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _select(self, clause: str, values: list) -> list[dict[str, Any]]:
        with self._explained():
            found = self._connection.execute(f"SELECT {', '.join(COLUMNS)} FROM results {clause}", values).fetchall()
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in found]
        for row in rows:
            row |= {name: json.loads(row[name]) for name in _JSON}
            row |= {name: float("nan") if row[name] is None else row[name] for name in SCORES}  # SQLite has no NaN
        return rows

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in one sentence what SQLite found wrong, and what to do about it."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                remedy = f"another process kept it for over {_PATIENCE} seconds; wait until that one is done"
            elif "full" in str(error):
                remedy = "make room on the disk and run again, the finished rows are kept"
            else:
                remedy = _ELSEWHERE
            raise InputError(f"the result store {self.path} can't be used ({error}): {remedy}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the result store {self.path} is damaged ({error}); move it and the files {self.path.name}-wal and "
                f"{self.path.name}-shm beside it away, and what it held will be computed again"
            ) from error


_ELSEWHERE = "check that you may write there, or set DEEPCV_RESULTS to a folder where you may"

_SCHEMA = f"""
CREATE TABLE results (
    key TEXT PRIMARY KEY,
    {", ".join(f"{name} TEXT NOT NULL" for name in IDENTITY if name != "seed")}, seed INTEGER NOT NULL,
    {", ".join(f"{name} TEXT NOT NULL" for name in (*MADE_BY, "machine", "profile", "created", "extra"))},
    {", ".join(f"{name} REAL" for name in SCORES)},
    labels BLOB
)
"""


def root() -> Path:
    """The results folder.

    `DEEPCV_RESULTS` if it is set; else `results` in the nearest folder, from the current one upwards, that has
    `results/recorded` or `results/paper`; else a folder in the user's cache.
    """
    configured = os.environ.get("DEEPCV_RESULTS")
    if configured:
        return Path(configured).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        results = folder / "results"
        if (results / "recorded").is_dir() or (results / "paper").is_dir():
            return results
    import pooch

    return Path(pooch.os_cache("deepcv")) / "results"


def paper(name: str) -> DataFrame:
    """The numbers the paper prints in a table or figure.

    Parameters
    ----------
    name : str
        `"table1"`: columns `method, f_measure, iou`.

    Returns
    -------
    pandas.DataFrame; with the columns of Table 1 and no row where the results folder holds no paper's numbers at all,
    as beside a package that was installed without the repository.

    Raises
    ------
    InputError
        When the paper's numbers are there, but not these.
    """
    import pandas as pd

    folder = root() / "paper"
    path = folder / f"{name}.csv"
    if path.is_file():
        return pd.read_csv(path)
    known = sorted(path.stem for path in folder.glob("*.csv"))
    if known:
        raise InputError(f"there are no numbers of the paper called {name!r}; there are {', '.join(known)}")
    return pd.DataFrame(columns=["method", "f_measure", "iou"])


def recorded(name: str, folder=None) -> tuple[DataFrame, dict[str, Any]]:
    """Our recorded full run.

    Parameters
    ----------
    name : str
        `"table1"` …
    folder : path, optional
        Where it lies; default `recorded` in `root()`.

    Returns
    -------
    rows : pandas.DataFrame over `RECORDED`; empty when nothing is recorded under this name
    description : dict
        `runs`: what made the rows, by the digest in their column `run`: method, preset, settings, package, source,
        libraries, machine, device. Empty when nothing is recorded.

    Raises
    ------
    InputError
        When the two files can't be read or don't belong together.
    """
    import pandas as pd

    csv, description = _recorded_paths(name, folder)
    if not csv.is_file():
        return _table([], RECORDED), {}
    try:
        text = csv.read_text(encoding="utf-8")
        described = json.loads(description.read_text(encoding="utf-8"))
        numbers = {column: [""] for column in SCORES}
        strings = {column: str for column in RECORDED if column not in (*SCORES, "seed")}
        more = text.partition("\n")[0].split(",")[len(RECORDED) :]
        numbers |= {column: [""] for column in more}
        rows = pd.read_csv(io.StringIO(text), dtype=strings, keep_default_na=False, na_values=numbers)
    except (OSError, ValueError) as error:
        raise InputError(f"the recorded run {csv} can't be read ({error}); restore both files from git") from error
    if tuple(rows.columns[: len(RECORDED)]) != RECORDED:
        raise InputError(f"{csv} has other columns than this version of deepcv writes; record it again")
    if described.get("csv_sha256") != _sha256(text) or set(rows["run"]) != set(described["runs"]):
        raise InputError(f"{csv.name} and {description.name} in {csv.parent} don't belong together; record them again")
    return rows, described


def full_run(name: str) -> DataFrame:
    """The rows of our recorded run in its best profile: "paper" where it has all that "cpu" has, or else "cpu".

    Parameters
    ----------
    name : str

    Returns
    -------
    pandas.DataFrame over `RECORDED`
    """
    rows, _ = recorded(name)
    images = rows.groupby(["profile", full_names(rows)])["image"].nunique()
    cpu, full = (images.get(profile, {}) for profile in ("cpu", "paper"))
    best = "paper" if all(full.get(name, 0) >= count for name, count in cpu.items()) else "cpu"
    return rows[rows["profile"] == best]


def record(rows: DataFrame, name: str, *, folder=None, note: str = "") -> Path:
    """Merge rows of a store into our recorded run, `NAME.csv` and `NAME.json` in `recorded` in `root()`.

    They take the places of recorded rows of the same profile, image, method, preset and seed (`RECORDED_AS`); the
    others stay. Rows are sorted, scores have four decimals, so that a change shows as a change of few lines in git.

    Parameters
    ----------
    rows : pandas.DataFrame
        From `Store.rows` or `Store.complete`.
    name : str
        `"table1"` …
    folder : path, optional
        Another folder than `recorded` in `root()`.
    note : str
        What a reader of these rows should know, kept beside what made them.

    Returns
    -------
    pathlib.Path
        The CSV file.

    Raises
    ------
    InputError
        When there is no row, or two of the same identity, or what is recorded can't be read.
    """
    if rows.empty:
        raise InputError("there is no row to record; run the experiment first")
    repeated = rows[rows.duplicated(list(RECORDED_AS))]
    if len(repeated):
        first = ", ".join(str(repeated.iloc[0][column]) for column in RECORDED_AS)
        raise InputError(f"{first} has two rows; record one run at a time, leave rows of older versions out")
    noted = {"note": note} if note else {}
    runs = [{column: row[column] for column in _RUN} | noted for row in rows.to_dict("records")]
    digests = [_sha256(as_json(run))[:8] for run in runs]
    rows = with_measured(rows).assign(run=digests, data=rows["data_hash"].str[:8])
    rows = rows[[*RECORDED, *_measured_names(rows)]]
    before, described = recorded(name, folder)
    merged = _joined(before, rows).drop_duplicates(list(RECORDED_AS), keep="last")
    return _write_recorded(name, folder, merged, described.get("runs", {}) | dict(zip(digests, runs, strict=True)))


def merge(source, name: str, *, folder=None) -> dict[str, int]:
    """Merge a run recorded in another folder into ours.

    Of two rows of the same profile, image, method, preset and seed the one computed last stays (`created`); at the
    same second, ours.

    Parameters
    ----------
    source : path
        The folder with the other `NAME.csv` and `NAME.json`.
    name : str
    folder : path, optional
        Ours; default `recorded` in `root()`.

    Returns
    -------
    dict
        How many rows of the other run were `"added"`, `"replaced"` one of ours, were `"left"` out.

    Raises
    ------
    InputError
        When the other folder has no such run, or one of the two can't be read.
    """
    theirs, their_description = recorded(name, source)
    if theirs.empty:
        raise InputError(f"there is no recorded run {name} in {source}; name a folder that --into wrote")
    ours, our_description = recorded(name, folder)
    both = _joined(theirs.assign(**{_OURS: False}), ours.assign(**{_OURS: True}))
    merged = both.sort_values("created", kind="stable").drop_duplicates(list(RECORDED_AS), keep="last")
    _write_recorded(name, folder, merged, their_description["runs"] | our_description.get("runs", {}))
    added = len(merged) - len(ours)
    taken = int((~merged[_OURS]).sum())
    return {"added": added, "replaced": taken - added, "left": len(theirs) - taken}


def saved(figure: Figure, name: str) -> Figure:
    """Write a figure into `figures` in `root()`, as SVG, whose text stays text, and as PNG, and give it back.

    The same figure gives the same files.

    Raises
    ------
    InputError
        When they can't be written.
    """
    import io

    import matplotlib as mpl

    folder, content = root() / "figures", {}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=200, bbox_inches="tight", metadata=metadata)
            content[folder / f"{name}.{kind}"] = stream.getvalue()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_together(content)
    except OSError as error:
        raise InputError(
            f"can't write into {folder} ({error.strerror}); set DEEPCV_RESULTS to another folder"
        ) from None
    return figure


def full_names(rows: DataFrame) -> Series:
    """What made each row, "method:preset"."""
    return rows["method"] + ":" + rows["preset"]


def with_measured(rows: DataFrame) -> DataFrame:
    """Rows of a store with a column for each number that their experiment measured besides, `extra["measured"]`."""
    import pandas as pd

    if "extra" not in rows:
        return rows
    measured = pd.DataFrame([extra.get("measured", {}) for extra in rows["extra"]], index=rows.index, dtype=float)
    return rows.drop(columns=measured.columns, errors="ignore").join(measured)


def _measured_names(rows: DataFrame) -> list[str]:
    return sorted(set(rows.columns) - {*RECORDED, *COLUMNS, _OURS})


def _joined(*parts: DataFrame) -> DataFrame:
    import pandas as pd

    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _write_recorded(name: str, folder, rows: DataFrame, runs: dict[str, dict[str, Any]]) -> Path:
    """Write the two files; of `runs` those that a row points at."""
    rows = rows.sort_values(list(RECORDED_AS))
    text = rows[[*RECORDED, *_measured_names(rows)]].to_csv(index=False, float_format="%.4f", lineterminator="\n")
    counts = rows["run"].value_counts().to_dict()
    in_order = sorted(counts, key=lambda digest: (runs[digest]["method"], runs[digest]["preset"], digest))
    described = {
        "name": name,
        "rows": len(rows),
        "csv_sha256": _sha256(text),
        "runs": {digest: runs[digest] | {"rows": counts[digest]} for digest in in_order},
    }
    csv, description = _recorded_paths(name, folder)
    csv.parent.mkdir(parents=True, exist_ok=True)
    json_text = json.dumps(described, indent=1, ensure_ascii=False, default=_plain) + "\n"
    write_together({csv: text.encode(), description: json_text.encode()})
    return csv


@functools.cache
def provenance() -> dict[str, Any]:
    """What computes in this process, found once.

    Returns
    -------
    dict
        `package`: version; `source`: `source_hash()`; `libraries`: versions of those that compute; `machine`: cpu,
        cores, os, python, and the git commit, `-dirty` with uncommitted changes, where there is one.
    """
    return {
        "package": __version__,
        "source": source_hash(),
        "libraries": {name: _version(distributions) for name, distributions in _LIBRARIES.items()},
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "os": platform.platform(),
            "python": platform.python_version(),
            "commit": _commit(),
        },
    }


def check_same_code(made_by: dict[str, Any], who: str) -> None:
    """Check that another process computes with the same package, source and libraries as this one.

    Parameters
    ----------
    made_by : dict
        Its `provenance()`.
    who : str
        How to call it.

    Raises
    ------
    InputError
        When it doesn't.
    """
    theirs, ours = (
        {name: each[name] for name in MADE_BY if name != "libraries"} | each["libraries"]
        for each in (made_by, provenance())
    )
    for name in ours:
        if theirs[name] != ours[name]:
            raise InputError(
                f"{who} has {name} {str(theirs[name])[:12]}, here it is {str(ours[name])[:12]}; install the same there"
            )


def source_hash(folder=None) -> str:
    """SHA-256, in hex, over the Python files of the package that can change a number.

    Those are all but the command line, the claims and their verdict, the widgets, this module, `recording`,
    `execution` and the experiments, whose choices reach a result through the settings.
    """
    folder = Path(folder or Path(__file__).parent)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if relative.parts[0] not in _WITHOUT_NUMBERS:
            source = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{relative.as_posix()}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def device_kind(device=None) -> str:
    """The kind of a torch device, `"cpu"` or `"cuda"` with the GPU's name.

    Parameters
    ----------
    device : str or torch.device, optional
        Default: the GPU when there is one.
    """
    if str(device or "").startswith("cpu"):
        return "cpu"
    import torch

    from .solver import torch_device

    found = torch_device(None if device is None else str(device))
    return f"cuda {torch.cuda.get_device_name(found)}" if found.type == "cuda" else found.type


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> DataFrame:
    """Rows as a table whose columns have their types even when there is no row."""
    import pandas as pd

    types = {name: float for name in columns if name in SCORES} | {"seed": int}
    return pd.DataFrame(rows, columns=list(columns)).astype(types)


def _recorded_paths(name: str, folder=None) -> tuple[Path, Path]:
    folder = root() / "recorded" if folder is None else Path(folder)
    return folder / f"{name}.csv", folder / f"{name}.json"


def _patiently(attempt: Callable[[], Any]) -> Any:
    """Try again while the file is locked: SQLite doesn't always wait when a file's journal is being set up."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def as_json(value) -> str:
    """The one JSON text of a value: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} {value!r} can't be kept in a result; use numbers, strings, lists or dicts")


def _to_png(labels: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.asarray(labels, dtype=np.uint8)).save(png, format="PNG", optimize=True)
    return png.getvalue()


def _from_png(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return np.array(picture)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(distributions: Sequence[str]) -> str | None:
    for distribution in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit this package is checked out at; None when it is installed, or git is not there."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some repository around a virtual environment
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
