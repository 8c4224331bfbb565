"""Ended jobs of a batch in the order of their ends, from any position on."""

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Uuid, bindparam, func, select, text, tuple_

from cutout.models import JOBS
from cutout.models.database import Database

ROWS_A_PAGE = 500
# A transaction becomes visible microseconds after it has taken its time.
UNSEEN = timedelta(milliseconds=10)
LONGEST_WAIT = timedelta(seconds=5)

OPEN_SINCE = text("SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()")


class Position(NamedTuple):
    """The position behind this job's end; several jobs may have ended at one moment."""

    finished_at: datetime
    id: uuid.UUID


class FinishedJob(NamedTuple):
    """An ended job and its outcome."""

    id: uuid.UUID
    external_id: str | None
    return_form: str
    state: str
    code: str | None
    finished_at: datetime

    @property
    def position(self) -> Position:
        return Position(self.finished_at, self.id)


END = tuple_(JOBS.c.finished_at, JOBS.c.id)
ENDED = (
    select(*(JOBS.c[name] for name in FinishedJob._fields))
    .where(
        JOBS.c.batch_id == bindparam("batch", type_=Uuid),
        JOBS.c.finished_at.is_not(None),
        JOBS.c.finished_at < bindparam("until", type_=JOBS.c.finished_at.type),
        JOBS.c.deleted_at.is_(None),
    )
    .order_by(JOBS.c.finished_at, JOBS.c.id)
    .limit(ROWS_A_PAGE)
)
ENDED_LATER = ENDED.where(
    END  # noqa: SIM300 - both are expressions of SQL
    > tuple_(bindparam("at", type_=JOBS.c.finished_at.type), bindparam("id", type_=Uuid))
)


def complete_until(database: Database) -> datetime:
    """The moment before which all ended jobs are visible; read it before the jobs.

    A job's end has the time of its transaction's begin, and is visible after the commit. So this is the begin
    of the oldest open transaction, at most LONGEST_WAIT ago: a job that ends in a longer transaction may be
    missed. Only transactions of the caller's own role are visible to it.
    """
    now, since = database.execute(
        select(func.clock_timestamp(), OPEN_SINCE.columns(since=JOBS.c.finished_at.type).scalar_subquery())
    ).one()
    until: datetime = max(min(since or now, now) - UNSEEN, now - LONGEST_WAIT)
    return until


def finished_jobs(
    database: Database, batch_id: uuid.UUID, after: Position | None, until: datetime
) -> list[FinishedJob]:
    """The next ended jobs of the batch, ROWS_A_PAGE at most."""
    parameters = {"batch": batch_id, "until": until}
    if after is None:
        rows = database.execute(ENDED, parameters)
    else:
        rows = database.execute(ENDED_LATER, parameters | {"at": after.finished_at, "id": after.id})
    return [FinishedJob._make(row) for row in rows]
