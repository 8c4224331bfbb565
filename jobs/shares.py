"""Each producer's share of the calls: who is next across producers, whatever stands in each one's own line.

A producer's virtual time is its turns divided by its share; the smallest is served first, so that those with
jobs in line share evenly, however many jobs or batches each has. A priority is worth LEAD calls: so many
interactive jobs go before the normal ones of others, and then their producer waits for its turn as they do.
`docs/decisions/0023-shares-by-producer.md` has the rule.
"""

from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    Double,
    Insert,
    Integer,
    Select,
    Update,
    Uuid,
    all_,
    and_,
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

from jobs.models import JOBS, LINE, PRODUCERS, SHARES, constant
from jobs.models.columns import OWNER
from jobs.states import Priority, Standing, Step

# Calls that one step of priority is worth to a producer of share 1, across producers.
LEAD = 10
# A producer that could not be served has no more than this to make up for: the most that priorities delay it.
MOST_LAG = float(LEAD * (max(Priority) + 1))

IN_LINE = constant(Standing.IN_LINE)
CALL = constant(Step.CALL)
COUNT = bindparam("count", type_=Integer)
# Whose line a job stands in; the nil UUID stands for jobs without a producer.
OWNER_OF_JOB = literal_column(OWNER.replace("producer_id", "jobs.producer_id"), Uuid)
NIL = literal_column(OWNER.removeprefix("COALESCE(producer_id, ").removesuffix(")"), Uuid)
WAITS_FOR_A_CALL = and_(JOBS.c.standing == IN_LINE, JOBS.c.step == CALL)


def present_of(producer_id: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[float]:
    """The place that a producer's line has come to: new jobs stand behind it."""
    its = select(SHARES.c.present).where(SHARES.c.owner == func.coalesce(producer_id, NIL))
    return func.coalesce(its.correlate_except(SHARES).scalar_subquery(), literal_column("0"))


def line_of(owner: ColumnElement[Any]) -> Select[Any]:
    """Jobs in line for a call of one owner, in order, read from the index."""
    return (
        select(JOBS.c.id)
        .where(WAITS_FOR_A_CALL, owner == OWNER_OF_JOB)
        .order_by(JOBS.c.priority, JOBS.c.place)
        .correlate_except(JOBS)
    )


def owners_in_line() -> CTE:
    """Who has a job in line for a call, and the best priority of each.

    A step of the index for each, however many jobs one has there.
    """
    first = (
        select(OWNER_OF_JOB.label("owner"), JOBS.c.priority)
        .where(WAITS_FOR_A_CALL)
        .order_by(OWNER_OF_JOB, JOBS.c.priority, JOBS.c.place)
        .limit(1)
    )
    owners = select(first.subquery("first_owner")).cte("owners", recursive=True)
    following = first.where(owners.c.owner < OWNER_OF_JOB).correlate_except(JOBS).lateral("next_owner")
    return owners.union_all(select(following).join_from(owners, following, true()))


def may_be_served() -> CTE:
    """Owners with jobs in line that are not suspended, with their weight and virtual time.

    Whoever was idle begins at the line's virtual time: nobody saves calls up.
    """
    owners = owners_in_line()
    present = select(LINE.c.virtual_time).scalar_subquery()
    return (
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


def _key(served: CTE, priority: ColumnElement[int], before: ColumnElement[int] | int) -> ColumnElement[float]:
    return served.c.virtual_time + before / served.c.weight + priority * LEAD


def turns(served: CTE, besides: BindParameter[Any] | None = None) -> CTE:
    """How many of the next `count` calls each owner gets, without those in the array `besides`.

    Only those that come first with their first job can have any of them, and with `count` of these none has a
    job behind the last one's: not more of the lines is read than that.
    """
    key = _key(served, served.c.priority, literal(0, Integer))
    which = true() if besides is None else served.c.owner != all_(besides)
    by_key = select(served, key.label("key")).where(which).order_by(key, served.c.owner)
    first = by_key.limit(COUNT).cte("first")
    last = select(case((func.count() >= COUNT, func.max(first.c.key)))).scalar_subquery()
    most = func.least(COUNT, func.floor((last - first.c.key) * first.c.weight) + 1)
    near = line_of(first.c.owner).with_only_columns(JOBS.c.priority).limit(COUNT).subquery("near")
    some = select(near).limit(most.cast(Integer)).lateral("some")
    before = func.row_number().over(partition_by=first.c.owner, order_by=some.c.priority) - 1
    taken = (
        select(first.c.owner)
        .join_from(first, some, true())
        .order_by(_key(first, some.c.priority, before), first.c.owner)
        .limit(COUNT)
        .subquery("taken")
    )
    return select(taken.c.owner, func.count().label("jobs")).group_by(taken.c.owner).cte("turns")


def next_in_line(served: CTE, besides: BindParameter[Any] | None = None) -> Select[Any]:
    """The next `count` jobs in line, locked; one that somebody else has locked is passed over."""
    its = turns(served, besides)
    # The inner limit is a number that the planner knows; rows are locked as the outer one asks for them.
    line = line_of(its.c.owner).add_columns(JOBS.c.priority, JOBS.c.place, JOBS.c.source)
    some = line.limit(COUNT).with_for_update(skip_locked=True).subquery("locked")
    locked = select(some).limit(its.c.jobs).lateral("its_next")
    return select(locked, its.c.owner).select_from(its).join(locked, true())


def in_turn(served: CTE, handed: CTE) -> Select[Any]:
    """Ids and fences of what was handed out, in the order of its owners' turns."""
    before = func.row_number().over(partition_by=handed.c.owner, order_by=(handed.c.priority, handed.c.place))
    return (
        select(handed.c.id, handed.c.fence)
        .join_from(handed, served, served.c.owner == handed.c.owner)
        .order_by(_key(served, handed.c.priority, before), handed.c.owner)
    )


def charge(served: CTE, went: CTE) -> Insert:
    """Count what had a turn against its owners' shares.

    `went` has each one's jobs, and the furthest place that went out.
    """
    new = insert(SHARES).from_select(
        ["owner", "virtual_time", "present"],
        select(
            served.c.owner,
            served.c.virtual_time + went.c.jobs / served.c.weight,
            func.coalesce(went.c.furthest, literal_column("0")),
        ).join_from(served, went, went.c.owner == served.c.owner),
    )
    return new.on_conflict_do_update(
        index_elements=["owner"],
        set_={
            "virtual_time": new.excluded.virtual_time,
            "present": func.greatest(SHARES.c.present, new.excluded.present),
        },
    )


def pass_time(served: CTE, went: CTE) -> Update:
    """Move the line's virtual time on to that of whoever had least; who cannot be served does not stop it."""
    virtual_time = served.c.virtual_time + func.coalesce(went.c.jobs, 0) / served.c.weight
    least = (
        select(func.greatest(func.min(virtual_time), func.max(virtual_time) - MOST_LAG))
        .join_from(served, went, went.c.owner == served.c.owner, isouter=True)
        .scalar_subquery()
    )
    return update(LINE).values(virtual_time=func.greatest(LINE.c.virtual_time, least))
