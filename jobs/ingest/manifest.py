"""A manifest: a file that names pictures, row by row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from jobs.ingest.addresses import Addresses
from jobs.ingest.contents import Content, find_file
from jobs.ingest.errors import IngestError, UnusableError
from jobs.ingest.files import SourceFile
from jobs.ingest.source import Extent
from jobs.manifest import Record, open_manifest
from jobs.storage import Bucket


@dataclass(frozen=True, slots=True)
class Places:
    """What a bare name in a row means: a file in `directory` or, with `keys`, a key of the bucket."""

    addresses: Addresses
    max_bytes: int
    directory: Path | None = None
    keys: bool = False

    def locate(self, name: str) -> str | Content:
        """The picture's address, or its bytes. Raises UnusableError if it can be neither."""
        if self.keys and "://" not in name:
            return self.addresses.of_key(name)
        address = self.addresses.check(name)
        if address is not None:
            return address
        if self.directory is None:
            raise UnusableError("is no address; give an https:// one")
        return find_file(self.directory, name, max_bytes=self.max_bytes)


class Manifest:
    """The rows of a manifest file."""

    def __init__(
        self, file: SourceFile, places: Places, *, columns: Mapping[str, str], encoding: str | None
    ) -> None:
        """Read as far as the header. Raises ManifestError, or IngestError if the file cannot be read."""
        self._file = file
        self._places = places
        self.identity = file.identity
        self.extent = Extent(file.size, "bytes")
        try:
            self._manifest = open_manifest(
                cast("BinaryIO", file), name=file.name, encoding=encoding, columns=columns
            )
        except BaseException:
            file.close()
            raise
        self.kind = self._manifest.kind

    def records(self) -> Iterator[Record]:
        records = self._manifest.records
        first = next(records, None)
        if first is None:
            raise IngestError(f"{self._file.name} has no rows below its first line; export it again")
        return chain((first,), records)

    def position(self) -> int:
        return self._file.position

    def locate(self, name: str) -> str | Content:
        return self._places.locate(name)

    def keep(self, bucket: Bucket, key: str) -> bool:
        self._file.keep(bucket, key)
        return True

    def close(self) -> None:
        self._file.close()
