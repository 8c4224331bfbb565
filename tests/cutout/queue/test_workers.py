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
    """Rescue as if every worker were gone."""
    return workers.rescue(session, list(workers.heartbeats(session)), bounds)


class TestRescue:
    def test_leaves_another_workers_job_alone_however_old_it_is(self, session: Session) -> None:
        """Only the jobs of the workers named are touched."""
        claim_new(session, new_worker(session))
        assert workers.rescue(session, [new_worker(session)], BOUNDS) == 0

    def test_gives_back_a_job_that_had_not_called(self, session: Session) -> None:
        """Without a call begun, the job just goes on and no charge is in doubt."""
        claim = claim_new(session, new_worker(session))
        assert rescue(session) == 1
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.tries) == (State.QUEUED, Step.CALL, 0)

    def test_counts_a_call_that_was_cut_off_as_unknown(self, session: Session) -> None:
        """A call begun and never answered is an ended, unknown attempt."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        rescue(session)
        attempt = session.scalars(select(Attempt)).one()
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "WORKER_GONE")
        assert attempt.ended_at is not None
        assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_knows_a_call_without_an_answer_as_unknown(self, session: Session) -> None:
        """A worker that wrote the doubt down and died before its verdict leaves an unknown charge no less."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER"))
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Attempt, attempt_id).code == "NO_ANSWER"
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_ends_the_same_when_its_dispatcher_dies_halfway(self, session: Session) -> None:
        """The call was given up, the job not settled: the next rescue holds it, as the first would have."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        workers._outcome_of(session, claim, died=True, was_alone=True)
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_does_not_doubt_a_call_that_was_refused(self, session: Session) -> None:
        """A worker that died after a refusal owes nothing."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.NOT_CHARGED, code="X"))
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_takes_no_more_than_it_can_at_once(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rest is rescued by the next calls."""
        monkeypatch.setattr(workers, "MOST_RESCUED", 2)
        worker_id = new_worker(session)
        for _ in range(3):
            claim_new(session, worker_id)
        assert [rescue(session) for _ in range(3)] == [2, 1, 0]

    def test_holds_a_job_with_too_many_unknown_calls(self, session: Session) -> None:
        """Past the bound only a person may spend again."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        rescue(session, RetryLimits(unknown=0))
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_keeps_a_paid_result_and_goes_on_with_its_copy(self, session: Session) -> None:
        """A worker that died while copying costs nothing more."""
        claim = bought(session, claim_new(session, new_worker(session)))
        rescue(session)
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.COPY, "https://r/1")
        assert session.scalars(select(Attempt.outcome)).all() == [AttemptOutcome.CHARGED]

    def test_shuts_a_frozen_worker_out_when_it_wakes(self, session: Session) -> None:
        """Its success changes nothing, and its ledger row still takes what the call cost."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        rescue(session)
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED))
        assert queue.settle(session, claim, Succeeded(STORED)) is False
        session.expire_all()
        assert session.get_one(Attempt, attempt_id).outcome == AttemptOutcome.CHARGED


class TestHeartbeats:
    def test_are_those_of_workers_that_hold_jobs(self, session: Session) -> None:
        """A worker without a job is nobody's business, and one that has left has no heartbeat."""
        idle, busy, leaver = (new_worker(session) for _ in range(3))
        claim_new(session, busy)
        claim_new(session, leaver)
        workers.leave(session, leaver)
        beats = workers.heartbeats(session)
        assert beats.keys() == {busy, leaver}
        assert beats[busy] is not None
        assert beats[leaver] is None
        assert idle not in beats

    def test_move_with_each_beat(self, engine: Engine) -> None:
        """A heartbeat is judged by its change, on the database's clock."""
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
        """The job again, at once."""
        session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE queue_state = 'delayed'"))
        return claim_one(session, worker_id)

    def test_is_held_after_the_third(self, session: Session) -> None:
        """By a code of its own: tried for ever, it would end one worker after the other."""
        claim_new(session, new_worker(session))
        rescue(session)
        for deaths in (1, 2):
            claim = self.claim(session, new_worker(session))
            assert claim.deaths == deaths
            rescue(session)
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.code, job.tries) == (State.HELD, "PICTURE_KILLS_WORKER", 0)

    def test_is_not_held_for_a_death_before_it_was_alone(self, session: Session) -> None:
        """Another job of the same worker may have ended it: the third death counts for one that was alone."""
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

    def test_and_said_goodbye_are_not_counted(self, session: Session) -> None:
        """A worker that was told to end, and did, was not killed by what it left."""
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
    def test_starts_afresh_once_one_came_through_with_it(
        self, session: Session, outcome: Outcome, deaths: int
    ) -> None:
        """A job delayed before it was prepared says nothing."""
        claim_new(session, new_worker(session))
        rescue(session)
        queue.settle(session, self.claim(session, new_worker(session)), outcome)
        assert session.scalars(select(Job.deaths)).one() == deaths

    def test_starts_afresh_at_its_copy_and_by_hand(self, session: Session) -> None:
        """A paid result is progress, and so is a person's word."""
        claim_new(session, new_worker(session))
        rescue(session)
        claim = paid(session, self.claim(session, new_worker(session)))
        assert session.scalars(select(Job.deaths)).one() == 0
        session.execute(update(Job).values(deaths=2))
        queue.settle(session, claim, Hold("LOOK", "for a person"))
        session.execute(update(Job).values(deaths=2))
        assert queue.retry(session, claim.job_id)
        assert session.scalars(select(Job.deaths)).one() == 0
