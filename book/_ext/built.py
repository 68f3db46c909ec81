"""What this copy of the book was built from, for `{{ built }}` on a page."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import deepcv


def describe(app, config):
    """Version, commit and date; without git no commit."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    parts = [
        f"version {deepcv.__version__}",
        f"commit {commit.strip()}" if commit else "",
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"[repository]({config.launch_repository})" if config.launch_repository else "",
    ]
    config.myst_substitutions = {**config.myst_substitutions, "built": ", ".join(filter(None, parts))}


def setup(app):
    app.connect("config-inited", describe, priority=10)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
