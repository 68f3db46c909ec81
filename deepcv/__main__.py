"""`python -m deepcv` is the command line."""

from __future__ import annotations

import sys

from deepcv.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
