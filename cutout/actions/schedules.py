"""Actions on a schedule, in the caller's transaction, each with its row."""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout.actions.batches import BEFORE, side_of
from cutout.enums import ActionKind, Subject
from cutout.models import Schedule
from cutout.producers.action_record import ONE, About, Extent, record
from cutout.producers.actors import Asked
from cutout.queue.blocks.pauses import By
from cutout.schedules import manage, skips
from cutout.schedules.definition import NewSchedule
from cutout.schedules.skips import SkippedByOperatorError

FIRE_AT = "fire_at"
"""Option of a skip: the time for which the run is ordered, as ISO 8601."""
SIDE = "side"
"""Option of a pause or skip: whose it is."""


def add_schedule(session: Session, asked: Asked, new: NewSchedule) -> Schedule:
    """Store a schedule. Raises ScheduleExistsError."""
    schedule = manage.add(session, new)
    record(session, asked, ActionKind.ADD_SCHEDULE, about_schedule(schedule), _price(new.run_budget))
    return schedule


def change_schedule(session: Session, asked: Asked, schedule: Schedule, new: NewSchedule) -> None:
    """Define a locked schedule anew. Raises ScheduleExistsError."""
    manage.change(session, schedule, new)
    record(session, asked, ActionKind.CHANGE_SCHEDULE, about_schedule(schedule), _price(new.run_budget))


def pause_schedule(session: Session, asked: Asked, schedule: Schedule) -> uuid.UUID | None:
    """Fire no further run; None if it is paused already."""
    by = side_of(asked)
    if not manage.pause(session, schedule.id, by):
        return None
    about = about_schedule(schedule)
    return record(session, asked, ActionKind.PAUSE_SCHEDULE, about, options={SIDE: by})


def resume_schedule(
    session: Session, asked: Asked, schedule: Schedule, by: By | None = None
) -> uuid.UUID | None:
    """Fire again from now on; None if it was not paused by this side, `by` or the actor's own.

    Raises PausedByOperatorError, InvalidScheduleError.
    """
    session.refresh(schedule, with_for_update=True)
    before = {str(each): getattr(schedule, each) for each in By}
    if not manage.resume(session, schedule, side_of(asked) if by is None else by):
        return None
    session.refresh(schedule)
    ended = {
        name: at.isoformat() for name, at in before.items() if at is not None and not getattr(schedule, name)
    }
    about = about_schedule(schedule)
    return record(session, asked, ActionKind.RESUME_SCHEDULE, about, options={BEFORE: ended})


def skip_run(session: Session, asked: Asked, schedule: Schedule, fire_at: datetime) -> uuid.UUID | None:
    """Skip the next run, which is ordered for `fire_at`; None if it is another one, or skipped already."""
    by = side_of(asked)
    if not skips.skip(session, schedule.id, fire_at, by):
        return None
    options = {FIRE_AT: fire_at.isoformat(), SIDE: by}
    return record(session, asked, ActionKind.SKIP_RUN, about_schedule(schedule), options=options)


def restore_run(session: Session, asked: Asked, schedule: Schedule, fire_at: datetime) -> uuid.UUID | None:
    """Let the run start that was to be skipped; None if its time has come, or if it is not to be skipped.

    Raises SkippedByOperatorError if a producer asks for it and an operator skipped it.
    """
    session.refresh(schedule, with_for_update=True)
    is_skipped = schedule.skips_at == schedule.next_fire_at == fire_at
    if is_skipped and not skips.may_restore(schedule, side_of(asked)):
        raise SkippedByOperatorError(fire_at)
    of = By.OPERATOR if schedule.skips_by_operator else By.PRODUCER
    if not skips.restore(session, schedule.id, fire_at, of):
        return None
    options = {FIRE_AT: fire_at.isoformat(), SIDE: of}
    extent = _price(schedule.run_budget)
    return record(session, asked, ActionKind.RESTORE_RUN, about_schedule(schedule), extent, options=options)


def run_schedule(
    session: Session, asked: Asked, schedule: Schedule, *, accept_shrunk_source: bool = False
) -> uuid.UUID | None:
    """Fire one run now and return its id; None if a run of this instant exists."""
    run_id = manage.run_now(session, schedule.id, accept_shrunk_source=accept_shrunk_source)
    if run_id is not None:
        options = {"run": str(run_id)}
        extent = _price(schedule.run_budget)
        record(session, asked, ActionKind.RUN_SCHEDULE, about_schedule(schedule), extent, options=options)
    return run_id


def remove_schedule(session: Session, asked: Asked, schedule: Schedule) -> bool:
    """Remove a schedule; False if it is removed already."""
    if not manage.remove(session, schedule.id):
        return False
    record(session, asked, ActionKind.REMOVE_SCHEDULE, about_schedule(schedule))
    return True


def about_schedule(schedule: Schedule) -> About:
    """The schedule as a subject."""
    return About(Subject.SCHEDULE, schedule.id, schedule.producer_id)


def find_schedule(session: Session, schedule_id: uuid.UUID) -> Schedule | None:
    """The schedule, unless it was removed."""
    found = select(Schedule).where(Schedule.id == schedule_id, Schedule.removed_at.is_(None))
    return session.scalar(found)


def _price(run_budget: int | None) -> Extent:
    return ONE if run_budget is None else Extent(credits=run_budget)
