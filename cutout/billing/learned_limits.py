"""What was learned of each account's limit: kept here, so that it survives Redis, and shown to people."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Insert, Interval, Text, and_, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import AttemptOutcome, State, Step
from cutout.models import LIMITS, Attempt, Job, Limit
from cutout.models.database import Database

SEEN_OF_LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands: calls, calls a second, seconds. `top` is None before the first slow answer.

    Times are spans from now, since whoever looked may have a wrong clock: since the last slow answer, until
    the rest that was asked for ends, until the open circuit's next probe.
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
    """Whether the endpoint fails for all jobs of the account, as it was seen within the last minute.

    The time of the next probe says it even when it is past: then that probe is due, or out.
    """
    of_late = or_(limit.circuit_until > func.now(), limit.seen_at > func.now() - SEEN_OF_LATE)
    return and_(limit.circuit_until.is_not(None), of_late)


def _keep() -> Insert:
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


KEEP = _keep()


def keep(database: Database, account: str, standing: Standing) -> None:
    """Write down how the account's limit stands now."""
    values = asdict(standing) | {"account": account}
    database.execute(KEEP, values)


def find(database: Database, account: str) -> tuple[float, float | None] | None:
    """The level and the top that were learned, if any were."""
    row = database.execute(select(Limit.level, Limit.top).where(Limit.account == account)).first()
    return (row.level, row.top) if row else None


def calls_are_open(database: Database, account: str) -> bool:
    """Whether a worker may have a call of this account out now."""
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
