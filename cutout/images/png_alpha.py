"""Transparency of a PNG of 8-bit RGBA, found without decoding its pixels.

A row is stored as differences from a prediction by its neighbours (W3C PNG, section 9), and neighbours of
alpha 0 predict 0 with any filter. So all alpha is 0 if and only if every stored alpha byte is 0.
"""

import zlib
from collections.abc import Iterator

from cutout.images.png import PngHeader, chunks

_PIECE_BYTES = 65_536
_CHANNELS = 4
# Start and step of each pass of an interlaced picture: x, y, dx, dy.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def is_wholly_transparent(source: bytes, header: PngHeader) -> bool:
    """Whether all pixels are transparent: inflates up to the first visible row. A damaged file counts as
    visible.
    """
    unpacked = _unpacked(source)
    held = b""
    try:
        for pixels in _rows(header):
            needed = 1 + _CHANNELS * pixels
            while len(held) < needed:
                held += next(unpacked)
            if held[_CHANNELS:needed:_CHANNELS].count(0) != pixels:
                return False
            held = held[needed:]
    except (StopIteration, zlib.error):
        return False
    return True


def _rows(header: PngHeader) -> Iterator[int]:
    """Yield the number of pixels of each row in file order."""
    passes = _ADAM7 if header.is_interlaced else ((0, 0, 1, 1),)
    for left, top, right, down in passes:
        pixels = -(-(header.width - left) // right)
        for _ in range(top, header.height, down) if pixels > 0 else ():
            yield pixels


def _unpacked(source: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for _, data in chunks(source, only=(b"IDAT",)):
        packed = data
        while packed:
            yield unpacker.decompress(packed, _PIECE_BYTES)
            packed = unpacker.unconsumed_tail
    yield unpacker.flush(_PIECE_BYTES)
