"""Unpacking of a body that came with a Content-Encoding, bounded in bytes and in members."""

import zlib
from collections.abc import Iterable, Iterator

from cutout.network.fetch_errors import FetchError, TooLarge, Truncated

GZIP_NAMES = ("gzip", "x-gzip")
DEFLATE = "deflate"
# The wbits of zlib: gzip or zlib, told apart by their header; gzip alone.
GZIP_OR_ZLIB, GZIP = 47, 31
GZIP_BEGINS = b"\x1f"
# A member ends by copying all that is behind it in its piece.
PIECE_BYTES = 4096
# RFC 1952 lets a file have several members, as bgzip and `cat a.gz b.gz` make them: thousands of bytes each.
FREE_MEMBERS, LEAST_MEMBER_BYTES = 1000, 100


def unpacked(parts: Iterable[bytes], packing: str, *, max_bytes: int) -> Iterator[bytes]:
    """The content of a body that is packed as `packing` says, in pieces of at most `max_bytes` + 1 bytes.

    Members of gzip may follow one another, and zeros may fill it up; other bytes behind the end are refused.
    Raises FetchError, TooLarge once more packed bytes came than `max_bytes` could ever need, Truncated.
    """
    if packing not in (*GZIP_NAMES, DEFLATE):
        raise FetchError(f"the body came packed as {packing[:20]!r}, which was not asked for")
    unpacker = _Unpacker(max_bytes, has_members=packing != DEFLATE)
    try:
        for part in parts:
            yield from unpacker.unpack(part)
    except zlib.error as error:
        raise FetchError(f"the body cannot be unpacked: {error}") from error
    if not unpacker.at_end:
        raise Truncated("the packed body broke off")


class _Unpacker:
    def __init__(self, max_bytes: int, *, has_members: bool) -> None:
        self._max_bytes = max_bytes
        # Stored instead of shrunk, a content grows by much less.
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
            # One byte more than allowed is enough to be found too large.
            yield self._member.decompress(packed, self._max_bytes + 1)
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _begin_member(self, packed: bytes) -> None:
        if not self._has_members or not packed.startswith(GZIP_BEGINS):
            raise FetchError(
                "the packed body has more bytes behind its end; send the content alone, or without packing"
            )
        self._members += 1
        if self._members > FREE_MEMBERS + self._packed // LEAST_MEMBER_BYTES:
            raise FetchError(
                f"the packed body has {self._members} gzip members in {self._packed} bytes; pack it in one"
            )
        self._member = zlib.decompressobj(GZIP)
