"""Results in the bucket: written once for each batch that has ended."""

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

# Of the index: whatever was enqueued into a batch got a place behind 0.
HAD_JOBS = BATCHES.c.last_place > literal_column("0")

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
    """Batches all of whose jobs are final and whose results are not in the bucket yet, some at a time."""
    return list(database.scalars(ENDED, {"but": list(but)}))


def keep_results(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> bool:
    """Write a batch's results as CSV into the bucket; False if a job of it moved on meanwhile.

    Two who do it at once write the same. Raises StorageError.
    """
    with engine.connect() as connection:
        before = connection.execute(_standing(batch_id)).one()
    key = results_key(batch_id)
    with open_results(engine, Selection(batch_id)) as results:
        bucket.put_pieces(write_results(results, Format.CSV), key=key, media_type=MEDIA_TYPES[Format.CSV])
    return _record(engine, batch_id, key, before)


def results_key(batch_id: uuid.UUID) -> str:
    """Where a batch's results lie once it has ended."""
    return f"results/{batch_id}.csv"


def _standing(batch_id: uuid.UUID) -> Select[int, int, datetime | None]:
    """How many jobs the batch has, how many were deleted, and when the last one ended: one that ran again
    ended later.
    """
    jobs, deleted = func.count(), func.count(JOBS.c.deleted_at)
    return select(jobs, deleted, func.max(JOBS.c.finished_at)).where(JOBS.c.batch_id == batch_id)


def _record(engine: Engine, batch_id: uuid.UUID, key: str, before: Row[int, int, datetime | None]) -> bool:
    its = BATCHES.c.id == batch_id
    with engine.begin() as connection:
        # Whoever puts a job in line changes this row in the same transaction: it is seen below, or waits and
        # takes the key away again.
        connection.execute(select(BATCHES.c.id).where(its).with_for_update())
        unchanged = connection.execute(_standing(batch_id)).one() == before
        if not (unchanged and connection.scalar(select(HAS_ENDED).where(its))):
            return False
        connection.execute(update(BATCHES).where(its).values(results_key=key, results_unwritten_at=None))
    return True
