"""The watermark at which a dispatcher begins to read each queue, and jobs that come in before it."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Priority, Step
from cutout.producers.producers import create_producer
from cutout.queue import dispatch, queue_watermarks
from cutout.queue.blocks.blocked_jobs import Unblocker
from cutout.queue.blocks.download_limit import Downloads, SourceLimitPromoter
from cutout.queue.blocks.pauses import pause, resume
from cutout.queue.dispatch import DISPATCH_CALLS
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.promote import promote_due
from cutout.queue.queue_watermarks import REFRESH_AT_LEAST_EVERY_S, REFRESH_EVERY_S, QueueWatermarks
from cutout.queue.reuse.serve_reused import NO_REUSE
from cutout.queue.reuse.waiting_jobs import WaitingJobsPromoter
from cutout.queue.snapshot import READ, QueueSnapshot, read_snapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks
from tests.support.explained import buffers, plan_of
from tests.support.steps import LEASE, SOURCE

LEFT, STAY = 2000, 100
PRODUCERS = 3


class Dispatcher:
    """Dispatches with watermarks and a clock of its own; a refresh marks each queue that jobs left."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now_s = 0.0
        self.watermarks = QueueWatermarks(lambda: self.now_s)
        self.returns = SourceLimitPromoter()

    def later(self, seconds: float = REFRESH_EVERY_S) -> None:
        """Let some seconds pass and read a snapshot."""
        self.now_s += seconds
        self.read_snapshot()

    def read_snapshot(self) -> QueueSnapshot:
        return read_snapshot(self.connection, [], queue_watermarks=self.watermarks)

    def dispatch(self, count: int = 1) -> queue.Dispatched:
        return dispatch.dispatch(self.connection, count, lease=LEASE, watermarks=self.watermarks).calls

    def next(self) -> uuid.UUID | None:
        """Dispatch the next job."""
        return next((job_id for job_id, _ in self.dispatch()), None)

    def mark_all(self) -> queue.Dispatched:
        """Dispatch two jobs of each producer and set a watermark in every queue; returns the jobs."""
        self.read_snapshot()
        dispatched = self.dispatch(2 * PRODUCERS)
        self.later()
        assert self.watermarks.are_set
        return dispatched


@pytest.fixture
def own(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def dispatcher(own: Connection, monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    monkeypatch.setattr(queue_watermarks, "WORTH_A_WATERMARK_S", 0.0)
    return Dispatcher(own)


@pytest.fixture
def producers(engine: Engine) -> list[uuid.UUID]:
    """Three producers with ten jobs each."""
    with Session(engine) as session, session.begin():
        ids = [create_producer(session, f"p{n}")[0].id for n in range(PRODUCERS)]
        for producer_id in ids:
            enqueue_all(session, [NewJob(SOURCE)] * 10, producer_id=producer_id)
    return ids


def add(engine: Engine, producer_id: uuid.UUID | None, priority: Priority = Priority.NORMAL) -> uuid.UUID:
    with Session(engine) as session, session.begin():
        return enqueue(session, NewJob(SOURCE, priority=priority), producer_id=producer_id)


def change(own: Connection, job_id: uuid.UUID, values: str) -> None:
    own.execute(text(f"UPDATE jobs SET {values} WHERE id = :id"), {"id": job_id})  # noqa: S608 - constants


def dispatch_all(dispatcher: Dispatcher) -> list[uuid.UUID]:
    return [job_id for job_id, _ in dispatcher.dispatch(1000)]


class TestAJobBeforeTheWatermark:
    """A job that the same dispatcher puts back does not wait for the next refresh."""

    @pytest.mark.usefixtures("producers")
    def test_after_a_delay(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), *_) = dispatcher.mark_all()
        change(own, first, "queue_state = 'delayed', scheduled_at = now()")
        assert promote_due(own, queue_watermarks=dispatcher.watermarks) == 1
        assert first in dict(dispatcher.dispatch(PRODUCERS))

    @pytest.mark.usefixtures("producers")
    def test_after_its_producers_source_limit(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), *_) = dispatcher.mark_all()
        change(own, first, "queue_state = 'source_limit'")
        assert dispatcher.returns.promote(own, Downloads(32), dispatcher.watermarks) == 1
        assert first in dict(dispatcher.dispatch(PRODUCERS))

    @pytest.mark.usefixtures("producers")
    def test_after_it_waited_for_another(self, dispatcher: Dispatcher, own: Connection) -> None:
        ((first, _), (other, _), *_) = dispatcher.mark_all()
        change(own, other, "state = 'failed', queue_state = NULL, code = 'C', finished_at = now()")
        change(own, first, f"queue_state = 'waiting', waits_for = '{other}', source_sha256 = 'x'")
        assert WaitingJobsPromoter().promote(own, dispatcher.watermarks) == 1
        assert first in dict(dispatcher.dispatch(PRODUCERS))

    def test_after_its_batch_was_paused(
        self, engine: Engine, dispatcher: Dispatcher, own: Connection
    ) -> None:
        with Session(engine) as session, session.begin():
            batch_id = create_batch(session, "b").id
            enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(5)], batch_id=batch_id)
            pause(session, batch_id)
        for _ in range(2):
            assert dispatcher.dispatch(5) == []
            dispatcher.later()
        with Session(engine) as session, session.begin():
            resume(session, batch_id)
        assert Unblocker().unblock(own, dispatcher.watermarks) == 5
        assert len(dispatcher.dispatch(5)) == 5

    @pytest.mark.usefixtures("producers")
    @pytest.mark.parametrize("took_s", [0.0, 1.0, 1e6])
    def test_of_another_process_is_found_within_ten_seconds(
        self, dispatcher: Dispatcher, own: Connection, took_s: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A job that a worker gave back is found, however long a refresh takes."""
        dispatched = dispatcher.mark_all()
        read = QueueWatermarks._set
        monkeypatch.setattr(QueueWatermarks, "_set", lambda self, database: read(self, database) + took_s)
        dispatcher.later()
        for job_id, fence in dispatched:
            assert queue.hand_back(own, job_id, fence)
        dispatcher.later(REFRESH_AT_LEAST_EVERY_S)
        assert dict(dispatched).keys() <= dict(dispatcher.dispatch(2 * PRODUCERS)).keys()


class TestAJobBehindTheWatermark:
    """A new job is found at once."""

    def test_of_a_new_producer(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID]
    ) -> None:
        """Its queue may lie anywhere between the marked ones."""
        dispatcher.mark_all()
        new = {add(engine, None)}
        with Session(engine) as session, session.begin():
            for _ in range(4):
                new.add(enqueue(session, NewJob(SOURCE), producer_id=create_producer(session, "n")[0].id))
        assert new <= dict(dispatcher.dispatch(2 * (PRODUCERS + len(new)))).keys()
        assert producers

    @pytest.mark.parametrize("were_there", [0, 3])
    def test_of_a_better_priority(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID], were_there: int
    ) -> None:
        """Whether or not its empty queue had a watermark."""
        for _ in range(were_there):
            add(engine, producers[0], Priority.INTERACTIVE)
        dispatcher.mark_all()
        urgent = add(engine, producers[0], Priority.INTERACTIVE)
        assert dispatcher.read_snapshot().ready[Step.CALL]
        assert dispatcher.next() == urgent

    def test_of_a_queue_that_was_empty(
        self, engine: Engine, dispatcher: Dispatcher, producers: list[uuid.UUID]
    ) -> None:
        """All queues are empty, and then each gets one job."""
        dispatch_all(dispatcher)
        dispatcher.later()
        assert not dispatcher.read_snapshot().ready[Step.CALL]
        new = {add(engine, producer_id) for producer_id in producers}
        assert dispatcher.read_snapshot().ready[Step.CALL]
        assert {*dispatch_all(dispatcher)} == new


@pytest.mark.usefixtures("producers")
def test_queues_with_watermarks_are_served_in_the_same_order(dispatcher: Dispatcher, own: Connection) -> None:
    """Each job is dispatched once, as without watermarks."""
    dispatcher.mark_all()
    expected = own.execute(text("SELECT id FROM jobs WHERE queue_state = 'ready'")).scalars().all()
    went = []
    while dispatched := dispatcher.dispatch(PRODUCERS):
        owners = own.scalars(
            text("SELECT producer_id FROM jobs WHERE id = ANY(:ids)"), {"ids": [i for i, _ in dispatched]}
        )
        assert len({*owners}) == PRODUCERS
        went += dispatched
        dispatcher.later(1.0)
    assert sorted(i for i, _ in went) == sorted(expected)


@pytest.mark.usefixtures("producers")
def test_a_queue_that_is_read_quickly_has_no_watermark(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without an old snapshot, and after its end."""
    dispatcher.mark_all()
    monkeypatch.setattr(queue_watermarks, "WORTH_A_WATERMARK_S", 60.0)
    dispatcher.later()
    assert not dispatcher.watermarks.are_set


class TestBesideAnOldSnapshot:
    @pytest.fixture
    def _left(self, engine: Engine, own: Connection) -> Iterator[None]:
        """Many jobs of one producer left the queue, and an old snapshot still sees them."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * (LEFT + STAY))
        own.execute(text("ANALYZE"))
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as other:
            other.execute(text("SELECT count(*) FROM jobs"))
            yield

    @pytest.mark.usefixtures("_left")
    @pytest.mark.parametrize("count", [LEFT, LEFT + STAY], ids=["some are left", "none is left"])
    def test_dead_entries_are_not_read_again(
        self, own: Connection, dispatcher: Dispatcher, count: int
    ) -> None:
        """Also a dispatcher that begins to lead now does not read them."""
        dispatcher.dispatch(count)
        dispatcher.later()
        successor = Dispatcher(own)
        successor.read_snapshot()
        far, near, anew = (
            self.pages(own, watermarks)
            for watermarks in (QueueWatermarks(), dispatcher.watermarks, successor.watermarks)
        )
        assert max(near, anew) < far * 0.6

    @staticmethod
    def pages(own: Connection, watermarks: QueueWatermarks) -> int:
        """Count the pages that a snapshot and a dispatch read."""
        bounds = SnapshotWatermarks()
        own.execute(text("BEGIN"))
        parameters: dict[str, Any] = {"accounts": [], "day_budget": None, "lease": timedelta(0)}
        parameters |= {"since": bounds.outstanding, "due_since": bounds.due, **watermarks.as_parameters()}
        dispatching = {"count": 1, "lease": LEASE, "without": [], **NO_REUSE, **watermarks.as_parameters()}
        snapshot, dispatch = READ[watermarks.are_set], DISPATCH_CALLS[watermarks.are_set, False]
        plans = [
            plan_of(own, dispatch.statement, dispatching, enable_seqscan="off"),
            plan_of(own, snapshot.statement, parameters, enable_seqscan="off"),
        ]
        own.execute(text("ROLLBACK"))
        return sum(map(buffers, plans))
