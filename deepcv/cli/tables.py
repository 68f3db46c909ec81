"""Files about all pictures: a table of areas, COCO's objects."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepcv.errors import InputError

SUFFIXES = (".csv", ".tsv", ".txt", ".json")


def check_table(path: Path) -> None:
    """Raise `InputError` unless a table can be called so; a picture's name is easily given by mistake."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"a table can't be written to {path}; call it {path.stem or 'table'}.csv, or .json for COCO")


@dataclass
class Tables:
    """Files about all pictures."""

    areas: Path | None = None
    coco: Path | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """Those that are wanted."""
        return [path for path in (self.areas, self.coco) if path is not None]

    def add(self, picture: str, rows: Sequence[dict[str, Any]], objects: Any = None, problem: str = "") -> None:
        """Add a picture by its name: its rows of the table of areas, or its problem, and its objects."""
        self.rows += rows or ([{"picture": picture, "problem": problem}] if self.areas else [])
        if objects:
            self.objects[picture] = objects

    def write(self) -> None:
        """Write them, all or none, sorted by the pictures' names."""
        from deepcv import outputs
        from deepcv.pictures import write_images

        content: dict[Path, Any] = {}
        if self.areas:
            text = io.StringIO(newline="")
            table = csv.DictWriter(text, outputs.COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(self.rows, key=lambda row: (row["picture"], row.get("region", 0))))
            content[self.areas] = text.getvalue().encode(errors="backslashreplace")  # a problem names a file
        if self.coco:
            content[self.coco] = json.dumps(outputs.coco(dict(sorted(self.objects.items())))).encode()
        write_images(content)
