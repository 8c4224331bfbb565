"""The cost of jobs beside an old snapshot that is held open, in pages that Postgres reads."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.enums import AttemptOutcome, Step
from cutout.models import JOBS
from cutout.monitoring.snapshots import check_snapshots, oldest_snapshot
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Snooze, StoredObject, Succeeded
from cutout.queue.claims import FENCED, Claim
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.queue.promote import promote_due
from cutout.queue.settle import AT_CLAIMED_STEP
from cutout.queue.snapshot import READ, read_snapshot
from cutout.queue.snapshot_watermarks import SnapshotWatermarks
from tests.support.explained import buffers, plan_of
from tests.support.steps import ACCOUNT, LEASE, SOURCE

PASSED = 600
STORED = StoredObject("cutouts/a.png", b"x" * 32, "image/png", 10, 600, 400)
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200)


@pytest.fixture
def own(engine: Engine) -> Iterator[Connection]:
    """A connection that commits each statement, as dispatcher and worker have it."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        accounts.ensure(connection, ACCOUNT)
        yield connection


@pytest.fixture
def _old(engine: Engine, own: Connection) -> Iterator[None]:
    """Somebody has a snapshot from before all that passes, and the tables are not empty."""
    with Session(engine) as session, session.begin():
        enqueue_all(session, [NewJob(SOURCE)] * (2 * PASSED))
    own.execute(text("ANALYZE"))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as other:
        other.execute(text("SELECT count(*) FROM jobs"))
        yield


def pass_jobs(own: Connection, count: int) -> Claim:
    """Hand out, claim and settle so many jobs of one worker, and claim one more."""
    worker, claim = workers.register(own, host="h", pid=1), None
    for job_id, fence in dispatch_calls(own, count + 1, lease=LEASE):
        claim = queue.claim(own, job_id, fence, worker)
        assert claim is not None
        if count:
            assert queue.settle(own, claim, Succeeded(STORED))
            count -= 1
    assert claim is not None
    return claim


@pytest.mark.usefixtures("_old")
class TestBesideAnOldSnapshot:
    def test_a_fenced_write_goes_by_its_job(self, own: Connection) -> None:
        """It does not read the entries of other jobs of its worker."""
        claim = pass_jobs(own, PASSED)
        fenced = select(JOBS.c.id).where(FENCED, AT_CLAIMED_STEP)
        plan = plan_of(own, fenced, claim.as_parameters() | {"claimed_step": claim.step})
        assert plan["Index Name"] == "pk_jobs"
        assert buffers(plan) < 40

    def test_a_snapshot_reads_no_further_back_than_the_first_outstanding_job(self, own: Connection) -> None:
        """With watermarks; without them it counts the same."""
        watermarks, lease = SnapshotWatermarks(), timedelta(minutes=2)
        read_snapshot(own, [ACCOUNT], watermarks=watermarks, lease=lease)
        claim = pass_jobs(own, PASSED)
        own.execute(
            text("UPDATE jobs SET scheduled_at = now() + interval '2 minutes' WHERE state = 'running'")
        )
        assert read_snapshot(own, [ACCOUNT], watermarks=watermarks, lease=lease).outstanding[Step.CALL] == 1
        parameters: dict[str, Any] = {"accounts": [], "day_budget": None, "lease": lease}
        snapshot = READ[False].statement
        far, near = (
            plan_of(own, snapshot, parameters | {"since": since.outstanding, "due_since": since.due})
            for since in (SnapshotWatermarks(), watermarks)
        )
        assert buffers(near) < buffers(far) * 0.6
        assert queue.settle(own, claim, Snooze("C", "m", 0.0))
        assert read_snapshot(own, [ACCOUNT], watermarks=watermarks).outstanding[Step.CALL] == 0


class TestWatermarks:
    def test_miss_no_job_that_is_dispatched_delayed_or_promoted(
        self, engine: Engine, own: Connection
    ) -> None:
        """After every change of jobs a snapshot with watermarks counts as one without."""
        with Session(engine) as session, session.begin():
            enqueue_all(session, [NewJob(SOURCE)] * 6)
        watermarks, worker = SnapshotWatermarks(), workers.register(own, host="h", pid=1)

        def same() -> None:
            found, all_of_it = (
                read_snapshot(own, [ACCOUNT], watermarks=watermarks),
                read_snapshot(own, [ACCOUNT]),
            )
            assert (found.outstanding, found.due, found.ready) == (
                all_of_it.outstanding,
                all_of_it.due,
                all_of_it.ready,
            )

        same()
        (lost,) = dispatch_calls(own, 1, lease=timedelta(0))
        same()
        assert promote_due(own, watermarks) == 1
        assert queue.claim(own, *lost, worker) is None
        first, second, third = dispatch_calls(own, 3, lease=LEASE)
        same()
        late = queue.claim(own, *second, worker)
        assert late is not None
        same()
        assert queue.settle(own, late, Snooze("C", "m", 0.0))
        same()
        assert promote_due(own, watermarks) == 1
        for one in (third, first):
            assert queue.claim(own, *one, worker) is not None
            same()


class TestTheOldestSnapshot:
    def test_is_a_fault_once_it_is_old(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """The doctor names its session; a dump that has just begun is no fault."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as old:
            pid = old.scalar(text("SELECT pg_backend_pid()"))
            assert check_snapshots(engine) == []
            monkeypatch.setattr("cutout.monitoring.snapshots.LONG", timedelta(0))
            (check,) = check_snapshots(engine)
        assert not check.ok
        assert f"session {pid} (cutout) has held a snapshot" in check.found

    def test_is_named_with_its_session(self, engine: Engine) -> None:
        """The session that reads it is not counted."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as old:
            pid = old.scalar(text("SELECT pg_backend_pid()"))
            with engine.connect() as connection:
                found = oldest_snapshot(connection)
                assert found is not None
                assert (found.pid, found.application) == (pid, "cutout")
                assert 0 <= found.age_s < 60
