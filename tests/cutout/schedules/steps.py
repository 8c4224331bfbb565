"""Steps of tests that move schedules and their runs through time, as the dispatcher would."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.models import Run, Schedule
from cutout.outputs.options import OutputOptions
from cutout.schedules.batch_windows import closed_batches, set_next_window
from cutout.schedules.definition import NewSchedule
from cutout.schedules.finish import advance, end, ended_runs, read_runs
from cutout.schedules.manage import add
from cutout.schedules.start import skip_overlapping, start, startable

SOURCE = "https://shop.example/feed.csv"
NIGHTLY = "15 1 * * *"
A_DAY = timedelta(days=1)


def new_schedule(session: Session, name: str = "nightly", **more: Any) -> Schedule:
    return add(session, NewSchedule(name, SOURCE, **{"cron": NIGHTLY, "zone": "Europe/Paris"} | more))


def due_since(session: Session, schedule: Schedule, at: datetime) -> None:
    """Set the schedule as if nothing had fired since then."""
    schedule.next_fire_at = schedule.next_due_at = at
    session.flush()


def pass_by(session: Session, schedule: Schedule, ago: timedelta = timedelta(seconds=1)) -> datetime:
    """Make its next run due a moment ago; returns the time that it was scheduled for."""
    at = datetime.now(UTC) - ago
    due_since(session, schedule, at)
    return at


def see_through(session: Session) -> None:
    """Do the leader's work of one second on runs."""
    skip_overlapping(session)
    for find, move in (
        (read_runs, advance),
        (ended_runs, end),
        (closed_batches, set_next_window),
        (startable, partial(start, defaults=OutputOptions())),
    ):
        for one in find(session):
            move(session, one)
            session.flush()
    session.expire_all()


def runs(session: Session, schedule: Schedule) -> list[Run]:
    """The runs, the earliest first."""
    session.expire_all()
    return sorted(session.query(Run).filter_by(schedule_id=schedule.id), key=lambda run: run.fire_at)


def states(session: Session, schedule: Schedule) -> list[str]:
    return [run.state for run in runs(session, schedule)]


def finish_ingest(
    session: Session,
    batch_id: uuid.UUID | None,
    counts: Mapping[str, int] | None = None,
    *,
    error: str | None = None,
) -> None:
    """End the ingest of a batch with these counts, or without success."""
    values = "".join(f", {name} = {count}" for name, count in (counts or {}).items())
    session.execute(
        text(f"UPDATE ingests SET finished_at = now(), error = :error{values} WHERE batch_id = :id"),  # noqa: S608
        {"error": error, "id": batch_id},
    )
