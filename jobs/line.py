"""The line: what the dispatcher hands out, in order, at a cost that does not grow with the backlog."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import CTE, Interval, Select, bindparam, func, select, update

from jobs.database import Database
from jobs.models import ACCOUNTS, BREAKER, JOBS, LINE, constant
from jobs.states import Standing, State, Step

MOST_WOKEN = 1000

IN_LINE = constant(Standing.IN_LINE)
HANDED_OUT = constant(Standing.HANDED_OUT)
RESTING = constant(Standing.RESTING)
RUNNING = constant(State.RUNNING)

DUE = select(JOBS.c.id).where(JOBS.c.standing.in_([RESTING, HANDED_OUT]), JOBS.c.scheduled_at <= func.now())

WAKE = (
    update(JOBS)
    .where(JOBS.c.id.in_(DUE.limit(MOST_WOKEN).with_for_update(skip_locked=True).scalar_subquery()))
    .values(standing=IN_LINE)
    .returning(JOBS.c.id)
)

CALLS_IN_LINE = (
    select(JOBS.c.id)
    .where(JOBS.c.standing == IN_LINE, JOBS.c.step == constant(Step.CALL))
    .order_by(JOBS.c.priority, JOBS.c.place)
)
COPIES_IN_LINE = (
    select(JOBS.c.id)
    .where(JOBS.c.standing == IN_LINE, JOBS.c.step == constant(Step.COPY))
    .order_by(JOBS.c.result_expires_at)
)
# With the bucket away, only what must be saved elsewhere: it dies soon and is not in the lifeboat yet.
COPIES_DYING = COPIES_IN_LINE.where(
    JOBS.c.result_expires_at <= func.now() + bindparam("dying_within", type_=Interval),
    JOBS.c.lifeboat_key.is_(None),
)


def _handed(in_line: Select[uuid.UUID]) -> CTE:
    first = in_line.limit(bindparam("count")).with_for_update(skip_locked=True).scalar_subquery()
    return (
        update(JOBS)
        .where(JOBS.c.id.in_(first))
        .values(
            standing=HANDED_OUT,
            fence=JOBS.c.fence + 1,
            scheduled_at=func.now() + bindparam("lease", type_=Interval),
        )
        .returning(JOBS.c.id, JOBS.c.fence, JOBS.c.priority, JOBS.c.place, JOBS.c.result_expires_at)
        .cte("handed")
    )


def _calls() -> Select[uuid.UUID, int]:
    handed = _handed(CALLS_IN_LINE)
    furthest = select(func.max(handed.c.place)).scalar_subquery()
    return (
        select(handed.c.id, handed.c.fence)
        .order_by(handed.c.priority, handed.c.place)
        .add_cte(update(LINE).values(present=func.greatest(LINE.c.present, furthest)).cte("advanced"))
    )


def _copies(in_line: Select[uuid.UUID]) -> Select[uuid.UUID, int]:
    handed = _handed(in_line)
    return select(handed.c.id, handed.c.fence).order_by(handed.c.result_expires_at)


HAND_OUT_CALLS = _calls()
HAND_OUT_COPIES = _copies(COPIES_IN_LINE)
HAND_OUT_DYING = _copies(COPIES_DYING)


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to do: whether jobs are due to rejoin the line, and for each step whether any stand in
    line and how many are outstanding, that is handed out or running.

    Calls may go out unless the account is `paused` or the bucket `away`.
    """

    due: bool
    paused: bool
    away: bool
    in_line: dict[Step, bool]
    outstanding: dict[Step, int]


def _surveyed(step: Step) -> list[Select[int]]:
    at = JOBS.c.step == constant(step)
    count = select(func.count()).select_from(JOBS)
    return [
        select(func.count()).select_from(
            select(JOBS.c.id).where(JOBS.c.standing == IN_LINE, at).limit(1).subquery()
        ),
        count.where(JOBS.c.standing == HANDED_OUT, at),
        count.where(JOBS.c.state == RUNNING, at),
    ]


SURVEY = select(
    DUE.exists(),
    select(ACCOUNTS.c.name)
    .where(ACCOUNTS.c.name == bindparam("account"), ACCOUNTS.c.paused_at.is_not(None))
    .exists(),
    select(BREAKER.c.id).where(BREAKER.c.opened_at.is_not(None)).exists(),
    *(query.scalar_subquery() for step in Step for query in _surveyed(step)),
)


def survey(database: Database, account: str) -> Survey:
    """Look, in one query, at all that a dispatcher must know before it moves anything."""
    due, paused, away, *counts = database.execute(SURVEY, {"account": account}).one()
    by_step = {step: counts[3 * n : 3 * n + 3] for n, step in enumerate(Step)}
    return Survey(
        due=due,
        paused=paused,
        away=away,
        in_line={step: bool(found) for step, (found, _, _) in by_step.items()},
        outstanding={step: handed_out + running for step, (_, handed_out, running) in by_step.items()},
    )


def wake(database: Database) -> int:
    """Put jobs back in line that rested long enough or whose message was never claimed; returns how many."""
    return len(database.scalars(WAKE).all())


HandedOut = list[tuple[uuid.UUID, int]]
"""Ids and new fences, in order. Publish them after the commit; unclaimed ones come back after their lease."""


def hand_out_calls(database: Database, count: int, *, lease: timedelta) -> HandedOut:
    """Take the first `count` jobs in line for a call, by priority and place."""
    return _hand_out(database, HAND_OUT_CALLS, count, lease)


def hand_out_copies(
    database: Database, count: int, *, lease: timedelta, dying_within: timedelta | None = None
) -> HandedOut:
    """Take the first `count` jobs in line for a copy, by their results' expiry.

    With `dying_within` only those that expire so soon and are not in the lifeboat: the bucket is away.
    """
    if dying_within is None:
        return _hand_out(database, HAND_OUT_COPIES, count, lease)
    return _hand_out(database, HAND_OUT_DYING, count, lease, dying_within=dying_within)


def _hand_out(
    database: Database, change: Select[uuid.UUID, int], count: int, lease: timedelta, **more: timedelta
) -> HandedOut:
    rows = database.execute(change, {"count": count, "lease": lease, **more})
    return [(row.id, row.fence) for row in rows]
