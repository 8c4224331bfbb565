"""Facts that a picture's bytes tell before any pixel is decoded: cheap enough for every call."""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

Colour = Literal["colour", "grey", "palette", "cmyk"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS: dict[int, Colour] = {0: "grey", 2: "colour", 3: "palette", 4: "grey", 6: "colour"}
_JPEG_COLOURS: dict[int, Colour] = {1: "grey", 3: "colour", 4: "cmyk"}
_START_OF_SCAN = 0xDA
_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TRUE_COLOUR_BITS = (24, 32)
_CORE_BITMAP_HEADER = 12


class UndecodableImageError(Exception):
    """The bytes are no picture, or end before the picture does."""


@dataclass(frozen=True)
class ImageHeader:
    """Sizes are in pixels, `depth` in bits of one channel."""

    width: int
    height: int
    colour: Colour
    depth: int = 8


def read_header(data: bytes) -> ImageHeader | None:
    """Read a JPEG, PNG or BMP; None for another kind. Raises UndecodableImageError if it is cut short."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data)
        if data.startswith(_PNG_SIGNATURE):
            return _read_png(data)
        if data.startswith(b"BM"):
            return _read_bmp(data)
    except (struct.error, KeyError, IndexError) as broken:
        raise UndecodableImageError("the header ends early or names an unknown colour type") from broken
    return None


def _read_jpeg(data: bytes) -> ImageHeader:
    header = None
    position = 2
    while (marker := data[position + 1]) != _START_OF_SCAN:
        if data[position] != 0xFF:  # noqa: PLR2004 - every marker begins with it
            raise UndecodableImageError(f"no JPEG marker at byte {position}")
        if marker in _START_OF_FRAME:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            header = ImageHeader(width, height, _JPEG_COLOURS[channels], depth)
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    # Scan data escapes every 0xFF, so these two bytes after it are the end marker and nothing else.
    if header is None or data.find(b"\xff\xd9", position) < 0:
        raise UndecodableImageError("the JPEG has no frame or no end")
    return header


def _read_png(data: bytes) -> ImageHeader:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    kinds = set()
    position = len(_PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != checksum:
            raise UndecodableImageError(f"the PNG chunk at byte {position} is damaged")
        kinds.add(kind)
        position = end + 4
    if b"IDAT" not in kinds:
        raise UndecodableImageError("the PNG holds no pixels")
    return ImageHeader(width, height, _PNG_COLOURS[colour], depth)


def _read_bmp(data: bytes) -> ImageHeader:
    offset, header_size = struct.unpack_from("<II", data, 10)
    layout = "<HHHH" if header_size == _CORE_BITMAP_HEADER else "<iiHH"
    width, height, _, bits = struct.unpack_from(layout, data, 18)
    row_bytes = (width * bits + 31) // 32 * 4
    if offset + row_bytes * abs(height) > len(data):
        raise UndecodableImageError("the BMP ends before its pixels do")
    return ImageHeader(width, abs(height), "colour" if bits in _TRUE_COLOUR_BITS else "palette")
