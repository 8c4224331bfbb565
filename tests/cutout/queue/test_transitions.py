from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.enums import AttemptOutcome, QueueState, State, Step
from cutout.models import Attempt, Job
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import (
    Fail,
    Hold,
    Lost,
    Outcome,
    Retry,
    Snooze,
    StoredObject,
    Succeeded,
    Unknown,
)
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, enqueue
from cutout.queue.settle import RetryLimits
from cutout.status.explanation import database_now
from cutout.text import LONGEST_MESSAGE
from tests.support.steps import (
    ACCOUNT,
    SOURCE,
    ask_to_begin,
    begin,
    claim_new,
    claim_one,
    dispatch_one,
    new_worker,
)

DAY = timedelta(days=1)
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)
STORED = StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 100, 10, 20)
SOME_OUTCOMES = [
    Succeeded(STORED),
    Retry(Step.CALL, "CODE", "text"),
    Snooze("CODE", "text", 5.0),
    Fail("CODE", "text"),
    Unknown("CODE", "text"),
    Lost("CODE", "text"),
    Hold("CODE", "text"),
]


def job_of(session: Session, claim: Claim) -> Job:
    session.expire_all()
    return session.get_one(Job, claim.job_id)


def bought(session: Session, claim: Claim) -> Claim:
    """A claim after a paid call."""
    return record(session, claim, begin(session, claim))


def record(session: Session, claim: Claim, attempt_id: int) -> Claim:
    """Record a paid result; returns the claim."""
    return claim.with_result(
        queue.record_result(
            session, claim, attempt_id, CHARGED, url="https://r/1", lifetime=DAY, sent=(10, 20)
        )
    )


def delay_s(session: Session, job: Job) -> float:
    """Seconds from the begin of the transaction, whose time does not go on while the test runs."""
    return (job.scheduled_at - database_now(session)).total_seconds()


class TestClaiming:
    def test_takes_a_dispatched_job(self, session: Session) -> None:
        """The claimed job is running, under the fence of its message."""
        claim = claim_new(session, worker_id := new_worker(session))
        job = job_of(session, claim)
        assert (job.state, job.worker_id, claim.fence) == (State.RUNNING, worker_id, 1)

    def test_of_a_message_repeated_to_another_worker_fails(self, session: Session) -> None:
        """The second of two equal messages claims nothing."""
        claim = claim_new(session, new_worker(session))
        assert queue.claim(session, claim.job_id, claim.fence, new_worker(session)) is None

    def test_gives_the_same_worker_its_claim_again(self, session: Session) -> None:
        """A claim whose reply was lost with the connection can be repeated."""
        claim = claim_new(session, worker_id := new_worker(session))
        assert queue.claim(session, claim.job_id, claim.fence, worker_id) == claim
        queue.settle(session, claim, Snooze("X", "y", 0))
        assert queue.claim(session, claim.job_id, claim.fence, worker_id) is None

    def test_fails_for_the_same_worker_with_an_open_call(self, session: Session) -> None:
        """Its thread gave the job up, and a repeated message must not pay again."""
        claim = claim_new(session, worker_id := new_worker(session))
        attempt_id = begin(session, claim)
        assert queue.claim(session, claim.job_id, claim.fence, worker_id) is None
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.NOT_CHARGED))
        assert queue.claim(session, claim.job_id, claim.fence, worker_id) is not None

    def test_of_a_late_message_fails(self, session: Session) -> None:
        """After the job was dispatched again, the older message claims nothing."""
        worker_id = new_worker(session)
        enqueue(session, NewJob(SOURCE))
        job_id, old = dispatch_one(session)
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        assert dispatch_one(session) == (job_id, old + 1)
        assert queue.claim(session, job_id, old, worker_id) is None
        assert queue.claim(session, job_id, old + 1, worker_id) is not None

    def test_of_a_cancelled_job_fails(self, session: Session) -> None:
        """A message on its way does not revive a cancelled job."""
        enqueue(session, NewJob(SOURCE))
        job_id, fence = dispatch_one(session)
        assert queue.cancel(session, job_id)
        assert queue.claim(session, job_id, fence, new_worker(session)) is None


class TestTheLedger:
    def test_has_an_unknown_row_before_the_call(self, session: Session) -> None:
        """If the worker dies, the row is already correct."""
        claim = claim_new(session, new_worker(session))
        attempt = session.get_one(Attempt, begin(session, claim))
        assert (attempt.outcome, attempt.ended_at, attempt.number) == (AttemptOutcome.UNKNOWN, None, 1)

    def test_refuses_a_call_of_a_worker_that_lost_its_claim(self, session: Session) -> None:
        """Without the job there is no row and no call."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Snooze("X", "y", 0))
        begun = ask_to_begin(session, claim)
        assert begun is NotBegun.LOST
        assert session.scalars(select(Attempt)).all() == []

    def test_refuses_a_call_while_the_account_is_paused(self, session: Session) -> None:
        """A pause stops running jobs as well."""
        claim = claim_new(session, new_worker(session))
        accounts.pause(session, ACCOUNT, code="ERROR_NOT_ENOUGH_CREDITS", message="empty")
        begun = ask_to_begin(session, claim)
        assert begun is NotBegun.ACCOUNT

    def test_has_one_row_if_its_transaction_is_repeated(self, session: Session) -> None:
        """A commit whose reply was lost is repeated and finds its own row."""
        claim = claim_new(session, new_worker(session))
        assert begin(session, claim) == begin(session, claim)

    def test_takes_the_end_from_a_worker_that_lost_its_claim(self, session: Session) -> None:
        """The cost of a call is recorded, whoever holds the job."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.settle(session, claim, Snooze("X", "y", 0))
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED, request_id="r"))
        session.expire_all()
        assert session.get_one(Attempt, attempt_id).outcome == AttemptOutcome.CHARGED


class TestAPaidResult:
    def test_moves_the_job_to_its_copy(self, session: Session) -> None:
        """The URL, its expiry and the sent size are kept, and the next step is the copy."""
        claim = bought(session, claim_new(session, new_worker(session)))
        job = job_of(session, claim)
        assert (job.state, job.step, job.result_url) == (State.RUNNING, Step.COPY, "https://r/1")
        assert claim.result is not None
        assert claim.result.expires_at is not None
        assert abs(claim.result.expires_at - datetime.now(UTC) - DAY) < timedelta(minutes=1)

    def test_is_used_if_its_worker_lost_the_job(self, session: Session) -> None:
        """A rescued job gets the late result of its old worker, and is not called again."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.settle(session, claim, Snooze("WORKER_GONE", "y", 0))
        assert record(session, claim, attempt_id).step is Step.COPY
        assert job_of(session, claim).step == Step.COPY

    def test_releases_a_job_that_was_held_for_it(self, session: Session) -> None:
        """A job held for an unknown charge continues with its copy once the result arrives."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.settle(session, claim, Unknown("WORKER_GONE", "y"), RetryLimits(unknown=0))
        assert job_of(session, claim).state == State.HELD
        record(session, claim, attempt_id)
        job = job_of(session, claim)
        assert (job.state, job.queue_state, job.step) == (State.QUEUED, QueueState.READY, Step.COPY)

    def test_outlives_the_failure_of_another_workers_call(self, session: Session) -> None:
        """A second call that fails does not fail a job that has the first one's result."""
        first = claim_new(session, new_worker(session))
        attempt_id = begin(session, first)
        queue.settle(session, first, Snooze("WORKER_GONE", "y", 0))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        second = claim_one(session, new_worker(session))
        record(session, first, attempt_id)
        assert queue.settle(session, second, Fail("CODE", "text"))
        job = job_of(session, second)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.COPY, "https://r/1")

    def test_in_the_lifeboat_is_known_to_the_next_claim(self, session: Session) -> None:
        """Its key is kept with the result until the job has succeeded."""
        worker_id = new_worker(session)
        claim = bought(session, claim_new(session, worker_id))
        claim = queue.save_in_lifeboat(session, claim, "entry")
        assert claim.result is not None
        assert claim.result.lifeboat_key == "entry"
        queue.settle(session, claim, Retry(Step.COPY, "STORAGE_AWAY", "text"))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        claim = claim_one(session, worker_id, Step.COPY)
        assert claim.result is not None
        assert claim.result.lifeboat_key == "entry"
        queue.settle(session, claim, Succeeded(STORED))
        assert job_of(session, claim).lifeboat_key is None

    def test_is_not_recorded_in_the_lifeboat_by_a_worker_that_lost_its_claim(self, session: Session) -> None:
        """Its claim is returned without the key."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Snooze("X", "y", 0))
        assert queue.save_in_lifeboat(session, claim, "entry") == claim
        assert job_of(session, claim).lifeboat_key is None

    def test_is_not_shown_by_the_claim(self, session: Session) -> None:
        """The URL is a secret: neither repr nor str of a claim contains it."""
        claim = bought(session, claim_new(session, new_worker(session)))
        assert "https://r/1" not in f"{claim!r}{claim!s}"


class TestSettling:
    def test_a_success_finishes_the_job_and_drops_the_url(self, session: Session) -> None:
        """A succeeded job has its object and no secret."""
        claim = bought(session, claim_new(session, new_worker(session)))
        assert queue.settle(session, claim, Succeeded(STORED))
        job = job_of(session, claim)
        assert (job.state, job.key, job.result_url, job.worker_id) == (
            State.SUCCEEDED,
            STORED.key,
            None,
            None,
        )
        assert job.finished_at is not None

    def test_a_retry_uses_up_a_try_and_delays(self, session: Session) -> None:
        """The job is delayed, with one try fewer and the reason."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Retry(Step.CALL, "PROCESSING_FAILURE", "text"))
        job = job_of(session, claim)
        assert (job.state, job.queue_state, job.tries, job.code) == (
            State.QUEUED,
            QueueState.DELAYED,
            1,
            "PROCESSING_FAILURE",
        )
        assert 0.5 < delay_s(session, job) < 4

    def test_a_retry_honours_the_time_that_the_endpoint_named(self, session: Session) -> None:
        """Retry-After goes before our own backoff."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Retry(Step.CALL, "X", "text", after_seconds=100))
        assert 95 < delay_s(session, job_of(session, claim)) <= 100

    def test_the_last_retry_of_a_call_fails_the_job(self, session: Session) -> None:
        """After six tries the job fails and says how often it was tried."""
        worker_id = new_worker(session)
        claim = claim_new(session, worker_id)
        for _ in range(5):
            queue.settle(session, claim, Retry(Step.CALL, "X", "text"))
            session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
            claim = claim_one(session, worker_id)
        queue.settle(session, claim, Retry(Step.CALL, "X", "text"))
        job = job_of(session, claim)
        assert (job.state, job.message) == (State.FAILED, "text (tried 6 times)")

    def test_an_unknown_charge_closes_a_call_that_was_left_open(self, session: Session) -> None:
        """An error before the call's end was recorded leaves no call open for ever."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        queue.settle(session, claim, Unknown("INTERNAL_ERROR", "text"))
        attempt = session.scalars(select(Attempt)).one()
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "INTERNAL_ERROR")
        assert attempt.ended_at
        assert attempt.unknown_at

    def test_a_retry_may_have_its_own_limit(self, session: Session) -> None:
        """A code with an unknown meaning fails at its second try."""
        worker_id = new_worker(session)
        queue.settle(session, claim_new(session, worker_id), Retry(Step.CALL, "X", "y", most_tries=2))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        claim = claim_one(session, worker_id)
        queue.settle(session, claim, Retry(Step.CALL, "X", "y", most_tries=2))
        assert job_of(session, claim).state == State.FAILED

    def test_a_failed_copy_is_never_the_end(self, session: Session) -> None:
        """However often a copy fails, the paid job stays queued at its copy."""
        worker_id = new_worker(session)
        claim = bought(session, claim_new(session, worker_id))
        for _ in range(30):
            queue.settle(session, claim, Retry(Step.COPY, "STORAGE_AWAY", "text"))
            session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
            claim = claim_one(session, worker_id, Step.COPY)
        assert claim.step is Step.COPY
        assert claim.tries == 30

    def test_a_snooze_uses_up_no_try(self, session: Session) -> None:
        """A snooze is no failure."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Snooze("LIMIT_REACHED", "text", 50))
        job = job_of(session, claim)
        assert (job.state, job.queue_state, job.tries) == (State.QUEUED, QueueState.DELAYED, 0)
        assert 45 < delay_s(session, job) <= 50

    def test_an_unknown_charge_is_repeated_within_its_bound_and_then_held(self, session: Session) -> None:
        """The first unknown call may be repeated, the second holds the job for a person."""
        worker_id = new_worker(session)
        claim = claim_new(session, worker_id)
        begin(session, claim, 1)
        queue.settle(session, claim, Unknown("NO_ANSWER", "text"), RetryLimits(unknown=1))
        assert job_of(session, claim).state == State.QUEUED
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        claim = claim_one(session, worker_id)
        begin(session, claim, 2)
        queue.settle(session, claim, Unknown("NO_ANSWER", "text"), RetryLimits(unknown=1))
        assert job_of(session, claim).state == State.HELD

    def test_a_retry_is_delayed_no_longer_than_allowed(self, session: Session) -> None:
        """A paid result that expires soon does not wait out its backoff."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Retry(Step.COPY, "X", "text", after_seconds=100, at_most_seconds=7))
        assert 5 < delay_s(session, job_of(session, claim)) <= 7

    def test_a_long_message_is_cut(self, session: Session) -> None:
        """Texts of other servers are stored with a limited length."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Fail("X", "y" * 10_000))
        assert len(job_of(session, claim).message or "") == LONGEST_MESSAGE

    @pytest.mark.parametrize("outcome", SOME_OUTCOMES, ids=lambda outcome: type(outcome).__name__)
    def test_changes_nothing_for_a_worker_that_lost_its_claim(
        self, session: Session, outcome: Outcome
    ) -> None:
        """A fenced-out worker changes nothing; the job stays with its present worker."""
        worker_id = new_worker(session)
        lost = claim_new(session, worker_id)
        queue.settle(session, lost, Snooze("X", "y", 0))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        held = claim_one(session, worker_id)
        assert queue.settle(session, lost, outcome) is False
        job = job_of(session, held)
        assert (job.state, job.fence) == (State.RUNNING, held.fence)


class TestALoss:
    def test_is_recorded_at_its_attempt_and_holds_the_job(self, session: Session) -> None:
        """The attempt that paid for the result says when it was lost; by default a person decides."""
        claim = bought(session, claim_new(session, new_worker(session)))
        assert queue.settle(session, claim, Lost("RESULT_EXPIRED", "text"))
        job = job_of(session, claim)
        (attempt,) = session.scalars(select(Attempt))
        assert (job.state, job.code) == (State.HELD, "RESULT_EXPIRED")
        assert (attempt.outcome, attempt.lost_at is None) == (AttemptOutcome.CHARGED, False)

    def test_within_its_bound_is_called_again_and_then_held(self, session: Session) -> None:
        """With a limit of one the second loss holds the job, and both are in the ledger."""
        worker_id = new_worker(session)
        claim = bought(session, claim_new(session, worker_id))
        queue.settle(session, claim, Lost("RESULT_EXPIRED", "text"), RetryLimits(lost=1))
        job = job_of(session, claim)
        assert (job.state, job.step, job.tries, job.result_url) == (State.QUEUED, Step.CALL, 0, None)
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        claim = claim_one(session, worker_id)
        claim = record(session, claim, begin(session, claim, 2))
        queue.settle(session, claim, Lost("RESULT_EXPIRED", "text"), RetryLimits(lost=1))
        assert job_of(session, claim).state == State.HELD
        assert all(attempt.lost_at for attempt in session.scalars(select(Attempt)))

    def test_is_recorded_only_at_the_last_paid_result(self, session: Session) -> None:
        """Calls that cost nothing, or had no result to lose, are not touched."""
        claim = claim_new(session, new_worker(session))
        refused = begin(session, claim, 1)
        queue.end_attempt(session, refused, Answer(AttemptOutcome.NOT_CHARGED, code="X"))
        claim = record(session, claim, begin(session, claim, 2))
        queue.settle(session, claim, Lost("RESULT_EXPIRED", "text"))
        lost = session.scalars(select(Attempt.number).where(Attempt.lost_at.is_not(None))).all()
        assert lost == [2]

    def test_is_not_recorded_by_a_worker_that_lost_its_claim(self, session: Session) -> None:
        """The present worker may still save the result."""
        worker_id = new_worker(session)
        claim = bought(session, claim_new(session, worker_id))
        queue.settle(session, claim, Snooze("X", "y", 0))
        assert not queue.settle(session, claim, Lost("RESULT_EXPIRED", "text"))
        assert [attempt.lost_at for attempt in session.scalars(select(Attempt))] == [None]
