"""Source that is a prefix of a bucket. The pictures are not copied."""

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import ClassVar

from cutout.ingest.ingest_errors import IngestError, UnusableError
from cutout.ingest.skipped_files import Skipped, skipped_text
from cutout.ingest.sources.contents import require_size
from cutout.ingest.sources.external_ids import PictureFile, file_records, name_pictures
from cutout.ingest.sources.file_kinds import LOOKED_FOR, stem_of
from cutout.ingest.sources.file_patterns import FilePatterns
from cutout.ingest.sources.object_kinds import classify
from cutout.ingest.sources.object_list import ObjectList
from cutout.ingest.sources.source import Extent
from cutout.ingest.sources.source_urls import Addresses
from cutout.ingest.sources.system_files import system_reason
from cutout.manifests import Record
from cutout.storage import Bucket, BucketMissingError, ListedObject, StorageRefusedError, split_address

SHOWN_FOLDERS = 3


class Prefix:
    """Pictures under a prefix. It is listed once, for count and identity; records are read from a copy of the
    list on disk.
    """

    kind = "pictures in a bucket"
    is_manifest = False
    has_identity_of_pictures = True
    columns: ClassVar[tuple[str, ...]] = ()
    numbering = None

    def __init__(
        self,
        address: str,
        bucket: Bucket,
        addresses: Addresses,
        *,
        max_bytes: int,
        patterns: FilePatterns | None = None,
    ) -> None:
        """List the prefix.

        Raises IngestError if it may not be read or is empty, NoRoomError if the disk has no space for its
        list, StorageError if the bucket fails.
        """
        name, self._prefix = split_address(address) or ("", "")
        try:
            addresses.require_bucket(name)
        except UnusableError as error:
            raise IngestError(f"{address} {error}") from None
        if name == bucket.name and not self._prefix:
            raise IngestError(f"{address} also holds cutouts and what was uploaded; name a prefix inside it")
        self._address = address
        self._bucket = bucket if name == bucket.name else bucket.sibling(name)
        self._addresses = addresses
        self._max_bytes = max_bytes
        self._patterns = patterns or FilePatterns()
        self._folder = self._prefix.rpartition("/")[0]
        self._read = 0
        self._list = ObjectList()
        self.skipped = Skipped()
        self._outside = _OutsideFolder(self._prefix)
        self.identity: list[str | int]
        try:
            self.identity, self.extent = self._count_and_identify(name)
        except BaseException:
            self._list.close()
            raise

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

    def remarks(self) -> list[str]:
        return self._outside.remarks(self._address)

    def keep(self, _bucket: Bucket, _key: str) -> bool:
        return False

    def close(self) -> None:
        """Delete the list; the bucket belongs to the caller."""
        self._list.close()

    def _count_and_identify(self, name: str) -> tuple[list[str | int], Extent]:
        address, digest, count = self._address, hashlib.sha256(), 0
        try:
            for found in self._list.keep(self._pictures()):
                digest.update(f"{found.key}\0{found.size}\0{found.etag}\0".encode())
                self._outside.count(found.key)
                count += 1
        except BucketMissingError:
            raise IngestError(f"{address} cannot be listed: there is no bucket {name!r}; fix it") from None
        except StorageRefusedError as error:
            raise IngestError(f"{address} cannot be listed: {error}") from error
        if not count:
            raise IngestError(f"{address} holds no pictures; {LOOKED_FOR}{skipped_text(self.skipped)}")
        return [address, digest.hexdigest()], Extent(count, "objects")

    def _pictures(self) -> Iterator[ListedObject]:
        for found, reason in classify(self._bucket, self._candidates()):
            if reason:
                self.skipped.add(reason, self._below(found.key))
            else:
                yield found

    def _candidates(self) -> Iterator[ListedObject]:
        for found in self._bucket.listed(self._prefix):
            name = self._below(found.key)
            if not name or name.endswith("/"):
                # Marker of a folder.
                continue
            if reason := system_reason(name) or self._patterns.reason(name):
                self.skipped.add(reason, name)
            else:
                yield found

    def _below(self, key: str) -> str:
        """Return the name below the prefix's folder."""
        return key[len(self._folder) + 1 :] if self._folder else key

    def _named(self) -> Iterator[tuple[PictureFile, str]]:
        """Yield each picture's file with its external id.

        The listing is sorted, so shoe.jpg and shoe.png come together. An object without an ending comes
        before them, with others between: `shoe`, `shoe-2.jpg`, `shoe.jpg`.
        """
        files = (self._file(found) for found in self._list)
        bare: list[str] = []
        for stem, group in groupby(files, key=_until_first_dot):
            while bare and not stem.startswith(bare[-1]):
                bare.pop()
            found = list(group)
            if len(found) == 1 and not bare and found[0].name != stem:
                # Nearly all: nothing else has its name.
                yield found[0], stem_of(found[0].name)
                continue
            yield from name_pictures(found, taken_before=frozenset(bare[-1:]), composed=False)
            if any(file.name == stem for file in found):
                bare.append(stem)

    def _file(self, found: ListedObject) -> PictureFile:
        try:
            require_size(found.size, self._max_bytes)
        except UnusableError as error:
            return PictureFile(self._below(found.key), found.etag, str(error))
        return PictureFile(self._below(found.key), found.etag)


class _OutsideFolder:
    """Counter of pictures outside the folder of the prefix's name: `s3://bucket/photos` also covers
    photos-old/.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._inside = self._others = 0
        self._folders: dict[str, None] = {}

    def count(self, key: str) -> None:
        behind = key[len(self._prefix) :]
        if not self._prefix or self._prefix.endswith("/") or behind.startswith("/"):
            self._inside += 1
        else:
            self._others += 1
            begin, slash, _ = behind.partition("/")
            if slash and len(self._folders) <= SHOWN_FOLDERS:
                self._folders.setdefault(self._prefix.rpartition("/")[2] + begin + slash)

    def remarks(self, address: str) -> list[str]:
        if not self._others or not (self._inside or len(self._folders) > 1):
            return []
        names = list(self._folders)
        shown = ", ".join(names[:SHOWN_FOLDERS]) + (", …" if len(names) > SHOWN_FOLDERS else "")
        where = f", as in {shown}" if names else ""
        remark = (
            f"{address} is a prefix, not a folder: {self._others:,} of {self._inside + self._others:,}"
            f" pictures lie outside {address}/{where}; write {address}/ for the folder only"
        )
        return [remark]


def _until_first_dot(file: PictureFile) -> str:
    folder, slash, name = file.name.rpartition("/")
    return folder + slash + name.partition(".")[0]
