from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from jobs import store, workers
from jobs.models import Attempt, Job
from jobs.outcomes import Succeeded
from jobs.states import AttemptOutcome, State, Step
from jobs.store import Answer
from tests.jobs.test_store import STORED, bought
from tests.support.steps import begin, claim_new, new_worker

SILENCE = timedelta(seconds=30)


def fall_silent(session: Session, seconds: float = 31) -> None:
    session.execute(
        text("UPDATE workers SET heartbeat_at = heartbeat_at - :gone"), {"gone": timedelta(seconds=seconds)}
    )


def rescue(session: Session, *, unknowns_allowed: int = 1) -> int:
    return workers.rescue(session, silence=SILENCE, unknowns_allowed=unknowns_allowed)


class TestRescue:
    def test_leaves_a_living_workers_job_alone_however_old_it_is(self, session: Session) -> None:
        """A slow job is not stolen from a worker that was heard."""
        worker_id = new_worker(session)
        claim_new(session, worker_id)
        fall_silent(session, 600)
        workers.beat(session, worker_id)
        assert rescue(session) == 0

    def test_gives_back_a_job_that_had_not_called(self, session: Session) -> None:
        """Without a call begun, the job just goes on and no charge is in doubt."""
        claim = claim_new(session, new_worker(session))
        fall_silent(session)
        assert rescue(session) == 1
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.tries) == (State.QUEUED, Step.CALL, 0)

    def test_counts_a_call_that_was_cut_off_as_unknown(self, session: Session) -> None:
        """A call begun and never answered is an ended, unknown attempt."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        fall_silent(session)
        rescue(session)
        attempt = session.scalars(select(Attempt)).one()
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.UNKNOWN, "WORKER_GONE")
        assert attempt.ended_at is not None
        assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_holds_a_job_with_too_many_unknown_calls(self, session: Session) -> None:
        """Past the bound only a person may spend again."""
        claim = claim_new(session, new_worker(session))
        begin(session, claim)
        fall_silent(session)
        rescue(session, unknowns_allowed=0)
        assert session.get_one(Job, claim.job_id).state == State.HELD

    def test_keeps_a_paid_result_and_goes_on_with_its_copy(self, session: Session) -> None:
        """A worker that died while copying costs nothing more."""
        claim = bought(session, claim_new(session, new_worker(session)))
        fall_silent(session)
        rescue(session)
        job = session.get_one(Job, claim.job_id)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.COPY, "https://r/1")
        assert session.scalars(select(Attempt.outcome)).all() == [AttemptOutcome.CHARGED]

    def test_shuts_a_frozen_worker_out_when_it_wakes(self, session: Session) -> None:
        """Its success changes nothing, and its ledger row still takes what the call cost."""
        claim = claim_new(session, new_worker(session))
        attempt_id = begin(session, claim)
        fall_silent(session)
        rescue(session)
        store.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED))
        assert store.settle(session, claim, Succeeded(STORED)) is False
        session.expire_all()
        assert session.get_one(Attempt, attempt_id).outcome == AttemptOutcome.CHARGED
