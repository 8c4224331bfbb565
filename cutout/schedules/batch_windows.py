"""Windows of batches: a schedule's opening for a new batch, and the next one for its remaining jobs."""

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


def set_window(session: Session, batch_id: uuid.UUID, opening: Opening, schedule: Schedule) -> None:
    """Restrict the batch's calls to this opening, or only to its begin if they may run on past its end."""
    runs_on = schedule.at_window_end == AtWindowEnd.RUN_ON
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(opens_at=opening.opens_at, closes_at=None if runs_on else opening.closes_at)
    )


def closed_batches(session: Session) -> list[uuid.UUID]:
    """Batches whose window has closed and that have no next one yet, MOST_BATCHES at most."""
    closed = select(Batch.id).where(Batch.closes_at <= func.now()).order_by(Batch.closes_at)
    return list(session.scalars(closed.limit(MOST_BATCHES)))


def set_next_window(session: Session, batch_id: uuid.UUID) -> None:
    """Let the batch's remaining jobs continue in its schedule's next window; a finished batch gets none."""
    found = session.execute(
        select(Batch.closes_at, HAS_MORE, func.now()).where(Batch.id == batch_id).with_for_update()
    ).one()
    closed_at: datetime | None = found[0]
    if closed_at is None or closed_at > found[2]:
        return
    schedule = session.scalar(select(Schedule).join(Run).where(Run.batch_id == batch_id))
    window = window_of(schedule) if schedule else None
    if found[1] and schedule and window:
        set_window(session, batch_id, window.at(found[2]), schedule)
    else:
        session.execute(update(Batch).where(Batch.id == batch_id).values(opens_at=None, closes_at=None))
