"""Tests of objects by signed link, on a real S3 server: whole, bounded, conditional, packed, and verified."""

import gzip
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from cutout.network import NotModified
from cutout.queue.attempts.outcomes import StoredObject
from cutout.storage import Bucket, ObjectMissingError, ObjectTooLargeError
from worker.signed_objects import SignedObjectClient

LARGE = 3_000_000


@pytest.fixture
def objects(bucket: Bucket) -> Iterator[SignedObjectClient]:
    with closing(SignedObjectClient(bucket)) as client:
        yield client


@pytest.fixture
def key() -> str:
    return f"cutouts/a name with ö & {uuid.uuid4()}.png"


def put(bucket: Bucket, key: str, data: bytes, **more: str) -> None:
    bucket._client.put_object(Bucket=bucket.name, Key=key, Body=data, **more)  # type: ignore[arg-type]


class TestARead:
    @pytest.mark.parametrize("size", [0, 1, LARGE])
    def test_gives_every_byte(self, objects: SignedObjectClient, bucket: Bucket, key: str, size: int) -> None:
        data = bytes(n % 251 for n in range(size))
        put(bucket, key, data)
        assert objects.read(key, max_bytes=LARGE).data == data

    def test_refuses_more_than_it_may_read(
        self, objects: SignedObjectClient, bucket: Bucket, key: str
    ) -> None:
        put(bucket, key, b"1234")
        with pytest.raises(ObjectTooLargeError):
            objects.read(key, max_bytes=3)

    def test_of_what_is_not_there_says_so(self, objects: SignedObjectClient, key: str) -> None:
        with pytest.raises(ObjectMissingError):
            objects.read(key, max_bytes=3)

    def test_on_condition_tells_what_has_not_changed(
        self, objects: SignedObjectClient, bucket: Bucket, key: str
    ) -> None:
        put(bucket, key, b"first")
        etag = objects.read(key, max_bytes=9).etag
        with pytest.raises(NotModified):
            objects.read(key, max_bytes=9, etag=etag)
        put(bucket, key, b"second")
        assert objects.read(key, max_bytes=9, etag=etag).data == b"second"

    def test_unpacks_what_was_stored_packed(
        self, objects: SignedObjectClient, bucket: Bucket, key: str
    ) -> None:
        put(bucket, key, gzip.compress(b"a picture"), ContentEncoding="gzip")
        assert objects.read(key, max_bytes=99).data == b"a picture"


class TestACutout:
    def test_is_held_as_it_was_put(self, objects: SignedObjectClient, bucket: Bucket, key: str) -> None:
        data = b"x" * LARGE
        sha256 = objects.put_cutout(data, key=key, media_type="image/png", metadata={"job": "1"})
        stored = StoredObject(key, sha256, "image/png", LARGE, 1, 1)
        assert objects.holds(stored)
        assert objects.read(key, max_bytes=LARGE).data == data
        put(bucket, key, b"other")
        assert not objects.holds(stored)
