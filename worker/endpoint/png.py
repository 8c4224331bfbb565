"""The structure of a PNG file: chunk after chunk, from the signature to IEND (W3C PNG, section 5)."""

import struct
import zlib
from dataclasses import dataclass

from worker.network import Blob

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_OVERHEAD = 12  # length, type and CRC


@dataclass(frozen=True)
class PngHeader:
    """What IHDR says, and which chunks there are. `colour_type`: 0 grey, 2 RGB, 3 palette, 4 LA, 6 RGBA."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    chunks: frozenset[bytes]


def read_png(data: Blob, *, check_crc: bool = False) -> PngHeader | None:
    """Walk the chunks; None if the file is damaged or breaks off before IEND. Nothing is decoded."""
    if data[:16] != SIGNATURE + b"\0\0\0\x0dIHDR":
        return None
    view, position, chunks = memoryview(data), len(SIGNATURE), set()
    while position + _CHUNK_OVERHEAD <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + _CHUNK_OVERHEAD + length
        if end > len(data):
            return None
        if (
            check_crc
            and zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]
        ):
            return None
        chunks.add(name)
        if name == b"IEND":
            width, height, bit_depth, colour_type = struct.unpack_from(">IIBB", data, 16)
            return PngHeader(width, height, bit_depth, colour_type, frozenset(chunks))
        position = end
    return None
