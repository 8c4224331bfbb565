import uuid
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, State
from cutout.models import Batch, Job
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.blocks import pauses
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch_calls, dispatch_copies
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.queue.snapshot import read_snapshot
from tests.support.steps import ACCOUNT, LEASE, SOURCE, ask_to_begin, claim_one, new_worker

FREE = Answer(AttemptOutcome.NOT_CHARGED, http_status=500, code="PROCESSING_FAILURE")


def batch_of(session: Session, count: int, **order: Any) -> uuid.UUID:
    """A batch with so many ready jobs."""
    batch_id = create_batch(session, "b", **order).id
    enqueue_all(session, [NewJob(SOURCE, str(n)) for n in range(count)], batch_id=batch_id)
    return batch_id


def begin(session: Session, claim: Claim, **more: Any) -> int | NotBegun:
    return ask_to_begin(session, claim, **more)


def owners(session: Session, count: int) -> list[uuid.UUID | None]:
    """The batches of the jobs that are dispatched next."""
    ids = [job_id for job_id, _ in dispatch_calls(session, count, lease=LEASE)]
    return [session.get_one(Job, job_id).batch_id for job_id in ids]


def queue_states(session: Session, batch_id: uuid.UUID) -> dict[str, int]:
    rows = session.execute(
        text("SELECT coalesce(queue_state, state), count(*) FROM jobs WHERE batch_id = :id GROUP BY 1"),
        {"id": batch_id},
    )
    return {queue_state: count for queue_state, count in rows}  # noqa: C416 - dict() would not type-check


class TestAPausedBatch:
    def test_is_skipped_at_the_head_of_the_queue(self, session: Session) -> None:
        """Its jobs are blocked, and jobs of the next batch go out in the same dispatch."""
        paused, other = batch_of(session, 60), batch_of(session, 3)
        assert pauses.pause(session, paused)
        assert owners(session, 5) == [other] * 3
        assert queue_states(session, paused) == {"blocked": 60}

    def test_lets_no_call_of_a_running_job_begin(self, session: Session) -> None:
        """A job that a worker holds already is refused at the last moment."""
        worker_id = new_worker(session)
        paused = batch_of(session, 1)
        claim = claim_one(session, worker_id)
        pauses.pause(session, paused)
        assert begin(session, claim) is NotBegun.PAUSED

    def test_is_unblocked_behind_jobs_that_went_on_meanwhile(self, session: Session) -> None:
        """After a resume it alternates with the others instead of going first."""
        paused = batch_of(session, 20)
        pauses.pause(session, paused)
        assert owners(session, 2) == []
        other = batch_of(session, 40)
        assert len(owners(session, 20)) == 20
        pauses.resume(session, paused)
        assert read_snapshot(session, [ACCOUNT]).blocked
        assert unblock(session) == 20
        assert not read_snapshot(session, [ACCOUNT]).blocked
        next_ten = owners(session, 10)
        assert 4 <= next_ten.count(other) <= 6

    def test_is_paused_once(self, session: Session) -> None:
        """A second pause, or resume, reports that nothing changed."""
        batch_id = batch_of(session, 1)
        assert [pauses.pause(session, batch_id) for _ in range(2)] == [True, False]
        assert [pauses.resume(session, batch_id) for _ in range(2)] == [True, False]


def set_window(session: Session, batch_id: uuid.UUID, opens: str, closes: str) -> None:
    """Set a window from and until so long from now."""
    session.execute(
        text(
            "UPDATE batches SET opens_at = now() + CAST(:opens AS interval),"
            " closes_at = now() + CAST(:closes AS interval) WHERE id = :id"
        ),
        {"opens": opens, "closes": closes, "id": batch_id},
    )


BEFORE, AFTER = ("1 second", "1 hour"), ("-1 hour", "0 seconds")
outside = pytest.mark.parametrize("window", [BEFORE, AFTER], ids=["before", "after"])


class TestABatchOutsideItsWindow:
    @outside
    def test_is_skipped_and_unblocked_once_it_opens(self, session: Session, window: tuple[str, str]) -> None:
        """Its jobs are blocked; within the window the dispatcher unblocks them, without a resume."""
        waits, other = batch_of(session, 60), batch_of(session, 3)
        set_window(session, waits, *window)
        assert owners(session, 5) == [other] * 3
        assert queue_states(session, waits) == {"blocked": 60}
        assert unblock(session) == 0
        set_window(session, waits, "0 seconds", "1 second")
        assert read_snapshot(session, [ACCOUNT]).blocked
        assert unblock(session) == 60
        assert owners(session, 2) == [waits] * 2

    @outside
    @pytest.mark.parametrize("budget", [None, 5])
    def test_lets_no_call_of_a_running_job_begin(
        self, session: Session, window: tuple[str, str], budget: int | None
    ) -> None:
        """A job that a worker holds already is refused at the last moment, and costs no credit."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 1, budget=budget)
        claim = claim_one(session, worker_id)
        set_window(session, batch_id, *window)
        assert begin(session, claim) is NotBegun.WINDOW
        assert session.scalar(text("SELECT count(*) FROM attempts")) == 0
        assert session.scalar(text("SELECT spent FROM batches")) == 0
        set_window(session, batch_id, "0 seconds", "1 second")
        assert isinstance(begin(session, claim), int)

    def test_still_copies_paid_results(self, session: Session) -> None:
        """A paid result does not wait for the window."""
        batch_id = batch_of(session, 1)
        set_window(session, batch_id, *AFTER)
        session.execute(
            text(
                "UPDATE jobs SET step = 'copy', result_url = 'https://r.example/a',"
                " result_expires_at = now() + interval '1 day'"
            )
        )
        assert len(dispatch_copies(session, 5, lease=LEASE)) == 1

    def test_that_is_paused_as_well_says_so_first(self, session: Session) -> None:
        """An open window would not help."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 1)
        claim = claim_one(session, worker_id)
        set_window(session, batch_id, *AFTER)
        pauses.pause(session, batch_id)
        assert begin(session, claim) is NotBegun.PAUSED

    @pytest.mark.parametrize("bounds", ["opens_at = now()", "closes_at = now() + interval '1 second'"])
    def test_may_have_one_end_only(self, session: Session, bounds: str) -> None:
        """The other end is open."""
        worker_id = new_worker(session)
        batch_of(session, 1)
        claim = claim_one(session, worker_id)
        session.execute(text(f"UPDATE batches SET {bounds}"))  # noqa: S608
        assert isinstance(begin(session, claim), int)


class TestThePausedQueue:
    def test_lets_no_call_out(self, session: Session) -> None:
        """Neither a ready nor a running job begins a call, until the queue is resumed."""
        worker_id = new_worker(session)
        batch_of(session, 2)
        claim = claim_one(session, worker_id)
        assert pauses.pause(session)
        assert not read_snapshot(session, [ACCOUNT]).may_call
        assert begin(session, claim) is NotBegun.PAUSED
        assert pauses.resume(session)
        assert read_snapshot(session, [ACCOUNT]).may_call
        assert isinstance(begin(session, claim), int)


class TestABudget:
    def test_lets_no_more_calls_begin_than_it_has_credits(self, session: Session) -> None:
        """The third call of a batch with two credits is refused, and its job is held, not failed."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 3, budget=2)
        claims = [claim_one(session, worker_id) for _ in range(3)]
        begun = [begin(session, claim) for claim in claims]
        assert [type(what) for what in begun] == [int, int, NotBegun]
        assert begun[2] is NotBegun.BUDGET
        queue.settle(session, claims[2], Hold("OVER_BUDGET", "x", blocked=True))
        job = session.get_one(Job, claims[2].job_id, populate_existing=True)
        assert (job.state, job.code) == (State.HELD, "OVER_BUDGET")
        pauses.set_budget(session, batch_id, 3)
        assert unblock(session) == 1
        assert queue_states(session, batch_id) == {"running": 2, "ready": 1}

    def test_is_charged_once_for_a_call_that_is_begun_twice(self, session: Session) -> None:
        """A statement whose reply was lost is repeated, and takes no second credit."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 1, budget=5)
        claim = claim_one(session, worker_id)
        assert begin(session, claim, day_budget=9) == begin(session, claim, day_budget=9)
        assert session.get_one(Batch, batch_id, populate_existing=True).spent == 1
        assert session.scalar(text("SELECT spent FROM spending")) == 1

    def test_gets_a_credit_back_once_for_a_call_that_cost_none(self, session: Session) -> None:
        """The credit of a refused call is returned once, however often the end is recorded."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 1, budget=1)
        attempt_id = begin(session, claim_one(session, worker_id), day_budget=9)
        assert isinstance(attempt_id, int)
        for _ in range(2):
            queue.end_attempt(session, attempt_id, FREE)
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        assert batch.spent == 0
        assert session.scalar(text("SELECT spent FROM spending")) == 0

    @pytest.mark.parametrize("outcome", [AttemptOutcome.CHARGED, AttemptOutcome.UNKNOWN])
    def test_counts_unknown_charges(self, session: Session, outcome: AttemptOutcome) -> None:
        """An unknown charge counts as spent: the budget is the most that the batch can cost."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 1, budget=1)
        attempt_id = begin(session, claim_one(session, worker_id))
        assert isinstance(attempt_id, int)
        queue.end_attempt(session, attempt_id, Answer(outcome))
        assert session.get_one(Batch, batch_id, populate_existing=True).spent == 1

    def test_of_a_day_stops_the_calls_of_all(self, session: Session) -> None:
        """Without credits for the day nothing is dispatched, and running jobs begin no call."""
        worker_id = new_worker(session)
        batch_of(session, 2)
        first, second = (claim_one(session, worker_id) for _ in range(2))
        assert isinstance(begin(session, first, day_budget=1), int)
        assert begin(session, second, day_budget=1) is NotBegun.DAY
        assert not read_snapshot(session, [ACCOUNT], 1).may_call
        assert read_snapshot(session, [ACCOUNT], 2).may_call

    def test_that_is_set_later_counts_earlier_calls(self, session: Session) -> None:
        """A budget of two for a batch that has called once leaves one."""
        worker_id = new_worker(session)
        batch_id = batch_of(session, 3)
        assert isinstance(begin(session, claim_one(session, worker_id)), int)
        pauses.set_budget(session, batch_id, 2)
        begun = [begin(session, claim_one(session, worker_id)) for _ in range(2)]
        assert [isinstance(what, int) for what in begun] == [True, False]
