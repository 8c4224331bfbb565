"""Results that are whole and not as they are documented, as a CDN or a new version makes them."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from sandbox.faults import Kind

LARGE_BYTES = 70_000_000
HTML = b"<!doctype html><title>Maintenance</title><h1>Back soon</h1>"
_BEFORE_IEND = -12


def spoil(picture: bytes, fault: Kind | None, media_type: str) -> tuple[bytes, str]:
    """Bytes that are served instead of the picture, and their media type."""
    if fault == "html_result":
        return HTML, "text/html"
    if fault == "truncated_image":
        return picture[: len(picture) // 2], media_type
    if fault == "large_image":
        return _large(picture), media_type
    change = CHANGES.get(fault) if fault else None
    if change is None:
        return picture, media_type
    with Image.open(io.BytesIO(picture)) as opened:
        changed, kind = change(opened)
    encoded = io.BytesIO()
    changed.save(encoded, kind, lossless=True)
    return encoded.getvalue(), f"image/{kind.lower()}"


def _palette(picture: Image.Image) -> tuple[Image.Image, str]:
    return picture.convert("RGBA").quantize(64, method=Image.Quantize.FASTOCTREE), "PNG"


def _small(picture: Image.Image) -> tuple[Image.Image, str]:
    return picture.reduce(2), picture.format or "PNG"


CHANGES: dict[Kind, Callable[[Image.Image], tuple[Image.Image, str]]] = {
    "palette_image": _palette,
    "grey_alpha_image": lambda picture: (picture.convert("LA"), "PNG"),
    "webp_image": lambda picture: (picture.copy(), "WEBP"),
    "opaque_image": lambda picture: (picture.convert("RGB"), "PNG"),
    "small_image": _small,
}


def _large(picture: bytes) -> bytes:
    """The PNG with a private chunk of zeros before its end."""
    name, zeros = b"zeRo", bytes(LARGE_BYTES)
    chunk = (
        struct.pack(">I", LARGE_BYTES) + name + zeros + struct.pack(">I", zlib.crc32(zeros, zlib.crc32(name)))
    )
    return picture[:_BEFORE_IEND] + chunk + picture[_BEFORE_IEND:]
