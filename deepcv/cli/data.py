"""`deepcv data`: list and fetch data sets."""

from __future__ import annotations

import functools
import os
import sys
from typing import Annotated

import typer

from deepcv.errors import InputError

data = typer.Typer(rich_markup_mode=None)


@data.callback(invoke_without_command=True)
def data_sets(context: typer.Context) -> None:
    """List or fetch data sets."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@data.command("list")
def list_data() -> None:
    """List the data sets and say which are available."""
    from deepcv.data import COLLECTIONS, SETS, SPLITS, data_folder, load_dataset

    for name in (*SETS, *COLLECTIONS):
        splits = SPLITS if name in COLLECTIONS else (None,)
        try:
            counts = {split: len(load_dataset(name, split=split)) for split in splits}
            state = ", ".join(f"{split or ''} {count} images".strip() for split, count in counts.items())
        except InputError as error:
            state = f"missing or incomplete: {error}"
        print(f"{name:17} {state}")
    print(f"folder: {data_folder()} (DEEPCV_DATA)", file=sys.stderr)


@data.command("fetch")
def fetch_data(
    name: Annotated[str, typer.Argument(help="weizmann …, as `deepcv data list` shows.")],
    mirror: Annotated[
        str | None, typer.Option(help="Another source of the archives: a URL, or the folder that holds them.")
    ] = None,
) -> None:
    """Download a data set.

    The files are checked and stored in DEEPCV_DATA, by default a folder in the user's cache.

    \b
    deepcv data fetch weizmann
    deepcv data fetch weizmann --mirror ~/Downloads
    """
    from deepcv.data.fetch import fetch

    if mirror is not None and "://" not in mirror:
        mirror = os.path.expanduser(mirror)
    print(fetch(name, mirror=mirror, report=functools.partial(print, file=sys.stderr)))
