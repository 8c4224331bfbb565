"""PNG structure: chunk after chunk, from the signature to IEND (W3C PNG, section 5)."""

import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cutout.network import Blob

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_OVERHEAD = 12  # length, type and CRC


@dataclass(frozen=True)
class PngHeader:
    """Content of IHDR, and the names of all chunks. `colour_type`: 0 grey, 2 RGB, 3 palette, 4 LA, 6 RGBA."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    chunks: frozenset[bytes]
    pixel_bytes: int = 0  # of all IDAT chunks
    is_interlaced: bool = False


def read_png(data: Blob, *, check_crc: bool = False) -> PngHeader | None:
    """Read the chunks without decoding; None if the file is damaged or ends before IEND."""
    if data[:16] != SIGNATURE + b"\0\0\0\x0dIHDR":
        return None
    view, chunks_seen, pixel_bytes = memoryview(data), set(), 0
    for name, begin, end in chunk_offsets(data):
        if check_crc and zlib.crc32(view[begin - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return None
        chunks_seen.add(name)
        if name == b"IDAT":
            pixel_bytes += end - begin
        if name == b"IEND":
            width, height, bit_depth, colour_type, _, _, interlacing = struct.unpack_from(
                ">IIBBBBB", data, 16
            )
            names = frozenset(chunks_seen)
            return PngHeader(width, height, bit_depth, colour_type, names, pixel_bytes, interlacing == 1)
    return None


def chunks(data: bytes, *, only: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of these names with their data, in file order, up to a damaged one."""
    for name, begin, end in chunk_offsets(data):
        if name in only:
            yield name, data[begin:end]


def chunk_offsets(data: Blob) -> Iterator[tuple[bytes, int, int]]:
    """Yield each complete chunk's name and the offsets of its data, IEND last."""
    position = len(SIGNATURE)
    while position + _CHUNK_OVERHEAD <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + _CHUNK_OVERHEAD + length
        if end > len(data):
            return
        yield name, position + 8, end - 4
        if name == b"IEND":
            return
        position = end
