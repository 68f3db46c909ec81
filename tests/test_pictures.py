"""Picture files of every depth, number of channels and pages that people have: each is read rightly or refused."""

import functools
import io
import re
import struct
import sys
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from deepcv import rasters
from deepcv.errors import InputError
from deepcv.levels import Samples, eight_bits
from deepcv.pictures import enlarged, is_cut_off, note_in, read_image, read_picture, with_note, write_images

Y, X = np.mgrid[:48, :64]
DISK = (Y - 24) ** 2 + (X - 30) ** 2 < 15**2
GREY = np.where(DISK, 180, 60)
COLOUR = np.stack([GREY * 16, 4095 - GREY * 16, np.full_like(GREY, 1500)], axis=2).astype(np.uint16)


def refused(path, **options) -> str:
    """The sentence with which a picture is refused: one line with its name and a remedy."""
    with pytest.raises(InputError) as caught:
        read_image(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and str(path) in sentence and re.search("[;,] ", sentence), sentence
    return sentence


def levels(path, **options):
    """Medians of the first channel in the disk and around it."""
    pixels = read_image(path, **options)
    assert pixels.dtype == np.uint8 and pixels.shape[:2] == GREY.shape
    first = pixels if pixels.ndim == 2 else pixels[..., 0]
    return int(np.median(first[DISK])), int(np.median(first[~DISK]))


def tiff(folder, array, name="p.tif", **options):
    tifffile.imwrite(folder / name, array, **options)
    return folder / name


DEEP = {
    "int16": (GREY - 128).astype(np.int16) * 100,
    "uint16": (GREY * 16).astype(np.uint16),
    "uint32": GREY.astype(np.uint32) << 24,
    "int32": (GREY - 128).astype(np.int32) << 20,
    "uint64": GREY.astype(np.uint64) << 50,
    "float16": GREY.astype(np.float16) / 8,
    "float32": GREY.astype(np.float32) * 1e3,
    "float64": GREY.astype(np.float64) * 1e30,
}


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", DEEP)
def test_deep_samples_are_stretched_when_asked(tmp_path, kind, byteorder):
    path = tiff(tmp_path, DEEP[kind], byteorder=byteorder)
    assert f"{'float' if 'float' in kind else kind.lstrip('uint') + '-bit'} samples" in refused(path)
    assert levels(path, convert=True) == levels(path, percentiles=(0, 100)) == (255, 0)
    assert "--range" in " ".join(read_picture(path, convert=True).notes)


def test_signed_8_bit_samples_keep_their_order(tmp_path):
    assert levels(tiff(tmp_path, (GREY - 128).astype(np.int8))) == (180, 60)


def test_bits_and_nibbles_are_read(tmp_path):
    assert levels(tiff(tmp_path, DISK, photometric="minisblack")) == (255, 0)
    path = tmp_path / "bits.tif"
    Image.fromarray(DISK).save(path, compression="group4")
    assert levels(path) == (255, 0)


def test_colours_are_stretched_alike(tmp_path):
    path = tiff(tmp_path, COLOUR, photometric="rgb")
    assert levels(path, convert=True) == (225, 0)
    floats = tiff(tmp_path, COLOUR.astype(np.float32) / 4095, "f.tif", photometric="rgb")
    np.testing.assert_allclose(read_image(floats, convert=True), read_image(path, convert=True), atol=1)


def test_a_hot_pixel_does_not_eat_the_contrast(tmp_path):
    hot = GREY.astype(np.float32)
    hot[0, 0] = 1e6
    path = tiff(tmp_path, hot)
    assert levels(path, convert=True) == (255, 0)
    assert levels(path, percentiles=(0, 100)) == (0, 0)
    almost_black = np.zeros(GREY.shape, np.uint16)
    almost_black[3, 4] = 9
    assert read_image(tiff(tmp_path, almost_black), convert=True)[3, 4] == 255


def test_percentiles_apply_to_8_bits_when_asked_and_must_increase(tmp_path):
    path = tiff(tmp_path, GREY.astype(np.uint8))
    assert levels(path) == (180, 60) and levels(path, percentiles=(1, 99)) == (255, 0)
    for limits in ((50, 50), (-1, 99), (0, 101)):
        with pytest.raises(InputError, match="two percentiles from 0 to 100"):
            read_image(path, percentiles=limits)


@pytest.mark.parametrize("path", [None, [[1, 2]], b"p.png"])
def test_a_path_is_the_name_of_a_file(path):
    with pytest.raises(InputError, match=r"picture's path is .*; give the name of a file"):
        read_image(path)


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    assert "NaN" in refused(tiff(tmp_path, np.where(DISK, np.nan, 1).astype(np.float32)), convert=True)
    assert "complex64" in refused(tiff(tmp_path, GREY.astype(np.complex64)), convert=True)


def geotiff(folder, array, no_data, **options):
    """With pixels that GDAL marks as having no data."""
    return tiff(folder, array, extratags=[(42113, "s", 0, no_data, True)], **options)


@pytest.mark.parametrize(
    ("dtype", "no_data"),
    [
        (np.float32, -9999),
        (np.float32, np.nan),
        (np.float32, -np.finfo(np.float32).max),
        (np.int16, 32767),
        (np.uint16, 0),
    ],
)
@pytest.mark.parametrize("longest", [None, 32])
def test_pixels_without_data_take_no_contrast_and_are_black(tmp_path, dtype, no_data, longest):
    values = (GREY * 16).astype(dtype)
    values[:, :8] = no_data
    path = geotiff(tmp_path, values, str(no_data))
    found = read_picture(path, convert=True, longest=longest)
    assert f"{1 / 8:.1%} of the pixels have no data" in found.notes[0]
    pixels, step = found.pixels, 1 if longest is None else 2
    disk, around = DISK[::step, ::step], ~DISK[::step, ::step]
    around[:, : 8 // step + 1] = False
    assert np.median(pixels[disk]) == 255 and np.median(pixels[around]) == 0 and not pixels[:, : 8 // step].any()


def test_pixels_without_data_are_those_of_all_channels_and_a_value_that_no_sample_can_have_is_none(tmp_path):
    values = np.stack([GREY, GREY, np.zeros_like(GREY)], axis=2).astype(np.uint8)
    assert not read_picture(geotiff(tmp_path, values, "0", photometric="rgb")).notes
    values[0] = 0
    assert "have no data (0)" in read_picture(geotiff(tmp_path, values, "0", photometric="rgb")).notes[0]
    for impossible in ("-9999", "1.5", "none"):
        assert levels(geotiff(tmp_path, GREY.astype(np.uint8), impossible)) == (180, 60)
    assert "no data: all its samples are 7" in refused(geotiff(tmp_path, np.full((9, 9), 7, np.uint8), "7"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_values_are_bright_where_white_is_zero(tmp_path, dtype):
    path = tiff(tmp_path, GREY.astype(dtype), photometric="miniswhite")
    bright, dark = levels(path, convert=True)
    assert bright < dark


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_channels_are_chosen_or_taken_as_colours(tmp_path, count, planar):
    channels = [np.full(GREY.shape, 9 * number, np.uint8) for number in range(count)]
    channels[1] = GREY.astype(np.uint8)
    stored = np.stack(channels, axis=2 if planar == "contig" else 0)
    path = tiff(tmp_path, stored, photometric="minisblack", planarconfig=planar)
    assert levels(path, channel=2) == (180, 60)
    assert levels(path, channel=count)[0] == channels[-1][24, 30]
    assert f"no channel {count + 1}" in refused(path, channel=count + 1)
    if count != 3:
        assert f"{count} channels; choose one with --channel 1 to {count}" in refused(path)
        assert f"of {count} channels" in read_picture(path, convert=True).notes[0]
    colours = read_image(path, convert=True)
    np.testing.assert_array_equal(colours[..., 1], GREY)
    assert colours.shape == (*GREY.shape, 3)


def test_a_channel_of_a_photograph_is_grey(tmp_path):
    Image.fromarray((COLOUR >> 4).astype(np.uint8)).save(tmp_path / "p.png")
    assert levels(tmp_path / "p.png", channel=2) == (75, 195)
    assert "no channel 4" in refused(tmp_path / "p.png", channel=4)


def z_stack(folder, **options):
    stack = np.stack([np.full_like(GREY, 7), GREY, GREY // 2, GREY // 3]).astype(np.uint8)
    return tiff(folder, stack, photometric="minisblack", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"truncate": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "TYX"}, "compression": "zlib"},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"metadata": None},
    ],
    ids=str,
)
def test_a_stack_is_read_page_by_page(tmp_path, options):
    path = z_stack(tmp_path, **options)
    assert "4 pages; choose one with --page 1 to 4" in refused(path)
    assert levels(path, page=2) == (180, 60) and levels(path, page=3) == (90, 30)
    assert "no page 5" in refused(path, page=5)
    first = read_picture(path, convert=True)
    assert (first.pixels == 7).all() and first.notes == ("the first of 4 pages is taken; --page chooses one",)


def test_a_stack_of_three_planes_in_one_directory_is_no_colour_picture(tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", np.stack([GREY, GREY // 2, GREY // 3]).astype(np.uint8), truncate=True)
    assert "3 pages" in refused(tmp_path / "p.tif")
    assert levels(tmp_path / "p.tif", page=2) == (90, 30)


def test_an_imagej_stack_in_one_directory_has_all_its_slices(tmp_path):
    stack = np.stack([np.zeros_like(GREY), GREY, GREY // 2, GREY // 3]).astype(">u2")
    description = "ImageJ=1.54f\nimages=4\nslices=4\nloop=false\n"
    tifffile.imwrite(tmp_path / "p.tif", stack[0], byteorder=">", description=description, metadata=None)
    with open(tmp_path / "p.tif", "ab") as file:
        file.write(stack[1:].tobytes())
    assert "4 pages" in refused(tmp_path / "p.tif")
    assert levels(tmp_path / "p.tif", page=3, convert=True) == (255, 0)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_of_a_hyperstack_pages_are_slices_and_times_and_channels_are_channels(tmp_path, kind, options):
    stack = np.zeros((3, 2, 2, *GREY.shape), np.uint16)
    stack[1, 1, 1] = GREY
    path = tiff(tmp_path, stack, **{kind: True}, metadata={"axes": "TZCYX"}, **options)
    assert levels(path, page=4, channel=2, convert=True) == (255, 0)
    assert "6 pages" in refused(path) and "2 channels" in refused(path, page=4)


def test_a_thumbnail_and_a_lower_resolution_are_not_the_picture(tmp_path):
    path = tmp_path / "p.tif"
    picture = np.stack([GREY] * 3, axis=2).astype(np.uint8)
    for flag in (1, 0):  # declared, and not
        tifffile.imwrite(path, picture[::4, ::4] * 0, photometric="rgb", subfiletype=flag)
        tifffile.imwrite(path, picture, photometric="rgb", append=True)
        assert levels(path) == (180, 60)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(picture, photometric="rgb", subifds=2)
        file.write(picture[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(picture[::4, ::4], photometric="rgb", subfiletype=1)
    assert levels(tmp_path / "pyramid.tif") == (180, 60)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"rowsperstrip": 7}, {"compression": "zlib", "predictor": 2}])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_tiles_strips_and_compression_change_nothing(tmp_path, photometric, options):
    array = COLOUR if photometric == "rgb" else COLOUR[..., 0]
    plain = tiff(tmp_path, array, photometric=photometric)
    other = tiff(tmp_path, array, "other.tif", photometric=photometric, **options)
    np.testing.assert_array_equal(read_image(other, convert=True), read_image(plain, convert=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_compression_without_a_codec_is_read_otherwise(tmp_path, dtype, channels):
    array = np.repeat(GREY[..., None], channels, axis=2).astype(dtype)
    array[..., 1:] //= 2
    lzw = tmp_path / "lzw.tif"
    stored = array[..., 0] if channels == 1 else array[..., [2, 1, 0, 3][:channels]]
    cv2.imwrite(str(lzw), stored, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert levels(lzw, convert=True, channel=1, percentiles=(0, 100)) == (255, 0)


def test_a_compression_that_nothing_reads_is_named(tmp_path):
    path = tiff(tmp_path, COLOUR, photometric="rgb")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags["Compression"].valueoffset
    content[place : place + 2] = struct.pack("<H", 34887)  # LERC
    path.write_bytes(content)
    assert re.search("LERC|decode|end", refused(path, convert=True))


@pytest.mark.parametrize("photometric", ["palette", "separated"])
def test_palettes_and_other_colour_spaces_of_tiff_are_read(tmp_path, photometric):
    grey = Image.fromarray(GREY.astype(np.uint8))
    picture = grey.convert("P") if photometric == "palette" else grey.convert("RGB").convert("CMYK")
    picture.save(tmp_path / "p.tif", save_all=True, append_images=[picture])
    assert levels(tmp_path / "p.tif", page=2, convert=True) == (180, 60)
    assert read_image(tmp_path / "p.tif", page=1, convert=True).ndim == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["p.tif", "p.png"])
def test_every_orientation_is_turned_upright(tmp_path, orientation, name):
    asymmetric = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) // 13
    turned = {
        1: asymmetric,
        2: asymmetric[:, ::-1],
        3: asymmetric[::-1, ::-1],
        4: asymmetric[::-1],
        5: asymmetric.T,
        6: np.rot90(asymmetric),
        7: asymmetric[::-1, ::-1].T,
        8: np.rot90(asymmetric, -1),
    }[orientation].astype(np.uint8)
    if name == "p.tif":
        tiff(tmp_path, np.ascontiguousarray(turned), extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / name, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / name), asymmetric)


# -- alpha -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_opaque_alpha_channel_needs_no_permission(tmp_path, mode, suffix):
    path = tmp_path / f"p.{suffix}"
    grey = Image.fromarray(GREY.astype(np.uint8))
    if mode == "PA" or (mode == "LA" and suffix != "png"):
        picture = grey.convert("RGB").convert("RGBA")
    else:
        picture = grey.convert(mode)
    picture.save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert levels(path) == (180, 60)
    picture.putpixel((30, 24), (*picture.getpixel((30, 24))[:-1], 0))
    picture.save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert "alpha" in refused(path)
    pixels = read_image(path, convert=True)
    assert (pixels[24, 30] == 255).all() and np.median(pixels[DISK]) == 180


def test_deep_alpha_is_shown_over_white(tmp_path):
    for kind, most in ((np.uint16, 65535), (np.float32, 1)):
        alpha = np.where(X < 20, 0, most)
        stored = np.concatenate([COLOUR, alpha[..., None]], axis=2).astype(kind)
        path = tiff(tmp_path, stored, photometric="rgb", extrasamples=["unassalpha"])
        assert "alpha" in refused(path)
        pixels = read_image(path, convert=True)
        assert (pixels[:, :20] == 255).all() and np.median(pixels[..., 0][DISK & (X >= 20)]) == 225
        stored[..., 3] = most
        assert levels(tiff(tmp_path, stored, photometric="rgb", extrasamples=["unassalpha"]), convert=True) == (225, 0)


# -- other files -------------------------------------------------------------------------------------------------------


def deep_file(folder, suffix):
    path = folder / f"p.{suffix}"
    if suffix == "ppm":
        path.write_bytes(b"P6 64 48 4095\n" + COLOUR.astype(">u2").tobytes())
    else:
        assert cv2.imwrite(str(path), COLOUR[..., ::-1])
    return path


@pytest.mark.parametrize("suffix", ["ppm", "jp2", "png"])
def test_deep_colours_of_other_formats_are_not_cut(tmp_path, suffix):
    path = deep_file(tmp_path, suffix)
    assert "16-bit" in refused(path)
    bright, dark = levels(path, convert=True)
    assert abs(bright - 225) <= 2 and abs(dark) <= 2


@pytest.mark.parametrize("suffix", ["hdr", "pfm", "pgm"])
def test_float_colours_and_deep_grey_of_other_formats_are_read(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    cv2.imwrite(str(path), COLOUR[..., 0] if suffix == "pgm" else (COLOUR[..., ::-1] / 4095).astype(np.float32))
    assert ("16-bit" if suffix == "pgm" else "float") in refused(path)
    assert levels(path, channel=1, convert=True) == (255, 0)


def test_a_chosen_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.fromarray((GREY // divisor).astype(np.uint8)) for divisor in (1, 2, 3)]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    assert "3 frames; choose one with --page" in refused(tmp_path / "p.gif")
    assert levels(tmp_path / "p.gif", page=2) == (90, 30)


def _odd_dds():
    return (
        b"DDS "
        + struct.pack("<7I", 124, 0x1007, 48, 64, 0, 0, 0)
        + b"\0" * 44
        + struct.pack("<8I", 32, 8, 0, 0, 0, 0, 0, 0)
        + b"\0" * 20
    )


OTHERS = {
    "empty.png": (b"", "is empty"),
    "zeros.png": (b"\0" * 4000, "nothing but zeros"),
    "words.png": (b"hello, world", "text"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "drawing.svg": (b'<?xml version="1.0"?><svg width="3"/>', "SVG"),
    "paper.pdf": (b"%PDF-1.7\n\0\1", "PDF"),
    "volume.h5": (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
    "array.npy": (b"\x93NUMPY\1\0", "NumPy"),
    "zeiss.czi": (b"ZISRAWFILE\0\0", "CZI"),
    "clip.mp4": (b"\0\0\0\x18ftypmp42\0\0", "video"),
    "raw.raf": (b"FUJIFILMCCD-RAW 0201", "raw"),
    "many.zip": (b"PK\x03\x04\0\0", "ZIP"),
    "line.sgy": (b"\xc3\x40" * 2000, "seismic"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "pointer"),
    "odd.dds": (_odd_dds(), "can't be decoded"),
    "nodims.tif": (b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 259, 3, 1, 1) + b"\0\0\0\0", "width and height"),
    "short.tif": (b"II*\0\x08\0\0\0", "end|width"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_picture_is_called_what_it_is(tmp_path, name):
    content, says = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    sentence = refused(tmp_path / name)
    assert re.search(says, sentence)
    assert "fetch it again" not in sentence or "empty" in sentence or "zeros" in sentence


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "TIFF", "DDS", "GIF", "BMP", "TGA", "PPM", "ICO", "SGI", "PCX", "JPEG2000"]
)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, kind):
    whole = io.BytesIO()
    Image.fromarray((COLOUR >> 4).astype(np.uint8)).save(whole, kind)
    random, path = np.random.default_rng(0), tmp_path / "p"
    for _ in range(60):
        damaged = np.frombuffer(whole.getvalue(), np.uint8).copy()
        places = random.integers(0, min(len(damaged), 400), 5)
        damaged[places] = random.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path, convert=True).dtype == np.uint8
        except InputError as error:
            assert "\n" not in str(error)


# -- large pictures ----------------------------------------------------------------------------------------------------


def test_a_note_is_found_where_it_was_written_and_nowhere_else(tmp_path):
    mask = np.tile(np.array([0, 255], np.uint8), (9, 5))
    path = tmp_path / "mask.png"
    write_images({path: with_note(path, mask, "ab12 0.935")})
    np.testing.assert_array_equal(read_image(path), mask)
    assert note_in(path) == "ab12 0.935" and not is_cut_off(path)
    whole = path.read_bytes()
    Image.open(path).save(path)
    assert note_in(path) is None and not is_cut_off(path)
    path.write_bytes(whole[:-12] + b"\0\0\0\x03tEXta\0b1234" + whole[-12:])  # another program's is the last
    assert note_in(path) is None
    path.write_bytes(whole[:-9])
    assert note_in(path) is None and is_cut_off(path)
    assert with_note(tmp_path / "mask.bmp", mask, "ab12") is mask
    write_images({(tiff := tmp_path / "mask.tif"): with_note(tiff, mask.astype(np.uint16) * 200, "ab12 0.935")})
    assert note_in(tiff) == "ab12 0.935" and np.asarray(Image.open(tiff)).max() == 200 * int(mask.max())
    Image.fromarray(mask).save(tiff)
    assert note_in(tiff) is None
    assert note_in(tmp_path / "none.png") is None and is_cut_off(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_long_thin_picture_keeps_the_smallest_side_when_it_is_reduced(tmp_path, suffix):
    path = tmp_path / f"thin{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 4096, 3), dtype=np.uint8)).save(path)
    assert read_picture(path, longest=512).pixels.shape == (8, 512, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "deep.tif", "palette.png"])
def test_a_large_picture_is_reduced_while_it_is_read(tmp_path, suffix):
    large = cv2.resize(GREY.astype(np.uint8), (1600, 1200), interpolation=cv2.INTER_LINEAR)
    path = tmp_path / f"p.{suffix}"
    if suffix == "deep.tif":
        tiff(tmp_path, large.astype(np.uint16) * 100, path.name)
    else:
        Image.fromarray(large).convert("P" if "palette" in suffix else "RGB").save(path)
    whole = read_picture(path, convert=True)
    reduced = read_picture(path, convert=True, longest=200)
    assert whole.pixels.shape[:2] == whole.shape == reduced.shape == (1200, 1600)
    assert reduced.pixels.shape[:2] == (150, 200)
    expected = cv2.resize(whole.pixels, (200, 150), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.pixels.astype(int) - expected).mean() < 2
    np.testing.assert_array_equal(read_picture(path, convert=True, longest=1600).pixels, whole.pixels)


def test_files_that_are_read_at_the_same_time_leave_warnings_and_messages_as_they_were(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "p.png")
    for context in (functools.partial(rasters.opened, tmp_path / "p.png"), rasters._quiet_opencv):
        before = list(warnings.filters), cv2.utils.logging.getLogLevel()
        first, second = context(), context()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # as in two threads: not the last to come first
        second.__exit__(None, None, None)
        assert (warnings.filters, cv2.utils.logging.getLogLevel()) == before


def test_more_pixels_than_memory_holds_are_refused(tmp_path):
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "bomb.bmp").write_bytes(header)
    assert "3600 million pixels" in refused(tmp_path / "bomb.bmp")


@pytest.mark.parametrize("phases", [2, 3, 5])
def test_labels_are_enlarged_without_new_ones(phases):
    labels = (X * phases // 64).astype(np.uint8)
    large = enlarged(labels, phases, (480, 640))
    assert set(np.unique(large)) == set(range(phases))
    assert np.mean(large == np.arange(640) * phases // 640) > 0.95


# -- extras ------------------------------------------------------------------------------------------------------------


def test_formats_of_an_extra_name_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name, content in (("p.dcm", b"\0" * 128 + b"DICM"), ("p.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")):
        (tmp_path / name).write_bytes(content)
        assert "install the extra `formats`" in refused(tmp_path / name)


def dicom(folder, pixels, **more):
    """A DICOM file of 16-bit samples."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(folder / "p.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, more.pop("photometric", "MONOCHROME2")
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    for name, value in more.items():
        setattr(data, name, value)
    data.PixelData = pixels.astype("<i2").tobytes()
    data.save_as(folder / "p.dcm", enforce_file_format=False)
    return folder / "p.dcm"


def test_a_cut_avif_is_no_video(tmp_path):
    (tmp_path / "p.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    assert "is an AVIF picture that is damaged or cut short" in refused(tmp_path / "p.avif")


def test_dicom_is_shown_in_its_window(tmp_path):
    pytest.importorskip("pydicom", reason="install the extra `formats`")
    assert "has 16-bit samples and no window of its own; save" in refused(dicom(tmp_path, GREY))
    tomogram = dicom(tmp_path, GREY, Modality="CT", BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024)
    assert "12-bit CT samples in HU and no window of its own; save it as 8-bit, or pass --range" in refused(tomogram)
    assert levels(dicom(tmp_path, GREY), convert=True) == (255, 0)
    window = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": [-784, 0], "WindowWidth": [481, 2]}
    bright, dark = levels(dicom(tmp_path, GREY, **window))  # from -1024.5 to -544.5
    assert abs(bright - 191.5) <= 1 and abs(dark - 64) <= 1
    turned, light = levels(dicom(tmp_path, GREY, **window, photometric="MONOCHROME1"))
    assert (turned, light) == (255 - bright, 255 - dark)
    frames = dicom(tmp_path, np.stack([GREY * 0, GREY]), **window)
    assert "2 frames" in refused(frames) and levels(frames, page=2) == (bright, dark)
    assert levels(dicom(tmp_path, np.where(GREY == 180, 1, 0), BitsStored=1, HighBit=0, PixelRepresentation=0)) == (
        255,
        0,
    )


def test_a_window_holds_for_8_bits_too():
    found = eight_bits(
        Samples(GREY.astype(np.uint8), window=(50.0, 200.0)),
        "p.dcm",
        convert=False,
        channel=None,
        percentiles=None,
        longest=None,
    )
    assert np.unique(found[0]).tolist() == [17, 221]


def test_heic_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="install the extra `formats`")
    heif.register_heif_opener()
    Image.fromarray(np.stack([GREY] * 3, axis=2).astype(np.uint8)).save(tmp_path / "p.heic", quality=95)
    bright, dark = levels(tmp_path / "p.heic")
    assert abs(bright - 180) < 6 and abs(dark - 60) < 6
    deep = heif.from_bytes("RGB;16", (8, 8), np.zeros((8, 8, 3), "<u2").tobytes())
    deep.save(tmp_path / "deep.heic")
    assert "bits per sample 8 are read" in read_picture(tmp_path / "deep.heic").notes[0]


def test_pillow_is_told_of_heif(tmp_path, monkeypatch):
    told = []
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: told.append(1)))
    (tmp_path / "p.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    refused(tmp_path / "p.heic")
    assert told
