"""Recorded runs between their first format and today's, both ways; and today's code for runs whose code still means
the same.

    python results/migrate.py forward FOLDER     from the first format, in results/recorded or --from, to today's
    python results/migrate.py backward FOLDER    from today's format to the first
    python results/migrate.py restamp            write today's code hash into the runs of UNCHANGED

In the first format what an experiment varied stood in `dataset` and `preset`; today it has columns of its own. A run's
`source`, the hash of all of the package's files, follows from its commit (`SOURCES`), with or without "-dirty": the
files that the hash covers were those of the commit each time.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from deepcv.companion import compute, networks, recorded
from deepcv.companion.experiments import ambiguities, choices, figure06, figure10a, get_experiment
from deepcv.companion.items import Item, as_json
from deepcv.companion.recording import complete_settings
from deepcv.files import locked
from deepcv.methods import get_method

HERE = Path(__file__).parent
SCORES = ("f_measure", "iou", "accuracy", "f_measure_oracle", "iou_oracle", "accuracy_oracle", "seconds")
FIRST = ("profile", "dataset", "image", "method", "preset", "seed", *SCORES, "data", "created", "run")
FIRST_ORDER = ("profile", "dataset", "method", "preset", "seed", "image")
RUN = ("method", "preset", "settings", "package", "source", "libraries", "machine", "device")
TIMINGS = ("benchmark", "profile")
_EQUAL = """
figure04 bf7ab4f3c normalized-cuts vese-chan
figure06 51065132f saliency
figure07 01b138d8c grabcut iem saliency statistical
figure07 3e8562c43 chan-vese grabcut iem saliency statistical
figure07 27f9ca65e double-dip
figure07 68ce755e6 grabcut normalized-cuts
figure07 a788990e5 double-dip
table1 01b138d8c iem normalized-cuts statistical
table1 27f9ca65e double-dip
table1 a788990e5 double-dip
table2 e9b4e2551 chan-vese grabcut iem saliency
"""
_SAME_NUMBERS = """
choices 896ac8572 deep-cv
figure01 7a2aa0f8c chan-vese deep-cv saliency
figure04 bf7ab4f3c deep-cv
figure07 7a2aa0f8c deep-cv
figure08 7a2aa0f8c deep-cv
figure09 7a2aa0f8c deep-cv
table1 01b138d8c deep-cv
table1 896ac8572 chan-vese deep-cv grabcut saliency
table2 e9b4e2551 amortized deep-cv redo
table3 e9b4e2551 amortized
theory 165d4f8d3 deep-cv
theory a99bd7be3 deep-cv
"""
_FEWER_DIFFERENCES = """
ambiguities 72c0d5bf8 deep-cv
ambiguities a788990e5 deep-cv
figure06 51065132f deep-cv
figure06 68ce755e6 deep-cv
figure07 01b138d8c chan-vese
figure10a 51065132f deep-cv
figure10b 68ce755e6 deep-cv
table1 a788990e5 deep-cv
"""
UNCHANGED = {
    (name, method, commit)
    for line in (_EQUAL + _SAME_NUMBERS + _FEWER_DIFFERENCES).split("\n")
    if line
    for name, commit, *methods in [line.split()]
    for method in methods
}
"""Experiments, methods and commits whose code means the same as that of 0e579fe, the last commit before modules were
moved. Moving preserved the numbers, which tests hold.

Of `_EQUAL` the definitions that method, hint and measure reach are equal, but for checks of arguments, a constant
that got a name, and a call that got a function. Of `_SAME_NUMBERS` they differ, in settings that came later and are at
their defaults and in code that was rewritten; each difference was read, and the code of both commits gave the same
masks and recorded digits: for the runs' settings on one or two images and one seed each, for trained networks in small
trainings
of each kind. The differences of `_FEWER_DIFFERENCES` are among those.
"""
VARIED = {"variant": "str", "setting": "str", "value": "str"}
CONDITIONS = {
    "ambiguities": VARIED,
    "choices": VARIED,
    "figure04": {"regions": "int"},
    "figure06": VARIED,
    "figure07": {"sigma": "float", "clipped": "bool"},
    "figure10a": VARIED,
    "figure10b": {"pixels": "int"},
    "table1": {"regions": "int"},
    "table2": {"split": "str", "side": "int", "chosen": "str"},
    "table3": {"split": "str", "side": "int", "constraints": "str", "chosen": "str"},
    "theory": {"check": "str"},
}
VARIANTS = {
    "ambiguities": ambiguities.VARIANTS,
    "choices": choices.VARIANTS,
    "figure06": figure06.ARCHITECTURES | {figure06.HINT: {}},
    "figure10a": figure10a.SAMPLES,
}
CHOSEN = {"last": "", "validation": ", best on validation"}

RUN_TODAY = ("method", "preset", "settings", "code", "package", "libraries", "machine", "device")
SOURCES = {
    "01b138d8c92829fdd1d3274c4bbcb697c1128cb3": "5206cb016150054761f5116aba652c924ef346864ff60869b35311e1ca643321",
    "165d4f8d3fb9f9e2ae4e8be575ce6898ea6c4310": "4eca9ede09df01869738e8f308736b0b9181bdfe9e2c0de361247ddf0a45d9f7",
    "19643fba2552e6fd57befa0d059c4dcae8f6b7a7": "3c6d4a3ac09be01d27ecf1c28d29eb78b7f905ba606c4c6f93967511267e2292",
    "2559e7922fe0a380bca17998f5d3918222b3f98f": "5951c3f8dffc80e2bce23168a2ae9c6f63ac03c596ff158241d0c3f53a9687c3",
    "27f9ca65e649d8a984a2aed3af510aad0e8b7b19": "5661407716505b031bd0d6b5ac41c6b279272b06ba1d3583b7da10006e06c690",
    "3e8562c437aa815c5a94b921087782229cdcf14d": "4eca9ede09df01869738e8f308736b0b9181bdfe9e2c0de361247ddf0a45d9f7",
    "51065132f5618573b4bb918de403974a020490bc": "ebaf2c7c22d97507d79596e3cd0c1a13b755f5ed4a76fbc2d14467eeb3a0eb38",
    "68ce755e65cfaff8f4cd6c6e01120b94e70e96f3": "9efd98caba0937837cca382029d9569da5220530e3eee96fafa95c3f444e5df5",
    "72c0d5bf8c5df7efc740f58d15fea4705abdcdbe": "5661407716505b031bd0d6b5ac41c6b279272b06ba1d3583b7da10006e06c690",
    "7a2aa0f8c5cbb5a551e10194fb65d2a1768aa238": "036c4d8770fdf11ef84707eae290f0f107814d7b9b77dfc1f4b2f694650af132",
    "896ac8572a489b9512756ed84d8304e60563d26b": "8f93e70065e10af5352c97807986f223f2f2fd06b5585cb347dc66578ed5d045",
    "a788990e517f426896f3fc0f989acb462889d5bd": "9efd98caba0937837cca382029d9569da5220530e3eee96fafa95c3f444e5df5",
    "a99bd7be3703c67eed4db48ea4477be46dadd6c4": "2a5a28e7921f92f83b18116b301562c1c61d83cdc804a911ea17fbeb5a3046a0",
    "bf7ab4f3c59e4296ad7ff12c83641129f7e27cf5": "04529dce651e1a28369feb072a651be8ebe416acc38db096aa5bc91853ccb35c",
    "e9b4e2551c5c3e47e7793ec056b1af32747c5233": "ada2b00bdd9ee21375a076e503a0a7be67b890e3cf073db67ae8b6a205669c0d",
}  # fmt: skip
"""The hash of the package's files at each commit that computed rows."""


# -- names -------------------------------------------------------------------------------------------------------------


def forward(name: str, dataset: str, method: str, preset: str) -> tuple[str, str, dict[str, Any]]:
    """Today's data set, preset and conditions of a row of the first format."""
    if name in VARIANTS:
        solver, _, variant = preset.rpartition(": ")
        changed = VARIANTS[name][variant]
        told = {"variant": variant, "setting": "; ".join(changed), "value": "; ".join(map(str, changed.values()))}
        return dataset, solver or "default", told
    if name in ("table1", "figure04") and (found := re.fullmatch(r"(\d+) regions", preset)):
        return dataset, "regions", {"regions": int(found[1])}
    if name == "figure04" and preset == "true count":
        return dataset, "regions", {}
    if name == "figure07":
        dataset, sigma, unclipped = re.fullmatch(r"(\w+?)(?:\+noise(\d+)(-unclipped)?)?", dataset).groups()
        return dataset, preset, {"sigma": float(sigma or 0), "clipped": not unclipped}
    if name == "figure10b":
        return dataset, "default", {"pixels": int(preset)}
    if name == "theory":
        return dataset, "default", {"check": preset}
    if name in ("table2", "table3"):
        dataset, side, split = re.fullmatch(r"(\w+)-(\d+)px-(\w+)", dataset).groups()
        conditions = {"split": split, "side": int(side)}
        if name == "table3":
            constraints, _, hinted = preset.partition(", ")
            conditions |= {"constraints": constraints, "chosen": "last"}
            return dataset, "default" if hinted else "paper", conditions
        preset, _, validated = preset.partition(", ")
        trained = method in ("amortized", "redo")
        return dataset, preset, conditions | ({"chosen": "validation" if validated else "last"} if trained else {})
    return dataset, preset, {}


def backward(name: str, dataset: str, method: str, preset: str, told: dict[str, str]) -> tuple[str, str]:
    """Data set and preset in the first format, from today's with the conditions as the file has them."""
    if name in VARIANTS:
        return dataset, told["variant"] if preset == "default" else f"{preset}: {told['variant']}"
    if name in ("table1", "figure04"):
        called = "true count" if preset == "regions" else preset
        return dataset, f"{told['regions']} regions" if told["regions"] else called
    if name == "figure07":
        sigma = float(told["sigma"])
        noise = f"+noise{sigma:.0f}" if sigma else ""
        return dataset + noise + ("" if told["clipped"] == "True" else "-unclipped"), preset
    if name == "figure10b":
        return dataset, told["pixels"]
    if name == "theory":
        return dataset, told["check"]
    if name in ("table2", "table3"):
        dataset = f"{dataset}-{told['side']}px-{told['split']}"
        if name == "table3":
            return dataset, told["constraints"] + (", from a hint" if preset == "default" else "")
        return dataset, preset + CHOSEN[told["chosen"] or "last"]
    return dataset, preset


# -- files -------------------------------------------------------------------------------------------------------------


def read(folder: Path, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Rows, every cell as it is written, and the description."""
    text = (folder / f"{name}.csv").read_text(encoding="utf-8")
    described = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert described["csv_sha256"] == hashlib.sha256(text.encode()).hexdigest(), name
    return list(csv.DictReader(io.StringIO(text))), described


def names(folder: Path) -> list[str]:
    """The recorded runs in a folder."""
    return sorted({path.stem for path in folder.glob("*.csv")} - {*TIMINGS})


def to_todays(folder: Path, name: str, into: Path) -> None:
    """Write a run of the first format in today's."""
    rows, described = read(folder, name)
    measured = [column for column in rows[0] if column not in FIRST]
    runs, found = {}, []
    for row in rows:
        run = described["runs"][row["run"]]
        dataset, preset, told = forward(name, row["dataset"], row["method"], row["preset"])
        for setting, value in zip(told.get("setting", "").split("; "), told.get("value", "").split("; "), strict=True):
            assert not setting or str(run["settings"][setting]) == value, (name, row)
        commit = run["machine"]["commit"].partition("-")[0]
        assert SOURCES[commit] == run["source"], (name, commit)
        run = {key: run.get(key) for key in RUN_TODAY} | {"preset": preset, "code": ""}
        run |= {key: described["runs"][row["run"]][key] for key in ("note",) if key in described["runs"][row["run"]]}
        digest = recorded.digest(run)
        runs[digest] = run
        numbers = {column: float(row[column] or "nan") for column in (*SCORES, *measured)}
        row = row | {"dataset": dataset, "preset": preset, "seed": int(row["seed"]), "run": digest}
        found.append(row | {each: told.get(each) for each in CONDITIONS.get(name, {})} | numbers)
    recorded.write(into, name, pd.DataFrame(found), runs, CONDITIONS.get(name, {}), measured)


def to_first(folder: Path, name: str, into: Path) -> None:
    """Write a run of today's format in the first one."""
    rows, described = read(folder, name)
    runs, found = {}, []
    for row in rows:
        told = {condition: row[condition] for condition in described["conditions"]}
        dataset, preset = backward(name, row["dataset"], row["method"], row["preset"], told)
        run = described["runs"][row["run"]] | {"preset": preset}
        run["source"] = SOURCES[run["machine"]["commit"].partition("-")[0]]
        run = {key: run[key] for key in RUN} | {key: run[key] for key in ("note",) if key in run}
        digest = hashlib.sha256(as_json(run).encode()).hexdigest()[:8]
        runs[digest] = run
        found.append(row | {"dataset": dataset, "preset": preset, "run": digest})
    found.sort(key=lambda row: tuple(int(row[each]) if each == "seed" else row[each] for each in FIRST_ORDER))
    out = io.StringIO()
    writer = csv.DictWriter(out, [*FIRST, *described["measured"]], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    counts = Counter(row["run"] for row in found)
    order = sorted(runs, key=lambda digest: (runs[digest]["method"], runs[digest]["preset"], digest))
    first = {
        "name": name,
        "rows": len(found),
        "csv_sha256": hashlib.sha256(out.getvalue().encode()).hexdigest(),
        "runs": {digest: runs[digest] | {"rows": counts[digest]} for digest in order},
    }
    (into / f"{name}.csv").write_text(out.getvalue(), encoding="utf-8")
    (into / f"{name}.json").write_text(json.dumps(first, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def restamp(folder: Path, name: str) -> None:
    """Write the hash of today's code into the runs of `UNCHANGED`; other runs stay as they are."""
    rows, described = recorded.recorded(name, folder)
    runs, renamed = {}, {}
    for old, run in described["runs"].items():
        run = {key: value for key, value in run.items() if key != "rows"}
        if (name, run["method"], run["machine"]["commit"][:9]) in UNCHANGED:
            run["code"] = code_today(name, run)
        renamed[old] = recorded.digest(run)
        runs[renamed[old]] = run
    rows = rows.assign(run=rows["run"].map(renamed))
    with locked(folder / f"{name}.json"):
        recorded.write(folder, name, rows, runs, described["conditions"], described["measured"])


def code_today(name: str, run: dict[str, Any]) -> str:
    """`Item.code` of an item with these settings."""
    experiment = get_experiment(name)
    item = Item(name, "", "", run["method"], run["preset"], settings=run["settings"])
    item = dataclasses.replace(item, settings=complete_settings(item))
    hinted = name != "figure04" and get_method(item.method).takes_hint(item.settings)  # it has several true regions
    return compute._code(item.method, networks.teacher(item), hinted, experiment.measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("forward", "backward", "restamp"))
    parser.add_argument("into", nargs="?", type=Path, default=HERE / "recorded")
    parser.add_argument("--from", dest="folder", type=Path, default=HERE / "recorded")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    for name in names(given.folder):
        if given.what == "restamp":
            restamp(given.folder, name)
        else:
            (to_todays if given.what == "forward" else to_first)(given.folder, name, given.into)


if __name__ == "__main__":
    main()
