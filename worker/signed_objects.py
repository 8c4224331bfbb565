"""Objects of the bucket by signed URL, transferred without boto3, which takes more than twice the CPU.

A transfer that fails is repeated by boto3, which succeeds or raises the exact error.
"""

import base64
import hashlib
from collections import deque
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from cutout.network import (
    Blob,
    Exchange,
    Fetched,
    FetchError,
    GuardedTransport,
    NotModified,
    Timeouts,
    fetch,
    gather,
)
from cutout.queue.attempts.outcomes import StoredObject
from cutout.storage import Bucket
from cutout.storage.presign import SignedRequest

PIECE_BYTES = 1_048_576
TIMEOUTS = Timeouts(connect=5, write=30, read=30, total=60)
URL_SECONDS = 300
CHECKSUM = "x-amz-checksum-sha256"
PLAIN = {"Accept-Encoding": "identity", "User-Agent": "cutout"}


def read_object(bucket: Bucket, key: str, directory: Path) -> Blob:
    """Read an object of any size; a large one is kept in `directory`. Raises StorageError and OSError."""
    with bucket.open(key) as stream:
        return gather(iter(partial(stream.read, PIECE_BYTES), b""), directory)


class SignedObjectClient:
    """A reader and writer of objects. One per thread."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._transport = GuardedTransport(TIMEOUTS)

    def read(
        self, key: str, *, max_bytes: int, etag: str | None = None, bucket: Bucket | None = None
    ) -> Fetched:
        """Read an object of this or another bucket; raises StorageError as Bucket.read does.

        With the `etag` of an earlier read, raises NotModified unless the object has changed.
        """
        bucket = bucket or self._bucket
        fetched = self._fetch(bucket.presign(key, seconds=URL_SECONDS), max_bytes, etag)
        return fetched or Fetched(bucket.read(key, max_bytes=max_bytes), "")

    def _fetch(self, url: str, max_bytes: int, etag: str | None) -> Fetched | None:
        """The object; None if the request failed, or the object is too large."""
        headers = PLAIN | ({"If-None-Match": etag} if etag else {})
        try:
            with closing(self._transport.exchange("GET", url, headers)) as answer:
                status = answer.status
                is_packed = answer.header("content-encoding") not in (None, "", "identity")
                if status == HTTPStatus.OK and not is_packed:
                    data = _bounded(answer, max_bytes)
                    return None if data is None else Fetched(data, "", answer.header("etag"))
            if status == HTTPStatus.OK:
                return fetch(self._transport, url, max_bytes=max_bytes, deadline_s=TIMEOUTS.total)
        except (httpx.TransportError, FetchError):
            return None
        if status == HTTPStatus.NOT_MODIFIED and etag:
            raise NotModified("not modified")
        return None

    def put_cutout(self, data: Blob, *, key: str, media_type: str, metadata: dict[str, str]) -> bytes:
        """Store a cutout, verified, and return its SHA-256; raises StorageError as Bucket.put_cutout does."""
        if not isinstance(data, bytes):
            # It may take longer than the URL is valid.
            return self._bucket.put_cutout(data, key=key, media_type=media_type, metadata=metadata)
        sha256 = hashlib.sha256(data).digest()
        upload = self._bucket.presign_put(
            key, sha256=sha256, media_type=media_type, metadata=metadata, seconds=URL_SECONDS
        )
        if self._checksum("PUT", upload, data) != base64.b64encode(sha256).decode():
            return self._bucket.put_cutout(data, key=key, media_type=media_type, metadata=metadata)
        return sha256

    def holds(self, stored: StoredObject) -> bool:
        """Whether the bucket holds a cutout as it was stored; raises StorageError as Bucket.holds does."""
        expected = base64.b64encode(stored.sha256).decode()
        head = self._bucket.presign_head(stored.key, seconds=URL_SECONDS)
        if self._checksum("HEAD", head) == expected:
            return True
        return self._bucket.holds(stored.key, sha256=stored.sha256, size_bytes=stored.size_bytes)

    def close(self) -> None:
        """Close this thread's connections."""
        self._transport.close()

    def _checksum(self, method: str, request: SignedRequest, data: bytes = b"") -> str | None:
        """The checksum that the server computed of the stored object; None if the request failed."""
        try:
            with closing(self._transport.exchange(method, request.url, request.headers, data)) as answer:
                deque(answer.pieces(), maxlen=0)
                return answer.header(CHECKSUM) if answer.status == HTTPStatus.OK else None
        except httpx.TransportError:
            return None


def _bounded(answer: Exchange, max_bytes: int) -> bytes | None:
    """The body; None if it is larger, before it is read where the server tells its length."""
    if int(answer.header("content-length") or 0) > max_bytes:
        return None
    pieces, left = [], max_bytes
    for piece in answer.pieces():
        left -= len(piece)
        if left < 0:
            return None
        pieces.append(piece)
    return b"".join(pieces)
