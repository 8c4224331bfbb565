from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from cutout.ingest import IngestError, ReadOptions, open_source
from cutout.ingest.ingest_errors import NoRoomError
from cutout.ingest.sources.object_list import ObjectList
from cutout.models import Job
from cutout.settings import Settings
from cutout.storage import Bucket, ListedObject
from tests.cutout.ingest.conftest import Run


def put(bucket: Bucket, *keys: str) -> None:
    for key in keys:
        bucket.put_cutout(b"picture", key=key, media_type="image/png", metadata={})


@pytest.fixture
def other(bucket: Bucket) -> Bucket:
    """Another bucket on the same server, with two pictures."""
    other = bucket.sibling(f"{bucket.name[:50]}-other")
    other.create()
    put(other, "drop/a 1.jpg", "drop/deep/b?.png")
    return other


class TestAPrefix:
    def test_names_its_objects_without_reading_them(
        self, run: Run, bucket: Bucket, stored: Callable[[], list[Job]]
    ) -> None:
        """Each picture becomes a job with its own address; the id is its name below the prefix's folder."""
        put(bucket, "drop/hat.jpg", "drop/notes.txt", "drop/shoe.jpg", "drop/shoe.png", "elsewhere/x.jpg")
        assert run(f"s3://{bucket.name}/drop/").counts.jobs == 3
        assert {job.external_id: job.source for job in stored()} == {
            "hat": f"s3://{bucket.name}/drop/hat.jpg",
            "shoe.jpg": f"s3://{bucket.name}/drop/shoe.jpg",
            "shoe.png": f"s3://{bucket.name}/drop/shoe.png",
        }

    def test_may_end_inside_a_name(self, run: Run, bucket: Bucket, stored: Callable[[], list[Job]]) -> None:
        """s3://bucket/drop/SKU- matches all keys that begin with it; ids are the whole names."""
        put(bucket, "drop/SKU-1.jpg", "drop/other.jpg")
        run(f"s3://{bucket.name}/drop/SKU-")
        assert [job.external_id for job in stored()] == ["SKU-1"]

    def test_of_another_bucket_must_be_allowed(
        self, run: Run, other: Bucket, stored: Callable[[], list[Job]]
    ) -> None:
        """A bucket in CUTOUT_SOURCE_BUCKETS is read, with keys unchanged; any other is refused."""
        with pytest.raises(IngestError, match="CUTOUT_SOURCE_BUCKETS"):
            run(f"s3://{other.name}/drop/")
        assert run(f"s3://{other.name}/drop/", changed={"source_buckets": (other.name,)}).counts.jobs == 2
        assert [job.source for job in stored()] == [
            f"s3://{other.name}/drop/a 1.jpg",
            f"s3://{other.name}/drop/deep/b?.png",
        ]

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("s3://{}/nothing/", "holds no pictures; looked for"),
            ("s3://{}", "name a prefix inside it"),
            ("s3://{}/", "name a prefix inside it"),
            ("s3://not-there-at-all/x", "there is no bucket 'not-there-at-all'"),
        ],
    )
    def test_that_cannot_be_read_says_why(self, run: Run, bucket: Bucket, address: str, said: str) -> None:
        """An empty prefix, our own bucket as a whole, a bucket that does not exist."""
        with pytest.raises(IngestError, match=said):
            run(address.format(bucket.name), changed={"source_buckets": ("not-there-at-all",)})

    def test_without_permission_names_the_settings(self, bucket: Bucket, settings: Settings) -> None:
        """The server's refusal is reported with the settings to check."""
        refused = settings.model_copy(update={"s3_secret_key": SecretStr("mistyped")})
        with pytest.raises(IngestError, match=r"cannot be read: .*CUTOUT_S3_ACCESS_KEY"):
            open_source(f"s3://{bucket.name}/drop", ReadOptions(), refused, Bucket(refused))


class TestTheListOfAPrefix:
    def test_is_read_as_often_as_needed(self, settings: Settings, bucket: Bucket) -> None:
        """It is what the first listing saw, though objects came, went and were replaced since."""
        put(bucket, *(f"drop/{n}.jpg" for n in range(3)), "drop/notes.txt")
        with closing(open_source(f"s3://{bucket.name}/drop/", ReadOptions(), settings, bucket)) as source:
            versions = [record.pictures[0].version for record in source.records()]
            bucket.delete("drop/1.jpg")
            bucket.put_cutout(b"another", key="drop/2.jpg", media_type="image/png", metadata={})
            put(bucket, "drop/3.jpg")
            again = [record.pictures[0] for record in source.records()]
            assert [picture.external_id for picture in again] == ["0", "1", "2"]
            assert [picture.version for picture in again] == versions
            assert (source.extent.total, source.skipped.total) == (3, 1)

    def test_that_does_not_fit_on_disk_is_no_fault_of_the_source(self) -> None:
        """The request waits for room, and the text names the remedy."""
        with closing(ObjectList()) as objects, Path("/dev/full").open("wb") as full:
            objects._file.close()
            # What is written to it fails as on a full disk, once it leaves the buffer.
            objects._file = full
            with pytest.raises(NoRoomError, match="No space left on device; make room"):
                list(objects.keep([ListedObject("a", 1, "e")]))
            full.raw.close()

    def test_keeps_objects_as_they_are(self) -> None:
        """Over several blocks, with any key and size."""
        found = [ListedObject(f'{n}/ü\n\t"{n}', n * 10**9, f'"{n}"') for n in range(2500)]
        with closing(ObjectList()) as objects:
            assert list(objects.keep(iter(found))) == found
            assert list(objects) == found
            assert list(objects) == found
