"""Test pictures of every kind."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

COLOURS: dict[str, int | tuple[int, ...]] = {
    "RGB": (200, 40, 40),
    "RGBA": (200, 40, 40, 128),
    "L": 90,
    "LA": (90, 128),
    "CMYK": (10, 200, 200, 20),
    "1": 1,
    "I;16": 0x8000,
    "P": 0,
}


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of one colour, with the upper left quarter black (or transparent)."""
    image = Image.new(mode, size, COLOURS[mode])
    quarter = (size[0] // 2, size[1] // 2)
    image.paste(Image.new(mode, quarter), (0, 0))
    return image


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A picture that hardly any encoding makes smaller."""
    bands = [Image.effect_noise(size, 120) for _ in mode]
    return Image.merge(mode, bands)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned_by_exif(orientation: int, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, size=size, exif=exif)


def frames(kind: str, number: int = 2) -> bytes:
    first, *others = (Image.new("RGB", (64, 48), (60 * n, 0, 0)) for n in range(number))
    return saved(first, kind, save_all=True, append_images=others)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *, depth: int = 8, colour_type: int = 2, rows: bytes = b"") -> bytes:
    """Build a PNG by hand, of 8 or 16 bits, or with dimensions that its few bytes cannot have."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
