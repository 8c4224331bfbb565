"""Skips of a schedule's next run: a producer lets its own skip start after all, an operator any."""

import uuid
from datetime import datetime

from sqlalchemy import and_, func, not_, null
from sqlalchemy.orm import Session

from cutout.models import Schedule
from cutout.queue.blocks.pauses import By
from cutout.schedules.manage import change_row, is_paused


class SkippedByOperatorError(Exception):
    """A producer cannot let a run start that an operator skipped."""

    def __init__(self, fire_at: datetime) -> None:
        at = f"{fire_at:%Y-%m-%d %H:%M:%S} UTC"
        super().__init__(f"an operator skipped the run of {at}; ask the operator to let it start")


def is_next_skipped(schedule: Schedule) -> bool:
    """Whether the next run is to be skipped, as somebody asked; a paused schedule has no next run."""
    return schedule.skips_at == schedule.next_fire_at and not is_paused(schedule)


def may_restore(schedule: Schedule, by: By) -> bool:
    """Whether this side may let the run start that is to be skipped."""
    return by is By.OPERATOR or not schedule.skips_by_operator


def skip(session: Session, schedule_id: uuid.UUID, fire_at: datetime, by: By = By.PRODUCER) -> bool:
    """Skip the next run, which is ordered for `fire_at`; False if it is another one, or skipped already.

    A paused schedule has no next run: it is decided when it is resumed. A producer's skip does not take the
    place of an operator's skip of a later run, which stays when the schedule gets other times.
    """
    is_next = and_(
        Schedule.next_fire_at == fire_at,
        Schedule.skips_at.is_distinct_from(fire_at),
        Schedule.paused_at.is_(None),
        Schedule.paused_by_operator_at.is_(None),
    )
    if by is By.PRODUCER:
        is_next &= not_(and_(Schedule.skips_by_operator, func.coalesce(Schedule.skips_at > fire_at, False)))
    return change_row(session, schedule_id, is_next, skips_at=fire_at, skips_by_operator=by is By.OPERATOR)


def restore(session: Session, schedule_id: uuid.UUID, fire_at: datetime, of: By) -> bool:
    """Let the run start that this side skipped; False if its time has come, or if it is not skipped so."""
    is_skipped = and_(
        Schedule.next_fire_at == fire_at,
        Schedule.skips_at == fire_at,
        Schedule.skips_by_operator.is_(of is By.OPERATOR),
    )
    return change_row(session, schedule_id, is_skipped, skips_at=null(), skips_by_operator=False)
