"""Publication of results: a file in the bucket for each ended batch."""

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    Engine,
    Row,
    Select,
    Uuid,
    all_,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    update,
)

from cutout.enums import UNFINISHED_STATES
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.queue.batch_progress import STILL_READ, first_job
from cutout.results.formats import MEDIA_TYPES, Format, write_results
from cutout.results.rows import Selection, open_results
from cutout.storage import Bucket

MOST_BATCHES = 20
HAS_ENDED = and_(first_job().is_not(None), first_job(*UNFINISHED_STATES).is_(None), STILL_READ.is_(None))

# A condition of the index: each enqueued job has a virtual start greater than 0.
HAD_JOBS = BATCHES.c.last_virtual_start > literal_column("0")

ENDED = (
    select(BATCHES.c.id)
    .where(
        BATCHES.c.results_key.is_(None),
        HAD_JOBS,
        BATCHES.c.id != all_(bindparam("but", type_=ARRAY(Uuid))),
        HAS_ENDED,
    )
    .limit(MOST_BATCHES)
)


def ended_batches(database: Database, but: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Batches whose jobs are all final and that have no results yet, MOST_BATCHES at most, except `but`."""
    return list(database.scalars(ENDED, {"but": list(but)}))


def keep_results(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> bool:
    """Write a batch's results as CSV into the bucket; False if one of its jobs changed meanwhile.

    Two processes at once write the same content. Raises StorageError.
    """
    with engine.connect() as connection:
        before = connection.execute(_counts(batch_id)).one()
    key = results_key(batch_id)
    with open_results(engine, Selection(batch_id)) as results:
        bucket.put_pieces(write_results(results, Format.CSV), key=key, media_type=MEDIA_TYPES[Format.CSV])
    return _record(engine, batch_id, key, before)


def results_key(batch_id: uuid.UUID) -> str:
    """The key of a batch's results."""
    return f"results/{batch_id}.csv"


def _counts(batch_id: uuid.UUID) -> Select[int, int, datetime | None]:
    """Numbers of jobs and of deleted jobs, and the last end, which is later if a job ran again."""
    jobs, deleted = func.count(), func.count(JOBS.c.deleted_at)
    return select(jobs, deleted, func.max(JOBS.c.finished_at)).where(JOBS.c.batch_id == batch_id)


def _record(engine: Engine, batch_id: uuid.UUID, key: str, before: Row[int, int, datetime | None]) -> bool:
    this = BATCHES.c.id == batch_id
    with engine.begin() as connection:
        # Enqueuing or retrying a job changes this row in the same transaction: the change is seen below, or
        # waits for the lock and removes the key again.
        connection.execute(select(BATCHES.c.id).where(this).with_for_update())
        unchanged = connection.execute(_counts(batch_id)).one() == before
        if not (unchanged and connection.scalar(select(HAS_ENDED).where(this))):
            return False
        connection.execute(update(BATCHES).where(this).values(results_key=key, results_unwritten_at=None))
    return True
