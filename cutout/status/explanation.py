"""The explanation of a job's state, and the parts of its text: times, durations, the database's clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.enums import State
from cutout.models import Job

SECONDS_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Explanation:
    """`why` is a stable code for programs; `text` is for people; `remedy` says what they can do, if anything.

    `ahead` counts the calls of the same producer before this one, at most 100,000; `until` is the time when
    the job is expected to continue.
    """

    state: State
    why: str
    text: str
    remedy: str | None = None
    ahead: int | None = None
    until: datetime | None = None


def explanation(job: Job, why: str, text: str, remedy: str | None = None) -> Explanation:
    """The explanation of a job in its present state."""
    return Explanation(State(job.state), why, text, remedy)


def time_text(moment: datetime | None) -> str:
    """A time to the second, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no time"


def duration_text(span: timedelta) -> str:
    """A duration as `12 s`, `3 min 5 s` or `2 h 7 min`; a negative one as `0 s`."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < SECONDS_A_MINUTE:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, SECONDS_A_MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def database_now(session: Session) -> datetime:
    """The time by Postgres' clock, which set the times it is compared with; the local clock may be wrong."""
    return session.scalars(select(func.now())).one()
