"""A manifest: a file that names pictures, row by row."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from jobs.ingest.addresses import Addresses
from jobs.ingest.contents import Content, find_file
from jobs.ingest.errors import IngestError
from jobs.ingest.source import Extent
from jobs.manifest import Record, open_manifest


class ManifestFile:
    """Rows name pictures by address, by a path beside it or, with `keys`, by a key of the bucket."""

    def __init__(
        self,
        path: Path,
        addresses: Addresses,
        *,
        max_bytes: int,
        columns: Mapping[str, str],
        encoding: str | None,
        keys: bool,
    ) -> None:
        """Read as far as the header. Raises ManifestError, or IngestError if the file cannot be read."""
        self.manifest: Path | None = path
        self._directory = path.resolve().parent
        self._addresses = addresses
        self._max_bytes = max_bytes
        self._keys = keys
        found = path.stat()
        self.identity: list[str | int] = [str(path.resolve()), found.st_size, found.st_mtime_ns]
        self.extent = Extent(found.st_size, "bytes")
        self._stream = _NamedFile(path)
        try:
            self._manifest = open_manifest(
                cast("BinaryIO", self._stream), name=str(path), encoding=encoding, columns=columns
            )
        except BaseException:
            self._stream.close()
            raise
        self.kind = self._manifest.kind

    def records(self) -> Iterator[Record]:
        records = self._manifest.records
        first = next(records, None)
        if first is None:
            raise IngestError(f"{self.manifest} has no rows below its first line; export it again")
        return chain((first,), records)

    def position(self) -> int:
        return self._stream.position

    def locate(self, name: str) -> str | Content:
        if self._keys and "://" not in name:
            return self._addresses.of_key(name)
        address = self._addresses.check(name)
        if address is not None:
            return address
        return find_file(self._directory, name, max_bytes=self._max_bytes)

    def close(self) -> None:
        self._stream.close()


class _NamedFile:
    """Reads a file and says its name where the system says only what went wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise self._unreadable(error) from error
        self.position += len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def _unreadable(self, error: OSError) -> IngestError:
        return IngestError(f"{self._path} cannot be read: {error.strerror or error}")
