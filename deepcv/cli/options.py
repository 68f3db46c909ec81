"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Device = Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU, if any]")]
Convert = Annotated[
    bool, typer.Option("--convert", help="Allow lossy conversion: first frame, 16-bit, alpha over white, CMYK.")
]


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave: those that aren't None."""
    return {name: value for name, value in options.items() if value is not None}
