"""From what a person names to a source."""

import stat
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from jobs.ingest.addresses import Addresses
from jobs.ingest.archive import Archive
from jobs.ingest.directory import Directory
from jobs.ingest.errors import IngestError, UnusableError
from jobs.ingest.files import LocalFile, ObjectFile, SourceFile, copy_to_disk
from jobs.ingest.manifest import Manifest, Places
from jobs.ingest.naming import is_picture
from jobs.ingest.prefix import Prefix
from jobs.ingest.source import Source
from jobs.settings import Settings
from jobs.storage import Bucket, ListedObject, ObjectMissingError, StorageRefusedError, split_address

ZIP_BEGINS = (b"PK\3\4", b"PK\5\6")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a manifest is to be read: which column is which, in what encoding, and whether bare names are keys
    of the bucket. One that is `foreign` came over the network: its rows name pictures on the web alone.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    keys: bool = False
    foreign: bool = False


def open_source(named: str, reading: Reading, known: Settings, bucket: Bucket) -> Source:
    """The source by what it is, not by its name.

    Raises IngestError, ManifestError or StorageError if nothing can be read there. A pipe or device is
    refused: it could be without end, and could not be read again.
    """
    if not named.startswith("s3://"):
        return _on_this_machine(named, reading, known)
    addresses = Addresses.of(known)
    found = _look_for(named, bucket, addresses)
    return open_object(*found, reading, known) if found else Prefix(named, bucket, addresses)


def open_object(bucket: Bucket, found: ListedObject, reading: Reading, known: Settings) -> Source:
    """The manifest or zip archive that an object of a bucket is. Raises as open_source."""
    file = ObjectFile(bucket, found)
    if file.begin() in ZIP_BEGINS:
        with closing(file):
            return Archive(copy_to_disk(file), max_bytes=known.max_source_bytes, copy_of=file)
    return _manifest(file, reading, known, directory=None)


def _on_this_machine(named: str, reading: Reading, known: Settings) -> Source:
    path = Path(named)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Directory(path, max_bytes=known.max_source_bytes)
        if not stat.S_ISREG(mode):
            raise IngestError(f"{named} is a pipe or a device; save it to a file and name that")
        file = LocalFile(path)
        if file.begin() in ZIP_BEGINS:
            file.close()
            return Archive(path, max_bytes=known.max_source_bytes)
    except (OSError, ValueError) as error:
        raise _not_there(named, error) from error
    return _manifest(file, reading, known, directory=path.resolve().parent)


def _manifest(file: SourceFile, reading: Reading, known: Settings, *, directory: Path | None) -> Manifest:
    addresses = Addresses.on_the_web(known) if reading.foreign else Addresses.of(known)
    places = Places(addresses, known.max_source_bytes, directory, reading.keys)
    return Manifest(file, places, columns=reading.columns, encoding=reading.encoding)


def _look_for(named: str, bucket: Bucket, addresses: Addresses) -> tuple[Bucket, ListedObject] | None:
    """The object that an address names, with its bucket; None where it may be a prefix."""
    name, key = split_address(named) or ("", "")
    if not key or key.endswith("/") or is_picture(key):
        return None
    try:
        addresses.require_bucket(name)
    except UnusableError as error:
        raise IngestError(f"{named} {error}") from None
    its_bucket = bucket if name == bucket.name else bucket.sibling(name)
    try:
        return its_bucket, its_bucket.describe(key)
    except ObjectMissingError:
        return None
    except StorageRefusedError as error:
        raise IngestError(f"{named} cannot be read: {error}") from error


def _not_there(named: str, error: OSError | ValueError) -> IngestError:
    if isinstance(error, FileNotFoundError):
        return IngestError(f"{named} is neither a directory nor a file")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return IngestError(f"{named[:200]} cannot be read: {reason}")
