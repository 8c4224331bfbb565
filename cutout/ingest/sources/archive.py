"""Source that is a zip archive of pictures."""

import errno
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar, cast

from cutout.ingest.ingest_errors import IngestError, NoRoomError, UnusableError
from cutout.ingest.skipped_files import Reason, Skipped, skipped_text
from cutout.ingest.sources.archive_list import ArchiveFile, declared_members, require_one_list
from cutout.ingest.sources.archive_names import known_encoding, name_of
from cutout.ingest.sources.contents import Content, require_size
from cutout.ingest.sources.external_ids import PictureFile, file_records, name_pictures
from cutout.ingest.sources.file_kinds import (
    ENOUGH_BYTES,
    LOOKED_FOR,
    UNREADABLE,
    is_picture_name,
    reason_by_bytes,
    reason_by_name,
)
from cutout.ingest.sources.file_patterns import FilePatterns
from cutout.ingest.sources.files import SourceFile
from cutout.ingest.sources.source import Extent
from cutout.ingest.sources.system_files import system_reason
from cutout.ingest.stop import Check, never_stops
from cutout.manifests import Record
from cutout.storage import Bucket

# zipfile reads these methods block by block; with the others a kilobyte may become gigabytes at once.
SUPPORTED_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# Pictures hardly shrink in a zip; a larger ratio is a zip bomb.
MOST_UNPACKED_RATIO = 100
UNSUSPICIOUS_BYTES = 100_000_000
IN_MEMORY_BYTES = 1024 * 1024
BLOCK_BYTES = 64 * 1024

IS_ENCRYPTED = 0x1
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
ENCRYPTED = "encrypted: pack it without a password"
DRIVE = re.compile(r"[A-Za-z]:/")
UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


class Archive:
    """Zip archive of pictures. Members are unpacked one by one, into memory or a temporary file."""

    kind = "zip archive of pictures"
    is_manifest = False
    # Two archives of other pictures may have one size and time.
    has_identity_of_pictures = False
    columns: ClassVar[tuple[str, ...]] = ()
    numbering = None

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        copy_of: SourceFile | None = None,
        encoding: str | None = None,
        patterns: FilePatterns | None = None,
        check: Check = never_stops,
    ) -> None:
        """Open and list the archive. Raises IngestError if it is not a zip archive, is a bomb, or holds no
        picture.

        With `copy_of` the file at `path` is a temporary one, and is unlinked once it is open. `encoding` is
        used for names that do not declare theirs. `check` is called for each member.
        """
        self._max_bytes = max_bytes
        self._read = 0
        found = path.stat()
        local_identity: list[str | int] = [str(path.resolve()), found.st_size, found.st_mtime_ns]
        self.identity = copy_of.identity if copy_of else local_identity
        codec = known_encoding(encoding)
        self._name = copy_of.name if copy_of else str(path)
        self._file, self._zip = _opened(path, self._name)
        if copy_of:
            # The file stays open without a name: it is deleted when this process ends, however that happens.
            path.unlink(missing_ok=True)
        try:
            self._list_members(found.st_size, codec, patterns or FilePatterns(), check)
        except BaseException:
            self._close_file()
            raise

    def _list_members(self, size: int, codec: str | None, patterns: FilePatterns, check: Check) -> None:
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        _refuse_bomb(self._name, members, size)
        self.skipped = Skipped()
        self._uncertain = Reason()
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._files: list[PictureFile] = []
        for number, member in enumerate(members, start=1):
            check()
            self._add(number, member, patterns, codec)
        if not self._files:
            raise IngestError(f"{self._name} holds no pictures; {LOOKED_FOR}{skipped_text(self.skipped)}")
        self.extent = Extent(len(self._files), "files")

    def records(self) -> Iterator[Record]:
        for record in file_records(name_pictures(self._files)):
            self._read = record.line
            yield record

    def position(self) -> int:
        return self._read

    def locate(self, name: str) -> str | Content:
        if name.startswith("/") or DRIVE.match(name) or ".." in PurePosixPath(name).parts:
            raise UnusableError("points outside the archive; pack it under a plain name")
        member = self._members[name]
        if member.flag_bits & IS_ENCRYPTED:
            raise UnusableError("is encrypted; pack it without a password")
        _require_supported(member)
        require_size(member.file_size, self._max_bytes)
        return _MemberContent(self._zip, member)

    def remarks(self) -> list[str]:
        if not self._uncertain.count:
            return []
        count, names = self._uncertain.count, ", ".join(self._uncertain.names)
        subject = "1 name is" if count == 1 else f"{count:,} names are"
        remark = (
            f"{subject} in an encoding that the archive does not declare, and read as cp437: {names}; if that"
            " is wrong, give another, for instance `--encoding cp932`"
        )
        return [remark]

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        self._close_file()

    def _close_file(self) -> None:
        self._zip.close()
        self._file.close()

    def _add(self, number: int, member: zipfile.ZipInfo, patterns: FilePatterns, codec: str | None) -> None:
        name, is_certain = name_of(member, codec)
        if name.endswith("/"):
            # A folder entry of a packer that zipfile does not recognise.
            return
        if reason := self._reason(member, name, patterns):
            self.skipped.add(reason, name)
            return
        if not is_certain:
            self._uncertain.add(name)
        version = f"{member.CRC:08x} {member.file_size}"
        if name in self._members:
            fault = f"is the name of two files of the archive, and this is member {number}; give it another"
            self._files.append(PictureFile(name, version, fault))
            return
        self._members[name] = member
        self._files.append(PictureFile(name, version))

    def _reason(self, member: zipfile.ZipInfo, name: str, patterns: FilePatterns) -> str | None:
        """Return the reason to skip the member; None for a picture."""
        if reason := system_reason(name) or patterns.reason(name) or reason_by_name(name):
            return reason
        return None if is_picture_name(name) else self._reason_by_content(member)

    def _reason_by_content(self, member: zipfile.ZipInfo) -> str | None:
        if member.flag_bits & IS_ENCRYPTED:
            return ENCRYPTED
        try:
            _require_supported(member)
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
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    raise NoRoomError(
                        f"{tempfile.gettempdir()} has no space for a picture: {error.strerror}; make"
                        " room, or set TMPDIR"
                    ) from error
                raise UnusableError(f"cannot be unpacked: {error}; pack it again") from error
            file.seek(0)
            yield cast("BinaryIO", file)

    def _unpack(self, file: BinaryIO) -> None:
        unpacked = 0
        with self.archive.open(self.member) as packed:
            while block := packed.read(BLOCK_BYTES):
                unpacked += len(block)
                if unpacked > self.member.file_size:
                    raise UnusableError("unpacks to more than the archive declares; pack it again")
                file.write(block)


def _refuse_bomb(name: str, members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNSUSPICIOUS_BYTES and unpacked > MOST_UNPACKED_RATIO * packed_bytes:
        raise IngestError(
            f"{name} is refused: its {packed_bytes:,} bytes would unpack to {unpacked:,}, which pictures"
            " never do; check where it comes from"
        )


def _opened(path: Path, name: str) -> tuple[ArchiveFile, zipfile.ZipFile]:
    """Open the archive. Raises IngestError. The caller closes the file: zipfile closes none that it was
    given.
    """
    declared = declared_members(path, name)
    file = ArchiveFile(path, name)
    try:
        opened = zipfile.ZipFile(file)
        require_one_list(name, declared, file.listed)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        file.close()
        raise IngestError(f"{name} is damaged: {error}; copy or pack it again") from error
    except BaseException:
        file.close()
        raise
    return file, opened


def _require_supported(member: zipfile.ZipInfo) -> None:
    if member.compress_type not in SUPPORTED_METHODS:
        raise UnusableError(
            f"is packed by method {member.compress_type} of zip; pack it again with the usual one, Deflate"
        )
