"""Each producer's share of the calls: who is next across producers, whatever stands in each one's own line.

A producer's virtual time is its turns divided by its share; the smallest is served first, so that those with
jobs in line share evenly, however many jobs or batches each has. A priority is worth LEAD calls: so many
interactive jobs go before the normal ones of others, and then their producer waits for its turn as they do.
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
    Uuid,
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
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from cutout.enums import Priority
from cutout.models import JOBS, PRODUCERS, QUEUE_CLOCK, SHARES
from cutout.models.columns import OWNER
from cutout.queue.queue_walk import OWNER_OF_JOB, WAITS_FOR_A_CALL, lines_in_line

# Calls that one step of priority is worth to a producer of share 1, across producers.
LEAD = 10
# A producer that could not be served has no more than this to make up for: the most that priorities delay it.
MOST_LAG = float(LEAD * (max(Priority) + 1))

COUNT = bindparam("count", type_=Integer)
NIL = literal_column(OWNER.removeprefix("COALESCE(producer_id, ").removesuffix(")"), Uuid)


@dataclass(frozen=True, slots=True)
class Served:
    """Who may be served: `owners` with their weight, virtual time and best priority, and their `lines`."""

    owners: CTE
    lines: CTE


def virtual_time_of(producer_id: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[float]:
    """The virtual_start that a producer's line has come to: new jobs stand behind it."""
    its = select(SHARES.c.queue_virtual_time).where(SHARES.c.owner == func.coalesce(producer_id, NIL))
    return func.coalesce(its.correlate_except(SHARES).scalar_subquery(), literal_column("0"))


def line_of(line: FromClause) -> Select[Any]:
    """Jobs of one of these lines from its first one on, in order, read from the index."""
    return (
        select(JOBS.c.id)
        .where(
            WAITS_FOR_A_CALL,
            line.c.owner == OWNER_OF_JOB,
            line.c.priority == JOBS.c.priority,
            line.c.virtual_start <= JOBS.c.virtual_start,
        )
        .order_by(JOBS.c.virtual_start)
        .correlate_except(JOBS)
    )


def may_be_served(*, marked: bool = False) -> Served:
    """Owners with jobs in line that are not suspended, with their weight and virtual time.

    Whoever was idle begins at the line's virtual time: nobody saves calls up.
    """
    lines = lines_in_line(marked=marked)
    present = select(QUEUE_CLOCK.c.virtual_time).scalar_subquery()
    best = select(lines.c.owner, func.min(lines.c.priority).label("priority")).group_by(lines.c.owner)
    owners = best.subquery("owners")
    served = (
        select(
            owners.c.owner,
            owners.c.priority,
            func.coalesce(PRODUCERS.c.share, literal_column("1")).cast(Double).label("weight"),
            func.greatest(SHARES.c.virtual_time, present).label("virtual_time"),
        )
        .select_from(owners)
        .outerjoin(SHARES, SHARES.c.owner == owners.c.owner)
        .outerjoin(PRODUCERS, PRODUCERS.c.id == owners.c.owner)
        .where(PRODUCERS.c.suspended_at.is_(None))
        .cte("served")
    )
    return Served(served, lines)


def _key(served: CTE, priority: ColumnElement[int], before: ColumnElement[int] | int) -> ColumnElement[float]:
    return served.c.virtual_time + before / served.c.weight + priority * LEAD


def turns(served: Served, besides: BindParameter[Any] | None = None) -> CTE:
    """How many of the next `count` calls each line gets, without owners in the array `besides`.

    Only owners that come first with their first job can have any of them, and with `count` of these none has
    a job behind the last one's: not more of the lines is read than that.
    """
    owners, lines = served.owners, served.lines
    key = _key(owners, owners.c.priority, literal(0, Integer))
    which = true() if besides is None else owners.c.owner != all_(besides)
    by_key = select(owners, key.label("key")).where(which).order_by(key, owners.c.owner)
    first = by_key.limit(COUNT).cte("first")
    last = select(case((func.count() >= COUNT, func.max(first.c.key)))).scalar_subquery()
    most = func.least(COUNT, func.floor((last - first.c.key) * first.c.weight) + 1)
    near = line_of(lines).with_only_columns(JOBS.c.priority).limit(COUNT).subquery("near")
    some = select(near).limit(most.cast(Integer)).lateral("some")
    before = func.row_number().over(partition_by=first.c.owner, order_by=some.c.priority) - 1
    taken = (
        select(first.c.owner, some.c.priority, lines.c.virtual_start)
        .select_from(first.join(lines, lines.c.owner == first.c.owner).join(some, true()))
        .order_by(_key(first, some.c.priority, before), first.c.owner)
        .limit(COUNT)
        .subquery("taken")
    )
    line = (taken.c.owner, taken.c.priority, taken.c.virtual_start)
    return select(*line, func.count().label("jobs")).group_by(*line).cte("turns")


def next_in_line(served: Served, besides: BindParameter[Any] | None = None) -> Select[Any]:
    """The next `count` jobs in line, locked; one that somebody else has locked is passed over."""
    its = turns(served, besides)
    # The inner limit is a number that the planner knows; rows are locked as the outer one asks for them.
    line = line_of(its).add_columns(JOBS.c.priority, JOBS.c.virtual_start, JOBS.c.source)
    some = line.limit(COUNT).with_for_update(skip_locked=True).subquery("locked")
    locked = select(some).limit(its.c.jobs).lateral("its_next")
    return select(locked, its.c.owner).select_from(its).join(locked, true())


def in_turn(served: Served, handed: CTE) -> Select[Any]:
    """Ids and fences of what was handed out, in the order of its owners' turns."""
    owners = served.owners
    before = func.row_number().over(
        partition_by=handed.c.owner, order_by=(handed.c.priority, handed.c.virtual_start)
    )
    return (
        select(handed.c.id, handed.c.fence)
        .join_from(handed, owners, owners.c.owner == handed.c.owner)
        .order_by(_key(owners, handed.c.priority, before), handed.c.owner)
    )


def charge(served: Served, went: CTE) -> Insert:
    """Count what had a turn against its owners' shares.

    `went` has each one's jobs, and the furthest virtual_start that went out.
    """
    owners = served.owners
    new = insert(SHARES).from_select(
        ["owner", "virtual_time", "queue_virtual_time"],
        select(
            owners.c.owner,
            owners.c.virtual_time + went.c.jobs / owners.c.weight,
            func.coalesce(went.c.furthest, literal_column("0")),
        ).join_from(owners, went, went.c.owner == owners.c.owner),
    )
    return new.on_conflict_do_update(
        index_elements=["owner"],
        set_={
            "virtual_time": new.excluded.virtual_time,
            "queue_virtual_time": func.greatest(SHARES.c.queue_virtual_time, new.excluded.queue_virtual_time),
        },
    )


def pass_time(served: Served, went: CTE) -> Update:
    """Move the line's virtual time on to that of whoever had least; who cannot be served does not stop it."""
    owners = served.owners
    virtual_time = owners.c.virtual_time + func.coalesce(went.c.jobs, 0) / owners.c.weight
    least = (
        select(func.greatest(func.min(virtual_time), func.max(virtual_time) - MOST_LAG))
        .join_from(owners, went, went.c.owner == owners.c.owner, isouter=True)
        .scalar_subquery()
    )
    return update(QUEUE_CLOCK).values(virtual_time=func.greatest(QUEUE_CLOCK.c.virtual_time, least))
