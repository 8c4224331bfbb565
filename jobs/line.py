"""The line: what the dispatcher hands out, in order, at a cost that does not grow with the backlog."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Interval, Select, bindparam, func, select, update

from jobs.database import Database
from jobs.models import ACCOUNTS, JOBS, LINE, constant
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

HANDED = (
    update(JOBS)
    .where(
        JOBS.c.id.in_(
            select(JOBS.c.id)
            .where(JOBS.c.standing == IN_LINE, JOBS.c.step == bindparam("at_step"))
            .order_by(JOBS.c.priority, JOBS.c.place)
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
    )
    .values(
        standing=HANDED_OUT,
        fence=JOBS.c.fence + 1,
        scheduled_at=func.now() + bindparam("lease", type_=Interval),
    )
    .returning(JOBS.c.id, JOBS.c.fence, JOBS.c.priority, JOBS.c.place)
    .cte("handed")
)

FURTHEST = select(func.max(HANDED.c.place)).scalar_subquery()

HAND_OUT = (
    select(HANDED.c.id, HANDED.c.fence)
    .order_by(HANDED.c.priority, HANDED.c.place)
    .add_cte(update(LINE).values(present=func.greatest(LINE.c.present, FURTHEST)).cte("advanced"))
)


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to do: whether jobs are due to rejoin the line, and for each step whether any stand in
    line and how many are outstanding, that is handed out or running.
    """

    due: bool
    paused: bool
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
    *(query.scalar_subquery() for step in Step for query in _surveyed(step)),
)


def survey(database: Database, account: str) -> Survey:
    """Look, in one query, at all that a dispatcher must know before it moves anything."""
    due, paused, *counts = database.execute(SURVEY, {"account": account}).one()
    by_step = {step: counts[3 * n : 3 * n + 3] for n, step in enumerate(Step)}
    return Survey(
        due=due,
        paused=paused,
        in_line={step: bool(found) for step, (found, _, _) in by_step.items()},
        outstanding={step: handed_out + running for step, (_, handed_out, running) in by_step.items()},
    )


def wake(database: Database) -> int:
    """Put jobs back in line that rested long enough or whose message was never claimed; returns how many."""
    return len(database.scalars(WAKE).all())


def hand_out(database: Database, step: Step, count: int, *, lease: timedelta) -> list[tuple[uuid.UUID, int]]:
    """Take the first `count` jobs in line; returns each one's id and new fence, in order.

    Publish them after the commit. One that is not claimed within `lease` comes back by itself.
    """
    rows = database.execute(HAND_OUT, {"at_step": step, "count": count, "lease": lease})
    return [(row.id, row.fence) for row in rows]
