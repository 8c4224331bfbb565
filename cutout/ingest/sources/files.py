"""Where a manifest or archive lies: on this machine, or in a bucket."""

import shutil
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from cutout.ingest.ingest_errors import IngestError, NoRoomError
from cutout.ingest.stop import Check, never_stops
from cutout.storage import Bucket, ListedObject

BLOCK_BYTES = 1024 * 1024
# Whatever it is: nobody's browser is to show it.
MANIFEST = "application/octet-stream"


class SourceFile(Protocol):
    """A file's bytes from its begin. Reading raises IngestError or StorageError."""

    name: str
    identity: list[str | int]
    size: int
    position: int
    """How many bytes were read."""

    def begin(self) -> bytes:
        """The first four bytes, which are still to be read. Raises as read."""

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...

    def keep(self, bucket: Bucket, key: str) -> None:
        """Store a copy of the whole file. Raises IngestError or StorageError."""

    def again(self) -> "SourceFile":
        """The same file from its begin. Raises IngestError if it changed, and as reading does."""


class LocalFile:
    """A file of this machine; says its name where the system says only what went wrong."""

    def __init__(self, path: Path) -> None:
        """Raises IngestError if it cannot be read."""
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
            bucket.put_file(self._path, key=key, media_type=MANIFEST)
        except OSError as error:
            raise self._unreadable(error) from error

    def again(self) -> SourceFile:
        return _unchanged(self, LocalFile(self._path))

    def _unreadable(self, error: OSError) -> IngestError:
        return IngestError(f"{self._path} cannot be read: {error.strerror or error}")


class ObjectFile:
    """An object of a bucket, read in pieces: no connection is held between them.

    `name` is what messages call it, its address if not given; `check` is called before each piece.
    """

    def __init__(
        self, bucket: Bucket, found: ListedObject, *, name: str | None = None, check: Check = never_stops
    ) -> None:
        """Raises StorageError."""
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
            bucket.put_pieces(iter(lambda: file.read(BLOCK_BYTES), b""), key=key, media_type=MANIFEST)

    def again(self) -> SourceFile:
        found = self._bucket.describe(self._key)
        return _unchanged(self, ObjectFile(self._bucket, found, name=self.name, check=self._check))


def _unchanged(before: SourceFile, now: SourceFile) -> SourceFile:
    if now.identity != before.identity:
        now.close()
        raise IngestError(f"{before.name} changed while it was read; give the same command again")
    return now


def copy_to_disk(file: SourceFile) -> Path:
    """A temporary file with all that is left of `file`, for what must be read back and forth.

    Raises NoRoomError if this machine has none for it. Removing it is the caller's.
    """
    with tempfile.NamedTemporaryFile(prefix="cutout-", delete=False) as copy:
        path = Path(copy.name)
        try:
            while data := file.read(BLOCK_BYTES):
                copy.write(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            room = shutil.disk_usage(path.parent).free
            raise NoRoomError(
                f"{file.name} has {file.size:,} bytes and {path.parent} room for {room:,}: {error.strerror};"
                " make room, or set TMPDIR"
            ) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path
