"""From what a person names to a source."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.ingest.addresses import Addresses
from jobs.ingest.archive import Archive
from jobs.ingest.directory import Directory
from jobs.ingest.errors import IngestError
from jobs.ingest.manifest import ManifestFile
from jobs.ingest.prefix import Prefix
from jobs.ingest.source import Source
from jobs.settings import Settings
from jobs.storage import Bucket


@dataclass(frozen=True, slots=True)
class Reading:
    """How a manifest is to be read: which column is which, in what encoding, and whether bare names are keys
    of the bucket.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    keys: bool = False


def open_source(named: str, reading: Reading, known: Settings, bucket: Bucket) -> Source:
    """The source by what it is, not by its name.

    Raises IngestError, ManifestError or StorageError if nothing can be read there. A pipe or device is
    refused: it could be without end, and could not be read again.
    """
    addresses, most = Addresses.of(known), known.max_source_bytes
    if named.startswith("s3://"):
        return Prefix(named, bucket, addresses)
    path = Path(named)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Directory(path, max_bytes=most)
        if not stat.S_ISREG(mode):
            raise IngestError(f"{named} is a pipe or a device; save it to a file and name that")
        if _begins_as_zip(path):
            return Archive(path, max_bytes=most)
    except (OSError, ValueError) as error:
        raise _not_there(named, error) from error
    return ManifestFile(
        path,
        addresses,
        max_bytes=most,
        columns=reading.columns,
        encoding=reading.encoding,
        keys=reading.keys,
    )


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    return start in (b"PK\3\4", b"PK\5\6")


def _not_there(named: str, error: OSError | ValueError) -> IngestError:
    if isinstance(error, FileNotFoundError):
        return IngestError(f"{named} is neither a directory nor a file")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return IngestError(f"{named[:200]} cannot be read: {reason}")
