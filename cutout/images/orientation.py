"""Orientation of a picture from EXIF or XMP: 1 is upright, 2 to 8 are mirrored or rotated."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

from PIL import ExifTags, Image

from cutout.images.png import chunks

UPRIGHT = 1
_MOST_TEXT_BYTES = 1_000_000
_MOST_READ = 8  # a hostile file may have any number
_EXIF_CHUNK = b"eXIf"
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
_TIFF_PREFIX = re.compile(
    rb"""xmlns:([A-Za-z_][\w.\-]{0,50})\s*=\s*["']http://ns\.adobe\.com/tiff/1\.0/["']"""
)


def orientation(image: Image.Image, source: bytes) -> int:
    """Return the orientation, 1 to 8, still to be applied after Pillow has decoded the picture.

    EXIF has precedence over XMP; an unreadable or invalid value counts as upright. AVIF and HEIC have boxes
    of their own, which have precedence over both.
    """
    xmp = image.info.get("xmp")
    if image.format == "HEIF":
        return UPRIGHT  # libheif has rotated it
    if image.format == "PNG":
        return _png_orientation(source)
    without_xmp(image)
    turn = _valid(_exif_orientation(image))
    if image.format == "TIFF":
        # Pillow rotates a TIFF by its own tag while decoding.
        return UPRIGHT if turn else xmp_orientation(xmp) or UPRIGHT
    if image.format == "AVIF":
        return turn or UPRIGHT
    return turn or xmp_orientation(xmp) or UPRIGHT


def without_xmp(image: Image.Image) -> None:
    """Remove XMP from the image: Pillow would rotate some formats by it and not others."""
    image.info.pop("xmp", None)
    image.info.pop("XML:com.adobe.xmp", None)


def xmp_orientation(xmp: bytes | str | None) -> int | None:
    """Return the value of tiff:Orientation with any namespace prefix; None if there is none."""
    if not xmp:
        return None
    text = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp)
    if b"\0" in text[:200]:
        text = text.replace(b"\0", b"")  # UTF-16 of a text that is ASCII where it matters
    text = text[:_MOST_TEXT_BYTES]
    prefixes = (found[1] for found in islice(_TIFF_PREFIX.finditer(text), _MOST_READ))
    for prefix in {b"tiff", *prefixes}:
        name = re.escape(prefix) + rb":Orientation"
        found = re.search(rb"\b" + name + rb"""\s*(?:=\s*["']\s*|>\s*)([1-8])\s*["'<]""", text)
        if found:
            return int(found[1])
    return None


def _exif_orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, IndexError, struct.error):
        return None  # unreadable EXIF data rotate nothing


def _valid(value: object) -> int | None:
    return value if isinstance(value, int) and 1 <= value <= 8 else None  # noqa: PLR2004 - as EXIF defines it


def _png_orientation(source: bytes) -> int:
    """Read metadata before and behind the pixels; Pillow would decode the picture to find those behind."""
    exif: int | None = None
    xmp: int | None = None
    for keyword, data in islice(_metadata_of_png(source), _MOST_READ):
        if keyword == _XMP_KEYWORD:
            xmp = xmp or xmp_orientation(data)
        else:
            exif = exif or _exif_value(data if keyword == _EXIF_CHUNK else _from_hex(data))
    return exif or xmp or UPRIGHT


def _metadata_of_png(source: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name, data in chunks(source, only=(_EXIF_CHUNK, b"iTXt", b"zTXt", b"tEXt")):
        if name == _EXIF_CHUNK:
            yield name, data
            continue
        keyword = data.partition(b"\0")[0]
        if keyword == _XMP_KEYWORD or keyword in _RAW_EXIF:
            yield keyword, _text_of(name, data)


def _exif_value(data: bytes) -> int | None:
    exif = Image.Exif()
    try:
        exif.load(data)
        return _valid(exif.get(ExifTags.Base.Orientation))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, IndexError, struct.error):
        return None


def _from_hex(text: bytes) -> bytes:
    """Decode a profile as ImageMagick writes it: two lines for name and length, then hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.strip().split(b"\n")[2:]).decode("ascii"))
    except ValueError:
        return b""


def _text_of(name: bytes, data: bytes) -> bytes:
    """Return the text of a chunk after its keyword, unpacked up to the limit."""
    text = data.partition(b"\0")[2]
    packed = name == b"zTXt"
    if name == b"zTXt":
        text = text[1:]
    elif name == b"iTXt":
        packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return text[:_MOST_TEXT_BYTES]
    try:
        return zlib.decompressobj().decompress(text, _MOST_TEXT_BYTES)
    except zlib.error:
        return b""
