"""Parts that a deletion removes, parts that it keeps with the reason, and its answer."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, insert, text
from sqlalchemy.orm import Session

from cutout.administration.output_removal import withdraw_outputs
from cutout.administration.source_removal import IN_USE, TO_BE_RENDERED, hold_sources, remove_source
from cutout.enums import JobMessages
from cutout.models import OUTPUTS, Job
from cutout.queue.enqueue import NewJob, enqueue
from cutout.results import ended_batches, keep_results
from cutout.storage import Bucket
from cutout.webhooks.digests import announce_digests
from tests.api.conftest import key_for, producer_of
from tests.api.test_actions import bought
from tests.support.machine import scaled

HOOK = "https://shop.example/hook"
WAITS = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def upload(client: httpx.Client, photo: bytes, headers: dict[str, str] | None = None, **fields: str) -> str:
    """The id of a job for an uploaded picture, which has failed since."""
    made = client.post("/v1/jobs", files={"image": photo}, data=fields, headers=headers).raise_for_status()
    job_id: str = made.json()["id"]
    return job_id


def fail(engine: Engine, *job_ids: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X',"
                " message = 'm' WHERE id = ANY(:ids)"
            ),
            {"ids": [uuid.UUID(job_id) for job_id in job_ids]},
        )


def into_a_digest(connection: Connection) -> None:
    """All jobs come into a batch that tells of many in one message."""
    connection.execute(text("INSERT INTO batches (name, webhook_jobs) VALUES ('b', 'digest')"))
    connection.execute(text("UPDATE jobs SET batch_id = (SELECT id FROM batches)"))


def deleted(client: httpx.Client, job_id: object, *, objects: bool = True) -> dict[str, Any]:
    params = {"objects": "true"} if objects else {}
    answer = client.delete(f"/v1/jobs/{job_id}", params=params).raise_for_status()
    told: dict[str, Any] = answer.json()
    assert told["id"] == str(job_id)
    return told


def parts(told: list[dict[str, Any]]) -> set[str]:
    return {part["what"] for part in told}


class TestWhatIsSaid:
    def test_names_each_object_that_went(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """The cutout by its key; the ledger is kept, and why."""
        told = deleted(shop, bought(engine, bucket))
        assert {"what": "cutout", "key": "cutouts/a.png", "why": None} in told["removed"]
        assert parts(told["removed"]) == {"cutout", "job"}
        assert [(part["what"], "bill" in part["why"]) for part in told["kept"]] == [("ledger", True)]

    def test_names_what_nobody_asked_to_go(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """Without objects=true the cutout stays, and the answer says how to have it gone."""
        told = deleted(shop, bought(engine, bucket), objects=False)
        (cutout,) = (part for part in told["kept"] if part["what"] == "cutout")
        assert (cutout["key"], "objects=true" in cutout["why"]) == ("cutouts/a.png", True)
        assert bucket.keys("cutouts/") == ["cutouts/a.png"]


def with_output(engine: Engine, bucket: Bucket, job_id: object, name: str, key: str | None) -> None:
    """An output of the job: one in the bucket, or without a key one that is to be made."""
    if key is not None:
        bucket.put_cutout(b"made", key=key, media_type="image/png", metadata={})
    made = {"state": "made", "key": key, "sha256": b"made", "finished_at": func.now()}
    values = {"job_id": job_id, "name": name, "priority": 1, "recipe": "r", "bought_sha256": b"bought"}
    with engine.begin() as connection:
        connection.execute(insert(OUTPUTS).values(values | (made if key else {})))


class TestTheOutputs:
    def test_go_with_the_job(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """Each object is named, and one that is to be made is made no more."""
        job_id = bought(engine, bucket)
        with_output(engine, bucket, job_id, "web", "cutouts/a.web.webp")
        with_output(engine, bucket, job_id, "mask", None)
        told = deleted(shop, job_id)
        assert {"what": "output", "key": "cutouts/a.web.webp", "why": None} in told["removed"]
        assert bucket.keys("cutouts/") == []
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM outputs")) == 0

    def test_stay_in_the_bucket_unless_asked_for(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Without objects=true their rows go, and the answer says how to have the objects gone."""
        job_id = bought(engine, bucket)
        with_output(engine, bucket, job_id, "web", "cutouts/a.web.webp")
        told = deleted(shop, job_id, objects=False)
        (output,) = (part for part in told["kept"] if part["what"] == "output")
        assert (output["key"], "objects=true" in output["why"]) == ("cutouts/a.web.webp", True)
        assert "cutouts/a.web.webp" in bucket.keys("cutouts/")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM outputs")) == 0

    def test_that_another_job_has_stay(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """The object goes with the last job that has it."""
        first, second = bought(engine, bucket), upload(shop, photo)
        fail(engine, second)
        for job_id in (first, second):
            with_output(engine, bucket, job_id, "web", "cutouts/web")
        told = deleted(shop, first)
        assert ("output", "cutouts/web") in {(part["what"], part["key"]) for part in told["kept"]}
        assert "cutouts/web" in bucket.keys("cutouts/")
        deleted(shop, second)
        assert bucket.keys("cutouts/") == []

    def test_are_found_again_after_an_interruption(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """A deletion that ended between the withdrawal and the bucket is completed by another."""
        job_id = bought(engine, bucket)
        with_output(engine, bucket, job_id, "web", "cutouts/web")
        with Session(engine) as session, session.begin():
            assert [output.key for output in withdraw_outputs(session, job_id)] == ["cutouts/web"]
        with engine.connect() as connection:
            # No renderer finds it by what it was made of.
            assert connection.scalar(text("SELECT bought_sha256 FROM outputs")) == b""
        assert "output" in parts(deleted(shop, job_id)["removed"])
        assert bucket.keys("cutouts/") == []

    def test_that_are_to_be_made_keep_the_source(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """An output that is asked for while its job is deleted finds its source."""
        job_id = upload(shop, photo)
        fail(engine, job_id)
        with_output(engine, bucket, job_id, "web", None)
        with engine.connect() as connection:
            source = connection.scalar(text("SELECT source FROM jobs"))
        assert source is not None
        producer_id = producer_of(engine)
        left = remove_source(engine, bucket, source, producer_id=producer_id, job_id=uuid.UUID(job_id))
        assert left is not None
        assert left.why == TO_BE_RENDERED
        assert "source" in parts(deleted(shop, job_id)["removed"])


class TestTheRow:
    def test_has_neither_the_webhook_nor_the_trace(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Nothing that the producer gave stays in it."""
        job_id = bought(engine, bucket)
        with engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET webhook_url = :url, trace = 't'"), {"url": HOOK})
        deleted(shop, job_id)
        with Session(engine) as session:
            job = session.get_one(Job, job_id)
            assert (job.webhook_url, job.trace, job.source) == (None, None, "")


class TestTheSource:
    def test_that_was_uploaded_goes(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """It lies under its producer's own prefix, and is named when it has gone."""
        job_id = upload(shop, photo)
        (key,) = bucket.keys("sources/")
        assert str(producer_of(engine)) in key
        fail(engine, job_id)
        assert {"what": "source", "key": key, "why": None} in deleted(shop, job_id)["removed"]
        assert bucket.keys("sources/") == []

    def test_stays_for_another_job_of_the_same_producer_alone(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """The last of a producer's jobs takes it away; that another producer has the same is not said."""
        other = key_for(engine, "other")
        first, second, foreign = upload(shop, photo), upload(shop, photo), upload(shop, photo, other)
        fail(engine, first, second)
        (kept,) = (part for part in deleted(shop, first)["kept"] if part["what"] == "source")
        assert kept["why"] == IN_USE
        told = deleted(shop, second)
        assert parts(told["removed"]) == {"source", "job"}
        assert told["kept"] == []
        (left,) = bucket.keys("sources/")
        with Session(engine) as session:
            assert session.get_one(Job, uuid.UUID(foreign)).source == f"s3://{bucket.name}/{left}"

    def test_is_not_taken_from_an_upload_whose_job_is_not_there_yet(
        self, engine: Engine, shop: httpx.Client, bucket: Bucket, photo: bytes
    ) -> None:
        """Whoever removes it waits until the job is there, and then finds that it is needed."""
        producer_id = producer_of(engine)
        fail(engine, job_id := upload(shop, photo))
        with Session(engine) as session:
            source = session.get_one(Job, uuid.UUID(job_id)).source
        with ThreadPoolExecutor(1) as pool:
            with Session(engine) as session, session.begin():
                hold_sources(session, producer_id)
                removal = pool.submit(
                    remove_source,
                    engine,
                    bucket,
                    source,
                    producer_id=producer_id,
                    job_id=uuid.UUID(job_id),
                )
                enqueue(session, NewJob(source, "again"), producer_id=producer_id)
                with engine.connect() as connection:
                    while not removal.done() and not connection.scalar(WAITS):
                        pass
                assert not removal.done()
            left = removal.result(scaled(10.0))
        assert left is not None
        assert left.why == IN_USE
        assert len(bucket.keys("sources/")) == 1

    def test_that_went_between_the_upload_and_its_job_is_stored_again(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket, photo: bytes
    ) -> None:
        """The upload waits for the deletion, and sees afterwards that its picture is gone."""
        producer_id = producer_of(engine)
        with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:of, 0))"),
                {"of": f"sources of {producer_id}"},
            )
            made = pool.submit(upload, shop, photo)
            while not (keys := bucket.keys("sources/")):
                pass
            while not connection.scalar(WAITS):
                pass
            bucket.delete(keys[0])
            connection.rollback()
            job_id = made.result(scaled(10.0))
        assert shop.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
        assert bucket.keys("sources/") == keys


class TestMessages:
    @pytest.mark.parametrize("messages", [JobMessages.EACH, JobMessages.DIGEST])
    def test_about_the_job_go_and_others_stay(
        self, shop: httpx.Client, engine: Engine, photo: bytes, messages: JobMessages
    ) -> None:
        """Delivered or not, alone or among others: the other job's message is as it was."""
        jobs = [upload(shop, photo, external_id=name) for name in ("GONE-1", "STAYS-2")]
        with engine.begin() as connection:
            if messages is JobMessages.DIGEST:
                batch = text(
                    "INSERT INTO batches (name, webhook_jobs, webhook_url) VALUES ('b', 'digest', :u)"
                )
                connection.execute(batch, {"u": HOOK})
                connection.execute(text("UPDATE jobs SET batch_id = (SELECT id FROM batches)"))
            connection.execute(text("UPDATE jobs SET webhook_url = :url"), {"url": HOOK})
        fail(engine, *jobs)
        if messages is JobMessages.DIGEST:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("UPDATE digests SET created_at = created_at - interval '1 h'"))
                assert announce_digests(connection) == 2
        assert "messages" in parts(deleted(shop, jobs[0])["removed"])
        with engine.connect() as connection:
            (payload,) = connection.scalars(text("SELECT payload FROM deliveries"))
        assert "GONE-1" not in payload
        data = json.loads(payload)["data"]
        (left,) = data["jobs"] if messages is JobMessages.DIGEST else [data]
        assert (left["id"], left["external_id"]) == (jobs[1], "STAYS-2")

    def test_that_are_put_aside_go_as_well(self, shop: httpx.Client, engine: Engine, photo: bytes) -> None:
        """A digest that is not made yet will not tell of it."""
        job_id = upload(shop, photo)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO batches (name, webhook_jobs) VALUES ('b', 'digest')"))
            connection.execute(
                text("UPDATE jobs SET batch_id = (SELECT id FROM batches), webhook_url = :url"), {"url": HOOK}
            )
        fail(engine, job_id)
        deleted(shop, job_id)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM digests")) == 0


class TestResults:
    def test_are_written_anew_without_it_and_their_batch_is_not_told_of_twice(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """The file has no line of it some seconds later; the batch ended once."""
        job_id = bought(engine, bucket)
        with engine.begin() as connection:
            connection.execute(text("UPDATE batches SET webhook_url = :url"), {"url": HOOK})
        (batch_id,) = self._ended(engine)
        keep_results(engine, bucket, batch_id)
        assert str(job_id) in self._file(bucket, batch_id)
        assert "results" in parts(deleted(shop, job_id)["removed"])
        assert self._ended(engine) == [batch_id]
        assert keep_results(engine, bucket, batch_id)
        assert str(job_id) not in self._file(bucket, batch_id)
        assert self._ended(engine) == []
        with engine.connect() as connection:
            told = connection.scalars(text("SELECT type FROM deliveries")).all()
        assert told == ["batch.finished"]

    def test_that_were_read_before_it_are_not_taken_for_whole(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """A deletion while they are written makes that writing void."""
        job_id = bought(engine, bucket)
        (batch_id,) = self._ended(engine)

        class Late(Bucket):
            def put_pieces(self, *args: Any, **named: Any) -> None:
                super().put_pieces(*args, **named)
                deleted(shop, job_id)

        late = bucket.sibling(bucket.name)
        late.__class__ = Late
        assert not keep_results(engine, late, batch_id)
        assert self._ended(engine) == [batch_id]

    def _ended(self, engine: Engine) -> list[uuid.UUID]:
        with engine.connect() as connection:
            return ended_batches(connection)

    def _file(self, bucket: Bucket, batch_id: uuid.UUID) -> str:
        return bucket.read(f"results/{batch_id}.csv", max_bytes=10**6).decode()
