"""Digests: a batch's jobs in one message, where the batch asks for it."""

import json
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import JobMessages
from cutout.queue.attempts.outcomes import Fail, Hold
from cutout.queue.enqueue import InvalidJobError, NewJob, create_batch, enqueue_all
from cutout.webhooks import digests
from cutout.webhooks.digests import announce_digests
from tests.support.steps import SOURCE, claim_one, new_worker

URL = "https://shop.example/hook"


def ended(engine: Engine, count: int, tells: JobMessages, url: str | None = URL) -> uuid.UUID:
    """A batch of this many jobs: the first is held, the others failed."""
    with Session(engine) as session, session.begin():
        batch_id = create_batch(session, "b", webhook_url=url, webhook_jobs=tells).id
        enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(count)], batch_id=batch_id)
        worker_id = new_worker(session)
        for n in range(count):
            outcome = Fail("IMAGE_EMPTY", "it is empty") if n else Hold("LOOK", "for a person")
            queue.settle(session, claim_one(session, worker_id), outcome)
    return batch_id


def told(connection: Connection) -> list[tuple[str, list[str]]]:
    """The type of each message, and the external ids of its jobs."""
    rows = connection.execute(text("SELECT type, payload FROM deliveries ORDER BY id"))
    found = []
    for kind, payload in rows:
        data = json.loads(payload)["data"]
        jobs = data.get("jobs", [data])
        found.append((kind, [job["external_id"] for job in jobs]))
    return found


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def pass_time(connection: Connection) -> None:
    connection.execute(text("UPDATE digests SET created_at = created_at - interval '6 s'"))


class TestADigest:
    def test_reports_many_jobs_in_one_message(self, engine: Engine, connection: Connection) -> None:
        """Once the first has waited some seconds, each job is reported once, in the order of the ends."""
        batch_id = ended(engine, 3, JobMessages.DIGEST)
        assert told(connection) == []
        assert announce_digests(connection) == 0
        pass_time(connection)
        assert announce_digests(connection) == 3
        assert told(connection) == [("jobs.digest", ["0", "1", "2"])]
        payload = json.loads(connection.scalars(text("SELECT payload FROM deliveries")).one())
        assert payload["data"]["batch_id"] == str(batch_id)
        assert [job["state"] for job in payload["data"]["jobs"]] == ["held", "failed", "failed"]
        assert announce_digests(connection) == 0

    def test_goes_at_once_when_it_is_full(
        self, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full digest is sent at once, the rest waits."""
        monkeypatch.setattr(digests, "DUE", digests.DUE.bindparams(full=2))
        monkeypatch.setattr(digests, "ANNOUNCE_DIGEST", digests.ANNOUNCE_DIGEST.bindparams(full=2))
        ended(engine, 3, JobMessages.DIGEST)
        assert announce_digests(connection) == 2
        assert told(connection) == [("jobs.digest", ["0", "1"])]

    def test_is_of_one_batch(self, engine: Engine, connection: Connection) -> None:
        """Two batches are two messages."""
        for _ in range(2):
            ended(engine, 2, JobMessages.DIGEST)
        pass_time(connection)
        assert announce_digests(connection) == 4
        assert [len(jobs) for _, jobs in told(connection)] == [2, 2]

    def test_leaves_jobs_with_an_address_of_their_own(self, engine: Engine, connection: Connection) -> None:
        """A job with its own webhook gets its own message."""
        with Session(engine) as session, session.begin():
            batch_id = create_batch(session, "b", webhook_url=URL, webhook_jobs=JobMessages.DIGEST).id
            jobs = [NewJob(SOURCE, "own", webhook_url="https://other.example/"), NewJob(SOURCE, "its")]
            enqueue_all(session, jobs, batch_id=batch_id)
            worker_id = new_worker(session)
            for _ in jobs:
                queue.settle(session, claim_one(session, worker_id), Fail("IMAGE_EMPTY", "it is empty"))
        pass_time(connection)
        announce_digests(connection)
        assert told(connection) == [("job.failed", ["own"]), ("jobs.digest", ["its"])]


ASIDE = text(
    "INSERT INTO digests (batch_id, producer_id, url, job, created_at)"
    " SELECT :batch, :producer, 'https://a.example', '{}', now() - interval '1 minute'"
    " FROM generate_series(1, :jobs)"
)


def put_aside(connection: Connection, name: str, jobs: int) -> uuid.UUID:
    """Collected jobs of a batch of a new producer; returns the producer."""
    named = {"name": name}
    producer: uuid.UUID = connection.scalars(
        text("INSERT INTO producers (name) VALUES (:name) RETURNING id"), named
    ).one()
    batch = connection.scalars(text("INSERT INTO batches (name) VALUES (:name) RETURNING id"), named).one()
    connection.execute(ASIDE, {"batch": batch, "producer": producer, "jobs": jobs})
    return producer


class TestManyJobsOfOneProducer:
    def test_keep_no_other_waiting(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another producer's digest is sent in one round, however many jobs are collected before it."""
        monkeypatch.setattr(digests, "LONGEST_S", 0.0)
        put_aside(connection, "many", 6000)
        producer = put_aside(connection, "few", 1)
        its = text("SELECT count(*) FROM deliveries WHERE producer_id = :producer")
        for _ in range(25):
            assert announce_digests(connection)
            if connection.scalar(its, {"producer": producer}):
                return
        pytest.fail("its message is not made in 25 looks, of which each makes either's")

    def test_are_announced_as_long_as_there_is_time(self, connection: Connection) -> None:
        """One round sends several digests of one batch."""
        put_aside(connection, "many", 3 * digests.MOST_JOBS)
        assert announce_digests(connection) == 3 * digests.MOST_JOBS


class TestABatchesJobs:
    def test_may_be_announced_one_by_one(self, engine: Engine, connection: Connection) -> None:
        """Each message is written in the transaction that ends its job."""
        ended(engine, 2, JobMessages.EACH)
        assert told(connection) == [("job.held", ["0"]), ("job.failed", ["1"])]

    def test_are_not_announced_unless_requested(self, engine: Engine, connection: Connection) -> None:
        """Only the batch is announced, once it has ended."""
        ended(engine, 2, JobMessages.NONE)
        assert told(connection) == []

    def test_need_an_address(self, engine: Engine) -> None:
        """Digests without an address are refused."""
        with pytest.raises(InvalidJobError, match="webhook_url") as refused:
            ended(engine, 1, JobMessages.DIGEST, url=None)
        assert refused.value.field == "webhook_jobs"
