"""Actions on all jobs of a batch that are carried out at once, in chunks, by the process that asks."""

import uuid
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Engine, select

from cutout.actions.chunks import carried_out
from cutout.actions.jobs import retry_job
from cutout.enums import ActionKind
from cutout.models import JOBS
from cutout.producers.action_record import about_batch
from cutout.producers.actors import Asked
from cutout.queue.actions import CANCELLABLE, RETRIABLE, cancel_all, retry_all
from cutout.queue.batch_actions.request import has_more
from cutout.queue.bulk import apply_in_chunks, begin_cancelling
from cutout.queue.outputs.ask import add_missing, add_renditions
from cutout.queue.outputs.repeat import repeat_of_batch


def cancel_now(engine: Engine, asked: Asked, batch_id: uuid.UUID) -> int:
    """Cancel the batch's jobs that are not paid for, and its ingest; returns how many jobs are cancelled now.

    Running and paid jobs end by themselves. A second call finishes one that was interrupted.
    """
    with engine.connect() as connection:
        about = about_batch(connection, batch_id)
    with carried_out(engine, asked, ActionKind.CANCEL, about) as action:
        with engine.begin() as connection:
            # Before its jobs are selected: the ingest ends here, and no call begins.
            if begin_cancelling(connection, batch_id) or has_more(connection, batch_id):
                action.begin(connection)
        of_batch = JOBS.c.batch_id == batch_id, JOBS.c.state.in_(CANCELLABLE)
        return apply_in_chunks(engine, action.counted(cancel_all), *of_batch)


def retry_jobs_now(engine: Engine, asked: Asked, batch_id: uuid.UUID, *only: ColumnElement[bool]) -> int:
    """Retry the batch's failed and held jobs that match `only`; returns how many.

    Raises BatchIsEndingError.
    """
    with engine.connect() as connection:
        about = about_batch(connection, batch_id)
    with carried_out(engine, asked, ActionKind.RETRY, about) as action:
        of_batch = JOBS.c.batch_id == batch_id, JOBS.c.state.in_(RETRIABLE), *only
        return apply_in_chunks(engine, action.counted(retry_all), *of_batch)


def retry_now(engine: Engine, asked: Asked, job_id: uuid.UUID, *only: ColumnElement[bool]) -> int:
    """Retry one job if it matches `only`; returns 1 or 0. Raises BatchIsEndingError."""
    with engine.begin() as connection:
        is_meant = connection.scalar(select(JOBS.c.id).where(JOBS.c.id == job_id, *only))
        return int(is_meant is not None and retry_job(connection, asked, job_id))


def add_outputs_now(
    engine: Engine, asked: Asked, batch_id: uuid.UUID, renditions: Mapping[str, Mapping[str, str]]
) -> int:
    """Let the batch have these renditions too; returns the number of outputs added.

    Safe to repeat. Raises as `add_renditions` does.
    """
    with engine.connect() as connection:
        about = about_batch(connection, batch_id)
    with carried_out(engine, asked, ActionKind.ADD_OUTPUTS, about) as action:
        with engine.begin() as connection:
            if add_renditions(connection, batch_id, renditions):
                action.begin(connection)
        return add_missing(engine, batch_id, action.add)


def retry_outputs_now(engine: Engine, asked: Asked, batch_id: uuid.UUID) -> int:
    """Let the batch's failed outputs be made again; returns how many."""
    with engine.connect() as connection:
        about = about_batch(connection, batch_id)
    with carried_out(engine, asked, ActionKind.RETRY_OUTPUTS, about) as action:
        return repeat_of_batch(engine, batch_id, action.add)
