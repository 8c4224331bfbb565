"""The line: what the dispatcher hands out, in order, at a cost that does not grow with the backlog."""

import uuid
from datetime import timedelta

from sqlalchemy import Text, func, literal, select, update
from sqlalchemy.orm import Session

from jobs.models import Job, Line
from jobs.states import Standing, State, Step

MOST_WOKEN = 1000

# Written into the statement: a partial index serves only a condition that the planner can read.
IN_LINE = literal(str(Standing.IN_LINE), Text, literal_execute=True)
HANDED_OUT = literal(str(Standing.HANDED_OUT), Text, literal_execute=True)
RESTING = literal(str(Standing.RESTING), Text, literal_execute=True)
RUNNING = literal(str(State.RUNNING), Text, literal_execute=True)


def wake(session: Session) -> int:
    """Put jobs back in line that rested long enough or whose message was never claimed; returns how many."""
    due = (
        select(Job.id)
        .where(Job.standing.in_([RESTING, HANDED_OUT]), Job.scheduled_at <= func.now())
        .limit(MOST_WOKEN)
        .with_for_update(skip_locked=True)
    )
    woken = session.scalars(
        update(Job)
        .where(Job.id.in_(due.scalar_subquery()))
        .values(standing=Standing.IN_LINE)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return len(woken.all())


def outstanding(session: Session, step: Step) -> int:
    """How many jobs at `step` are handed out or running."""
    handed_out = select(func.count()).where(Job.standing == HANDED_OUT, Job.step == step).scalar_subquery()
    running = select(func.count()).where(Job.state == RUNNING, Job.step == step).scalar_subquery()
    total: int = session.scalars(select(handed_out + running)).one()
    return total


def hand_out(session: Session, step: Step, count: int, *, lease: timedelta) -> list[tuple[uuid.UUID, int]]:
    """Take the first `count` jobs in line; returns each one's id and new fence, in order.

    Publish them after the commit. One that is not claimed within `lease` comes back by itself.
    """
    first = (
        select(Job.id)
        .where(Job.standing == IN_LINE, Job.step == step)
        .order_by(Job.priority, Job.place)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(first.scalar_subquery()))
        .values(standing=Standing.HANDED_OUT, fence=Job.fence + 1, scheduled_at=func.now() + lease)
        .returning(Job.id, Job.fence, Job.priority, Job.place)
        .execution_options(synchronize_session=False)
    ).all()
    if rows and step is Step.CALL:
        furthest = max(row.place for row in rows)
        session.execute(update(Line).values(present=func.greatest(Line.present, furthest)))
    return [(row.id, row.fence) for row in sorted(rows, key=lambda row: (row.priority, row.place))]
