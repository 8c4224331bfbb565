"""Pictures made for a test."""

import io
import struct
import zlib

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file of that kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(width: int = 60, height: int = 40, mode: str = "RGB") -> Image.Image:
    """A picture of one colour with a darker subject in its middle."""
    image = Image.new("RGB", (width, height), (230, 230, 230))
    image.paste((40, 60, 80), (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    return image.convert(mode)


def numbered(jpeg: bytes, number: int) -> bytes:
    """A picture as another file: the number stands in a comment of the JPEG."""
    comment = f"picture {number}".encode()
    start = 2
    return jpeg[:start] + struct.pack(">2sH", b"\xff\xfe", 2 + len(comment)) + comment + jpeg[start:]


def bomb(side: int = 30_000) -> bytes:
    """A PNG of side x side pixels in some 100 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def animation() -> bytes:
    """A GIF of three frames."""
    frames = [plain(mode="P").rotate(angle) for angle in (0, 90, 180)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
