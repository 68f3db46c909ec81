"""Files about all pictures: a table of areas, COCO's objects."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepcv.cli.many import Report


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

    def add(self, report: Report) -> None:
        """Add a picture."""
        self.rows += report.rows or ([{"picture": report.piece.name, "problem": report.problem}] if self.areas else [])
        if report.objects:
            self.objects[report.piece.name] = report.objects

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
