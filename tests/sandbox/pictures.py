"""Pictures made for the tests."""

import io
import struct
import zlib

from PIL import Image, ImageDraw


def product(size: tuple[int, int] = (240, 180), colour: str = "firebrick") -> Image.Image:
    """Give a coloured disc in the middle of a light background."""
    picture = Image.new("RGB", size, (236, 236, 238))
    width, height = size
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=colour)
    return picture


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def png_of(width: int, height: int, depth: int, colour_type: int) -> bytes:
    """Give a black PNG of any depth and colour type, written by hand."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    row = b"\0" + bytes(width * channels * depth // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    palette = _chunk(b"PLTE", bytes(3)) if colour_type == 3 else b""
    pixels = _chunk(b"IDAT", zlib.compress(row * height))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + pixels + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
