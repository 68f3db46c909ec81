"""The command line: `deepcv segment`, `train`, `predict`, `export`, `run`, `record`, `verdict`, `data`, `methods`.

Exit codes: 0 done; 2 the input or an option can't be used, said in one sentence and with nothing written; 130 stopped
with Ctrl-C; 1 an error of ours, with its traceback. Results go to stdout, progress and errors to stderr.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__

if TYPE_CHECKING:
    import numpy as np

    from .methods import Method

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
"""Endings that a mask may have: JPEG would smear its values."""

WORKING_SIZE = 1024
"""Longest side for methods that don't bound it themselves: well under 1 GiB, and seconds but for Double-DIP, however
large the picture."""

OUTLINE = (255, 225, 0)
"""Colour of the outline in an overlay, with a dark rim so that it shows on any picture."""

WORKERS = "Processes at once. [default: the usable cores; on a GPU 1]"
SCHEDULER = "Compute on the workers of this Dask scheduler, tcp://host:8786, not here."

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
data = typer.Typer(rich_markup_mode=None)
app.add_typer(data, name="data")


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default this process's, and return its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="deepcv", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            traceback.print_exc()
            return 1
        print(f"deepcv: {sentence}", file=sys.stderr)
        return 2
    if code == 130:
        given = sys.argv[1:] if arguments is None else arguments
        goes_on = given and given[0] in ("run", "record", "train")
        kept = "; what was finished is kept, run it again to go on" if goes_on else ""
        print(f"deepcv: stopped{kept}", file=sys.stderr)
    return code or 0


def _sentence(error: Exception) -> str | None:
    """What to tell the user of an error that is not ours; None when it is."""
    if hasattr(error, "format_message"):  # the parser's own: a missing argument, an unknown option
        return f"{error.format_message().rstrip('.')}; see `{_command_of(error)} --help`"
    images = sys.modules.get("deepcv.images")  # not imported, not raised
    expected = (FileNotFoundError, PermissionError, *([images.InputError] if images else []))
    return " ".join(str(error).split()) if isinstance(error, expected) else None


def _command_of(error) -> str:
    return error.ctx.command_path if getattr(error, "ctx", None) else "deepcv"


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
    deepcv predict run new.jpg --out masks
    deepcv run table1 --profile quick
    deepcv data fetch weizmann
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def segment(
    image: Annotated[Path, typer.Argument(help="The picture: PNG, JPEG, anything still that Pillow reads.")],
    out: Annotated[Path, typer.Option(help="Where the mask goes: 0 background, 255 foreground; PNG, TIFF or BMP.")],
    overlay: Annotated[Path | None, typer.Option(help="Also write the picture with the outline on it.")] = None,
    hint: Annotated[
        Path | None,
        typer.Option(
            help="A grey picture of the same size, bright where the foreground is believed to be; for two regions."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="`deepcv methods` lists them.")] = "deep-cv",
    preset: Annotated[str, typer.Option(help="Named settings of the method.")] = "default",
    phases: Annotated[
        int | None, typer.Option(help="How many regions; with more than two the mask holds N grey levels.")
    ] = None,
    nu: Annotated[float | None, typer.Option(help="Weight ν of the boundary's length: more gives smoother.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers; the same seed gives the same mask.")] = 0,
    size: Annotated[
        int | None,
        typer.Option(
            help="Longest side, in pixels, at which the method works (of iem the shorter one); the mask has full size."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU when there is one]")] = None,
    convert: Annotated[
        bool,
        typer.Option("--convert", help="Accept what loses information: first frame, 16-bit, alpha over white, CMYK."),
    ] = False,
) -> None:
    """Segment a picture and write its mask.

    \b
    deepcv segment photo.jpg --out mask.png
    deepcv segment photo.jpg --out mask.png --overlay outline.png --nu 2
    deepcv segment photo.jpg --out regions.png --phases 4
    deepcv segment scan.tif --out mask.png --convert --method chan-vese
    """
    started = time.perf_counter()
    # before the libraries are loaded: on pictures of this size two threads wait for each other longer than they help
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from . import images
    from .methods import get_method
    from .results import device_kind

    chosen = get_method(method)
    settings = _settings(chosen, preset, phases=phases, nu=nu, size=size)
    device_kind(device)
    _check_outputs(out, overlay, image, hint)
    pixels = images.read_image(image, convert=convert)
    images.as_image(pixels)
    if hint is not None and not chosen.takes_hint(settings):
        raise images.InputError(f"{method} with these settings doesn't look at a hint; leave --hint out")
    belief = None if hint is None else _read_hint(hint, pixels.shape[:2], convert)
    height, width = pixels.shape[:2]
    print(f"{image}: {width}×{height} pixels, {chosen.title} …", file=sys.stderr)
    labels, regions = _labels(chosen, pixels, belief, settings | {"seed": seed, "device": device})
    pictures = {out: spread(labels, regions)}
    if overlay is not None:
        pictures[overlay] = outlined(pixels, labels)
    images.write_images(pictures)
    print(f"{out}: {_areas(labels, regions)}, {time.perf_counter() - started:.1f} s")


def _settings(method: Method, preset: str, **given) -> dict[str, Any]:
    """The preset's settings with those given in their place; refused where the method doesn't have them."""
    from .images import InputError

    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name != "size" and not method.has_setting(name):
            raise InputError(f"{method.name} has no setting {name}; leave --{name} out or choose another --method")
    size = {} if method.has_setting("size") else {"size": given.pop("size")} if "size" in given else {}
    return method.settings(preset, **given) | size


def _labels(method: Method, pixels: np.ndarray, hint: np.ndarray | None, settings: dict) -> tuple[np.ndarray, int]:
    """Run a method at a bounded size: labels `(H, W)` of the picture's size, and the number of phases.

    `WORKING_SIZE` unless a size is given or the method has its own. Where it has no setting `size` the picture is made
    smaller here, and the regions larger again.
    """
    import inspect

    from .images import SMALLEST_SIDE, InputError, as_image, resize, working_shape

    shape = pixels.shape[:2]
    if not method.has_setting("size"):
        longest = settings.pop("size", WORKING_SIZE)
        if longest < SMALLEST_SIDE:
            raise InputError(f"--size is {longest}; a picture needs at least {SMALLEST_SIDE} pixels a side")
        working = working_shape(shape, longest)
        pixels = resize(as_image(pixels), working)
        hint = None if hint is None else resize(hint, working)
    elif settings["size"] is None:  # the image's own
        settings["size"] = WORKING_SIZE
    if "progress" in inspect.signature(method.function).parameters:
        settings["progress"] = sys.stderr.isatty()
    found = method.function(pixels, hint, **settings)
    return _enlarged(found.labels, len(found.memberships), shape), len(found.memberships)


def _enlarged(labels: np.ndarray, phases: int, shape: tuple[int, int]) -> np.ndarray:
    """Labels at a larger size, each pixel that of the phase with the greatest share there."""
    import numpy as np

    from .images import resize

    if labels.shape == shape:
        return labels
    largest, enlarged = np.full(shape, -1, np.float32), np.zeros(shape, np.uint8)
    for phase in range(phases):
        share = resize((labels == phase).astype(np.float32), shape)
        enlarged[share > largest] = phase
        np.maximum(largest, share, out=largest)
    return enlarged


def _check_outputs(out: Path, overlay: Path | None, *inputs: Path | None) -> None:
    """See that both pictures can be written, before anything is computed."""
    from .images import InputError, check_picture, picture_name

    if out.suffix.lower() not in LOSSLESS:
        raise InputError(f"a mask can't be kept in {out}; call it {picture_name(out)}.png")
    taken = [path.resolve() for path in inputs if path is not None]
    for path in (out, overlay):
        if path is None:
            continue
        if path.resolve() in taken:
            raise InputError(f"{path} is given twice and would be overwritten; give the output another name")
        taken.append(path.resolve())
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        check_picture(path)
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"you may not write into {path.parent}; choose another folder for {path.name}")


def _read_hint(path: Path, shape: tuple[int, int], convert: bool) -> np.ndarray:
    """A hint's picture as float32 `(H, W)`; colour is averaged."""
    from .images import as_hint, read_image

    pixels = read_image(path, convert=convert)
    return as_hint(pixels if pixels.ndim == 2 else pixels.mean(axis=2, dtype="float32") / 255, shape)


def spread(labels: np.ndarray, phases: int) -> np.ndarray:
    """Labels 0..N-1 spread over the grey levels 0..255, uint8 `(H, W)`; with two phases 0 and 255."""
    import numpy as np

    levels = np.rint(np.linspace(0, 255, phases)).astype(np.uint8)
    return levels[labels]


def outlined(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The picture, uint8 `(H, W)` or `(H, W, 3)`, with the boundary between labels drawn on it, uint8 `(H, W, 3)`."""
    import cv2
    import numpy as np

    from .images import as_colour

    boundary = np.zeros(labels.shape, np.uint8)
    boundary[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    boundary[1:] |= labels[1:] != labels[:-1]
    picture = as_colour(pixels).copy()
    width = 1 + max(labels.shape) // 300  # seen at the same strength in a thumbnail and in a photograph
    for thickness, colour in ((2 * width + 1, (0, 0, 0)), (width, OUTLINE)):
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
        picture[cv2.dilate(boundary, brush) > 0] = colour
    return picture


def _areas(labels: np.ndarray, phases: int) -> str:
    import numpy as np

    shares = np.bincount(labels.ravel(), minlength=phases) / labels.size
    if phases == 2:
        return f"foreground {shares[1]:.1%}"
    empty = ", ".join(str(phase) for phase in np.flatnonzero(shares == 0))
    return (
        f"{phases} phases of " + ", ".join(f"{share:.1%}" for share in shares) + (f"; empty: {empty}" if empty else "")
    )


@app.command()
def train(
    collection: Annotated[str, typer.Argument(help="flowers17, flowers102, flowerlike, or a folder of pictures.")],
    out: Annotated[Path, typer.Option(help="The run's folder; a run that was stopped goes on from what is in it.")],
    preset: Annotated[str, typer.Option(help="default, paper, released: named settings.")] = "default",
    profile: Annotated[str, typer.Option(help="quick, cpu: reduced sizes; paper: wants a GPU.")] = "cpu",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the training images, in pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Channels of the network's first level.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images an iteration, over all processes.")] = None,
    hint: Annotated[
        str | None, typer.Option(help="The method whose masks the network is held to; `none` for none.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32, or bfloat16 on a GPU.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of all that is drawn.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU when there is one]")] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes, a GPU each; torchrun says it itself.")] = 1,
    workers: Annotated[int | None, typer.Option(help="Processes that compute the hints.")] = None,
) -> None:
    """Train a network on a collection of unmarked images, so that it segments a new one at once.

    Masks, where a collection has some, only score what was learned.

    \b
    deepcv train flowers17 --out run --profile paper
    deepcv train flowers17 --out run --profile paper --devices 8 --precision bfloat16
    deepcv train ~/photos --out run
    deepcv predict run ~/photos/new.jpg --out masks
    """
    from . import amortized, data, training
    from .data.crops import crops

    given = {"epochs": epochs, "size": size, "width": width, "batch": batch, "precision": precision}
    given = {name: value for name, value in given.items() if value is not None}
    if hint is not None:
        given["hint"] = "" if hint == "none" else hint
    settings = amortized.settings_for(preset, profile, **given)
    training.check_devices(device, devices)
    training.check_folder(out, settings, seed)
    training_set, validation_set = data.load_splits(collection)
    bar = sys.stderr.isatty()
    images = crops(training_set, settings.size, progress=bar)
    validation = validation_set and crops(validation_set, settings.size, progress=bar)
    taught = training.hints_of(images, settings.hint, workers=workers, progress=bar) if settings.hint else None
    fabric = training.fabric_for(device, devices, settings.precision)  # may start this command once more
    done = training.train(
        settings,
        images,
        out,
        hints=taught,
        validation=validation,
        seed=seed,
        fabric=fabric,
        dataset=collection,
        progress=bar,
        report=lambda sentence: fabric.is_global_zero and print(sentence, file=sys.stderr),
    )
    if fabric.is_global_zero:
        print(done.summary())


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A .safetensors file of `deepcv train`, or a run's folder.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, of any sizes.")],
    out: Annotated[Path, typer.Option(help="The folder for the masks, PNG, 0 background and 255 foreground.")],
    device: Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU when there is one]")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 8,
    convert: Annotated[
        bool,
        typer.Option("--convert", help="Accept what loses information: first frame, 16-bit, alpha over white, CMYK."),
    ] = False,
) -> None:
    """Segment pictures with a trained network; each mask has its picture's size and name.

    \b
    deepcv predict run one.jpg two.png --out masks
    deepcv predict run/best-validation.safetensors photo.jpg --out masks
    """
    started = time.perf_counter()
    from .amortized import Segmenter
    from .images import write_image
    from .solver import torch_device

    segmenter = Segmenter.load(_weights(model), torch_device(device))
    places = _mask_places(images, out)
    for path in images:  # read twice, so that a picture that can't be used stops it before anything is written
        _read_checked(path, convert)
    _make_folder(out)
    for first in range(0, len(images), batch):
        together = images[first : first + batch]
        pixels = [_read_checked(path, convert) for path in together]
        for path, found in zip(together, segmenter.predict(pixels, batch=batch), strict=True):
            write_image(places[path], spread(found.labels, 2))
    print(f"{out}: {len(images)} mask{'s' * (len(images) > 1)}, {time.perf_counter() - started:.1f} s")


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A .safetensors file of `deepcv train`, or a run's folder.")],
    out: Annotated[Path, typer.Argument(help="NAME.onnx, or NAME.safetensors for weights in half precision.")],
) -> None:
    """Write a trained network for other programs, or half as large.

    \b
    deepcv export run flowers.onnx
    deepcv export run flowers.safetensors
    """
    from .amortized import Segmenter
    from .images import InputError, check_parent

    check_parent(out)
    if out.suffix.lower() not in (".onnx", ".safetensors"):
        raise InputError(f"a network can't be written to {out.name}; call it {out.stem}.onnx or {out.stem}.safetensors")
    segmenter = Segmenter.load(_weights(model))
    if out.suffix.lower() == ".onnx":
        from .export import to_onnx

        to_onnx(segmenter, out)
    else:
        segmenter.save(out, half=True)
    print(f"{out}: {out.stat().st_size / 2**20:.2f} MiB")


def _weights(model: Path) -> Path:
    """The file that a model's path means: of a run's folder the last epoch's."""
    return model / "last.safetensors" if model.is_dir() else model


def _read_checked(path: Path, convert: bool) -> np.ndarray:
    """A picture that can be segmented, or an error that names it."""
    from .images import InputError, as_image, read_image

    pixels = read_image(path, convert=convert)
    try:
        as_image(pixels)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return pixels


def _mask_places(images: list[Path], out: Path) -> dict[Path, Path]:
    """Where each picture's mask goes."""
    from .images import InputError

    given = {path.resolve() for path in images}
    places: dict[Path, Path] = {}
    for path in images:
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}; check the spelling and the folder")
        place = out / f"{path.stem}.png"
        if place.resolve() in given:
            raise InputError(f"{place} would be overwritten by a mask; choose another --out")
        if place in places:
            raise InputError(f"{places[place]} and {path} would have their masks in one file; give one another name")
        places[place] = path
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the masks")
    return {path: place for place, path in places.items()}


def _make_folder(out: Path) -> None:
    from .images import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't make the folder {out} ({error.strerror}); name another one") from None


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="table1 …: the name of the table or figure.")],
    profile: Annotated[
        str | None,
        typer.Option(help="quick: embedded images; cpu: real data, reduced; paper: wants a GPU. [default: quick]"),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="samples, weizmann …")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Names with commas between, as `deepcv methods` gives them.")
    ] = None,
    n_images: Annotated[int | None, typer.Option(help="Only the first so many images.")] = None,
    size: Annotated[int | None, typer.Option(help="Longest side, in pixels, at which the methods work.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Whole numbers with commas between: 0,1,2.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    workers: Annotated[int | None, typer.Option(help=WORKERS)] = None,
    scheduler: Annotated[str | None, typer.Option(help=SCHEDULER)] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Compute again what is in the store.")] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Also merge the rows into our recorded run, results/recorded/EXPERIMENT.csv."),
    ] = False,
) -> None:
    """Run one of the paper's experiments and print its table.

    Finished rows are kept in results/store.sqlite; a run that was stopped goes on where it was.

    \b
    deepcv run table1 --profile quick
    deepcv run table1 --profile cpu --dataset weizmann --methods deep-cv,chan-vese --n-images 20
    """
    module = _experiment(experiment)
    given = {
        "profile": profile,
        "dataset": dataset,
        "methods": _split(methods),
        "n_images": n_images,
        "size": size,
        "seeds": _numbers(seeds),
        "device": device,
        "recompute": recompute or None,
    }
    settings = module.Settings(**_known_to(module.Settings, experiment, given))
    with _workers(workers, scheduler) as where:
        rows = module.run(settings, workers=where, progress=True)
    print(module.summary(rows).to_string(float_format=lambda value: f"{value:.3f}"))
    if record:
        from . import results

        print(f"recorded in {results.record(rows, experiment)}")


@app.command()
def record(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="table1 … [default: all that are recorded, most wanted first]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop before so many are over. [default: when nothing is lacking]")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="[default: paper on a GPU, otherwise cpu]")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Only show what is recorded, what lacks, and how long it would take.")
    ] = False,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Compute rows again that older code made, after the lacking ones.")
    ] = False,
    merge: Annotated[
        Path | None, typer.Option(help="Compute nothing, merge the recorded runs of this folder; newer rows win.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Write to this folder, not to results/recorded.")] = None,
    workers: Annotated[int | None, typer.Option(help=WORKERS)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda … [default: the GPU when there is one]")] = None,
    scheduler: Annotated[str | None, typer.Option(help=SCHEDULER)] = None,
) -> None:
    """Compute what results/recorded still lacks, for as long as you say, and merge it in.

    Stopped by the time or by Ctrl-C, it keeps what it has and goes on from there next time. With --into and --merge,
    part of it can be computed on another machine.

    \b
    deepcv record --list
    deepcv record --minutes 30
    deepcv record table1 --minutes 10 --into pieces
    deepcv record --merge pieces
    """
    started = time.monotonic()
    from . import recording
    from .images import InputError

    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes is {minutes:g}; it must be more than 0")
    wanted = [_experiment(name) for name in experiments or recording.WANTED]
    if merge is not None:
        recording.merge(merge, experiments or (), into=into)
        return
    with _workers(workers, scheduler) as where:
        profile = profile or recording.profile_for(device, where)
        at = {"device": device, "workers": where}
        gaps = [recording.find_gap(each, profile=profile, into=into, **at) for each in wanted]
        if list_:
            _print_listing(recording.listing(gaps, profile=profile, **at), profile)
        else:
            until = started + 60 * minutes if minutes else float("inf")
            recording.fill(gaps, profile=profile, until=until, into=into, outdated=outdated, **at)


@app.command()
def verdict(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """The paper's claims one by one, each decided by the recorded runs.

    \b
    deepcv verdict
    deepcv verdict --format json
    """
    import shutil

    from . import verdict
    from .images import InputError

    if format_ not in ("text", "json"):
        raise InputError(f"--format is {format_!r}; it is text or json")
    decided = verdict.decide()
    columns = shutil.get_terminal_size().columns
    print(verdict.as_json(decided) if format_ == "json" else verdict.as_text(decided, min(columns, 100)))


def _print_listing(table, profile: str) -> None:
    print(table.to_string(float_format="{:.1f}".format, na_rep="unknown"))
    unknown = table["minutes"].isna().any()
    print(
        f"profile {profile}: {table['recorded'].sum()} recorded, {table['outdated'].sum()} of them by older code; "
        f"{table['lacking'].sum()} lacking, {table['minutes'].sum():.1f} minutes"
        + (" and what is unknown" if unknown else "")
    )


@contextlib.contextmanager
def _workers(workers: int | None, scheduler: str | None):
    """What experiments take as `workers`: a number, or the executor of a scheduler."""
    if scheduler is None:
        yield workers
        return
    from .execution import cluster
    from .images import InputError

    if workers is not None:
        raise InputError("--workers is about this machine, --scheduler about a cluster; leave one out")
    with cluster(scheduler) as executor:
        yield executor


def _known_to(settings: type, experiment: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the experiment's settings take them."""
    import dataclasses

    from .images import InputError

    given = {name: value for name, value in given.items() if value is not None}
    for name in sorted(set(given) - {field.name for field in dataclasses.fields(settings)}):
        raise InputError(f"{experiment} has no option --{name.replace('_', '-')}; leave it out")
    return given


def _experiment(name: str):
    """Import an experiment by its name."""
    import importlib
    import pkgutil

    from . import experiments
    from .images import InputError

    known = sorted(module.name for module in pkgutil.iter_modules(experiments.__path__) if module.name[0] != "_")
    if name not in known:
        raise InputError(f"there is no experiment {name!r}; there are {', '.join(known)}")
    return importlib.import_module(f"{experiments.__name__}.{name}")


def _split(names: str | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())


def _numbers(numbers: str | None) -> tuple[int, ...] | None:
    from .images import InputError

    try:
        return None if numbers is None else tuple(int(number) for number in _split(numbers))
    except ValueError:
        raise InputError(f"--seeds takes whole numbers with commas between, not {numbers!r}; write 0,1,2") from None


@data.callback(invoke_without_command=True)
def data_sets(context: typer.Context) -> None:
    """List the data sets, fetch them."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@data.command("list")
def list_data() -> None:
    """The data sets, and which of them are there."""
    from .data import DATASETS, data_folder, load_dataset
    from .images import InputError

    for name in DATASETS:
        try:
            state = f"{len(load_dataset(name))} images"
        except InputError:
            state = f"not there, or not all of it; `deepcv data fetch {name.partition('-')[0]}` downloads it"
        print(f"{name:16} {state}")
    print(f"looked for in {data_folder()} (DEEPCV_DATA)", file=sys.stderr)


@data.command("fetch")
def fetch_data(
    name: Annotated[str, typer.Argument(help="weizmann …; `deepcv data list` lists them.")],
    mirror: Annotated[
        str | None, typer.Option(help="Another place for the archives: an address, or a folder you saved them in.")
    ] = None,
) -> None:
    """Download a data set.

    It goes into DEEPCV_DATA, or else the user's cache, whole and checked.

    \b
    deepcv data fetch weizmann
    deepcv data fetch weizmann --mirror ~/Downloads
    """
    import functools

    from .data.fetch import fetch

    if mirror is not None and "://" not in mirror:
        mirror = os.path.expanduser(mirror)
    print(fetch(name, mirror=mirror, report=functools.partial(print, file=sys.stderr)))


@app.command()
def methods() -> None:
    """The methods and their presets."""
    from .methods import METHODS

    longest = max(map(len, METHODS))
    for name, method in METHODS.items():
        print(f"{name:{longest}}  {method.title}; presets: {', '.join(method.presets)}")
    print("Numbers in brackets are the paper's references.", file=sys.stderr)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)
