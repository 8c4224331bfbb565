"""Windows of batches: the opening for a new batch, and the next one for its remaining jobs.

They are its schedule's, or those that a batch of no schedule was requested with.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cutout.enums import AtWindowEnd
from cutout.ingest.batch_window import BatchWindow
from cutout.models import Batch, Run, Schedule
from cutout.queue.batch_progress import HAS_MORE
from cutout.schedules.local_time import zone_of
from cutout.schedules.windows import Opening, Window, parse_window

MOST_BATCHES = 100


def window_of(schedule: Schedule) -> Window | None:
    """The schedule's window, if it has one."""
    if schedule.window_start is None or schedule.window_end is None:
        return None
    return Window(schedule.window_start, schedule.window_end, zone_of(schedule.zone))


def own_window(options: Mapping[str, Any] | None) -> Window | None:
    """The window that a batch of no schedule was requested with, if it has one."""
    asked = BatchWindow.of(options)
    return None if asked is None else Window(*parse_window(asked.hours), zone_of(asked.zone))


def request_window(hours: str, zone: str, now: datetime) -> BatchWindow:
    """The window that is asked for, with its opening now or next. Raises InvalidScheduleError."""
    start, end = parse_window(hours)
    window = Window(start, end, zone_of(zone))
    opening = window.at(now)
    return BatchWindow(str(window), zone, opening.opens_at, opening.closes_at)


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
    """Let the batch's remaining jobs continue in the next window, of its schedule or its own.

    A finished batch gets none.
    """
    found = session.execute(
        select(Batch.closes_at, HAS_MORE, func.now(), Batch.options)
        .where(Batch.id == batch_id)
        .with_for_update()
    ).one()
    closed_at: datetime | None = found[0]
    if closed_at is None or closed_at > found[2]:
        return
    schedule = session.scalar(select(Schedule).join(Run).where(Run.batch_id == batch_id))
    window = window_of(schedule) if schedule else None
    own = None if schedule else own_window(found[3])
    if found[1] and schedule and window:
        set_window(session, batch_id, window.at(found[2]), schedule)
    elif found[1] and own:
        opening = own.at(found[2])
        values = {"opens_at": opening.opens_at, "closes_at": opening.closes_at}
        session.execute(update(Batch).where(Batch.id == batch_id).values(values))
    else:
        session.execute(update(Batch).where(Batch.id == batch_id).values(opens_at=None, closes_at=None))
