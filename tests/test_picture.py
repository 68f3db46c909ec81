"""The page “Your own picture”: its solvers against Python's, and what a reader does with it."""

import importlib
import io
import json
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from deepcv.amortized import pretrained
from deepcv.baselines.appearance import ridge
from deepcv.baselines.chan_vese import centred_disk, chan_vese, evolve
from deepcv.data import samples
from deepcv.images import as_image, resize, working_shape
from deepcv.metrics import iou

BOOK = Path(__file__).parents[1] / "book" / "_style"
PAGE = Path(__file__).parents[1] / "_build" / "html" / "picture.html"

needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the book is not built; run `make book`")
pytestmark = pytest.mark.browser


# -- the solver --------------------------------------------------------------------------------------------------------

SOLVE = """
(problem) => {
  const {method, width, height, channels, image, hint, threshold, nu, steps} = JSON.parse(problem);
  const held = new Uint8Array(width * height);
  const picture = {width, height, channels, image: Float32Array.from(image)};
  const more = method === "TrainedNetwork" ? {weights: TrainedNetwork.read(network)} : {};
  const methods = {ChanVese, Ridge, TrainedNetwork};
  const solver = new methods[method]({...picture, hint: Float32Array.from(hint), threshold, held, ...more});
  let taken = 0;
  for (taken of solver.evolve(nu)) if (taken === steps) break;
  return JSON.stringify([taken, Array.from(solver.field)]);
}
"""


@pytest.fixture(scope="module")
def solve(browser):
    """A solver of the page alone, from the class's name, an image `(H, W)` or `(H, W, 3)`, a hint with the threshold
    above which it starts, ν and at most so many steps to the steps taken and the field `(H, W)`."""
    page = browser.new_page()
    for script in ("chan_vese", "minimum_cut", "ridge", "network"):
        page.add_script_tag(path=BOOK / f"{script}.js")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BOOK.parent / "_ext")
        script = importlib.import_module("network").script()
    page.add_script_tag(content=f"const receiveNetwork = (given) => (globalThis.network = given); {script}")

    def solved(method, image, hint, threshold, nu, steps=0):
        height, width = hint.shape
        problem = {"method": method, "width": width, "height": height, "channels": np.atleast_3d(image).shape[2]}
        problem |= {"image": image.ravel().tolist(), "hint": hint.ravel().tolist(), "threshold": threshold}
        taken, field = json.loads(page.evaluate(SOLVE, json.dumps(problem | {"nu": nu, "steps": steps})))
        return taken, np.array(field).reshape(hint.shape)

    yield solved
    page.close()


@pytest.mark.parametrize("name, nu", [("coins", 0.25), ("coffee", 0), ("coffee", 4)])
def test_the_solver_takes_the_steps_of_python(solve, name, nu):
    image = as_image(resize(samples.load(name).image, (48, 64)))
    start = centred_disk(image.shape[:2])
    steps = []
    for step in evolve(np.atleast_3d(image), np.where(start, 1.0, -1.0), nu, 0.5, 20):
        steps.append(step)
        if step[1] <= 1e-3:
            break
    taken, phi = solve("ChanVese", image, start.astype(float), 0.5, nu, 20)
    assert taken == len(steps)
    assert np.allclose(phi, steps[-1][0], rtol=1e-4, atol=1e-4)
    _, phi = solve("ChanVese", image, start.astype(float), 0.5, nu)
    assert iou(phi > 0, chan_vese(image, start, nu=nu).mask) >= 0.98


@pytest.mark.parametrize(
    "name, nu", [("astronaut", 600), ("camera", 600), ("coffee", 100), ("coins", 600), ("modes-ring", 4000)]
)
def test_the_regression_finds_the_mask_of_python(solve, name, nu):
    """Two minima may differ in pixels by which the energy changes less than the tolerance; measured, none does."""
    sample = samples.load(name)
    shape = working_shape(sample.image.shape[:2], 64)
    image = as_image(resize(sample.image, shape))
    hint = np.round(255 * gaussian_filter(resize(sample.mask.astype(np.float32), shape), 3)).astype(np.float32) / 255
    _, field = solve("Ridge", image, hint, float(threshold_otsu(hint)), nu)
    assert iou(field > 0, ridge(image, hint, nu=nu).mask) >= 0.9


@pytest.mark.parametrize("name, shape", [("coffee", (96, 144)), ("astronaut", (70, 64)), ("coins", (48, 64))])
def test_the_network_computes_what_python_does(solve, name, shape):
    """In single precision both; measured, memberships differ by at most 5e-5."""
    image = as_image(resize(samples.load(name).image, shape))
    _, field = solve("TrainedNetwork", image, np.zeros(shape), 0.5, 0)
    found = pretrained.segment("amortized", image)
    np.testing.assert_allclose((field + 1) / 2, found.memberships[1], atol=5e-3)
    assert iou(field > 0, found.mask) >= 0.9


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(browser):
    """The page, opened from the disk once."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1400}, accept_downloads=True)
    opened.trouble = []
    opened.on("console", lambda message: message.type == "error" and opened.trouble.append(message.text))
    opened.on("pageerror", lambda error: opened.trouble.append(str(error)))
    opened.on("request", lambda request: urlsplit(request.url).netloc and opened.trouble.append(request.url))
    opened.goto(PAGE.as_uri())
    wait(opened)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def without_trouble(request):
    """No test leaves an error in the console, and none makes the page ask another host."""
    yield
    if "page" in request.fixturenames:
        assert request.getfixturevalue("page").trouble == []


def wait(page):
    page.wait_for_selector("#picture[aria-busy=false]")


def png(pixels, **options):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "png", **options)
    return written.getvalue()


def choose(page, name, content):
    page.locator("#picture-choose").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    return said_of(page, name)


def said_of(page, name):
    page.wait_for_function("name => document.querySelector('#picture-file').textContent.includes(name)", arg=name)
    wait(page)
    return page.locator("#picture-file").inner_text()


def download(page, what):
    with page.expect_download() as download:
        page.click(f"#picture-write-{what}")
    assert download.value.suggested_filename.endswith(f"-{what}.png")
    with Image.open(download.value.path()) as picture:
        return np.asarray(picture)


def mask_of(page, what="mask"):
    wait(page)
    return download(page, what)[..., 0] >= 127


def draw(page, tool, *places):
    """Drag through places given as shares of the width and the height."""
    page.check(f"input[name=tool][value={tool}]")
    shown = page.locator("#picture-canvas").bounding_box()
    for index, (x, y) in enumerate(places):
        page.mouse.move(shown["x"] + x * shown["width"], shown["y"] + y * shown["height"], steps=4)
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def set_nu(page, exponent):
    page.locator("#picture-nu").fill(str(exponent))


@pytest.fixture
def coffee(page):
    """A photograph in the page, and its pixels, small enough to be solved at its own size."""
    pixels = resize(samples.load("coffee").image, (96, 144))
    set_nu(page, 2)
    choose(page, "coffee.png", png(pixels))
    return pixels


@needs_page
@pytest.mark.parametrize("name", ["coffee", "coins"])
def test_a_mask_is_that_of_python(page, name):
    pixels = resize(samples.load(name).image, (96, 144))
    said = choose(page, f"{name}.png", png(pixels))
    assert "144 × 96" in said
    hint = download(page, "hint")[..., 0]
    for exponent in (0, 3):
        set_nu(page, exponent)
        mask = mask_of(page)
        assert mask.shape == pixels.shape[:2] and 0 < mask.mean() < 1
        assert iou(mask, chan_vese(pixels, hint, nu=2**exponent).mask) >= 0.98
    page.check("input[name=method][value=ridge]")
    assert page.locator("#picture-nu-value").inner_text() == "600"
    mask = mask_of(page)
    assert 0 < mask.mean() < 1 and "rounds" in page.locator("#picture-result").inner_text()
    assert iou(mask, ridge(pixels, hint).mask) >= 0.9
    page.check("input[name=method][value=network]")
    mask = mask_of(page)
    assert "1 pass" in page.locator("#picture-result").inner_text() and page.locator("#picture-nu").is_disabled()
    assert iou(mask, pretrained.segment("amortized", pixels).mask) >= 0.9
    page.check("input[name=method][value=chan-vese]")


@needs_page
@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page, kind):
    give = """([kind, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(content)], `${kind}.png`, {type: "image/png"}));
        const options = {dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true};
        document.body.dispatchEvent(new (kind === "drop" ? DragEvent : ClipboardEvent)(kind, options));
    }"""
    page.evaluate(give, [kind, list(png(np.eye(20, 30, dtype=np.uint8) * 255))])
    assert "30 × 20" in said_of(page, f"{kind}.png")


@needs_page
def test_nu_moves_the_contour_and_says_so(page, coffee):
    found = {}
    for key in ("Home", "End"):
        page.focus("#picture-nu")
        page.keyboard.press(key)
        found[key] = mask_of(page)
        assert f"takes {100 * found[key].mean():.1f} %" in page.locator("#picture-result").inner_text()
    assert page.locator("#picture-nu-value").inner_text() == "64"
    assert iou(found["Home"], found["End"]) < 0.95


@needs_page
def test_the_threshold_moves_the_start(page, coffee):
    shares = []
    for threshold in ("0.05", "0.95"):
        page.locator("#picture-threshold").fill(threshold)
        shares.append(mask_of(page).mean())
        assert page.locator("#picture-threshold-value").inner_text() == threshold
    assert shares[0] > shares[1]
    page.click("#picture-clear")


@needs_page
def test_drawing_changes_the_mask(page, coffee):
    before = mask_of(page)
    draw(page, "background", (0.4, 0.5), (0.6, 0.5))
    after = mask_of(page)
    assert not after[48, 60:84].any(), "a stroke keeps its side"
    draw(page, "object", (0.1, 0.1), (0.3, 0.1))
    assert mask_of(page)[10, 17:40].all()
    page.check("input[name=method][value=ridge]")
    drawn = mask_of(page)
    assert drawn[10, 17:40].all() and not drawn[48, 60:84].any()
    page.check("input[name=method][value=chan-vese]")
    page.click("#picture-clear")
    set_nu(page, 2)
    assert (mask_of(page) == before).all()
    draw(page, "box", (0.25, 0.25), (0.75, 0.75))
    boxed = mask_of(page)
    assert boxed.any() and not boxed[:22].any() and not boxed[:, 112:].any()
    page.click("#picture-clear")


@needs_page
def test_keys_draw(page, coffee):
    page.check("input[name=tool][value=box]")
    page.focus("#picture-canvas")
    for key in [" ", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "Shift+ArrowLeft", "Enter"]:
        page.keyboard.press(key)
    mask = mask_of(page, "hint")
    assert mask[48:59, 72:82].all() and mask.sum() == 11 * 10


@needs_page
def test_sides_swap_and_the_object_is_cut_out(page, coffee):
    before = mask_of(page)
    page.click("#picture-swap")
    assert (mask_of(page) != before).all()
    cut = download(page, "cut-out")
    assert ((cut[..., 3] == 255) != before).all() and (cut[~before, :3] == coffee[~before]).all()
    seen = set()
    for view in ("overlay", "mask", "cut-out", "hint", "contour"):
        page.check(f"input[name=view][value={view}]")
        page.evaluate("new Promise(requestAnimationFrame)")
        seen.add(page.evaluate("document.querySelector('#picture-canvas').toDataURL()"))
    assert len(seen) == 5


@needs_page
def test_photographs_are_turned_upright(page, coffee):
    upright = mask_of(page)
    turned = Image.Exif()
    turned[0x112] = 8  # to be turned by 90° anticlockwise
    assert "144 × 96" in choose(page, "turned.png", png(np.rot90(coffee, -1).copy(), exif=turned))
    assert iou(mask_of(page), upright) > 0.99


@needs_page
def test_what_the_page_changes_it_says(page):
    disk = centred_disk((60, 90))
    pixels = np.dstack((np.full((60, 90, 3), 40, np.uint8), np.where(disk, 255, 0).astype(np.uint8)))
    assert "counts as white" in choose(page, "clear.png", png(pixels))
    assert iou(mask_of(page), disk) > 0.95
    huge = Image.fromarray(disk).resize((4200, 4000))
    assert "reduced to" in choose(page, "huge.png", png(np.asarray(huge), compress_level=1))


@needs_page
@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("broken.png", png(np.eye(50, dtype=np.uint8))[:40], "is no picture that this browser can read"),
        ("text.jpg", b"no picture", "is no picture that this browser can read"),
        ("plain.png", png(np.full((50, 50), 9, np.uint8)), "has one colour"),
        ("tiny.png", png(np.eye(5, dtype=np.uint8)), "both sides need at least 8"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(page, coffee, name, content, sentence):
    said = choose(page, name, content)
    assert sentence in said and said.count(".") == 2  # the file's name has one
    assert mask_of(page).shape == (96, 144), "the last picture stays"


@needs_page
def test_every_control_has_a_label(page):
    unnamed = page.evaluate("""
        [...document.querySelectorAll("#picture :is(input, button, canvas)")]
            .filter((control) => !(control.labels?.[0] ?? control).textContent.trim() && !control.ariaLabel)
            .map((control) => control.id)
    """)
    assert unnamed == []
