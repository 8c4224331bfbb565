"""Kinds of files: recognised by their first bytes, whatever the name says."""

import importlib
import re
from functools import cache

from cutout.images.not_pictures import refused_page
from cutout.images.unfit_image import UnfitImage

REMEDY = "send a JPEG, PNG, BMP, WEBP, GIF, TIFF, AVIF or HEIC"

# HEIC is decoded where pillow-heif, an extra, is installed.
HEIF_REMEDY = "install the extra `heif` (pip install 'cutout[heif]') for the worker, or send a JPEG"

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG",),
    "GIF": (b"GIF8",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
# Camera raws that are not TIFF, by the first bytes their makers write.
_RAWS = {
    "Olympus ORF": (b"IIRO", b"IIRS", b"MMOR"),
    "Panasonic RW2": (b"IIU\0",),
    "Fujifilm RAF": (b"FUJIFILMCCD-RAW",),
    "Canon CRW": (b"II\x1a\0\0\0HEAPCCDR",),
    "Sigma X3F": (b"FOVb",),
    "Minolta MRW": (b"\0MRM",),
}
_OTHER_PICTURES = {
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "Photoshop (PSD)": (b"8BPS",),
    "PDF": (b"%PDF",),
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "an icon (ICO)": (b"\0\0\x01\0", b"\0\0\x02\0"),
    "JPEG XR": (b"II\xbc",),
    "OpenEXR": (b"v/1\x01",),
    "Radiance HDR": (b"#?RADIANCE", b"#?RGBE"),
    "DirectDraw (DDS)": (b"DDS ",),
    "GIMP (XCF)": (b"gimp xcf",),
    "QOI": (b"qoif",),
    "FLIF": (b"FLIF",),
    "PNM": (b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"P7\n"),
}
_NO_PICTURES = {
    "a zip archive": (b"PK\x03\x04", b"PK\x05\x06"),
    "a gzip archive": (b"\x1f\x8b",),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c",),
    "a RAR archive": (b"Rar!",),
    "the metadata that macOS keeps for another file (AppleDouble)": (b"\0\x05\x16\x07",),
    "a sound or video (RIFF)": (b"RIFF",),
    "a video": (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"FLV\x01", b"OggS"),
    "a Git LFS pointer in place of the file": (b"version https://git-lfs",),
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_STILL_BRANDS = {b"mif1", b"mif2", b"msf1"}
_SVG = re.compile(rb"<svg[\s>]")
_MOST_BRANDS = 64
_HEAD_BYTES = 4096


def kind_of(source: bytes) -> str:
    """Return the format as Pillow names it. Raises UnfitImage for any other file."""
    for kind, marks in _SIGNATURES.items():
        if source.startswith(marks):
            return kind
    if source.startswith(b"BM") and _is_bmp(source):
        return "BMP"
    if source.startswith(b"RIFF") and source[8:12] in (b"WEBP", b""):
        return "WEBP"
    if source[4:8] == b"ftyp":
        return _kind_of_boxes(source)
    raise _refused(source)


def raw_refused(name: str) -> UnfitImage:
    message = (
        f"a camera raw ({name}) is not developed here; export it as JPEG or TIFF from your raw converter"
    )
    return UnfitImage("IMAGE_FORMAT_UNSUPPORTED", message)


def _is_bmp(source: bytes) -> bool:
    # A text may begin with BM, too; the second header's size is 12 to 124 bytes, in its low byte.
    return len(source) >= 18 and (12 <= source[14] <= 124 and source[15:18] == b"\0\0\0")  # noqa: PLR2004


def _kind_of_boxes(source: bytes) -> str:
    """Classify HEIC, AVIF, raw and video, which share a container (ISO/IEC 14496-12), by their brands."""
    size = min(int.from_bytes(source[:4], "big"), 16 + 4 * _MOST_BRANDS, len(source))
    major = source[8:12]
    brands = {major} | {source[at : at + 4] for at in range(16, size - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS or major in _STILL_BRANDS:
        if is_heif_decoded():
            return "HEIF"
        raise UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"HEIC is not decoded by this worker; {HEIF_REMEDY}")
    if major == b"crx ":
        raise raw_refused("Canon CR3")
    if major.startswith((b"jxl", b"jp2", b"jpx")):
        raise _unsupported("JPEG XL" if major.startswith(b"jxl") else "JPEG 2000")
    raise _no_picture(f"a video or sound (its brand is {major!r})")


def _refused(source: bytes) -> UnfitImage:
    named = _error_by_signature(source)
    if named is not None:
        return named
    if _is_svg(source):
        return _unsupported("SVG")
    page = refused_page(source)
    if page is not None:
        return page
    if not any(source[:_HEAD_BYTES]):
        return _no_picture("a file of zeros, whose transfer has failed")
    return UnfitImage(
        "IMAGE_NOT_A_PICTURE", f"the file starts with {source[:8]!r}, which no picture does; {REMEDY}"
    )


def _error_by_signature(source: bytes) -> UnfitImage | None:
    """Return the error for a file whose first bytes identify it, or None."""
    for named, error in ((_RAWS, raw_refused), (_OTHER_PICTURES, _unsupported), (_NO_PICTURES, _no_picture)):
        for name, marks in named.items():
            if source.startswith(marks):
                return error(name)
    return None


def _is_svg(source: bytes) -> bool:
    head = source[:_HEAD_BYTES].lower()
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(
        (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")
    ) and (_SVG.search(head) is not None and b"<html" not in head)


def _unsupported(name: str) -> UnfitImage:
    return UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"{name} is not supported; {REMEDY}")


def _no_picture(name: str) -> UnfitImage:
    return UnfitImage("IMAGE_NOT_A_PICTURE", f"the file is {name}, not a picture; {REMEDY}")


@cache
def is_heif_decoded() -> bool:
    """Whether this process decodes HEIC; registers the decoder with Pillow on the first call."""
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    # One thread, as for any other picture; a thumbnail is not the picture.
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return True
