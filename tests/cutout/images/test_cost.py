"""Costs of hostile files that are made to be slow to read; the threads of a worker share one core."""

import struct
import time
import zlib
from contextlib import suppress

import pytest

from cutout.images.image import ENDPOINT_LIMITS, unchanged
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded, png_chunk
from tests.support.machine import scaled

TOO_MANY = ENDPOINT_LIMITS.max_bytes + 1


def png(width: int, height: int, rows: bytes, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (
        png_chunk(b"IHDR", header),
        more,
        png_chunk(b"IDAT", zlib.compress(rows)),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


JPEG = encoded("JPEG")
LOGIN = b"<html>" + b"<formaction=" * 6000


@pytest.mark.parametrize(
    "source",
    [
        png(33, 2_400_000, bytes(133 * 2_400_000)),
        png(40, 40, bytes(161 * 40), png_chunk(b"noNe", b"") * (TOO_MANY // 12)),
        JPEG[:2] + b"\xff\xfe\0\2" * (TOO_MANY // 4) + JPEG[2:],
        JPEG[:2] + b"\xff\x01" * (TOO_MANY // 2) + JPEG[2:],
        LOGIN,
    ],
    ids=["rows", "chunks", "segments", "markers", "forms"],
)
def test_takes_little_however_it_is_made(source: bytes) -> None:
    """A picture that must be decoded is read in a child process."""
    began = time.thread_time()
    with suppress(UnfitImage):
        assert unchanged(source) is None
    assert time.thread_time() - began < scaled(0.2)
