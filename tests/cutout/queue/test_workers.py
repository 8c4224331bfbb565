import uuid

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, State, Step
from cutout.models import Attempt, Job
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Hold, Outcome, Retry, Snooze, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.settle import RetryLimits
from tests.cutout.queue.test_transitions import STORED, bought
from tests.support.steps import begin, claim_new, claim_one, new_worker, paid

BOUNDS = RetryLimits()


def rescue(session: Session, bounds: RetryLimits = BOUNDS) -> int:
    """Rescue as if every worker were dead."""
    return workers.rescue(session, list(workers.heartbeats(session)), bounds)


class TestRescue:
    def test_leaves_another_workers_job_alone_however_old_it_is(self, session: Session) -> None:
        """Only the jobs of the workers named are touched."""
        claim_new(session, new_worker(session))
        assert workers.rescue(session, [new_worker(session)], BOUNDS) == 0

    def test_requeues_a_job_that_had_not_called(self, session: Session) -> None:
        """Without an open call the job continues and no charge is unknown."""
        claim = claim_new(session, new_worker(session))
        assert rescue(session) == 1
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.tries) == (State.QUEUED, Step.CALL, 0)

    def test_counts_an_open_call_as_unknown(self, session: Session) -> None:
        """A call without a response is an ended, unknown attempt."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        rescue(session)
        attempt = session.scalars(select(Attempt)).one()
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "WORKER_GONE")
        assert attempt.ended_at is not None
        assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_keeps_an_unknown_call_as_unknown(self, session: Session) -> None:
        """A worker that recorded the call as unknown and died before it settled leaves an unknown charge."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER"))
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Attempt, attempt_id).code == "NO_ANSWER"
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_has_the_same_result_if_its_dispatcher_dies_halfway(self, session: Session) -> None:
        """The call was given up, the job not settled: the next rescue holds it."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        workers._outcome_of(session, claim, died=True, was_alone=True)
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_does_not_count_a_refused_call(self, session: Session) -> None:
        """A worker that died after a refusal leaves no unknown charge."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.NOT_CHARGED, code="X"))
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_takes_a_limited_number_at_once(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        """The others are rescued by the next calls."""
        monkeypatch.setattr(workers, "MOST_RESCUED", 2)
        worker_id = new_worker(session)
        for _ in range(3):
            claim_new(session, worker_id)
        assert [rescue(session) for _ in range(3)] == [2, 1, 0]

    def test_holds_a_job_with_too_many_unknown_calls(self, session: Session) -> None:
        """Over the limit only a person may spend again."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_keeps_a_paid_result_and_continues_with_its_copy(self, session: Session) -> None:
        """A worker that died during a copy costs nothing more."""
        claim = bought(session, claim_new(session, new_worker(session)))
        rescue(session)
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.COPY, "https://r/1")
        assert session.scalars(select(Attempt.outcome)).all() == [AttemptOutcome.CHARGED]

    def test_fences_a_frozen_worker_out(self, session: Session) -> None:
        """Its success changes nothing, and its attempt still takes the cost of the call."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        rescue(session)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED))
        assert queue.settle(session, claim, Succeeded(STORED)) is False
        session.expire_all()
        assert session.get_one(Attempt, attempt_id).outcome == AttemptOutcome.CHARGED


class TestHeartbeats:
    def test_are_those_of_workers_that_hold_jobs(self, session: Session) -> None:
        """A worker without a job is not included, and one that has left has no heartbeat."""
        idle, busy, leaver = (new_worker(session) for _ in range(3))
        claim_new(session, busy)
        claim_new(session, leaver)
        workers.leave(session, leaver)
        beats = workers.heartbeats(session)
        assert beats.keys() == {busy, leaver}
        assert beats[busy] is not None
        assert beats[leaver] is None
        assert idle not in beats

    def test_change_with_each_beat(self, engine: Engine) -> None:
        """The monitored value changes, by the clock of the database."""
        with Session(engine) as session:
            worker_id = new_worker(session)
            claim_new(session, worker_id)
            session.commit()
            before = workers.heartbeats(session)[worker_id]
            session.commit()
            workers.beat(session, workers.Identity(worker_id, "test", 1))
            session.commit()
            assert workers.heartbeats(session)[worker_id] != before


class TestAJobWhoseWorkersDie:
    def claim(self, session: Session, worker_id: uuid.UUID) -> Claim:
        """Dispatch and claim the job again."""
        session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE queue_state = 'delayed'"))
        return claim_one(session, worker_id)

    def test_is_held_after_the_third(self, session: Session) -> None:
        """It has its own code: repeated for ever, it would kill one worker after the other."""
        claim_new(session, new_worker(session))
        rescue(session)
        for deaths in (1, 2):
            claim = self.claim(session, new_worker(session))
            assert claim.deaths == deaths
            rescue(session)
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.code, job.tries) == (State.HELD, "PICTURE_KILLS_WORKER", 0)

    def test_is_not_held_for_a_death_before_it_was_alone(self, session: Session) -> None:
        """Another job may have killed the worker: the third death counts if the job was alone."""
        job_id = claim_new(session, new_worker(session)).job_id
        session.execute(update(Job).values(deaths=2))
        rescue(session)
        assert session.get_one(Job, job_id).state == State.HELD
        session.execute(update(Job).values(state=State.QUEUED, queue_state="ready", deaths=2))
        worker_id = new_worker(session)
        self.claim(session, worker_id)
        claim_new(session, worker_id)
        rescue(session)
        assert session.scalars(select(Job.state)).all() == [State.QUEUED] * 2
        assert session.get_one(Job, job_id, populate_existing=True).deaths == 2

    def test_after_they_left_are_not_counted(self, session: Session) -> None:
        """A worker that left as asked was not killed by the jobs that it left."""
        for _ in range(4):
            worker_id = new_worker(session)
            claim = (
                claim_new(session, worker_id)
                if not session.scalar(select(Job.id))
                else self.claim(session, worker_id)
            )
            assert claim.deaths == 0
            workers.leave(session, worker_id)
            rescue(session)

    @pytest.mark.parametrize(
        ("outcome", "deaths"),
        [
            (Snooze("LIMIT_REACHED", "later", 0.0), 0),
            (Retry(Step.CALL, "PROCESSING_FAILURE", "refused"), 0),
            (Snooze("WORKER_STOPPING", "its worker ends", 0.0), 1),
        ],
        ids=lambda value: getattr(value, "code", None),
    )
    def test_starts_again_once_a_worker_got_through_its_preparation(
        self, session: Session, outcome: Outcome, deaths: int
    ) -> None:
        """A snooze before the preparation does not count."""
        claim_new(session, new_worker(session))
        rescue(session)
        queue.settle(session, self.claim(session, new_worker(session)), outcome)
        assert session.scalars(select(Job.deaths)).one() == deaths

    def test_starts_again_at_its_copy_and_after_a_retry(self, session: Session) -> None:
        """A paid result is progress, and so is a person's retry."""
        claim_new(session, new_worker(session))
        rescue(session)
        claim = paid(session, self.claim(session, new_worker(session)))
        assert session.scalars(select(Job.deaths)).one() == 0
        session.execute(update(Job).values(deaths=2))
        queue.settle(session, claim, Hold("LOOK", "for a person"))
        session.execute(update(Job).values(deaths=2))
        assert queue.retry(session, claim.job_id)
        assert session.scalars(select(Job.deaths)).one() == 0
