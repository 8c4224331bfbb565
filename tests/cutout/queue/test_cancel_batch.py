import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.actions.at_once import cancel_now
from cutout.enums import ActionKind, BatchState, State, Step
from cutout.models import INGESTS, Job
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import NotBegun
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
from cutout.queue.batch_actions.request import request_action
from cutout.queue.blocks import pauses
from cutout.queue.blocks.approval import PLAN, approve
from cutout.queue.blocks.blocked_jobs import Unblocker
from cutout.queue.bulk import begin_cancelling
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch_calls, dispatch_copies
from cutout.queue.enqueue import InvalidJobError, NewJob, enqueue
from cutout.queue.settle import RetryLimits
from cutout.queue.workers import rescue
from cutout.status.batch_status import batch_status
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.cutout.queue.test_pauses import batch_of, owners
from tests.cutout.queue.test_pauses import begin as try_to_begin
from tests.support.actions import carry_out
from tests.support.asked import COMMAND
from tests.support.steps import LEASE, SOURCE, begin, claim_new, claim_one, new_worker, paid, record
from tests.support.system import wait_until

STORED = StoredObject("cutouts/a.png", b"x" * 32, "image/png", 1, 2, 3)
ATTEMPT = "SELECT outcome, ended_at IS NULL FROM attempts"
Cancel = Callable[[Session, Claim], None]


def by_job(session: Session, claim: Claim) -> None:
    assert queue.cancel(session, claim.job_id)


def by_batch(session: Session, claim: Claim) -> None:
    """Cancel the batch as its first statement does, before its jobs are cancelled."""
    assert claim.batch_id is not None
    begin_cancelling(session, claim.batch_id)


def in_hand(session: Session) -> Claim:
    batch_of(session, 1)
    return claim_one(session, new_worker(session))


def state_of(session: Session, claim: Claim) -> tuple[str, str, str | None]:
    job = session.get_one(Job, claim.job_id, populate_existing=True)
    return job.state, job.step, job.queue_state


def lost(session: Session) -> int:
    return int(session.execute(text("SELECT count(lost_at) FROM attempts")).scalar_one())


def copy_again(session: Session, claim: Claim) -> Claim:
    """Dispatch and claim the job for its copy by the next worker."""
    session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE queue_state = 'delayed'"))
    ((job_id, fence),) = dispatch_copies(session, 5, lease=LEASE)
    assert job_id == claim.job_id
    again = queue.claim(session, job_id, fence, claim.worker_id)
    assert again is not None
    return again


class TestAJobThatIsPaidFor:
    def test_is_copied_if_cancelled_in_the_queue(self, session: Session) -> None:
        """Its bucket was unreachable: it succeeds once the bucket is back, and no credit is lost."""
        claim = paid(session, in_hand(session))
        queue.settle(session, claim, Snooze("STORAGE_AWAY", "x", 5.0))
        by_job(session, claim)
        assert state_of(session, claim) == (State.QUEUED, Step.COPY, "delayed")
        again = copy_again(session, claim)
        assert again.result is not None
        assert queue.settle(session, again, Succeeded(STORED))
        assert state_of(session, claim)[0] == State.SUCCEEDED
        assert lost(session) == 0

    @pytest.mark.parametrize("cancel", [by_job, by_batch])
    def test_is_copied_if_cancelled_while_running(self, session: Session, cancel: Cancel) -> None:
        """The copy continues after every interruption that it can survive."""
        claim = paid(session, in_hand(session))
        cancel(session, claim)
        assert queue.settle(session, claim, Retry(Step.COPY, "RESULT_UNAVAILABLE", "x"))
        assert state_of(session, claim) == (State.QUEUED, Step.COPY, "delayed")
        assert queue.settle(session, copy_again(session, claim), Succeeded(STORED))
        assert state_of(session, claim)[0] == State.SUCCEEDED

    def test_continues_with_its_copy_if_it_was_held(self, session: Session) -> None:
        """A person cancelled it, but its result has not expired."""
        claim = paid(session, in_hand(session))
        queue.settle(session, claim, Hold("INTERNAL_ERROR", "x"))
        by_job(session, claim)
        assert state_of(session, claim) == (State.QUEUED, Step.COPY, "ready")
        assert lost(session) == 0

    @pytest.mark.parametrize("code", ["RESULT_UNEXPECTED", "RESULT_EXPIRED"])
    def test_is_a_recorded_loss_if_its_result_is_useless(self, session: Session, code: str) -> None:
        """The URL is dropped, and the ledger records the loss."""
        claim = paid(session, in_hand(session))
        queue.settle(session, claim, Hold(code, "x"))
        by_job(session, claim)
        assert state_of(session, claim) == (State.CANCELLED, Step.CALL, None)
        assert lost(session) == 1

    @pytest.mark.parametrize("cancel", [by_job, by_batch])
    @pytest.mark.parametrize("outcome", [Lost("RESULT_EXPIRED", "x"), Hold("RESULT_UNEXPECTED", "x")])
    @pytest.mark.parametrize("bound", [0, 1])
    def test_is_a_recorded_loss_if_its_copy_fails_for_good(
        self, session: Session, cancel: Cancel, outcome: Outcome, bound: int
    ) -> None:
        """The job is not called again, and not held for a person."""
        claim = paid(session, in_hand(session))
        cancel(session, claim)
        assert queue.settle(session, claim, outcome, RetryLimits(lost=bound))
        assert state_of(session, claim) == (State.CANCELLED, Step.CALL, None)
        assert lost(session) == 1

    def test_by_a_worker_believed_dead_is_a_recorded_loss(self, session: Session) -> None:
        """The job has ended when the result arrives."""
        claim = in_hand(session)
        attempt_id = begin(session, claim)
        by_job(session, claim)
        rescue(session, [claim.worker_id], RetryLimits())
        assert state_of(session, claim)[0] == State.CANCELLED
        assert session.execute(text("SELECT outcome, ended_at IS NULL FROM attempts")).one() == (
            "unknown",
            False,
        )
        record(session, claim, attempt_id)
        assert session.execute(text(ATTEMPT)).one() == ("charged", False)
        assert lost(session) == 1


class TestARunningJob:
    @pytest.mark.parametrize("cancel", [by_job, by_batch])
    @pytest.mark.parametrize("budget", [None, 5])
    def test_begins_no_call_once_it_is_cancelled(
        self, session: Session, cancel: Cancel, budget: int | None
    ) -> None:
        """Nothing is paid for it, from no budget."""
        batch_of(session, 1, budget=budget)
        claim = claim_one(session, new_worker(session))
        cancel(session, claim)
        assert try_to_begin(session, claim, day_budget=budget) is NotBegun.CANCELLED
        assert session.execute(text("SELECT count(*) FROM attempts")).scalar_one() == 0

    @pytest.mark.parametrize("cancel", [by_job, by_batch])
    @pytest.mark.parametrize(
        "outcome",
        [
            Snooze("LIMIT_REACHED", "x", 3.0),
            Retry(Step.CALL, "SOURCE_UNAVAILABLE", "x"),
            Unknown("NO_ANSWER", "x"),
            Hold("OVER_BUDGET", "x", blocked=True),
            Hold("TOO_MANY_CALLS", "x"),
        ],
        ids=lambda outcome: type(outcome).__name__,
    )
    def test_ends_when_its_worker_settles_it(
        self, session: Session, cancel: Cancel, outcome: Outcome
    ) -> None:
        """The job does not become ready again, and is not held for a person."""
        claim = in_hand(session)
        cancel(session, claim)
        assert queue.settle(session, claim, outcome)
        assert state_of(session, claim) == (State.CANCELLED, Step.CALL, None)

    def test_keeps_its_unknown_charge_in_the_ledger(self, session: Session) -> None:
        """A possible charge stays recorded, however the job ended."""
        claim = in_hand(session)
        begin(session, claim)
        by_job(session, claim)
        queue.settle(session, claim, Unknown("NO_ANSWER", "x"))
        row = session.execute(text("SELECT outcome, unknown_at IS NOT NULL, code FROM attempts")).one()
        assert row == ("unknown", True, "NO_ANSWER")

    def test_that_fails_says_why(self, session: Session) -> None:
        """The failure is recorded: the job would have ended anyway."""
        claim = in_hand(session)
        by_job(session, claim)
        queue.settle(session, claim, Fail("IMAGE_EMPTY", "x"))
        assert state_of(session, claim)[0] == State.FAILED

    def test_explains_that_it_was_cancelled(self, session: Session) -> None:
        """The explanation also says how it continues."""
        claim = in_hand(session)
        by_batch(session, claim)
        told = explain(session, session.get_one(Job, claim.job_id), CallSettings(()))
        assert (told.why, "it was cancelled at" in told.text) == ("preparing", True)

    def test_under_a_lost_claim_changes_nothing(self, session: Session) -> None:
        """A worker whose fence is old ends no job."""
        claim = in_hand(session)
        queue.settle(session, claim, Snooze("WORKER_GONE", "x", 0.0))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        again = claim_one(session, claim.worker_id)
        by_job(session, again)
        assert not queue.settle(session, claim, Snooze("LIMIT_REACHED", "x", 0.0))
        assert state_of(session, claim)[0] == State.RUNNING


class TestABatch:
    def test_is_cancelling_until_its_last_job_has_ended(self, engine: Engine) -> None:
        """Waiting jobs are cancelled at once; running and paid jobs end by themselves."""
        with Session(engine) as session, session.begin():
            batch_id = batch_of(session, 4)
            worker_id = new_worker(session)
            preparing = claim_one(session, worker_id)
            copying = paid(session, claim_one(session, worker_id))
        assert [cancel_now(engine, COMMAND, batch_id) for _ in range(2)] == [2, 0]
        for ends, state in (
            ((preparing, Snooze("LIMIT_REACHED", "x", 3.0)), BatchState.CANCELLING),
            ((copying, Succeeded(STORED)), BatchState.CANCELLED),
        ):
            with Session(engine) as session, session.begin():
                found = batch_status(session, batch_id)
                assert found is not None
                assert found.state is BatchState.CANCELLING
                queue.settle(session, *ends)
                found = batch_status(session, batch_id)
                assert found is not None
                assert found.state is state
        assert found is not None
        assert (found.counts[State.CANCELLED], found.counts[State.SUCCEEDED]) == (3, 1)

    def test_is_cancelled_by_the_dispatcher_if_the_command_died(self, session: Session) -> None:
        """Only its first statement was written: its jobs are not dispatched, and end."""
        batch_id, other = batch_of(session, 3), batch_of(session, 1)
        begin_cancelling(session, batch_id)
        assert owners(session, 2) == [other]
        blocked = Unblocker()
        assert [blocked.unblock(session) for _ in range(2)] == [3, 0]
        found = batch_status(session, batch_id)
        assert found is not None
        assert (found.state, found.counts[State.CANCELLED]) == (BatchState.CANCELLED, 3)

    def test_is_cancelled_while_the_dispatcher_moves_its_jobs(self, engine: Engine) -> None:
        """There is no deadlock, and each job ends once."""
        with Session(engine) as session, session.begin():
            batch_id = batch_of(session, 3000)
            # In another order than their ids.
            session.execute(text("UPDATE jobs SET virtual_start = -virtual_start"))
        done = Event()

        def dispatch() -> None:
            blocked = Unblocker()
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                while not done.is_set():
                    dispatch_calls(connection, 1, lease=LEASE)
                    blocked.unblock(connection)

        with ThreadPoolExecutor(1) as pool:
            dispatching = pool.submit(dispatch)
            try:
                cancel_now(engine, COMMAND, batch_id)
            finally:
                done.set()
            dispatching.result()
        with Session(engine) as session:
            found = batch_status(session, batch_id)
            assert found is not None
            assert (found.state, found.counts[State.CANCELLED]) == (BatchState.CANCELLED, 3000)

    @pytest.mark.parametrize("change", [begin_cancelling, approve])
    def test_does_not_lock_out_the_end_of_its_ingest(
        self, engine: Engine, change: Callable[[Session, uuid.UUID], object]
    ) -> None:
        """That has locked its own row, and looks at the batch that it refers to."""
        with Session(engine) as session, session.begin():
            batch_id = batch_of(session, 1)
            options = {PLAN: True}
            session.execute(
                INGESTS.insert().values(batch_id=batch_id, fingerprint=b"x", kind="csv", options=options)
            )

        def make() -> None:
            with Session(engine) as session, session.begin():
                change(session, batch_id)

        with ThreadPoolExecutor(1) as pool, engine.begin() as ending:
            ending.execute(update(INGESTS).values(records=1))
            changing = pool.submit(make)
            waits = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            # A transaction sees the sessions as they were when it first looked.
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
                wait_until(lambda: watching.scalar(text(waits)) == 1, "it waits for the ingest")
            ending.execute(text("SELECT id FROM batches FOR KEY SHARE NOWAIT"))
            ending.commit()
            changing.result()

    def test_that_has_ended_stays_finished(self, engine: Engine) -> None:
        """There is nothing to cancel."""
        with Session(engine) as session, session.begin():
            batch_id = batch_of(session, 1)
            queue.settle(session, claim_one(session, new_worker(session)), Fail("X", "y"))
        assert cancel_now(engine, COMMAND, batch_id) == 0
        with Session(engine) as session:
            found = batch_status(session, batch_id)
            assert found is not None
            assert found.state is BatchState.FINISHED

    def test_continues_with_retried_jobs(self, engine: Engine) -> None:
        """Failed jobs may be retried; cancelled jobs stay cancelled, running jobs end."""
        with Session(engine) as session, session.begin():
            producer_id = create_producer(session, "shop")[0].id
            batch_id = batch_of(session, 3)
            worker_id = new_worker(session)
            queue.settle(session, claim_one(session, worker_id), Fail("X", "y"))
            running = claim_one(session, worker_id)
        assert cancel_now(engine, COMMAND, batch_id) == 1
        with Session(engine) as session, session.begin():
            session.execute(text("UPDATE jobs SET producer_id = :id"), {"id": producer_id})
            request_action(session, batch_id, ActionKind.RETRY)
        assert carry_out(engine) == 1
        with Session(engine) as session, session.begin():
            assert try_to_begin(session, running) is NotBegun.CANCELLED
            assert isinstance(begin(session, claim_one(session, worker_id)), int)

    def test_takes_no_more_jobs(self, session: Session) -> None:
        """Adding to it is refused, also if it was cancelled after the check."""
        batch_id = batch_of(session, 1)
        begin_cancelling(session, batch_id)
        with pytest.raises(InvalidJobError, match="was cancelled"):
            enqueue(session, NewJob(SOURCE, "late"), batch_id=batch_id)

    def test_that_is_paused_is_cancelled_as_well(self, engine: Engine) -> None:
        """Also blocked jobs, and jobs held over its budget."""
        with Session(engine) as session, session.begin():
            batch_id = batch_of(session, 3, budget=0)
            claim = claim_one(session, new_worker(session))
            queue.settle(session, claim, Hold("OVER_BUDGET", "x", blocked=True))
            pauses.pause(session, batch_id)
            assert owners(session, 1) == []
        assert cancel_now(engine, COMMAND, batch_id) == 3


def test_a_job_without_a_batch_is_cancelled_too(session: Session) -> None:
    """It may be queued or running."""
    claim = claim_new(session, new_worker(session))
    by_job(session, claim)
    assert try_to_begin(session, claim) is NotBegun.CANCELLED
    queue.settle(session, claim, Snooze("NOT_BEGUN", "x", 0.0))
    assert state_of(session, claim)[0] == State.CANCELLED
    other = enqueue(session, NewJob(SOURCE))
    assert queue.cancel(session, other)
    assert session.get_one(Job, other, populate_existing=True).state == State.CANCELLED
    assert not queue.cancel(session, uuid.uuid4())
