"""A zip archive of pictures."""

import lzma
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from jobs.ingest.archive_names import known_encoding, name_of
from jobs.ingest.choosing import Choice
from jobs.ingest.contents import Content, require_size
from jobs.ingest.errors import IngestError, UnusableError
from jobs.ingest.files import SourceFile
from jobs.ingest.kinds import (
    ENOUGH_BYTES,
    LOOKED_FOR,
    UNREADABLE,
    is_picture_name,
    reason_by_bytes,
    reason_by_name,
)
from jobs.ingest.naming import PictureFile, file_records, name_pictures
from jobs.ingest.skipped import Reason, Skipped, told
from jobs.ingest.source import Extent
from jobs.ingest.system_files import system_reason
from jobs.manifest import Record
from jobs.storage import Bucket

MOST_MEMBERS = 100_000
# The list of members is read whole.
LONGEST_LIST_BYTES = 32 * 1024 * 1024
# Pictures hardly shrink in a zip; what unpacks to so much more is a bomb.
MOST_UNPACKED_RATIO = 100
UNSUSPICIOUS_BYTES = 100_000_000
IN_MEMORY_BYTES = 1024 * 1024
BLOCK_BYTES = 64 * 1024

END = struct.Struct("<4s4H2LH")
END_64_LOCATOR = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
LONGEST_COMMENT = 65_535
IS_ENCRYPTED = 0x1
ENCRYPTED = "encrypted: pack it without a password"
DRIVE = re.compile(r"[A-Za-z]:/")
UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


class Archive:
    """Members are unpacked one by one, into memory or a temporary file."""

    kind = "zip archive of pictures"
    is_manifest = False
    numbering = None

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        copy_of: SourceFile | None = None,
        encoding: str | None = None,
        choice: Choice | None = None,
    ) -> None:
        """Raises IngestError for what is no zip archive, is a bomb, or holds no picture.

        With `copy_of` the file at `path` is a temporary one, and is removed when this is closed. `encoding`
        is that of names that do not say theirs.
        """
        self._max_bytes = max_bytes
        self._read = 0
        found = path.stat()
        its_own: list[str | int] = [str(path.resolve()), found.st_size, found.st_mtime_ns]
        self.identity = copy_of.identity if copy_of else its_own
        self._copy = path if copy_of else None
        codec = known_encoding(encoding)
        _require_short_list(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise IngestError(f"{path} is damaged: {error}; copy or pack it again") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        _refuse_bomb(path, members, found.st_size)
        self.skipped = Skipped()
        self._uncertain = Reason()
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._files: list[PictureFile] = []
        for number, member in enumerate(members, start=1):
            self._take(number, member, choice or Choice(), codec)
        if not self._files:
            raise IngestError(f"{path} holds no pictures; {LOOKED_FOR}{told(self.skipped)}")
        self.extent = Extent(len(self._files), "files")

    def records(self) -> Iterator[Record]:
        for record in file_records(name_pictures(self._files)):
            self._read = record.line
            yield record

    def position(self) -> int:
        return self._read

    def locate(self, name: str) -> str | Content:
        if name.startswith("/") or DRIVE.match(name) or ".." in PurePosixPath(name).parts:
            raise UnusableError("leads out of the archive; pack it under a plain name")
        member = self._members[name]
        if member.flag_bits & IS_ENCRYPTED:
            raise UnusableError("is encrypted; pack it without a password")
        require_size(member.file_size, self._max_bytes)
        return _MemberContent(self._zip, member)

    def remarks(self) -> list[str]:
        if not self._uncertain.count:
            return []
        names = ", ".join(self._uncertain.names)
        remark = (
            f"{self._uncertain.count:,} names are in an encoding that the archive does not tell, and are read"
            f" as cp437: {names}; if they are wrong, say another, for instance `--encoding cp932`"
        )
        return [remark]

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        self._zip.close()
        if self._copy:
            self._copy.unlink(missing_ok=True)

    def _take(self, number: int, member: zipfile.ZipInfo, choice: Choice, codec: str | None) -> None:
        name, is_certain = name_of(member, codec)
        if name.endswith("/"):
            # A folder, as other machines than zipfile's write it.
            return
        if reason := self._reason(member, name, choice):
            self.skipped.add(reason, name)
            return
        if not is_certain:
            self._uncertain.add(name)
        version = f"{member.CRC:08x} {member.file_size}"
        if name in self._members:
            again = f"is the name of two files of the archive, and this is member {number}; give it another"
            self._files.append(PictureFile(name, version, again))
            return
        self._members[name] = member
        self._files.append(PictureFile(name, version))

    def _reason(self, member: zipfile.ZipInfo, name: str, choice: Choice) -> str | None:
        """Why the member is not taken; None for a picture."""
        if reason := system_reason(name) or choice.reason(name) or reason_by_name(name):
            return reason
        return None if is_picture_name(name) else self._reason_by_content(member)

    def _reason_by_content(self, member: zipfile.ZipInfo) -> str | None:
        if member.flag_bits & IS_ENCRYPTED:
            return ENCRYPTED
        try:
            with self._zip.open(member) as file:
                return reason_by_bytes(file.read(ENOUGH_BYTES))
        except UNPACKING_ERRORS:
            return UNREADABLE


@dataclass(frozen=True, slots=True)
class _MemberContent:
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            try:
                self._unpack(cast("BinaryIO", file))
            except UNPACKING_ERRORS as error:
                raise UnusableError(f"cannot be unpacked: {error}; pack it again") from error
            file.seek(0)
            yield cast("BinaryIO", file)

    def _unpack(self, file: BinaryIO) -> None:
        unpacked = 0
        with self.archive.open(self.member) as packed:
            while block := packed.read(BLOCK_BYTES):
                unpacked += len(block)
                if unpacked > self.member.file_size:
                    raise UnusableError("unpacks to more than the archive says; pack it again")
                file.write(block)


def _refuse_bomb(path: Path, members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNSUSPICIOUS_BYTES and unpacked > MOST_UNPACKED_RATIO * packed_bytes:
        raise IngestError(
            f"{path} is refused: its {packed_bytes:,} bytes would unpack to {unpacked:,}, which pictures"
            " never do; look where it comes from"
        )


def _require_short_list(path: Path) -> None:
    """Before zipfile reads the whole list into memory."""
    members, list_bytes = _read_end(path)
    if members > MOST_MEMBERS or list_bytes > LONGEST_LIST_BYTES:
        raise IngestError(
            f"{path} lists {members:,} files in {list_bytes:,} bytes; at most {MOST_MEMBERS:,} in"
            f" {LONGEST_LIST_BYTES:,} are taken: unpack it and ingest the directory, or pack several"
        )


def _read_end(path: Path) -> tuple[int, int]:
    """How many members the archive has and how many bytes their list takes (APPNOTE.TXT, 4.3.14 on)."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - END.size - LONGEST_COMMENT - END_64_LOCATOR.size)
        file.seek(begin)
        tail = file.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or place + END.size > len(tail):
            raise IngestError(f"{path} is cut off or no zip archive; copy or pack it again")
        *_, members, list_bytes, _, _ = END.unpack_from(tail, place)
        before = place - END_64_LOCATOR.size
        if before < 0 or tail[before : before + 4] != b"PK\6\7":
            return members, list_bytes
        _, _, end_64, _ = END_64_LOCATOR.unpack_from(tail, before)
        file.seek(min(end_64, size))
        found = file.read(END_64.size)
        if len(found) < END_64.size:
            raise IngestError(f"{path} is damaged: its list of files is not where it says; pack it again")
        *_, members, list_bytes, _ = END_64.unpack(found)
        return members, list_bytes
