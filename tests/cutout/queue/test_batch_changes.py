"""Changes of a batch that exists, as the queue sees them."""

import uuid

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cutout.models import Batch, Job
from cutout.producers.producers import create_producer
from cutout.queue import batch_changes
from cutout.queue.batch_changes import WeightJustChangedError, change_batch, lock_batch
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.blocks.pauses import pause, resume
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from tests.support.steps import SOURCE, dispatch_one


@pytest.fixture
def producer_id(session: Session) -> uuid.UUID:
    made, _ = create_producer(session, "shop")
    return made.id


def batch_of(session: Session, producer_id: uuid.UUID, jobs: int) -> uuid.UUID:
    batch = create_batch(session, "b", producer_id=producer_id)
    enqueue_all(session, [NewJob(SOURCE) for _ in range(jobs)], batch_id=batch.id)
    return batch.id


def weigh(session: Session, batch_id: uuid.UUID, producer_id: uuid.UUID, weight: float) -> None:
    before = lock_batch(session, batch_id, producer_id)
    assert before is not None
    change_batch(session, batch_id, before, {"weight": weight})


def dispatched(session: Session, count: int) -> list[uuid.UUID | None]:
    """The batches of the next jobs."""
    ids = [dispatch_one(session)[0] for _ in range(count)]
    return [session.scalar(select(Job.batch_id).where(Job.id == job_id)) for job_id in ids]


class TestAWeight:
    def test_holds_for_jobs_that_wait(self, session: Session, producer_id: uuid.UUID) -> None:
        """Three times the share from now on, for jobs enqueued before the change and after it."""
        heavy, light = (batch_of(session, producer_id, 20) for _ in range(2))
        assert dispatched(session, 4).count(heavy) == 2
        weigh(session, heavy, producer_id, 3.0)
        assert dispatched(session, 12).count(heavy) in (8, 9, 10)
        enqueue_all(session, [NewJob(SOURCE) for _ in range(20)], batch_id=heavy)
        assert dispatched(session, 12).count(heavy) in (8, 9, 10)
        assert light

    def test_that_is_smaller_lets_others_go_first(self, session: Session, producer_id: uuid.UUID) -> None:
        """A tenth of the share."""
        light, other = (batch_of(session, producer_id, 20) for _ in range(2))
        weigh(session, light, producer_id, 0.1)
        assert dispatched(session, 11).count(other) >= 9

    def test_holds_for_a_paused_batch_once_it_goes_on(self, session: Session, producer_id: uuid.UUID) -> None:
        """Its jobs are blocked when it is changed."""
        heavy = batch_of(session, producer_id, 20)
        pause(session, heavy)
        session.execute(update(Job).values(queue_state="blocked"))
        weigh(session, heavy, producer_id, 4.0)
        batch_of(session, producer_id, 20)
        resume(session, heavy)
        assert unblock(session) == 20
        assert dispatched(session, 10).count(heavy) >= 7

    def test_keeps_the_order_within_the_batch(self, session: Session, producer_id: uuid.UUID) -> None:
        """And no job comes before one that was there first."""
        batch_id = batch_of(session, producer_id, 10)
        ordered = select(Job.id).order_by(Job.virtual_start)
        before = session.scalars(ordered).all()
        weigh(session, batch_id, producer_id, 7.0)
        assert session.scalars(ordered).all() == before
        last = session.get_one(Batch, batch_id, populate_existing=True).last_virtual_start
        latest = session.scalars(select(Job.virtual_start).order_by(Job.virtual_start.desc()).limit(1)).one()
        assert last == pytest.approx(latest)

    def test_holds_for_new_jobs_alone_if_many_wait(
        self, session: Session, producer_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Moving them all would take a statement of minutes."""
        limited = select(Job.id).where(*batch_changes.WAITING).offset(5).limit(1)
        monkeypatch.setattr(batch_changes, "IS_LARGE", limited)
        batch_id = batch_of(session, producer_id, 6)
        starts = select(Job.virtual_start).order_by(Job.id)
        before = session.scalars(starts).all()
        weigh(session, batch_id, producer_id, 2.0)
        assert session.scalars(starts).all() == before
        enqueue_all(session, [NewJob(SOURCE)], batch_id=batch_id)
        assert session.scalars(starts).all()[-1] - before[-1] == pytest.approx(0.5)

    def test_is_refused_for_a_minute_after_it_moved_jobs(
        self, session: Session, producer_id: uuid.UUID
    ) -> None:
        """Each change writes every job that waits: it is neither recorded nor carried out."""
        batch_id, other = (batch_of(session, producer_id, 3) for _ in range(2))
        weigh(session, batch_id, producer_id, 2.0)
        weigh(session, batch_id, producer_id, 2.0)
        weigh(session, other, producer_id, 2.0)
        with pytest.raises(WeightJustChangedError) as refused, session.begin_nested():
            weigh(session, batch_id, producer_id, 3.0)
        assert 0 < refused.value.seconds <= 60
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        assert batch.weight == 2.0
        assert batch.jobs_moved_at is not None
        batch.jobs_moved_at -= batch_changes.MOVED_EVERY
        session.flush()
        weigh(session, batch_id, producer_id, 3.0)

    def test_that_moves_no_job_may_follow_another(self, session: Session, producer_id: uuid.UUID) -> None:
        """A batch that nothing waits in costs one row."""
        batch_id = create_batch(session, "b", producer_id=producer_id).id
        for weight in (2.0, 3.0):
            weigh(session, batch_id, producer_id, weight)
        assert session.get_one(Batch, batch_id, populate_existing=True).weight == 3.0


class TestARevision:
    def test_rises_with_each_change(self, session: Session, producer_id: uuid.UUID) -> None:
        """A pause and a resume are changes; a second pause changes nothing."""
        batch_id = batch_of(session, producer_id, 1)
        revisions = []
        for change in (
            lambda: None,
            lambda: weigh(session, batch_id, producer_id, 2.0),
            lambda: pause(session, batch_id),
            lambda: pause(session, batch_id),
            lambda: resume(session, batch_id),
        ):
            change()
            revisions.append(session.get_one(Batch, batch_id, populate_existing=True).revision)
        assert revisions == [1, 2, 3, 3, 4]
