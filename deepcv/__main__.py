"""`python -m deepcv` and `deepcv` are the command line."""

from __future__ import annotations

import gc
import sys

from deepcv.cli.main import main


def command() -> int:
    """Run this process's command line, with less garbage collection, and return its exit code.

    Most objects are modules' and stay: looking through them while libraries load, and once more at the end, takes an
    eighth of the time of segmenting one photograph.
    """
    gc.set_threshold(100_000)
    try:
        return main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(command())
