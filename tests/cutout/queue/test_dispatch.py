import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.enums import Priority, QueueState, Step
from cutout.models import Job
from cutout.queue.attempts.outcomes import Snooze
from cutout.queue.blocks import pauses
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.dispatch import dispatch_calls, dispatch_copies
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.promote import promote_due
from cutout.queue.snapshot import read_snapshot
from tests.support.explained import plan_of, rows_looked_at
from tests.support.steps import ACCOUNT, LEASE, SOURCE, claim_new, dispatch_one, new_worker

WINDOW = text("""
    SELECT id FROM jobs WHERE queue_state = 'ready' AND step = 'call'
    AND COALESCE(producer_id, '00000000-0000-0000-0000-000000000000'::uuid)
        = '00000000-0000-0000-0000-000000000000'
    ORDER BY priority, virtual_start LIMIT 100 FOR UPDATE SKIP LOCKED
""")

COPIES = text("""
    SELECT id FROM jobs WHERE queue_state = 'ready' AND step = 'copy'
    ORDER BY result_expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
""")


def paid_for(session: Session, *, hours: float) -> uuid.UUID:
    """A ready job at its copy, whose result expires in so many hours."""
    job_id = enqueue(session, NewJob(SOURCE))
    session.execute(
        text(
            "UPDATE jobs SET step = 'copy', result_url = 'https://r/1', result_expires_at = now() + :left"
            " WHERE id = :id"
        ),
        {"id": job_id, "left": timedelta(hours=hours)},
    )
    return job_id


def pass_time(session: Session, seconds: float) -> None:
    session.execute(
        text("UPDATE jobs SET scheduled_at = scheduled_at - :gone"), {"gone": timedelta(seconds=seconds)}
    )


class TestDispatch:
    def test_takes_each_job_once(self, session: Session) -> None:
        """A dispatched job is not ready any more."""
        enqueue_all(session, [NewJob(SOURCE)] * 3)
        assert len(dispatch_calls(session, 2, lease=LEASE)) == 2
        assert len(dispatch_calls(session, 2, lease=LEASE)) == 1
        assert dispatch_calls(session, 2, lease=LEASE) == []

    @pytest.mark.parametrize("step", Step)
    def test_keeps_to_its_count_in_every_plan(self, session: Session, step: Step) -> None:
        """Also if the planner chooses a loop, as with the statistics of an empty table."""
        for _ in range(20):
            paid_for(session, hours=1) if step is Step.COPY else enqueue(session, NewJob(SOURCE))
        for kind in ("hashjoin", "mergejoin", "material", "hashagg", "sort"):
            session.execute(text(f"SET LOCAL enable_{kind} = off"))
        take = dispatch_copies if step is Step.COPY else dispatch_calls
        assert len(take(session, 3, lease=LEASE)) == 3

    def test_blocks_quickly_in_every_plan(self, session: Session) -> None:
        """Each subquery that chooses rows runs once: run a thousand times, it would take minutes."""
        batch = create_batch(session, "b")
        enqueue_all(session, [NewJob(SOURCE)] * 1000, batch_id=batch.id)
        pauses.pause(session, batch.id)
        for kind in ("hashjoin", "mergejoin", "material", "hashagg", "sort"):
            session.execute(text(f"SET LOCAL enable_{kind} = off"))
        session.execute(text("SET LOCAL statement_timeout = '4s'"))
        assert dispatch_calls(session, 10, lease=LEASE) == []
        pauses.resume(session, batch.id)
        assert unblock(session) == 1000

    def test_takes_only_jobs_at_the_step(self, session: Session) -> None:
        """Copies are dispatched separately."""
        enqueue(session, NewJob(SOURCE))
        assert dispatch_copies(session, 2, lease=LEASE) == []

    def test_counts_jobs_as_outstanding_until_they_return(self, session: Session) -> None:
        """Dispatched and running jobs count; a delayed job does not."""
        worker_id = new_worker(session)
        claim = claim_new(session, worker_id)
        enqueue(session, NewJob(SOURCE))
        assert read_snapshot(session, [ACCOUNT]).ready == {Step.CALL: True, Step.COPY: False}
        dispatch_one(session)
        found = read_snapshot(session, [ACCOUNT])
        assert (found.outstanding, found.ready[Step.CALL]) == ({Step.CALL: 2, Step.COPY: 0}, False)
        queue.settle(session, claim, Snooze("X", "y", 5))
        assert read_snapshot(session, [ACCOUNT]).outstanding[Step.CALL] == 1

    def test_knows_whether_anything_is_due_and_the_account_is_open(self, session: Session) -> None:
        """One snapshot says whether jobs are due and whether calls may go out."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Snooze("X", "y", 30))
        found = read_snapshot(session, [ACCOUNT])
        assert (found.due, found.may_call) == (False, True)
        pass_time(session, 31)
        accounts.pause(session, ACCOUNT, code="X", message="y")
        found = read_snapshot(session, [ACCOUNT])
        assert (found.due, found.may_call) == (True, False)


class TestReadyCalls:
    def test_go_by_priority_and_virtual_start(self, session: Session) -> None:
        """Among equals the first enqueued goes first, and a better priority goes before all."""
        priorities = [Priority.BULK, Priority.NORMAL, Priority.NORMAL, Priority.INTERACTIVE]
        batch = create_batch(session, "b")
        jobs = [NewJob(SOURCE, str(number), priority=each) for number, each in enumerate(priorities)]
        enqueue_all(session, jobs, batch_id=batch.id)
        dispatched = dispatch_calls(session, 4, lease=LEASE)
        names = [session.get_one(Job, job_id).external_id for job_id, _ in dispatched]
        assert names == ["3", "1", "2", "0"]

    def test_are_not_moved_by_copies(self, session: Session) -> None:
        """Dispatching copies takes no calls and is not charged to a share."""
        paid_for(session, hours=1)
        enqueue(session, NewJob(SOURCE))
        assert len(dispatch_copies(session, 9, lease=LEASE)) == 1
        assert (
            session.scalar(
                text("SELECT count(*) FROM shares WHERE virtual_time > 0 OR queue_virtual_time > 0")
            )
            == 0
        )
        assert len(dispatch_calls(session, 9, lease=LEASE)) == 1


class TestReadyCopies:
    def test_go_by_their_results_expiry(self, session: Session) -> None:
        """The result that expires first is copied first, at any priority."""
        late, soon, middle = (paid_for(session, hours=hours) for hours in (20, 1, 5))
        dispatched = dispatch_copies(session, 3, lease=LEASE)
        assert [job_id for job_id, _ in dispatched] == [soon, middle, late]

    def test_of_results_with_a_late_expiry_wait_for_the_bucket(self, session: Session) -> None:
        """While the bucket is down only those within the limit go out; the others go afterwards."""
        soon, late = (paid_for(session, hours=hours) for hours in (1, 3))
        two_hours = timedelta(hours=2)
        dying = dispatch_copies(session, 9, lease=LEASE, expiring_within=two_hours)
        assert [job_id for job_id, _ in dying] == [soon]
        assert [job_id for job_id, _ in dispatch_copies(session, 9, lease=LEASE)] == [late]

    def test_of_results_in_the_lifeboat_wait_for_the_bucket(self, session: Session) -> None:
        """They cannot expire any more; they go out when the bucket is back."""
        saved = paid_for(session, hours=1)
        session.execute(text("UPDATE jobs SET lifeboat_key = 'somewhere'"))
        assert dispatch_copies(session, 9, lease=LEASE, expiring_within=timedelta(hours=2)) == []
        assert [job_id for job_id, _ in dispatch_copies(session, 9, lease=LEASE)] == [saved]

    def test_are_found_by_their_index(self, engine: Engine) -> None:
        """The next to expire are read in order, without a sort, for any number of waiting copies."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * 3000)
            session.execute(
                text(
                    "UPDATE jobs SET step = 'copy', result_url = 'https://r/1',"
                    " result_expires_at = now() + virtual_start * interval '1 second'"
                )
            )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM jobs"))
            plan = plan_of(connection, COPIES)
        assert "ix_jobs_copies" in str(plan)
        assert "Sort" not in str(plan)


class TestPromotion:
    def test_of_a_job_whose_message_was_not_claimed(self, session: Session) -> None:
        """A job whose message was lost is dispatched again after its lease, under a new fence."""
        enqueue(session, NewJob(SOURCE))
        job_id, fence = dispatch_one(session)
        assert promote_due(session) == 0
        pass_time(session, 61)
        assert promote_due(session) == 1
        assert dispatch_one(session) == (job_id, fence + 1)

    def test_of_a_delayed_job_at_its_time(self, session: Session) -> None:
        """A snoozed job stays delayed until it is due."""
        claim = claim_new(session, new_worker(session))
        queue.settle(session, claim, Snooze("X", "y", 30))
        pass_time(session, 29)
        assert promote_due(session) == 0
        pass_time(session, 2)
        assert promote_due(session) == 1
        assert session.get_one(Job, claim.job_id).queue_state == QueueState.READY


class TestTheCostOfDispatch:
    def test_does_not_grow_with_the_backlog(self, engine: Engine) -> None:
        """The next jobs are read from the index in order, without a sort and without the others."""
        with Session(engine) as session, session.begin():
            batch = create_batch(session, "b")
            enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(5000)], batch_id=batch.id)
            session.execute(text("UPDATE jobs SET queue_state = 'delayed' WHERE virtual_start <= 2000"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM jobs"))
            plan = plan_of(connection, WINDOW)
        assert "ix_jobs_ready" in str(plan)
        assert "Sort" not in str(plan)
        assert {*rows_looked_at(plan)} == {100}
