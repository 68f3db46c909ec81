"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def write_together(content_of: Mapping[Path, bytes]) -> None:
    """Write files beside their places and move them there, once all are written.

    A full disk or a kill leaves what was there before.

    Raises
    ------
    OSError
        When one of them can't be written.
    """
    written: dict[Path, Path] = {}
    try:
        for path, content in content_of.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            written[temporary] = path
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for temporary, path in list(written.items()):
            os.replace(temporary, path)
            del written[temporary]
    finally:
        for temporary in written:
            temporary.unlink(missing_ok=True)
