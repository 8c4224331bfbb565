from collections.abc import Callable

import pytest
from pydantic import SecretStr

from cutout.ingest import IngestError, ReadOptions, open_source
from cutout.models import Job
from cutout.settings import Settings
from cutout.storage import Bucket
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
