"""The bucket by links: boto3 signs a link and httpx carries the bytes, for half the CPU of boto3 alone.

Whatever does not work by link is done again by boto3, which succeeds or says exactly what is wrong.
"""

import base64
import hashlib
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from cutout.network import Blob, Fetched, FetchError, GuardedTransport, NotModified, Timeouts, fetch, gather
from cutout.queue.attempts.outcomes import StoredObject
from cutout.storage import Bucket

PIECE_BYTES = 1_048_576
TIMEOUTS = Timeouts(connect=5, write=30, read=30, total=60)
LINK_SECONDS = 300
CHECKSUM = "x-amz-checksum-sha256"


def read_object(bucket: Bucket, key: str, directory: Path) -> Blob:
    """An object of any size; a large one lies in `directory` meanwhile. Raises StorageError, and OSError."""
    with bucket.open(key) as stream:
        return gather(iter(partial(stream.read, PIECE_BYTES), b""), directory)


class ObjectLinks:
    """Reads and writes objects. One per thread."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._transport = GuardedTransport(TIMEOUTS)

    def read(
        self, key: str, *, max_bytes: int, etag: str | None = None, bucket: Bucket | None = None
    ) -> Fetched:
        """An object of this or another bucket; raises StorageError as Bucket.read does.

        With the `etag` of an earlier reading, raises NotModified unless it has changed.
        """
        bucket = bucket or self._bucket
        link = bucket.presign(key, seconds=LINK_SECONDS)
        try:
            return fetch(self._transport, link, max_bytes=max_bytes, deadline_s=TIMEOUTS.total, etag=etag)
        except NotModified:
            raise
        except FetchError:
            return Fetched(bucket.read(key, max_bytes=max_bytes), "")

    def put_cutout(self, data: Blob, *, key: str, media_type: str, metadata: dict[str, str]) -> bytes:
        """Store a cutout, verified, and return its SHA-256; raises StorageError as Bucket.put_cutout does."""
        if not isinstance(data, bytes):
            # It may take longer than a link is given.
            return self._bucket.put_cutout(data, key=key, media_type=media_type, metadata=metadata)
        sha256 = hashlib.sha256(data).digest()
        upload = self._bucket.presign_put(
            key, sha256=sha256, media_type=media_type, metadata=metadata, seconds=LINK_SECONDS
        )
        request = httpx.Request("PUT", upload.url, headers=upload.headers, content=data)
        if self._stored(request) != base64.b64encode(sha256).decode():
            return self._bucket.put_cutout(data, key=key, media_type=media_type, metadata=metadata)
        return sha256

    def holds(self, stored: StoredObject) -> bool:
        """Whether the bucket holds a cutout as it was stored; raises StorageError as Bucket.holds does."""
        expected = base64.b64encode(stored.sha256).decode()
        link = self._bucket.presign_head(stored.key, seconds=LINK_SECONDS)
        if self._stored(httpx.Request("HEAD", link.url, headers=link.headers)) == expected:
            return True
        return self._bucket.holds(stored.key, sha256=stored.sha256, size_bytes=stored.size_bytes)

    def close(self) -> None:
        """Close this thread's connections."""
        self._transport.close()

    def _stored(self, request: httpx.Request) -> str | None:
        """The checksum that the server computed of what it stored; None if it did not do or say so."""
        try:
            with closing(self._transport.handle_request(request)) as answer:
                answer.read()
                return answer.headers.get(CHECKSUM) if answer.status_code == HTTPStatus.OK else None
        except httpx.TransportError:
            return None
