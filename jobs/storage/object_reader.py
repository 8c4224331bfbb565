"""Reading an object in pieces, for as long as the reader likes."""

import io
from collections.abc import Callable
from typing import BinaryIO, cast

PIECE_BYTES = 4_194_304

ReadRange = Callable[[int, int], bytes]
"""The bytes from the first place to before the second."""


class _Pieces(io.RawIOBase):
    def __init__(self, size: int, read_range: ReadRange) -> None:
        self._size = size
        self._read_range = read_range
        self._place = 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]  # the base wants any buffer
        end = min(self._place + len(room), self._size)
        if end == self._place:
            return 0
        piece = self._read_range(self._place, end)
        room[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


def open_pieces(size: int, read_range: ReadRange) -> BinaryIO:
    """A stream that asks for 4 MiB at a time and holds no connection between."""
    return cast("BinaryIO", io.BufferedReader(_Pieces(size, read_range), PIECE_BYTES))
