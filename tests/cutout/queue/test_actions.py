import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, QueueState, State, Step
from cutout.models import Attempt
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Fail, Hold, Outcome
from tests.cutout.queue.test_transitions import bought, job_of, record
from tests.support.steps import begin, claim_new, new_worker


class TestRetry:
    @pytest.mark.parametrize("outcome", [Fail("X", "y"), Hold("X", "y")])
    def test_a_stopped_job_becomes_ready(self, session: Session, outcome: Outcome) -> None:
        """Retrying a failed or held job gives it all its tries again."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, outcome)
        assert queue.retry(session, claim.job_id)
        job = job_of(session, claim)
        assert (job.state, job.queue_state, job.step, job.tries) == (
            State.QUEUED,
            QueueState.READY,
            Step.CALL,
            0,
        )
        assert job.finished_at is None

    def test_a_held_copy_continues_while_its_result_has_not_expired(self, session: Session) -> None:
        """A retry does not buy again what can still be fetched."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Hold("SOMEBODY_STOPPED_IT", "y"))
        queue.retry(session, claim.job_id)
        assert job_of(session, claim).step == Step.COPY

    @pytest.mark.parametrize("code", ["RESULT_EXPIRED", "RESULT_UNEXPECTED"])
    def test_a_held_copy_tries_the_url_first(self, session: Session, code: str) -> None:
        """A server that said that the result is gone, or gave something else, may have been wrong."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Hold(code, "y"))
        queue.retry(session, claim.job_id)
        job = job_of(session, claim)
        assert (job.step, job.result_url is None) == (Step.COPY, False)
        assert session.scalars(select(Attempt.lost_at)).one() is None

    @pytest.mark.parametrize("code", ["RESULT_UNEXPECTED", "SOMEBODY_STOPPED_IT"])
    def test_a_retry_that_drops_a_paid_url_records_the_loss(self, session: Session, code: str) -> None:
        """After its expiry the cutout is bought again, and the ledger records the first as lost."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Hold(code, "y"))
        session.execute(text("UPDATE jobs SET result_expires_at = now()"))
        queue.retry(session, claim.job_id)
        assert (job_of(session, claim).step, job_of(session, claim).result_url) == (Step.CALL, None)
        assert session.scalars(select(Attempt.lost_at)).one() is not None

    def test_a_retry_of_many_records_only_the_losses_of_those_it_drops(self, session: Session) -> None:
        """Each at its own last paid call; a free call, and a job that keeps its result, have none."""
        worker_id = new_worker(session)
        claims = []
        for dropped in (True, False):
            claim = claim_new(session, worker_id)
            queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.NOT_CHARGED, code="X"))
            claim = record(session, claim, begin(session, claim, 2))
            queue.settle(session, claim, Hold("X", "y"))
            if dropped:
                session.execute(text("UPDATE jobs SET result_expires_at = now()"))
            claims.append(claim)
        assert queue.retry_all(session, [claim.job_id for claim in claims]) == 2
        lost = select(Attempt.job_id, Attempt.number).where(Attempt.lost_at.is_not(None))
        assert session.execute(lost).all() == [(claims[0].job_id, 2)]

    def test_a_held_copy_whose_result_is_in_the_lifeboat_continues(self, session: Session) -> None:
        """An expired URL does not matter then."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.save_in_lifeboat(session, claim, "entry")
        queue.settle(session, claim, Hold("SOMEBODY_STOPPED_IT", "y"))
        session.execute(text("UPDATE jobs SET result_expires_at = now()"))
        queue.retry(session, claim.job_id)
        job = job_of(session, claim)
        assert (job.step, job.lifeboat_key) == (Step.COPY, "entry")

    def test_a_held_copy_whose_result_is_gone_is_called_again(self, session: Session) -> None:
        """Only a person's retry repeats a paid call, and only if its result has expired."""
        claim = bought(session, claim_new(session, new_worker(session)))
        queue.settle(session, claim, Hold("SOMEBODY_STOPPED_IT", "y"))
        session.execute(text("UPDATE jobs SET result_expires_at = now()"))
        queue.retry(session, claim.job_id)
        job = job_of(session, claim)
        assert (job.step, job.result_url) == (Step.CALL, None)

    def test_a_running_job_is_not_retried(self, session: Session) -> None:
        """A worker holds it."""
        claim = claim_new(session, new_worker(session))
        assert queue.retry(session, claim.job_id) is False
        assert job_of(session, claim).state == State.RUNNING
