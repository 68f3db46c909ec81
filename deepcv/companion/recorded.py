"""Our recorded full runs, kept in git, and the numbers the paper prints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepcv.companion.store import COLUMNS, SCORES, _plain, _sha256, _table, as_json, root
from deepcv.errors import InputError
from deepcv.files import write_together
from deepcv.provenance import MADE_BY

if TYPE_CHECKING:
    from pandas import DataFrame, Series

RECORDED_AS = ("profile", "dataset", "method", "preset", "seed", "image")
"""What a recorded row is found by; a run holds one row of each."""


_OURS = "is ours"  # while two runs are merged; no measured number is called so


RECORDED = ("profile", "dataset", "image", "method", "preset", "seed", *SCORES, "data", "created", "run")
"""The columns of a recorded run; `data`: the first digits of the image's hash, `run`: a key of the JSON's `runs`. After
them come the numbers that the experiment measures besides (`with_measured`)."""


_RUN = ("method", "preset", "settings", *MADE_BY, "machine", "device")


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


def _recorded_paths(name: str, folder=None) -> tuple[Path, Path]:
    folder = root() / "recorded" if folder is None else Path(folder)
    return folder / f"{name}.csv", folder / f"{name}.json"
