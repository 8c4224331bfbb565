"""Late schedules: runs that did not fire, and windows that are too short for their remaining calls."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Interval, Select, cast, func, literal, select
from sqlalchemy.orm import Session

from cutout.enums import UNDER_WAY, AtWindowEnd, State, Step
from cutout.models import Batch, Job, Run, Schedule
from cutout.schedules.fire import FIRES_ON
from cutout.status.call_rate import CallSettings, calls_a_second

A_SECOND = cast(literal("1 second"), Interval)


class Lateness(StrEnum):
    """Kind of lateness."""

    NOT_FIRED = "not_fired"
    """Its time and its grace are over, and no dispatcher has fired it."""
    WINDOW_TOO_SHORT = "window_too_short"
    """At the measured rate not all of its calls can be made before the window closes."""


@dataclass(frozen=True, slots=True)
class LateSchedule:
    """A schedule that is late. `text` describes it to an operator, `remedy` says what to do."""

    schedule_id: uuid.UUID
    lateness: Lateness
    text: str
    remedy: str


def late_schedules(session: Session, settings: CallSettings) -> list[LateSchedule]:
    """All schedules that are late now or will be, those that did not fire first."""
    return [*_not_fired(session), *_windows_too_short(session, settings)]


def schedules_exist(session: Session) -> bool:
    """Whether there is any schedule that could be late."""
    return session.scalar(select(Schedule.id).where(Schedule.removed_at.is_(None)).limit(1)) is not None


def _not_fired(session: Session) -> Iterator[LateSchedule]:
    overdue = select(Schedule.id, Schedule.name, Schedule.next_fire_at).where(
        Schedule.next_due_at + Schedule.grace_seconds * A_SECOND < func.now(),
        FIRES_ON,
    )
    for row in session.execute(overdue.order_by(Schedule.next_due_at)):
        text = f"{row.name}: the run of {_time_text(row.next_fire_at)} has not fired"
        yield LateSchedule(row.id, Lateness.NOT_FIRED, text, "start `cutout dispatcher`, or see its log")


def _windows_too_short(session: Session, settings: CallSettings) -> Iterator[LateSchedule]:
    rate = calls_a_second(session, settings.accounts, settings.calls_per_second)
    if not rate:
        return
    for row in session.execute(_in_windows()):
        needed = timedelta(seconds=row.calls / rate)
        left = row.closes_at - max(row.now, row.opens_at or row.now)
        if needed > left:
            text = (
                f"{row.name}: {row.calls:,} calls are left and take {_minutes(needed)} at {rate:.1f}/s; its"
                f" window has {_minutes(left)} left, until {_time_text(row.closes_at)}"
            )
            yield LateSchedule(
                row.id,
                Lateness.WINDOW_TOO_SHORT,
                text,
                "widen the window, let it run on, or raise the limit: see `cutout limits`",
            )


def _in_windows() -> Select[uuid.UUID, str, datetime, datetime | None, datetime, int]:
    calls = (
        select(func.count())
        .where(
            Job.batch_id == Batch.id,
            Job.state.in_([State.QUEUED, State.RUNNING]),
            Job.step == Step.CALL,
        )
        .correlate(Batch)
        .scalar_subquery()
    )
    return (
        select(
            Schedule.id,
            Schedule.name,
            Run.closes_at,
            Batch.opens_at,
            func.now().label("now"),
            calls.label("calls"),
        )
        .join_from(Run, Schedule, Schedule.id == Run.schedule_id)
        .join(Batch, Batch.id == Run.batch_id)
        .where(
            Run.state.in_(UNDER_WAY),
            Run.closes_at > func.now(),
            Schedule.at_window_end == AtWindowEnd.WAIT,
        )
        .order_by(Run.closes_at)
    )


def _time_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _minutes(span: timedelta) -> str:
    return f"{span / timedelta(minutes=1):,.0f} min"
