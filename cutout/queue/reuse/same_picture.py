"""Jobs that wait for another one, which buys the cutout of the same picture.

Nothing tells them that it is done: the dispatcher walks an index of those that are waited for, some of them
a tick, and asks each buyer's own row. So no end of a buyer is missed, and no twin that began to wait a moment
too late.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    SmallInteger,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    not_,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)

from cutout.enums import QueueState, State, Step
from cutout.models import JOBS, constant
from cutout.models.database import Database
from cutout.models.query_parts import walk_of
from cutout.producers.producers import PRODUCER_IS_SUSPENDED, is_suspended
from cutout.queue.blocks.conditions import BATCH_IS_BLOCKED
from cutout.queue.blocks.download_limit import is_on_the_web
from cutout.queue.index_marks import LineMarks
from cutout.queue.queue_walk import OWNER_OF_JOB

# Buyers that one tick looks at, twins of one of them that are moved at once, and of all in one tick.
MOST_LOOKED_AT = 200
MOST_WOKEN = 1000
MOST_MOVED = 5000
NIL = uuid.UUID(int=0)

WAITING = constant(QueueState.WAITING)
IS_WAITING = JOBS.c.queue_state == WAITING
IS_ANY_WAITING = select(JOBS.c.id).where(IS_WAITING).exists()
BUYER = bindparam("buyer", type_=Uuid)


def is_under_way(table: Any) -> ColumnElement[bool]:
    """Whether a job buys what others wait for: cutout.queue.acquire_result asks the same of a result's buyer.

    A suspended producer's does not buy, unless it is running or paid for.
    """
    gave_up = table.c.queue_state.in_(
        [WAITING, constant(QueueState.BLOCKED), constant(QueueState.SOURCE_LIMIT)]
    )
    buys = or_(table.c.step == constant(Step.COPY), not_(is_suspended(table.c.producer_id)))
    return and_(
        table.c.state.in_([constant(State.QUEUED), constant(State.RUNNING)]),
        or_(table.c.queue_state.is_(None), and_(not_(gave_up), buys)),
    )


THE_BUYER = JOBS.alias("the_buyer")
IT_IS_UNDER_WAY = select(THE_BUYER.c.id).where(THE_BUYER.c.id == BUYER, is_under_way(THE_BUYER)).exists()
IT_SUCCEEDED = (
    select(THE_BUYER.c.id)
    .where(THE_BUYER.c.id == BUYER, THE_BUYER.c.state == constant(State.SUCCEEDED))
    .exists()
)


def _walk() -> Select[*tuple[Any, ...]]:
    """The next buyers that are waited for: whether each is under way, and the best of its twins' virtual_starts."""
    walk = walk_of(JOBS.c.waits_for, IS_WAITING)
    buyers = JOBS.alias("buyers")
    best = (
        select(JOBS.c.producer_id, JOBS.c.priority, JOBS.c.virtual_start)
        .where(IS_WAITING, JOBS.c.waits_for == walk.c.waits_for)
        .order_by(JOBS.c.priority, JOBS.c.virtual_start)
        .limit(1)
        .lateral("best")
    )
    # Places of two producers are in two lines: another's twin lends its priority alone.
    is_its_own = best.c.producer_id.is_not_distinct_from(buyers.c.producer_id)
    virtual_start = case((is_its_own, best.c.virtual_start), else_=buyers.c.virtual_start)
    return (
        select(
            walk.c.waits_for,
            func.coalesce(is_under_way(buyers), False).label("under_way"),
            and_(
                buyers.c.step == constant(Step.CALL),
                tuple_(best.c.priority, virtual_start) < tuple_(buyers.c.priority, buyers.c.virtual_start),
            ).label("is_behind"),
            best.c.priority,
            virtual_start.label("virtual_start"),
        )
        .select_from(walk)
        .join(best, true())
        .outerjoin(buyers, buyers.c.id == walk.c.waits_for)
        .order_by(walk.c.waits_for)
    )


BUYER_STANDS_ASIDE = (
    select(THE_BUYER.c.id)
    .where(
        THE_BUYER.c.id == BUYER,
        THE_BUYER.c.queue_state == constant(QueueState.SOURCE_LIMIT),
        THE_BUYER.c.producer_id.is_not_distinct_from(JOBS.c.producer_id),
    )
    .correlate(JOBS)
    .exists()
)
# Where a twin stands that could not buy either. To make one after the other the buyer would move all of them
# for each of them.
STANDS = case(
    (BATCH_IS_BLOCKED, constant(QueueState.BLOCKED)),
    (PRODUCER_IS_SUSPENDED, constant(QueueState.READY)),
    (and_(is_on_the_web(JOBS.c.source), BUYER_STANDS_ASIDE), constant(QueueState.SOURCE_LIMIT)),
    else_=null(),
)


def _wake() -> Update:
    """All twins of a buyer that has the cutout. Of one that does not buy it, the first of each picture.

    The others wait for that one then: only one of them can buy it, and each may fail in turn. What is kept
    back itself does not wait any more.
    """
    some = (
        select(
            JOBS.c.id,
            JOBS.c.source_sha256,
            JOBS.c.return_form,
            JOBS.c.priority,
            JOBS.c.virtual_start,
            cast(STANDS, Text).label("stands"),
        )
        .where(IS_WAITING, JOBS.c.waits_for == BUYER, not_(IT_IS_UNDER_WAY))
        .order_by(JOBS.c.priority, JOBS.c.virtual_start)
        .limit(MOST_WOKEN)
        # Whoever cancels some of them has locked them, in another order.
        .with_for_update(skip_locked=True, of=JOBS)
        .cte("some")
    )
    first = (
        func.first_value(some.c.id)
        .over(
            partition_by=[some.c.source_sha256, some.c.return_form, some.c.stands.is_(None)],
            order_by=[some.c.priority, some.c.virtual_start, some.c.id],
        )
        .label("first")
    )
    ranked = select(some.c.id, some.c.stands, first).cte("ranked")
    waits_on = and_(ranked.c.stands.is_(None), ranked.c.id != ranked.c.first, not_(IT_SUCCEEDED))
    return (
        update(JOBS)
        .where(JOBS.c.id == ranked.c.id, IS_WAITING, JOBS.c.waits_for == BUYER)
        .values(
            queue_state=case(
                (waits_on, WAITING),
                (IT_SUCCEEDED, constant(QueueState.READY)),
                else_=func.coalesce(ranked.c.stands, constant(QueueState.READY)),
            ),
            waits_for=case((waits_on, ranked.c.first), else_=JOBS.c.waits_for),
            scheduled_at=func.now(),
        )
        .returning(JOBS.c.queue_state, OWNER_OF_JOB.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
    )


WALK = _walk()
WAKE = _wake()
LEND = (
    update(JOBS)
    .where(
        JOBS.c.id == BUYER,
        is_under_way(JOBS),
        JOBS.c.step == constant(Step.CALL),
        tuple_(JOBS.c.priority, JOBS.c.virtual_start)
        > tuple_(bindparam("its_priority", type_=SmallInteger), bindparam("its_place", type_=Double)),
    )
    .values(
        priority=bindparam("its_priority", type_=SmallInteger),
        virtual_start=bindparam("its_place", type_=Double),
    )
    .returning(OWNER_OF_JOB.label("owner"), JOBS.c.priority, JOBS.c.virtual_start)
)
IS_LEFT = and_(
    IS_WAITING,
    ~select(THE_BUYER.c.id)
    .where(THE_BUYER.c.id == JOBS.c.waits_for, is_under_way(THE_BUYER))
    .correlate(JOBS)
    .exists(),
)


def promote_waiting(database: Database, buyer: uuid.UUID, lines: LineMarks | None = None) -> int:
    """Let twins go on that wait for this job, unless it buys; returns how many were moved."""
    rows = database.execute(WAKE, {"buyer": buyer}).all()
    if lines is not None:
        lines.entered(row for row in rows if row.queue_state == QueueState.READY)
    return len(rows)


def left_by_their_buyers(database: Database, most: int, job_id: uuid.UUID | None = None) -> Sequence[Any]:
    """Jobs that wait for one that does not buy any more, each with that one, and whether it is of the same
    producer: no other is told of it.
    """
    is_own = (
        select(THE_BUYER.c.id)
        .where(
            THE_BUYER.c.id == JOBS.c.waits_for,
            THE_BUYER.c.producer_id.is_not_distinct_from(JOBS.c.producer_id),
        )
        .correlate(JOBS)
        .exists()
    )
    found = select(JOBS.c.id, JOBS.c.waits_for, is_own.label("is_own")).where(IS_LEFT).limit(most)
    return database.execute(found if job_id is None else found.where(JOBS.c.id == job_id)).all()


class WaitingJobs:
    """Where a dispatcher is on its walk; another begins anew."""

    def __init__(self) -> None:
        self._after = NIL

    def look(self, database: Database, lines: LineMarks | None = None) -> int:
        """Wake whose buyer is done, give each buyer its twins' best virtual_start; returns how many moved."""
        rows = database.execute(WALK, {"after": self._after, "most": MOST_LOOKED_AT}).all()
        self._after = rows[-1].waits_for if len(rows) == MOST_LOOKED_AT else NIL
        moved, before = 0, NIL
        for row in rows:
            if moved >= MOST_MOVED:
                self._after = before
                break
            before = row.waits_for
            if not row.under_way:
                moved += promote_waiting(database, row.waits_for, lines)
            elif row.is_behind:
                lent = {"its_priority": row.priority, "its_place": row.virtual_start}
                borrowers = database.execute(LEND, {"buyer": row.waits_for} | lent).all()
                if lines is not None:
                    lines.entered(borrowers)
        return moved
