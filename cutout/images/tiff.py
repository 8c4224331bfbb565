"""TIFF directories: which of the pictures is the full-size one, and whether the file is a camera raw.

TIFF 6.0, BigTIFF, TIFF/EP (ISO 12234-2) and DNG share the structure. Only directories are read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = (
    254,
    255,
    256,
    257,
    258,
    259,
    262,
)
MAKE, STRIP_OFFSETS, ORIENTATION, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES, SUB_IFDS = (
    271,
    273,
    274,
    279,
    324,
    325,
    330,
)
SAMPLE_FORMAT, XMP, ICC_PROFILE = 339, 700, 34675
CFA_REPEAT_DIM, CFA_PATTERN, DNG_VERSION = 33421, 33422, 50706

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_DIRECTORIES = 100
MOST_ENTRIES = 1000
_MOST_VALUES = 65_536
_MOST_SUB_IFDS = 16
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2
_MASK_COLOURS = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag's values: their type, number and offset in the file."""

    kind: int
    count: int
    position: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One picture of the file. `parent` is the directory whose SubIFDs reference it."""

    position: int
    entries: dict[int, Entry] = field(repr=False)
    parent: "Directory | None" = None


class Tiff:
    """Directories of a TIFF, as far as they are readable; each number is limited against hostile files."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self.order = "<" if source[:2] == b"II" else ">"
        self.is_big = source[2:4] in (b"+\0", b"\0+")
        self.broken = False
        self.has_too_many_entries = False
        self.directories = list(self._read_all())

    def numbers(self, directory: Directory, tag: int) -> tuple[int, ...]:
        """Return the unsigned values of a tag; empty if it is absent or of another type."""
        entry = directory.entries.get(tag)
        if entry is None or entry.kind not in _NUMBERS:
            return ()
        count = min(entry.count, _MOST_VALUES)
        if entry.position + count * _SIZES[entry.kind] > len(self._source):
            return ()
        return struct.unpack_from(f"{self.order}{count}{_NUMBERS[entry.kind]}", self._source, entry.position)

    def number(self, directory: Directory, tag: int, default: int = 0) -> int:
        values = self.numbers(directory, tag)
        return values[0] if values else default

    def data(self, directory: Directory, tag: int) -> bytes:
        """Return the bytes of a tag; empty if it is absent or outside the file."""
        entry = directory.entries.get(tag)
        if entry is None or entry.kind not in _SIZES:
            return b""
        end = entry.position + entry.count * _SIZES[entry.kind]
        return self._source[entry.position : end] if end <= len(self._source) else b""

    def owner(self, directory: Directory, tag: int) -> Directory | None:
        """Return the directory that has the tag: this one, or one that references it."""
        here: Directory | None = directory
        while here is not None and tag not in here.entries:
            here = here.parent
        return here

    def changed(self, directory: Directory, tag: int, value: int) -> tuple[int, bytes]:
        """Return the offset and bytes that give a tag another value."""
        entry = directory.entries[tag]
        return entry.position, struct.pack(self.order + _NUMBERS[entry.kind], value)

    def size(self, directory: Directory) -> tuple[int, int]:
        return self.number(directory, WIDTH), self.number(directory, HEIGHT)

    def is_reduced(self, directory: Directory) -> bool:
        """Whether the directory declares that it is a smaller copy of another picture."""
        return bool(self.number(directory, SUBFILE_TYPE) & _REDUCED) or (
            self.number(directory, OLD_SUBFILE_TYPE) == _OLD_REDUCED
        )

    def is_mask(self, directory: Directory) -> bool:
        return bool(self.number(directory, SUBFILE_TYPE) & _MASK) or (
            self.number(directory, PHOTOMETRIC) == _MASK_COLOURS
        )

    def is_whole(self, directory: Directory) -> bool:
        """Whether all of its pixels are inside the file."""
        if self.broken or min(self.size(directory)) < 1:
            return False
        for offsets, lengths in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)):
            ranges = zip(self.numbers(directory, offsets), self.numbers(directory, lengths), strict=False)
            ends = [offset + length for offset, length in ranges]
            if ends:
                return max(ends) <= len(self._source)
        return False

    def full_size(self) -> Directory | None:
        """Return the picture to use: the largest, the first of equals; a reduced one if there is no other."""
        pictures = [one for one in self.directories if min(self.size(one)) > 0 and not self.is_mask(one)]
        full = [one for one in pictures if not self.is_reduced(one)] or pictures
        return max(full, key=lambda one: self.size(one)[0] * self.size(one)[1], default=None)

    def _read_all(self) -> Iterator[Directory]:
        """Yield the main directories in order, each before its SubIFDs."""
        position = self._number_at(8 if self.is_big else 4, 8 if self.is_big else 4)
        seen: set[int] = set()
        while position and position not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(position)
            read = self._read(position)
            if read is None:
                return
            directory, position = read
            yield directory
            yield from self._sub_directories(directory, seen)

    def _sub_directories(self, directory: Directory, seen: set[int]) -> Iterator[Directory]:
        for position in self.numbers(directory, SUB_IFDS)[:_MOST_SUB_IFDS]:
            if not position or position in seen or len(seen) >= _MOST_DIRECTORIES:
                continue
            seen.add(position)
            read = self._read(position, directory)
            if read is not None:
                yield read[0]
                yield from self._sub_directories(read[0], seen)

    def _read(self, position: int, parent: Directory | None = None) -> tuple[Directory, int] | None:
        """Read a directory and the offset of the next one, 0 for none; None where the file ends early."""
        head, size, inline = (8, 20, 8) if self.is_big else (2, 12, 4)
        if position + head > len(self._source):
            self.broken = True
            return None
        count = self._number_at(position, head)
        end = position + head + count * size
        if count > MOST_ENTRIES or end > len(self._source):
            self.broken = True
            self.has_too_many_entries |= end <= len(self._source)
            return None
        entries: dict[int, Entry] = {}
        for at in range(position + head, end, size):
            tag, kind = struct.unpack_from(self.order + "HH", self._source, at)
            values = self._number_at(at + 4, inline)
            offset = at + 4 + inline
            if _SIZES.get(kind, 1) * values > inline:
                offset = self._number_at(offset, inline)
            entries.setdefault(tag, Entry(kind, values, offset))
        return Directory(position, entries, parent), self._number_at(end, inline)

    def _number_at(self, position: int, size: int) -> int:
        if position + size > len(self._source):
            self.broken = True
            return 0
        number: int = struct.unpack_from(self.order + {2: "H", 4: "I", 8: "Q"}[size], self._source, position)[
            0
        ]
        return number
