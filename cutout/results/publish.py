"""Publication of results: a file in the bucket for each ended batch."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

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

from cutout.enums import FINAL_STATES, UNFINISHED_STATES, OutputState
from cutout.models import BATCHES, JOBS, OUTPUTS, constant
from cutout.models.database import Database
from cutout.queue.batch_progress import STILL_READ, first_job
from cutout.queue.outputs.ask import add_missing
from cutout.results.formats import MEDIA_TYPES, Format, write_results
from cutout.results.rows import Selection, open_results
from cutout.status.batch_credits import credits_of_batch
from cutout.storage import Bucket

MOST_BATCHES = 20
# All of a batch that has results.
TALLIED = sorted(FINAL_STATES)
OUTPUTS_WAIT = (
    select(OUTPUTS.c.name)
    .where(OUTPUTS.c.batch_id == BATCHES.c.id, OUTPUTS.c.state == constant(OutputState.WAITING))
    .correlate(BATCHES)
    .exists()
)
HAS_ENDED = and_(first_job().is_not(None), first_job(*UNFINISHED_STATES).is_(None), STILL_READ.is_(None))

# A condition of the index: each enqueued job has a virtual start greater than 0.
HAD_JOBS = BATCHES.c.last_virtual_start > literal_column("0")

ENDED = (
    select(BATCHES.c.id)
    .where(
        BATCHES.c.results_key.is_(None),
        HAD_JOBS,
        BATCHES.c.delete_requested_at.is_(None),
        BATCHES.c.id != all_(bindparam("but", type_=ARRAY(Uuid))),
        HAS_ENDED,
    )
    .limit(MOST_BATCHES)
)


# Their results were written while outputs were waiting, and none is waiting any more.
RENDERED = (
    select(BATCHES.c.id)
    .where(
        BATCHES.c.outputs_pending,
        BATCHES.c.delete_requested_at.is_(None),
        BATCHES.c.results_key.is_not(None),
        BATCHES.c.id != all_(bindparam("but", type_=ARRAY(Uuid))),
        ~OUTPUTS_WAIT,
    )
    .limit(MOST_BATCHES)
)


def ended_batches(database: Database, but: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Batches whose jobs are all final and that have no results yet, or results without their outputs.

    At most 2 * MOST_BATCHES, except `but`.
    """
    parameters = {"but": list(but)}
    return [*database.scalars(ENDED, parameters), *database.scalars(RENDERED, parameters)]


def keep_results(engine: Engine, bucket: Bucket, batch_id: uuid.UUID) -> bool:
    """Write a batch's results as CSV into the bucket; False if one of its jobs changed meanwhile.

    Two processes at once write the same content. Raises StorageError.
    """
    if _has_renditions(engine, batch_id):
        add_missing(engine, batch_id)
    with engine.connect() as connection:
        before = connection.execute(_counts(batch_id)).one()
        # An output that is finished while the file is written may not be in it.
        outputs = connection.execute(_output_counts(batch_id)).one()
    key = results_key(batch_id)
    with open_results(engine, Selection(batch_id)) as results:
        pieces = write_results(results, Format.CSV, renditions=results.renditions)
        bucket.put_pieces(pieces, key=key, media_type=MEDIA_TYPES[Format.CSV])
    written = _record(engine, batch_id, key, before, outputs)
    if not written and _is_deleted(engine, batch_id):
        # Its deletion may have looked for the file before it was there.
        bucket.delete(key)
    return written


def _is_deleted(engine: Engine, batch_id: uuid.UUID) -> bool:
    with engine.connect() as connection:
        asked = select(BATCHES.c.delete_requested_at.is_not(None)).where(BATCHES.c.id == batch_id)
        return bool(connection.scalar(asked))


def _has_renditions(engine: Engine, batch_id: uuid.UUID) -> bool:
    with engine.connect() as connection:
        asked = select(BATCHES.c.renditions.is_not(None)).where(BATCHES.c.id == batch_id)
        return bool(connection.scalar(asked))


def results_key(batch_id: uuid.UUID) -> str:
    """The key of a batch's results."""
    return f"results/{batch_id}.csv"


def _counts(batch_id: uuid.UUID) -> Select[*tuple[Any, ...]]:
    """Numbers of jobs by final state and of deleted jobs, and the last end, later if a job ran again."""
    states = [func.count().filter(JOBS.c.state == constant(state)).label(state) for state in TALLIED]
    jobs, deleted = func.count(), func.count(JOBS.c.deleted_at)
    return select(jobs, deleted, func.max(JOBS.c.finished_at), *states).where(JOBS.c.batch_id == batch_id)


def _output_counts(batch_id: uuid.UUID) -> Select[int, int, datetime | None]:
    """Numbers of outputs that wait and of all, and the last end, which is later if one was made again."""
    waiting = func.count().filter(OUTPUTS.c.state == constant(OutputState.WAITING)).label("waiting")
    return select(waiting, func.count(), func.max(OUTPUTS.c.finished_at)).where(
        OUTPUTS.c.batch_id == batch_id
    )


def _record(
    engine: Engine,
    batch_id: uuid.UUID,
    key: str,
    before: Row[*tuple[Any, ...]],
    outputs: Row[int, int, datetime | None],
) -> bool:
    this = BATCHES.c.id == batch_id
    with engine.begin() as connection:
        # Enqueuing or retrying a job changes this row in the same transaction: the change is seen below, or
        # waits for the lock and removes the key again.
        connection.execute(select(BATCHES.c.id).where(this).with_for_update())
        unchanged = connection.execute(_counts(batch_id)).one() == before
        unchanged = unchanged and not connection.scalar(
            select(BATCHES.c.delete_requested_at.is_not(None)).where(this)
        )
        if not (unchanged and connection.scalar(select(HAS_ENDED).where(this))):
            return False
        pending = outputs.waiting > 0 or connection.execute(_output_counts(batch_id)).one() != outputs
        tally = {state: before._mapping[state] for state in TALLIED}  # noqa: SLF001 - a public name
        # Under the lock: a charge that is recorded from now on waits for it, and empties the number again.
        credits_ = credits_of_batch(connection, batch_id)
        connection.execute(
            update(BATCHES)
            .where(this)
            .values(
                results_key=key,
                results_unwritten_at=None,
                outputs_pending=pending,
                tally=tally,
                credits=credits_,
            )
        )
    return True
