"""What may come in, what is refused and how it is said; reading and writing picture files."""

import io
import re
import struct
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from deepcv import images
from deepcv.errors import InputError
from deepcv.images import as_hint, as_image
from deepcv.pictures import read_image, write_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def refused(function, *arguments, **options) -> str:
    """The sentence with which the arguments are refused: one line, and a remedy after a semicolon or a comma."""
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and re.search("[;,] ", sentence), sentence
    return sentence


@pytest.mark.parametrize("image", [RGB, GREY, RGB / 255, GREY.astype(np.float32) / 255], ids=str)
def test_an_image_becomes_float32_in_0_1(image):
    checked = as_image(image)
    assert checked.dtype == np.float32 and checked.shape == image.shape and checked.flags.c_contiguous
    np.testing.assert_allclose(checked, image / 255 if image.dtype == np.uint8 else image, atol=1e-6)


def test_an_image_need_not_be_contiguous_and_is_not_changed():
    image = (RGB / 255).astype(np.float32)
    turned = as_image(image[::-1, ::2])
    turned[:] = 0
    assert image.max() > 0
    np.testing.assert_array_equal(as_image(image), image)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("photo.jpg", "the image is 'photo.jpg'; pass its pixels"),
        (None, "the image is None; pass its pixels"),
        (RGB[:1], "1×30 pixels"),
        (RGB[:, :7], "20×7 pixels"),
        (np.dstack([RGB, GREY]), r"\(20, 30, 4\)"),
        (RGB[None], r"\(1, 20, 30, 3\)"),
        (RGB.astype(np.uint16), "uint16"),
        (GREY > 9, "bool"),
        (np.where(GREY > 200, np.nan, 0.5), "NaN"),
        (np.where(GREY > 200, np.inf, 0.5), "infinite"),
        (RGB.astype(float), r"\[0, 255\]"),
        (RGB / 255 - 0.5, r"\[-0.5, 0.5\]"),
        (np.zeros((20, 30), np.uint8), "one colour"),
        (np.full((20, 30, 3), (10, 200, 30), np.uint8), "one colour"),
    ],
)
def test_what_is_no_image_is_refused(image, says):
    assert re.search(says, refused(as_image, image))


def test_floats_beyond_0_to_1_by_rounding_are_clipped():
    image = np.where(GREY > 100, np.nextafter(np.float32(1), 2), np.float32(-1e-8)).astype(np.float32)
    np.testing.assert_array_equal(as_image(image), GREY > 100)
    np.testing.assert_array_equal(as_hint(image, image.shape), GREY > 100)
    assert "[0, 1.00001]" in refused(as_image, np.where(GREY > 100, 1.00001, 0))


@pytest.mark.parametrize("hint", [GREY, GREY / 255, GREY > 100])
def test_a_hint_becomes_float32_in_0_1(hint):
    checked = as_hint(hint, (20, 30))
    assert checked.dtype == np.float32 and 0 <= checked.min() < checked.max() <= 1


@pytest.mark.parametrize(
    ("hint", "says"),
    [
        (GREY.T, r"\(30, 20\) but the image is \(20, 30\)"),
        (RGB, r"\(20, 30, 3\)"),
        (np.where(GREY > 200, np.nan, 0.5), "NaN"),
        (GREY.astype(float), r"\[0, 255\]"),
        (GREY.astype(int), "int64"),
        (np.ones((20, 30)), "1 everywhere"),
        (np.zeros((20, 30), bool), "0 everywhere"),
    ],
)
def test_what_is_no_hint_is_refused(hint, says):
    assert re.search(says, refused(as_hint, hint, (20, 30)))


def test_levels_survive_the_way_to_float_and_back():
    np.testing.assert_array_equal(images.to_uint8(as_image(RGB)), RGB)


@pytest.mark.parametrize("shape", [(10, 15), (40, 60), (20, 30)])
def test_resizing_keeps_the_mean_of_a_ramp_and_the_channels(shape):
    ramp = np.repeat(np.linspace(0, 1, 30, dtype=np.float32)[None], 20, axis=0)
    resized = images.resize(np.stack([ramp] * 5, axis=2), shape)
    assert resized.shape == (*shape, 5)
    np.testing.assert_allclose(resized.mean(axis=(0, 1)), ramp.mean(), atol=0.01)


@pytest.mark.parametrize("shape", [(683, 1024), (60, 90), (3000, 3001)])
def test_resizing_stays_in_the_range(shape):
    disc = (np.hypot(*(np.mgrid[:2000, :3000] - np.array([900, 1400])[:, None, None])) < 600).astype(np.float32)
    resized = images.resize(disc, shape)
    assert resized.min() >= 0 and resized.max() <= 1


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [((4000, 6000), 300, (200, 300)), ((200, 100), 300, (200, 100)), ((9000, 90), 300, (300, 8))],
)
def test_working_shape(shape, longest, expected):
    assert images.working_shape(shape, longest) == expected


def saved(path, array_or_picture, **options):
    picture = array_or_picture if isinstance(array_or_picture, Image.Image) else Image.fromarray(array_or_picture)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "webp"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_a_picture_is_read_as_it_was_saved(tmp_path, pixels, ending):
    options = {"lossless": True} if ending == "webp" else {}
    read = read_image(saved(tmp_path / f"p.{ending}", pixels, **options))
    np.testing.assert_array_equal(images.as_colour(read), images.as_colour(pixels))


def test_palettes_and_bilevel_pictures_are_read(tmp_path):
    assert read_image(saved(tmp_path / "p.png", Image.fromarray(RGB).convert("P"))).shape == (20, 30, 3)
    bilevel = read_image(saved(tmp_path / "1.png", Image.fromarray(GREY).convert("1")))
    assert set(np.unique(bilevel)) == {0, 255} and bilevel.dtype == np.uint8


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    read = read_image(saved(tmp_path / "p.png", RGB, exif=exif))
    np.testing.assert_array_equal(read, np.rot90(RGB, -1))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_damaged_exif_data_do_not_matter(tmp_path, suffix):
    path = saved(tmp_path / f"p.{suffix}", RGB, lossless=True, exif=b"Exif\0\0nothing of the kind")
    np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("layers", [0, 2])
def test_a_photoshop_project_is_a_still_picture_of_all_its_layers(tmp_path, layers):
    height, width, channels = RGB.shape
    layer = struct.pack(">4iH16x", 0, 0, height, width, 0)
    about = struct.pack(">h", layers) + layers * layer
    about = struct.pack(">I", len(about)) + about if layers else b""
    head = b"8BPS" + struct.pack(">H6xHIIHH8xI", 1, channels, height, width, 8, 3, len(about))
    (tmp_path / "p.psd").write_bytes(head + about + b"\0\0" + np.moveaxis(RGB, 2, 0).tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "p.psd"), RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "p.psd", page=1), RGB)


def test_a_phones_jpeg_with_a_second_view_is_a_still_picture(tmp_path):
    path = saved(tmp_path / "p.jpg", RGB, format="MPO", save_all=True, append_images=[Image.fromarray(RGB)])
    with Image.open(path) as picture:
        assert picture.n_frames == 2
    assert read_image(path).shape == RGB.shape


def _animation(path):
    return saved(path, RGB, save_all=True, append_images=[Image.fromarray(255 - RGB)])


def _deep(path, colour):
    levels = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    cv2.imwrite(str(path), np.dstack([levels] * 3) if colour else levels)
    return path


def _transparent(path):
    return saved(path, np.dstack([RGB, np.zeros((20, 30), np.uint8)]))


TO_CONVERT = {
    "animated GIF": (lambda folder: _animation(folder / "p.gif"), "2 frames"),
    "16-bit grey": (lambda folder: _deep(folder / "p.png", False), "16-bit"),
    "16-bit colour": (lambda folder: _deep(folder / "p.png", True), "16-bit"),
    "16-bit TIFF": (lambda folder: _deep(folder / "p.tif", True), "16-bit"),
    "float": (lambda folder: saved(folder / "p.tif", GREY.astype(np.float32)), "float"),
    "alpha": (lambda folder: _transparent(folder / "p.png"), "alpha"),
    "one transparent colour": (
        lambda folder: saved(folder / "p.png", RGB, transparency=tuple(map(int, RGB[3, 4]))),
        "alpha",
    ),
    "CMYK": (lambda folder: saved(folder / "p.jpg", Image.fromarray(RGB).convert("CMYK")), "CMYK"),
}


@pytest.mark.parametrize(("make", "says"), TO_CONVERT.values(), ids=TO_CONVERT)
def test_what_would_lose_information_is_converted_only_when_asked(tmp_path, make, says):
    path = make(tmp_path)
    sentence = refused(read_image, path)
    assert says in sentence and "--convert" in sentence and str(path) in sentence
    converted = read_image(path, convert=True)
    assert converted.dtype == np.uint8 and converted.shape[:2] == (20, 30) and converted.ndim in (2, 3)


def test_conversions_do_what_they_say(tmp_path):
    assert (read_image(_transparent(tmp_path / "alpha.png"), convert=True) == 255).all()
    grey = read_image(_deep(tmp_path / "16.png", False), convert=True)
    np.testing.assert_allclose(grey, np.linspace(0, 255, 600).reshape(20, 30), atol=0.8)
    first = read_image(_animation(tmp_path / "two.gif"), convert=True)
    assert np.abs(first.astype(int) - RGB).mean() < np.abs(first.astype(int) - (255 - RGB)).mean()


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere.png; check"):
        read_image(tmp_path / "nowhere.png")
    assert "is a folder" in refused(read_image, tmp_path)
    assert "check the name" in refused(read_image, tmp_path / ("x" * 300))


@pytest.mark.parametrize("options", [{"page": "1"}, {"channel": 1.0}, {"percentiles": "1,99"}, {"percentiles": 5}])
def test_arguments_of_another_type_are_named(tmp_path, options):
    path = saved(tmp_path / "p.png", RGB)
    assert f"{next(iter(options))} is {next(iter(options.values()))!r}" in refused(read_image, path, **options)


def test_what_is_no_picture_is_refused(tmp_path):
    for content in (b"", b"words", b"\x89PNG\r\n\x1a\n"):
        path = tmp_path / "p.png"
        path.write_bytes(content)
        assert str(path) in refused(read_image, path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_a_picture_cut_short_anywhere_is_refused(tmp_path, kind, recwarn):
    whole = io.BytesIO()
    Image.fromarray(RGB).save(whole, kind)
    whole = whole.getvalue()
    path = tmp_path / "p"
    for length in np.linspace(0, len(whole) - 25, 40, dtype=int):  # the last bytes hold checksums and padding
        path.write_bytes(whole[:length])
        refused(read_image, path)
    assert not recwarn.list


def test_8_bits_are_checked_without_a_copy():
    large = np.arange(9_000_000).astype(np.uint8).reshape(1500, 2000, 3)
    tracemalloc.start()
    try:
        assert images.checked(large) is large
        assert tracemalloc.get_traced_memory()[1] < large.nbytes / 4
    finally:
        tracemalloc.stop()
    hidden = np.zeros((600, 600), np.uint8)
    hidden[501, 501] = 1  # not among the pixels that are looked at first
    assert images.checked(hidden) is hidden
    np.testing.assert_array_equal(images.checked(RGB / 255), as_image(RGB / 255))
    for wrong in (np.zeros((20, 20), np.uint8), RGB[:5], RGB[..., :2], RGB.astype(int), np.uint8(3), RGB[0, 0]):
        assert refused(images.checked, wrong) == refused(as_image, wrong)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "p.png"
    write_image(path, RGB)
    np.testing.assert_array_equal(read_image(path), RGB)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_image(path, RGB[None, None])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["p.png"]


def test_true_is_written_white_and_other_numbers_are_refused(tmp_path):
    mask = RGB[..., 0] > 100
    for name in ("p.png", "p.tif"):
        write_image(tmp_path / name, mask)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.where(mask, 255, 0))
    for dtype in (float, np.float32, int, np.int8):
        assert f"array of {np.dtype(dtype)}; make it uint8" in refused(
            write_image, tmp_path / "q.png", mask.astype(dtype)
        )
    assert not (tmp_path / "q.png").exists()


def test_where_no_picture_can_be_written_is_named(tmp_path):
    assert "make it first" in refused(write_image, tmp_path / "nowhere" / "p.png", RGB)
    assert "call it p.png" in refused(write_image, tmp_path / "p.xyz", RGB)


def test_more_pixels_than_a_format_holds_are_named(tmp_path):
    assert "call it p.png" in refused(write_image, tmp_path / "p.webp", np.zeros((1, 16384, 4), np.uint8))
