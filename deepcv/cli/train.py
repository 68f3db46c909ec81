"""`deepcv train`, `predict`, `export`."""

from __future__ import annotations

import functools
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepcv.cli import many, pieces
from deepcv.cli.options import LARGEST_SIDE, Device, Shared, computing_on, given, with_shared
from deepcv.cli.tables import Tables
from deepcv.errors import InputError
from deepcv.files import check_place

if TYPE_CHECKING:
    import numpy as np
    import torch

    from deepcv.amortized.segmenter import Segmenter
    from deepcv.door import Found


def train(
    collection: Annotated[
        str, typer.Argument(help="flowers17, flowers102, both as flowers; flowerlike; or a folder of pictures.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run resumes from it.")],
    preset: Annotated[str, typer.Option(help="Named settings: default, paper or released.")] = "default",
    profile: Annotated[str, typer.Option(help="quick, cpu: reduced sizes; paper: needs a GPU.")] = "cpu",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the training images, in pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Channels at the network's first level.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per iteration, over all processes.")] = None,
    hint: Annotated[str | None, typer.Option(help="Method whose masks guide the network, or `none`.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, or bfloat16 on a GPU.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the weights and samples.")] = 0,
    device: Device = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of processes, one GPU each; torchrun sets it.")] = 1,
    workers: Annotated[int | None, typer.Option(help="Number of processes that compute the hints.")] = None,
) -> None:
    """Train a network on unlabelled images; it then segments new images in one pass.

    Masks in a collection are used for scores only. Pictures of a folder that can't be read are skipped and listed.

    \b
    deepcv train flowers17 --out run --profile paper
    deepcv train flowers17 --out run --profile paper --devices 8 --precision bfloat16
    deepcv train ~/photos --out run
    deepcv predict ~/photos/new.jpg --model run --out masks
    """
    from deepcv import data
    from deepcv.amortized import training
    from deepcv.amortized.model import Model
    from deepcv.amortized.run import check_folder
    from deepcv.amortized.settings import settings_for
    from deepcv.amortized.teaching import hints_of
    from deepcv.checks import Seed, check_value
    from deepcv.data.crops import crops, usable_crops
    from deepcv.methods import get_method

    check_value("seed", seed, Seed)
    hint = "" if hint == "none" else hint and get_method(hint).name
    changes = given(epochs=epochs, size=size, width=width, batch=batch, precision=precision, hint=hint)
    settings = settings_for(preset, profile, **changes)
    teacher = get_method(settings.hint) if settings.hint else None
    if teacher and (teacher.trained or "default" in teacher.several):
        raise InputError(f"--hint {teacher.name} gives no mask of one image; `deepcv methods` lists those that do")
    training.check_devices(device, devices)
    check_folder(out, settings, seed)
    training_set, validation_set = data.load_splits(collection)
    bar = sys.stderr.isatty()
    if collection in (*data.COLLECTIONS, *data.SETS):
        images = crops(training_set, settings.size, progress=bar)
    else:
        images, skipped = usable_crops(training_set, settings.size, progress=bar)
        for sentence in skipped.values():
            print(f"skipped: {sentence}", file=sys.stderr)
        if skipped:
            print(f"{len(skipped)} of {len(training_set)} pictures are skipped", file=sys.stderr)
    validation = crops(validation_set, settings.size, progress=bar) if validation_set else None
    taught = hints_of(images, teacher, workers=workers, progress=bar) if teacher else None
    fabric = training.fabric_for(device, devices, settings.precision)  # may start this command again
    done = training.train(
        settings,
        images,
        out,
        make=Model,
        hints=taught,
        validation=validation,
        seed=seed,
        fabric=fabric,
        dataset=collection if collection in (*data.SETS, *data.COLLECTIONS) else "a folder of pictures",
        progress=bar,
        report=lambda sentence: fabric.is_global_zero and print(sentence, file=sys.stderr),
    )
    if fabric.is_global_zero:
        print(done.summary())


@with_shared
def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="PICTURES...", help="Pictures of any size, or folders of them; `-` for one.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the masks, PNG, 0 background, 255 foreground; of one picture a file, or `-`. Masks there "
            "that are newer than their pictures and the model aren't made again."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A .safetensors file from `deepcv train`, or a run's folder. [default: the package's, for flowers]"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per batch.")] = 8,
    workers: Annotated[int | None, typer.Option(min=1, help="Batches at once, a process each. [default: 1]")] = None,
    *,
    more: Shared,
) -> None:
    """Segment pictures with a trained network; each mask has the size and name of its picture.

    \b
    deepcv predict rose.jpg tulip.png --out masks
    deepcv predict photos/ --out masks --cutout cut --areas areas.csv
    deepcv predict photo.jpg --model run --out masks
    deepcv predict photo.jpg --model run/best-validation.safetensors --out masks
    cat photo.jpg | deepcv predict - --out - > mask.png
    """
    started = time.perf_counter()
    from deepcv.amortized.pretrained import MODEL
    from deepcv.devices import torch_device
    from deepcv.outputs import KINDS

    weights = _weights(model or MODEL)
    _segmenter(weights, torch_device(more.device))
    wanted = pieces.wanted(out, more)
    tables = Tables(more.areas, more.coco)
    options = more.reading() | {"longest": LARGEST_SIDE}
    work = many.Work(
        partial(_predicted, weights, torch_device(more.device)),
        options,
        made_by=pieces.made_by(weights.resolve(), more.looking(), more.largest),
        largest=more.largest,
        title="the network",
    )
    if pieces.is_one(images, out) and (out == pieces.STREAM or out.suffix.lower() in KINDS["out"].suffixes):
        more.check_one()
        many.do_one(work, pieces.single(images[0], wanted, tables.paths, [weights]), tables, started)
    else:
        with computing_on(workers, more.scheduler, default=1) as where:
            todo = pieces.several(images, wanted, tables.paths, [weights], work.made_by)
            many.do_many(work, todo, out, tables, started, workers=where, batch=batch, again=more.again)


@functools.lru_cache(maxsize=1)
def _segmenter(weights: Path, device: torch.device) -> Segmenter:
    from deepcv.amortized.segmenter import Segmenter

    return Segmenter.load(weights, device)


def _predicted(
    weights: Path, device: torch.device, pictures: list[np.ndarray], shapes: list[tuple[int, int]]
) -> list[Found]:
    """What the network finds in pictures."""
    from deepcv.door import Found

    found = _segmenter(weights, device).predict(pictures, batch=len(pictures))
    return [Found(each.labels, each.memberships) for each in found]


def export(
    model: Annotated[Path, typer.Argument(help="A .safetensors file from `deepcv train`, or the folder of a run.")],
    out: Annotated[Path, typer.Argument(help="NAME.onnx, or NAME.safetensors for weights in half precision.")],
) -> None:
    """Export a trained network as ONNX, or with weights in half precision.

    \b
    deepcv export run flowers.onnx
    deepcv export run flowers.safetensors
    """
    from deepcv.amortized.segmenter import Segmenter
    from deepcv.pictures import check_parent

    check_parent(out)
    check_place(out)
    if out.suffix.lower() not in (".onnx", ".safetensors"):
        raise InputError(f"a network can't be written to {out.name}; call it {out.stem}.onnx or {out.stem}.safetensors")
    weights = _weights(model)
    segmenter = Segmenter.load(weights)
    if out.exists() and out.samefile(weights):
        raise InputError(f"{out} is the model itself and would be overwritten; choose another name")
    if out.suffix.lower() == ".onnx":
        from deepcv.amortized.onnx import to_onnx

        to_onnx(segmenter, out)
    else:
        segmenter.save(out, half=True)
    print(f"{out}: {out.stat().st_size / 2**20:.2f} MiB")


def _weights(model: Path) -> Path:
    """The weights file; in a run's folder, that of the last epoch."""
    return model / "last.safetensors" if model.is_dir() else model
