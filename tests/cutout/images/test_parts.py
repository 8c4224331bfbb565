"""Files with very many parts are refused before a decoder reads them; ordinary files are accepted."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from cutout.images.image import prepare
from cutout.images.parts import MOST_EXIF_SEGMENTS, refuse_many_parts
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import png_chunk
from tests.cutout.images.tiffs import Ifd, tiff_of
from tests.support.machine import scaled
from tests.support.pictures import encoded, plain

LARGE = 50_000_000
JPEG = encoded(plain(), "JPEG")
PNG = encoded(plain(), "PNG")
GIF = encoded(plain(mode="P"), "GIF")
WEBP = encoded(plain(), "WEBP")
AVIF = encoded(plain(), "AVIF")


def in_jpeg(part: bytes, size: int = LARGE) -> bytes:
    """A JPEG with the part repeated after its first marker."""
    return JPEG[:2] + part * (size // len(part)) + JPEG[2:]


def between_scans(part: bytes) -> bytes:
    """A JPEG with the part repeated after its pixels."""
    return JPEG[:-2] + part * (LARGE // len(part)) + JPEG[-2:]


def in_png(chunk: bytes, *, at: int = 33) -> bytes:
    """A PNG with the chunk repeated after its header, or elsewhere."""
    return PNG[:at] + chunk * (LARGE // len(chunk)) + PNG[at:]


def gif_with(part: bytes) -> bytes:
    """A GIF with the part repeated before its trailer, which is its last byte."""
    return GIF[:-1] + part * (LARGE // len(part)) + GIF[-1:]


def gif_in_bytes() -> bytes:
    """A GIF with one byte of pixels per block."""
    return GIF[: GIF.index(b",") + 11] + b"\1\1" * (LARGE // 2) + b"\0;"


def webp_with(part: bytes) -> bytes:
    body = WEBP[8:] + part * (LARGE // len(part))
    return b"RIFF" + struct.pack("<I", len(body)) + body


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg comments": lambda: in_jpeg(b"\xff\xfe\0\2"),
    "jpeg comments without a length": lambda: in_jpeg(b"\xff\xfe\0\0"),
    "jpeg segments of 16 bytes": lambda: in_jpeg(b"\xff\xed\0\x10" + b"x" * 14),
    "jpeg markers alone": lambda: in_jpeg(b"\xff\xd0"),
    "jpeg ends": lambda: in_jpeg(b"\xff\xd9"),
    "jpeg fill": lambda: in_jpeg(b"\xff"),
    "jpeg fill that ends in none": lambda: JPEG[:2] + b"\xff" * LARGE + b"\0" + JPEG[2:],
    "jpeg of nothing but fill": lambda: JPEG[:3] + b"\xff" * LARGE,
    "jpeg junk": lambda: in_jpeg(b"\xff\0"),
    "jpeg comments behind pixels": lambda: between_scans(b"\xff\xfe\0\2"),
    "jpeg EXIF": lambda: in_jpeg(b"\xff\xe1" + struct.pack(">H", 5008) + b"Exif\0\0" + b"x" * 5000),
    "png chunks": lambda: in_png(png_chunk(b"noNe", b"")),
    "png text": lambda: in_png(png_chunk(b"tEXt", b"a\0b")),
    "png pixels": lambda: in_png(png_chunk(b"IDAT", b""), at=PNG.index(b"IDAT") - 4),
    "gif comments": lambda: gif_with(b"!\xfe\1x\0"),
    "gif blocks of a comment": lambda: GIF[:-1] + b"!\xfe" + b"\1x" * (LARGE // 2) + b"\0;",
    "gif junk": lambda: gif_with(b"x"),
    "gif pixels": gif_in_bytes,
    "webp chunks": lambda: webp_with(b"noNe\0\0\0\0"),
    "avif boxes": lambda: AVIF + b"\0\0\0\x08free" * (LARGE // 8),
    "tiff entries": lambda: tiff_of(Ifd(tags={300 + n: [1] for n in range(2000)})),
    "tiff strips": lambda: tiff_of(Ifd(tags={273: [8] * 200_000})),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_of_very_many_parts_is_refused_at_once(kind: str) -> None:
    """It has its own code, whatever the parts are; 50 MB are refused as quickly as 3 MB."""
    source = HOSTILE[kind]()
    began = time.process_time()
    with pytest.raises(UnfitImage) as refused:
        prepare(source)
    assert refused.value.code == "IMAGE_TOO_MANY_PARTS"
    assert "save it again" in refused.value.message
    assert time.process_time() - began < scaled(0.5)


def png_in_8_kb() -> bytes:
    """A PNG of 50 MB in as many chunks as libpng writes: 6,400."""
    pixels = zlib.compress(bytes(12_001 * 4100), 0)
    header = struct.pack(">IIBBBBB", 4000, 4100, 8, 2, 0, 0, 0)
    pieces = [pixels[at : at + 8192] for at in range(0, len(pixels), 8192)]
    chunks = [png_chunk(b"IHDR", header), *(png_chunk(b"IDAT", piece) for piece in pieces)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def jpeg_with_much() -> bytes:
    """A JPEG with a colour profile in 255 segments, EXIF in several, and a second view."""
    profile = b"".join(
        b"\xff\xe2" + struct.pack(">H", 2 + 14 + 100) + b"ICC_PROFILE\0" + bytes([n, 255]) + b"x" * 100
        for n in range(1, 256)
    )
    exif = b"\xff\xe1" + struct.pack(">H", 5008) + b"Exif\0\0" + b"x" * 5000
    view = io.BytesIO()
    plain().save(view, "MPO", save_all=True, append_images=[plain()])
    return view.getvalue()[:2] + profile + exif * (MOST_EXIF_SEGMENTS // 2) + view.getvalue()[2:]


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("PNG", png_in_8_kb),
        ("JPEG", jpeg_with_much),
        ("JPEG", lambda: in_jpeg(b"\xff\xfe" + struct.pack(">H", 65_000) + b"x" * 64_998)),
        ("JPEG", lambda: JPEG[:2] + b"\xff" * 5000 + JPEG[2:]),
        ("JPEG", lambda: encoded(plain(), "JPEG", progressive=True, restart_marker_blocks=1)),
        ("GIF", lambda: encoded(Image.effect_noise((3000, 3000), 100).convert("P"), "GIF")),
        ("GIF", lambda: encoded(plain(mode="P"), "GIF", comment=b"x" * 100_000)),
        ("WEBP", lambda: encoded(plain(), "WEBP", exif=b"Exif\0\0" + bytes(100), icc_profile=bytes(200))),
        ("TIFF", lambda: encoded(plain(40, 9000), "TIFF", tiffinfo={278: 1})),
        ("TIFF", lambda: tiff_of(*[Ifd((60, 40))] * 150)),
        ("AVIF", lambda: AVIF),
        ("BMP", lambda: encoded(plain(), "BMP")),
    ],
)
def test_a_file_as_encoders_make_it_is_not(kind: str, make: Callable[[], bytes]) -> None:
    """Large files too, with everything that cameras and editors add."""
    refuse_many_parts(make(), kind)
