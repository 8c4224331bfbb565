"""The checks of the auditor on a real Postgres: findings, repairs, and rows that must stay unchanged."""

import uuid
from collections.abc import Collection

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.audit import CHECKS, Audited, audit, findings
from cutout.enums import AttemptOutcome, QueueState, State, Step
from cutout.models import Attempt, Batch, Job, Worker
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.blocks.pauses import pause, set_budget
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.queue.settle import RetryLimits
from cutout.queue.workers import Identity, beat
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.cutout.queue.test_blocked_jobs import PLANNED
from tests.cutout.queue.test_transitions import bought
from tests.support.steps import SOURCE, begin, claim_new, new_worker

BOUNDS = RetryLimits()
BY_NAME = {check.name: check for check in CHECKS}
FOUND_WITHIN_S = 2.0


def run(session: Session, name: str, seen_before: Collection[uuid.UUID] | None = None) -> Audited:
    """Run one check with its repair."""
    session.flush()
    done = audit(session, BY_NAME[name], BOUNDS, seen_before)
    session.expire_all()
    return done


def found(session: Session) -> list[tuple[str, object]]:
    """Findings of all checks, without a repair."""
    session.flush()
    return [(check.name, finding.id) for check, finding in findings(session)]


def beats(session: Session, worker_id: uuid.UUID, *carried: Claim, times: int = 1) -> None:
    """Heartbeats of a worker that lists these jobs in flight."""
    for _ in range(times):
        beat(session, Identity(worker_id, "test", 1), [(claim.job_id, claim.fence) for claim in carried])


def job_of(session: Session, claim: Claim) -> Job:
    return session.get_one(Job, claim.job_id)


class TestARunningJob:
    def test_that_its_live_worker_does_not_list_is_rescued(self, session: Session) -> None:
        """Two heartbeats after the claim do not list its fence: it continues, and its call is unknown."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        beats(session, claim.worker_id, times=2)
        assert found(session) == [("running_jobs", claim.job_id)]
        done = run(session, "running_jobs")
        assert (done.repaired, done.left) == (1, [])
        attempt = session.get_one(Attempt, attempt_id)
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "WORKER_GONE")
        assert attempt.ended_at is not None
        assert (job_of(session, claim).state, job_of(session, claim).code) == (State.QUEUED, "WORKER_GONE")
        assert found(session) == []

    def test_that_had_not_called_costs_no_try(self, session: Session) -> None:
        """Without a call begun, nothing is in doubt."""
        claim = claim_new(session, new_worker(session))
        beats(session, claim.worker_id, times=2)
        assert run(session, "running_jobs").repaired == 1
        assert (job_of(session, claim).state, job_of(session, claim).tries) == (State.QUEUED, 0)

    def test_with_a_paid_result_continues_with_its_copy(self, session: Session) -> None:
        """A job with a paid result makes no second call."""
        claim = bought(session, claim_new(session, new_worker(session)))
        beats(session, claim.worker_id, times=2)
        assert run(session, "running_jobs").repaired == 1
        assert (job_of(session, claim).step, job_of(session, claim).result_url) == (Step.COPY, "https://r/1")

    def test_is_left_alone_by_the_first_beat_after_its_claim(self, session: Session) -> None:
        """The first heartbeat may have been composed before the claim."""
        worker_id = new_worker(session)
        beats(session, worker_id, times=7)
        claim = claim_new(session, worker_id)
        beats(session, worker_id)
        assert found(session) == []
        beats(session, worker_id)
        assert found(session) == [("running_jobs", claim.job_id)]

    def test_that_its_worker_lists_is_left_alone(self, session: Session) -> None:
        """A listed job is left alone after any number of heartbeats, among any other jobs."""
        worker_id = new_worker(session)
        claims = [claim_new(session, worker_id) for _ in range(3)]
        beats(session, worker_id, *claims, times=5)
        assert found(session) == []

    def test_that_its_worker_lists_under_an_older_fence_is_not_listed(self, session: Session) -> None:
        """A message of an older fence says nothing about the job's present claim."""
        claim = claim_new(session, new_worker(session))
        identity = Identity(claim.worker_id, "test", 1)
        for _ in range(2):
            beat(session, identity, [(claim.job_id, claim.fence - 1)])
        assert found(session) == [("running_jobs", claim.job_id)]

    def test_of_a_worker_that_lists_nothing_is_left_alone(self, session: Session) -> None:
        """A worker of an older version lists nothing during an upgrade."""
        claim = claim_new(session, new_worker(session))
        session.execute(update(Worker).values(beats=100))
        assert found(session) == []
        assert job_of(session, claim).state == State.RUNNING

    def test_that_was_claimed_while_its_worker_had_no_row_is_given_as_long(self, session: Session) -> None:
        """The heartbeat that inserts the row again may be older than the claim."""
        worker_id = new_worker(session)
        session.execute(text("DELETE FROM workers"))
        claim = claim_new(session, worker_id)
        identity = Identity(worker_id, "test", 1)
        last = beat(session, identity, [], last=40)
        assert (last, found(session)) == (41, [])
        beat(session, identity, [(claim.job_id, claim.fence)], last=last)
        assert found(session) == []
        beat(session, identity, [], last=last)
        assert found(session) == [("running_jobs", claim.job_id)]

    def test_that_is_settled_between_finding_and_repair_stays_unchanged(self, session: Session) -> None:
        """The repair tests its condition again under the row's lock."""
        claim = claim_new(session, new_worker(session))
        beats(session, claim.worker_id, times=2)
        check = BY_NAME["running_jobs"]
        seen = [finding for name, finding in findings(session) if name is check]
        assert queue.settle(session, claim, Hold("X", "a person decides"))
        assert check.repair is not None
        assert check.repair(session, seen, BOUNDS) == 0
        assert job_of(session, claim).state == State.HELD

    def test_that_no_worker_lists_is_explained(self, session: Session) -> None:
        """`cutout explain` does not say that a worker runs the job."""
        claim = claim_new(session, new_worker(session))
        beats(session, claim.worker_id, times=2)
        why = explain(session, job_of(session, claim), CallSettings([]))
        assert "does not run it any more" in why.text
        assert why.remedy == "the leading dispatcher rescues it from that worker"


class TestAnAttemptWithoutAnEnd:
    def age(self, session: Session) -> None:
        session.execute(text("UPDATE attempts SET begun_at = begun_at - interval '2 minutes'"))

    def test_whose_job_no_worker_runs_is_closed_as_unknown(self, session: Session) -> None:
        """The ledger does not show the call as open forever."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.settle(session, claim, Hold("X", "it went elsewhere"))
        self.age(session)
        assert found(session) == [("open_attempts", attempt_id)]
        assert run(session, "open_attempts").repaired == 1
        attempt = session.get_one(Attempt, attempt_id)
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "WORKER_GONE")
        assert attempt.unknown_at is not None
        assert found(session) == []

    def test_of_a_running_job_is_left_alone(self, session: Session) -> None:
        """A call may take its time."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        self.age(session)
        assert found(session) == []

    def test_takes_an_end_that_comes_later(self, session: Session) -> None:
        """The worker's own record replaces the unknown outcome."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.settle(session, claim, Hold("X", "it went elsewhere"))
        self.age(session)
        run(session, "open_attempts")
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED))
        session.expire_all()
        assert session.get_one(Attempt, attempt_id).outcome == AttemptOutcome.CHARGED


class TestAPaidResult:
    def paid(self, session: Session, **values: object) -> Job:
        """A job at its copy, with these values."""
        claim = bought(session, claim_new(session, new_worker(session)))
        workers.rescue(session, [claim.worker_id], BOUNDS)
        session.execute(update(Job).where(Job.id == claim.job_id).values(values))
        session.expire_all()
        return job_of(session, claim)

    def test_whose_copy_would_come_too_late_becomes_ready(self, session: Session) -> None:
        """A copy delayed until after the result's expiry becomes ready now."""
        job = self.paid(session, scheduled_at=func.now() + text("interval '30 hours'"))
        assert run(session, "paid_results").repaired == 1
        assert job.queue_state == QueueState.READY

    def test_that_is_copied_in_time_is_left_alone(self, session: Session) -> None:
        """A copy delayed until before the result's expiry stays delayed."""
        self.paid(session, scheduled_at=func.now() + text("interval '1 hour'"))
        assert found(session) == []

    def test_of_a_held_job_is_named_and_left_to_a_person(self, session: Session) -> None:
        """A held job is only reported: the reason for the hold may still exist."""
        job = self.paid(session, state=State.HELD, queue_state=None, code="INTERNAL_ERROR", message="x")
        done = run(session, "held_results")
        assert (done.repaired, [finding.id for finding in done.left]) == (0, [job.id])
        assert f"cutout retry {job.id}" in done.left[0].remedy

    @pytest.mark.parametrize("code", [NEEDS_APPROVAL, "OVER_BUDGET", "RESULT_EXPIRED"])
    def test_is_not_searched_where_there_is_none_to_be_saved(self, session: Session, code: str) -> None:
        """Jobs that never called, which may be many, and jobs with a useless result are skipped."""
        self.paid(session, state=State.HELD, queue_state=None, code=code, message="x")
        assert "held_results" not in dict(found(session))


class TestABlockedJob:
    def blocked(self, session: Session, count: int = 3, **values: object) -> Batch:
        """A batch with blocked jobs."""
        batch = create_batch(session, "b")
        for _ in range(count):
            enqueue(session, NewJob(SOURCE), batch_id=batch.id)
        session.execute(
            update(Job).where(Job.batch_id == batch.id).values({"queue_state": QueueState.BLOCKED, **values})
        )
        session.expire_all()
        return batch

    def test_whose_batch_may_continue_are_unblocked(self, session: Session) -> None:
        """The second run that finds them unblocks them; one run finds many batches."""
        batches = {self.blocked(session).id for _ in range(3)}
        assert batches == {row for _, row in found(session)}
        assert run(session, "blocked_jobs").repaired == 0
        assert run(session, "blocked_jobs", seen_before=batches).repaired == 3
        assert session.scalars(select(Job.queue_state).distinct()).all() == [QueueState.READY]
        assert found(session) == []

    def test_whose_batch_is_paused_waits(self, session: Session) -> None:
        """A job of a paused batch stays blocked."""
        pause(session, self.blocked(session).id)
        assert found(session) == []

    def test_for_whom_a_credit_is_left_is_unblocked(self, session: Session) -> None:
        """The batch has credits for which no job is under way."""
        batch = self.blocked(session, state=State.HELD, code="OVER_BUDGET", message="x")
        set_budget(session, batch.id, 5)
        assert found(session) == [("unspent_budgets", batch.id)]
        assert run(session, "unspent_budgets", seen_before={batch.id}).repaired == 1
        assert session.scalars(select(Job.queue_state).distinct()).all() == [QueueState.READY]

    def test_for_whom_no_credit_is_left_waits(self, session: Session) -> None:
        """All credits are spent or reserved for jobs under way."""
        batch = self.blocked(session, state=State.HELD, code="OVER_BUDGET", message="x")
        enqueue(session, NewJob(SOURCE), batch_id=batch.id)
        session.execute(update(Batch).values(budget=3, spent=2))
        assert found(session) == []

    def test_that_waits_for_approval_waits(self, session: Session) -> None:
        """Only a person's approval unblocks it."""
        batch = self.blocked(session, state=State.HELD, code=NEEDS_APPROVAL, message="x")
        session.execute(text(PLANNED), {"id": batch.id})
        assert found(session) == []


class TestTheAuditor:
    def test_finds_nothing_in_an_empty_database(self, session: Session) -> None:
        """An empty database has no findings and no repairs."""
        assert [audit(session, check, BOUNDS).repaired for check in CHECKS] == [0] * len(CHECKS)

    def test_names_each_check_once(self) -> None:
        """The names are labels of a metric."""
        assert len({check.name for check in CHECKS}) == len(CHECKS)
        assert all(check.description for check in CHECKS)
