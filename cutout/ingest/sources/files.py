"""Files of a source: a manifest or archive on this machine or in a bucket."""

import shutil
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.sources.temporary_space import COPY_PREFIX
from cutout.ingest.stop import Check, never_stops
from cutout.storage import Bucket, ListedObject

BLOCK_BYTES = 1024 * 1024
# For any manifest, so that no browser displays it.
MEDIA_TYPE = "application/octet-stream"


class SourceFile(Protocol):
    """A file read from its start. Reading raises IngestError or StorageError."""

    name: str
    identity: list[str | int]
    size: int
    position: int
    """Number of bytes read."""

    def begin(self) -> bytes:
        """Return the first four bytes without consuming them. Raises as read()."""

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...

    def keep(self, bucket: Bucket, key: str) -> None:
        """Store a copy of the whole file. Raises IngestError or StorageError."""

    def again(self) -> "SourceFile":
        """Open the same file from its start. Raises IngestError if it changed, and as read()."""


class LocalFile:
    """A file of this machine. Its errors name the file, which the system's do not."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises IngestError if it cannot be read."""
        self._path = path
        self.name = str(path)
        self.position = 0
        try:
            found = path.stat()
            self._file = path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from error
        self.size = found.st_size
        self.identity: list[str | int] = [str(path.resolve()), found.st_size, found.st_mtime_ns]

    def begin(self) -> bytes:
        try:
            return self._file.peek(4)[:4]
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._unreadable(error) from error
        self.position += len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def keep(self, bucket: Bucket, key: str) -> None:
        try:
            bucket.put_file(self._path, key=key, media_type=MEDIA_TYPE)
        except OSError as error:
            raise self._unreadable(error) from error

    def again(self) -> SourceFile:
        return _require_unchanged(self, LocalFile(self._path))

    def _unreadable(self, error: OSError) -> IngestError:
        return IngestError(f"{self._path} cannot be read: {error.strerror or error}")


class ObjectFile:
    """An object of a bucket, read in pieces: no connection is held between them.

    `name` is used in messages, the object's address by default; `check` is called before each piece.
    """

    def __init__(
        self, bucket: Bucket, found: ListedObject, *, name: str | None = None, check: Check = never_stops
    ) -> None:
        """Open the object. Raises StorageError."""
        self._bucket = bucket
        self._key = found.key
        self._check = check
        address = f"s3://{bucket.name}/{found.key}"
        self.name = name or address
        self.identity: list[str | int] = [address, found.size, found.etag]
        self.size = found.size
        self.position = 0
        self._file = cast("BufferedReader", bucket.open(found.key))

    def begin(self) -> bytes:
        return self._file.peek(4)[:4]

    def read(self, size: int) -> bytes:
        self._check()
        data = self._file.read(size)
        self.position += len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def keep(self, bucket: Bucket, key: str) -> None:
        with self._bucket.open(self._key) as file:
            bucket.put_pieces(iter(lambda: file.read(BLOCK_BYTES), b""), key=key, media_type=MEDIA_TYPE)

    def again(self) -> SourceFile:
        found = self._bucket.describe(self._key)
        return _require_unchanged(self, ObjectFile(self._bucket, found, name=self.name, check=self._check))


def _require_unchanged(before: SourceFile, now: SourceFile) -> SourceFile:
    if now.identity != before.identity:
        now.close()
        raise IngestError(f"{before.name} changed while it was read; run the same command again")
    return now


def copy_to_disk(file: SourceFile) -> Path:
    """Write the rest of `file` to a temporary file, for random access; the caller removes it.

    Raises NoRoomError if the disk is full.
    """
    with tempfile.NamedTemporaryFile(prefix=COPY_PREFIX, delete=False) as copy:
        path = Path(copy.name)
        try:
            while data := file.read(BLOCK_BYTES):
                copy.write(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            free = shutil.disk_usage(path.parent).free
            raise NoRoomError(
                f"{file.name} has {file.size:,} bytes and {path.parent} has space for {free:,}:"
                f" {error.strerror}; make room, or set TMPDIR"
            ) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path
