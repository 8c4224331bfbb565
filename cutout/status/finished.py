"""Jobs of a batch in the order in which they ended, from any moment on."""

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Uuid, bindparam, func, select, text, tuple_

from cutout.models import JOBS
from cutout.models.database import Database

ROWS_A_PAGE = 500
# Between taking the time and saying so a transaction is not seen: microseconds.
UNSEEN = timedelta(milliseconds=10)
LONGEST_WAIT = timedelta(seconds=5)

OPEN_SINCE = text("SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()")


class Position(NamedTuple):
    """Behind this job's end; two may have ended at one moment."""

    finished_at: datetime
    id: uuid.UUID


class FinishedJob(NamedTuple):
    """How a job ended."""

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


def told_until(database: Database) -> datetime:
    """The moment before which no further job will turn out to have ended, to be asked before jobs are read.

    A job ends at the begin of a transaction and is seen at its end. So this is the begin of the oldest
    transaction that is open, which a long one, reading or writing, holds back by LONGEST_WAIT at most: jobs
    that end in one that takes longer may be missed. Sees the transactions of its own role alone.
    """
    now, since = database.execute(
        select(func.clock_timestamp(), OPEN_SINCE.columns(since=JOBS.c.finished_at.type).scalar_subquery())
    ).one()
    until: datetime = max(min(since or now, now) - UNSEEN, now - LONGEST_WAIT)
    return until


def finished_jobs(
    database: Database, batch_id: uuid.UUID, after: Position | None, until: datetime
) -> list[FinishedJob]:
    """The next jobs of the batch that ended, ROWS_A_PAGE at most."""
    parameters = {"batch": batch_id, "until": until}
    if after is None:
        rows = database.execute(ENDED, parameters)
    else:
        rows = database.execute(ENDED_LATER, parameters | {"at": after.finished_at, "id": after.id})
    return [FinishedJob._make(row) for row in rows]
