"""Pictures on this machine: their bytes are stored in the bucket under the hash of their content."""

import hashlib
import stat
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from cutout.ingest.ingest_errors import UnusableError
from cutout.storage import Bucket
from cutout.storage.object_keys import source_key
from cutout.storage.uploads import upload_source


class OutsideDirectoryError(UnusableError):
    """The name points outside the directory."""


class MissingFileError(UnusableError):
    """No file has this name."""


class Content(Protocol):
    """Bytes of a picture, opened only when they are needed."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open a seekable file. Raises UnusableError or OSError."""


class Stored(NamedTuple):
    """Address of a picture in the bucket, and the SHA-256 of its bytes."""

    address: str
    sha256: bytes


class Keep(Protocol):
    """Callback that stores a picture. Raises UnusableError if its bytes cannot be read."""

    def __call__(self, content: Content) -> Stored: ...


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file of this machine that exists."""

    path: Path

    def open(self) -> AbstractContextManager[BinaryIO]:
        return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class Upload:
    """Stores pictures in the bucket. May be called by several threads."""

    bucket: Bucket
    producer_id: uuid.UUID | None = None

    def __call__(self, content: Content) -> Stored:
        """Upload the picture. Raises StorageError if the bucket does not accept it."""
        with open_content(content) as file:
            address = upload_source(self.bucket, file, self.producer_id)
        return Stored(address, bytes.fromhex(address.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class Hash:
    """Stores nothing; returns the address that a picture would have."""

    bucket: str

    def __call__(self, content: Content) -> Stored:
        with open_content(content) as file:
            digest = hashlib.file_digest(cast("BufferedReader", file), "sha256")
        return Stored(f"s3://{self.bucket}/{source_key(digest.hexdigest())}", digest.digest())


@contextmanager
def open_content(content: Content) -> Iterator[BinaryIO]:
    """Open a picture's bytes. Raises UnusableError if they cannot be read."""
    try:
        with content.open() as file:
            yield file
    except OSError as error:
        raise UnusableError(f"cannot be read: {error.strerror or error}") from error


def find_file(directory: Path, name: str, *, max_bytes: int) -> FileContent:
    """Return the picture `name` below `directory`.

    Raises UnusableError unless it is a readable regular file inside, MissingFileError if there is no such
    file.
    """
    try:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory):
            raise OutsideDirectoryError(f"points outside {directory}; put the picture inside")
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"is no file in {directory}; put the picture there or correct its name"
        ) from None
    except (OSError, RuntimeError):
        # The name is too long, or a circle of links.
        raise UnusableError("cannot be a file name; fix it") from None
    if not stat.S_ISREG(found.st_mode):
        raise UnusableError("is no regular file; name a picture")
    require_size(found.st_size, max_bytes)
    return FileContent(path)


def require_size(size: int, max_bytes: int) -> None:
    """Raise UnusableError for a picture without bytes or with more than `max_bytes`."""
    if not 0 < size <= max_bytes:
        raise UnusableError(f"has {size:,} bytes; 1 to {max_bytes:,} are taken (CUTOUT_MAX_SOURCE_BYTES)")
