"""Reuse across producers: the purchases that serve a job, and no trace of another producer in it."""

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.enums import Reuse, State
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue.dispatch import dispatch
from cutout.queue.reuse.serve_reused import Dispatched, ReuseScope
from cutout.storage import Bucket
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.worker.pipeline.test_reuse import let_minutes_pass
from worker.pipeline.serve_reused import complete_reused

ROOM = 50
MakeBench = Callable[..., Bench]


@pytest.fixture
def all_of_one(make_bench: MakeBench) -> Bench:
    """A bench of one company, whose producers share what they buy."""
    return make_bench(reuse=Reuse.ALL)


def two_producers(bench: Bench) -> tuple[uuid.UUID, uuid.UUID]:
    with Session(bench.engine) as session, session.begin():
        first, second = (create_producer(session, name)[0].id for name in ("a", "b"))
    return first, second


def done(bench: Bench, photo: bytes, producer_id: uuid.UUID | None, *, rounds: int = 1) -> Job:
    job_id = bench.enqueue(photo, producer_id=producer_id)
    for _ in range(rounds):
        bench.work()
    return bench.job(job_id)


def in_one_message(bench: Bench, photo: bytes, producer_id: uuid.UUID | None) -> tuple[Job, Dispatched]:
    """The job after one dispatch with reuse, and the jobs dispatched to be served."""
    job_id = bench.enqueue(photo, producer_id=producer_id)
    with Session(bench.engine) as session, session.begin():
        reuse_scope = ReuseScope(bench.context.recipe, bench.context.settings.reuse)
        turns = dispatch(session, ROOM, lease=LEASE, reuse_scope=reuse_scope, reuse_room=ROOM)
    if turns.reused:
        complete_reused(bench.context, turns.reused)
    return bench.job(job_id), turns.reused


def metadata(bucket: Bucket, key: str | None) -> dict[str, str]:
    assert key is not None
    return bucket._client.head_object(Bucket=bucket.name, Key=key)["Metadata"]


def traces_of(bench: Bench, job: Job) -> str:
    """The job's whole row, as text."""
    with bench.engine.connect() as connection:
        return str(
            connection.scalar(text("SELECT to_json(j)::text FROM jobs j WHERE id = :id"), {"id": job.id})
        )


class TestByDefault:
    def test_a_producer_has_its_own_again_and_no_others(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Equal bytes are bought once by each of two producers, and once without a producer."""
        a, b = two_producers(reusing)
        owners = [a, b, None, a, b, None]
        jobs = [done(reusing, photo, owner) for owner in owners]
        assert [job.reused for job in jobs] == [False] * 3 + [True] * 3
        assert [job.key for job in jobs[3:]] == [job.key for job in jobs[:3]]
        assert len({job.key for job in jobs}) == sandbox.charges() == 3

    def test_a_message_of_jobs_keeps_to_the_border(self, reusing: Bench, photo: bytes) -> None:
        """A job served in a message without a claim gets its own producer's cutout as well."""
        a, b = two_producers(reusing)
        first = done(reusing, photo, a)
        own, served = in_one_message(reusing, photo, a)
        assert (own.key, own.reused, len(served)) == (first.key, True, 1)
        assert in_one_message(reusing, photo, b)[1] == in_one_message(reusing, photo, None)[1] == []

    def test_jobs_of_two_producers_do_not_wait_for_each_other(
        self, reusing: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """While A's job is under way, A's next job waits for it and B's job is called."""
        a, b = two_producers(reusing)
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
        first = done(reusing, photo, a)
        reusing.change(first.id, "state = 'running', queue_state = NULL, worker_id = uuidv7()")
        twin, stranger = (reusing.enqueue(photo, producer_id=owner) for owner in (a, b))
        reusing.work()
        assert (reusing.job(twin).waits_for, reusing.job(stranger).state) == (first.id, State.SUCCEEDED)
        assert not reusing.job(stranger).reused

    @pytest.mark.parametrize("reuse", [Reuse.PRODUCER, Reuse.OFF])
    def test_a_picture_held_for_one_is_called_for_another(
        self, make_bench: MakeBench, sandbox: Sandbox, photo: bytes, reuse: Reuse
    ) -> None:
        """Only the next job of the same producer is held with it; another producer has limits of its own."""
        bench = make_bench(reuse=reuse, retry_unknown=0)
        a, b = two_producers(bench)
        sandbox.fault("drop_after", next=1)
        jobs = [done(bench, photo, owner) for owner in (a, a, b)]
        assert [job.state for job in jobs] == [State.HELD, State.HELD, State.SUCCEEDED]
        assert str(jobs[0].id) in (jobs[1].message or "")


class TestAmongAll:
    def test_anothers_cutout_is_copied_and_ones_own_is_not(
        self, all_of_one: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """One call serves all; the second job's row, key and object show nothing of the first job."""
        a, b = two_producers(all_of_one)
        first, again, other = (done(all_of_one, photo, owner) for owner in (a, a, b))
        assert (again.key, sandbox.charges()) == (first.key, 1)
        assert (other.state, other.reused, other.sha256) == (State.SUCCEEDED, True, first.sha256)
        assert other.key == f"cutouts/{other.batch_id}/SKU.png"
        told = traces_of(all_of_one, other) + str(metadata(all_of_one.bucket, other.key))
        assert not [each for each in (first.id, first.batch_id, a) if str(each) in told]
        assert metadata(all_of_one.bucket, other.key)["job"] == str(other.id)

    def test_a_message_of_jobs_copies_as_well(
        self, all_of_one: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The copy has the job's own key, type and metadata, and stays when the first object is deleted."""
        a, b = two_producers(all_of_one)
        first = done(all_of_one, photo, a)
        other, served = in_one_message(all_of_one, photo, b)
        own, _ = in_one_message(all_of_one, photo, a)
        assert (len(served), own.key, sandbox.charges()) == (1, first.key, 1)
        assert (other.state, other.key) == (State.SUCCEEDED, f"cutouts/{other.batch_id}/SKU.png")
        assert metadata(all_of_one.bucket, other.key) == {"job": str(other.id), "fence": "1", "form": "rgba"}
        assert first.key is not None
        all_of_one.bucket.delete(first.key)
        assert other.key is not None
        assert all_of_one.bucket.holds(
            other.key, sha256=other.sha256 or b"", size_bytes=other.size_bytes or 0
        )

    def test_a_cutout_of_a_deleted_buyer_has_no_owner(self, all_of_one: Bench, photo: bytes) -> None:
        """Its object is copied for every producer."""
        a, _ = two_producers(all_of_one)
        first = done(all_of_one, photo, None)
        all_of_one.change(
            first.id,
            "deleted_at = now(), key = NULL, sha256 = NULL, external_id = NULL, producer_id = NULL",
        )
        assert done(all_of_one, photo, None).key != first.key
        assert done(all_of_one, photo, a).key != first.key

    @pytest.mark.parametrize("way", ["claimed", "message"])
    def test_a_missing_cutout_of_another_is_not_named(
        self, all_of_one: Bench, photo: bytes, way: str
    ) -> None:
        """It is checked again and bought anew; no message has its key."""
        a, b = two_producers(all_of_one)
        first = done(all_of_one, photo, a)
        assert first.key is not None
        all_of_one.bucket.delete(first.key)
        waiting = done(all_of_one, photo, b) if way == "claimed" else in_one_message(all_of_one, photo, b)[0]
        assert (waiting.state, waiting.code) == (State.QUEUED, "CUTOUT_MISSING")
        assert str(first.batch_id) not in traces_of(all_of_one, waiting)
        let_minutes_pass(all_of_one)
        all_of_one.work()
        bought = all_of_one.job(waiting.id)
        assert (bought.state, bought.reused) == (State.SUCCEEDED, False)

    def test_a_held_picture_of_another_is_not_named(
        self, make_bench: MakeBench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """All producers share its limits: the other job is held too, without id and message of the first."""
        bench = make_bench(reuse=Reuse.ALL, retry_unknown=0)
        a, b = two_producers(bench)
        sandbox.fault("drop_after", next=1)
        first, other = done(bench, photo, a), done(bench, photo, b)
        assert (first.state, other.state, other.code) == (State.HELD, State.HELD, "NO_ANSWER")
        assert not [each for each in (first.id, first.batch_id) if str(each) in traces_of(bench, other)]

    def test_a_copy_whose_worker_died_is_made_again_under_the_same_key(
        self, all_of_one: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The worker dies between the copy and the row: nothing is paid, and the job ends with one object."""
        a, b = two_producers(all_of_one)
        done(all_of_one, photo, a)
        job_id = all_of_one.enqueue(photo, producer_id=b)
        with Session(all_of_one.engine) as session, session.begin():
            reuse_scope = ReuseScope(all_of_one.context.recipe, Reuse.ALL)
            turns = dispatch(session, ROOM, lease=LEASE, reuse_scope=reuse_scope, reuse_room=ROOM)
        before = all_of_one.bucket.keys("cutouts/")
        all_of_one.change(job_id, "fence = fence + 1")
        complete_reused(all_of_one.context, turns.reused)
        all_of_one.change(job_id, "queue_state = 'ready'")
        all_of_one.work()
        job = all_of_one.job(job_id)
        assert (job.state, sandbox.charges()) == (State.SUCCEEDED, 1)
        assert set(all_of_one.bucket.keys("cutouts/")) - set(before) == {job.key}


def test_no_two_producers_share_an_uploaded_source(reusing: Bench, photo: bytes) -> None:
    """Each producer's source is kept once, apart from the other's."""
    a, b = two_producers(reusing)
    addresses = [reusing.upload(photo, owner) for owner in (a, a, b, None)]
    assert addresses[0] == addresses[1]
    assert len(set(addresses)) == 3
