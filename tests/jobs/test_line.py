from datetime import timedelta

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from jobs import accounts, store
from jobs.enqueue import NewJob, create_batch, enqueue, enqueue_all
from jobs.line import hand_out_calls, hand_out_copies, survey, wake
from jobs.models import Job
from jobs.outcomes import Snooze
from jobs.states import Standing, Step
from tests.support.steps import ACCOUNT, LEASE, SOURCE, claim_new, hand_out_one, new_worker

WINDOW = """
    EXPLAIN (ANALYZE, COSTS OFF) SELECT id FROM jobs WHERE standing = 'in_line' AND step = 'call'
    ORDER BY priority, place LIMIT 100 FOR UPDATE SKIP LOCKED
"""


def pass_time(session: Session, seconds: float) -> None:
    session.execute(
        text("UPDATE jobs SET scheduled_at = scheduled_at - :gone"), {"gone": timedelta(seconds=seconds)}
    )


class TestHandingOut:
    def test_gives_each_job_once(self, session: Session) -> None:
        """What is handed out is not in line any more."""
        enqueue_all(session, [NewJob(SOURCE)] * 3)
        assert len(hand_out_calls(session, 2, lease=LEASE)) == 2
        assert len(hand_out_calls(session, 2, lease=LEASE)) == 1
        assert hand_out_calls(session, 2, lease=LEASE) == []

    def test_takes_only_jobs_at_the_step(self, session: Session) -> None:
        """Copies have a line of their own."""
        enqueue(session, NewJob(SOURCE))
        assert hand_out_copies(session, 2, lease=LEASE) == []

    def test_counts_what_is_out_until_it_comes_back(self, session: Session) -> None:
        """Handed out and running jobs both fill the window; a resting one does not."""
        worker_id = new_worker(session)
        claim = claim_new(session, worker_id)
        enqueue(session, NewJob(SOURCE))
        assert survey(session, ACCOUNT).in_line == {Step.CALL: True, Step.COPY: False}
        hand_out_one(session)
        found = survey(session, ACCOUNT)
        assert (found.outstanding, found.in_line[Step.CALL]) == ({Step.CALL: 2, Step.COPY: 0}, False)
        store.settle(session, claim, Snooze("X", "y", 5))
        assert survey(session, ACCOUNT).outstanding[Step.CALL] == 1

    def test_knows_whether_anything_is_due_and_the_account_is_open(self, session: Session) -> None:
        """One look tells what there is to wake and whether calls may go out."""
        claim = claim_new(session, new_worker(session))
        store.settle(session, claim, Snooze("X", "y", 30))
        found = survey(session, ACCOUNT)
        assert (found.due, found.paused) == (False, False)
        pass_time(session, 31)
        accounts.pause(session, ACCOUNT, code="X", message="y")
        found = survey(session, ACCOUNT)
        assert (found.due, found.paused) == (True, True)


class TestWaking:
    def test_brings_back_a_message_that_nobody_claimed(self, session: Session) -> None:
        """A job whose message was lost is handed out again after its lease, under a new fence."""
        enqueue(session, NewJob(SOURCE))
        job_id, fence = hand_out_one(session)
        assert wake(session) == 0
        pass_time(session, 61)
        assert wake(session) == 1
        assert hand_out_one(session) == (job_id, fence + 1)

    def test_brings_back_a_rested_job_at_its_time(self, session: Session) -> None:
        """A snoozed job stays away until it is due."""
        claim = claim_new(session, new_worker(session))
        store.settle(session, claim, Snooze("X", "y", 30))
        pass_time(session, 29)
        assert wake(session) == 0
        pass_time(session, 2)
        assert wake(session) == 1
        assert session.get_one(Job, claim.job_id).standing == Standing.IN_LINE


class TestTheCostOfHandingOut:
    def test_does_not_grow_with_the_backlog(self, engine: Engine) -> None:
        """A window is read from the index in order, without a sort and without the rest of the line."""
        with Session(engine) as session, session.begin():
            batch = create_batch(session, "b")
            enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(5000)], batch_id=batch.id)
            session.execute(text("UPDATE jobs SET standing = 'resting' WHERE place <= 2000"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE jobs"))
            plan = "\n".join(connection.scalars(text(WINDOW)))
        assert "ix_jobs_line" in plan
        assert "Sort" not in plan
        assert "rows=100" in plan
