"""JPEG structure (ITU-T T.81): whether a file's kind is decoded, and whether all its pixels are there.

libjpeg fills missing pixels with grey and only warns, and Pillow does not pass the warning on.
"""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from cutout.images.unfit_image import UnfitImage

# Without the fill bytes before a marker: matching any number of them takes quadratic time.
MARKER = re.compile(rb"\xff([^\x00\xff])")
# Neither a stuffed nor a fill byte.
_IN_PIXELS = re.compile(rb"\xff[\x01-\xfe]")
# A marker other than a restart ends a scan.
_END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
SOS, EOI = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1, 0xC9}, {0xC2, 0xCA}
STANDALONE = {0x01, *range(0xD0, 0xD9)}
_KINDS = {0xC3: "lossless", 0xC5: "differential", 0xC6: "differential", 0xC7: "differential lossless"}
_COEFFICIENTS = 64
# Encoders write about ten. Each costs a pass over all pixels, and a hostile file may have millions.
MOST_SCANS = 500
# Longer than the longest unit of pixels, 6 blocks of 64 coefficients, so changing it changes some colours.
_TAIL_BYTES = 4096
_FILLER = b"\x5a\xa5\x3c\xc3\x96\x69" * (_TAIL_BYTES // 6)
_ZEROS = bytes(64)
# Changes each byte, and makes none a marker.
_CHANGED_BYTES = bytes((byte ^ 0x55) if byte != 0xAA else 0x54 for byte in range(256))  # noqa: PLR2004
_FILL_COLOURS = {"RGB": ((128, 128, 128),), "L": (128,), "CMYK": ((127,) * 4, (128,) * 4)}


@dataclass(frozen=True, slots=True)
class Scan:
    """One pass over the pixels: components, coefficients, missing bits, and the offsets of its data.

    `restarts_at` is the offset of the first restart marker, `end` if there is none.
    """

    components: tuple[int, ...]
    first: int
    last: int
    missing_bits: int
    begin: int
    restarts_at: int
    end: int


@dataclass(frozen=True, slots=True)
class Jpeg:
    """The first picture of a file. `frame` is the marker of its coding process."""

    frame: int
    precision: int
    components: tuple[int, ...]
    scans: tuple[Scan, ...]


def read_jpeg(source: bytes) -> Jpeg | None:
    """Read the markers of the first picture; None if there is no frame."""
    frame, precision = 0, 0
    components: tuple[int, ...] = ()
    scans: list[Scan] = []
    for marker, begin, end, restarts_at, pixels_end in _segments(source):
        if marker in _FRAMES and end - begin >= 6:  # noqa: PLR2004 - bytes before the components
            frame, precision = marker, source[begin]
            components = tuple(source[begin + 6 : end : 3])
        elif marker == SOS and end > begin:
            scan = _scan(source, begin, end, restarts_at, pixels_end)
            if scan is not None:
                scans.append(scan)
            if len(scans) > MOST_SCANS:
                break
    return Jpeg(frame, precision, components, tuple(scans)) if frame else None


def _unsupported_kind(jpeg: Jpeg | None) -> str | None:
    """Return the name of a kind of JPEG that is not decoded; None for common kinds and damaged files."""
    if jpeg is None:
        return None
    if jpeg.precision not in (0, 8):
        return f"a JPEG of {jpeg.precision} bits a channel"
    if jpeg.frame not in _SEQUENTIAL | _PROGRESSIVE:
        return f"a {_KINDS.get(jpeg.frame, 'rare')} JPEG"
    return f"a JPEG of {len(jpeg.components)} channels" if len(jpeg.components) not in (1, 3, 4) else None


def refuse_unsupported(jpeg: Jpeg | None) -> None:
    """Raise UnfitImage for a JPEG of a kind that is not decoded."""
    kind = _unsupported_kind(jpeg)
    if kind is not None:
        raise UnfitImage("IMAGE_FORMAT_UNSUPPORTED", f"{kind} is not read; save it as a baseline JPEG or PNG")


def check_scans(source: bytes) -> Jpeg | None:
    """Refuse a JPEG with missing scans, before it is decoded. Raises UnfitImage."""
    jpeg = read_jpeg(source)
    refuse_unsupported(jpeg)
    if jpeg is None or not jpeg.scans:
        return None
    if len(jpeg.scans) > MOST_SCANS:
        raise UnfitImage("IMAGE_DAMAGED", f"the JPEG has more than {MOST_SCANS} passes; save it again")
    if not _is_complete(jpeg) or not all(_restarts_in_order(source, scan) for scan in jpeg.scans):
        raise UnfitImage("IMAGE_TRUNCATED", "the JPEG's pixels are incomplete; send the whole file")
    return jpeg


def check_pixels(jpeg: Jpeg, image: Image.Image, source: bytes) -> None:
    """Refuse a decoded JPEG, at any scale, with missing pixels. Raises UnfitImage.

    The pixels are decoded again, at 1/8, only where the picture gives reason to.
    """
    if jpeg.frame not in _SEQUENTIAL:
        return
    scan = jpeg.scans[-1]
    whole = source[scan.begin : scan.end]
    corner = image.getpixel((image.width - 1, image.height - 1))
    suspects_end = corner in _FILL_COLOURS.get(image.mode, ()) or len(jpeg.scans) > 1
    suspects_zeros = _ZEROS in whole
    if not suspects_end and not suspects_zeros:
        return
    expected = _decoded(source)
    if suspects_end and _decoded(source[: scan.end] + _FILLER + source[scan.end :]) != expected:
        raise UnfitImage("IMAGE_TRUNCATED", "the JPEG's pixels end too early; send the whole file")
    if suspects_zeros:
        tail = max(scan.begin, scan.end - _TAIL_BYTES)
        if (
            _decoded(source[:tail] + source[tail : scan.end].translate(_CHANGED_BYTES) + source[scan.end :])
            == expected
        ):
            raise UnfitImage(
                "IMAGE_DAMAGED", "a part of the JPEG's pixels is overwritten; send the whole file"
            )


def _is_complete(jpeg: Jpeg) -> bool:
    """Whether the scans contain every coefficient of every component to its last bit."""
    last = _COEFFICIENTS if jpeg.frame in _PROGRESSIVE else 1
    missing = {(component, number): True for component in jpeg.components for number in range(last)}
    for scan in jpeg.scans:
        for component in scan.components:
            for number in range(scan.first, min(scan.last + 1, last)):
                missing[component, number] = scan.missing_bits > 0
    return not any(missing.values())


def _restarts_in_order(source: bytes, scan: Scan) -> bool:
    """Whether the restart markers of a scan count from 0 to 7 repeatedly, none missing."""
    restarts = _RESTART.finditer(source, scan.restarts_at, scan.end)
    return all(found[1][0] & 7 == number % 8 for number, found in enumerate(restarts))


def _decoded(source: bytes) -> bytes:
    with Image.open(io.BytesIO(source), formats=("JPEG",)) as image:
        image.draft(None, (1, 1))
        return image.tobytes()


def _segments(source: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield each segment's marker and the offsets of its content, until the first picture ends.

    The last two numbers are the offset of the first restart marker and the end of the pixels, for a scan
    only.
    """
    position = 2
    while True:
        found = MARKER.search(source, position)
        if found is None:
            return
        marker, position = found[1][0], found.end()
        if marker == EOI:
            return
        if marker in STANDALONE:
            continue
        if position + 2 > len(source):
            return
        length = struct.unpack_from(">H", source, position)[0]
        end = position + length
        if length < 2 or end > len(source):  # noqa: PLR2004 - the length counts itself
            return
        restarts_at, pixels_end = _pixels(source, end) if marker == SOS else (end, end)
        yield marker, position + 2, end, restarts_at, pixels_end
        position = pixels_end


def end_of_scan(source: bytes, begin: int) -> int:
    """Return the offset at which the pixels that begin there end."""
    return _pixels(source, begin)[1]


def _pixels(source: bytes, begin: int) -> tuple[int, int]:
    """Return the offsets of the first restart marker and of the end. Most pictures have none: one search."""
    first = _IN_PIXELS.search(source, begin)
    restarts_at = first.start() if first else len(source)
    ended = _END_OF_SCAN.search(source, restarts_at)
    return restarts_at, ended.start() if ended else len(source)


def _scan(source: bytes, begin: int, end: int, restarts_at: int, pixels_end: int) -> Scan | None:
    number = source[begin]
    if end - begin < 4 + 2 * number:
        return None
    first, last, bits = source[begin + 1 + 2 * number : begin + 4 + 2 * number]
    components = tuple(source[begin + 1 : begin + 1 + 2 * number : 2])
    return Scan(components, first, last, bits & 15, end, restarts_at, pixels_end)
