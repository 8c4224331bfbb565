"""List of members at the end of a zip archive, checked before zipfile creates an object per member."""

import io
import os
import struct
from pathlib import Path

from cutout.ingest.ingest_errors import IngestError

MOST_MEMBERS = 100_000
# The list is read into memory as a whole.
LONGEST_LIST_BYTES = 32 * 1024 * 1024

END = struct.Struct("<4s4H2LH")
END_64_LOCATOR = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
MEMBER = struct.Struct("<4s24x3H12x")
LONGEST_COMMENT = 65_535
NOT_HERE_16, NOT_HERE_32 = 0xFFFF, 0xFFFFFFFF


class ArchiveFile(io.BufferedReader):
    """Archive file for zipfile to read. A member list is counted before zipfile gets it, wherever it was
    found.

    `listed` is the number of members in it.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open the file; `name` is used in messages. Raises OSError."""
        super().__init__(io.FileIO(path, "rb"))
        self._name = name
        self._size = os.fstat(self.fileno()).st_size
        self.listed = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does. Raises IngestError for a member list that is too long."""
        wanted = self._size - self.tell() if size is None or size < 0 else size
        if wanted > LONGEST_LIST_BYTES:
            raise list_too_long(self._name, self.listed, wanted)
        data = super().read(size)
        if data.startswith(b"PK\1\2") and len(data) >= MEMBER.size:
            self.listed = _count(data)
            if self.listed > MOST_MEMBERS:
                raise list_too_long(self._name, self.listed, len(data))
        return data


def list_too_long(name: str, members: int, list_bytes: int) -> IngestError:
    return IngestError(
        f"{name} lists {members:,} files in {list_bytes:,} bytes; at most {MOST_MEMBERS:,} in"
        f" {LONGEST_LIST_BYTES:,} are taken: unpack it and ingest the directory, or pack several"
    )


def require_one_list(name: str, declared: int, listed: int) -> None:
    """Raise IngestError unless the archive has as many members as it declares.

    Archives without the 64-bit record count modulo 65,536.
    """
    if listed != declared and (declared > NOT_HERE_16 or listed % (NOT_HERE_16 + 1) != declared):
        raise _differ(name, f"{declared:,} files", f"{listed:,}")


def declared_members(path: Path, name: str) -> int:
    """Return the declared number of members.

    Raises IngestError if there are too many, or if the two end records differ (APPNOTE.TXT, 4.3.14 on).
    """
    members, list_bytes = _read_end(path, name)
    if members > MOST_MEMBERS or list_bytes > LONGEST_LIST_BYTES:
        raise list_too_long(name, members, list_bytes)
    return members


def _read_end(path: Path, name: str) -> tuple[int, int]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - END.size - LONGEST_COMMENT - END_64_LOCATOR.size - END_64.size)
        file.seek(begin)
        tail = file.read()
    offset = tail.rfind(b"PK\5\6")
    if offset < 0 or offset + END.size > len(tail):
        raise IngestError(f"{name} is truncated or is no zip archive; copy or pack it again")
    *_, members, list_bytes, _, _ = END.unpack_from(tail, offset)
    locator = offset - END_64_LOCATOR.size
    if locator < 0 or tail[locator : locator + 4] != b"PK\6\7":
        return members, list_bytes
    _, _, end_64, _ = END_64_LOCATOR.unpack_from(tail, locator)
    expected = locator - END_64.size
    # Python's zipfile reads the record before the locator, other programs the one that the locator names.
    if expected < 0 or end_64 != begin + expected or tail[expected : expected + 4] != b"PK\6\6":
        raise _differ(name, f"its record at byte {end_64:,}", f"at byte {begin + max(expected, 0):,}")
    *_, members_64, list_bytes_64, _ = END_64.unpack_from(tail, expected)
    for short, long, absent in (
        (members, members_64, NOT_HERE_16),
        (list_bytes, list_bytes_64, NOT_HERE_32),
    ):
        if short not in (absent, long):
            raise _differ(name, f"{short:,}", f"{long:,}")
    return members_64, list_bytes_64


def _differ(name: str, one: str, other: str) -> IngestError:
    return IngestError(
        f"{name} is damaged, or forged: its two lists of files differ ({one} and {other}); pack it again"
    )


def _count(data: bytes) -> int:
    count = offset = 0
    while offset + MEMBER.size <= len(data):
        begin, name, extra, comment = MEMBER.unpack_from(data, offset)
        if begin != b"PK\1\2":
            break
        count += 1
        offset += MEMBER.size + name + extra + comment
    return count
