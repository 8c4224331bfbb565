"""The windows of batches: a schedule's opening for a new batch, and the next one for what is left of it."""

import uuid
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cutout.enums import AtWindowEnd
from cutout.models import Batch, Run, Schedule
from cutout.queue.batch_progress import HAS_MORE
from cutout.schedules.local_time import zone_of
from cutout.schedules.windows import Opening, Window

MOST_BATCHES = 100


def window_of(schedule: Schedule) -> Window | None:
    """The schedule's window, if it has one."""
    if schedule.window_start is None or schedule.window_end is None:
        return None
    return Window(schedule.window_start, schedule.window_end, zone_of(schedule.zone))


def keep_to(session: Session, batch_id: uuid.UUID, opening: Opening, schedule: Schedule) -> None:
    """Let the batch's calls out in this opening; or from its begin on, if they may run on past its end."""
    runs_on = schedule.at_window_end == AtWindowEnd.RUN_ON
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(opens_at=opening.opens_at, closes_at=None if runs_on else opening.closes_at)
    )


def closed_batches(session: Session) -> list[uuid.UUID]:
    """Batches whose window closed and that have not been given the next one, some at a time."""
    closed = select(Batch.id).where(Batch.closes_at <= func.now()).order_by(Batch.closes_at)
    return list(session.scalars(closed.limit(MOST_BATCHES)))


def give_next_window(session: Session, batch_id: uuid.UUID) -> None:
    """Let what is left of a batch go on in its schedule's next window. One that is done needs none."""
    found = session.execute(
        select(Batch.closes_at, HAS_MORE, func.now()).where(Batch.id == batch_id).with_for_update()
    ).one()
    closed_at: datetime | None = found[0]
    if closed_at is None or closed_at > found[2]:
        return
    schedule = session.scalar(select(Schedule).join(Run).where(Run.batch_id == batch_id))
    window = window_of(schedule) if schedule else None
    if found[1] and schedule and window:
        keep_to(session, batch_id, window.at(found[2]), schedule)
    else:
        session.execute(update(Batch).where(Batch.id == batch_id).values(opens_at=None, closes_at=None))
