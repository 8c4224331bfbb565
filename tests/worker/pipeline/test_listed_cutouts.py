import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from cutout.enums import QueueState, State
from cutout.queue.reuse.identity import owner_of
from cutout.settings import Settings
from cutout.storage import Bucket, PageEntry
from cutout.storage.object_keys import source_key
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox
from tests.worker.pipeline.test_serve_reused import jobs, message_of
from worker.pipeline import listed_cutouts
from worker.pipeline.listed_cutouts import FIRST_PAGES, WORTH_A_PAGE, ListedCutouts, WantedCutout
from worker.pipeline.serve_reused import complete_reused
from worker.signed_objects import SignedObjectClient

CUTOUT = b"a cutout"
COUNT = WORTH_A_PAGE + 4
BOUGHT = """
    INSERT INTO bought_results (source_sha256, bought_form, endpoint, preparation, bucket, scope, buyer, key,
        sha256, media_type, size_bytes, width, height, stored_at)
    VALUES (:source, 'rgba', :endpoint, :preparation, :bucket, :scope, uuidv7(), :key, :sha256, 'image/png',
        :size, 1, 1, now())
"""


class CountingBucket(Bucket):
    """The real bucket, with a count of the pages that were listed."""

    pages = 0

    def page(self, prefix: str, *, after: str) -> list[PageEntry]:
        self.pages += 1
        return super().page(prefix, after=after)


@pytest.fixture
def counted(settings: Settings) -> Iterator[CountingBucket]:
    """The test's bucket."""
    bucket = CountingBucket(settings)
    yield bucket
    bucket.close()


def put(bucket: Bucket, keys: list[str]) -> None:
    for key in keys:
        bucket.put_cutout(CUTOUT, key=key, media_type="image/png", metadata={})


def wanted(keys: list[str], *, stored_at: datetime | None = None) -> list[WantedCutout]:
    return [WantedCutout(key, len(CUTOUT), stored_at or datetime.now(UTC)) for key in keys]


def bought(bench: Bench, count: int = COUNT) -> tuple[list[str], list[str]]:
    """Sources whose cutouts are bought and in the bucket, and the keys of these."""
    sources, keys = [], []
    with bench.engine.begin() as connection:
        for n in range(count):
            content = hashlib.sha256(str(n).encode())
            sources.append(f"s3://{bench.bucket.name}/{source_key(content.hexdigest())}")
            keys.append(f"cutouts/earlier/SKU-{n}.png")
            values = {"source": content.digest(), "key": keys[-1], "size": len(CUTOUT)}
            values |= asdict(bench.context.recipe) | {"scope": owner_of(None)}
            connection.execute(text(BOUGHT), values | {"sha256": hashlib.sha256(CUTOUT).digest()})
    put(bench.bucket, keys)
    return sources, keys


class TestAMessage:
    def test_is_served_without_asking_for_each_object(
        self, reusing: Bench, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A page of the listing confirms all of them."""
        sources, keys = bought(reusing)
        monkeypatch.setattr(SignedObjectClient, "holds", lambda *_: pytest.fail("an object was asked for"))
        served = message_of(reusing, *sources)
        complete_reused(reusing.context, served)
        assert [(job.state, job.key) for job in jobs(reusing, served)] == [
            (State.SUCCEEDED, key) for key in keys
        ]
        assert sandbox.charges() == 0

    @pytest.mark.parametrize("harm", ["delete", "replace"])
    def test_does_not_serve_what_the_bucket_lacks(self, reusing: Bench, harm: str) -> None:
        """An object that is gone, or of the same size and written later, is asked for by itself."""
        sources, keys = bought(reusing)
        with reusing.engine.begin() as connection:
            connection.execute(text("UPDATE bought_results SET stored_at = now() - interval '1 hour'"))
            later = {"key": keys[3]}
            connection.execute(text("UPDATE bought_results SET stored_at = now() WHERE key <> :key"), later)
        if harm == "delete":
            reusing.bucket.delete(keys[3])
        else:
            other = bytes(reversed(CUTOUT))
            reusing.bucket.put_cutout(other, key=keys[3], media_type="image/png", metadata={})
        served = message_of(reusing, *sources)
        complete_reused(reusing.context, served)
        done = jobs(reusing, served)
        missed = done.pop(3)
        assert (missed.queue_state, missed.code) == (QueueState.DELAYED, "CUTOUT_MISSING")
        assert {job.state for job in done} == {State.SUCCEEDED}

    def test_does_not_trust_a_listing_after_a_cutout_was_missed(self, reusing: Bench) -> None:
        """An object that a listing showed before is asked for then."""
        sources, keys = bought(reusing)
        complete_reused(reusing.context, message_of(reusing, *sources))
        reusing.bucket.delete(keys[0])
        with reusing.engine.begin() as connection:
            since = (
                "UPDATE bought_results SET missing_since = now(), missing_seen_at = now() WHERE key = :key"
            )
            connection.execute(text(since), {"key": keys[0]})
        served = message_of(reusing, *sources)
        complete_reused(reusing.context, served)
        assert [job.code for job in jobs(reusing, served)] == ["CUTOUT_MISSING"] + [None] * (COUNT - 1)

    def test_asks_for_a_cutout_of_many_jobs_once(
        self, reusing: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Jobs of one picture do not make a request each."""
        sources, _ = bought(reusing, 1)
        asked, holds = list[str](), SignedObjectClient.holds

        def count(client: SignedObjectClient, stored: object) -> bool:
            asked.append("")
            return holds(client, stored)  # type: ignore[arg-type]

        monkeypatch.setattr(SignedObjectClient, "holds", count)
        served = message_of(reusing, *sources * 5)
        complete_reused(reusing.context, served)
        assert {job.state for job in jobs(reusing, served)} == {State.SUCCEEDED}
        assert len(asked) == 1


class TestAListing:
    KEYS = tuple(f"cutouts/b/SKU-{n}.png" for n in range(COUNT))

    def test_is_made_once_for_what_it_shows(self, counted: CountingBucket) -> None:
        """A second message finds it in memory."""
        put(counted, [*self.KEYS])
        listed = ListedCutouts(counted)
        for _ in range(2):
            assert listed.confirm(wanted([*self.KEYS]), None) == {*self.KEYS}
        assert counted.pages == 1

    def test_counts_for_ten_minutes(self, counted: CountingBucket, monkeypatch: pytest.MonkeyPatch) -> None:
        """After that the bucket is listed again."""
        put(counted, [*self.KEYS])
        listed = ListedCutouts(counted)
        listed.confirm(wanted([*self.KEYS]), None)
        monkeypatch.setattr(listed_cutouts, "SEEN_FOR_S", 0.0)
        assert listed.confirm(wanted([*self.KEYS]), None) == set()
        assert counted.pages == 2

    def test_keeps_a_bounded_number(self, counted: CountingBucket, monkeypatch: pytest.MonkeyPatch) -> None:
        """The objects seen longest ago are forgotten."""
        put(counted, [*self.KEYS])
        monkeypatch.setattr(listed_cutouts, "MOST_SEEN", 5)
        listed = ListedCutouts(counted)
        assert listed.confirm(wanted([*self.KEYS]), None) == {*sorted(self.KEYS)[-5:]}

    def test_is_not_made_for_few(self, counted: CountingBucket) -> None:
        """A few requests for single objects cost less."""
        put(counted, [*self.KEYS])
        assert ListedCutouts(counted).confirm(wanted([*self.KEYS[:3]]), None) == set()
        assert counted.pages == 0

    def test_is_given_up_for_a_producer_whose_keys_lie_far_apart(self, counted: CountingBucket) -> None:
        """It costs some pages; another producer's keys are listed all the same."""
        put(counted, [*self.KEYS])
        listed, owner = ListedCutouts(counted), uuid.uuid4()
        apart = [f"cutouts/{n:02}/SKU.png" for n in range(40)]
        for _ in range(3 * int(FIRST_PAGES)):
            assert listed.confirm(wanted(apart), owner) == set()
        assert counted.pages <= FIRST_PAGES
        assert listed.confirm(wanted([*self.KEYS]), None) == {*self.KEYS}

    def test_does_not_confirm_another_size_or_a_later_object(self, counted: CountingBucket) -> None:
        """Both may be other bytes."""
        put(counted, [*self.KEYS])
        listed, long_ago = ListedCutouts(counted), datetime.now(UTC) - timedelta(hours=1)
        assert listed.confirm(wanted([*self.KEYS], stored_at=long_ago), None) == set()
        longer = [each._replace(size_bytes=9) for each in wanted([*self.KEYS])]
        assert listed.confirm(longer, None) == set()

    def test_that_is_refused_confirms_nothing(self, settings: Settings) -> None:
        """Single objects are asked for instead."""
        bucket = CountingBucket(settings.model_copy(update={"s3_access_key": "nobody"}))
        listed = ListedCutouts(bucket)
        for _ in range(2):
            assert listed.confirm(wanted([*self.KEYS]), None) == set()
        assert bucket.pages == 1
        bucket.close()
