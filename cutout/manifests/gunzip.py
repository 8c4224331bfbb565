"""Decompression of gzipped manifests: a binary stream as chunks of bytes."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from cutout.manifests.records import ManifestError

CHUNK = 65_536
GZIP = b"\x1f\x8b"
WITH_GZIP_HEADER = 31
# zlib copies the rest of a piece at the end of a member, so pieces are small.
PIECE = 4096
# bgzip and `cat a.gz b.gz` make members of thousands of bytes; a member costs more than its bytes.
FREE_MEMBERS, LEAST_MEMBER_BYTES = 1000, 100
START_BYTES = 1024
# Catalogs shrink to a tenth, the most repetitive to a fiftieth; a higher ratio is a bomb.
MOST_UNPACKED_RATIO = 200
UNSUSPICIOUS_BYTES = 40_000_000

OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; save the sheet as `CSV UTF-8`, or unzip it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as `CSV UTF-8`",
    b"%PDF-": "a PDF; export the catalog as CSV",
    b"\x89PNG": "a picture; name a list of pictures",
    b"\xff\xd8\xff": "a picture; name a list of pictures",
    b"GIF8": "a picture; name a list of pictures",
    b"BZh91AY": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    GZIP: "gzipped twice; unpack it once",
}


def unpacked(stream: BinaryIO, *, name: str) -> Iterator[bytes]:
    """Yield the content in chunks of at most 64 KiB; the first one is long enough to detect its format.

    Raises ManifestError for content that is evidently no text, and for gzip that is damaged or truncated.
    """
    start, chunks = _with_start(iter(lambda: stream.read(CHUNK), b""))
    if start.startswith(GZIP):
        start, chunks = _with_start(_gunzipped(chunks, name))
    for magic, kind in OTHER_KINDS.items():
        if start.startswith(magic):
            raise ManifestError(f"{name} is {kind}")
    return chunks


def _with_start(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= START_BYTES:
            break
    return start, chain((start,), chunks) if start else iter(())


def _gunzipped(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield the content of each gzip member; at most one chunk is unpacked at a time."""
    unpacker = zlib.decompressobj(WITH_GZIP_HEADER)
    bounds = _Bounds(name)
    for piece in _pieces(chunks, bounds):
        packed = piece
        while packed:
            if unpacker.eof:
                # Tapes and some tools pad with zeros.
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                bounds.begin_member()
                unpacker = zlib.decompressobj(WITH_GZIP_HEADER)
            yield from bounds.checked(_unpack(unpacker, packed, name))
            packed = unpacker.unused_data
    if not unpacker.eof:
        raise ManifestError(f"{name} is truncated: its gzip data end too early; copy or export it again")


def _pieces(chunks: Iterable[bytes], bounds: "_Bounds") -> Iterator[bytes]:
    """Yield whole chunks of the first member, small pieces once there are several."""
    for chunk in chunks:
        bounds.packed += len(chunk)
        if bounds.members == 1:
            yield chunk
        else:
            yield from (chunk[begin : begin + PIECE] for begin in range(0, len(chunk), PIECE))


class _Bounds:
    """Limits on the unpacked size and the number of members, relative to the packed size."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.packed = self.unpacked = 0
        self.members = 1

    def begin_member(self) -> None:
        self.members += 1
        if self.members > FREE_MEMBERS + self.packed // LEAST_MEMBER_BYTES:
            raise ManifestError(
                f"{self._name} has {self.members:,} gzip members in {self.packed:,} bytes; pack it in one"
            )

    def checked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.unpacked += len(chunk)
            if self.unpacked > max(UNSUSPICIOUS_BYTES, MOST_UNPACKED_RATIO * self.packed):
                raise ManifestError(
                    f"{self._name} unpacks to more than {MOST_UNPACKED_RATIO} times its size, which catalogs"
                    " never do; check where it comes from"
                )
            yield chunk


def _unpack(unpacker: "zlib._Decompress", packed: bytes, name: str) -> Iterator[bytes]:
    while packed and not unpacker.eof:
        try:
            content = unpacker.decompress(packed, CHUNK)
        except zlib.error as error:
            raise ManifestError(
                f"{name} is damaged: its gzip data cannot be unpacked ({error}); copy or export it again"
            ) from error
        if content:
            yield content
        packed = unpacker.unconsumed_tail
