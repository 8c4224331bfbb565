"""Failed outputs that are to be made again, with all their tries: for no credit."""

import uuid
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, func, null, select, update

from cutout.enums import OutputState
from cutout.models import OUTPUTS, constant
from cutout.models.database import Database
from cutout.queue.outputs.ask import Count, await_outputs, no_count

OUTPUTS_A_CHUNK = 5000
HAS_FAILED = OUTPUTS.c.state == constant(OutputState.FAILED)


def repeat_of_job(database: Database, job_id: uuid.UUID) -> int:
    """Let the failed outputs of a job, and its score, wait again, in the caller's transaction.

    Returns how many. The results of its batch are written again once they are made.
    """
    return _repeat(database, OUTPUTS.c.job_id == job_id)


def repeat_of_batch(engine: Engine, batch_id: uuid.UUID, count: Count = no_count) -> int:
    """Let the failed outputs of a batch, and its scores, wait again, in chunks; returns how many.

    `count` is told the number of each chunk, in its transaction.
    """
    with engine.connect() as connection:
        # One that fails again meanwhile is not repeated twice.
        began = connection.execute(select(func.clock_timestamp())).scalar_one()
    repeated = 0
    while True:
        with engine.begin() as connection:
            chunk = repeat_chunk(connection, batch_id, began)
            count(connection, chunk)
        repeated += chunk
        if chunk < OUTPUTS_A_CHUNK:
            return repeated


def repeat_chunk(database: Database, batch_id: uuid.UUID, failed_until: datetime) -> int:
    """Let the next outputs of the batch that failed until then wait again; returns how many.

    Fewer than OUTPUTS_A_CHUNK are the last ones.
    """
    return _repeat(database, OUTPUTS.c.batch_id == batch_id, OUTPUTS.c.finished_at <= failed_until)


def _repeat(database: Database, *of: ColumnElement[bool]) -> int:
    chunk = (
        select(OUTPUTS.c.job_id, OUTPUTS.c.name)
        .where(*of, HAS_FAILED)
        .order_by(OUTPUTS.c.job_id, OUTPUTS.c.name)
        .limit(OUTPUTS_A_CHUNK)
        .with_for_update()
        .cte("chunk")
    )
    again = (
        update(OUTPUTS)
        .where(OUTPUTS.c.job_id == chunk.c.job_id, OUTPUTS.c.name == chunk.c.name)
        .values(
            state=constant(OutputState.WAITING),
            tries=0,
            due_at=func.now(),
            finished_at=null(),
            code=null(),
            message=null(),
        )
        .returning(OUTPUTS.c.batch_id)
    )
    batches = database.scalars(again).all()
    for batch_id in {each for each in batches if each is not None}:
        await_outputs(database, batch_id)
    return len(batches)
