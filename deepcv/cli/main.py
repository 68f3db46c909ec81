"""Entry point of the command line; error messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from typing import Annotated, TypeGuard

import typer

from deepcv import __version__
from deepcv.cli.companion import record, run, verdict
from deepcv.cli.data import data
from deepcv.cli.segment import segment
from deepcv.cli.train import export, predict, train
from deepcv.errors import TOO_LARGE, InputError, out_of_memory
from deepcv.files import remedy_for

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default this process's, and return its exit code.

    0: done; 1: some of many pictures failed, each with a sentence, or a bug, with its traceback; 2: input that can't be
    used, with one sentence, and nothing done; 130: Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know σ and ν
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="deepcv", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if _is_output(error):
            _drop_output()
            if isinstance(error, BrokenPipeError):  # as in `deepcv verdict | head -1`
                return 1
        sentence = _sentence(error)
        if sentence is None:
            traceback.print_exc()
            report = "this is a bug; please report it, with the lines above, in the repository's issues"
            print(f"deepcv: {report}", file=sys.stderr)
            return 1
        print(f"deepcv: {sentence}", file=sys.stderr)
        return 2
    if code == 130:
        given = sys.argv[1:] if arguments is None else arguments
        resumes = given and given[0] in ("run", "record", "train")
        kept = "; finished work is kept, run the command again to resume" if resumes else ""
        print(f"deepcv: stopped{kept}", file=sys.stderr)
    return code or 0


def _sentence(error: Exception) -> str | None:
    """The sentence for a user's error; None for a bug."""
    if hasattr(error, "format_message"):  # the parser's own: a missing argument, an unknown option
        command = getattr(getattr(error, "ctx", None), "command_path", "deepcv")
        return f"{error.format_message().rstrip('.')}; see `{command} --help`"
    if _is_output(error):
        return f"can't write the output ({error.strerror}); make room, or send it somewhere else"
    if isinstance(error, OSError) and error.filename and error.errno in _OF_FILES:
        remedy = "name another file or folder"
        remedy += ", or change its permissions" if error.errno in (errno.EACCES, errno.EPERM) else ""
        return f"can't use {error.filename} ({error.strerror}); {remedy_for(error, remedy)}"
    if out_of_memory(error) or out_of_memory(error.__cause__):  # an item's
        return TOO_LARGE
    return " ".join(str(error).split()) if isinstance(error, InputError) else None


_OF_FILES = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
    errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.ENXIO, errno.EPERM, errno.EROFS,
}  # fmt: skip
"""Errors of files that are the user's to mend, wherever they come from."""


def _is_output(error: Exception) -> TypeGuard[OSError]:
    """Whether it comes from writing to a stream without a name, as standard output."""
    return isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC)


def _drop_output() -> None:
    """Send what is still buffered nowhere, or Python complains about it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def deepcv(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Chan-Vese segmentation in a deep latent space: segment your own picture, or run the paper's experiments.

    \b
    deepcv segment photo.jpg --out mask.png --overlay outline.png
    deepcv train photographs/ --out run
    deepcv predict new.jpg --model run --out masks
    deepcv run table1 --profile quick
    deepcv data fetch weizmann
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def methods() -> None:
    """List the methods and their presets.

    \b
    deepcv methods
    deepcv segment photo.jpg --method deep-cv:paper --out mask.png
    """
    from deepcv.methods import METHODS

    longest = max(map(len, METHODS))
    for name, method in METHODS.items():
        print(f"{name:{longest}}  {method.title}; presets: {', '.join(method.presets)}")
    print("Numbers in brackets are the paper's references.", file=sys.stderr)


def version() -> None:
    """Print the version.

    \b
    deepcv version
    """
    print(__version__)


for command in (segment, train, predict, export, run, record, verdict, methods, version):
    app.command()(command)
app.add_typer(data, name="data")
