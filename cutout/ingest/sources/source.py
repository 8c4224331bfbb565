"""Protocol of a source that an ingest reads: a directory, a zip archive, a bucket prefix, a manifest."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from cutout.ingest.skipped_files import Skipped
from cutout.ingest.sources.contents import Content
from cutout.manifests import Record
from cutout.storage import Bucket


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of a source, and the unit it is counted in."""

    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class IdNumbering:
    """Numbering of external ids. Without `many` ids are not numbered; generated ids are checked only."""

    many: bool


class Source(Protocol):
    """Source of records in a stable order, so that a second reading can skip what the first one stored."""

    @property
    def kind(self) -> str:
        """Kind of the source, for people."""

    @property
    def identity(self) -> list[str | int]:
        """Identity of the source and of its present state, for the fingerprint."""

    @property
    def has_identity_of_pictures(self) -> bool:
        """Whether the identity is made of all pictures with their versions, and shows any change of them."""

    @property
    def extent(self) -> Extent: ...

    @property
    def is_manifest(self) -> bool:
        """Whether the records are rows that name pictures; else they are the pictures themselves."""

    @property
    def columns(self) -> Collection[str] | None:
        """Columns that are kept with each job; None if they are known only row by row."""

    @property
    def numbering(self) -> IdNumbering | None:
        """Numbering of external ids; None where ids are used as they are."""

    @property
    def skipped(self) -> Skipped:
        """Files that are not taken, by reason."""

    def remarks(self) -> list[str]:
        """Remarks on what was read so far, as sentences for the person who started the ingest."""

    def records(self) -> Iterator[Record]:
        """Yield every record, from the start each time.

        Raises IngestError, ManifestError or StorageError if the source cannot be read further.
        """

    def position(self) -> int:
        """Return how much was read, in the unit of the extent."""

    def locate(self, name: str) -> str | Content:
        """Return a picture's address, or its bytes. Raises UnusableError if the name can be neither."""

    def keep(self, bucket: Bucket, key: str) -> bool:
        """Store the manifest, for results to be written back into it; return False if there is none.

        Raises IngestError or StorageError.
        """

    def close(self) -> None: ...


def fingerprint(identity: list[str | int], options: object) -> bytes:
    """Identify an ingest: the same command on an unchanged source resumes where the first one stopped."""
    return hashlib.sha256(json.dumps([identity, options], sort_keys=True).encode()).digest()
