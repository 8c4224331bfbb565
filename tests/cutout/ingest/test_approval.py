import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import State
from cutout.models import Job
from cutout.queue.attempts.outcomes import Hold
from cutout.queue.blocks import approval, pauses
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.leader import LEADER_LOCK
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.cutout.ingest.conftest import Run
from tests.support.steps import begin, claim_one, new_worker

WEB = "https://shop.example/a.jpg"


@pytest.fixture
def planned(run: Run, written: Callable[[str], Path]) -> Callable[..., uuid.UUID]:
    """A batch of five jobs that waits for approval."""

    def make(**order: object) -> uuid.UUID:
        path = written("external_id,source\n" + "".join(f"{n},{WEB}\n" for n in range(5)))
        batch_id = run(path, plan=True, **order).batch_id
        assert batch_id is not None
        return batch_id

    return make


def states(connection: Connection) -> dict[str, int]:
    rows = connection.execute(text("SELECT coalesce(queue_state, state), count(*) FROM jobs GROUP BY 1"))
    return {queue_state: count for queue_state, count in rows}  # noqa: C416 - dict() would not type-check


class TestAPlannedBatch:
    def test_is_held(self, planned: Callable[..., uuid.UUID], engine: Engine) -> None:
        """None of its jobs is ready, and each job tells what it waits for."""
        planned()
        with Session(engine) as session:
            jobs = session.query(Job).all()
            assert {(job.state, job.queue_state, job.code) for job in jobs} == {
                (State.HELD, "blocked", "NEEDS_APPROVAL")
            }
            found = explain(session, jobs[0], CallSettings(()))
            assert "waits for approval" in found.text
            assert f"cutout approve {jobs[0].batch_id}" in (found.remedy or "")

    @pytest.mark.parametrize("way", ["budget", "refund", "resume", "retry"])
    def test_is_released_by_nothing_else(
        self, planned: Callable[..., uuid.UUID], engine: Engine, way: str
    ) -> None:
        """A budget, a refund, a pause that ends, a retry: none of them spends money without approval."""
        batch_id = planned(budget=3)
        with engine.begin() as connection:
            match way:
                case "budget":
                    pauses.set_budget(connection, batch_id, 100)
                case "refund":
                    connection.execute(text("UPDATE batches SET spent = 0"))
                case "resume":
                    pauses.pause(connection, batch_id)
                    pauses.resume(connection, batch_id)
                case "retry":
                    ids = connection.scalars(text("SELECT id FROM jobs")).all()
                    assert not any(queue.retry(connection, job_id) for job_id in ids)
            for _ in range(2):
                assert unblock(connection) == 0
            assert states(connection) == {"blocked": 5}
            assert approval.approve(connection, batch_id)
            assert unblock(connection) > 0

    def test_runs_within_its_budget_once_approved(
        self, planned: Callable[..., uuid.UUID], engine: Engine
    ) -> None:
        """All jobs become ready, because any may need no call. Three credits start three; two more start the
        rest.
        """
        batch_id = planned(budget=3)
        with Session(engine) as session, session.begin():
            assert approval.awaiting(session, batch_id) == 5
            assert approval.approve(session, batch_id)
            assert not approval.approve(session, batch_id)
            assert unblock(session) == 5
            worker_id = new_worker(session)
            for n in range(5):
                claim = claim_one(session, worker_id)
                if n < 3:
                    begin(session, claim)
                else:
                    queue.settle(session, claim, Hold("OVER_BUDGET", "x", blocked=True))
            assert unblock(session) == 0
            pauses.set_budget(session, batch_id, 5)
            assert unblock(session) == 2
            assert states(session.connection()) == {"ready": 2, "running": 3}

    def test_explains_what_it_waits_for_after_approval(
        self, planned: Callable[..., uuid.UUID], engine: Engine
    ) -> None:
        """For the dispatcher, whatever the budget: it decides in queue order whether a job needs a credit."""
        batch_id = planned(budget=3)
        with Session(engine) as session, session.begin():
            approval.approve(session, batch_id)
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEADER_LOCK})
            new_worker(session)
            job = session.query(Job).first()
            assert job is not None
            assert "the dispatcher makes its jobs ready" in explain(session, job, CallSettings(())).text
            pauses.set_budget(session, batch_id, 0)
            session.expire_all()
            assert "the dispatcher makes its jobs ready" in explain(session, job, CallSettings(())).text
            pauses.pause(session, batch_id)
            session.expire_all()
            assert explain(session, job, CallSettings(())).why == "batch-paused"

    def test_that_was_not_planned_waits_for_none(
        self, run: Run, written: Callable[[str], Path], engine: Engine
    ) -> None:
        """There is nothing to approve."""
        batch_id = run(written(f"external_id,source\na,{WEB}\n")).batch_id
        assert batch_id is not None
        with engine.begin() as connection:
            assert not approval.approve(connection, batch_id)
