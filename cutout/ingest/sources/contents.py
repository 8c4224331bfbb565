"""Pictures that lie on this machine: their bytes become objects of the bucket, named by what they are."""

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


class LeadsOutError(UnusableError):
    """The name is of a file outside."""


class MissingFileError(UnusableError):
    """No file is called so."""


class Content(Protocol):
    """The bytes of a picture, which are read only when it is its turn."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """A seekable file. Raises UnusableError or OSError."""


class Stored(NamedTuple):
    """A picture's address in the bucket and the hash of its bytes."""

    address: str
    sha256: bytes


class Keep(Protocol):
    """What is done with the bytes of a picture. Raises UnusableError if they cannot be read."""

    def __call__(self, content: Content) -> Stored: ...


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file of this machine that was found to be one."""

    path: Path

    def open(self) -> AbstractContextManager[BinaryIO]:
        return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class Upload:
    """Keeps pictures in the bucket. May be called by several threads."""

    bucket: Bucket
    producer_id: uuid.UUID | None = None

    def __call__(self, content: Content) -> Stored:
        """Raises StorageError if the bucket does not take it."""
        with open_content(content) as file:
            address = upload_source(self.bucket, file, self.producer_id)
        return Stored(address, bytes.fromhex(address.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class Hash:
    """Keeps nothing, and says where a picture would be kept."""

    bucket: str

    def __call__(self, content: Content) -> Stored:
        with open_content(content) as file:
            digest = hashlib.file_digest(cast("BufferedReader", file), "sha256")
        return Stored(f"s3://{self.bucket}/{source_key(digest.hexdigest())}", digest.digest())


@contextmanager
def open_content(content: Content) -> Iterator[BinaryIO]:
    """A picture's bytes. Raises UnusableError if they cannot be read."""
    try:
        with content.open() as file:
            yield file
    except OSError as error:
        raise UnusableError(f"cannot be read: {error.strerror or error}") from error


def find_file(directory: Path, name: str, *, max_bytes: int) -> FileContent:
    """The picture `name` below `directory`; raises UnusableError unless it is a readable file inside it,
    MissingFileError if there is none of that name.
    """
    try:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory):
            raise LeadsOutError(f"leads out of {directory}; put the picture inside")
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"is no file in {directory}; put the picture there or correct its name"
        ) from None
    except (OSError, RuntimeError):
        # Too long, a circle of links.
        raise UnusableError("cannot be the name of a file; mend it") from None
    if not stat.S_ISREG(found.st_mode):
        raise UnusableError("is no regular file; name a picture")
    require_size(found.st_size, max_bytes)
    return FileContent(path)


def require_size(size: int, max_bytes: int) -> None:
    """Raises UnusableError for a picture without bytes, or with more than are taken."""
    if not 0 < size <= max_bytes:
        raise UnusableError(f"has {size:,} bytes; 1 to {max_bytes:,} are taken (CUTOUT_MAX_SOURCE_BYTES)")
