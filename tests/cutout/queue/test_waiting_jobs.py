import uuid

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.audit import audit, findings
from cutout.audit.waiting_jobs import CHECK
from cutout.enums import Priority, State, Step
from cutout.models import Job
from cutout.producers.producers import create_producer
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome, Retry, Snooze, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.reuse import waiting_jobs
from cutout.queue.reuse.acquire import Acquired, TakenByOther
from cutout.queue.reuse.waiting_jobs import WaitingJobsPromoter
from cutout.queue.settle import RetryLimits
from tests.support.steps import LEASE, MAKING, SOURCE, begin, claim_one, new_worker, paid, record

SHA256 = b"s" * 32
KEEP_BACK = {
    "suspended": "UPDATE producers SET suspended_at = now()",
    "paused": "UPDATE batches SET paused_at = now();"
    " UPDATE jobs SET queue_state = 'blocked' WHERE queue_state = 'ready'",
    "source_limit": "UPDATE jobs SET queue_state = 'source_limit' WHERE queue_state = 'ready'",
}
STORED = StoredObject("cutouts/a.png", b"c" * 32, "image/png", 100, 10, 20)


@pytest.fixture
def worker(session: Session) -> uuid.UUID:
    return new_worker(session)


def acquire(session: Session, claim: Claim, sha256: bytes = SHA256) -> Claim | None:
    """Acquire a cutout as a worker does: buy it (returns the claim), wait for the buyer, or reuse it."""
    match queue.acquire_result(session, claim, sha256, MAKING):
        case Acquired():
            return claim
        case TakenByOther(buyer):
            queue.settle(session, claim, Snooze("TWIN_IS_BOUGHT", "another buys it", 1.0, waits_for=buyer))
        case found:
            queue.settle(session, claim, Succeeded(found.stored, reused=True))
    return None


def buyer_of(session: Session, worker: uuid.UUID, twins: int) -> Claim:
    """A job that buys, and so many others that wait for it."""
    for _ in range(1 + twins):
        enqueue(session, NewJob(SOURCE))
    buyer = acquire(session, claim_one(session, worker))
    assert buyer
    assert [acquire(session, claim_one(session, worker)) for _ in range(twins)] == [None] * twins
    return buyer


def queue_states(session: Session) -> dict[str, int]:
    rows = session.execute(
        text("SELECT coalesce(queue_state, state), count(*) FROM jobs GROUP BY 1 ORDER BY 1")
    )
    return {row[0]: row[1] for row in rows}


def dispatches(session: Session) -> int:
    return session.scalars(text("SELECT sum(fence) FROM jobs")).one() or 0


class TestWaitingJobs:
    def test_are_not_dispatched_while_their_buyer_is_buying(
        self, session: Session, worker: uuid.UUID
    ) -> None:
        """However long it is delayed between its tries, each of them is dispatched once."""
        buyer = paid(session, buyer_of(session, worker, 20))
        queue.settle(session, buyer, Retry(Step.COPY, "RESULT_UNAVAILABLE", "503"))
        twins = WaitingJobsPromoter()
        for _ in range(5):
            assert twins.promote(session) == 0
            assert dispatch_calls(session, 100, lease=LEASE) == []
        assert queue_states(session) == {"delayed": 1, "waiting": 20}
        assert dispatches(session) == 21

    def test_continue_once_it_is_bought(self, session: Session, worker: uuid.UUID) -> None:
        """All of them at once, and each reuses the cutout."""
        buyer = paid(session, buyer_of(session, worker, 3), source_sha256=SHA256)
        queue.settle(session, buyer, Succeeded(STORED, bucket=MAKING.bucket))
        assert WaitingJobsPromoter().promote(session) == 3
        for _ in range(3):
            assert acquire(session, claim_one(session, worker)) is None
        assert queue_states(session) == {"succeeded": 4}

    @pytest.mark.parametrize(
        "end",
        [
            Fail("IMAGE_DAMAGED", "it is damaged"),
            Hold("LOOK", "for a person"),
            Hold("OVER_BUDGET", "its batch has spent its budget", blocked=True),
        ],
        ids=lambda end: end.code,
    )
    def test_elect_one_of_them_if_it_is_not_bought(
        self, session: Session, worker: uuid.UUID, end: Outcome
    ) -> None:
        """The first in the queue buys; the others wait for it, and are not dispatched."""
        queue.settle(session, buyer_of(session, worker, 4), end)
        twins = WaitingJobsPromoter()
        twins.promote(session)
        assert queue_states(session)["waiting"] == 3
        assert acquire(session, claim_one(session, worker)) is not None
        assert twins.promote(session) == 0
        assert dispatch_calls(session, 10, lease=LEASE) == []

    def test_do_not_wait_for_a_buyer_whose_batch_is_paused(self, session: Session, worker: uuid.UUID) -> None:
        """A blocked buyer leaves the purchase to another job."""
        buyer = buyer_of(session, worker, 2)
        session.execute(
            text(
                "UPDATE jobs SET state = 'queued', queue_state = 'blocked', worker_id = NULL WHERE id = :id"
            ),
            {"id": buyer.job_id},
        )
        WaitingJobsPromoter().promote(session)
        assert acquire(session, claim_one(session, worker)) is not None

    @pytest.mark.parametrize("kept_back", ["suspended", "paused", "source_limit"])
    def test_that_cannot_buy_either_are_each_moved_once(self, session: Session, kept_back: str) -> None:
        """They are not all moved again for each possible next buyer."""
        batch_id = create_batch(session, "b", producer_id=create_producer(session, "p")[0].id).id
        ids = enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(6)], batch_id=batch_id)
        session.execute(
            text("UPDATE jobs SET queue_state = 'waiting', waits_for = :buyer WHERE id <> :buyer"),
            {"buyer": ids[0]},
        )
        session.execute(text(KEEP_BACK[kept_back]))
        twins = WaitingJobsPromoter()
        assert [twins.promote(session) for _ in range(3)] == [5, 0, 0]
        stands = {"suspended": "ready", "paused": "blocked"}.get(kept_back, kept_back)
        assert queue_states(session) == {stands: 6}

    def test_of_many_buyers_are_moved_by_several_ticks(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tick ends, and the next one continues behind the last buyer."""
        monkeypatch.setattr(waiting_jobs, "MOST_MOVED", 3)
        pairs = [[enqueue(session, NewJob(SOURCE)) for _ in range(2)] for _ in range(7)]
        session.execute(
            text("UPDATE jobs SET queue_state = 'waiting', waits_for = :buyer WHERE id = :id"),
            [{"id": twin, "buyer": buyer} for buyer, twin in pairs],
        )
        session.execute(
            text(
                "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'X'"
                " WHERE id = :id"
            ),
            [{"id": buyer} for buyer, _ in pairs],
        )
        twins = WaitingJobsPromoter()
        assert [twins.promote(session) for _ in range(4)] == [3, 3, 1, 0]

    def test_for_two_pictures_continue_separately(self, session: Session, worker: uuid.UUID) -> None:
        """A buyer with a changed source bought two pictures: the first job of each continues."""
        for _ in range(5):
            enqueue(session, NewJob(SOURCE))
        buyer = claim_one(session, worker)
        assert acquire(session, buyer, b"a" * 32)
        assert acquire(session, buyer, b"b" * 32)
        for picture in (b"a", b"b", b"a", b"b"):
            assert acquire(session, claim_one(session, worker), picture * 32) is None
        queue.settle(session, buyer, Fail("IMAGE_DAMAGED", "it is damaged"))
        WaitingJobsPromoter().promote(session)
        assert queue_states(session) == {"failed": 1, "ready": 2, "waiting": 2}

    def test_that_wait_for_one_another_do_not_wait_for_ever(self, session: Session) -> None:
        """Two jobs whose sources were swapped: a job that waits buys nothing."""
        ids = [enqueue(session, NewJob(SOURCE)) for _ in range(2)]
        session.execute(
            text("UPDATE jobs SET queue_state = 'waiting', waits_for = :other WHERE id = :id"),
            [{"id": one, "other": other} for one, other in zip(ids, reversed(ids), strict=True)],
        )
        WaitingJobsPromoter().promote(session)
        assert queue_states(session) == {"ready": 1, "waiting": 1}

    def test_can_be_cancelled(self, session: Session, worker: uuid.UUID) -> None:
        """They are cancelled like ready jobs."""
        buyer_of(session, worker, 1)
        (twin,) = session.scalars(text("SELECT id FROM jobs WHERE queue_state = 'waiting'"))
        assert queue.cancel(session, twin)
        assert queue_states(session) == {"cancelled": 1, "running": 1}

    def test_beyond_one_step_of_the_scan_are_reached(self, session: Session) -> None:
        """The scan continues where it stopped, and starts again after the last."""
        pairs = [[enqueue(session, NewJob(SOURCE)) for _ in range(2)] for _ in range(401)]
        session.execute(
            text("UPDATE jobs SET queue_state = 'waiting', waits_for = :buyer WHERE id = :id"),
            [{"id": twin, "buyer": buyer} for buyer, twin in pairs],
        )
        session.execute(
            text(
                "UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now() WHERE id = :id"
            ),
            [{"id": buyer} for buyer, _ in pairs],
        )
        twins = WaitingJobsPromoter()
        assert [twins.promote(session) for _ in range(4)] == [200, 200, 1, 0]


class TestABuyer:
    def test_inherits_the_priority_of_its_first_waiting_job(
        self, session: Session, worker: uuid.UUID
    ) -> None:
        """A bulk job that an interactive one waits for does not go behind normal jobs."""
        batch = create_batch(session, "bulk").id
        bulk = enqueue(session, NewJob(SOURCE, "a", priority=Priority.BULK), batch_id=batch)
        buyer = acquire(session, claim_one(session, worker))
        assert buyer
        queue.settle(session, buyer, Snooze("LIMIT_REACHED", "later", 0.0))
        for number in range(5):
            enqueue(session, NewJob(SOURCE, str(number)), batch_id=create_batch(session, "normal").id)
        enqueue(session, NewJob(SOURCE, "b", priority=Priority.INTERACTIVE))
        assert acquire(session, claim_one(session, worker)) is None
        session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE queue_state = 'delayed'"))
        WaitingJobsPromoter().promote(session)
        assert [job_id for job_id, _ in dispatch_calls(session, 1, lease=LEASE)] == [bulk]
        assert session.get_one(Job, bulk, populate_existing=True).priority == Priority.INTERACTIVE

    def test_keeps_a_better_priority_of_its_own(self, session: Session, worker: uuid.UUID) -> None:
        """Inheritance never makes a job go later."""
        buyer = buyer_of(session, worker, 2)
        before = session.get_one(Job, buyer.job_id).virtual_start
        WaitingJobsPromoter().promote(session)
        assert session.get_one(Job, buyer.job_id, populate_existing=True).virtual_start == before


def test_the_auditor_promotes_abandoned_jobs(engine: Engine) -> None:
    """It finds them if no step of a dispatcher did."""
    with Session(engine) as session, session.begin():
        buyer = buyer_of(session, new_worker(session), 2)
        queue.settle(session, buyer, Fail("IMAGE_DAMAGED", "it is damaged"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        found = {finding.id for check, finding in findings(connection) if check is CHECK}
        assert len(found) == 2
        audited = audit(connection, CHECK, RetryLimits(), found)
        assert (audited.repaired, audited.left) == (2, [])


def test_a_waiting_job_names_its_buyer(session: Session, worker: uuid.UUID) -> None:
    """A CHECK requires it: a job without a buyer would wait for ever."""
    buyer_of(session, worker, 1)
    names = session.execute(
        text("SELECT state, waits_for IS NOT NULL FROM jobs WHERE queue_state = 'waiting'")
    )
    assert [tuple(row) for row in names] == [(State.QUEUED, True)]


def test_a_waiting_job_continues_with_a_late_result_of_its_own(session: Session, worker: uuid.UUID) -> None:
    """Its call was paid: the copy does not wait for another job."""
    for _ in range(2):
        enqueue(session, NewJob(SOURCE))
    late = claim_one(session, worker)
    attempt_id = begin(session, late)
    session.execute(text("UPDATE jobs SET state = 'queued', queue_state = 'ready', worker_id = NULL"))
    first, second = (claim_one(session, worker) for _ in range(2))
    twin = first if first.job_id == late.job_id else second
    buyer = second if twin is first else first
    assert acquire(session, buyer)
    assert acquire(session, twin) is None
    record(session, late, attempt_id)
    job = session.get_one(Job, late.job_id, populate_existing=True)
    assert (job.queue_state, job.step) == ("ready", Step.COPY)
