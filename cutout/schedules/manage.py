"""Management of schedules: add, list, pause, resume, run now, remove."""

import uuid
from datetime import datetime
from itertools import islice

from sqlalchemy import ColumnElement, delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cutout.enums import RunState
from cutout.models import Picture, Run, Schedule
from cutout.queue.blocks.pauses import By, PausedByOperatorError
from cutout.schedules.cron import cron_of
from cutout.schedules.definition import NewSchedule
from cutout.schedules.missed_runs import Firing, due_at
from cutout.schedules.schedule_errors import InvalidScheduleError

BY_HAND = "it was run by hand"
REMOVED = "its schedule was removed"


def add(session: Session, new: NewSchedule) -> Schedule:
    """Store a schedule, which fires from now on. Raises InvalidScheduleError if the name is taken."""
    start, end = new.window or (None, None)
    schedule = Schedule(
        id=uuid.uuid4(),
        producer_id=new.producer_id,
        name=new.name,
        source=new.source,
        options=new.options.as_json(),
        cron=new.cron,
        zone=new.zone,
        window_start=start,
        window_end=end,
        at_window_end=new.at_window_end,
        run_budget=new.run_budget,
        month_budget=new.month_budget,
        overlap=new.overlap,
        catch_up=new.catch_up,
        jitter_seconds=new.jitter_seconds,
        grace_seconds=new.grace_seconds,
        min_source_share=new.min_source_share,
        webhook_url=new.webhook_url,
    )
    first = next_runs(schedule, _now(session), 1)[0]
    schedule.next_fire_at, schedule.next_due_at = first.fire_at, first.due_at
    try:
        with session.begin_nested():
            session.add(schedule)
    except IntegrityError as error:
        raise InvalidScheduleError(
            "name", f"a schedule {new.name!r} already exists; remove it first or choose another name"
        ) from error
    return schedule


def listed(session: Session, producer_id: uuid.UUID | None = None) -> list[Schedule]:
    """The schedules of a producer or of all, without removed ones."""
    kept = select(Schedule).where(Schedule.removed_at.is_(None)).order_by(Schedule.name, Schedule.id)
    if producer_id is not None:
        kept = kept.where(Schedule.producer_id == producer_id)
    return list(session.scalars(kept))


def next_runs(schedule: Schedule, after: datetime, count: int) -> list[Firing]:
    """The next runs after that moment, with the times when they fire and are due."""
    instants = islice(cron_of(schedule.cron, schedule.zone).after(after), count)
    return [Firing(at, due_at(schedule.id, at, schedule.jitter_seconds)) for at in instants]


def coming_runs(session: Session, schedule: Schedule, count: int) -> list[Firing]:
    """The next runs from now on, or after runs that were fired before the clock was set back."""
    now = _now(session)
    fires = next_runs(schedule, now, count)
    if not is_paused(schedule) and schedule.next_fire_at > now:
        fires = [Firing(schedule.next_fire_at, schedule.next_due_at)]
        fires += next_runs(schedule, schedule.next_fire_at, count - 1)
    return fires


def is_paused(schedule: Schedule) -> bool:
    """Whether its producer or an operator paused it."""
    return schedule.paused_at is not None or schedule.paused_by_operator_at is not None


def require_no_operators_pause(schedule: Schedule) -> None:
    """Raise PausedByOperatorError if an operator paused the schedule, for an action of its producer."""
    if schedule.paused_by_operator_at is not None:
        raise PausedByOperatorError("schedule")


def pause(session: Session, schedule_id: uuid.UUID, by: By = By.PRODUCER) -> bool:
    """Fire no further run; False if it is already paused. A run under way continues."""
    return _change(session, schedule_id, getattr(Schedule, by).is_(None), **{by: func.now()})


def resume(session: Session, schedule: Schedule, by: By = By.PRODUCER) -> bool:
    """Fire again from now on, without runs that were due during the pause; False if it was not paused.

    Each side ends its own pause; an operator ends both if the schedule has no producer. Raises
    PausedByOperatorError if a producer resumes a schedule that an operator paused.
    """
    if by is By.PRODUCER:
        # Locked, so that no operator can pause it meanwhile.
        session.refresh(schedule, with_for_update=True)
        require_no_operators_pause(schedule)
    fires = next_runs(schedule, _now(session), 1)
    if not fires:
        raise InvalidScheduleError("cron", f"the cron expression {schedule.cron!r} never fires again")
    first = fires[0]
    ended = [by] if by is By.PRODUCER or schedule.producer_id is not None else list(By)
    return _change(
        session,
        schedule.id,
        or_(*(getattr(Schedule, each).is_not(None) for each in ended)),
        **dict.fromkeys(ended, null()),
        next_fire_at=first.fire_at,
        next_due_at=first.due_at,
    )


def remove(session: Session, schedule_id: uuid.UUID) -> bool:
    """Fire no further run and skip waiting ones. A run under way continues; the rows of its runs stay."""
    removed = session.scalar(
        update(Schedule)
        .where(Schedule.id == schedule_id, Schedule.removed_at.is_(None))
        .values(removed_at=func.now())
        .returning(Schedule.id)
    )
    if removed is None:
        return False
    session.execute(delete(Picture).where(Picture.schedule_id == schedule_id))
    session.execute(
        update(Run)
        .where(Run.schedule_id == schedule_id, Run.state == RunState.WAITING)
        .values(state=RunState.SKIPPED, note=REMOVED, finished_at=func.now())
    )
    return True


def run_now(
    session: Session, schedule_id: uuid.UUID, *, accept_shrunk_source: bool = False
) -> uuid.UUID | None:
    """Fire one run now, besides the scheduled ones; None if a run of this instant exists."""
    new = insert(Run).values(
        schedule_id=schedule_id,
        fire_at=func.now(),
        due_at=func.now(),
        accept_shrunk_source=accept_shrunk_source,
        note=BY_HAND,
    )
    return session.scalar(new.on_conflict_do_nothing().returning(Run.id))


def latest_runs(session: Session, schedule_id: uuid.UUID, count: int) -> list[Run]:
    """The latest runs, the newest first."""
    runs = select(Run).where(Run.schedule_id == schedule_id).order_by(Run.fire_at.desc()).limit(count)
    return list(session.scalars(runs))


def _change(
    session: Session, schedule_id: uuid.UUID, condition: ColumnElement[bool], **values: object
) -> bool:
    change = update(Schedule).where(Schedule.id == schedule_id, Schedule.removed_at.is_(None), condition)
    return session.scalar(change.values(**values).returning(Schedule.id)) is not None


def _now(session: Session) -> datetime:
    """Postgres's clock, by which runs are fired."""
    return session.scalars(select(func.now())).one()
