"""What a file is that is no picture, or one of a kind that isn't read: a clause that names a remedy."""

from __future__ import annotations

from pathlib import Path

from deepcv.errors import InputError

_PNG = "save the picture as PNG, JPEG or TIFF"

_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_CUT = "that is damaged or cut short; fetch it again"
_STARTS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "is a PDF document; export its page as PNG"),
    (0, b"%!PS", "is a PostScript document; export its page as PNG"),
    (0, b"AT&TFORM", "is a DjVu document; export its page as PNG"),
    (0, b"\x89HDF", "is an HDF5 file (as of Imaris, MATLAB or ilastik); export its image as TIFF"),
    (0, b"MATLAB 5.0", "is a MATLAB file; export its image as TIFF"),
    (0, b"\x93NUMPY", "is a NumPy array; segment it from Python: deepcv.deep_chan_vese(numpy.load(…))"),
    (0, b"ZISRAWFILE", "is a Zeiss CZI file; export it as TIFF, for example in Fiji"),
    (0, b"\xda\xce\xbe\x0a", "is a Nikon ND2 file; export it as TIFF, for example in Fiji"),
    (0, b"\x70\x00\x00\x00", "is a Leica LIF file; export it as TIFF, for example in Fiji"),
    (0, b"NRRD", "is an NRRD volume; export a slice as TIFF, for example in Fiji"),
    (344, b"n+1\0", "is a NIfTI volume; export a slice as TIFF"),
    (0, b"SIMPLE  =", "is an astronomer's FITS file; export it as TIFF"),
    (0, b"FUJIFILMCCD-RAW", "holds a camera's raw samples; develop it and save it as TIFF or PNG"),
    (4, b"ftypcrx", "holds a camera's raw samples; develop it and save it as TIFF or PNG"),
    (0, b"FOVb", "holds a camera's raw samples; develop it and save it as TIFF or PNG"),
    (0, b"\xff\x0a", "is a JPEG XL picture; save it as PNG or JPEG"),
    (0, b"\0\0\0\x0cJXL ", "is a JPEG XL picture; save it as PNG or JPEG"),
    (0, b"II\xbc\x01", "is a JPEG XR picture; save it as PNG or JPEG"),
    (0, b"v/1\x01", "is an OpenEXR picture; save it as TIFF"),
    (0, b"gimp xcf", "is a GIMP project; export it as PNG"),
    (0, b"8BPB", "is a large Photoshop project (PSB); export it as PNG or TIFF"),
    (30, b"mimetypeimage/openraster", "is an OpenRaster project; export it as PNG"),
    (30, b"mimetypeapplication/x-krita", "is a Krita project; export it as PNG"),
    (8, b"AVI ", "is a video; export a frame as PNG"),
    (0, b"\x1aE\xdf\xa3", "is a video; export a frame as PNG"),
    (0, b"FLV", "is a video; export a frame as PNG"),
    *((4, b"ftyp" + brand, f"is a HEIC picture {_CUT}") for brand in _HEIF),
    *((4, b"ftyp" + brand, f"is an AVIF picture {_CUT}") for brand in (b"avif", b"avis")),
    (4, b"ftyp", "is a video; export a frame as PNG"),
    (4, b"moov", "is a video; export a frame as PNG"),
    (0, b"\x1f\x8b", "is compressed by gzip; unpack it first"),
    (0, b"PK\x03\x04", "is a ZIP archive or office document; unpack it, or export its picture as PNG"),
    (0, b"Rar!", "is an archive; unpack it first"),
    (0, b"7z\xbc\xaf", "is an archive; unpack it first"),
    (0, b"BZh", "is compressed by bzip2; unpack it first"),
    (0, b"\xfd7zXZ", "is compressed by xz; unpack it first"),
)
"""Offset, bytes there, and what a file with them is."""

_SUFFIXES = {
    ".sgy": f"is seismic data (SEG-Y); draw the section and {_PNG}",
    ".segy": f"is seismic data (SEG-Y); draw the section and {_PNG}",
    ".dcm": "is not a DICOM file that can be read: its preamble is missing; save it as PNG",
}


def what_it_is(head: bytes, suffix: str) -> str:
    """The clause after the name of a file that Pillow doesn't know, from its first bytes."""
    if not head.strip(b"\0"):
        return "is empty; fetch it again" if not head else "holds nothing but zeros; fetch it again"
    for offset, start, clause in _STARTS:
        if head[offset : offset + len(start)] == start:
            return clause
    if clause := _SUFFIXES.get(suffix.lower(), ""):
        return clause
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "is not a picture of pixels but an SVG drawing; export it as PNG"
    if start.startswith((b"<!doctype html", b"<html")):
        return "is not a picture but a web page saved in its place; fetch the picture itself"
    if start.startswith(b"version https://git-lfs"):
        return "is not a picture but a pointer to one; run git lfs pull"
    if b"\0" not in head and _is_text(head):
        return f"is not a picture but text; {_PNG}"
    return f"is not a picture in a format that Pillow reads; {_PNG}"


def _is_text(head: bytes) -> bool:
    try:
        head[:1000].decode()
    except UnicodeDecodeError as error:
        return error.start > 990  # a letter cut in two
    return True


_CUT_SHORT = ("truncated", "end of file", "broken data", "not enough", "unexpected end", "buffer", "incomplete", "eof")


def is_cut_short(error: Exception) -> bool:
    """Whether an error of Pillow's says that a file ends too early."""
    return isinstance(error, EOFError) or any(words in str(error).lower() for words in _CUT_SHORT)


def is_heif(head: bytes) -> bool:
    """Whether a file that starts so is a HEIC or HEIF picture."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF and b"avif" not in head[8:40]


def register_heif(path: Path) -> None:
    """Let Pillow read HEIF.

    Raises
    ------
    InputError
        Unless the extra `formats` is installed.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise InputError(
            f"{path} is a HEIC picture; to read it install the extra `formats`, or pillow-heif, or save it as JPEG"
        ) from None
    register_heif_opener()
