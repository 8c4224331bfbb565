"""Source that is a directory of pictures, with its subdirectories."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.skipped_files import Skipped, skipped_text
from cutout.ingest.sources.contents import Content, find_file
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
from cutout.ingest.sources.source import Extent
from cutout.ingest.sources.system_files import SYSTEM, SYSTEM_FILE, is_system_file, is_system_folder
from cutout.manifests import Record
from cutout.storage import Bucket

DEEPEST = 64
NO_FILE, LINKED_FOLDER = "no regular file", "a link to a folder"
Skip = Callable[[str, str, int], None]


class Directory:
    """Directory of pictures, read folder by folder: the names of one folder and its parents are in memory."""

    kind = "directory of pictures"
    is_manifest = False
    has_identity_of_pictures = True
    columns: ClassVar[tuple[str, ...]] = ()
    numbering = None

    def __init__(self, path: Path, *, max_bytes: int, patterns: FilePatterns | None = None) -> None:
        """Count the pictures. Raises IngestError if there is none or the directory cannot be read."""
        self._path = path.resolve()
        self._max_bytes = max_bytes
        self._patterns = patterns or FilePatterns()
        self._read = 0
        self.skipped = Skipped()
        digest, count = hashlib.sha256(), 0
        for files, _ in _Walk(self._path, self._patterns, self.skipped.add).folders():
            for name, version, _ in files:
                digest.update(f"{name}\0{version}\0".encode("utf-8", "surrogateescape"))
                count += 1
        if not count:
            raise IngestError(f"{path} holds no pictures; {LOOKED_FOR}{skipped_text(self.skipped)}")
        self.identity: list[str | int] = [os.fsencode(self._path).hex(), digest.hexdigest()]
        self.extent = Extent(count, "files")

    def records(self) -> Iterator[Record]:
        for record in file_records(self._named()):
            self._read = record.line
            yield record

    def position(self) -> int:
        return self._read

    def locate(self, name: str) -> str | Content:
        return find_file(self._path, name, max_bytes=self._max_bytes)

    def remarks(self) -> list[str]:
        return []

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _named(self) -> Iterator[tuple[PictureFile, str]]:
        for files, composed in _Walk(self._path, self._patterns, _ignore).folders():
            yield from name_pictures(files, composed=composed)


def _ignore(_reason: str, _name: str, _count: int = 1) -> None:
    """Ignore the file: it was counted by the first pass."""


class _Walk:
    """Walk through a directory; `skip` is called for each file that is not taken."""

    def __init__(self, root: Path, patterns: FilePatterns, skip: Skip) -> None:
        self._root = root
        self._patterns = patterns
        self._skip = skip

    def folders(
        self, folder: str = "", depth: int = 0, *, composed: bool = True
    ) -> Iterator[tuple[list[PictureFile], bool]]:
        """Yield the pictures of each folder, sorted, and whether their names may be composed (NFC).

        They may not where composing would make this folder's name equal to another's. Links to folders are
        not followed.
        """
        if depth > DEEPEST:
            raise IngestError(
                f"{self._root / folder} is more than {DEEPEST} folders deep; ingest it by itself"
            )
        files, deeper = [], []
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in sorted(entries, key=_name):
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.is_dir(follow_symlinks=False):
                        files += self._picture(entry, path)
                    elif is_system_folder(entry.name):
                        self._count_system(path)
                    else:
                        deeper.append(path)
        except OSError as error:
            raise IngestError(f"{self._root / folder} cannot be read: {error.strerror}") from error
        yield files, composed
        same_name = Counter(unicodedata.normalize("NFC", path) for path in deeper)
        for path in deeper:
            is_unique = same_name[unicodedata.normalize("NFC", path)] == 1
            yield from self.folders(path, depth + 1, composed=composed and is_unique)

    def _picture(self, entry: os.DirEntry[str], path: str) -> list[PictureFile]:
        if reason := self._reason(entry, path):
            self._skip(reason, path, 1)
            return []
        return [PictureFile(path, _version(entry))]

    def _reason(self, entry: os.DirEntry[str], path: str) -> str | None:
        """Return the reason to skip the file; None for a picture."""
        if is_system_file(entry.name):
            return SYSTEM_FILE
        if reason := self._patterns.reason(path) or reason_by_name(entry.name):
            return reason
        if not entry.is_file():
            return LINKED_FOLDER if entry.is_dir() else NO_FILE
        return None if is_picture_name(entry.name) else _reason_by_content(entry.path)

    def _count_system(self, path: str) -> None:
        """Count the files of a system folder, as far as it can be read."""
        count, first = 0, ""
        for above, folders, names in os.walk(self._root / path):
            folders.sort()
            names.sort()
            count += len(names)
            if names and not first:
                first = os.path.relpath(f"{above}/{names[0]}", self._root)
        self._skip(SYSTEM, first or path, count or 1)


def _reason_by_content(path: str) -> str | None:
    try:
        with Path(path).open("rb", buffering=0) as file:
            return reason_by_bytes(file.read(ENOUGH_BYTES) or b"")
    except OSError:
        return UNREADABLE


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _version(entry: os.DirEntry[str]) -> str | None:
    try:
        found = entry.stat()
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns}"
