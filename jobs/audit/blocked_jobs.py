"""Blocked jobs and what blocks them: their batch's pause, window, approval or budget.

`batches.parked` makes the dispatcher look at a batch whose jobs may rejoin the line (jobs/line.py, UNPARK).
Where nothing blocks a batch's parked jobs and it is not looked at, they would wait for ever.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, not_, or_, select, true, update

from jobs.approval import IS_APPROVED, NEEDS_APPROVAL
from jobs.audit.check import MOST_FOUND, AuditCheck, Finding, Repair, Scope
from jobs.database import Database
from jobs.models import BATCHES, JOBS, constant
from jobs.pausing import RESTS
from jobs.states import Standing, State
from jobs.store import Bounds

# Of each batch the first in place are looked at: its parked jobs are nearly always of one kind.
MOST_LOOKED_AT = 100

IS_PARKED = JOBS.c.standing == constant(Standing.PARKED)


def _batches_with_parked_jobs() -> Select[uuid.UUID]:
    """By steps from one batch to the next in the index: as many reads as batches, not as jobs."""
    parked = JOBS.alias("parked")
    is_parked = and_(parked.c.standing == constant(Standing.PARKED), parked.c.batch_id.is_not(None))
    first = select(parked.c.batch_id).where(is_parked).order_by(parked.c.batch_id).limit(1)
    steps = select(first.scalar_subquery().label("batch_id")).cte("steps", recursive=True)
    following = (
        select(parked.c.batch_id)
        .where(is_parked, parked.c.batch_id > steps.c.batch_id)
        .order_by(parked.c.batch_id)
        .limit(1)
        .scalar_subquery()
    )
    steps = steps.union_all(select(following).where(steps.c.batch_id.is_not(None)))
    return select(steps.c.batch_id).where(steps.c.batch_id.is_not(None))


FIRST_PARKED = (
    select(JOBS.c.state, JOBS.c.code)
    .where(JOBS.c.batch_id == BATCHES.c.id, IS_PARKED)
    .order_by(JOBS.c.place)
    .limit(MOST_LOOKED_AT)
    .correlate(BATCHES)
    .subquery()
)
# Each of these takes a credit, or none, before the next is let go.
UNDER_WAY = (
    select(func.count())
    .where(
        JOBS.c.batch_id == BATCHES.c.id,
        JOBS.c.state.in_([constant(State.QUEUED), constant(State.RUNNING)]),
    )
    .correlate(BATCHES)
    .scalar_subquery()
)
MAY_SPEND = or_(BATCHES.c.budget.is_(None), BATCHES.c.budget - BATCHES.c.spent > UNDER_WAY)
QUEUED_ONE = select(FIRST_PARKED.c.state).where(FIRST_PARKED.c.state == constant(State.QUEUED)).exists()
HELD_ONE = (
    select(FIRST_PARKED.c.state)
    .where(
        FIRST_PARKED.c.state == constant(State.HELD),
        or_(FIRST_PARKED.c.code != NEEDS_APPROVAL, IS_APPROVED),
    )
    .exists()
)
NOT_LOOKED_AT = and_(not_(BATCHES.c.parked), not_(RESTS))
QUEUED = and_(NOT_LOOKED_AT, QUEUED_ONE)
HELD = and_(NOT_LOOKED_AT, HELD_ONE, MAY_SPEND)


def _look(which: ColumnElement[bool]) -> Select[uuid.UUID]:
    return select(BATCHES.c.id).where(which).limit(MOST_FOUND)


def _batches(database: Database, which: ColumnElement[bool], scope: Scope) -> Sequence[uuid.UUID]:
    if scope.job_id is not None:
        return database.scalars(_look(which).where(BATCHES.c.id == scope.batch_id)).all()
    return database.scalars(_look(which).where(BATCHES.c.id.in_(_batches_with_parked_jobs()))).all()


def find_blocked(database: Database, scope: Scope) -> Sequence[Finding]:
    """Batches that are neither paused nor outside their window, and whose parked jobs nobody lets go."""
    return [
        Finding(
            "batch",
            batch_id,
            "it is neither paused nor outside its window, and jobs of it stay parked",
            "the dispatcher that leads puts them back in line",
        )
        for batch_id in _batches(database, QUEUED, scope)
    ]


def find_unspent(database: Database, scope: Scope) -> Sequence[Finding]:
    """Batches with credits left in their budget, or none, and jobs held for want of one."""
    return [
        Finding(
            "batch",
            batch_id,
            "its budget has credits left that no job under way takes, and jobs of it are held for them",
            "the dispatcher that leads lets them go",
        )
        for batch_id in _batches(database, HELD, scope)
    ]


def _repair(which: ColumnElement[bool]) -> Repair:
    statement = (
        update(BATCHES)
        .where(BATCHES.c.id.in_(bindparam("ids", expanding=True)), which)
        .values(parked=true())
        .returning(BATCHES.c.id)
    )

    def repair(database: Database, found: Sequence[Finding], _bounds: Bounds) -> int:
        """Let the dispatcher look at them."""
        return len(database.scalars(statement, {"ids": [finding.id for finding in found]}).all())

    return repair


BLOCKED = AuditCheck(
    "blocked_jobs",
    "parked jobs have a batch that is paused or outside its window",
    find_blocked,
    _repair(QUEUED),
)
UNSPENT = AuditCheck(
    "unspent_budgets",
    "jobs held for a budget have a batch whose credits are spent or spoken for",
    find_unspent,
    _repair(HELD),
)
