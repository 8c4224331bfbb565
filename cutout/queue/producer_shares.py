"""Fair queueing across producers: the queues that get the next calls.

A producer's virtual time is the number of its dispatched jobs divided by its share. The producer with the
smallest one is served first, so producers with ready jobs share evenly, however many jobs or batches each
has. One step of priority is worth LEAD calls: so many interactive jobs go before the normal jobs of other
producers, and then their producer waits like the others.
`docs/decisions/0023-share-calls-by-producer-first.md` has the rule.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    Double,
    FromClause,
    Insert,
    Integer,
    Select,
    Update,
    all_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import ColumnElement

from cutout.enums import Priority
from cutout.models import JOBS, PRODUCERS, QUEUE_CLOCK, SHARES
from cutout.queue.queue_scan import IS_READY_FOR_CALL, JOB_OWNER, nonempty_queues

# Calls that one step of priority is worth to a producer of share 1, across producers.
LEAD = 10
# The most that a producer that could not be served has to catch up: the most that priorities delay it.
MOST_LAG = float(LEAD * (max(Priority) + 1))

COUNT = bindparam("count", type_=Integer)


@dataclass(frozen=True, slots=True)
class EligibleOwners:
    """Owners that may be served: their weight, virtual time and best priority; and their `queues`."""

    owners: CTE
    queues: CTE


def jobs_in_queues(queues: FromClause) -> Select[Any]:
    """Ids of the ready jobs of each of these queues from its first job on, in order, read from the index."""
    return (
        select(JOBS.c.id)
        .where(
            IS_READY_FOR_CALL,
            queues.c.owner == JOB_OWNER,
            queues.c.priority == JOBS.c.priority,
            queues.c.virtual_start <= JOBS.c.virtual_start,
        )
        .order_by(JOBS.c.virtual_start)
        .correlate_except(JOBS)
    )


def eligible_owners(*, marked: bool = False) -> EligibleOwners:
    """Owners with ready jobs that are not suspended, with their weight and virtual time.

    An owner that was idle begins at the global virtual time: nobody saves calls up.
    """
    queues = nonempty_queues(marked=marked)
    virtual_time = select(QUEUE_CLOCK.c.virtual_time).scalar_subquery()
    best = select(queues.c.owner, func.min(queues.c.priority).label("priority")).group_by(queues.c.owner)
    owners = best.subquery("owners")
    eligible = (
        select(
            owners.c.owner,
            owners.c.priority,
            func.coalesce(PRODUCERS.c.share, literal_column("1")).cast(Double).label("weight"),
            func.greatest(SHARES.c.virtual_time, virtual_time).label("virtual_time"),
        )
        .select_from(owners)
        .outerjoin(SHARES, SHARES.c.owner == owners.c.owner)
        .outerjoin(PRODUCERS, PRODUCERS.c.id == owners.c.owner)
        .where(PRODUCERS.c.suspended_at.is_(None))
        .cte("eligible")
    )
    return EligibleOwners(eligible, queues)


def _virtual_time_after(owners: CTE, jobs: ColumnElement[Any]) -> ColumnElement[float]:
    time: ColumnElement[float] = owners.c.virtual_time + jobs / owners.c.weight
    return time


def _sort_key(owners: CTE, priority: ColumnElement[int], before: ColumnElement[int]) -> ColumnElement[float]:
    """The order of dispatch: the owner's virtual time after `before` more of its jobs, and the priority."""
    return _virtual_time_after(owners, before) + priority * LEAD


def allot(eligible: EligibleOwners, without: BindParameter[Any] | None = None) -> CTE:
    """Allot the next `count` calls to the queues; owners in the array `without` get none.

    Only the `count` owners whose first job sorts first can get any, and none of their jobs can get one that
    sorts behind the last of these first jobs: no more of the queues is read than that.
    """
    owners, queues = eligible.owners, eligible.queues
    key = _sort_key(owners, owners.c.priority, literal(0, Integer))
    is_allowed = true() if without is None else owners.c.owner != all_(without)
    by_key = select(owners, key.label("key")).where(is_allowed).order_by(key, owners.c.owner)
    first = by_key.limit(COUNT).cte("first")
    last = select(case((func.count() >= COUNT, func.max(first.c.key)))).scalar_subquery()
    most = func.least(COUNT, func.floor((last - first.c.key) * first.c.weight) + 1)
    near = jobs_in_queues(queues).with_only_columns(JOBS.c.priority).limit(COUNT).subquery("near")
    some = select(near).limit(most.cast(Integer)).lateral("some")
    before = func.row_number().over(partition_by=first.c.owner, order_by=some.c.priority) - 1
    taken = (
        select(first.c.owner, some.c.priority, queues.c.virtual_start)
        .select_from(first.join(queues, queues.c.owner == first.c.owner).join(some, true()))
        .order_by(_sort_key(first, some.c.priority, before), first.c.owner)
        .limit(COUNT)
        .subquery("taken")
    )
    queue = (taken.c.owner, taken.c.priority, taken.c.virtual_start)
    return select(*queue, func.count().label("jobs")).group_by(*queue).cte("allotted")


def next_jobs(eligible: EligibleOwners, without: BindParameter[Any] | None = None) -> Select[Any]:
    """The next `count` ready jobs, locked; jobs locked by another transaction are skipped."""
    allotted = allot(eligible, without)
    # The inner limit is a number that the planner knows; rows are locked as the outer one asks for them.
    jobs = jobs_in_queues(allotted).add_columns(JOBS.c.priority, JOBS.c.virtual_start, JOBS.c.source)
    some = jobs.limit(COUNT).with_for_update(skip_locked=True).subquery("locked")
    locked = select(some).limit(allotted.c.jobs).lateral("next_of_queue")
    return select(locked, allotted.c.owner).select_from(allotted).join(locked, true())


def in_dispatch_order(eligible: EligibleOwners, dispatched: CTE) -> Select[Any]:
    """Ids and fences of the dispatched jobs, sorted by owner's virtual time and priority."""
    owners = eligible.owners
    before = func.row_number().over(
        partition_by=dispatched.c.owner, order_by=(dispatched.c.priority, dispatched.c.virtual_start)
    )
    return (
        select(dispatched.c.id, dispatched.c.fence)
        .join_from(dispatched, owners, owners.c.owner == dispatched.c.owner)
        .order_by(_sort_key(owners, dispatched.c.priority, before), dispatched.c.owner)
    )


def charge(eligible: EligibleOwners, totals: CTE) -> Insert:
    """Add the taken jobs to their owners' virtual times.

    `totals` has for each owner its jobs, and the last virtual_start that was dispatched as `furthest`.
    """
    owners = eligible.owners
    new = insert(SHARES).from_select(
        ["owner", "virtual_time", "queue_virtual_time"],
        select(
            owners.c.owner,
            _virtual_time_after(owners, totals.c.jobs),
            func.coalesce(totals.c.furthest, literal_column("0")),
        ).join_from(owners, totals, totals.c.owner == owners.c.owner),
    )
    return new.on_conflict_do_update(
        index_elements=["owner"],
        set_={
            "virtual_time": new.excluded.virtual_time,
            "queue_virtual_time": func.greatest(SHARES.c.queue_virtual_time, new.excluded.queue_virtual_time),
        },
    )


def advance_virtual_time(eligible: EligibleOwners, totals: CTE) -> Update:
    """Move the global virtual time to the smallest of the owners', at most MOST_LAG behind the largest."""
    owners = eligible.owners
    virtual_time = _virtual_time_after(owners, func.coalesce(totals.c.jobs, 0))
    least = (
        select(func.greatest(func.min(virtual_time), func.max(virtual_time) - MOST_LAG))
        .join_from(owners, totals, totals.c.owner == owners.c.owner, isouter=True)
        .scalar_subquery()
    )
    return update(QUEUE_CLOCK).values(virtual_time=func.greatest(QUEUE_CLOCK.c.virtual_time, least))
