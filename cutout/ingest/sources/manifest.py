"""Source that is a manifest: a file that names a picture per row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from cutout.ingest.ingest_errors import IngestError, UnusableError
from cutout.ingest.skipped_files import Skipped
from cutout.ingest.sources.contents import Content
from cutout.ingest.sources.files import SourceFile
from cutout.ingest.sources.source import Extent, IdNumbering
from cutout.ingest.sources.source_urls import Addresses
from cutout.ingest.sources.spellings import Spellings
from cutout.manifests import Manifest as OpenManifest
from cutout.manifests import Record, open_manifest
from cutout.network.url_hints import not_an_address, perhaps_an_address
from cutout.storage import Bucket

ROWS_SAMPLED = 10_000


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """Options for parsing a manifest."""

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class PictureLocator:
    """Locator of the pictures that rows name.

    A bare name is a file in `directory` or, with `keys`, a key of the bucket.
    """

    addresses: Addresses
    max_bytes: int
    directory: Path | None = None
    keys: bool = False
    spellings: Spellings = field(default_factory=Spellings)

    def locate(self, name: str) -> str | Content:
        """Return the picture's address, or its bytes. Raises UnusableError if the name can be neither."""
        if self.keys and "://" not in name:
            return self.addresses.of_key(name)
        address = self.addresses.check(name)
        if address is not None:
            return address
        if self.directory is None:
            raise UnusableError(not_an_address(name) or _no_address(name))
        return self.spellings.find(self.directory, name, max_bytes=self.max_bytes)


def _no_address(name: str) -> str:
    address = perhaps_an_address(name)
    return f"is no address; {f'write {address}' if address else 'give an https:// one'}"


class Manifest:
    """Rows of a manifest file."""

    is_manifest = True
    has_identity_of_pictures = False

    def __init__(self, file: SourceFile, locator: PictureLocator, reading: ManifestOptions) -> None:
        """Read the header. Raises ManifestError, or IngestError if the file cannot be read."""
        self._file = file
        self._locator = locator
        self._reading = reading
        self.identity = file.identity
        self.extent = Extent(file.size, "bytes")
        self.skipped = Skipped()
        self._opened: OpenManifest | None = self._open()
        self.kind = self._opened.kind
        self._makes_ids = self._opened.makes_ids
        self._columns = self._opened.kept_columns

    @cached_property
    def numbering(self) -> IdNumbering | None:
        """IdNumbering of ids; also set if one of the first rows holds several URLs."""
        if self._reading.many or self._makes_ids or self._has_lists():
            return IdNumbering(self._reading.many)
        return None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Columns that are kept with each job: those of a plain file; None if each row has its own."""
        return self._columns

    def records(self) -> Iterator[Record]:
        opened, self._opened = self._opened or self._reopened(), None
        records = opened.records
        first = next(records, None)
        if first is None:
            raise IngestError(f"{self._file.name} has no rows below its first line; export it again")
        return chain((first,), records)

    def position(self) -> int:
        return self._file.position

    def locate(self, name: str) -> str | Content:
        return self._locator.locate(name)

    def remarks(self) -> list[str]:
        return self._locator.spellings.remarks()

    def keep(self, bucket: Bucket, key: str) -> bool:
        self._file.keep(bucket, key)
        return True

    def close(self) -> None:
        self._file.close()

    def _has_lists(self) -> bool:
        first_rows = islice(self.records(), ROWS_SAMPLED)
        return any(picture.made for record in first_rows for picture in record.pictures)

    def _reopened(self) -> OpenManifest:
        before, self._file = self._file, self._file.again()
        before.close()
        return self._open()

    def _open(self) -> OpenManifest:
        reading = self._reading
        try:
            return open_manifest(
                cast("BinaryIO", self._file),
                name=self._file.name,
                encoding=reading.encoding,
                columns=reading.columns,
                delimiter=reading.delimiter,
                many=reading.many,
            )
        except BaseException:
            self._file.close()
            raise
