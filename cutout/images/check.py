"""Check of whether a picture can be sent unchanged. Reads its structure, decodes no pixels."""

import struct
from dataclasses import dataclass

from PIL import Image

from cutout.images.colours import needs_profile
from cutout.images.decode import OpenedImage
from cutout.images.jpeg import check_scans
from cutout.images.orientation import UPRIGHT
from cutout.images.png import read_png
from cutout.images.png_alpha import is_wholly_transparent
from cutout.images.unfit_image import UnfitImage


@dataclass(frozen=True)
class Limits:
    """Maximum pixels of the longer side, and maximum bytes, both inclusive."""

    max_side: int
    max_bytes: int


def reasons_to_fit(opened: OpenedImage, limits: Limits) -> list[str]:
    """Return the reasons why an opened picture cannot be sent unchanged; an empty list if it can.

    Raises UnfitImage for a picture without pixels or with nothing visible.
    """
    image, source = opened.image, opened.source
    reasons = [] if opened.turn == UPRIGHT else [f"orientation is {opened.turn}"]
    if image.format not in _FORMAT_CHECKS:
        reasons.append(f"{image.format} is not accepted")
    else:
        reasons += _FORMAT_CHECKS[image.format](image, source, limits)
    if image.mode not in ("RGB", "RGBA"):
        reasons.append(f"colours are {image.mode}")
    elif needs_profile(image):
        reasons.append("the profile is not sRGB")
    if max(image.size) > limits.max_side:
        reasons.append(f"{image.width}x{image.height} is more than {limits.max_side} pixels")
    if len(source) > limits.max_bytes:
        reasons.append(f"{len(source)} bytes are more than {limits.max_bytes}")
    return reasons


def transparent_error() -> UnfitImage:
    """Return the error for a picture with nothing visible."""
    return UnfitImage(
        "IMAGE_TRANSPARENT",
        "every pixel is wholly transparent; send a picture with something visible in it",
    )


def _check_jpeg(_image: Image.Image, source: bytes, _limits: Limits) -> list[str]:
    check_scans(source)
    # Without an end marker the file is truncated or has trailing bytes: decoding will show which.
    return [] if source.endswith(b"\xff\xd9") else ["no end marker at the end"]


def _check_png(image: Image.Image, source: bytes, limits: Limits) -> list[str]:
    header = read_png(source, check_crc=True)
    if header is None:
        return ["chunks are damaged"]  # or truncated: decoding will show which
    if not header.pixel_bytes:
        raise UnfitImage("IMAGE_TRUNCATED", "the PNG has no pixels; send the whole file")
    # A larger one is decoded anyway; it may have millions of rows in a few bytes.
    is_small = max(image.size) <= limits.max_side
    if is_small and image.mode == "RGBA" and header.bit_depth == 8 and is_wholly_transparent(source, header):  # noqa: PLR2004
        raise transparent_error()
    reasons = []
    if header.bit_depth != 8:  # noqa: PLR2004 - bits a channel
        reasons.append(f"{header.bit_depth} bits a channel")
    if b"tRNS" in header.chunks:
        reasons.append("transparent by colour")
    return reasons


def _check_bmp(image: Image.Image, source: bytes, _limits: Limits) -> list[str]:
    pixels_at, header_size = struct.unpack_from("<I", source, 10)[0], struct.unpack_from("<I", source, 14)[0]
    bits, compression = struct.unpack_from("<HI", source, 28) if header_size >= 40 else (0, 0)  # noqa: PLR2004
    if (bits, compression) != (24, 0):
        return ["not 24 bits a pixel, uncompressed"]
    row_bytes = (image.width * 3 + 3) // 4 * 4
    return [] if pixels_at + row_bytes * image.height <= len(source) else ["pixels are missing"]


_FORMAT_CHECKS = {"JPEG": _check_jpeg, "PNG": _check_png, "BMP": _check_bmp}
