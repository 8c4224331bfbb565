import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, State, Step, Stop
from cutout.models import Attempt, Breaker, Job
from cutout.queue.attempts import unsaved_results
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Retry, StoredObject, Succeeded, Unknown
from cutout.queue.attempts.unsaved_results import Failure
from cutout.queue.blocks import storage_breaker
from cutout.queue.claims import Claim
from cutout.queue.settle import RetryLimits
from cutout.queue.snapshot import read_snapshot
from tests.support.steps import ACCOUNT, ask_to_begin, begin, claim_new, claim_one, new_worker

CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
IN_DOUBT = Answer(AttemptOutcome.UNKNOWN, code="HTTP_504")
STORED = StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 100, 10, 20)
NO_ROUTE = Failure("r.example", "RESULT_UNAVAILABLE", "no route")
TOMORROW = datetime.now(UTC) + timedelta(days=1)


def fail(session: Session, *jobs: uuid.UUID) -> list[bool]:
    """Record that results of these jobs cannot be fetched, one after the other."""
    return [unsaved_results.failed(session, job, TOMORROW, NO_ROUTE) for job in jobs]


def paid(session: Session, worker_id: uuid.UUID) -> Claim:
    claim = claim_new(session, worker_id)
    url, lifetime = "https://r.example/1", timedelta(days=1)
    return claim.with_result(
        queue.record_result(
            session, claim, begin(session, claim), CHARGED, url=url, lifetime=lifetime, sent=(10, 20)
        )
    )


@pytest.fixture
def jobs() -> list[uuid.UUID]:
    return [uuid.uuid4() for _ in range(5)]


def row(session: Session) -> Breaker:
    session.expire_all()
    return session.get_one(Breaker, Stop.RESULTS)


class TestResultsThatCannotBeFetched:
    def test_stop_the_calls_at_the_fifth_in_a_row(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """It is reported once, with the host and the reason; no call begins afterwards."""
        claim = claim_new(session, new_worker(session))
        assert fail(session, *jobs, uuid.uuid4()) == [False, False, False, False, True, False]
        assert read_snapshot(session, [ACCOUNT]).stops == {Stop.RESULTS}
        assert (row(session).host, row(session).code) == ("r.example", "RESULT_UNAVAILABLE")
        begun = ask_to_begin(session, claim)
        assert begun is NotBegun.RESULTS

    def test_of_fewer_than_three_jobs_stop_nothing(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """Two damaged pictures are no outage, however often they are tried."""
        assert not any(fail(session, *jobs[:2] * 6))
        assert fail(session, jobs[2]) == [True]

    def test_that_have_expired_stop_nothing(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """An expired result says nothing about new ones."""
        late = datetime.now(UTC) - timedelta(seconds=1)
        assert not any(unsaved_results.failed(session, job, late, NO_ROUTE) for job in jobs)

    def test_are_counted_again_after_one_that_was_stored(
        self, session: Session, jobs: list[uuid.UUID]
    ) -> None:
        """A success between five failures begins a new count."""
        claim = paid(session, new_worker(session))
        fail(session, *jobs[:4])
        assert queue.settle(session, claim, Succeeded(STORED))
        assert fail(session, *jobs) == [False] * 4 + [True]

    def test_stop_no_calls_once_one_is_stored(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """The copy that succeeds closes the breaker in the statement that ends its job."""
        claim = paid(session, new_worker(session))
        fail(session, *jobs)
        assert queue.settle(session, claim, Succeeded(STORED))
        assert read_snapshot(session, [ACCOUNT]).stops == frozenset()
        assert row(session).host is None

    def test_are_not_ended_by_cutouts_from_elsewhere(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """A reused cutout, or one from the lifeboat, was not fetched from that host."""
        worker_id = new_worker(session)
        claims = [paid(session, worker_id), claim_new(session, worker_id)]
        fail(session, *jobs)
        assert queue.settle(session, queue.save_in_lifeboat(session, claims[0], "key"), Succeeded(STORED))
        assert queue.settle(session, claims[1], Succeeded(STORED, reused=True))
        assert read_snapshot(session, [ACCOUNT]).stops == {Stop.RESULTS}

    def test_allow_one_named_job_to_call(self, session: Session, jobs: list[uuid.UUID]) -> None:
        """The dispatcher's probe may call, and no other; not while the bucket is down as well."""
        worker_id = new_worker(session)
        probe, other = claim_new(session, worker_id), claim_new(session, worker_id)
        fail(session, *jobs)
        storage_breaker.let_one_call(session, probe.job_id)
        begun = ask_to_begin(session, other)
        assert begun is NotBegun.RESULTS
        storage_breaker.trip(session, "refused")
        begun = ask_to_begin(session, probe)
        assert begun is NotBegun.BUCKET
        storage_breaker.close(session)
        assert begin(session, probe)


class TestUnsavedResults:
    def test_are_counted_in_every_state(self, session: Session) -> None:
        """Running, delayed and ready jobs count; saved results and held jobs do not."""
        worker_id = new_worker(session)
        running, delayed, saved = (paid(session, worker_id) for _ in range(3))
        queue.settle(session, delayed, Retry(Step.COPY, "RESULT_UNAVAILABLE", "no route"))
        queue.save_in_lifeboat(session, saved, "key")
        assert running.result is not None
        assert unsaved_results.count(session) == 2

    def test_are_tried_one_at_a_time_and_then_all(self, session: Session) -> None:
        """A probe promotes one delayed copy; once results can be fetched, all continue."""
        worker_id = new_worker(session)
        for _ in range(3):
            claim = paid(session, worker_id)
            queue.settle(session, claim, Retry(Step.COPY, "RESULT_UNAVAILABLE", "x", after_seconds=300))
        assert unsaved_results.try_one(session)
        assert unsaved_results.try_all(session) == 2
        assert read_snapshot(session, [ACCOUNT]).ready[Step.COPY]


class TestAnUnknownChargeOfAnOutage:
    def test_does_not_hold_its_job(self, session: Session) -> None:
        """Any number of them is in the ledger and does not count against the limit."""
        worker_id = new_worker(session)
        claim = claim_new(session, worker_id)
        for number in range(1, 5):
            queue.end_attempt(session, begin(session, claim, number), IN_DOUBT)
            outage = Unknown("HTTP_504", "time-out", in_outage=True)
            queue.settle(session, claim, outage, RetryLimits(unknown=0))
            assert session.get_one(Job, claim.job_id).state == State.QUEUED
            session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
            claim = claim_one(session, worker_id)
        unknown = select(Attempt).where(Attempt.outcome == AttemptOutcome.UNKNOWN)
        assert len(session.scalars(unknown).all()) == 4

    def test_excuses_those_in_a_row_before_it(self, session: Session) -> None:
        """Failures that opened the circuit were of the same outage; one before a success was not."""
        worker_id = new_worker(session)
        claims = [claim_new(session, worker_id) for _ in range(4)]
        queue.end_attempt(session, begin(session, claims[0]), IN_DOUBT)
        queue.end_attempt(session, begin(session, claims[1]), CHARGED)
        session.execute(
            text("UPDATE attempts SET ended_at = now() - interval '2 s' WHERE outcome = 'charged'")
        )
        session.execute(
            text("UPDATE attempts SET ended_at = now() - interval '3 s' WHERE outcome = 'unknown'")
        )
        queue.end_attempt(session, begin(session, claims[2]), IN_DOUBT)
        queue.end_attempt(session, begin(session, claims[3]), IN_DOUBT)
        queue.settle(session, claims[3], Unknown("HTTP_504", "time-out", in_outage=True))
        session.expire_all()
        excused = session.scalars(select(Attempt.job_id).where(Attempt.in_outage)).all()
        assert set(excused) == {claims[2].job_id, claims[3].job_id}
