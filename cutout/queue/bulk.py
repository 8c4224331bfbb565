"""Actions on all jobs of a batch, in chunks: retry and cancel."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import ARRAY, ColumnElement, Engine, Uuid, any_, func, literal, null, select, update
from sqlalchemy.orm import Session

from cutout.enums import UNFINISHED_STATES, State
from cutout.models import BATCHES, INGESTS, JOBS, PRODUCERS
from cutout.models.database import Database
from cutout.producers.quotas import QuotaReachedError, take_up_to
from cutout.queue.actions import CANCELLABLE, RETRIABLE, cancel_all, retry_all
from cutout.queue.batch_progress import HAS_MORE
from cutout.queue.job_ids import find_ids

# One commit each: workers take the first jobs while the last are still changed.
JOBS_A_CHUNK = 5000

Change = Callable[[Database, Sequence[uuid.UUID]], int]


def begin_cancelling(database: Database, batch_id: uuid.UUID) -> None:
    """Let no call of the batch begin from now on and end its ingest, in the caller's transaction.

    Its jobs are to be cancelled after the commit. A batch that has ended stays as it ended.
    """
    # In the order in which an ingest locks them: one may be adding to the batch now.
    database.execute(select(BATCHES.c.id).where(BATCHES.c.id == batch_id).with_for_update())
    database.execute(
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.cancelled_at.is_(None), HAS_MORE)
        .values(cancelled_at=func.now())
    )
    database.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id, INGESTS.c.finished_at.is_(None))
        .values(finished_at=func.now(), code=null(), message=null())
    )


def count_unfinished(database: Database, condition: ColumnElement[bool]) -> int:
    """Count the jobs that match `condition` and have not ended."""
    counted = select(func.count()).where(condition, JOBS.c.state.in_(UNFINISHED_STATES))
    return database.scalar(counted) or 0


def cancel_batch(engine: Engine, batch_id: uuid.UUID) -> int:
    """Cancel the batch's jobs that are not paid for, and its ingest; returns how many jobs are cancelled now.

    Running and paid jobs end by themselves. A second call finishes one that was interrupted.
    """
    with Session(engine) as session, session.begin():
        # Before its jobs are selected: the ingest ends here, and no call begins.
        begin_cancelling(session, batch_id)
    return apply_in_chunks(engine, cancel_all, JOBS.c.batch_id == batch_id, JOBS.c.state.in_(CANCELLABLE))


def retry_batch(engine: Engine, batch_id: uuid.UUID, producer_id: uuid.UUID) -> int:
    """Retry the producer's failed and held jobs of a batch, with all tries; returns how many.

    Failed jobs count against the quota again, as held jobs do already. Raises QuotaReachedError where the
    quota ends; jobs that were retried until then continue.
    """
    retriable = (JOBS.c.batch_id == batch_id, JOBS.c.state.in_(RETRIABLE))
    with find_ids(engine, *retriable) as ids:
        return sum(_retry_within_quota(engine, chunk, producer_id) for chunk in ids.pages(JOBS_A_CHUNK))


def _retry_within_quota(engine: Engine, ids: Sequence[uuid.UUID], producer_id: uuid.UUID) -> int:
    is_in_chunk = JOBS.c.id == any_(literal(list(ids), ARRAY(Uuid)))
    with engine.begin() as connection:
        failed = connection.scalars(select(JOBS.c.id).where(is_in_chunk, JOBS.c.state == State.FAILED)).all()
        granted = take_up_to(connection, producer_id, len(failed)) if failed else 0
        refused = set(failed[granted:])
        retried = retry_all(connection, [job_id for job_id in ids if job_id not in refused])
        if not refused:
            return retried
        quota = connection.scalars(select(PRODUCERS.c.job_quota).where(PRODUCERS.c.id == producer_id)).one()
    raise QuotaReachedError(producer_id, quota or 0, len(refused))


def apply_in_chunks(engine: Engine, change: Change, *conditions: ColumnElement[bool]) -> int:
    """Apply `change` to the jobs that match; returns how many it changed.

    The jobs are selected once: one that fails again meanwhile is not changed again.
    """
    with find_ids(engine, *conditions) as ids:
        return sum(apply_chunk(engine, change, chunk) for chunk in ids.pages(JOBS_A_CHUNK))


def apply_chunk(engine: Engine, change: Change, ids: Sequence[uuid.UUID]) -> int:
    """Apply `change` to these jobs in one transaction; returns how many it changed."""
    with engine.begin() as connection:
        return change(connection, ids)
