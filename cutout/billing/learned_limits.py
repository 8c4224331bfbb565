"""Learned limits of the accounts, stored in Postgres so that they survive Redis and can be shown."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Insert, Interval, Text, and_, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import AttemptOutcome, State, Step
from cutout.models import LIMITS, Attempt, Job, Limit
from cutout.models.database import Database

RECENTLY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LimitState:
    """State of a limit: calls, calls a second, seconds. `top` is None before the first slow answer.

    Times are spans from now, since the reading process may have a wrong clock: `slow_since` the last slow
    answer; `rests_for` until a requested pause ends; `circuit_for` until the open circuit's next probe.
    """

    level: float
    top: float | None
    open_calls: int
    waiting: int
    calls_per_second: float
    latency_seconds: float
    slow_since: timedelta | None
    rests_for: timedelta | None
    circuit_for: timedelta | None


def circuit_is_open(limit: type[Limit]) -> ColumnElement[bool]:
    """Whether the endpoint fails for all jobs of the account, by a state written within the last minute.

    A probe time in the past still means that the circuit is open: the probe is due or under way.
    """
    is_recent = or_(limit.circuit_until > func.now(), limit.seen_at > func.now() - RECENTLY)
    return and_(limit.circuit_until.is_not(None), is_recent)


def _save() -> Insert:
    since, rests_for, circuit_for = (
        cast(bindparam(name, type_=Interval), Interval) for name in ("slow_since", "rests_for", "circuit_for")
    )
    figures = ("level", "top", "open_calls", "waiting", "calls_per_second", "latency_seconds")
    values: dict[str, ColumnElement[Any]] = {
        name: bindparam(name, type_=LIMITS.c[name].type) for name in figures
    }
    values |= {
        "slow_at": func.now() - since,
        "rests_until": func.now() + rests_for,
        "circuit_until": func.now() + circuit_for,
    }
    new = insert(LIMITS).values(account=bindparam("account", type_=Text), **values)
    changed = {name: new.excluded[name] for name in values} | {"seen_at": func.now()}
    return new.on_conflict_do_update(index_elements=["account"], set_=changed)


SAVE = _save()


def save(database: Database, account: str, state: LimitState) -> None:
    """Store the present state of the account's limit."""
    values = asdict(state) | {"account": account}
    database.execute(SAVE, values)


def find(database: Database, account: str) -> tuple[float, float | None] | None:
    """The learned level and top, if there are any."""
    row = database.execute(select(Limit.level, Limit.top).where(Limit.account == account)).first()
    return (row.level, row.top) if row else None


def calls_are_open(database: Database, account: str) -> bool:
    """Whether a worker may have an open call of this account now."""
    called = (
        select(Attempt.id)
        .join(Job, Job.id == Attempt.job_id)
        .where(
            Job.state == State.RUNNING,
            Job.step == Step.CALL,
            Attempt.account == account,
            Attempt.outcome == AttemptOutcome.UNKNOWN,
            Attempt.ended_at.is_(None),
        )
    )
    return database.scalar(select(called.exists())) is True
