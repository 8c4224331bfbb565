"""Blocked jobs and what blocks them: their batch's pause, window, approval or budget.

The dispatcher brings them back by the same facts (queue/blocks/blocked_jobs.py), some batches in each tick.
Asked anew here: a batch that it passes over would keep its jobs for ever.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select

from cutout.audit.audit_check import MOST_FOUND, AuditCheck, Finding, Repair, Scope
from cutout.enums import State, Step
from cutout.models import ATTEMPTS, BATCHES, JOBS, constant
from cutout.models.database import Database
from cutout.queue.blocks.blocked_jobs import IS_OVER_BUDGET, WAITS_FOR_ITS_BATCH, unblock_batch
from cutout.queue.blocks.conditions import IS_BLOCKED
from cutout.queue.settle import RetryLimits

# A dispatcher looks at a thousand batches a second.
CONFIRMED_AFTER_S = 10.0


def _batches_with(which: ColumnElement[bool]) -> Select[uuid.UUID]:
    """By steps from one batch to the next in the index: as many reads as batches, not as jobs."""
    first = select(JOBS.c.batch_id).where(which).order_by(JOBS.c.batch_id).limit(1)
    steps = select(first.scalar_subquery().label("batch_id")).cte("steps", recursive=True)
    following = (
        select(JOBS.c.batch_id)
        .where(which, JOBS.c.batch_id > steps.c.batch_id)
        .order_by(JOBS.c.batch_id)
        .limit(1)
        .scalar_subquery()
    )
    steps = steps.union_all(select(following).where(steps.c.batch_id.is_not(None)))
    return select(steps.c.batch_id).where(steps.c.batch_id.is_not(None))


# The credit of a call that is out is spent already; each of the others may take one.
IS_OUT = select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.ended_at.is_(None)).exists()
UNDER_WAY = (
    select(func.count())
    .where(
        JOBS.c.batch_id == BATCHES.c.id,
        JOBS.c.state.in_([constant(State.QUEUED), constant(State.RUNNING)]),
        JOBS.c.step == constant(Step.CALL),
        not_(IS_OUT),
    )
    .correlate(BATCHES)
    .scalar_subquery()
)
HAS_CREDITS_LEFT = or_(BATCHES.c.budget.is_(None), BATCHES.c.budget - BATCHES.c.spent > UNDER_WAY)
# A batch with a shift is on its way back.
MAY_GO = and_(not_(IS_BLOCKED), BATCHES.c.virtual_shift.is_(None))
MAY_SPEND = and_(not_(IS_BLOCKED), HAS_CREDITS_LEFT)


def _batches(
    database: Database, blocked: ColumnElement[bool], may_go: ColumnElement[bool], scope: Scope
) -> Sequence[uuid.UUID]:
    found = select(BATCHES.c.id).where(may_go).limit(MOST_FOUND)
    if scope.job_id is None:
        return database.scalars(found.where(BATCHES.c.id.in_(_batches_with(blocked)))).all()
    its = select(JOBS.c.id).where(JOBS.c.batch_id == scope.batch_id, blocked).exists()
    return database.scalars(found.where(BATCHES.c.id == scope.batch_id, its)).all()


def find_blocked(database: Database, scope: Scope) -> Sequence[Finding]:
    """Batches that nothing blocks, and whose blocked jobs nobody lets go."""
    return [
        Finding(
            "batch",
            batch_id,
            "it is neither paused nor outside its window nor unapproved, and jobs of it stay blocked",
            "the dispatcher that leads puts them back in line",
        )
        for batch_id in _batches(database, WAITS_FOR_ITS_BATCH, MAY_GO, scope)
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
        for batch_id in _batches(database, IS_OVER_BUDGET, MAY_SPEND, scope)
    ]


def _repair(kind: ColumnElement[bool]) -> Repair:
    def repair(database: Database, found: Sequence[Finding], _bounds: RetryLimits) -> int:
        """Bring back what one step of the dispatcher would; returns how many batches had such jobs."""
        ids = [finding.id for finding in found if isinstance(finding.id, uuid.UUID)]
        over_budget = kind is IS_OVER_BUDGET
        return sum(unblock_batch(database, batch_id, over_budget=over_budget) > 0 for batch_id in ids)

    return repair


BLOCKED_JOBS = AuditCheck(
    "blocked_jobs",
    "blocked jobs have a batch that is paused, unapproved or outside its window",
    find_blocked,
    _repair(WAITS_FOR_ITS_BATCH),
    confirmed_after_s=CONFIRMED_AFTER_S,
)
UNSPENT = AuditCheck(
    "unspent_budgets",
    "jobs held for a budget have a batch whose credits are spent or spoken for",
    find_unspent,
    _repair(IS_OVER_BUDGET),
    confirmed_after_s=CONFIRMED_AFTER_S,
)
