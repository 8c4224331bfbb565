"""From what a person names to a source."""

import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cutout.ingest.ingest_errors import IngestError, UnusableError
from cutout.ingest.sources.archive import Archive
from cutout.ingest.sources.bucket_prefix import Prefix
from cutout.ingest.sources.directory import Directory
from cutout.ingest.sources.file_kinds import is_picture_name
from cutout.ingest.sources.file_patterns import Choice
from cutout.ingest.sources.files import LocalFile, ObjectFile, SourceFile, copy_to_disk
from cutout.ingest.sources.manifest import Manifest, ManifestReading, Places
from cutout.ingest.sources.source import Source
from cutout.ingest.sources.source_urls import Addresses
from cutout.ingest.sources.temporary_space import ZIP_BEGINS
from cutout.ingest.stop import Check, never_stops
from cutout.network.url_hints import not_an_address
from cutout.settings import Settings
from cutout.storage import Bucket, ListedObject, ObjectMissingError, StorageRefusedError, split_address

MANY = "many"

Room = Callable[[SourceFile], AbstractContextManager[None]]
"""Makes room for the copy of a file while it is copied. Raises IngestError for one that is not to be."""


def any_room(_file: SourceFile) -> AbstractContextManager[None]:
    """Lets the system say whether there is room."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a manifest is to be read: which column is which, in what encoding, and whether bare names are keys
    of the bucket. One that is `foreign` came over the network: its rows name pictures on the web alone.

    With `many` one id may stand for several pictures. `include` and `exclude` are patterns for the files of
    a directory, an archive or a prefix.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    keys: bool = False
    foreign: bool = False
    delimiter: str | None = None
    many: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def more(self) -> dict[str, Any]:
        """What is kept of it beside columns, encoding and keys; nothing of what was not asked for."""
        found: dict[str, Any] = {"delimiter": self.delimiter, MANY: self.many}
        found |= {"include": list(self.include), "exclude": list(self.exclude)}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def of(cls, kept: Mapping[str, Any], *, foreign: bool) -> Self:
        """From what was kept."""
        return cls(
            kept["columns"],
            kept["encoding"],
            kept["keys"],
            foreign,
            kept.get("delimiter"),
            kept.get(MANY, False),
            tuple(kept.get("include", ())),
            tuple(kept.get("exclude", ())),
        )

    @property
    def choice(self) -> Choice:
        return Choice(self.include, self.exclude)

    def refuse_for(self, what: str) -> None:
        """Raise IngestError for what means nothing of a directory, archive or prefix."""
        for option, given in (
            ("--map", self.columns),
            ("--delimiter", self.delimiter),
            ("--many", self.many),
            ("--keys", self.keys),
        ):
            if given:
                raise IngestError(
                    f"{what} is no manifest, of which {option} says something; leave {option} out"
                )


def open_source(named: str, reading: Reading, known: Settings, bucket: Bucket) -> Source:
    """The source by what it is, not by its name.

    Raises IngestError, ManifestError or StorageError if nothing can be read there. A pipe or device is
    refused: it could be without end, and could not be read again.
    """
    if not named.startswith("s3://"):
        return _on_this_machine(named, reading, known)
    addresses = Addresses.of(known)
    found = _look_for(named, bucket, addresses)
    if found:
        return open_object(*found, reading, known)
    reading.refuse_for(named)
    return Prefix(named, bucket, addresses, max_bytes=known.max_source_bytes, choice=reading.choice)


def open_object(
    bucket: Bucket,
    found: ListedObject,
    reading: Reading,
    known: Settings,
    *,
    name: str | None = None,
    check: Check = never_stops,
    room: Room = any_room,
) -> Source:
    """The manifest or zip archive that an object of a bucket is. Raises as open_source.

    `name` is what messages call it. `check` is called while it is read, `room` before an archive is copied.
    """
    file = ObjectFile(bucket, found, name=name, check=check)
    if file.begin() in ZIP_BEGINS:
        with closing(file):
            with room(file):
                path = copy_to_disk(file)
            return _archive(path, reading, known, copy_of=file, check=check)
    return _manifest(file, reading, known, directory=None)


def _on_this_machine(named: str, reading: Reading, known: Settings) -> Source:
    path = Path(named)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            reading.refuse_for(named)
            return Directory(path, max_bytes=known.max_source_bytes, choice=reading.choice)
        if not stat.S_ISREG(mode):
            raise IngestError(f"{named} is a pipe or a device; save it to a file and name that")
        file = LocalFile(path)
        if file.begin() in ZIP_BEGINS:
            file.close()
            return _archive(path, reading, known)
    except (OSError, ValueError) as error:
        raise _not_there(named, error) from error
    return _manifest(file, reading, known, directory=path.resolve().parent)


def _archive(
    path: Path,
    reading: Reading,
    known: Settings,
    *,
    copy_of: SourceFile | None = None,
    check: Check = never_stops,
) -> Archive:
    try:
        reading.refuse_for(copy_of.name if copy_of else str(path))
        return Archive(
            path,
            max_bytes=known.max_source_bytes,
            copy_of=copy_of,
            encoding=reading.encoding,
            choice=reading.choice,
            check=check,
        )
    except BaseException:
        if copy_of:
            path.unlink(missing_ok=True)
        raise


def _manifest(file: SourceFile, reading: Reading, known: Settings, *, directory: Path | None) -> Manifest:
    if reading.choice:
        file.close()
        raise IngestError(
            f"{file.name} is a manifest; --include and --exclude choose files of a directory, zip or prefix"
        )
    addresses = Addresses.on_the_web(known) if reading.foreign else Addresses.of(known)
    places = Places(addresses, known.max_source_bytes, directory, reading.keys)
    how = ManifestReading(reading.columns, reading.encoding, reading.delimiter, reading.many)
    return Manifest(file, places, how)


def _look_for(named: str, bucket: Bucket, addresses: Addresses) -> tuple[Bucket, ListedObject] | None:
    """The object that an address names, with its bucket; None where it may be a prefix."""
    name, key = split_address(named) or ("", "")
    if not key or key.endswith("/") or is_picture_name(key):
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
    if named.lower().startswith(("https://", "http://")):
        return IngestError(
            f"{named[:200]} is an address: download it and name the file, or let `cutout schedule` or"
            " `manifest_url` of the API fetch it"
        )
    if fault := not_an_address(named):
        return IngestError(f"{named[:200]} {fault}")
    if isinstance(error, FileNotFoundError):
        return IngestError(f"{named} is neither a directory nor a file")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return IngestError(f"{named[:200]} cannot be read: {reason}")
