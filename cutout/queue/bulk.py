"""Changes of all jobs of a batch, in chunks: retry and cancel."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import ARRAY, ColumnElement, Engine, Uuid, any_, func, literal, null, select, update

from cutout.enums import UNFINISHED_STATES, State
from cutout.models import BATCHES, INGESTS, JOBS
from cutout.models.database import Database
from cutout.producers.quotas import take_up_to
from cutout.queue.actions import retry_all
from cutout.queue.batch_actions.locks import end_retries, lock_actions
from cutout.queue.batch_progress import HAS_MORE
from cutout.queue.blocks.pauses import NEXT_REVISION
from cutout.queue.job_ids import find_ids

# One commit each: workers take the first jobs while the last are still changed.
JOBS_A_CHUNK = 5000

Change = Callable[[Database, Sequence[uuid.UUID]], int]


def begin_cancelling(database: Database, batch_id: uuid.UUID) -> bool:
    """Let no call of the batch begin from now on; end its retries and its ingest. False if that was so.

    In the caller's transaction. Its jobs are to be cancelled after the commit. A batch that has ended stays
    as it ended.
    """
    lock_actions(database, batch_id)
    had_retries = end_retries(database, batch_id)
    # In the order in which an ingest locks them: one may be adding to the batch now. Not the lock that keeps
    # out rows that refer to the batch: an ingest that ends has locked its own row, which is wanted below.
    this = select(BATCHES.c.id).where(BATCHES.c.id == batch_id)
    database.execute(this.with_for_update(key_share=True))
    begun = database.scalar(
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.cancelled_at.is_(None), HAS_MORE)
        .values(cancelled_at=func.now(), **NEXT_REVISION)
        .returning(BATCHES.c.id)
    )
    database.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id, INGESTS.c.finished_at.is_(None))
        .values(finished_at=func.now(), code=null(), message=null())
    )
    return had_retries or begun is not None


def count_unfinished(database: Database, condition: ColumnElement[bool]) -> int:
    """Count the jobs that match `condition` and have not ended."""
    counted = select(func.count()).where(condition, JOBS.c.state.in_(UNFINISHED_STATES))
    return database.scalar(counted) or 0


def retry_within_quota(
    database: Database, ids: Sequence[uuid.UUID], producer_id: uuid.UUID | None
) -> tuple[int, int]:
    """Retry these jobs of the producer, in the caller's transaction; returns how many, and how many not.

    Failed jobs count against the quota again, as held jobs do already. Those without room are left as they
    are.
    """
    if producer_id is None:
        return retry_all(database, ids), 0
    is_given = JOBS.c.id == any_(literal(list(ids), ARRAY(Uuid)))
    failed = database.scalars(select(JOBS.c.id).where(is_given, JOBS.c.state == State.FAILED)).all()
    granted = take_up_to(database, producer_id, len(failed)) if failed else 0
    refused = set(failed[granted:])
    return retry_all(database, [job_id for job_id in ids if job_id not in refused]), len(refused)


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
