"""What an ingest reads: a directory, a zip archive, a prefix of a bucket, a manifest."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cutout.ingest.skipped_files import Skipped
from cutout.ingest.sources.contents import Content
from cutout.manifests import Record
from cutout.storage import Bucket


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is to read, and in what it is counted."""

    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class Numbering:
    """With `many` the pictures of one id are numbered; without it only ids that were made are looked at."""

    many: bool


class Source(Protocol):
    """Records in an order that stays, so that a second reading can skip what the first one stored."""

    @property
    def kind(self) -> str:
        """What it was recognised as, for people."""

    @property
    def identity(self) -> list[str | int]:
        """What tells it, and its present state, from all others."""

    @property
    def extent(self) -> Extent: ...

    @property
    def is_manifest(self) -> bool:
        """Whether its records are rows that name pictures; else they are the pictures themselves."""

    @property
    def numbering(self) -> Numbering | None:
        """How ids are made of products' ids and numbers; None where none are."""

    @property
    def skipped(self) -> Skipped:
        """The files that are not taken, by reason."""

    def remarks(self) -> list[str]:
        """Sentences for whoever asked, on what was read so far."""

    def records(self) -> Iterator[Record]:
        """Every record, anew each time. Raises IngestError, ManifestError or StorageError where no more can
        be read.
        """

    def position(self) -> int:
        """How much was read, in the unit of the extent."""

    def locate(self, name: str) -> str | Content:
        """A picture's address, or its bytes. Raises UnusableError if it can be neither."""

    def keep(self, bucket: Bucket, key: str) -> bool:
        """Store the manifest, into which results can be written back; False if there is none.

        Raises IngestError or StorageError.
        """

    def close(self) -> None: ...


def fingerprint(identity: list[str | int], options: object) -> bytes:
    """What tells a command from another: the same once more goes on where the first one stopped."""
    return hashlib.sha256(json.dumps([identity, options], sort_keys=True).encode()).digest()
