"""Opening of a source by what it is: a directory, archive, manifest or bucket prefix."""

import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from cutout.ingest.ingest_errors import IngestError, UnusableError
from cutout.ingest.sources.archive import Archive
from cutout.ingest.sources.bucket_prefix import Prefix
from cutout.ingest.sources.directory import Directory
from cutout.ingest.sources.file_kinds import is_picture_name
from cutout.ingest.sources.files import LocalFile, ObjectFile, SourceFile, copy_to_disk
from cutout.ingest.sources.manifest import Manifest, ManifestOptions, PictureLocator
from cutout.ingest.sources.read_options import ReadOptions
from cutout.ingest.sources.source import Source
from cutout.ingest.sources.source_urls import Addresses
from cutout.ingest.sources.temporary_space import ZIP_SIGNATURES
from cutout.ingest.stop import Check, never_stops
from cutout.network.url_hints import not_an_address
from cutout.settings import Settings
from cutout.storage import Bucket, ListedObject, ObjectMissingError, StorageRefusedError, split_address

ReserveSpace = Callable[[SourceFile], AbstractContextManager[None]]
"""Reserves disk space while a file is copied. Raises IngestError if the file may not be copied."""


def no_reservation(_file: SourceFile) -> AbstractContextManager[None]:
    """Reserve no space: the system reports a full disk."""
    return nullcontext()


def open_source(location: str, reading: ReadOptions, settings: Settings, bucket: Bucket) -> Source:
    """Open a source, recognised by its content and not by its name.

    Raises IngestError, ManifestError or StorageError if it cannot be read. A pipe or device is refused: it
    may be endless, and cannot be read twice.
    """
    if not location.startswith("s3://"):
        return _on_this_machine(location, reading, settings)
    addresses = Addresses.of(settings)
    found = _look_for(location, bucket, addresses)
    if found:
        return open_object(*found, reading, settings)
    reading.refuse_for(location)
    return Prefix(location, bucket, addresses, max_bytes=settings.max_source_bytes, patterns=reading.patterns)


def open_object(
    bucket: Bucket,
    found: ListedObject,
    reading: ReadOptions,
    settings: Settings,
    *,
    name: str | None = None,
    check: Check = never_stops,
    reserve: ReserveSpace = no_reservation,
) -> Source:
    """Open an object of a bucket that is a manifest or zip archive. Raises as open_source().

    `name` is used in messages. `check` is called while the object is read, `reserve` before an archive is
    copied.
    """
    file = ObjectFile(bucket, found, name=name, check=check)
    if file.begin() in ZIP_SIGNATURES:
        with closing(file):
            with reserve(file):
                path = copy_to_disk(file)
            return _archive(path, reading, settings, copy_of=file, check=check)
    return _manifest(file, reading, settings, directory=None)


def _on_this_machine(location: str, reading: ReadOptions, settings: Settings) -> Source:
    path = Path(location)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            reading.refuse_for(location)
            return Directory(path, max_bytes=settings.max_source_bytes, patterns=reading.patterns)
        if not stat.S_ISREG(mode):
            raise IngestError(f"{location} is a pipe or a device; save it to a file and name that")
        file = LocalFile(path)
        if file.begin() in ZIP_SIGNATURES:
            file.close()
            return _archive(path, reading, settings)
    except (OSError, ValueError) as error:
        raise _not_there(location, error) from error
    return _manifest(file, reading, settings, directory=path.resolve().parent)


def _archive(
    path: Path,
    reading: ReadOptions,
    settings: Settings,
    *,
    copy_of: SourceFile | None = None,
    check: Check = never_stops,
) -> Archive:
    try:
        reading.refuse_for(copy_of.name if copy_of else str(path))
        return Archive(
            path,
            max_bytes=settings.max_source_bytes,
            copy_of=copy_of,
            encoding=reading.encoding,
            patterns=reading.patterns,
            check=check,
        )
    except BaseException:
        if copy_of:
            path.unlink(missing_ok=True)
        raise


def _manifest(
    file: SourceFile, reading: ReadOptions, settings: Settings, *, directory: Path | None
) -> Manifest:
    if reading.patterns:
        file.close()
        raise IngestError(
            f"{file.name} is a manifest; --include and --exclude choose files of a directory, zip or prefix"
        )
    addresses = Addresses.on_the_web(settings) if reading.foreign else Addresses.of(settings)
    locator = PictureLocator(addresses, settings.max_source_bytes, directory, reading.keys)
    options = ManifestOptions(reading.columns, reading.encoding, reading.delimiter, reading.many)
    return Manifest(file, locator, options)


def _look_for(location: str, bucket: Bucket, addresses: Addresses) -> tuple[Bucket, ListedObject] | None:
    """Find the object that an address names, with its bucket; None if the address may be a prefix."""
    name, key = split_address(location) or ("", "")
    if not key or key.endswith("/") or is_picture_name(key):
        return None
    try:
        addresses.require_bucket(name)
    except UnusableError as error:
        raise IngestError(f"{location} {error}") from None
    object_bucket = bucket if name == bucket.name else bucket.sibling(name)
    try:
        return object_bucket, object_bucket.describe(key)
    except ObjectMissingError:
        return None
    except StorageRefusedError as error:
        raise IngestError(f"{location} cannot be read: {error}") from error


def _not_there(location: str, error: OSError | ValueError) -> IngestError:
    if location.lower().startswith(("https://", "http://")):
        return IngestError(
            f"{location[:200]} is an address: download it and name the file, or let `cutout schedule` or"
            " `manifest_url` of the API fetch it"
        )
    if fault := not_an_address(location):
        return IngestError(f"{location[:200]} {fault}")
    if isinstance(error, FileNotFoundError):
        return IngestError(f"{location} is neither a directory nor a file")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return IngestError(f"{location[:200]} cannot be read: {reason}")
