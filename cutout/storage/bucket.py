"""The bucket: operations on S3 objects through boto3, with errors translated to StorageError."""

import base64
import hashlib
import uuid
from collections.abc import Iterable, Iterator
from copy import copy
from mmap import mmap
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from cutout.settings import Settings
from cutout.storage.disposition import shown_as
from cutout.storage.listed_objects import ListedObject, PageEntry, list_page, listed
from cutout.storage.presign import Links, SignedRequest, Signer
from cutout.storage.s3_client import connect
from cutout.storage.storage_errors import (
    MISSING_BUCKET,
    MISSING_OBJECT,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    code_of,
    plain_errors,
)
from cutout.storage.streams import open_pieces, put_parts

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

NO_LIFECYCLE = "NoSuchLifecycleConfiguration"
PARTS = TransferConfig(multipart_chunksize=8 * 1024 * 1024, max_concurrency=2)


class Bucket:
    """The bucket that the settings name. Safe to share between threads."""

    def __init__(self, settings: Settings, *, connections: int = 10, patient: bool = True) -> None:
        self._client = connect(settings, settings.s3_endpoint_url, connections, patient=patient)
        public = settings.s3_public_endpoint_url
        self._public_client = (
            connect(settings, public, connections, patient=patient) if public else self._client
        )
        self._select(settings.s3_bucket)

    def put_source(self, body: IO[bytes], *, key: str, sha256: bytes) -> str:
        """Store an uploaded picture from a seekable file; returns its `s3://` address."""
        if not self._found:
            self.require()
        self._put(key, body, sha256=sha256, media_type="application/octet-stream", metadata={})
        return f"s3://{self.name}/{key}"

    def put_cutout(self, data: bytes | mmap, *, key: str, media_type: str, metadata: dict[str, str]) -> bytes:
        """Store a cutout, verified, and return its SHA-256. A memory-mapped file is read while it is sent.

        The server computes the checksum of the received bytes; if it returns none, the size is compared.
        """
        sha256 = hashlib.sha256(data).digest()
        checksum = self._put(key, data, sha256=sha256, media_type=media_type, metadata=metadata)
        if checksum is None and self._stored_size(key) != len(data):
            raise StorageError(f"the bucket {self.name} does not hold {key} as it was sent")
        return sha256

    def copy(
        self, key: str, *, to: str, sha256: bytes, size_bytes: int, media_type: str, metadata: dict[str, str]
    ) -> None:
        """Copy an object within the bucket, with new metadata; verified by `holds`.

        Raises ObjectMissingError, or StorageError if the copy differs.
        """
        with plain_errors(self.name, to):
            self._client.copy_object(
                Bucket=self.name,
                Key=to,
                CopySource={"Bucket": self.name, "Key": key},
                MetadataDirective="REPLACE",
                TaggingDirective="REPLACE",
                Tagging="",
                ChecksumAlgorithm="SHA256",
                ContentType=media_type,
                Metadata=metadata,
            )
        if not self.holds(to, sha256=sha256, size_bytes=size_bytes):
            raise StorageError(f"the bucket {self.name} does not hold {to} as it was copied")

    def read(self, key: str, *, max_bytes: int) -> bytes:
        """The object's bytes; raises ObjectMissingError, or ObjectTooLargeError past `max_bytes`."""
        with plain_errors(self.name, key):
            answer = self._client.get_object(Bucket=self.name, Key=key)
            with answer["Body"] as body:
                if answer["ContentLength"] > max_bytes:
                    raise ObjectTooLargeError(
                        f"{key} has {answer['ContentLength']} bytes, the limit is {max_bytes}"
                    )
                return body.read()

    def holds(self, key: str, *, sha256: bytes, size_bytes: int) -> bool:
        """Whether the object exists unchanged: by its checksum, or by its size if the server keeps none."""
        try:
            found = self._head(key)
        except ObjectMissingError:
            return False
        checksum = found.get("ChecksumSHA256", "")
        if checksum:
            return checksum == base64.b64encode(sha256).decode()
        return found["ContentLength"] == size_bytes

    def has(self, key: str) -> bool:
        """Whether there is an object under this key."""
        try:
            self._head(key)
        except ObjectMissingError:
            return False
        return True

    def open(self, key: str) -> BinaryIO:
        """A stream of the object's bytes that keeps 4 MiB in memory; raises ObjectMissingError.

        Reading raises StorageError if the bucket does not answer or the object was replaced meanwhile.
        """
        with plain_errors(self.name, key):
            head = self._client.head_object(Bucket=self.name, Key=key)

        def read_range(start: int, end: int) -> bytes:
            with plain_errors(self.name, key):
                answer = self._client.get_object(
                    Bucket=self.name, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=head["ETag"]
                )
                with answer["Body"] as body:
                    return body.read()

        return open_pieces(head["ContentLength"], read_range)

    def begin(self, key: str, size: int) -> bytes:
        """The first `size` bytes of an object that is not empty; raises ObjectMissingError."""
        with plain_errors(self.name, key):
            answer = self._client.get_object(Bucket=self.name, Key=key, Range=f"bytes=0-{size - 1}")
            with answer["Body"] as body:
                return body.read(size)

    def describe(self, key: str) -> ListedObject:
        """The object as in a listing; raises ObjectMissingError."""
        found = self._head(key)
        return ListedObject(key, found["ContentLength"], found["ETag"])

    def put_pieces(self, pieces: Iterable[bytes], *, key: str, media_type: str) -> None:
        """Store an object from pieces as they are produced; after an error the key is as it was before.

        Some 10 MiB are in memory at a time.
        """
        if not self._found:
            self.require()
        with plain_errors(self.name, key):
            put_parts(self._client, pieces, bucket=self.name, key=key, media_type=media_type)

    def delete(self, key: str) -> bool:
        """Delete an object, if it exists; returns whether a versioned bucket keeps it as an old version."""
        with plain_errors(self.name, key):
            return self._client.delete_object(Bucket=self.name, Key=key).get("DeleteMarker", False)

    def keeps_versions(self) -> bool:
        """Whether deleted objects stay as old versions; StorageRefusedError if the keys may not ask."""
        with plain_errors(self.name):
            return "Status" in self._client.get_bucket_versioning(Bucket=self.name)

    def ends_versions(self) -> bool:
        """Whether a lifecycle rule removes old versions; StorageRefusedError if the keys may not ask."""
        with plain_errors(self.name):
            try:
                rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.name)["Rules"]
            except ClientError as error:
                if code_of(error) != NO_LIFECYCLE:
                    raise
                return False
        return any(rule["Status"] == "Enabled" and "NoncurrentVersionExpiration" in rule for rule in rules)

    def keys(self, prefix: str) -> list[str]:
        """The keys of all objects that begin with `prefix`."""
        with plain_errors(self.name):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def listed(self, prefix: str) -> Iterator[ListedObject]:
        """All objects that begin with `prefix` in the order of their keys, a page at a time."""
        with plain_errors(self.name):
            yield from listed(self._client, self.name, prefix)

    def page(self, prefix: str, *, after: str) -> list[PageEntry]:
        """The first objects, a thousand at most, that begin with `prefix` and whose key is behind `after`."""
        with plain_errors(self.name):
            return list_page(self._client, self.name, prefix, after)

    def put_file(self, path: Path, *, key: str, media_type: str) -> None:
        """Store a file of any size, in parts that are read while they are sent. Raises OSError as well."""
        with plain_errors(self.name, key):
            self._client.upload_file(
                str(path), self.name, key, ExtraArgs={"ContentType": media_type}, Config=PARTS
            )

    def sibling(self, name: str) -> "Bucket":
        """Another bucket on the same server, over the same connections."""
        other = copy(self)
        other._select(name)  # noqa: SLF001 - the same class
        return other

    def presign(self, key: str, *, seconds: int) -> str:
        """A link that reads the object without credentials for `seconds`. Treat it as a secret."""
        with plain_errors(self.name, key):
            return self._links.sign("GET", key, {}, seconds)

    def presign_public(self, key: str, *, seconds: int, media_type: str | None = None) -> str:
        """A link for clients outside: by the server's public address, with the content type and the browser's
        disposition signed into it (`shown_as`).
        """
        with plain_errors(self.name, key):
            return self._public_links.sign("GET", key, {}, seconds, shown_as(key, media_type))

    def signer(self, *, seconds: int) -> Signer:
        """A signer of public links that read objects without credentials for `seconds` from now."""
        with plain_errors(self.name):
            return self._public_links.signer(seconds)

    def presign_put(
        self, key: str, *, sha256: bytes, media_type: str, metadata: dict[str, str], seconds: int
    ) -> SignedRequest:
        """A link that accepts exactly these bytes under `key`, with the headers it is signed for."""
        headers = {
            "Content-Type": media_type,
            "x-amz-checksum-sha256": base64.b64encode(sha256).decode(),
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        }
        with plain_errors(self.name, key):
            return SignedRequest(self._links.sign("PUT", key, headers, seconds), headers)

    def presign_head(self, key: str, *, seconds: int) -> SignedRequest:
        """A link for a HEAD request that returns the object's checksum, with the headers it is signed for."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        with plain_errors(self.name, key):
            return SignedRequest(self._links.sign("HEAD", key, headers, seconds), headers)

    def create(self) -> None:
        """Create the bucket unless it exists. For local servers; production names an existing one."""
        with plain_errors(self.name):
            try:
                self._client.head_bucket(Bucket=self.name)
            except ClientError as error:
                if code_of(error) not in MISSING_OBJECT | MISSING_BUCKET:
                    raise
                self._client.create_bucket(Bucket=self.name)

    def require(self) -> None:
        """Raise BucketMissingError unless the bucket exists.

        Some servers create a missing bucket at the first write, which would hide a misspelt name.
        """
        with plain_errors(self.name):
            self._client.head_bucket(Bucket=self.name)
        self._found = True

    def check(self) -> None:
        """Find the bucket, then write, read and delete a small object. Raises StorageError.

        Each check leaves an old version in a versioned bucket: use `require` for frequent checks.
        """
        self.require()
        key, data = f"cutout-check/{uuid.uuid4()}", b"cutout"
        self.put_cutout(data, key=key, media_type="text/plain", metadata={})
        if self.read(key, max_bytes=len(data)) != data:
            raise StorageError(f"the bucket {self.name} returns other bytes than it was sent")
        self.delete(key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._public_client.close()

    def key_of(self, source: str) -> str | None:
        """The key of an `s3://` address in this bucket; None for any other address."""
        name, key = split_address(source) or (None, "")
        return key if name == self.name else None

    def _select(self, name: str) -> None:
        self.name = name
        self._found = False
        self._links, self._public_links = Links(self._client, name), Links(self._public_client, name)

    def _put(
        self,
        key: str,
        body: bytes | mmap | IO[bytes],
        *,
        sha256: bytes,
        media_type: str,
        metadata: dict[str, str],
    ) -> str | None:
        expected = base64.b64encode(sha256).decode()
        with plain_errors(self.name, key):
            answer = self._client.put_object(
                Bucket=self.name,
                Key=key,
                Body=cast("bytes", body),  # or whatever can be read
                ContentType=media_type,
                Metadata=metadata,
                ChecksumSHA256=expected,
            )
        stored = answer.get("ChecksumSHA256")
        if stored is not None and stored != expected:
            raise StorageError(f"the bucket {self.name} stored other bytes under {key} than it was sent")
        return stored

    def _stored_size(self, key: str) -> int:
        return self._head(key)["ContentLength"]

    def _head(self, key: str) -> "HeadObjectOutputTypeDef":
        with plain_errors(self.name, key):
            return self._client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")


def split_address(source: str) -> tuple[str, str] | None:
    """Bucket and key of an `s3://` address, the key as it stands; None for any other address."""
    scheme, found, rest = source.partition("s3://")
    if scheme or not found:
        return None
    name, _, key = rest.partition("/")
    return name, key
