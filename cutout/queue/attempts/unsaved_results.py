"""Paid results that are neither in the bucket nor in the lifeboat: their number, and failed fetches."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, func, select, text, update

from cutout.enums import Stop
from cutout.models import BREAKER, JOBS, constant
from cutout.models.columns import COPY_STEP, DELAYED, DISPATCHED, READY, RUNNING
from cutout.models.database import Database
from cutout.queue.blocks.storage_breaker import IS_CLOSED, OPENED
from cutout.text import cut

# Failures in a row to fetch a result, and the number of different jobs among them, that stop the calls.
FAILURES = 5
FAILED_JOBS = 3

# The failure of an expired result says nothing about others.
FAILED = text(f"""
    INSERT INTO breaker AS b (kind, failed_jobs)
    SELECT '{Stop.RESULTS}', ARRAY[CAST(:job AS uuid)]
    WHERE CAST(:expires_at AS timestamptz) > clock_timestamp()
    ON CONFLICT (kind) DO UPDATE SET failed_jobs = array_append(
        b.failed_jobs[greatest(cardinality(b.failed_jobs) - {FAILURES - 2}, 1):], CAST(:job AS uuid))
    WHERE b.opened_at IS NULL
    RETURNING cardinality(failed_jobs) >= {FAILURES}
        AND (SELECT count(DISTINCT failed) >= {FAILED_JOBS} FROM unnest(failed_jobs) failed)
""")  # noqa: S608 - constants

# A success between the two statements empties the list.
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

AT_RISK = and_(JOBS.c.step == COPY_STEP, JOBS.c.lifeboat_key.is_(None))
IS_DELAYED = JOBS.c.queue_state == DELAYED


def _count(condition: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).select_from(JOBS).where(AT_RISK, condition).scalar_subquery()


# Each of these has a partial index.
COUNT = select(
    _count(JOBS.c.queue_state == READY)
    + _count(JOBS.c.queue_state.in_([DISPATCHED, DELAYED]))
    + _count(JOBS.c.state == RUNNING)
)

# The result that was paid last is most like a result that would be bought now.
PROMOTE_ONE = (
    update(JOBS)
    .where(
        JOBS.c.id
        == select(JOBS.c.id)
        .where(IS_DELAYED, AT_RISK)
        .order_by(JOBS.c.result_expires_at.desc())
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(queue_state=READY)
    .returning(JOBS.c.id)
)
PROMOTE_ALL = (
    update(JOBS)
    .where(IS_DELAYED, AT_RISK, JOBS.c.code.like("RESULT_%"))
    .values(scheduled_at=func.now())
    .returning(JOBS.c.id)
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure to fetch a paid result: its host, and the reason."""

    host: str
    code: str
    message: str


def failed(database: Database, job_id: uuid.UUID, expires_at: datetime | None, failure: Failure) -> bool:
    """Count a failure to fetch a result that has not expired; true if that stops the calls.

    Five failures in a row stop them, of three jobs or more, with no result stored in between.
    """
    if not database.scalar(FAILED, {"job": job_id, "expires_at": expires_at}):
        return False
    reason = f"results at {failure.host}: {failure.code}: {failure.message}"
    why = {"why": cut(reason), "at_host": failure.host, "with_code": failure.code}
    return database.scalar(OPEN, why) is not None


def count(database: Database) -> int:
    """Count the paid results of unfinished jobs that are saved nowhere."""
    return database.scalars(COUNT).one()


def try_one(database: Database) -> bool:
    """Let one delayed copy be tried now; false if there is none."""
    return database.scalar(PROMOTE_ONE) is not None


def try_all(database: Database) -> int:
    """Let every copy that was delayed by a failed fetch be tried now; returns how many."""
    return len(database.scalars(PROMOTE_ALL).all())
