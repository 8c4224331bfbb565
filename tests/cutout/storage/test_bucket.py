import hashlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from cutout.settings import Settings
from cutout.storage import (
    Bucket,
    BucketMissingError,
    ObjectMissingError,
    ObjectTooLargeError,
    StorageError,
    StorageRefusedError,
    streams,
)
from cutout.storage.uploads import upload_source

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import LifecycleRuleTypeDef

DATA = b"cutout" * 1000


class TestACutout:
    def test_is_stored_with_its_type_checksum_and_job(self, bucket: Bucket) -> None:
        """The object has its job in its metadata, and the server's checksum."""
        sha256 = bucket.put_cutout(DATA, key="cutouts/a.png", media_type="image/png", metadata={"job": "1"})
        head = bucket._client.head_object(Bucket=bucket.name, Key="cutouts/a.png", ChecksumMode="ENABLED")
        assert (head["ContentType"], head["Metadata"]) == ("image/png", {"job": "1"})
        assert sha256 == hashlib.sha256(DATA).digest()
        assert bucket.read("cutouts/a.png", max_bytes=len(DATA)) == DATA

    def test_that_arrives_changed_is_refused_by_the_server(self, bucket: Bucket) -> None:
        """Bytes that do not match their checksum are not stored."""
        with pytest.raises(StorageError):
            bucket._put("a", DATA, sha256=bytes(32), media_type="image/png", metadata={})
        with pytest.raises(ObjectMissingError):
            bucket.read("a", max_bytes=10_000)

    def test_is_read_by_its_link_and_by_no_changed_link(self, bucket: Bucket) -> None:
        """A presigned link reads its object; with another key it is refused."""
        for key in ("a.png", "b.png"):
            bucket.put_cutout(DATA, key=key, media_type="image/png", metadata={})
        link = bucket.presign("a.png", seconds=60)
        assert httpx.get(link).content == DATA
        assert httpx.get(link.replace("a.png", "b.png")).status_code == 403


class TestASource:
    def test_is_kept_once_by_its_content(self, bucket: Bucket) -> None:
        """A picture uploaded twice has one address."""
        first, second = (upload_source(bucket, io.BytesIO(DATA)) for _ in range(2))
        assert first == second
        key = bucket.key_of(first)
        assert key is not None
        assert bucket.read(key, max_bytes=len(DATA)) == DATA

    def test_of_another_bucket_has_no_key_here(self, bucket: Bucket) -> None:
        """Only addresses in the configured bucket are read with its credentials."""
        assert bucket.key_of("s3://another/sources/x") is None
        assert bucket.key_of(f"https://{bucket.name}/x") is None

    def test_larger_than_allowed_is_not_read(self, bucket: Bucket) -> None:
        """The limit is checked before the bytes are read."""
        bucket.put_cutout(DATA, key="a", media_type="image/png", metadata={})
        with pytest.raises(ObjectTooLargeError, match="6000 bytes"):
            bucket.read("a", max_bytes=5999)


class TestClearing:
    def test_removes_an_object_and_is_content_to_find_none(self, bucket: Bucket) -> None:
        """Deleting twice does no harm."""
        bucket.put_cutout(DATA, key="a", media_type="image/png", metadata={})
        bucket.delete("a")
        bucket.delete("a")
        with pytest.raises(ObjectMissingError):
            bucket.read("a", max_bytes=len(DATA))

    def test_lists_the_keys_under_a_prefix(self, bucket: Bucket) -> None:
        """Keys with the prefix are listed, or all keys for an empty prefix."""
        for key in ("a/1", "a/2", "b"):
            bucket.put_cutout(DATA, key=key, media_type="image/png", metadata={})
        assert bucket.keys("a/") == ["a/1", "a/2"]
        assert bucket.keys("") == ["a/1", "a/2", "b"]


class TestTrouble:
    def test_with_a_missing_object_is_said_plainly(self, bucket: Bucket) -> None:
        """The error names the bucket and the key."""
        with pytest.raises(ObjectMissingError, match=f"{bucket.name}.*'nothing'"):
            bucket.read("nothing", max_bytes=1)

    def test_with_a_missing_bucket_names_its_setting(self, settings: Settings) -> None:
        """The error names the bucket and CUTOUT_S3_BUCKET."""
        with pytest.raises(BucketMissingError, match=f"{settings.s3_bucket}.*CUTOUT_S3_BUCKET"):
            Bucket(settings).read("a", max_bytes=1)

    def test_with_wrong_credentials_names_their_settings(self, settings: Settings) -> None:
        """The error names the variables and not their values."""
        wrong = settings.model_copy(update={"s3_access_key": "nobody"})
        with pytest.raises(StorageRefusedError, match="CUTOUT_S3_ACCESS_KEY"):
            Bucket(wrong).put_cutout(DATA, key="a", media_type="image/png", metadata={})

    def test_with_a_key_that_is_too_long_differs_from_an_unreachable_bucket(self, bucket: Bucket) -> None:
        """A key that is too long is an error of this object only."""
        with pytest.raises(ObjectTooLargeError, match="KeyTooLongError"):
            bucket.put_cutout(DATA, key="a" * 2000, media_type="image/png", metadata={})

    def test_with_an_unreachable_server_is_a_storage_error(self, settings: Settings) -> None:
        """A refused connection is a StorageError without the server's address."""
        away = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
        with pytest.raises(StorageError, match="did not answer: EndpointConnectionError"):
            Bucket(away).put_cutout(DATA, key="a", media_type="image/png", metadata={})

    def test_is_found_by_the_check(self, bucket: Bucket, settings: Settings) -> None:
        """The check passes on a good bucket and raises on a missing one."""
        bucket.check()
        with pytest.raises(BucketMissingError):
            Bucket(settings.model_copy(update={"s3_bucket": "no-such-bucket"})).check()


class TestABucketThatKeepsVersions:
    def test_says_that_what_is_deleted_stays(self, bucket: Bucket) -> None:
        """Without versions a deleted object is gone."""
        for keeps in (False, True):
            bucket.put_cutout(DATA, key="a", media_type="image/png", metadata={})
            assert (bucket.keeps_versions(), bucket.delete("a")) == (keeps, keeps)
            bucket._client.put_bucket_versioning(
                Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
            )

    def test_differs_from_one_that_removes_them(self, bucket: Bucket) -> None:
        """A lifecycle rule that removes old versions is recognized."""
        assert not bucket.ends_versions()
        rule: LifecycleRuleTypeDef = {
            "ID": "old",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        }
        bucket._client.put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]}
        )
        assert bucket.ends_versions()


class TestAnObjectInPieces:
    def test_is_read_as_a_stream(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any read returns the requested bytes, with one piece in memory."""
        monkeypatch.setattr(streams, "PIECE_BYTES", 1000)
        bucket.put_cutout(DATA, key="a", media_type="text/plain", metadata={})
        with bucket.open("a") as stream:
            assert stream.read(10) == DATA[:10]
            assert b"".join(iter(lambda: stream.read(777), b"")) == DATA[10:]

    def test_that_was_replaced_meanwhile_is_not_read_further(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Parts of two objects are never combined."""
        monkeypatch.setattr(streams, "PIECE_BYTES", 1000)
        bucket.put_cutout(DATA, key="a", media_type="text/plain", metadata={})
        with bucket.open("a") as stream:
            stream.read(10)
            bucket.put_cutout(DATA[::-1], key="a", media_type="text/plain", metadata={})
            with pytest.raises(StorageError):
                stream.read()

    def test_that_is_missing_or_empty(self, bucket: Bucket) -> None:
        """A missing object raises at once, an empty one has no bytes."""
        bucket.put_cutout(b"", key="empty", media_type="text/plain", metadata={})
        with bucket.open("empty") as stream:
            assert stream.read() == b""
        with pytest.raises(ObjectMissingError, match="'none'"):
            bucket.open("none")

    def test_is_stored_while_it_is_made(self, bucket: Bucket) -> None:
        """Pieces of any size make one object of many parts, with its type."""
        pieces = [b"a" * 5_000_000, b"", b"b" * 12_000_000, b"c"]
        bucket.put_pieces(iter(pieces), key="a", media_type="text/csv")
        assert bucket.read("a", max_bytes=20_000_000) == b"".join(pieces)
        assert bucket._client.head_object(Bucket=bucket.name, Key="a")["ContentType"] == "text/csv"

    def test_whose_making_breaks_off_is_not_stored(self, bucket: Bucket) -> None:
        """The earlier object stays, and no parts are left that cost money."""
        bucket.put_cutout(DATA, key="a", media_type="text/plain", metadata={})

        def pieces() -> Iterator[bytes]:
            yield b"x" * 9_000_000
            raise RuntimeError("broke off")

        with pytest.raises(RuntimeError, match="broke off"):
            bucket.put_pieces(pieces(), key="a", media_type="text/csv")
        assert bucket.read("a", max_bytes=len(DATA)) == DATA
        assert not bucket._client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
