"""Paid results that are neither in the bucket nor in the lifeboat: how many, and what keeps them there."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, func, select, text, update

from cutout.enums import QueueState, State, Step, Stop
from cutout.models import BREAKER, JOBS, constant
from cutout.models.database import Database
from cutout.queue.blocks.call_breakers import IS_CLOSED
from cutout.queue.blocks.storage_breaker import OPENED
from cutout.text import cut

# So many results in a row that cannot be fetched, of so many jobs, stop the calls.
FAILURES = 5
FAILED_JOBS = 3

# A result whose time is over says nothing of others.
FAILED = text(f"""
    INSERT INTO breaker AS b (kind, failed_jobs)
    SELECT '{Stop.RESULTS}', ARRAY[CAST(:job AS uuid)]
    WHERE CAST(:expires_at AS timestamptz) > clock_timestamp()
    ON CONFLICT (kind) DO UPDATE SET failed_jobs = array_append(
        b.failed_jobs[greatest(cardinality(b.failed_jobs) - {FAILURES - 2}, 1):], CAST(:job AS uuid))
    WHERE b.opened_at IS NULL
    RETURNING cardinality(failed_jobs) >= {FAILURES}
        AND (SELECT count(DISTINCT failed) >= {FAILED_JOBS} FROM unnest(failed_jobs) failed)
""")  # noqa: S608 - our own words and numbers

# A success between the two statements has emptied the list.
OPEN = (
    update(BREAKER)
    .where(
        BREAKER.c.kind == constant(Stop.RESULTS),
        IS_CLOSED,
        func.cardinality(BREAKER.c.failed_jobs) >= FAILURES,
    )
    .values(**OPENED, reason=bindparam("why"), host=bindparam("at_host"), code=bindparam("with_code"))
    .returning(BREAKER.c.kind)
)

AT_RISK = and_(JOBS.c.step == constant(Step.COPY), JOBS.c.lifeboat_key.is_(None))
IS_PAUSED = JOBS.c.queue_state == constant(QueueState.DELAYED)


def _count(part: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).select_from(JOBS).where(AT_RISK, part).scalar_subquery()


# Each part has a partial index.
COUNT = select(
    _count(JOBS.c.queue_state == constant(QueueState.READY))
    + _count(JOBS.c.queue_state.in_([constant(QueueState.DISPATCHED), constant(QueueState.DELAYED)]))
    + _count(JOBS.c.state == constant(State.RUNNING))
)

# The one that was paid last says most of what would be bought now.
WAKE_ONE = (
    update(JOBS)
    .where(
        JOBS.c.id
        == select(JOBS.c.id)
        .where(IS_PAUSED, AT_RISK)
        .order_by(JOBS.c.result_expires_at.desc())
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(queue_state=constant(QueueState.READY))
    .returning(JOBS.c.id)
)
WAKE_ALL = (
    update(JOBS)
    .where(IS_PAUSED, AT_RISK, JOBS.c.code.like("RESULT_%"))
    .values(scheduled_at=func.now())
    .returning(JOBS.c.id)
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A paid result that could not be fetched: at which host, and why."""

    host: str
    code: str
    message: str


def failed(database: Database, job_id: uuid.UUID, expires_at: datetime | None, failure: Failure) -> bool:
    """Count a result that could not be fetched before it expired; True if that stops the calls.

    Five in a row do, of three jobs or more, with no result fetched and stored in between.
    """
    if not database.scalar(FAILED, {"job": job_id, "expires_at": expires_at}):
        return False
    reason = f"results at {failure.host}: {failure.code}: {failure.message}"
    why = {"why": cut(reason), "at_host": failure.host, "with_code": failure.code}
    return database.scalar(OPEN, why) is not None


def count(database: Database) -> int:
    """How many results of jobs under way are paid for and saved nowhere."""
    return database.scalars(COUNT).one()


def try_one(database: Database) -> bool:
    """Let one copy that rests be tried now; False if none rests."""
    return database.scalar(WAKE_ONE) is not None


def try_all(database: Database) -> int:
    """Let every copy that rests because its result could not be fetched be tried now; returns how many."""
    return len(database.scalars(WAKE_ALL).all())
