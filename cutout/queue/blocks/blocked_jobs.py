"""Unblocking: jobs that were blocked because of their batch become ready once the batch allows it.

No flag marks a batch with blocked jobs: an index of blocked jobs is scanned by batch, some batches a tick.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    update,
)

from cutout.models import ATTEMPTS, BATCHES, JOBS
from cutout.models.columns import BLOCKED, CALL_STEP, QUEUED, READY, RUNNING
from cutout.models.database import Database
from cutout.models.query_parts import is_among, loose_index_scan
from cutout.queue.actions import cancel_all
from cutout.queue.blocks.conditions import IS_BLOCKED, IS_CANCELLED
from cutout.queue.fairness import last_start, start_before, virtual_time_of
from cutout.queue.queue_scan import JOB_OWNER
from cutout.queue.queue_watermarks import QueueWatermarks

# Batches with blocked jobs that one tick reads; batches of which it unblocks jobs, up to half of them batches
# begun by an earlier tick; and jobs of one batch.
MOST_READ = 200
MOST_BATCHES = 10
MOST_UNBLOCKED = 1000
OVER_BUDGET = literal_column("'OVER_BUDGET'", Text)
NIL = uuid.UUID(int=0)

IS_BLOCKED_BY_BATCH = JOBS.c.queue_state == BLOCKED
# Each of these two has a partial index, which the planner finds by these literals only.
IS_OVER_BUDGET = and_(IS_BLOCKED_BY_BATCH, JOBS.c.code == OVER_BUDGET)
WAITS_FOR_ITS_BATCH = and_(IS_BLOCKED_BY_BATCH, JOBS.c.code.is_distinct_from(OVER_BUDGET))
HAS_BLOCKED_JOBS = or_(
    select(JOBS.c.id).where(IS_OVER_BUDGET).exists(), select(JOBS.c.id).where(WAITS_FOR_ITS_BATCH).exists()
)

HAS_CREDITS = or_(BATCHES.c.budget.is_(None), BATCHES.c.spent < BATCHES.c.budget)
BATCH = bindparam("batch", type_=Uuid)
IS_GIVEN_BATCH = BATCHES.c.id == BATCH
QUEUE_POSITION = (JOB_OWNER.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
READY_AGAIN = {
    "state": QUEUED,
    "queue_state": READY,
    "scheduled_at": func.now(),
    "code": null(),
    "message": null(),
}


def _scan(condition: ColumnElement[bool], may_go: ColumnElement[bool]) -> Select[uuid.UUID, bool, bool]:
    """The next batches that have such jobs, whether each may continue, and whether it is cancelled."""
    scan = loose_index_scan(JOBS.c.batch_id, condition)
    return (
        select(BATCHES.c.id, and_(not_(IS_BLOCKED), may_go), IS_CANCELLED)
        .join_from(scan, BATCHES, BATCHES.c.id == scan.c.batch_id)
        .order_by(BATCHES.c.id)
    )


# All virtual starts of a batch are shifted by the same amount: what the virtual time advanced meanwhile.
FIRST_VIRTUAL_START = select(func.min(JOBS.c.virtual_start)).where(
    JOBS.c.batch_id == BATCH, WAITS_FOR_ITS_BATCH
)
SHIFT = (
    update(BATCHES)
    .where(IS_GIVEN_BATCH, BATCHES.c.virtual_shift.is_(None))
    .values(
        virtual_shift=func.greatest(
            virtual_time_of(BATCHES.c.producer_id) - FIRST_VIRTUAL_START.scalar_subquery(), 0.0
        )
    )
)
END_SHIFT = (
    update(BATCHES)
    .where(IS_GIVEN_BATCH)
    .values(
        last_virtual_start=BATCHES.c.last_virtual_start + func.coalesce(BATCHES.c.virtual_shift, 0.0),
        virtual_shift=null(),
    )
)


def _first(condition: ColumnElement[bool]) -> Select[uuid.UUID]:
    first = select(JOBS.c.id).where(JOBS.c.batch_id == BATCH, condition).order_by(JOBS.c.virtual_start)
    # A cancellation locks some of them, in another order.
    return first.with_for_update(skip_locked=True)


def _unblock() -> Update:
    first = _first(WAITS_FOR_ITS_BATCH).limit(MOST_UNBLOCKED)
    return (
        update(JOBS)
        .where(
            is_among(JOBS.c.id, first),
            IS_BLOCKED_BY_BATCH,
            IS_GIVEN_BATCH,
            not_(IS_BLOCKED),
            JOBS.c.batch_id == BATCHES.c.id,
        )
        .values(
            virtual_start=JOBS.c.virtual_start + func.coalesce(BATCHES.c.virtual_shift, 0.0), **READY_AGAIN
        )
        .returning(*QUEUE_POSITION)
    )


def _unblock_within_budget() -> Update:
    """Unblock as many jobs as the budget has free credits, behind the batch's last job like new jobs."""
    # The credit of an open call is in `spent` already.
    open_call = select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.ended_at.is_(None))
    unfinished = (
        select(JOBS.c.id)
        .where(
            JOBS.c.batch_id == BATCH,
            JOBS.c.state.in_([QUEUED, RUNNING]),
            JOBS.c.step == CALL_STEP,
            not_(open_call.exists()),
        )
        .limit(MOST_UNBLOCKED)
        .subquery()
    )
    credits_left = func.least(
        func.coalesce(BATCHES.c.budget - BATCHES.c.spent, MOST_UNBLOCKED), MOST_UNBLOCKED
    )
    room = credits_left - select(func.count()).select_from(unfinished).scalar_subquery()
    may_go = select(func.greatest(room, 0)).where(IS_GIVEN_BATCH, not_(IS_BLOCKED)).scalar_subquery()
    first = (
        _first(IS_OVER_BUDGET).add_columns(JOBS.c.virtual_start).limit(func.coalesce(may_go, 0)).subquery()
    )
    going = select(
        first.c.id,
        func.row_number().over(order_by=first.c.virtual_start).label("n"),
        func.count().over().label("jobs"),
    ).cte("going")
    jobs = select(func.count()).select_from(going).scalar_subquery()
    behind = (
        update(BATCHES)
        .where(IS_GIVEN_BATCH, select(going.c.id).exists())
        .values(
            last_virtual_start=last_start(
                BATCHES.c.last_virtual_start, BATCHES.c.producer_id, jobs, BATCHES.c.weight
            )
        )
        .returning(BATCHES.c.id, BATCHES.c.last_virtual_start, BATCHES.c.weight)
        .cte("behind")
    )
    return (
        update(JOBS)
        .where(JOBS.c.id == going.c.id, IS_BLOCKED_BY_BATCH, JOBS.c.batch_id == behind.c.id)
        .values(
            virtual_start=start_before(
                behind.c.last_virtual_start, going.c.jobs - going.c.n, behind.c.weight
            ),
            **READY_AGAIN,
        )
        .returning(*QUEUE_POSITION)
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """Blocked jobs that are unblocked by one rule, and the statements for them."""

    scan: Select[uuid.UUID, bool, bool]
    unblock: Update
    some: Select[uuid.UUID]
    are_shifted: bool


BLOCKED_BY_BATCH = _Kind(
    _scan(WAITS_FOR_ITS_BATCH, true()),
    _unblock(),
    _first(WAITS_FOR_ITS_BATCH).limit(MOST_UNBLOCKED),
    are_shifted=True,
)
WITHOUT_CREDITS = _Kind(
    _scan(IS_OVER_BUDGET, HAS_CREDITS),
    _unblock_within_budget(),
    _first(IS_OVER_BUDGET).limit(MOST_UNBLOCKED),
    are_shifted=False,
)


class _Round:
    """A scan through all batches that have blocked jobs of a kind, some batches at a time.

    A batch with more jobs than are unblocked at once continues beside the batches that the scan comes to:
    there may be many others whose jobs stay blocked.
    """

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind
        self._after = NIL
        self._unfinished: list[uuid.UUID] = []

    def unblock(self, database: Database, watermarks: QueueWatermarks | None) -> int:
        half = MOST_BATCHES // 2
        begun, later = self._unfinished[:half], self._unfinished[half:]
        allowed, cancelled = self._next(database, MOST_BATCHES - len(begun))
        self._unfinished = later
        moved = sum(self._cancel(database, batch_id) for batch_id in cancelled)
        now = dict.fromkeys(begun + [batch_id for batch_id in allowed if batch_id not in later])
        return moved + sum(self._unblock(database, batch_id, watermarks) for batch_id in now)

    def _next(self, database: Database, most: int) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
        """The next batches whose jobs may continue, and those that are cancelled; at most `most` of both."""
        rows = database.execute(self._kind.scan, {"after": self._after, "most": MOST_READ}).all()
        moving = [
            (batch_id, is_cancelled) for batch_id, may_go, is_cancelled in rows if may_go or is_cancelled
        ]
        if len(moving) > most:
            moving = moving[:most]
            self._after = moving[-1][0]
        else:
            self._after = rows[-1][0] if len(rows) == MOST_READ else NIL
        allowed = [batch_id for batch_id, cancelled in moving if not cancelled]
        return allowed, [batch_id for batch_id, cancelled in moving if cancelled]

    def _cancel(self, database: Database, batch_id: uuid.UUID) -> int:
        return cancel_all(database, database.scalars(self._kind.some, {"batch": batch_id}).all())

    def _unblock(self, database: Database, batch_id: uuid.UUID, watermarks: QueueWatermarks | None) -> int:
        moved = _unblock_some(database, batch_id, self._kind, watermarks)
        if moved == MOST_UNBLOCKED:
            self._unfinished.append(batch_id)
        return moved


def _unblock_some(
    database: Database, batch_id: uuid.UUID, kind: _Kind, watermarks: QueueWatermarks | None = None
) -> int:
    parameters = {"batch": batch_id}
    if kind.are_shifted:
        database.execute(SHIFT, parameters)
    rows = database.execute(kind.unblock, parameters).all()
    moved = len(rows)
    if watermarks is not None:
        watermarks.added(rows)
    if kind.are_shifted and moved < MOST_UNBLOCKED:
        database.execute(END_SHIFT, parameters)
    return moved


def unblock_batch(database: Database, batch_id: uuid.UUID, *, over_budget: bool) -> int:
    """Make jobs of one batch ready that may continue now, at most MOST_UNBLOCKED; returns how many."""
    return _unblock_some(database, batch_id, WITHOUT_CREDITS if over_budget else BLOCKED_BY_BATCH)


class Unblocker:
    """The position of a dispatcher in its scan; another dispatcher begins at the first batch."""

    def __init__(self) -> None:
        self._rounds = [_Round(BLOCKED_BY_BATCH), _Round(WITHOUT_CREDITS)]

    def unblock(self, database: Database, watermarks: QueueWatermarks | None = None) -> int:
        """Make jobs ready whose batch allows it now; returns how many were moved.

        Jobs of a batch that was cancelled meanwhile are cancelled. Jobs blocked by their batch come in behind
        the ready jobs; jobs over a budget behind the rest of their batch, within its budget.
        """
        return sum(each.unblock(database, watermarks) for each in self._rounds)


def unblock(database: Database) -> int:
    """Run one step of an Unblocker, from the first batch on."""
    return Unblocker().unblock(database)
