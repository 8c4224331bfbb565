from collections.abc import Sequence

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.audit import CHECKS, AuditCheck, Finding
from cutout.audit.audit_check import Scope
from cutout.enums import State
from cutout.models import Job
from cutout.models.database import Database
from cutout.queue.dispatch import Survey, survey
from cutout.queue.settle import Bounds
from cutout.queue.workers import Identity, beat
from tests.support.steps import claim_new, new_worker
from worker.dispatcher import metrics
from worker.dispatcher.auditor import Auditor


class Clock:
    """Seconds that pass when a test says so."""

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


def look(auditor: Auditor, engine: Engine, times: int = 1) -> None:
    """So many ticks."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        seen: Survey = survey(connection, [])
        for _ in range(times):
            auditor.look(connection, seen)


class TestTheDuty:
    def test_repairs_what_does_not_agree_and_counts_it(self, engine: Engine, clock: Clock) -> None:
        """A running job that nobody carries is rescued within seconds of the second heartbeat without it."""
        with Session(engine) as session, session.begin():
            claim = claim_new(session, new_worker(session))
            for _ in range(2):
                beat(session, Identity(claim.worker_id, "test", 1))
        auditor = Auditor(Bounds(), clock=clock)
        before = repaired("running_jobs")
        look(auditor, engine, times=10)
        assert repaired("running_jobs") == before
        clock.now = 5.0
        look(auditor, engine)
        assert repaired("running_jobs") == before + 1
        with Session(engine) as session:
            assert session.get_one(Job, claim.job_id).state == State.QUEUED

    def test_makes_every_check_within_a_minute(self, engine: Engine, clock: Clock) -> None:
        """One in a tick, the one that is due for longest first."""
        made: list[str] = []

        def named(name: str, every_s: float) -> AuditCheck:
            def find(_database: Database, _scope: Scope) -> Sequence[Finding]:
                made.append(name)
                return []

            return AuditCheck(name, name, find, every_s=every_s)

        checks = [named(check.name, check.every_s) for check in CHECKS]
        auditor = Auditor(Bounds(), checks, clock)
        clock.now = 60.0
        look(auditor, engine, times=len(CHECKS) + 5)
        assert set(made) == {check.name for check in CHECKS}
        assert len(made) == len(CHECKS)

    def test_shows_what_it_cannot_repair_until_another_leads(self, engine: Engine, clock: Clock) -> None:
        """As a metric, for the alert; and the job is named in the log."""
        finding = Finding("job", 7, "it is wrong", "a person repairs it")
        auditor = Auditor(Bounds(), [AuditCheck("tested", "x", lambda _d, _s: [finding])], clock)
        clock.now = 60.0
        look(auditor, engine)
        assert found("tested") == 1
        auditor.rest()
        assert found("tested") == 0
