"""The result store: finished results in an SQLite file.

Each result is a row: a key, a JSON text, and the label map as PNG. The key (`Item.key`) hashes everything that can
change the result, so an item is found again exactly when recomputing it would give the same numbers. Each row is
written in its own transaction as soon as it is computed: a run killed at any moment loses only the items in progress,
and several processes can fill one store.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv import parallel
from deepcv.companion.items import Item, Unit, as_json
from deepcv.errors import InputError
from deepcv.files import configured_folder, on_read_only_disk, remedy_for
from deepcv.provenance import check_same_code, provenance

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = ("f_measure", "iou", "accuracy", "f_measure_oracle", "iou_oracle", "accuracy_oracle", "seconds")
"""Scores of a row; `_oracle`: of the mask or its complement, whichever is better, chosen with the ground truth."""

_ITEM = ("experiment", "dataset", "image", "method", "preset", "seed", "settings", "data_hash", "device", "code")
_MADE_BY = ("package", "libraries", "machine")
COLUMNS = ("key", *_ITEM, *SCORES, "hint_seconds", *_MADE_BY, "profile", "created", "conditions")
"""First columns of `Store.rows`, before one per condition and one per measured number."""

_REPOSITORY = Path(__file__).parents[2] / "results"
_APPLICATION_ID = 0x44454356  # "DECV": marks the SQLite file as ours
_LAYOUT = 2  # raise it when the table or the JSON changes
_PATIENCE = 60  # seconds to wait while another process writes
_SORTED_BY = ("experiment", "profile", "dataset", "method", "preset", "seed", "image", "created")


class Store:
    """Results in an SQLite file; a context manager that closes it.

    Parameters
    ----------
    path : path, optional
        Created if missing; default `store.sqlite` in `root()`.

    Raises
    ------
    InputError
        If the file is damaged, not a store, of another layout, or can't be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> item = Item("table1", "samples", "coffee", "chan-vese")
    >>> with Store(pathlib.Path(tempfile.mkdtemp()) / "store.sqlite") as store:
    ...     store.put(item, profile="quick", f_measure=0.9)
    ...     store.get(item)["f_measure"]
    True
    0.9
    """

    def __init__(self, path=None):
        self.path = Path(path) if path is not None else root() / "store.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = remedy_for(error, _ELSEWHERE)
            raise InputError(f"can't make {self.path.parent} ({error.strerror}); {remedy}") from None
        with self._explained():
            # Autocommit: every statement is a transaction of its own.
            self._connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def put(
        self,
        item: Item,
        *,
        profile: str,
        labels: np.ndarray | None = None,
        measured: Mapping[str, float] | None = None,
        hint_seconds: float = 0.0,
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
            The label map.
        measured : dict, optional
            Other numbers that the experiment measured, by name.
        hint_seconds : float
            Seconds spent on the hint.
        made_by : dict, optional
            `provenance()` of the process that computed it; default this process.
        replace : bool
            Whether to replace an existing row; otherwise it is kept.
        **scores : float
            Any of `SCORES`; missing ones are NaN.

        Returns
        -------
        bool
            False if an existing row was kept.

        Raises
        ------
        TypeError
            For an unknown score, or a condition or measured number named like another column.
        InputError
            If the file can't be written, or `made_by` names other code or libraries than this process has.
        """
        if made_by is not None:
            check_same_code(made_by, f"what computed {item}")
        if unknown := sorted(set(scores) - set(SCORES)):
            raise TypeError(f"there is no score {unknown[0]!r}; choose from {', '.join(SCORES)}")
        measured = measured or {}
        for name in (*item.conditions, *measured):
            if name in COLUMNS or (name in item.conditions and name in measured):
                raise TypeError(f"there is a column {name!r} already; give what is measured another name")
        row = {name: getattr(item, name) for name in (*_ITEM, "conditions")}
        row |= {name: (made_by or provenance())[name] for name in _MADE_BY}
        row |= {name: _number(scores.get(name)) for name in SCORES}
        row |= {"measured": {name: _number(value) for name, value in measured.items()}, "profile": profile}
        row |= {"hint_seconds": float(hint_seconds), "created": datetime.now(UTC).isoformat(timespec="seconds")}
        png = None if labels is None else _to_png(labels)
        statement = f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO results VALUES (?, ?, ?)"
        return self._execute(statement, item.key, as_json(row), png).rowcount == 1

    def get(self, item: Item) -> dict[str, Any] | None:
        """The row of an item, by column; None if missing."""
        found = self._execute("SELECT key, row FROM results WHERE key = ?", item.key).fetchone()
        return found and _flat(json.loads(found[1]) | {"key": found[0]})

    def missing(self, items: Iterable[Item]) -> list[Item]:
        """The items without a row, in their order."""
        present = {key for (key,) in self._execute("SELECT key FROM results")}
        return [item for item in items if item.key not in present]

    def rows(self, items: Iterable[Item] | None = None) -> DataFrame:
        """Rows as a table.

        Parameters
        ----------
        items : iterable of Item, optional
            Only the rows of these, in their order; items without a row are skipped. Default: all rows, sorted.

        Returns
        -------
        pandas.DataFrame
            Columns `COLUMNS` (`conditions` as a dict), one per condition, one per measured number. A missing number
            or bool is NaN, a missing string "".
        """
        found = self._execute("SELECT key, row FROM results").fetchall()
        if items is None:
            rows = [json.loads(text) | {"key": key} for key, text in found]
            rows.sort(key=lambda row: [row[name] for name in _SORTED_BY])
        else:
            texts = dict(found)
            rows = [json.loads(texts[key]) | {"key": key} for key in (item.key for item in items) if key in texts]
        return _table(rows)

    def labels(self, item: Item) -> np.ndarray | None:
        """The label map of an item, or of a row as a named tuple, uint8 `(H, W)`; None if missing."""
        found = self._execute("SELECT labels FROM results WHERE key = ?", item.key).fetchone()
        return _from_png(found[0]) if found and found[0] is not None else None

    def fill(
        self,
        units: Iterable[Unit],
        compute: Callable[[Unit], list[dict[str, Any]]],
        *,
        replace: bool = False,
        **options,
    ) -> Generator[tuple[Unit, list[dict[str, Any]]], None, None]:
        """Compute units, write the rows of each as soon as it is finished, and yield `(unit, results)`.

        Parameters
        ----------
        units : iterable of Unit
            Consumed lazily.
        compute : callable
            From a unit to the keyword arguments of `put` for each of its items. For other processes it must be a
            function of a module, or a `functools.partial` of one.
        replace : bool
            As in `put`.
        **options
            `workers`, `progress`, `description`, as in `deepcv.parallel.run`.
        """
        with contextlib.closing(parallel.run(compute, units, **options)) as finished:
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
        """Compute the missing items and return the rows of all, in the order of `items`.

        Parameters
        ----------
        items : iterable of Item
        compute, **options
            As in `fill`.
        units : callable, optional
            Groups items into units; default one item per unit.
        recompute : bool
            Compute all items and replace their rows.

        Returns
        -------
        pandas.DataFrame
            As from `rows`.
        """
        items = list(items)
        to_do = items if recompute else self.missing(items)
        grouped = units(to_do) if units else [Unit([item]) for item in to_do]
        for _ in self.fill(grouped, compute, replace=recompute, **options):
            pass
        return self.rows(items)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _execute(self, statement: str, *values) -> sqlite3.Cursor:
        with self._explained():
            return self._connection.execute(statement, values)

    def _open(self) -> None:
        """Check the file; create the table in a new one."""
        execute = self._connection.execute
        if _patiently(lambda: execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            _patiently(self._check_owner)  # before the journal, which stays, is changed
        _patiently(lambda: execute("PRAGMA journal_mode = WAL"))  # readers don't block the writer
        (health,) = execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        _patiently(lambda: execute("BEGIN IMMEDIATE"))  # two processes may create it at once
        try:
            if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                execute("CREATE TABLE results (key TEXT PRIMARY KEY, row TEXT NOT NULL, labels BLOB)")
                execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                execute(f"PRAGMA user_version = {_LAYOUT}")
            self._check_owner()
            layout = execute("PRAGMA user_version").fetchone()[0]
            if layout != _LAYOUT:
                raise InputError(
                    f"the store {self.path} has layout {layout}, this version of deepcv needs {_LAYOUT}; move it away "
                    "and its results will be computed again"
                )
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def _check_owner(self) -> None:
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise InputError(f"{self.path} is a database of another program; choose another file")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into a sentence with a remedy."""
        try:
            yield
        except sqlite3.OperationalError as error:
            reason, remedy = str(error), _ELSEWHERE
            if on_read_only_disk(self.path.parent):
                reason = os.strerror(errno.EROFS)
            elif "locked" in str(error) or "busy" in str(error):
                remedy = f"another process has held it for {_PATIENCE} seconds; wait until it is done"
            elif "full" in str(error):
                remedy = "make room on the disk and run again; finished rows are kept"
            raise InputError(f"can't use the store {self.path} ({reason}): {remedy}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the store {self.path} is damaged ({error}); move it and its -wal and -shm files away, and its "
                "results will be computed again"
            ) from error


_ELSEWHERE = "set DEEPCV_RESULTS to a folder where you may write"


def root() -> Path:
    """The results folder.

    `DEEPCV_RESULTS` if set; else `results` in the nearest folder, from the current one upwards, that has
    `results/recorded` or `results/paper`; else a folder in the user's cache.
    """
    if configured := configured_folder("DEEPCV_RESULTS"):
        return configured
    here = Path.cwd()
    for folder in (here, *here.parents):
        results = folder / "results"
        if (results / "recorded").is_dir() or (results / "paper").is_dir():
            return results
    import pooch

    return Path(pooch.os_cache("deepcv")) / "results"


def found(*parts: str) -> Path:
    """A file or folder to read: in `root()`, or in the repository's own `results` if only there."""
    path = root().joinpath(*parts)
    return path if path.exists() or not _REPOSITORY.joinpath(*parts).exists() else _REPOSITORY.joinpath(*parts)


def _table(rows: list[dict[str, Any]]) -> DataFrame:
    import pandas as pd

    conditions = list(dict.fromkeys(name for row in rows for name in row["conditions"]))
    measured = sorted({name for row in rows for name in row["measured"]})
    table = pd.DataFrame(map(_flat, rows), columns=[*COLUMNS, *conditions, *measured])
    table = table.astype({**dict.fromkeys((*SCORES, "hint_seconds", *measured), float), "seed": int})
    strings = [name for name in conditions if any(isinstance(value, str) for value in table[name])]
    return table.fillna(dict.fromkeys(strings, ""))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row as stored, with a column per condition and per measured number."""
    numbers = {name: row[name] for name in SCORES} | row["measured"]
    numbers = {name: np.nan if value is None else value for name, value in numbers.items()}
    return {name: value for name, value in row.items() if name != "measured"} | row["conditions"] | numbers


def _number(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or np.isnan(value) else float(value)


def _patiently(attempt: Callable[[], Any]) -> Any:
    """Retry while the file is locked: SQLite doesn't always wait when a file's journal is being set up."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _to_png(labels: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.asarray(labels, dtype=np.uint8)).save(png, format="PNG", optimize=True)
    return png.getvalue()


def _from_png(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return np.array(picture)
