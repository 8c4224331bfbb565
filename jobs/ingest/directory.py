"""A directory of pictures, with its subdirectories."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from jobs.ingest.contents import Content, find_file
from jobs.ingest.errors import IngestError
from jobs.ingest.naming import LOOKED_FOR, PictureFile, file_records, is_picture, name_pictures
from jobs.ingest.source import Extent
from jobs.manifest import Record
from jobs.storage import Bucket

DEEPEST = 64


class Directory:
    """Walks folder by folder: in memory are the names of one folder and of those above it."""

    kind = "directory of pictures"

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Look it through once. Raises IngestError if it holds no picture or cannot be read."""
        self._path = path.resolve()
        self._max_bytes = max_bytes
        self._read = 0
        digest, count = hashlib.sha256(), 0
        for _, files in _folders(self._path, Path()):
            for name, version in files:
                digest.update(f"{name}\0{version}\0".encode("utf-8", "surrogateescape"))
                count += 1
        if not count:
            raise IngestError(f"{path} holds no pictures; {LOOKED_FOR}")
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

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _named(self) -> Iterator[tuple[PictureFile, str]]:
        for _, files in _folders(self._path, Path()):
            yield from name_pictures(files)


def _folders(root: Path, folder: Path, depth: int = 0) -> Iterator[tuple[Path, list[PictureFile]]]:
    """Each folder with its pictures, sorted; links to folders are not followed."""
    if depth > DEEPEST:
        raise IngestError(f"{root / folder} lies more than {DEEPEST} folders deep; ingest it by itself")
    files, deeper = [], []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.name)
                elif is_picture(entry.name) and entry.is_file():
                    files.append(PictureFile(str(folder / entry.name), _version(entry)))
    except OSError as error:
        raise IngestError(f"{root / folder} cannot be read: {error.strerror}") from error
    yield folder, sorted(files)
    for name in sorted(deeper):
        yield from _folders(root, folder / name, depth + 1)


def _version(entry: os.DirEntry[str]) -> str | None:
    try:
        found = entry.stat()
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns}"
