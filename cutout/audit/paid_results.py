"""Paid results, and the copy that is to bring them home before they die."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select, update

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Scope
from cutout.enums import Standing, State, Step
from cutout.models import JOBS, constant
from cutout.models.database import Database
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.settle import Bounds

# The soonest of those that rest; a copy is never put off for longer than its result lives.
MOST_LOOKED_AT = 10_000

RESTING = constant(Standing.RESTING)
IS_PAID = and_(JOBS.c.step == constant(Step.COPY), JOBS.c.result_url.is_not(None))
# A margin for the copy itself.
DIES_FIRST = and_(
    JOBS.c.lifeboat_key.is_(None),
    JOBS.c.result_expires_at > func.now(),
    JOBS.c.scheduled_at > JOBS.c.result_expires_at - timedelta(minutes=1),
    JOBS.c.scheduled_at > func.now() + timedelta(minutes=1),
)
HAS_NO_COPY = and_(IS_PAID, JOBS.c.standing == RESTING, DIES_FIRST)


def _queued(scope: Scope) -> Select[uuid.UUID]:
    if scope.job_id is not None:
        return select(JOBS.c.id).where(JOBS.c.id == scope.job_id, HAS_NO_COPY)
    resting = (
        select(JOBS.c.id)
        .where(JOBS.c.standing == RESTING)
        .order_by(JOBS.c.scheduled_at)
        .limit(MOST_LOOKED_AT)
    )
    return select(JOBS.c.id).where(JOBS.c.id.in_(resting), HAS_NO_COPY).limit(MOST_FOUND)


COPY_NOW = (
    update(JOBS)
    .where(JOBS.c.id.in_(bindparam("ids", expanding=True)), HAS_NO_COPY)
    .values(standing=constant(Standing.IN_LINE), scheduled_at=func.now())
    .returning(JOBS.c.id)
)

# Of these codes there may be as many as there are jobs, and none is at its copy.
BLOCKED = (NEEDS_APPROVAL, "OVER_BUDGET")
# These say themselves that their result is of no use.
USELESS = ("RESULT_EXPIRED", "RESULT_UNEXPECTED")
IS_HELD = JOBS.c.state == constant(State.HELD)
# As ranges of the index, which passes over the rows of these codes.
OTHERWISE = or_(
    JOBS.c.code < BLOCKED[0],
    and_(JOBS.c.code > BLOCKED[0], JOBS.c.code < BLOCKED[1]),
    JOBS.c.code > BLOCKED[1],
)


def _held(*scope: ColumnElement[bool]) -> Select[uuid.UUID, str, datetime]:
    looked_at = select(JOBS).where(IS_HELD, *scope).limit(MOST_LOOKED_AT).subquery().c
    return (
        select(looked_at.id, looked_at.code, looked_at.result_expires_at)
        .where(
            looked_at.step == constant(Step.COPY),
            looked_at.result_url.is_not(None),
            looked_at.code.not_in(USELESS),
            looked_at.lifeboat_key.is_(None),
            looked_at.result_expires_at > func.now(),
        )
        .limit(MOST_FOUND)
    )


HELD = _held(OTHERWISE)


def find_queued(database: Database, scope: Scope) -> Sequence[Finding]:
    """Paid results whose copy is put off until they are dead."""
    return [
        Finding(
            "job",
            job_id,
            "its result is paid for, and dies before its copy is tried again",
            "the dispatcher that leads puts it in line for its copy",
        )
        for job_id in database.scalars(_queued(scope))
    ]


def repair(database: Database, found: Sequence[Finding], _bounds: Bounds) -> int:
    """Put them in line for their copy now."""
    return len(database.scalars(COPY_NOW, {"ids": [finding.id for finding in found]}).all())


def find_held(database: Database, scope: Scope) -> Sequence[Finding]:
    """Paid results that live and that only a person lets be copied."""
    query = HELD if scope.job_id is None else _held(JOBS.c.id == scope.job_id)
    return [
        Finding(
            "job",
            row.id,
            f"it is held ({row.code}), and its paid result dies at {row.result_expires_at:%Y-%m-%d %H:%MZ}",
            f"`cutout retry {row.id}` copies it, as long as it lives",
        )
        for row in database.execute(query)
    ]


QUEUED = AuditCheck("paid_results", "paid results have a copy under way before they die", find_queued, repair)
HELD_WITH_A_RESULT = AuditCheck(
    "held_results", "no job is held while a paid result of it waits to be copied", find_held
)
