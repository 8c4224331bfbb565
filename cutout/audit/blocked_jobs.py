"""Blocked jobs whose batch no longer blocks them: by pause, window, approval or budget.

The dispatcher unblocks them by the same conditions (queue/blocks/blocked_jobs.py), some batches in each tick.
The conditions are tested again here, since the jobs of a batch that it missed would stay blocked forever.
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

# The dispatcher checks a thousand batches a second.
CONFIRMED_AFTER_S = 10.0


def _batches_with(which: ColumnElement[bool]) -> Select[uuid.UUID]:
    """Batches of matching jobs, by a skip scan of the index: one read for each batch, not for each job."""
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


# An open call has already spent its credit; each other job may take one.
CALL_IS_OPEN = (
    select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.ended_at.is_(None)).exists()
)
UNDER_WAY = (
    select(func.count())
    .where(
        JOBS.c.batch_id == BATCHES.c.id,
        JOBS.c.state.in_([constant(State.QUEUED), constant(State.RUNNING)]),
        JOBS.c.step == constant(Step.CALL),
        not_(CALL_IS_OPEN),
    )
    .correlate(BATCHES)
    .scalar_subquery()
)
HAS_CREDITS_LEFT = or_(BATCHES.c.budget.is_(None), BATCHES.c.budget - BATCHES.c.spent > UNDER_WAY)
# A batch with a virtual shift is just being unblocked.
MAY_GO = and_(not_(IS_BLOCKED), BATCHES.c.virtual_shift.is_(None))
MAY_SPEND = and_(not_(IS_BLOCKED), HAS_CREDITS_LEFT)


def _batches(
    database: Database, blocked: ColumnElement[bool], may_go: ColumnElement[bool], scope: Scope
) -> Sequence[uuid.UUID]:
    found = select(BATCHES.c.id).where(may_go).limit(MOST_FOUND)
    if scope.job_id is None:
        return database.scalars(found.where(BATCHES.c.id.in_(_batches_with(blocked)))).all()
    has_blocked = select(JOBS.c.id).where(JOBS.c.batch_id == scope.batch_id, blocked).exists()
    return database.scalars(found.where(BATCHES.c.id == scope.batch_id, has_blocked)).all()


def find_blocked(database: Database, scope: Scope) -> Sequence[Finding]:
    """Batches that may continue while jobs of theirs stay blocked."""
    return [
        Finding(
            "batch",
            batch_id,
            "it is neither paused nor outside its window nor unapproved, but its jobs stay blocked",
            "the leading dispatcher unblocks them",
        )
        for batch_id in _batches(database, WAITS_FOR_ITS_BATCH, MAY_GO, scope)
    ]


def find_unspent(database: Database, scope: Scope) -> Sequence[Finding]:
    """Batches that have credits left, or no budget, while jobs of theirs are held for their budget."""
    return [
        Finding(
            "batch",
            batch_id,
            "its budget has credits left for which no job is under way, but its jobs are held for the budget",
            "the leading dispatcher unblocks them",
        )
        for batch_id in _batches(database, IS_OVER_BUDGET, MAY_SPEND, scope)
    ]


def _repair(kind: ColumnElement[bool]) -> Repair:
    def repair(database: Database, found: Sequence[Finding], _limits: RetryLimits) -> int:
        """Unblock as many jobs as one step of the dispatcher would; returns the number of batches."""
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
    "jobs held for a budget have a batch whose credits are spent or reserved",
    find_unspent,
    _repair(IS_OVER_BUDGET),
    confirmed_after_s=CONFIRMED_AFTER_S,
)
