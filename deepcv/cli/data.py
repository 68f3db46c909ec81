"""`deepcv data`: list, fetch and link data sets, and compare their masks."""

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
    """List, fetch or link data sets."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@data.command("list")
def list_data() -> None:
    """List the data sets and say which are available.

    \b
    deepcv data list
    DEEPCV_DATA=~/data deepcv data list
    """
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


@data.command("link")
def link_data(
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace trimaps that are there.")] = False,
) -> None:
    """Take Flowers-17's trimaps for the photographs that Flowers-102 shares.

    Finds them by comparing the pictures of both sets, which must be in DEEPCV_DATA, and writes the trimaps to
    flowers102/trimaps, with a table of the pairs, flowers17.csv. Takes a minute or two.

    \b
    deepcv data fetch flowers17
    deepcv data fetch flowers102
    deepcv data link
    """
    from deepcv.data.link import link

    report = functools.partial(print, file=sys.stderr)
    print(link(overwrite=overwrite, report=report, progress=sys.stderr.isatty()))


@data.command("truths")
def compare_truths() -> None:
    """Say how far two truths of one photograph disagree.

    The IoU of two masks of a photograph of Flowers-102: of two kinds, or two trimaps (run `deepcv data link` first), or
    a trimap's flower without and with its boundary.

    \b
    deepcv data link
    deepcv data truths
    """
    from deepcv.data.truths import disagreement

    print(disagreement().to_string(float_format="{:.3f}".format))
