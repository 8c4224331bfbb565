"""The pictures under a prefix of a bucket. They stay where they are."""

import hashlib
from collections.abc import Iterator
from itertools import groupby

from jobs.ingest.addresses import Addresses
from jobs.ingest.errors import IngestError, UnusableError
from jobs.ingest.naming import LOOKED_FOR, PictureFile, file_records, is_picture, name_pictures
from jobs.ingest.source import Extent
from jobs.manifest import Record
from jobs.storage import Bucket, BucketMissingError, ListedObject, StorageRefusedError, split_address


class Prefix:
    """Reads the listing page by page, twice: first to count it and to know it again."""

    kind = "pictures in a bucket"

    def __init__(self, address: str, bucket: Bucket, addresses: Addresses) -> None:
        """Raises IngestError if nothing may be or is there, StorageError if the bucket does not answer."""
        name, self._prefix = split_address(address) or ("", "")
        try:
            addresses.require_bucket(name)
        except UnusableError as error:
            raise IngestError(f"{address} {error}") from None
        if name == bucket.name and not self._prefix:
            raise IngestError(f"{address} also holds cutouts and what was uploaded; name a prefix inside it")
        self._bucket = bucket if name == bucket.name else bucket.sibling(name)
        self._addresses = addresses
        self._folder = self._prefix.rpartition("/")[0]
        self._read = 0
        digest, count = hashlib.sha256(), 0
        try:
            for found in self._pictures():
                digest.update(f"{found.key}\0{found.size}\0{found.etag}\0".encode())
                count += 1
        except BucketMissingError:
            raise IngestError(f"{address} cannot be listed: there is no bucket {name!r}; mend it") from None
        except StorageRefusedError as error:
            raise IngestError(f"{address} cannot be listed: {error}") from error
        if not count:
            raise IngestError(f"{address} holds no pictures; {LOOKED_FOR}")
        self.identity: list[str | int] = [address, digest.hexdigest()]
        self.extent = Extent(count, "objects")

    def records(self) -> Iterator[Record]:
        for record in file_records(self._named()):
            self._read = record.line
            yield record

    def position(self) -> int:
        return self._read

    def locate(self, name: str) -> str:
        key = f"{self._folder}/{name}" if self._folder else name
        if self._bucket.name == self._addresses.bucket:
            return self._addresses.of_key(key)
        address = self._addresses.check(f"s3://{self._bucket.name}/{key}")
        assert address is not None  # noqa: S101 - it has a scheme
        return address

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        """The bucket is the caller's."""

    def _pictures(self) -> Iterator[ListedObject]:
        return (found for found in self._bucket.listed(self._prefix) if is_picture(found.key) and found.size)

    def _named(self) -> Iterator[tuple[PictureFile, str]]:
        """Names below the prefix's folder. The listing is sorted, so shoe.jpg and shoe.png come together."""
        begin = len(self._folder) + 1 if self._folder else 0
        files = (PictureFile(found.key[begin:], found.etag) for found in self._pictures())
        for _, group in groupby(files, key=_until_first_dot):
            yield from name_pictures(list(group))


def _until_first_dot(file: PictureFile) -> str:
    folder, slash, name = file.name.rpartition("/")
    return folder + slash + name.partition(".")[0]
