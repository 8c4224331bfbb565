"""Credits charged for the jobs of a batch, counted from the ledger; written down once the batch has ended."""

import uuid

from sqlalchemy import Engine, Text, cast, func, literal_column, select, update

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, BATCHES, JOBS, constant
from cutout.models.database import Database

ROW_VERSION = cast(literal_column("batches.xmin"), Text)


def credits_of_batch(database: Database, batch_id: uuid.UUID) -> int:
    """Credits charged so far for all jobs of the batch."""
    charged = (
        select(func.count())
        .select_from(ATTEMPTS)
        .join(JOBS, JOBS.c.id == ATTEMPTS.c.job_id)
        .where(JOBS.c.batch_id == batch_id, ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED))
    )
    return database.scalar(charged) or 0


def write_down_credits(engine: Engine, batch_id: uuid.UUID) -> int:
    """Count the credits of a batch, and write them down if it has ended and nothing has changed meanwhile.

    Whatever makes them another number (a late charge, a retry, a new job) writes to the row of the batch, so
    its version tells; no lock is held while they are counted.
    """
    this = BATCHES.c.id == batch_id
    ended = (this, BATCHES.c.results_key.is_not(None), BATCHES.c.credits.is_(None))
    with engine.begin() as connection:
        version = connection.scalar(select(ROW_VERSION).where(*ended))
        credits_ = credits_of_batch(connection, batch_id)
        if version is not None:
            unchanged = ROW_VERSION.in_([version])
            connection.execute(update(BATCHES).where(*ended, unchanged).values(credits=credits_))
    return credits_
