import csv
import io
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.models import Batch, Ingest, Job
from cutout.queue.attempts.outcomes import Fail, Hold
from cutout.queue.enqueue import NewJob, enqueue
from cutout.results import ended_batches, keep_results, publish, write_results
from cutout.storage import Bucket
from tests.support.explained import plan_of, rows_looked_at
from tests.support.fates import DONE, make_batch
from tests.support.steps import SOURCE, claim_one, new_worker

FAILED = Fail("BROKEN", "m")


def look(engine: Engine, *but: uuid.UUID) -> set[uuid.UUID]:
    with engine.connect() as connection:
        return set(ended_batches(connection, but))


def results_key(engine: Engine, batch_id: uuid.UUID) -> str | None:
    with Session(engine) as session:
        return session.get_one(Batch, batch_id).results_key


def rows_of(bucket: Bucket, batch_id: uuid.UUID) -> list[dict[str, str]]:
    data = bucket.read(f"results/{batch_id}.csv", max_bytes=100_000)
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def retry(engine: Engine, external_id: str) -> None:
    with Session(engine) as session, session.begin():
        job_id = session.query(Job.id).filter_by(external_id=external_id).scalar()
        assert queue.retry(session, job_id)


class TestABatchThatEnded:
    def test_has_jobs_and_all_are_final(self, engine: Engine) -> None:
        """A queued, running or held job keeps its batch open; a batch without jobs never ends."""
        over = make_batch(engine, {"a": DONE, "b": FAILED})
        make_batch(engine, {"a": DONE, "b": Hold("LOOK", "m")})
        make_batch(engine, {})
        make_batch(engine, {"a": DONE, "b": None})
        assert look(engine) == {over}
        with Session(engine) as session, session.begin():
            claim_one(session, new_worker(session))
        assert look(engine) == {over}
        assert look(engine, over) == set()

    def test_is_found_without_reading_those_that_never_had_a_job(self, engine: Engine) -> None:
        """A schedule whose catalog did not change makes an empty batch every night."""
        over = make_batch(engine, {"a": DONE})
        with Session(engine) as session, session.begin():
            session.execute(text("INSERT INTO batches (name) SELECT 'empty' FROM generate_series(1, 1000)"))
            session.execute(
                text(
                    "INSERT INTO ingests (batch_id, fingerprint, kind, finished_at)"
                    " SELECT id, 'x', 'k', now() FROM batches WHERE name = 'empty'"
                )
            )
        with engine.connect() as connection:
            plan = plan_of(connection, publish.ENDED, {"but": []})
        assert look(engine) == {over}
        assert max(rows_looked_at(plan)) <= 2

    def test_is_not_one_that_is_still_read(self, engine: Engine) -> None:
        """While the manifest is read more jobs follow, even if all so far are done."""
        batch_id = make_batch(engine, {"a": DONE})
        with Session(engine) as session, session.begin():
            session.add(Ingest(batch_id=batch_id, fingerprint=b"x", kind="k"))
        assert look(engine) == set()
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET finished_at = now()"))
        assert look(engine) == {batch_id}

    def test_is_written_once(self, engine: Engine, bucket: Bucket) -> None:
        """The results are in the bucket under the key in the batch's row; writing twice gives the same."""
        batch_id = make_batch(engine, {"a": DONE, "b": FAILED})
        for _ in range(2):
            assert keep_results(engine, bucket, batch_id)
        assert [row["state"] for row in rows_of(bucket, batch_id)] == ["succeeded", "failed"]
        assert results_key(engine, batch_id) == f"results/{batch_id}.csv"
        assert look(engine) == set()

    def test_is_written_again_after_a_retry(self, engine: Engine, bucket: Bucket) -> None:
        """A retry removes the key; once the job is final again, the results are written again."""
        batch_id = make_batch(engine, {"a": FAILED})
        assert keep_results(engine, bucket, batch_id)
        retry(engine, "a")
        assert (results_key(engine, batch_id), look(engine)) == (None, set())
        with Session(engine) as session, session.begin():
            queue.settle(session, claim_one(session, new_worker(session)), DONE)
        assert look(engine) == {batch_id}
        assert keep_results(engine, bucket, batch_id)
        assert rows_of(bucket, batch_id)[0]["state"] == "succeeded"

    def test_is_written_again_with_a_new_job(self, engine: Engine, bucket: Bucket) -> None:
        """A job enqueued into the batch removes the key as well."""
        batch_id = make_batch(engine, {"a": DONE})
        assert keep_results(engine, bucket, batch_id)
        with Session(engine) as session, session.begin():
            enqueue(session, NewJob(SOURCE, "b"), batch_id=batch_id)
        assert (results_key(engine, batch_id), look(engine)) == (None, set())


class TestWhatMovesWhileItIsWritten:
    @pytest.mark.parametrize("ends_again", [False, True])
    def test_makes_the_file_worth_nothing(
        self, engine: Engine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, *, ends_again: bool
    ) -> None:
        """A job retried meanwhile, final again or not, leaves the batch to be written again."""
        batch_id = make_batch(engine, {"a": FAILED})

        def slowly(*arguments: object, **options: object) -> Iterator[bytes]:
            yield from write_results(*arguments, **options)  # type: ignore[arg-type]
            retry(engine, "a")
            if ends_again:
                with Session(engine) as session, session.begin():
                    queue.settle(session, claim_one(session, new_worker(session)), DONE)

        monkeypatch.setattr(publish, "write_results", slowly)
        assert not keep_results(engine, bucket, batch_id)
        assert results_key(engine, batch_id) is None
        assert look(engine) == ({batch_id} if ends_again else set())

    def test_is_waited_for_or_takes_the_key_away(self, engine: Engine, bucket: Bucket) -> None:
        """A retry that commits after the file is written removes the key."""
        batch_id = make_batch(engine, {"a": FAILED, "b": DONE})
        with Session(engine) as session, session.begin():
            its = session.query(Job.id).filter_by(external_id="a").scalar()
            session.execute(text("UPDATE jobs SET message = 'held by this lock' WHERE id = :id"), {"id": its})
            assert keep_results(engine, bucket, batch_id)
            assert queue.retry(session, its)
        assert results_key(engine, batch_id) is None
