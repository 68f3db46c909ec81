"""What this copy of the book was built from, for `{{ built }}` on a page."""

import re
from datetime import UTC, datetime

import deepcv
from deepcv.provenance import provenance


def describe(app, config):
    """Version, commit and date; without git no commit."""
    commit = re.sub(r"^(\w{7})\w*", r"\1", provenance()["machine"]["commit"] or "")
    parts = [
        f"version {deepcv.__version__}",
        f"commit {commit}" if commit else "",
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"[repository]({config.launch_repository})" if config.launch_repository else "",
    ]
    config.myst_substitutions = {**config.myst_substitutions, "built": ", ".join(filter(None, parts))}


def setup(app):
    app.connect("config-inited", describe, priority=10)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
