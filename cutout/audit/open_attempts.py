"""Attempts without an end, and the running job that they belong to."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, func, not_, select, update

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import AttemptOutcome, State
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database
from cutout.queue.settle import Bounds

CODE = "WORKER_GONE"
# Whoever ends an attempt and its job writes the two in turn.
SETTLED_AFTER = timedelta(minutes=1)

IS_RUN = (
    select(JOBS.c.id)
    .where(
        JOBS.c.id == ATTEMPTS.c.job_id,
        JOBS.c.fence == ATTEMPTS.c.fence,
        JOBS.c.worker_id == ATTEMPTS.c.worker_id,
        JOBS.c.state == constant(State.RUNNING),
    )
    .correlate(ATTEMPTS)
    .exists()
)
IS_OPEN = ATTEMPTS.c.ended_at.is_(None)
FIND = (
    select(ATTEMPTS.c.id, ATTEMPTS.c.job_id, ATTEMPTS.c.number)
    .where(IS_OPEN, ATTEMPTS.c.begun_at < func.now() - SETTLED_AFTER, not_(IS_RUN))
    .order_by(ATTEMPTS.c.begun_at)
    .limit(MOST_FOUND)
)
CLOSE = (
    update(ATTEMPTS)
    .where(
        ATTEMPTS.c.id.in_(bindparam("ids", expanding=True)),
        IS_OPEN,
        ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
        not_(IS_RUN),
    )
    .values(
        ended_at=func.now(),
        unknown_at=func.coalesce(ATTEMPTS.c.unknown_at, func.now()),
        code=func.coalesce(ATTEMPTS.c.code, CODE),
    )
    .returning(ATTEMPTS.c.id)
)


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Calls that the ledger shows as out, and that no worker makes."""
    query = FIND if scope.job_id is None else FIND.where(ATTEMPTS.c.job_id == scope.job_id)
    return [
        Finding(
            "attempt",
            row.id,
            f"call {row.number} of job {row.job_id} has no end, and no worker carries the job any more",
            "it is closed as unknown: the endpoint may have charged a credit",
        )
        for row in database.execute(query)
    ]


def repair(database: Database, found: Sequence[Finding], _bounds: Bounds) -> int:
    """Close them as unknown. An end that comes later replaces this one."""
    return len(database.scalars(CLOSE, {"ids": [finding.id for finding in found]}).all())


CHECK = AuditCheck("open_attempts", "calls without an end belong to a running job", find, repair)
