"""Dispatch: the next ready jobs get a fence and a lease, at a cost that does not grow with the backlog."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Interval,
    Select,
    Uuid,
    bindparam,
    case,
    func,
    not_,
    select,
    update,
)

from cutout.enums import QueueState
from cutout.models import JOBS
from cutout.models.columns import BLOCKED, COPY_STEP, DISPATCHED, READY, REUSING, SOURCE_LIMIT
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.models.query_parts import is_among
from cutout.queue.blocks.block import block_behind
from cutout.queue.blocks.conditions import BATCH_IS_BLOCKED
from cutout.queue.blocks.download_limit import Downloads, over_limit
from cutout.queue.producer_shares import (
    advance_virtual_time,
    charge,
    eligible_owners,
    in_dispatch_order,
    next_jobs,
)
from cutout.queue.queue_scan import JOB_OWNER
from cutout.queue.queue_watermarks import QueueWatermarks
from cutout.queue.reuse.serve_reused import IS_BOUGHT, NO_REUSE, Dispatched, ReuseScope

MOST_ROUNDS = 5

# Owners that get no call in this statement.
WITHOUT = bindparam("without", type_=ARRAY(Uuid))

BOTH = (False, True)

READY_COPIES = (
    select(JOBS.c.id)
    .where(JOBS.c.queue_state == READY, JOBS.c.step == COPY_STEP)
    .order_by(JOBS.c.result_expires_at)
)
# While the bucket is down: results that expire soon and are not in the lifeboat yet.
EXPIRING_COPIES = READY_COPIES.where(
    JOBS.c.result_expires_at <= func.now() + bindparam("expiring_within", type_=Interval),
    JOBS.c.lifeboat_key.is_(None),
)


def _dispatched(
    chosen: Select[Any], queue_state: ColumnElement[str], *conditions: ColumnElement[bool]
) -> CTE:
    return (
        update(JOBS)
        .where(is_among(JOBS.c.id, chosen), *conditions)
        .values(
            queue_state=queue_state,
            fence=JOBS.c.fence + 1,
            scheduled_at=func.now() + bindparam("lease", type_=Interval),
        )
        .returning(
            JOBS.c.id,
            JOBS.c.fence,
            JOBS.c.queue_state,
            JOBS.c.priority,
            JOBS.c.virtual_start,
            JOBS.c.batch_id,
            JOBS.c.result_expires_at,
            JOB_OWNER.label("owner"),
        )
        .cte("dispatched")
    )


def _calls(*, marked: bool, bounded: bool) -> Select[uuid.UUID, int, str, uuid.UUID]:
    """The next jobs. Jobs of blocked batches are blocked instead, and jobs over their producer's bound on
    downloads go to `source_limit`.

    All of them are charged to their producer. Without that, a producer whose jobs cannot go would stay the
    first, and the others would get no calls until all these jobs are out of the queue.
    """
    eligible = eligible_owners(marked=marked)
    chosen = next_jobs(eligible, without=WITHOUT).cte("chosen")
    dispatched = _dispatched(
        select(chosen.c.id),
        case(
            (BATCH_IS_BLOCKED, BLOCKED),
            (IS_BOUGHT, REUSING),
            *([(is_among(JOBS.c.id, over_limit(chosen)), SOURCE_LIMIT)] if bounded else []),
            else_=DISPATCHED,
        ),
    )
    totals = (
        select(
            dispatched.c.owner,
            func.count().label("jobs"),
            func.max(dispatched.c.virtual_start)
            .filter(dispatched.c.queue_state.in_([DISPATCHED, REUSING]))
            .label("furthest"),
        )
        .group_by(dispatched.c.owner)
        .cte("totals")
    )
    return (
        in_dispatch_order(eligible, dispatched)
        .add_columns(
            dispatched.c.queue_state, dispatched.c.owner, dispatched.c.priority, dispatched.c.virtual_start
        )
        .add_cte(charge(eligible, totals).cte("charged"), advance_virtual_time(eligible, totals).cte("time"))
    )


def _copies(ready: Select[uuid.UUID]) -> Select[uuid.UUID, int]:
    first = ready.limit(bindparam("count")).with_for_update(skip_locked=True)
    dispatched = _dispatched(first, DISPATCHED)
    return select(dispatched.c.id, dispatched.c.fence).order_by(dispatched.c.result_expires_at)


def _reused(*, marked: bool) -> Select[uuid.UUID, int]:
    """The jobs among the next ones that need no call.

    Virtual time does not advance: jobs skipped here would sort behind jobs that are enqueued later.
    """
    eligible = eligible_owners(marked=marked)
    chosen = next_jobs(eligible).cte("chosen")
    dispatched = _dispatched(select(chosen.c.id), REUSING, IS_BOUGHT, not_(BATCH_IS_BLOCKED))
    return in_dispatch_order(eligible, dispatched).add_columns(
        dispatched.c.owner, dispatched.c.priority, dispatched.c.virtual_start
    )


# By whether queues have watermarks, and whether a producer's bound on downloads may apply.
DISPATCH_CALLS = {
    (marked, bounded): Compiled(_calls(marked=marked, bounded=bounded)) for marked in BOTH for bounded in BOTH
}
DISPATCH_REUSED = {marked: Compiled(_reused(marked=marked)) for marked in BOTH}
DISPATCH_COPIES = _copies(READY_COPIES)
DISPATCH_EXPIRING = _copies(EXPIRING_COPIES)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Dispatched jobs: those for a call, and those to be served from a cutout bought before.

    Publish them after the commit. Jobs that are not claimed become ready after their lease.
    """

    calls: Dispatched
    reused: Dispatched


def dispatch(
    database: Database,
    count: int,
    *,
    lease: timedelta,
    reuse_scope: ReuseScope | None = None,
    reuse_room: int = 0,
    downloads: Callable[[], Downloads] | None = None,
    watermarks: QueueWatermarks | None = None,
) -> Dispatch:
    """Dispatch the next jobs, by their producers' shares, until `count` of them are for a call.

    Jobs for which `reuse_scope` has a cutout are taken on the way, up to `reuse_room` of them and what comes
    with the last round. Jobs of blocked batches are blocked. `downloads` is called before each round: jobs
    over their producer's bound go to `source_limit`, and the producer gets no call in a further round. After
    MOST_ROUNDS fewer jobs may be taken than there are.
    """
    taken = Dispatch([], [])
    without: set[uuid.UUID] = set()
    watermarks = QueueWatermarks() if watermarks is None else watermarks
    reuse = reuse_scope.as_parameters() if reuse_scope else NO_REUSE
    for _ in range(MOST_ROUNDS):
        left = count - len(taken.calls)
        limits = downloads() if downloads is not None else None
        parameters = {"count": left, "lease": lease, "without": list(without), **reuse}
        if is_bounded := limits is not None and limits.may_bind(left):
            parameters |= limits.as_parameters()
        statement = DISPATCH_CALLS[watermarks.are_set, is_bounded]
        rows = statement.rows(database, parameters | watermarks.as_parameters())
        watermarks.removed(rows)
        calls, reused = (
            [(row.id, row.fence) for row in rows if row.queue_state == queue_state]
            for queue_state in (QueueState.DISPATCHED, QueueState.REUSING)
        )
        taken.calls.extend(calls)
        taken.reused.extend(reused)
        if len(calls) == len(rows) or len(taken.calls) == count:
            break
        without |= {row.owner for row in rows if row.queue_state == QueueState.SOURCE_LIMIT}
        if reused:
            if len(taken.reused) >= reuse_room:
                break
            more = {"count": reuse_room - len(taken.reused), "lease": lease, **reuse}
            bought = DISPATCH_REUSED[watermarks.are_set].rows(database, more | watermarks.as_parameters())
            watermarks.removed(bought)
            taken.reused.extend((row.id, row.fence) for row in bought)
        blocked = [row for row in rows if row.queue_state == QueueState.BLOCKED]
        watermarks.removed(block_behind(database, blocked))
    return taken


def dispatch_calls(database: Database, count: int, *, lease: timedelta) -> Dispatched:
    """Dispatch the next `count` jobs for a call each, whatever was bought before."""
    return dispatch(database, count, lease=lease).calls


def dispatch_copies(
    database: Database, count: int, *, lease: timedelta, expiring_within: timedelta | None = None
) -> Dispatched:
    """Dispatch the first `count` ready jobs for a copy, by their results' expiry.

    With `expiring_within`, while the bucket is down: only those that expire so soon and are not in the
    lifeboat.
    """
    parameters: dict[str, Any] = {"count": count, "lease": lease}
    if expiring_within is None:
        rows = database.execute(DISPATCH_COPIES, parameters)
    else:
        rows = database.execute(DISPATCH_EXPIRING, parameters | {"expiring_within": expiring_within})
    return [(row.id, row.fence) for row in rows]
