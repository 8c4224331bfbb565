"""Withdrawing a batch: from the first statement on nothing more is bought for it, wherever its jobs are."""

import uuid

from sqlalchemy import ColumnElement, func, null, select, update

from cutout.enums import UNFINISHED_STATES
from cutout.models import BATCHES, INGESTS, JOBS
from cutout.models.database import Database
from cutout.queue.batch_progress import HAS_MORE


def begin_cancelling(database: Database, batch_id: uuid.UUID) -> None:
    """Let no call of the batch begin from now on and read no further into it, in the caller's transaction.

    Its jobs are to be cancelled after the commit. A batch that has ended stays as it ended.
    """
    # In the order in which an ingest takes them, which may be adding to the batch now.
    database.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update())
    database.execute(
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.cancelled_at.is_(None), HAS_MORE)
        .values(cancelled_at=func.now())
    )
    _cancel_ingest(database, batch_id)


def unfinished(database: Database, which: ColumnElement[bool]) -> int:
    """How many of these jobs are still to end."""
    counted = select(func.count()).where(which, JOBS.c.state.in_(UNFINISHED_STATES))
    return database.scalar(counted) or 0


def _cancel_ingest(database: Database, batch_id: uuid.UUID) -> None:
    """End an ingest that is not finished: nothing more is read into a cancelled batch."""
    database.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id, INGESTS.c.finished_at.is_(None))
        .values(finished_at=func.now(), code=null(), message=null())
    )
