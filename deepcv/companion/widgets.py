"""The live playground, in Jupyter: it computes while the sliders for the weight ν of the length and the noise σ move.

One worker thread computes everything piece by piece and the event loop shows it, so neither a cell nor a slider
waits. Our model is an open loop (`Stream`): when ν moves, networks and mask continue from their current state.
"""

from __future__ import annotations

import asyncio
import functools
import html
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np

from deepcv.companion.before_after import address
from deepcv.companion.experiments import playground as pictures
from deepcv.companion.pictures import faded
from deepcv.data import Dataset, Sample, noise, samples
from deepcv.errors import InputError
from deepcv.files import temporary_folder
from deepcv.hints.hint import hint_for
from deepcv.images import as_image, resize, to_uint8, working_shape
from deepcv.methods import get_method, split_name, title
from deepcv.metrics import f_measure
from deepcv.model import solver
from deepcv.model.segment import at_full_size, pose
from deepcv.model.settings import Settings
from deepcv.pictures import read_image

MULTIPLES = {"0": 0.0} | {f"1/{2**n}": 2.0**-n for n in range(6, 0, -1)} | {str(2**n): 2.0**n for n in range(5)}
"""Positions of the live slider for ν, as multiples of the method's default."""

METHODS = (
    *("deep-cv", "chan-vese", "chan-vese:exact", "statistical", "statistical:diagonal"),
    *("normalized-cuts", "grabcut", "iem", "saliency"),
)
"""The methods available live: those that give one mask within seconds."""

OWN = "your own picture"
"""Entry for an uploaded image."""

_FRAME = 0.1  # least seconds between pictures of a running loop
_WRAPPED = {"flex_flow": "row wrap"}  # one below the other on a phone
_WIDE = {"style": {"description_width": "4em"}, "layout": {"width": "24em", "max_width": "100%"}}


def playground() -> ipywidgets.Widget:
    """The live playground, to be shown in Jupyter.

    Choose an embedded image or upload your own (reduced to at most `samples.LONGEST_SIDE` pixels), a method, ν as a
    multiple of the method's default, and the noise's σ. Every change stops the running computation and starts a new
    one; if only ν has moved, our model continues from its last state.

    Raises
    ------
    InputError
        Outside Jupyter, where nothing would move.

    Examples
    --------
    >>> from deepcv.companion import widgets
    >>> widgets.playground()  # doctest: +SKIP
    """
    return Playground().box


class Stream:
    """The loop of our default model on one image, left open: when ν moves, it continues from its last state.

    Parameters
    ----------
    image : numpy.ndarray of float32, `(H, W)` or `(H, W, 3)`
        As `deepcv.images.as_image` returns it.
    hint : numpy.ndarray of float32, `(H, W)`
        As `deepcv.hints.hint.hint_for` returns it.
    """

    def __init__(self, image: np.ndarray, hint: np.ndarray):
        self.settings = Settings()
        self.image = image
        # ν is a factor of the length's weight at each pixel, which can change between steps
        endless = Settings(nu=1.0, settled=0.0, rounds=10**9)
        problem = pose(image, hint, endless, seed=0, device=None)
        self._plain_edges, self._edges = problem.edges, problem.edges.clone()
        self._states = solver.iterate(problem._replace(edges=self._edges), endless)
        self._memberships = problem.memberships

    def states(self, nu: float) -> Iterator[solver.State]:
        """The next states with this ν, until the labels settle or the rounds of a run are over.

        The caller may stop anywhere and ask for the states of another ν.
        """
        self._edges.copy_(nu * self._plain_edges)
        rounds = 0
        for state in self._states:
            before, self._memberships = self._memberships, state.memberships
            yield state
            if state.memberships is before:
                continue
            rounds += 1
            changed = (state.memberships != before)[:, 1].float().mean()
            if changed < self.settings.settled or rounds == self.settings.rounds:
                return

    def mask(self, state: solver.State) -> np.ndarray:
        """A state's foreground at the image's size, bool `(H, W)`."""
        return at_full_size(self.image, state.memberships[0].cpu().numpy(), self.settings).argmax(axis=0) == 1

    def latent(self, state: solver.State) -> np.ndarray:
        """A state's latent image as grey levels, -μ black and μ white; uint8 at the working size."""
        mean = state.latent_mean[0, 0].cpu().numpy()
        return to_uint8(0.5 + 0.5 * mean / self.settings.latent_mean)


class Playground:
    """The live widget and its computation; `playground` shows it.

    Attributes
    ----------
    image, method, nu, sigma, upload, stop : ipywidgets.Widget
        The controls. `nu.value` is a multiple of the method's default, `sigma.value` on the 0..255 scale.
    noisy, latent, result, line : ipywidgets.HTML
        The image with its noise, our model's latent image, the mask, and the status.
    box : ipywidgets.Widget
        The whole widget.
    task : asyncio.Task or None
        The current or last computation; None if it was stopped.
    """

    def __init__(self):
        self.task: asyncio.Task | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="playground")
        self._own: Sample | None = None
        self._prepared: tuple[tuple, tuple[Any, ...]] = ((), ())
        self._stream: tuple[tuple, Stream | None] = ((), None)
        self._status = ""
        self._build()
        self._changed()

    def _build(self) -> None:
        row = functools.partial(ipywidgets.HBox, layout=_WRAPPED)
        images, methods = [*samples.dataset().names, OWN], [(title(name), name) for name in METHODS]
        self.image = ipywidgets.Dropdown(options=images, value=pictures.IMAGES[0], description="image", **_WIDE)
        self.upload = ipywidgets.FileUpload(accept="image/*", description=OWN, layout={"width": "14em"})
        self.method = ipywidgets.Dropdown(options=methods, description="method", **_WIDE)
        self.nu = ipywidgets.SelectionSlider(options=MULTIPLES.items(), value=1.0, description="ν ×", **_WIDE)
        self.sigma = ipywidgets.IntSlider(0, 0, 160, 10, description="σ", **_WIDE)
        self.stop = ipywidgets.Button(description="Stop", disabled=True)
        self.noisy, self.latent, self.result, self.line = (ipywidgets.HTML() for _ in range(4))
        controls = [row([self.image, self.upload]), self.method, self.nu, row([self.sigma, self.stop])]
        self.box = ipywidgets.VBox([*controls, self.line, row([self.noisy, self.latent, self.result])])
        for control in (self.image, self.method, self.nu, self.sigma):
            control.observe(self._changed, "value")
        self.upload.observe(self._take, "value")
        self.stop.on_click(self._stop)

    # Reactions to the controls, on the event loop.

    def _changed(self, _=None) -> None:
        """Solve for the current controls."""
        self._begin(self._solve)

    def _take(self, change) -> None:
        """Read an uploaded file."""
        if change["new"]:
            [file] = change["new"]
            self._begin(functools.partial(self._read, file["name"], bytes(file["content"])))
            self.upload.value = ()  # so that the same file can be uploaded again

    def _stop(self, _=None) -> None:
        """Cancel the computation and show its last status."""
        self._drop()
        self._say(f"Stopped. {self._status}")

    def _drop(self) -> None:
        if self.task:
            self.task.cancel()
        self.task = None
        self.stop.disabled = True

    def _begin(self, work: Callable[[], Coroutine]) -> None:
        """Cancel the computation and start another."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InputError("the playground needs Jupyter; open notebooks/playground.ipynb there") from None
        self._drop()
        self.stop.disabled = False
        self.task = loop.create_task(self._explained(work))

    # Their tasks, which leave the computing to the worker.

    async def _explained(self, work: Callable[[], Coroutine]) -> None:
        """Run it and show an error in the widget; in a task it would only end up in a log."""
        try:
            await work()
        except InputError as error:
            self._say(str(error))
        except Exception as error:
            self._say(f"This is a bug in deepcv, {type(error).__name__}: {error}")
        if self.task is asyncio.current_task():  # reading a picture has begun another
            self.stop.disabled = True

    async def _in_worker(self, function: Callable, *arguments) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    async def _read(self, name: str, content: bytes) -> None:
        self._say(f"Reading {name} …")
        self._own = await self._in_worker(uploaded, name, content)
        self.sigma.value = 0
        if self.image.value == OWN:
            self._changed()
        else:
            self.image.value = OWN

    async def _solve(self) -> None:
        clean = self._own if self.image.value == OWN else samples.load(self.image.value)
        if clean is None:
            raise InputError("there is no picture of your own yet; choose one with the button beside it")
        name, preset = split_name(self.method.value)
        settings = get_method(name).settings(preset)
        self.nu.disabled = "nu" not in settings
        if self._prepared[0] != (clean.hash, self.sigma.value):
            self._say("Computing the saliency map …")
        sample, image, hint = await self._in_worker(self._prepare, clean, self.sigma.value)
        self.noisy.value = _figure(sample.image, f"{sample.name}, σ = {self.sigma.value}")
        if "nu" in settings:
            settings["nu"] *= self.nu.value
        if name == "deep-cv":
            return await self._follow(sample, image, hint, settings["nu"])
        self.latent.value = ""
        self._say(f"{title(self.method.value)} …")
        method = functools.partial(get_method(name).function, image, hint, seed=0, **settings)
        found = await self._in_worker(method)
        nu = f"ν = {settings['nu']:g}" if "nu" in settings else "has no ν"
        self._show(sample, found.mask, f"{title(self.method.value)}, {nu}, {found.seconds:.2f} s")

    async def _follow(self, sample: Sample, image: np.ndarray, hint: np.ndarray, nu: float) -> None:
        """Show our model while it iterates, from its last state on this image with this noise."""
        key, stream = self._stream
        if key != (sample.hash, self.sigma.value):
            stream = await self._in_worker(Stream, image, hint)
            self._stream = ((sample.hash, self.sigma.value), stream)
        states, shown, drawn = stream.states(nu), None, 0.0
        while state := await self._in_worker(next, states, None):
            if state.memberships is not shown:
                shown, mask = state.memberships, await self._in_worker(stream.mask, state)
            elif time.monotonic() - drawn < _FRAME:
                continue
            drawn = time.monotonic()
            self.latent.value = _figure(stream.latent(state), "latent image, black -μ, white μ")
            terms = ", ".join(f"{name} {float(value):.4g}" for name, value in state.energy.items())
            self._show(sample, mask, f"Step {state.step}, ν = {nu:g}. Energy per pixel: {terms}")
        self._say(f"Done. {self._status}")

    def _prepare(self, clean: Sample, sigma: int) -> tuple[Sample, np.ndarray, np.ndarray]:
        """The noisy sample, its float image and its hint; the last ones are kept."""
        key = (clean.hash, sigma)
        if self._prepared[0] != key:
            noisy = noise.noisy(Dataset([clean.name], lambda _: clean), sigma)[0] if sigma else clean
            image = as_image(noisy.image)
            self._prepared = (key, (noisy, image, hint_for(image)))
        return self._prepared[1]

    def _show(self, sample: Sample, mask: np.ndarray, status: str) -> None:
        score = "" if sample.mask is None else f"F {f_measure(mask, sample.mask):.3f}"
        self.result.value = _figure(faded(sample.image, mask), f"mask, {score}" if score else "mask")
        self._say(f"{status}. {score}")

    def _say(self, status: str) -> None:
        self._status = status.removeprefix("Stopped. ").removeprefix("Done. ")
        self.line.value = html.escape(status)


def uploaded(name: str, content: bytes) -> Sample:
    """A user's picture as a sample without ground truth, reduced to `samples.LONGEST_SIDE` pixels.

    Deep colour, alpha and the like are converted (`read_image`).

    Raises
    ------
    InputError
        If it is not a usable picture.
    """
    name = Path(name).name or "the file"
    with temporary_folder(Path(tempfile.gettempdir()), "deepcv-upload-") as folder:
        path = folder / "upload"
        path.write_bytes(content)
        try:
            image = as_image(read_image(path, convert=True))
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
    image = to_uint8(resize(image, working_shape(image.shape[:2], samples.LONGEST_SIDE)))
    return Sample(name, image, None, "upload", "yours")


def _figure(pixels: np.ndarray, caption: str) -> str:
    """HTML of a picture, uint8 `(H, W)` or `(H, W, 3)`, with embedded bytes and a caption."""
    caption = html.escape(caption)
    return (
        '<figure style="margin: 0.5em 1em 0 0; width: 18em; max-width: 100%">'
        f'<img src="{address(pixels)}" alt="{caption}" style="width: 100%">'
        f'<figcaption style="line-height: 1.4">{caption}</figcaption></figure>'
    )
