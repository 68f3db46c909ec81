"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from deepcv.errors import InputError


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


# --- files ------------------------------------------------------------------------------------------------------------


def write_whole(path, content: bytes) -> None:
    """Write a file, and its folder, as `deepcv.files.write_together` does.

    Raises
    ------
    InputError
        When it can't be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together({path: content})
    except OSError as error:
        kept = "what was there before is intact; " if path.exists() else ""
        remedy = "make room, then run it again to go on" if error.errno == errno.ENOSPC else "choose another place"
        raise InputError(f"can't write {path} ({error.strerror}); {kept}{remedy}") from None
