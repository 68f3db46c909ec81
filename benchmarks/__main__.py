"""The command: `python -m benchmarks`, which `make bench` calls.

With `--check` it writes nothing: it runs part images on a few images and compares the ratios to the peers with the
recorded ones. Its status is 1 if one of our methods has become slower than `TOLERATED` times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders
from benchmarks.measure import HINT, hint_path
from deepcv.companion import timings
from deepcv.companion.recorded import recorded
from deepcv.companion.store import root
from deepcv.data import load_dataset
from deepcv.devices import device_kind
from deepcv.errors import InputError
from deepcv.files import temporary_folder
from deepcv.parallel import ONE_THREAD
from deepcv.provenance import provenance

if TYPE_CHECKING:
    from pandas import DataFrame

ROOT = Path(__file__).parents[1]
PARTS = ("images", "chan-vese", "scaling", "profile")
NUS = (0.1, 0.25, 1.0, 4.0)
"""Weights of the length in part chan-vese."""

IMAGES_PER_NU = 5
"""Maximum number of images per data set segmented with each of these weights."""

BLOCK = 10
"""Images per process before the next contender's turn, so that all meet the same load."""

SCALED = {"dataset": "samples", "image": "coffee"}
"""The image that is resized to show how time and memory grow."""

LONGEST_STEP = 120.0
"""Seconds; a contender is left out where a single step would take longer, by its time at a smaller size."""

MOST_MEMORY = 0.5
"""Share of the machine's memory; a contender is left out where it would take more."""

CHECKED = 5
"""Images per data set that `--check` takes, unless told otherwise."""

TOLERATED = 1.3
"""`--check` calls this slower.

Of five rounds over two images, beside three other jobs on two cores, any two differed by a factor of 0.78 to 1.28 in
the processor's seconds, and of 0.32 to 3.14 in the clock's; our model by 0.96 to 1.05, whose calls are the longest."""

COLUMNS = (
    *("part", "device", "dataset", "image", "contender", "repeat", "height", "width", "size", "nu"),
    *("seconds", "cpu_seconds", "timed", "seconds_a_step", "baseline_mib", "peak_mib", "gpu_mib"),
    *("f_measure", "iou", "f_from", "energy"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the requested parts, print their tables and write the rows."""
    options = _parser().parse_args(arguments)
    options.images = options.images or (CHECKED if options.check else 20)
    try:
        unknown = sorted(set(options.parts) - set(PARTS))
        if unknown:
            raise InputError(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
        device_kind(options.device)
        for name in options.contenders or ():
            contenders.function(name, options.device)
        named = options.contenders
        with temporary_folder(Path(tempfile.gettempdir()), "deepcv-hints-") as hints:
            if options.check:
                return _check(str(hints), named or contenders.names(), options)
            for part in options.parts:
                options.contenders = named or (contenders.SCALING if part == "scaling" else contenders.names())
                _run(part, str(hints), options)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _run(part: str, hints: str, options) -> None:
    if part == "profile":
        from benchmarks import iteration

        rows = iteration.rows(options.device, options.profiled)
        tables, name = [rows[["size", "kind", "name", "value", "unit"]].set_index(["size", "kind"])], "profile"
    else:
        rows = _table(_PARTS[part](hints, options), part, options)
        tables, name = _TABLES[part](rows), "benchmark"
    for table in tables:
        print(f"\n{part}\n{table.to_string(float_format=lambda value: f'{value:.4g}')}")
    _write(rows, name, options)


def _check(hints: str, given: list[str], options) -> int:
    """Print how much slower ours are than the recorded run, in units of the peers; 1 if one is by `TOLERATED`."""
    before = timings.recorded("benchmark")[0]
    if before.empty:
        raise InputError("no benchmark is recorded to compare with; record one with --record")
    known = set(before["contender"]) - set(contenders.STEPWISE)
    options.contenders = [name for name in given if name in known]
    options.contenders += [name for name in timings.YARDSTICKS if name not in options.contenders]
    table = timings.slower(_table(_images(hints, options), "images", options), before)
    print(f"\n{table.to_string(float_format=lambda value: f'{value:.3g}')}")
    late = table[table["times slower"] > TOLERATED]
    for name, row in late.iterrows():
        print(
            f"{timings.contender_title(name)} takes {row['here']:.3g} times as long as the peers, {row['before']:.3g} "
            f"times when it was recorded: {row['times slower']:.3g} times slower on {row['images']:.0f} images, and "
            f"{TOLERATED:g} is tolerated",
            file=sys.stderr,
        )
    return int(len(late) > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Our methods and peers side by side.")
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=f"{', '.join(PARTS)} (default all)")
    parser.add_argument("--device", default="cpu", help="for our methods (default cpu); the peers run on the CPU")
    parser.add_argument(
        "--images", type=int, help=f"at most this many per data set (default 20, with --check {CHECKED})"
    )
    parser.add_argument("--repeats", type=int, default=1, help="in parts images and chan-vese (default 1)")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="(default all; of scaling, six)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**n for n in range(6, 13)], help="of part scaling")
    parser.add_argument("--patience", type=float, default=8.0, help="seconds of timing single steps (default 8)")
    parser.add_argument("--longest", type=float, default=600.0, help="most seconds per process (default 600)")
    parser.add_argument(
        "--profiled",
        nargs="+",
        default=["225x300", "128x128", "20x64x64"],
        metavar="SIZE",
        help="of part profile: HxW of an image, or BxSxS of a batch of training images",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"write nothing; status 1 if ours are slower than {TOLERATED:g} times the recorded ratio to the peers",
    )
    parser.add_argument(
        "--record", action="store_true", help="write into results/recorded/, not results/benchmarks/, which git ignores"
    )
    return parser


# -- the parts: rows that their processes measure ----------------------------------------------------------------------


def _images(hints: str, options) -> Iterator[dict[str, Any]]:
    """Every contender on the same images, in blocks; the slow ones on one image of each data set."""
    tasks = _tasks(options.images)
    quick = [name for name in options.contenders if name not in contenders.STEPWISE]
    for repeat in range(options.repeats):
        for block in _blocks(tasks):
            for name in (HINT, *quick):
                yield from _rows(name, block, hints, options, repeat=repeat)
    for name in options.contenders:
        if name in contenders.STEPWISE:
            for dataset in _DATASETS:
                for task in [task for task in tasks if task["dataset"] == dataset][:1]:
                    yield from _rows(name, [task], hints, options, repeat=0)
            yield from _recorded_scores(name, tasks)


def _chan_vese(hints: str, options) -> Iterator[dict[str, Any]]:
    """The classical model: energies and seconds on grey images, for several weights of the length."""
    compared = [name for name in options.contenders if name in contenders.WEIGHTED or "chan_vese" in name]
    compared += contenders.OTHER_TOLERANCES if "chan-vese:exact" in compared else ()
    for repeat in range(options.repeats):
        for block in _blocks(_tasks(min(options.images, IMAGES_PER_NU))):
            _find_hints(block, hints, options)
            weighted = [task | {"nu": nu} for task in block for nu in NUS]
            for name in compared:
                yield from _rows(name, weighted, hints, options, repeat=repeat)


def _scaling(hints: str, options) -> Iterator[dict[str, Any]]:
    """How seconds and memory grow with the image, each contender and size in its own process."""
    _find_hints([SCALED], hints, options)
    smaller: dict[str, dict[str, Any]] = {}
    for size in sorted(options.sizes):
        for name in options.contenders:
            task = SCALED | {"size": size}
            if name in smaller and (reason := too_much(smaller[name], size, options.longest)):
                yield task | {"contender": name, "timed": f"left out: {reason}"}
                continue
            for row in _rows(name, [task], hints, options):
                smaller[name] = {"seconds": options.longest, "peak_mib": 0, "baseline_mib": 0} | row
                yield row


def too_much(smaller: dict[str, Any], size: int, longest: float) -> str:
    """Why a contender is left out at a size, by its row at a smaller one, if both grow like the pixels; or nothing."""
    pixels = (size / smaller["size"]) ** 2
    step = pixels * smaller.get("seconds_a_step", 0.0)
    if step > LONGEST_STEP:
        return f"a step would take some {step:.0f} s"
    whole = pixels * (smaller.get("cpu_seconds") or smaller["seconds"])
    if not step and whole > longest:
        return f"it would take some {whole:.0f} s"
    memory = pixels * (smaller["peak_mib"] - smaller["baseline_mib"]) * 2**20
    if memory > MOST_MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        return f"it would take some {memory / 2**30:.0f} GiB"
    return ""


_DATASETS = ("samples", "weizmann")
_PARTS = {"images": _images, "chan-vese": _chan_vese, "scaling": _scaling}
_TABLES = {
    "images": lambda rows: [timings.images(rows)],
    "chan-vese": lambda rows: [timings.energies(rows)],
    "scaling": timings.growth,
}


def _tasks(images: int) -> list[dict[str, str]]:
    """The embedded images and, if available, Weizmann's; at most `images` of each."""
    found = []
    for dataset in _DATASETS:
        try:
            names = load_dataset(dataset).names
        except InputError as error:
            print(f"without {dataset}: {error}", file=sys.stderr)
            continue
        found += [{"dataset": dataset, "image": name} for name in names[:images]]
    return found


def _blocks(tasks: list) -> Iterator[list]:
    for start in range(0, len(tasks), BLOCK):
        yield tasks[start : start + BLOCK]


def _find_hints(tasks: list, hints: str, options) -> None:
    missing = [task for task in tasks if not hint_path(Path(hints), task).exists()]
    if missing:
        list(_rows(HINT, missing, hints, options))


def _rows(name: str, tasks: list, hints: str, options, **more) -> Iterator[dict[str, Any]]:
    """The rows that a separate single-threaded process measures; one without seconds if it takes too long."""
    job = {"contender": name, "device": options.device, "patience": options.patience, "hints": hints, "tasks": tasks}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure"],
            input=json.dumps(job),
            env=os.environ | ONE_THREAD,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=options.longest,
        )
        printed, left_out = done.stdout, None
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or ""
        printed = printed.decode() if isinstance(printed, bytes) else printed
        printed = printed[: printed.rfind("\n") + 1]
        left_out = next(iter(tasks[len(printed.splitlines()) :]), None)
    except subprocess.CalledProcessError as error:
        raise InputError(f"{name} failed (exit code {error.returncode}); see its message above") from None
    for line in printed.splitlines():
        row = json.loads(line)
        steps = f"{row['steps_timed']} of {row['steps']} steps, scaled" if "steps" in row else "whole run"
        print(f"  {name}, {row['image']}, {row['height']}×{row['width']}: {row['seconds']:.3g} s", file=sys.stderr)
        yield row | {"timed": steps, "f_from": "this run" if "f_measure" in row else None} | more
    if left_out:
        yield left_out | more | {"contender": name, "timed": f"left out: longer than {options.longest:.0f} s"}


def _recorded_scores(name: str, tasks: list) -> Iterator[dict[str, Any]]:
    """Scores of a preset too slow to finish here, from the recorded Table 1."""
    method, _, preset = name.partition(":")
    rows, described = recorded("table1")
    rows = rows[(rows["method"] == method) & (rows["preset"] == preset)]
    # one run per data set, as sizes and widths may differ
    rows = rows[rows["run"].isin(rows.groupby("dataset")["run"].agg(lambda each: each.mode()[0]))]
    for task in tasks:
        mine = rows[(rows["dataset"] == task["dataset"]) & (rows["image"] == task["image"])]
        if len(mine):
            settings = described["runs"][mine["run"].iloc[0]]["settings"]
            source = f"recorded table1: {settings['size']} px, width {settings['width']}"
            scores = mine[["f_measure", "iou"]].mean().to_dict()
            yield task | {"contender": name, "f_from": source, "timed": None} | scores


# -- output ------------------------------------------------------------------------------------------------------------


def _table(rows: Iterator[dict[str, Any]], part: str, options) -> DataFrame:
    import pandas as pd

    table = pd.DataFrame(list(rows)).reindex(columns=COLUMNS)
    return table.assign(part=part, device=device_kind(options.device))


def _write(rows: DataFrame, name: str, options) -> None:
    """Replace the rows of the same part and device in `name`.csv, and their provenance in `name`.json."""
    import pandas as pd

    folder = root() / ("recorded" if options.record else "benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    csv, description = folder / f"{name}.csv", folder / f"{name}.json"
    part, device = rows["part"].iloc[0], rows["device"].iloc[0]
    made_by = {f"{part}, {device}": provenance() | {"options": vars(options)}}
    if csv.exists():
        old = pd.read_csv(csv)
        rows = pd.concat([old[(old["part"] != part) | (old["device"] != device)], rows])
        made_by = json.loads(description.read_text(encoding="utf-8"))["made_by"] | made_by
    rows.to_csv(csv, index=False, float_format="%.5g", lineterminator="\n")
    described = {"name": name, "rows": len(rows), "made_by": made_by}
    description.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten: {csv}")


if __name__ == "__main__":
    sys.exit(main())
