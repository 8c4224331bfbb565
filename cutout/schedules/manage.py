"""Management of schedules: add, list, pause, resume, run now, remove."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import islice

from sqlalchemy import ColumnElement, delete, func, null, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from cutout.enums import RunState
from cutout.models import Picture, Run, Schedule
from cutout.queue.blocks.pauses import By, PausedByOperatorError
from cutout.schedules.cron import cron_of
from cutout.schedules.definition import NewSchedule
from cutout.schedules.missed_runs import SKIPPED, Firing, due_at
from cutout.schedules.schedule_errors import InvalidScheduleError, ScheduleExistsError

# Attributes of a definition that are columns of the same name.
SAME_NAMES = (
    "at_window_end",
    "run_budget",
    "month_budget",
    "overlap",
    "catch_up",
    "jitter_seconds",
    "grace_seconds",
    "min_source_share",
    "webhook_url",
)
OTHER = aliased(Schedule)
BY_HAND = "it was run by hand"
REMOVED = "its schedule was removed"


def add(session: Session, new: NewSchedule) -> Schedule:
    """Store a schedule, which fires from now on. Raises ScheduleExistsError if the name is taken."""
    schedule = Schedule(id=uuid.uuid4(), producer_id=new.producer_id)
    _define(session, schedule, new)
    with _name_is_free(session, new), session.begin_nested():
        session.add(schedule)
    return schedule


def change(session: Session, schedule: Schedule, new: NewSchedule) -> None:
    """Define a schedule anew; its revision rises, and what it has seen is kept.

    The caller has locked its row. With another time it fires from now on; a run under way and its batch stay
    as they are, and so does a pause. Raises ScheduleExistsError if the name is taken.
    """
    with _name_is_free(session, new), session.begin_nested():
        _define(session, schedule, new)
        schedule.revision += 1
        session.flush()


def _define(session: Session, schedule: Schedule, new: NewSchedule) -> None:
    before = (schedule.cron, schedule.zone, schedule.jitter_seconds)
    schedule.name, schedule.source, schedule.options = new.name, new.source, new.options.as_json()
    schedule.cron, schedule.zone = new.cron, new.zone
    schedule.window_start, schedule.window_end = new.window or (None, None)
    schedule.metadata_ = dict(new.metadata) if new.metadata else None
    for name in SAME_NAMES:
        setattr(schedule, name, getattr(new, name))
    if before != (new.cron, new.zone, new.jitter_seconds):
        fires = next_runs(schedule, _now(session), 1)
        if not fires:
            raise InvalidScheduleError("cron", f"the cron expression {new.cron!r} never fires again")
        schedule.next_fire_at, schedule.next_due_at = fires[0].fire_at, fires[0].due_at
        if not schedule.skips_by_operator:
            schedule.skips_at = None


@contextmanager
def _name_is_free(session: Session, new: NewSchedule) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        existing = session.scalar(
            select(Schedule.id).where(
                Schedule.name == new.name,
                Schedule.producer_id.is_not_distinct_from(new.producer_id),
                Schedule.removed_at.is_(None),
            )
        )
        raise ScheduleExistsError(new.name, existing) from error


def listed(
    session: Session,
    producer_id: uuid.UUID | None = None,
    *,
    after: uuid.UUID | None = None,
    limit: int | None = None,
) -> list[Schedule]:
    """The schedules of a producer or of all by name, without removed ones, at most `limit`.

    With `after` those behind that one, which may have been removed meanwhile.
    """
    kept = select(Schedule).where(Schedule.removed_at.is_(None)).order_by(Schedule.name, Schedule.id)
    if producer_id is not None:
        kept = kept.where(Schedule.producer_id == producer_id)
    if after is not None:
        # Another producer's bounds nothing: its name would be learned.
        before = OTHER.producer_id.is_not_distinct_from(producer_id)
        last = select(OTHER.name, OTHER.id).where(OTHER.id == after, before).subquery()
        kept = kept.join(last, tuple_(Schedule.name, Schedule.id) > tuple_(last.c.name, last.c.id))
    if limit is not None:
        kept = kept.limit(limit)
    return list(session.scalars(kept))


def next_runs(schedule: Schedule, after: datetime, count: int) -> list[Firing]:
    """The next runs after that moment, with the times when they fire and are due."""
    instants = islice(cron_of(schedule.cron, schedule.zone).after(after), count)
    return [Firing(at, due_at(schedule.id, at, schedule.jitter_seconds)) for at in instants]


def coming_runs(
    session: Session, schedule: Schedule, count: int, after: datetime | None = None
) -> list[Firing]:
    """The next runs from now on, or after runs that were fired before the clock was set back.

    With `after` those ordered for a later time. The one that is to be skipped says so.
    """
    return [_marked(run, schedule) for run in _coming_runs(session, schedule, count, after)]


def _coming_runs(session: Session, schedule: Schedule, count: int, after: datetime | None) -> list[Firing]:
    now = _now(session)
    if after is not None and after >= max(now, schedule.next_fire_at):
        return next_runs(schedule, after, count)
    fires = next_runs(schedule, now, count)
    if not is_paused(schedule) and schedule.next_fire_at > now:
        fires = [Firing(schedule.next_fire_at, schedule.next_due_at)]
        fires += next_runs(schedule, schedule.next_fire_at, count - 1)
    return fires


def _marked(run: Firing, schedule: Schedule) -> Firing:
    return replace(run, skipped=SKIPPED) if run.fire_at == schedule.skips_at else run


def is_paused(schedule: Schedule) -> bool:
    """Whether its producer or an operator paused it."""
    return schedule.paused_at is not None or schedule.paused_by_operator_at is not None


def require_no_operators_pause(schedule: Schedule) -> None:
    """Raise PausedByOperatorError if an operator paused the schedule, for an action of its producer."""
    if schedule.paused_by_operator_at is not None:
        raise PausedByOperatorError("schedule")


def pause(session: Session, schedule_id: uuid.UUID, by: By = By.PRODUCER) -> bool:
    """Fire no further run; False if it is already paused. A run under way continues."""
    return change_row(session, schedule_id, getattr(Schedule, by).is_(None), **{by: func.now()})


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
    return change_row(
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


def latest_runs(
    session: Session, schedule_id: uuid.UUID, count: int, before: datetime | None = None
) -> list[Run]:
    """The latest runs, the newest first; with `before` those that were ordered for an earlier time."""
    runs = select(Run).where(Run.schedule_id == schedule_id).order_by(Run.fire_at.desc()).limit(count)
    if before is not None:
        runs = runs.where(Run.fire_at < before)
    return list(session.scalars(runs))


def change_row(
    session: Session, schedule_id: uuid.UUID, condition: ColumnElement[bool], **values: object
) -> bool:
    """Change the schedule's row if it is not removed and meets the condition; false if it does not."""
    change = update(Schedule).where(Schedule.id == schedule_id, Schedule.removed_at.is_(None), condition)
    changed = change.values(revision=Schedule.revision + 1, **values).returning(Schedule.id)
    return session.scalar(changed) is not None


def _now(session: Session) -> datetime:
    """Postgres's clock, by which runs are fired."""
    return session.scalars(select(func.now())).one()
