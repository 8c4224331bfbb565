"""Whether a PNG of 8-bit RGBA is wholly transparent, without decoding its pixels.

A row is stored as differences from what its neighbours predict (W3C PNG, section 9), and neighbours of alpha
0 predict 0, whatever the filter. So all alpha is 0 if and only if every stored byte of it is.
"""

import zlib
from collections.abc import Iterator

from cutout.images.png import PngHeader, chunks

_PIECE_BYTES = 65_536
_CHANNELS = 4
# Where each pass of an interlaced picture begins and its steps: x, y, dx, dy.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def is_wholly_transparent(source: bytes, header: PngHeader) -> bool:
    """Inflate the pixels up to the first row that shows something; a damaged file counts as showing it."""
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
    """The number of pixels of each row in the order of the file."""
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
