"""Moving all jobs of a batch that may be moved, in chunks: retried or cancelled."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import ARRAY, ColumnElement, Engine, Uuid, any_, literal, select
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import State
from cutout.models import JOBS, PRODUCERS
from cutout.models.database import Database
from cutout.producers.quotas import QuotaReachedError, take_up_to
from cutout.queue.cancel_batch import begin_cancelling
from cutout.queue.job_ids import find_ids

# A commit each: workers take up the first while the last are still moved.
JOBS_A_CHUNK = 5000

Move = Callable[[Database, Sequence[uuid.UUID]], int]


def cancel_batch(engine: Engine, batch_id: uuid.UUID) -> int:
    """Withdraw what is not paid for, and what is still being ingested; returns how many are withdrawn by now.

    What runs or is paid for ends by itself. The same again finishes what was interrupted.
    """
    with Session(engine) as session, session.begin():
        # Before its jobs are looked for: what is being ingested into it ends here, and no call begins.
        begin_cancelling(session, batch_id)
    return move(engine, queue.cancel_all, JOBS.c.batch_id == batch_id, JOBS.c.state.in_(queue.CANCELLABLE))


def retry_batch(engine: Engine, batch_id: uuid.UUID, producer_id: uuid.UUID) -> int:
    """Put what failed or is held back in line for its producer, with all tries; returns how many.

    What has failed counts against the quota again, as held jobs do already. Raises QuotaReachedError where
    the room ends; what was put back until then goes on.
    """
    retriable = (JOBS.c.batch_id == batch_id, JOBS.c.state.in_(queue.RETRIABLE))
    with find_ids(engine, *retriable) as ids:
        return sum(_retry_within_quota(engine, chunk, producer_id) for chunk in ids.pages(JOBS_A_CHUNK))


def _retry_within_quota(engine: Engine, ids: Sequence[uuid.UUID], producer_id: uuid.UUID) -> int:
    these = JOBS.c.id == any_(literal(list(ids), ARRAY(Uuid)))
    with engine.begin() as connection:
        failed = connection.scalars(select(JOBS.c.id).where(these, JOBS.c.state == State.FAILED)).all()
        granted = take_up_to(connection, producer_id, len(failed)) if failed else 0
        left = set(failed[granted:])
        moved = queue.retry_all(connection, [each for each in ids if each not in left])
        if not left:
            return moved
        quota = connection.scalars(select(PRODUCERS.c.job_quota).where(PRODUCERS.c.id == producer_id)).one()
    raise QuotaReachedError(producer_id, quota or 0, len(left))


def move(engine: Engine, change: Move, *which: ColumnElement[bool]) -> int:
    """Move those of these jobs that can be moved; returns how many.

    They are chosen once: what fails again meanwhile is not moved again.
    """
    with find_ids(engine, *which) as ids:
        return sum(move_chunk(engine, change, chunk) for chunk in ids.pages(JOBS_A_CHUNK))


def move_chunk(engine: Engine, change: Move, ids: Sequence[uuid.UUID]) -> int:
    """Move what can be moved of these, in a transaction of its own."""
    with engine.begin() as connection:
        return change(connection, ids)
