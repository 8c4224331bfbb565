"""TIFFs of several directories, built by hand as cameras, scanners and editors write them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Values = Sequence[int] | bytes


@dataclass
class Ifd:
    """A picture of one colour, or one without pixels; `sub` are its SubIFDs."""

    size: tuple[int, int] | None = None
    colour: tuple[int, int, int] = (200, 40, 40)
    tags: Mapping[int, Values] = field(default_factory=dict)
    sub: "list[Ifd]" = field(default_factory=list)


def tiff_of(*chain: Ifd, order: str = "<", big: bool = False, magic: bytes | None = None) -> bytes:
    """A TIFF or BigTIFF whose main directories are `chain`."""
    writer = _Writer(order, big=big)
    return writer.whole(list(chain), magic)


class _Writer:
    def __init__(self, order: str, *, big: bool) -> None:
        self._order, self._big = order, big
        self._word = "Q" if big else "I"
        self._data = bytearray(16 if big else 8)

    def whole(self, chain: list[Ifd], magic: bytes | None) -> bytes:
        places = [self._add(ifd) for ifd in chain]
        for (_, next_at), (following, _) in pairwise(places):
            struct.pack_into(self._order + self._word, self._data, next_at, following)
        mark = b"II" if self._order == "<" else b"MM"
        if self._big:
            struct.pack_into(self._order + "2sHHHQ", self._data, 0, mark, 43, 8, 0, places[0][0])
        else:
            struct.pack_into(self._order + "2sHI", self._data, 0, mark, 42, places[0][0])
        if magic is not None:
            self._data[: len(magic)] = magic
        return bytes(self._data)

    def _add(self, ifd: Ifd) -> tuple[int, int]:
        """Return the offset of the directory, and the offset of its link to the next one."""
        tags: dict[int, Values] = {}
        if ifd.size is not None:
            width, height = ifd.size
            strip = bytes(ifd.colour) * width * height
            tags |= {256: [width], 257: [height], 258: [8, 8, 8], 259: [1], 262: [2], 277: [3], 278: [height]}
            tags |= {273: [self._append(strip)], 279: [len(strip)]}
        tags.update(ifd.tags)
        if ifd.sub:
            tags[330] = [self._add(sub)[0] for sub in ifd.sub]
        return self._directory(tags)

    def _directory(self, tags: dict[int, Values]) -> tuple[int, int]:
        inline = 8 if self._big else 4
        entries = b""
        for tag, values in sorted(tags.items()):
            kind, body = (7, values) if isinstance(values, bytes) else (4, self._packed(values))
            where = self._append(body) if len(body) > inline else None
            field_ = (
                body.ljust(inline, b"\0") if where is None else struct.pack(self._order + self._word, where)
            )
            entries += struct.pack(self._order + "HH" + self._word, tag, kind, len(values)) + field_
        head = struct.pack(self._order + ("Q" if self._big else "H"), len(tags))
        place = self._append(head + entries + bytes(inline))
        return place, len(self._data) - inline

    def _packed(self, values: Sequence[int]) -> bytes:
        return struct.pack(f"{self._order}{len(values)}I", *values)

    def _append(self, data: bytes) -> int:
        self._data += bytes(len(self._data) % 2)
        place = len(self._data)
        self._data += data
        return place
