"""Attempts without an end that belong to no running job."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, func, not_, select, update

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import AttemptOutcome, State
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.models.database import Database
from cutout.queue.settle import RetryLimits

CODE = "WORKER_GONE"
# The end of an attempt and the end of its job are written one after the other.
SETTLED_AFTER = timedelta(minutes=1)

ITS_JOB_RUNS = (
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
    .where(IS_OPEN, ATTEMPTS.c.begun_at < func.now() - SETTLED_AFTER, not_(ITS_JOB_RUNS))
    .order_by(ATTEMPTS.c.begun_at)
    .limit(MOST_FOUND)
)
CLOSE = (
    update(ATTEMPTS)
    .where(
        ATTEMPTS.c.id.in_(bindparam("ids", expanding=True)),
        IS_OPEN,
        ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN),
        not_(ITS_JOB_RUNS),
    )
    .values(
        ended_at=func.now(),
        unknown_at=func.coalesce(ATTEMPTS.c.unknown_at, func.now()),
        code=func.coalesce(ATTEMPTS.c.code, CODE),
    )
    .returning(ATTEMPTS.c.id)
)


def find(database: Database, scope: Scope) -> Sequence[Finding]:
    """Calls that the ledger shows as open although no worker makes them."""
    query = FIND if scope.job_id is None else FIND.where(ATTEMPTS.c.job_id == scope.job_id)
    return [
        Finding(
            "attempt",
            row.id,
            f"call {row.number} of job {row.job_id} has no end, and no worker runs the job any more",
            "the leading dispatcher closes it as unknown: the endpoint may have charged a credit",
        )
        for row in database.execute(query)
    ]


def repair(database: Database, found: Sequence[Finding], _limits: RetryLimits) -> int:
    """Close the attempts as unknown. An end that is written later replaces this one."""
    return len(database.scalars(CLOSE, {"ids": [finding.id for finding in found]}).all())


CHECK = AuditCheck("open_attempts", "calls without an end belong to a running job", find, repair)
