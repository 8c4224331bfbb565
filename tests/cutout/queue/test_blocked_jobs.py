import time
import uuid
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, Priority
from cutout.models import BATCHES, Batch, Job
from cutout.queue.attempts.attempts import Answer, NotBegun
from cutout.queue.attempts.outcomes import Fail, Hold, Snooze
from cutout.queue.blocks import approval, pauses
from cutout.queue.blocks import blocked_jobs as blocked
from cutout.queue.blocks.blocked_jobs import Unblocker, unblock
from cutout.queue.blocks.conditions import AWAITS_APPROVAL
from cutout.queue.claims import Claim
from cutout.queue.dispatch import dispatch, dispatch_calls
from cutout.queue.enqueue import NewJob, create_batch, enqueue, enqueue_all
from cutout.queue.leader import LEADER_LOCK
from cutout.queue.snapshot import read_snapshot
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.cutout.queue.test_pauses import batch_of, begin, owners, queue_states, set_window
from tests.cutout.queue.test_serve_reused import REUSE_SCOPE, buy, source
from tests.support.machine import scaled
from tests.support.steps import ACCOUNT, LEASE, SOURCE, claim_one, new_worker, record

OVER_BUDGET = Hold("OVER_BUDGET", "x", blocked=True)
FREE = Answer(AttemptOutcome.NOT_CHARGED, http_status=500, code="PROCESSING_FAILURE")
PLANNED = (
    "INSERT INTO ingests (batch_id, fingerprint, kind, options) VALUES (:id, 'x', 'CSV', '{\"plan\": true}')"
)


def planned(session: Session, sources: list[str], **order: Any) -> uuid.UUID:
    """Create a batch that waits for approval, with one job for each source."""
    batch_id = create_batch(session, "planned", **order).id
    enqueue_all(session, [NewJob(each, str(n)) for n, each in enumerate(sources)], batch_id=batch_id)
    session.execute(text(PLANNED), {"id": batch_id})
    session.execute(
        text(
            "UPDATE jobs SET state = 'held', queue_state = 'blocked', code = 'NEEDS_APPROVAL', message = 'x'"
            " WHERE batch_id = :id"
        ),
        {"id": batch_id},
    )
    return batch_id


def why(session: Session, job_id: uuid.UUID) -> str:
    session.expire_all()
    return explain(session, session.get_one(Job, job_id), CallSettings(())).why


def ready_jobs_of(session: Session, batches: list[uuid.UUID]) -> Counter[uuid.UUID]:
    return Counter(each for each in owners(session, 10_000) if each in batches)


def hold_over_budget(session: Session, batch_id: uuid.UUID, worker_id: uuid.UUID, count: int) -> list[Claim]:
    """Hold so many of the batch's jobs because its budget is spent."""
    claims = [claim_one(session, worker_id) for _ in range(count)]
    for claim in claims:
        assert begin(session, claim) is NotBegun.BUDGET
        queue.settle(session, claim, OVER_BUDGET)
    return claims


class TestJobsOfBlockedBatches:
    def test_are_unblocked_from_any_position_in_the_queue(self, session: Session) -> None:
        """The first batch fills what one statement reads; the second is blocked and unblocked as well."""
        first = batch_of(session, 40)
        second = create_batch(session, "second").id
        jobs = [NewJob(SOURCE, str(n), priority=Priority.BULK) for n in range(40)]
        enqueue_all(session, jobs, batch_id=second)
        for batch_id in (first, second):
            pauses.pause(session, batch_id)
        assert owners(session, 5) == []
        assert queue_states(session, second) == {"blocked": 40}
        for batch_id in (first, second):
            pauses.resume(session, batch_id)
        assert unblock(session) == 80
        assert ready_jobs_of(session, [first, second]) == {first: 40, second: 40}

    def test_of_twenty_windows_that_close_together_are_all_unblocked(self, session: Session) -> None:
        """With room for three calls at the close, all jobs are ready in the next windows."""
        nights = [batch_of(session, 10) for _ in range(20)]
        blocked = Unblocker()
        for _ in range(2):
            for batch_id in nights:
                set_window(session, batch_id, "-1 hour", "0 seconds")
            assert owners(session, 3) == []
            assert blocked.unblock(session) == 0
            for batch_id in nights:
                set_window(session, batch_id, "0 seconds", "1 hour")
            # So many batches a tick.
            assert [blocked.unblock(session) for _ in range(3)] == [100, 100, 0]
            assert {tuple(queue_states(session, each).items()) for each in nights} == {(("ready", 10),)}
        assert ready_jobs_of(session, nights) == dict.fromkeys(nights, 10)

    def test_alternate_with_a_thousand_batches_that_stay_blocked(self, session: Session) -> None:
        """A batch resumed among them is not skipped; no job of the others moves."""
        session.execute(
            text("INSERT INTO batches (name, paused_at) SELECT 'p', now() FROM generate_series(1, 1000)")
        )
        session.execute(
            text(
                "INSERT INTO jobs (batch_id, source, virtual_start, queue_state) SELECT id, 's', n, 'blocked'"
                " FROM batches, generate_series(1, 2) AS n"
            )
        )
        (last,) = session.scalars(text("SELECT id FROM batches ORDER BY id DESC LIMIT 1"))
        pauses.resume(session, last)
        blocked = Unblocker()
        moved = [blocked.unblock(session) for _ in range(12)]
        assert sum(moved) == 2
        assert 2 in moved[:5]
        assert queue_states(session, last) == {"ready": 2}

    def test_that_are_many_are_unblocked_in_each_tick(self, session: Session) -> None:
        """A batch with many jobs continues in the next tick, before the scan has read all others."""
        batch_id = batch_of(session, 2500)
        pauses.pause(session, batch_id)
        for _ in range(2):
            owners(session, 1)
        session.execute(text("UPDATE jobs SET queue_state = 'blocked'"))
        pauses.resume(session, batch_id)
        blocked = Unblocker()
        assert [blocked.unblock(session) for _ in range(3)] == [1000, 1000, 500]
        assert owners(session, 1) == [batch_id]

    def test_stay_if_it_is_blocked_again_half_way(self, session: Session) -> None:
        """Jobs that are still blocked wait for the next time."""
        batch_id = batch_of(session, 1500)
        session.execute(text("UPDATE jobs SET queue_state = 'blocked'"))
        blocked = Unblocker()
        assert blocked.unblock(session) == 1000
        pauses.pause(session, batch_id)
        assert [blocked.unblock(session) for _ in range(2)] == [0, 0]
        assert queue_states(session, batch_id) == {"ready": 1000, "blocked": 500}

    def test_are_copied_if_their_paid_result_comes_late(self, session: Session) -> None:
        """A worker believed dead brings the result: it may expire before the batch continues."""
        batch_id = batch_of(session, 1)
        claim = claim_one(session, new_worker(session))
        attempt_id = begin(session, claim)
        assert isinstance(attempt_id, int)
        queue.settle(session, claim, Snooze("WORKER_GONE", "x", 0.0))
        session.execute(text("UPDATE jobs SET queue_state = 'ready'"))
        pauses.pause(session, batch_id)
        assert owners(session, 1) == []
        record(session, claim, attempt_id)
        assert queue_states(session, batch_id) == {"ready": 1}
        assert session.scalar(text("SELECT step FROM jobs")) == "copy"

    def test_are_explained_as_about_to_be_unblocked(self, session: Session) -> None:
        """The explanation does not say that they are ready."""
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
        new_worker(session)
        batch_id = batch_of(session, 1)
        (job_id,) = session.scalars(text("SELECT id FROM jobs"))
        pauses.pause(session, batch_id)
        assert owners(session, 1) == []
        assert why(session, job_id) == "batch-paused"
        pauses.resume(session, batch_id)
        assert why(session, job_id) == "coming-back"
        assert unblock(session) == 1
        assert why(session, job_id) == "ready"

    def test_of_more_large_batches_than_a_tick_moves_are_unblocked(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No batch has all its jobs unblocked at once, and there are more than one tick begins."""
        monkeypatch.setattr(blocked, "MOST_BATCHES", 4)
        monkeypatch.setattr(blocked, "MOST_UNBLOCKED", 1)
        kind = replace(blocked.BLOCKED_BY_BATCH, unblock=blocked._unblock())
        monkeypatch.setattr(blocked, "BLOCKED_BY_BATCH", kind)
        batches = [batch_of(session, 6) for _ in range(9)]
        session.execute(text("UPDATE jobs SET queue_state = 'blocked'"))
        walk = Unblocker()
        moved = [walk.unblock(session) for _ in range(27)]
        assert sum(moved) == 54
        assert max(moved) <= 4
        assert ready_jobs_of(session, batches) == dict.fromkeys(batches, 6)


class TestAnApprovedPlan:
    def test_with_a_budget_equal_to_its_price_ends_completely(self, session: Session) -> None:
        """Of thirty pictures 25 were bought before; with a budget for the other five, all thirty end."""
        for n in range(25):
            buy(session, n)
        batch_id = planned(session, [source(n) for n in range(30)], budget=5)
        assert unblock(session) == 0
        assert approval.approve(session, batch_id)
        worker_id, blocked = new_worker(session), Unblocker()
        for _ in range(20):
            blocked.unblock(session)
            turns = dispatch(session, 2, lease=LEASE, reuse_scope=REUSE_SCOPE, reuse_room=500)
            queue.complete_reused(session, queue.find_bought(session, turns.reused, REUSE_SCOPE), REUSE_SCOPE)
            for job_id, fence in turns.calls:
                claim = queue.claim(session, job_id, fence, worker_id)
                assert claim is not None
                assert isinstance(begin(session, claim), int)
                queue.settle(session, claim, Fail("ENDS", "x"))
        assert queue_states(session, batch_id) == {"succeeded": 25, "failed": 5}

    def test_continues_with_reused_jobs_when_its_credits_are_spent(self, session: Session) -> None:
        """The five jobs to buy are first; once their credits are taken, the others still end."""
        for n in range(5, 30):
            buy(session, n)
        batch_id = planned(session, [source(n) for n in range(30)], budget=5)
        approval.approve(session, batch_id)
        session.execute(text("UPDATE batches SET spent = 5"))
        assert unblock(session) == 30
        turns = dispatch(session, 6, lease=LEASE, reuse_scope=REUSE_SCOPE, reuse_room=500)
        assert len(turns.reused) == 25

    def test_blocks_jobs_that_were_added_without_a_plan(self, session: Session) -> None:
        """A job added to the batch waits with it, in the queue and in a worker."""
        batch_id = planned(session, [SOURCE])
        job_id = enqueue(session, NewJob(SOURCE, "late"), batch_id=batch_id)
        assert owners(session, 5) == []
        assert unblock(session) == 0
        session.execute(text("UPDATE jobs SET queue_state = 'ready' WHERE id = :id"), {"id": job_id})
        session.execute(text("UPDATE ingests SET options = '{}'"))
        claim = claim_one(session, new_worker(session))
        session.execute(text("UPDATE ingests SET options = '{\"plan\": true}'"))
        assert session.scalar(BATCHES.select().where(AWAITS_APPROVAL)) == batch_id
        assert begin(session, claim) is NotBegun.APPROVAL
        approval.approve(session, batch_id)
        assert isinstance(begin(session, claim), int)


class TestJobsOverTheirBudget:
    def test_are_unblocked_when_those_before_them_cost_nothing(self, session: Session) -> None:
        """The budget is raised to five and five sources are gone: the next five follow, up to the last."""
        batch_id = batch_of(session, 20, budget=0)
        worker_id = new_worker(session)
        hold_over_budget(session, batch_id, worker_id, 20)
        pauses.set_budget(session, batch_id, 5)
        blocked, ended = Unblocker(), 0
        while moved := blocked.unblock(session):
            assert moved == 5
            for _ in range(moved):
                queue.settle(session, claim_one(session, worker_id), Fail("SOURCE_MISSING", "x"))
            ended += moved
        assert ended == 20

    def test_are_unblocked_if_held_after_it_was_raised(self, session: Session) -> None:
        """A worker read the old budget, and holds the job after the dispatcher's check."""
        batch_id = batch_of(session, 1, budget=0)
        claim = claim_one(session, new_worker(session))
        assert begin(session, claim) is NotBegun.BUDGET
        pauses.set_budget(session, batch_id, 1000)
        blocked = Unblocker()
        assert blocked.unblock(session) == 0
        queue.settle(session, claim, OVER_BUDGET)
        assert blocked.unblock(session) == 1

    def test_are_unblocked_for_a_credit_that_was_given_back(self, session: Session) -> None:
        """A call that cost nothing makes room for one job."""
        batch_id = batch_of(session, 3, budget=1)
        worker_id = new_worker(session)
        attempt_id = begin(session, claim := claim_one(session, worker_id))
        assert isinstance(attempt_id, int)
        hold_over_budget(session, batch_id, worker_id, 2)
        assert unblock(session) == 0
        queue.end_attempt(session, attempt_id, FREE)
        queue.settle(session, claim, Fail("PROCESSING_FAILURE", "x"))
        assert unblock(session) == 1

    @pytest.mark.parametrize(("budget", "others"), [(1, 0), (3, 2)], ids=["spent", "to be taken by others"])
    def test_stay_while_no_credit_is_left_for_them(self, session: Session, budget: int, others: int) -> None:
        """They do not move back and forth in each tick: none of them is written."""
        batch_id = batch_of(session, 5 + others, budget=budget)
        worker_id = new_worker(session)
        session.execute(text("UPDATE batches SET spent = budget"))
        hold_over_budget(session, batch_id, worker_id, 5)
        session.execute(text("UPDATE batches SET spent = 1"))
        before = session.execute(text("SELECT array_agg(xmin::text ORDER BY id) FROM jobs")).scalar_one()
        blocked = Unblocker()
        assert [blocked.unblock(session) for _ in range(5)] == [0] * 5
        assert (
            session.execute(text("SELECT array_agg(xmin::text ORDER BY id) FROM jobs")).scalar_one() == before
        )

    def test_come_in_behind_the_rest_of_their_batch(self, session: Session) -> None:
        """They get new virtual starts, as if enqueued now, so other batches keep their share."""
        batch_id = batch_of(session, 10, budget=0)
        worker_id = new_worker(session)
        hold_over_budget(session, batch_id, worker_id, 10)
        other = batch_of(session, 20)
        pauses.set_budget(session, batch_id, None)
        assert unblock(session) == 10
        assert 4 <= owners(session, 10).count(other) <= 6
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        assert batch.last_virtual_start == session.scalar(
            text("SELECT max(virtual_start) FROM jobs WHERE batch_id = :id"), {"id": batch_id}
        )

    def test_explain_what_unblocks_them(self, session: Session) -> None:
        """A larger budget, a resume of their batch, or other jobs of it that may take the credits."""
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
        batch_id = batch_of(session, 2, budget=0)
        (claim,) = hold_over_budget(session, batch_id, new_worker(session), 1)
        found = explain(session, session.get_one(Job, claim.job_id), CallSettings(()))
        assert "has spent 0 of its budget of 0 credits" in found.text
        pauses.set_budget(session, batch_id, 1)
        session.expire_all()
        found = explain(session, session.get_one(Job, claim.job_id), CallSettings(()))
        assert "1 credits left, which jobs under way may take" in found.text
        pauses.pause(session, batch_id)
        assert why(session, claim.job_id) == "batch-paused"


def test_a_tick_costs_the_same_for_any_number_of_blocked_jobs(session: Session) -> None:
    """30,000 jobs of one batch that stays blocked are one step of the scan, not 30,000."""
    kept = create_batch(session, "b", budget=0).id
    session.execute(
        text(
            "INSERT INTO jobs (batch_id, source, virtual_start, state, queue_state, code)"
            " SELECT :id, 's', n, 'held', 'blocked', 'OVER_BUDGET' FROM generate_series(1, 30000) AS n"
        ),
        {"id": kept},
    )
    session.execute(text("ANALYZE jobs"))
    assert read_snapshot(session, [ACCOUNT]).blocked
    blocked = Unblocker()
    blocked.unblock(session)
    began = time.perf_counter()
    for _ in range(10):
        blocked.unblock(session)
    assert time.perf_counter() - began < scaled(1.0)
    assert dispatch_calls(session, 1, lease=LEASE) == []
