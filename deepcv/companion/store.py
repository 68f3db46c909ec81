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
import hashlib
import io
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepcv.errors import InputError
from deepcv.provenance import MADE_BY, check_same_code, provenance

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = ("f_measure", "iou", "accuracy", "f_measure_oracle", "iou_oracle", "accuracy_oracle", "seconds")
"""What is measured of a result; `_oracle`: the better of the mask and its complement, chosen with the truth."""


IDENTITY = ("experiment", "dataset", "image", "method", "preset", "seed", "settings", "data_hash", "device")
"""What a result is a result of: the fields of `Item`."""


COLUMNS = ("key", *IDENTITY, *MADE_BY, "machine", "profile", *SCORES, "created", "extra")
"""The columns of `Store.rows`."""


_JSON = ("settings", "libraries", "machine", "extra")


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
            `workers`, `progress`, `description` as in `deepcv.parallel.run`.
        """
        from deepcv.parallel import run

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


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> DataFrame:
    """Rows as a table whose columns have their types even when there is no row."""
    import pandas as pd

    types = {name: float for name in columns if name in SCORES} | {"seed": int}
    return pd.DataFrame(rows, columns=list(columns)).astype(types)


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
