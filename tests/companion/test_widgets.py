"""The playground goes on when ν moves, starts anew when the image does, stops when told, and says what is wrong."""

import asyncio
import dataclasses
import functools
import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets", reason="install the extra `companion`")

from deepcv import deep_chan_vese, methods
from deepcv.companion import widgets
from deepcv.companion.widgets import OWN, Playground, Stream, uploaded
from deepcv.errors import InputError

DISK = np.hypot(*np.mgrid[-24:24, -24:24] + 0.5) < 14
IMAGE = (np.where(DISK, 0.7, 0.3) + np.random.default_rng(0).normal(0, 0.1, DISK.shape)).clip(0, 1).astype(np.float32)


def file(array, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind)
    return content.getvalue()


def live(test):
    """Runs a test on an event loop with a playground at our method on the noisy disk; its hint is its brightness."""

    @functools.wraps(test)
    def run(monkeypatch):
        monkeypatch.setattr(widgets, "hint_for", lambda image: np.atleast_3d(image).mean(axis=2))

        async def on_the_loop():
            shown = Playground()
            await upload(shown, "disk.png", file(np.uint8(255 * IMAGE)))
            await asyncio.wait_for(test(shown), 300)

        asyncio.run(on_the_loop())

    del run.__wrapped__  # pytest would take the test's own argument for a fixture
    return run


async def upload(shown, name, content):
    about = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now(UTC)}
    shown.upload.value = ({**about, "content": memoryview(content)},)
    await until_done(shown)


async def until_done(shown):
    while not shown.task.done():  # reading a file starts a solve
        await asyncio.wait([shown.task])


def step_of(shown):
    return int(re.search(r"Step (\d+)", shown.line.value)[1])


# -- our model's loop, left open ---------------------------------------------------------------------------------------


def test_a_stream_ends_with_the_mask_of_the_function():
    stream = Stream(IMAGE, IMAGE)
    *_, last = stream.states(nu=300.0)
    np.testing.assert_array_equal(stream.mask(last), deep_chan_vese(IMAGE, IMAGE).mask)


def test_networks_and_mask_go_on_when_nu_moves():
    stream = Stream(IMAGE, IMAGE)
    *_, last = stream.states(nu=300.0)
    following = next(stream.states(nu=30.0))
    assert following.step == last.step + 1
    assert following.memberships is last.memberships
    moved = (following.latent_mean - last.latent_mean).abs().mean()
    fresh = (next(Stream(IMAGE, IMAGE).states(nu=30.0)).latent_mean - last.latent_mean).abs().mean()
    assert moved < 0.1 * fresh


def test_a_moved_nu_is_the_one_that_counts():
    """Also when the states of the last one were left in the middle of a round."""
    stream = Stream(IMAGE, IMAGE)
    next(stream.states(nu=0.0))
    lengths = {}
    for nu in (0.0, 300.0):
        *_, last = stream.states(nu)
        mask = stream.mask(last)
        lengths[nu] = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
        assert (float(last.energy["length"]) > 0) == (nu > 0)
    assert lengths[300.0] < lengths[0.0]


# -- the live widget ---------------------------------------------------------------------------------------------------


@live
async def test_our_model_streams_in_while_the_loop_stays_free(shown):
    shown.sigma.value = 20
    latents, ticks = set(), 0
    while not shown.task.done():
        latents.add(shown.latent.value)
        ticks += 1
        await asyncio.sleep(0.005)
    assert len(latents) >= 3
    assert ticks >= 10
    assert shown.line.value.startswith("Done. Step")
    assert "reconstruction" in shown.line.value
    assert shown.stop.disabled


@live
async def test_nu_goes_on_and_sigma_starts_anew(shown):
    first = step_of(shown)
    shown.nu.value = 4.0
    dropped = shown.task
    shown.nu.value = 2.0
    await until_done(shown)
    assert dropped.cancelled()
    assert "ν = 600" in shown.line.value
    assert step_of(shown) > first
    shown.sigma.value = 40
    await until_done(shown)
    assert step_of(shown) <= methods.get_method("deep-cv").settings()["steps"] + 4 * 10


@live
async def test_stop_ends_it_where_it_is(shown):
    shown.nu.value = 4.0
    shown.stop.click()
    assert shown.line.value.startswith("Stopped. ")
    before = shown.line.value, shown.latent.value
    await asyncio.sleep(0.3)
    assert (shown.line.value, shown.latent.value) == before
    shown.nu.value = 1.0
    await until_done(shown)
    assert shown.line.value.startswith("Done. ")


@live
async def test_an_uploaded_picture_starts_without_noise_and_can_be_stopped(shown):
    shown.image.value = "modes-ring"
    shown.sigma.value = 80
    name, content = "disk.png", file(np.uint8(255 * IMAGE))
    about = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now(UTC)}
    shown.upload.value = ({**about, "content": memoryview(content)},)
    while shown.image.value != OWN or "Step" not in shown.line.value:
        await asyncio.sleep(0.005)
    assert shown.sigma.value == 0 and "σ = 0" in shown.noisy.value
    assert not shown.stop.disabled
    shown.stop.click()
    assert shown.line.value.startswith("Stopped. ")
    assert shown.task is None


@live
async def test_every_method_can_be_chosen(shown):
    for name in widgets.METHODS:
        shown.method.value = name
        await until_done(shown)
        assert "error" not in shown.line.value
        assert shown.nu.disabled == (not methods.get_method(name.partition(":")[0]).has_setting("nu"))
        assert "data:image/webp" in shown.result.value


@live
async def test_the_score_is_there_where_the_truth_is_known(shown):
    shown.method.value = "saliency"
    await until_done(shown)
    assert " F 0." not in shown.line.value
    shown.image.value = "modes-ring"
    await until_done(shown)
    assert " F 0." in shown.line.value


@live
async def test_errors_are_said_in_the_widget(shown):
    def broken(*_, **__):
        raise ArithmeticError("no <luck>")

    whole = methods.METHODS["saliency"]
    methods.METHODS["saliency"] = dataclasses.replace(whole, function=broken)
    try:
        shown.method.value = "saliency"
        await until_done(shown)
    finally:
        methods.METHODS["saliency"] = whole
    assert shown.line.value == "This is a bug in deepcv, ArithmeticError: no &lt;luck&gt;"
    await upload(shown, "notes.txt", b"not a picture")
    assert shown.line.value.startswith("notes.txt is not a picture")
    await upload(shown, "dot.png", file(np.uint8([[0, 255], [255, 0]])))
    assert "2×2 pixels; both sides must have at least 8" in shown.line.value
    await upload(shown, "disk.png", file(np.uint8(255 * IMAGE)))
    assert shown.image.value == OWN
    assert "disk.png" in shown.noisy.value


def test_a_picture_of_ones_own_has_to_be_there():
    async def choose():
        shown = Playground()
        shown.image.value = OWN
        await until_done(shown)
        return shown.line.value

    assert "no picture of your own yet" in asyncio.run(choose())


def test_it_needs_jupyter():
    with pytest.raises(InputError, match="needs Jupyter"):
        widgets.playground()


def test_a_large_photograph_is_reduced_and_keeps_its_proportions():
    pixels = np.random.default_rng(0).integers(0, 255, (600, 1200, 4), dtype=np.uint8)
    sample = uploaded("folder/../photo.png", file(pixels))
    assert (sample.name, sample.image.shape) == ("photo.png", (150, 300, 3))


@pytest.mark.slow
def test_a_cell_runs_while_it_works():
    """In a kernel: what is computed neither holds up another cell nor needs one."""
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:

        def printed(cell):
            told = []
            hook = lambda message: told.append(message["content"].get("text", ""))  # noqa: E731
            reply = client.execute_interactive(cell, timeout=300, output_hook=hook)
            assert reply["content"]["status"] == "ok"
            return "".join(told).strip()

        printed("import asyncio; from deepcv.companion.widgets import Playground; p = Playground()")
        assert printed("print(p.task.done())") == "False"
        printed("await p.task")
        assert printed("print(p.line.value)").startswith("Done. Step")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
