"""Paid results that will expire before they are copied into the bucket."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select, update

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import QueueState, State, Step
from cutout.models import JOBS, constant
from cutout.models.database import Database
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.settle import RetryLimits

# The delayed jobs that are due first; a copy is never delayed for longer than its result lives.
MOST_EXAMINED = 10_000

DELAYED = constant(QueueState.DELAYED)
IS_PAID = and_(JOBS.c.step == constant(Step.COPY), JOBS.c.result_url.is_not(None))
# The minute is a margin for the copy itself.
EXPIRES_FIRST = and_(
    JOBS.c.lifeboat_key.is_(None),
    JOBS.c.result_expires_at > func.now(),
    JOBS.c.scheduled_at > JOBS.c.result_expires_at - timedelta(minutes=1),
    JOBS.c.scheduled_at > func.now() + timedelta(minutes=1),
)
COPY_COMES_TOO_LATE = and_(IS_PAID, JOBS.c.queue_state == DELAYED, EXPIRES_FIRST)


def _queued(scope: Scope) -> Select[uuid.UUID]:
    if scope.job_id is not None:
        return select(JOBS.c.id).where(JOBS.c.id == scope.job_id, COPY_COMES_TOO_LATE)
    delayed = (
        select(JOBS.c.id)
        .where(JOBS.c.queue_state == DELAYED)
        .order_by(JOBS.c.scheduled_at)
        .limit(MOST_EXAMINED)
    )
    return select(JOBS.c.id).where(JOBS.c.id.in_(delayed), COPY_COMES_TOO_LATE).limit(MOST_FOUND)


COPY_NOW = (
    update(JOBS)
    .where(JOBS.c.id.in_(bindparam("ids", expanding=True)), COPY_COMES_TOO_LATE)
    .values(queue_state=constant(QueueState.READY), scheduled_at=func.now())
    .returning(JOBS.c.id)
)

# There may be as many jobs with these codes as there are jobs, and none of them waits for its copy.
BLOCKED = (NEEDS_APPROVAL, "OVER_BUDGET")
# By these codes the result itself is of no use.
USELESS = ("RESULT_EXPIRED", "RESULT_UNEXPECTED")
IS_HELD = JOBS.c.state == constant(State.HELD)
EXAMINED = (
    JOBS.c.id,
    JOBS.c.code,
    JOBS.c.step,
    JOBS.c.result_url,
    JOBS.c.result_expires_at,
    JOBS.c.lifeboat_key,
)
# Written as ranges, so that the index skips the rows with these codes.
OTHERWISE = or_(
    JOBS.c.code < BLOCKED[0],
    and_(JOBS.c.code > BLOCKED[0], JOBS.c.code < BLOCKED[1]),
    JOBS.c.code > BLOCKED[1],
)


def _held(*scope: ColumnElement[bool]) -> Select[uuid.UUID, str, datetime]:
    examined = select(*EXAMINED).where(IS_HELD, *scope).limit(MOST_EXAMINED).subquery().c
    return (
        select(examined.id, examined.code, examined.result_expires_at)
        .where(
            examined.step == constant(Step.COPY),
            examined.result_url.is_not(None),
            examined.code.not_in(USELESS),
            examined.lifeboat_key.is_(None),
            examined.result_expires_at > func.now(),
        )
        .limit(MOST_FOUND)
    )


HELD = _held(OTHERWISE)


def find_queued(database: Database, scope: Scope) -> Sequence[Finding]:
    """Jobs whose paid result expires before their copy is due."""
    return [
        Finding(
            "job",
            job_id,
            "its result is paid for and expires before the next try to copy it",
            "the leading dispatcher makes its copy ready now",
        )
        for job_id in database.scalars(_queued(scope))
    ]


def repair(database: Database, found: Sequence[Finding], _limits: RetryLimits) -> int:
    """Make the jobs ready for their copy now."""
    return len(database.scalars(COPY_NOW, {"ids": [finding.id for finding in found]}).all())


def find_held(database: Database, scope: Scope) -> Sequence[Finding]:
    """Held jobs whose paid result has not expired: only a person can have it copied."""
    query = HELD if scope.job_id is None else _held(JOBS.c.id == scope.job_id)
    return [
        Finding(
            "job",
            row.id,
            f"it is held ({row.code}) and its paid result expires at {row.result_expires_at:%Y-%m-%d %H:%MZ}",
            f"`cutout retry {row.id}` copies it before it expires",
        )
        for row in database.execute(query)
    ]


QUEUED = AuditCheck("paid_results", "paid results are copied before they expire", find_queued, repair)
HELD_WITH_A_RESULT = AuditCheck(
    "held_results", "no job is held while a paid result of it waits to be copied", find_held
)
