"""`deepcv run`, `record`, `verdict`: the paper's experiments."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from deepcv.cli.options import Device, Scheduler, computing_on, given
from deepcv.errors import InputError

WORKERS = "Number of processes. [default: one per usable core; 1 on a GPU]"


def run(
    experiment: Annotated[str, typer.Argument(help="Name of the table or figure: table1 …")],
    profile: Annotated[
        str | None,
        typer.Option(help="quick: embedded images; cpu: real data, reduced; paper: needs a GPU. [default: quick]"),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="samples, weizmann …")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated names, as `deepcv methods` lists them.")] = None,
    n_images: Annotated[int | None, typer.Option(help="Use only the first N images.")] = None,
    size: Annotated[int | None, typer.Option(help="Longest side, in pixels, at which our model is solved.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated whole numbers: 0,1,2.")] = None,
    device: Device = None,
    workers: Annotated[int | None, typer.Option(help=WORKERS)] = None,
    scheduler: Scheduler = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Recompute rows that are in the store.")] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Also merge the rows into the recorded run, results/recorded/EXPERIMENT.csv."),
    ] = False,
) -> None:
    """Run one of the paper's experiments and print its table.

    Finished rows are kept in results/store.sqlite; to continue a stopped run, run it again.

    \b
    deepcv run table1 --profile quick
    deepcv run table1 --profile cpu --dataset weizmann --methods deep-cv,chan-vese --n-images 20
    """
    from deepcv.companion.experiments import get_experiment

    chosen = get_experiment(experiment)
    changes = given(
        profile=profile,
        dataset=dataset,
        methods=methods,
        n_images=n_images,
        size=size,
        seeds=seeds,
        device=device,
        recompute=recompute or None,
    )
    for name in sorted(changes.keys() - {field.name for field in dataclasses.fields(chosen.settings)}):
        raise InputError(f"{experiment} has no option --{name.replace('_', '-')}; leave it out")
    settings = chosen.settings(**changes)
    with computing_on(workers, scheduler) as where:
        rows = chosen.run(settings, workers=where)
    print(chosen.summary(rows).to_string(float_format=lambda value: f"{value:.3f}"))
    if record:
        from deepcv.companion import recorded

        print(f"recorded in {recorded.record(rows, chosen.rows_of or experiment)}")


def record(
    experiments: Annotated[list[str] | None, typer.Argument(help="table1 … [default: all that are recorded]")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop within this time. [default: when nothing is missing]")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="[default: paper on a GPU, otherwise cpu]")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Only show what is recorded, what is missing, and how long it would take.")
    ] = False,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Also recompute rows whose code has changed, after the missing ones.")
    ] = False,
    check: Annotated[
        int | None,
        typer.Option(metavar="ROWS", help="Recompute this many recorded rows, drawn at random, and compare them."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw of --check.")] = 0,
    merge: Annotated[
        Path | None, typer.Option(help="Only merge in the recorded runs of this folder; newer rows win.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Write to this folder instead of results/recorded.")] = None,
    workers: Annotated[int | None, typer.Option(help=WORKERS)] = None,
    device: Device = None,
    scheduler: Scheduler = None,
) -> None:
    """Compute the rows missing from results/recorded, within a time limit if you set one.

    When it is stopped, by the limit or Ctrl-C, finished rows are kept; the next call continues from there. With --into
    and --merge, some can be computed on another machine. With --check it only tests whether recorded numbers are
    reproduced here; the exit status is 1 if one isn't.

    \b
    deepcv record --list
    deepcv record --minutes 30
    deepcv record --check 20
    deepcv record table1 --minutes 10 --into pieces
    deepcv record --merge pieces
    """
    started = time.monotonic()
    from deepcv.companion import checking, recording
    from deepcv.companion.experiments import EXPERIMENTS, get_experiment

    for name, value in (("--minutes", minutes), ("--check", check)):
        if value is not None and not value > 0:
            raise InputError(f"{name} is {value:g}; it must be more than 0")
    if merge is not None:
        recording.merge(merge, experiments or (), into=into)
        return
    names = experiments or [each.name for each in EXPERIMENTS.values() if each.recorded]
    wanted = [get_experiment(name) for name in names]
    with computing_on(workers, scheduler) as where:
        at = {"device": device, "workers": where}
        if check is not None:
            if not checking.check(wanted, check, seed=seed, trained=bool(experiments), **at):
                raise typer.Exit(1)
            return
        profile = profile or recording.profile_for(device, where)
        gaps = []
        for each in wanted:
            try:
                gaps.append(recording.find_gap(each, profile=profile, into=into, **at))
            except InputError as error:  # its data aren't here
                if not list_ or len(wanted) == 1:
                    raise
                print(f"{each.name}: {error}", file=sys.stderr)
        if list_:
            if gaps:
                _print_listing(recording.listing(gaps, profile=profile, **at))
        else:
            until = started + 60 * minutes if minutes else float("inf")
            recording.fill(gaps, profile=profile, until=until, into=into, outdated=outdated, **at)


def verdict(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Print the paper's claims, each decided from recorded runs: by the paper's algorithm and by our default.

    \b
    deepcv verdict
    deepcv verdict --format json
    """
    from deepcv.companion import store, verdict
    from deepcv.companion.claims import Status

    if format_ not in ("text", "json"):
        raise InputError(f"--format is {format_!r}; it must be text or json")
    decided = verdict.decide()
    if all(each.status == Status.NOT_RUN for _, verdicts in decided for each in verdicts.values()):
        print(
            f"no run is recorded in {store.root()}; the rows are in the repository, not in the package: run this in a "
            "checkout, or set DEEPCV_RESULTS to its folder `results`",
            file=sys.stderr,
        )
    columns = shutil.get_terminal_size().columns
    print(verdict.as_json(decided) if format_ == "json" else verdict.as_text(decided, min(columns, 100)))


def _print_listing(table) -> None:
    print(table.to_string(float_format="{:.1f}".format, na_rep="unknown"))
    unknown = " and an unknown time" if table["minutes"].isna().any() else ""
    print(
        f"{table['recorded'].sum()} recorded, the code of {table['code changed since'].sum()} changed since; "
        f"{table['missing'].sum()} missing, {table['minutes'].sum():.1f} minutes{unknown}"
    )
