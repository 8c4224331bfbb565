"""Jobs out of the line because of their batch. They come back as soon as the batch's own facts say so.

Nothing marks a batch that has such jobs: an index of parked jobs is walked by batch, some of them a tick.
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

from cutout.enums import Standing, State, Step
from cutout.models import ATTEMPTS, BATCHES, JOBS, constant
from cutout.models.database import Database
from cutout.models.query_parts import is_among, walk_of
from cutout.queue.actions import cancel_all
from cutout.queue.blocks.conditions import BLOCKED, IS_CANCELLED
from cutout.queue.index_marks import LineMarks
from cutout.queue.producer_shares import present_of
from cutout.queue.queue_walk import OWNER_OF_JOB

# Batches with parked jobs that one tick looks at; of those that may go on, so many a tick, half of them begun
# by one before if there are as many.
MOST_LOOKED_AT = 200
MOST_BATCHES = 10
MOST_BROUGHT_BACK = 1000
OVER_BUDGET = literal_column("'OVER_BUDGET'", Text)
NIL = uuid.UUID(int=0)

IN_LINE = constant(Standing.IN_LINE)
QUEUED = constant(State.QUEUED)
IS_PARKED = JOBS.c.standing == constant(Standing.PARKED)
# Each of these two has a partial index of its own, which the planner knows by these very words.
IS_OVER_BUDGET = and_(IS_PARKED, JOBS.c.code == OVER_BUDGET)
WAITS_FOR_ITS_BATCH = and_(IS_PARKED, JOBS.c.code.is_distinct_from(OVER_BUDGET))
IS_ANY_PARKED = or_(
    select(JOBS.c.id).where(IS_OVER_BUDGET).exists(), select(JOBS.c.id).where(WAITS_FOR_ITS_BATCH).exists()
)

HAS_CREDITS = or_(BATCHES.c.budget.is_(None), BATCHES.c.spent < BATCHES.c.budget)
BATCH = bindparam("batch", type_=Uuid)
THE_BATCH = BATCHES.c.id == BATCH
PRESENT = present_of(BATCHES.c.producer_id)
STANDS = (OWNER_OF_JOB.label("owner"), JOBS.c.priority, JOBS.c.place)
BACK = {
    "state": QUEUED,
    "standing": IN_LINE,
    "scheduled_at": func.now(),
    "code": null(),
    "message": null(),
}


def _walk(which: ColumnElement[bool], may_go: ColumnElement[bool]) -> Select[uuid.UUID, bool, bool]:
    """The next batches that have such jobs, whether each may go on, and whether it is cancelled."""
    walk = walk_of(JOBS.c.batch_id, which)
    return (
        select(BATCHES.c.id, and_(not_(BLOCKED), may_go), IS_CANCELLED)
        .join_from(walk, BATCHES, BATCHES.c.id == walk.c.batch_id)
        .order_by(BATCHES.c.id)
    )


# Their places are moved by what the line went on while they were away, all of one batch by the same.
FIRST_PLACE = select(func.min(JOBS.c.place)).where(JOBS.c.batch_id == BATCH, WAITS_FOR_ITS_BATCH)
SHIFT = (
    update(BATCHES)
    .where(THE_BATCH, BATCHES.c.shift.is_(None))
    .values(shift=func.greatest(PRESENT - FIRST_PLACE.scalar_subquery(), 0.0))
)
ALL_BACK = (
    update(BATCHES)
    .where(THE_BATCH)
    .values(last_place=BATCHES.c.last_place + func.coalesce(BATCHES.c.shift, 0.0), shift=null())
)


def _first(which: ColumnElement[bool]) -> Select[uuid.UUID]:
    its = select(JOBS.c.id).where(JOBS.c.batch_id == BATCH, which).order_by(JOBS.c.place)
    # Whoever cancels some of them has locked them, in another order.
    return its.with_for_update(skip_locked=True)


def _bring_back() -> Update:
    first = _first(WAITS_FOR_ITS_BATCH).limit(MOST_BROUGHT_BACK)
    return (
        update(JOBS)
        .where(
            is_among(JOBS.c.id, first), IS_PARKED, THE_BATCH, not_(BLOCKED), JOBS.c.batch_id == BATCHES.c.id
        )
        .values(place=JOBS.c.place + func.coalesce(BATCHES.c.shift, 0.0), **BACK)
        .returning(*STANDS)
    )


def _bring_back_within_budget() -> Update:
    """As many as there are credits that nobody else may take: behind the batch's last job, as if new."""
    # The credit of a call that is out is in `spent` already.
    is_out = select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.ended_at.is_(None))
    under_way = (
        select(JOBS.c.id)
        .where(
            JOBS.c.batch_id == BATCH,
            JOBS.c.state.in_([QUEUED, constant(State.RUNNING)]),
            JOBS.c.step == constant(Step.CALL),
            not_(is_out.exists()),
        )
        .limit(MOST_BROUGHT_BACK)
        .subquery()
    )
    credits_left = func.least(
        func.coalesce(BATCHES.c.budget - BATCHES.c.spent, MOST_BROUGHT_BACK), MOST_BROUGHT_BACK
    )
    room = credits_left - select(func.count()).select_from(under_way).scalar_subquery()
    may_go = select(func.greatest(room, 0)).where(THE_BATCH, not_(BLOCKED)).scalar_subquery()
    first = _first(IS_OVER_BUDGET).add_columns(JOBS.c.place).limit(func.coalesce(may_go, 0)).subquery()
    going = select(
        first.c.id,
        func.row_number().over(order_by=first.c.place).label("n"),
        func.count().over().label("jobs"),
    ).cte("going")
    jobs = select(func.count()).select_from(going).scalar_subquery()
    behind = (
        update(BATCHES)
        .where(THE_BATCH, select(going.c.id).exists())
        .values(last_place=func.greatest(BATCHES.c.last_place, PRESENT) + jobs / BATCHES.c.weight)
        .returning(BATCHES.c.id, BATCHES.c.last_place, BATCHES.c.weight)
        .cte("behind")
    )
    return (
        update(JOBS)
        .where(JOBS.c.id == going.c.id, IS_PARKED, JOBS.c.batch_id == behind.c.id)
        .values(place=behind.c.last_place - (going.c.jobs - going.c.n) / behind.c.weight, **BACK)
        .returning(*STANDS)
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """Parked jobs that come back by the same rule, and the statements for them."""

    walk: Select[uuid.UUID, bool, bool]
    bring_back: Update
    some: Select[uuid.UUID]
    are_shifted: bool


WAITING = _Kind(
    _walk(WAITS_FOR_ITS_BATCH, true()),
    _bring_back(),
    _first(WAITS_FOR_ITS_BATCH).limit(MOST_BROUGHT_BACK),
    are_shifted=True,
)
WITHOUT_CREDITS = _Kind(
    _walk(IS_OVER_BUDGET, HAS_CREDITS),
    _bring_back_within_budget(),
    _first(IS_OVER_BUDGET).limit(MOST_BROUGHT_BACK),
    are_shifted=False,
)


class _Round:
    """A walk through all batches that have parked jobs of a kind, some of them at a time, in turn.

    A batch with more jobs than come back at once goes on beside those that the walk comes to: there may be
    many others whose jobs stay.
    """

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind
        self._after = NIL
        self._unfinished: list[uuid.UUID] = []

    def bring_back(self, database: Database, lines: LineMarks | None) -> int:
        half = MOST_BATCHES // 2
        begun, later = self._unfinished[:half], self._unfinished[half:]
        going, cancelled = self._next(database, MOST_BATCHES - len(begun))
        self._unfinished = later
        moved = sum(self._withdraw(database, batch_id) for batch_id in cancelled)
        now = dict.fromkeys(begun + [each for each in going if each not in later])
        return moved + sum(self._bring_back(database, batch_id, lines) for batch_id in now)

    def _next(self, database: Database, most: int) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
        """The next batches whose jobs may go, and those that are cancelled; so many of both at most."""
        rows = database.execute(self._kind.walk, {"after": self._after, "most": MOST_LOOKED_AT}).all()
        moving = [(batch_id, cancelled) for batch_id, may_go, cancelled in rows if may_go or cancelled]
        if len(moving) > most:
            moving = moving[:most]
            self._after = moving[-1][0]
        else:
            self._after = rows[-1][0] if len(rows) == MOST_LOOKED_AT else NIL
        return [each for each, gone in moving if not gone], [each for each, gone in moving if gone]

    def _withdraw(self, database: Database, batch_id: uuid.UUID) -> int:
        return cancel_all(database, database.scalars(self._kind.some, {"batch": batch_id}).all())

    def _bring_back(self, database: Database, batch_id: uuid.UUID, lines: LineMarks | None) -> int:
        moved = _bring_some_back(database, batch_id, self._kind, lines)
        if moved == MOST_BROUGHT_BACK:
            self._unfinished.append(batch_id)
        return moved


def _bring_some_back(
    database: Database, batch_id: uuid.UUID, kind: _Kind, lines: LineMarks | None = None
) -> int:
    its = {"batch": batch_id}
    if kind.are_shifted:
        database.execute(SHIFT, its)
    rows = database.execute(kind.bring_back, its).all()
    moved = len(rows)
    if lines is not None:
        lines.entered(rows)
    if kind.are_shifted and moved < MOST_BROUGHT_BACK:
        database.execute(ALL_BACK, its)
    return moved


def bring_back(database: Database, batch_id: uuid.UUID, *, over_budget: bool) -> int:
    """Put jobs of one batch back in line that may go on now, at most MOST_BROUGHT_BACK; returns how many."""
    return _bring_some_back(database, batch_id, WITHOUT_CREDITS if over_budget else WAITING)


class Parked:
    """Where a dispatcher is on its walk; another begins anew."""

    def __init__(self) -> None:
        self._rounds = [_Round(WAITING), _Round(WITHOUT_CREDITS)]

    def bring_back(self, database: Database, lines: LineMarks | None = None) -> int:
        """Put jobs back in line whose batch lets them go on now; returns how many.

        Those of a batch that was cancelled meanwhile are withdrawn. What waited for its batch comes in behind
        what is in line now; what waited for credits behind the rest of its batch, within its budget.
        """
        return sum(each.bring_back(database, lines) for each in self._rounds)


def unpark(database: Database) -> int:
    """The same once, from the first batch on."""
    return Parked().bring_back(database)
