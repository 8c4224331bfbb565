from collections.abc import Sequence

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.audit import CHECKS, AuditCheck, Finding
from cutout.audit.audit_check import Scope
from cutout.enums import State
from cutout.models import Job
from cutout.models.database import Database
from cutout.queue.settle import RetryLimits
from cutout.queue.snapshot import QueueSnapshot, read_snapshot
from cutout.queue.workers import Identity, beat
from tests.support.steps import claim_new, new_worker
from worker.dispatcher import metrics
from worker.dispatcher.auditor import Auditor


class Clock:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def repaired(check: str) -> float:
    return float(metrics.AUDIT_REPAIRED.labels(check)._value.get())


def found(check: str) -> float:
    return float(metrics.AUDIT_FINDINGS.labels(check)._value.get())


def tick(auditor: Auditor, engine: Engine, times: int = 1) -> None:
    """Run so many ticks."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        snapshot: QueueSnapshot = read_snapshot(connection, [])
        for _ in range(times):
            auditor.tick(connection, snapshot)


class TestTheAuditor:
    def test_repairs_rows_that_do_not_agree_and_counts_them(self, engine: Engine, clock: Clock) -> None:
        """A running job that no worker holds is rescued within seconds of the second heartbeat without it."""
        with Session(engine) as session, session.begin():
            claim = claim_new(session, new_worker(session))
            for _ in range(2):
                beat(session, Identity(claim.worker_id, "test", 1))
        auditor = Auditor(RetryLimits(), clock=clock)
        before = repaired("running_jobs")
        tick(auditor, engine, times=10)
        assert repaired("running_jobs") == before
        clock.now = 5.0
        tick(auditor, engine)
        assert repaired("running_jobs") == before + 1
        with Session(engine) as session:
            assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_makes_every_check_within_a_minute(self, engine: Engine, clock: Clock) -> None:
        """A tick runs one check, the one that has been due for longest."""
        made: list[str] = []

        def named(name: str, every_s: float) -> AuditCheck:
            def find(_database: Database, _scope: Scope) -> Sequence[Finding]:
                made.append(name)
                return []

            return AuditCheck(name, name, find, every_s=every_s)

        checks = [named(check.name, check.every_s) for check in CHECKS]
        auditor = Auditor(RetryLimits(), checks, clock)
        clock.now = 60.0
        tick(auditor, engine, times=len(CHECKS) + 5)
        assert set(made) == {check.name for check in CHECKS}
        assert len(made) == len(CHECKS)

    def test_shows_findings_that_it_cannot_repair_until_another_leads(
        self, engine: Engine, clock: Clock
    ) -> None:
        """A metric shows them, for the alert, until the leadership is lost."""
        finding = Finding("job", 7, "it is wrong", "a person repairs it")
        auditor = Auditor(RetryLimits(), [AuditCheck("tested", "x", lambda _d, _s: [finding])], clock)
        clock.now = 60.0
        tick(auditor, engine)
        assert found("tested") == 1
        auditor.reset()
        assert found("tested") == 0
