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

_SUFFIXES = {"areas": (".csv", ".tsv", ".txt"), "coco": (".json",)}


@dataclass
class Tables:
    """Files about all pictures; raises `InputError` for another suffix, as a picture's name is easily given for one."""

    areas: Path | None = None
    coco: Path | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name, allowed in _SUFFIXES.items():
            path = getattr(self, name)
            if path and path.suffix.lower() not in allowed:
                stem = path.stem if path.name != "-" else "table"
                raise InputError(f"--{name} can't be written to {path}; call it {stem}{allowed[0]}")

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
            tab = self.areas.suffix.lower() == ".tsv"
            table = csv.DictWriter(text, outputs.COLUMNS, delimiter="\t" if tab else ",", lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(self.rows, key=lambda row: (row["picture"], row.get("region", 0))))
            content[self.areas] = text.getvalue().encode(errors="backslashreplace")  # a problem names a file
        if self.coco:
            content[self.coco] = json.dumps(outputs.coco(dict(sorted(self.objects.items())))).encode()
        write_images(content)
