"""Decompression of bodies with a Content-Encoding, limited in bytes and members."""

import zlib
from collections.abc import Iterable, Iterator

from cutout.network.fetch_errors import FetchError, TooLarge, Truncated

GZIP_NAMES = ("gzip", "x-gzip")
DEFLATE = "deflate"
# wbits of zlib: gzip or zlib by their header; gzip only.
GZIP_OR_ZLIB, GZIP = 47, 31
GZIP_SIGNATURE = b"\x1f"
# zlib copies the rest of a piece at the end of a member, so pieces are small.
PIECE_BYTES = 4096
# RFC 1952 allows several members, as bgzip and `cat a.gz b.gz` write them: thousands of bytes each.
FREE_MEMBERS, LEAST_MEMBER_BYTES = 1000, 100


def unpacked(parts: Iterable[bytes], encoding: str, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed body, in pieces of at most `max_bytes` + 1 bytes.

    gzip members may follow one another, and zeros may pad the end; other trailing bytes are refused. Raises
    FetchError, TooLarge once more packed bytes came than `max_bytes` can need, Truncated.
    """
    if encoding not in (*GZIP_NAMES, DEFLATE):
        raise FetchError(f"the body came packed as {encoding[:20]!r}, which was not requested")
    unpacker = _Unpacker(max_bytes, has_members=encoding != DEFLATE)
    try:
        for part in parts:
            yield from unpacker.unpack(part)
    except zlib.error as error:
        raise FetchError(f"the body cannot be unpacked: {error}") from error
    if not unpacker.at_end:
        raise Truncated("the packed body is incomplete")


class _Unpacker:
    def __init__(self, max_bytes: int, *, has_members: bool) -> None:
        self._max_bytes = max_bytes
        # Content that does not compress grows by much less than this.
        self._most_packed = max_bytes + max_bytes // 10 + 65_536
        self._has_members = has_members
        self._packed = 0
        self._members = 1
        self._member = zlib.decompressobj(GZIP_OR_ZLIB)

    @property
    def at_end(self) -> bool:
        return self._member.eof

    def unpack(self, part: bytes) -> Iterator[bytes]:
        self._packed += len(part)
        if self._packed > self._most_packed:
            raise TooLarge(f"{self._packed} packed bytes, more than {self._max_bytes} bytes can need")
        if self._members == 1:
            yield from self._unpack(part)
            return
        for begin in range(0, len(part), PIECE_BYTES):
            yield from self._unpack(part[begin : begin + PIECE_BYTES])

    def _unpack(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._member.eof:
                packed = packed.lstrip(b"\0")
                if not packed:
                    return
                self._begin_member(packed)
            # One byte more than allowed is enough to detect that it is too large.
            yield self._member.decompress(packed, self._max_bytes + 1)
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _begin_member(self, packed: bytes) -> None:
        if not self._has_members or not packed.startswith(GZIP_SIGNATURE):
            raise FetchError(
                "the packed body has more bytes behind its end; send the content alone, or without packing"
            )
        self._members += 1
        if self._members > FREE_MEMBERS + self._packed // LEAST_MEMBER_BYTES:
            raise FetchError(
                f"the packed body has {self._members} gzip members in {self._packed} bytes; pack it in one"
            )
        self._member = zlib.decompressobj(GZIP)
