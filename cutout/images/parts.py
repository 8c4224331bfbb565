"""Limits on the number of parts of a file, checked before a decoder reads it.

Decoders step through chunks, segments and blocks one by one in Python, and some copy what came before: a file
of nothing else takes minutes and has no picture in it.
"""

import struct
from collections.abc import Callable
from itertools import islice

from cutout.images.jpeg import EOI, MARKER, SOS, STANDALONE, end_of_scan
from cutout.images.png import chunk_offsets
from cutout.images.tiff import MOST_ENTRIES, STRIP_OFFSETS, TILE_OFFSETS, Tiff
from cutout.images.unfit_image import UnfitImage

MOST_PNG_CHUNKS = 100_000  # libpng writes 8 kB a chunk: 800 MB
MOST_JPEG_SEGMENTS = 10_000
# Pillow concatenates them one by one and copies everything before each time.
MOST_EXIF_SEGMENTS = 64
# Between segments of a JPEG or blocks of a GIF.
MOST_STRAY_BYTES = 100_000
MOST_GIF_BLOCKS = 500_000  # of 255 bytes: 127 MB
MOST_RIFF_CHUNKS = 10_000
MOST_BOXES = 10_000
MOST_STRIPS = 100_000  # or tiles

_EXIF, _APP1 = b"Exif\0\0", 0xE1
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GIF_HEAD, _IMAGE_HEAD, _RIFF_HEAD, _BOX_HEAD = 13, 10, 12, 8


def refuse_many_parts(source: bytes, kind: str) -> None:
    """Raise UnfitImage for a file with so many parts that reading them costs more than its pixels.

    Counting stops at the limit.
    """
    excess = _EXCESSES[kind](source) if kind in _EXCESSES else None
    if excess is not None:
        raise UnfitImage(
            "IMAGE_TOO_MANY_PARTS",
            f"the {kind} has more than {excess}: reading them costs more than a picture; save it again",
        )


def _excess_of_png(source: bytes) -> str | None:
    counted = sum(1 for _ in islice(chunk_offsets(source), MOST_PNG_CHUNKS + 1))
    return f"{MOST_PNG_CHUNKS:,} chunks" if counted > MOST_PNG_CHUNKS else None


def _excess_of_jpeg(source: bytes) -> str | None:
    """Count as Pillow does up to the first scan, and as libjpeg does behind it."""
    position, stray, exif, has_scan = 2, 0, 0, False
    for _ in range(MOST_JPEG_SEGMENTS):
        found = MARKER.search(source, position)
        stray += (found.start() if found else len(source)) - position
        if stray > MOST_STRAY_BYTES and not (found is None and has_scan):
            return f"{MOST_STRAY_BYTES:,} bytes between its segments"
        if found is None:
            return None
        marker, position = found[1][0], found.end()
        if marker == EOI and has_scan:
            return None
        if marker in STANDALONE or marker == EOI:
            continue
        if position + 2 > len(source):
            return None
        begin = position + 2
        # Pillow continues behind a length that is too short for itself.
        position = max(begin, position + struct.unpack_from(">H", source, position)[0])
        if marker == SOS:
            has_scan, position = True, end_of_scan(source, position)
        exif += marker == _APP1 and source.startswith(_EXIF, begin)
        if exif > MOST_EXIF_SEGMENTS:
            return f"{MOST_EXIF_SEGMENTS} segments of EXIF"
    return f"{MOST_JPEG_SEGMENTS:,} segments"


def _excess_of_gif(source: bytes) -> str | None:
    """Count up to the second image: a still picture has one."""
    position = _GIF_HEAD + _colours(source, 10)
    blocks = stray = images = 0
    while position < len(source) and blocks <= MOST_GIF_BLOCKS:
        sign = source[position]
        if sign == _TRAILER:
            return None
        if sign == _EXTENSION:
            blocks, position = _gif_blocks(source, position + 2, blocks)
        elif sign == _IMAGE and not images:
            images += 1
            position += _IMAGE_HEAD + _colours(source, position + 9) + 1
            blocks, position = _gif_blocks(source, position, blocks)
        elif sign == _IMAGE:
            return None
        else:
            stray, position = stray + 1, position + 1
        if stray > MOST_STRAY_BYTES:
            return f"{MOST_STRAY_BYTES:,} bytes between its blocks"
    return f"{MOST_GIF_BLOCKS:,} blocks" if blocks > MOST_GIF_BLOCKS else None


def _gif_blocks(source: bytes, position: int, blocks: int) -> tuple[int, int]:
    """Return the number of blocks up to the next empty one, which counts too, and the offset after it."""
    while position < len(source) and blocks <= MOST_GIF_BLOCKS:
        blocks += 1
        length = source[position]
        position += 1 + length
        if not length:
            break
    return blocks, position


def _colours(source: bytes, at: int) -> int:
    """Return the size in bytes of the palette that the flags at this offset declare."""
    flags = source[at] if at < len(source) else 0
    return 3 * 2 ** ((flags & 7) + 1) if flags & 128 else 0


def _excess_of_webp(source: bytes) -> str | None:
    position = _RIFF_HEAD
    for _ in range(MOST_RIFF_CHUNKS + 1):
        if position + 8 > len(source):
            return None
        length = struct.unpack_from("<I", source, position + 4)[0]
        position += 8 + length + length % 2
    return f"{MOST_RIFF_CHUNKS:,} chunks"


def _excess_of_boxes(source: bytes) -> str | None:
    position = 0
    for _ in range(MOST_BOXES + 1):
        if position + _BOX_HEAD > len(source):
            return None
        length = struct.unpack_from(">I", source, position)[0]
        if length == 1 and position + 16 <= len(source):
            length = struct.unpack_from(">Q", source, position + 8)[0]
        if length < _BOX_HEAD:  # to the end of the file, or damaged
            return None
        position += length
    return f"{MOST_BOXES:,} boxes"


def _excess_of_tiff(source: bytes) -> str | None:
    tiff = Tiff(source)
    # A directory that only another one references is ignored, and no reason to refuse the picture.
    if tiff.has_too_many_entries and not tiff.directories:
        return f"{MOST_ENTRIES:,} entries in a directory"
    pieces = (
        directory.entries[tag].count
        for directory in tiff.directories
        for tag in (STRIP_OFFSETS, TILE_OFFSETS)
        if tag in directory.entries
    )
    return f"{MOST_STRIPS:,} strips or tiles" if max(pieces, default=0) > MOST_STRIPS else None


_EXCESSES: dict[str, Callable[[bytes], str | None]] = {
    "PNG": _excess_of_png,
    "JPEG": _excess_of_jpeg,
    "GIF": _excess_of_gif,
    "WEBP": _excess_of_webp,
    "TIFF": _excess_of_tiff,
    "AVIF": _excess_of_boxes,
    "HEIF": _excess_of_boxes,
}
