"""Whether a picture may be sent byte for byte as it is. Only headers are read."""

import struct
from dataclasses import dataclass

from PIL import ExifTags, Image

from worker.endpoint.png import read_png

UPRIGHT = 1  # the EXIF orientation of a picture that needs no turning


@dataclass(frozen=True)
class Limits:
    """Pixels on the longer side, and bytes, both inclusive."""

    max_side: int
    max_bytes: int


def reasons_to_fit(image: Image.Image, source: bytes, limits: Limits) -> list[str]:
    """Give the reasons why a picture just opened cannot be sent as it is; none if it can."""
    reasons = []
    if image.format not in _FORMAT_CHECKS:
        reasons.append(f"{image.format} is not taken")
    else:
        reasons += _FORMAT_CHECKS[image.format](image, source)
    if image.mode not in ("RGB", "RGBA"):
        reasons.append(f"colours are {image.mode}")
    if max(image.size) > limits.max_side:
        reasons.append(f"{image.width}x{image.height} is more than {limits.max_side} pixels")
    if len(source) > limits.max_bytes:
        reasons.append(f"{len(source)} bytes are more than {limits.max_bytes}")
    return reasons


def orientation(image: Image.Image) -> int:
    """Give the EXIF orientation, 1 to 8; anything else reads as upright."""
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT  # Pillow would decode the whole picture to look behind it
    value = image.getexif().get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT  # noqa: PLR2004 - as said above


def _check_jpeg(image: Image.Image, source: bytes) -> list[str]:
    reasons = [] if orientation(image) == UPRIGHT else ["turned by EXIF"]
    # Without the end marker it may be truncated, or only be followed by something: decoding will tell.
    return reasons if source.endswith(b"\xff\xd9") else [*reasons, "no end marker at the end"]


def _check_png(image: Image.Image, source: bytes) -> list[str]:
    header = read_png(source)
    if header is None:
        return ["chunks are damaged"]  # or break off: decoding will tell
    reasons = []
    if header.bit_depth != 8:  # noqa: PLR2004 - bits a channel
        reasons.append(f"{header.bit_depth} bits a channel")
    if b"tRNS" in header.chunks:
        reasons.append("transparent by colour")
    if b"eXIf" in header.chunks and ("exif" not in image.info or orientation(image) != UPRIGHT):
        reasons.append("turned by EXIF")
    return reasons


def _check_bmp(image: Image.Image, source: bytes) -> list[str]:
    pixels_at, header_size = struct.unpack_from("<I", source, 10)[0], struct.unpack_from("<I", source, 14)[0]
    bits, compression = struct.unpack_from("<HI", source, 28) if header_size >= 40 else (0, 0)  # noqa: PLR2004
    if (bits, compression) != (24, 0):
        return ["not 24 bits a pixel, uncompressed"]
    row_bytes = (image.width * 3 + 3) // 4 * 4
    return [] if pixels_at + row_bytes * image.height <= len(source) else ["pixels break off"]


_FORMAT_CHECKS = {"JPEG": _check_jpeg, "PNG": _check_png, "BMP": _check_bmp}
