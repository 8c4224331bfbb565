"""Actions on one job. Each works in the caller's transaction; False says that nothing changed."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cutout import queue
from cutout.administration.delete import DeletableJob, Deletion
from cutout.administration.delete import delete_job as delete
from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.enums import ActionKind, Step
from cutout.models import JOBS
from cutout.models.database import Database
from cutout.producers.action_record import Extent, about_job, record
from cutout.producers.actors import Asked
from cutout.queue.batch_actions.unfinished import refuse_while_ending
from cutout.queue.outputs.repeat import repeat_of_job
from cutout.storage.unexpected_bytes import Unexpected


def cancel_job(database: Database, asked: Asked, job_id: uuid.UUID) -> bool:
    """Cancel a job that has not ended."""
    return _if_done(database, asked, ActionKind.CANCEL_JOB, job_id, done=queue.cancel(database, job_id))


def retry_job(database: Database, asked: Asked, job_id: uuid.UUID) -> bool:
    """Retry a failed or held job, for a credit unless its paid result is there. Raises BatchIsEndingError."""
    return _retried(database, asked, ActionKind.RETRY_JOB, job_id, done=queue.retry(database, job_id))


def release_job(database: Database, asked: Asked, job_id: uuid.UUID) -> bool:
    """Retry a held job, at the same price. Raises BatchIsEndingError."""
    return _retried(database, asked, ActionKind.RELEASE_JOB, job_id, done=queue.release(database, job_id))


def accept_job(database: Database, asked: Asked, job_id: uuid.UUID, found: Unexpected) -> bool:
    """Let the unexpected result of a held job be its cutout."""
    done = queue.accept(database, job_id, found)
    return _if_done(database, asked, ActionKind.ACCEPT_JOB, job_id, done=done)


def retry_job_outputs(database: Database, asked: Asked, job_id: uuid.UUID) -> int:
    """Let the failed outputs of a job be made again; returns how many.

    Raises BatchIsEndingError while its batch is being deleted.
    """
    repeated = repeat_of_job(database, job_id)
    if repeated:
        refuse_while_ending(database, [job_id], {ActionKind.DELETE})
        extent = Extent(repeated)
        record(database, asked, ActionKind.RETRY_JOB_OUTPUTS, about_job(database, job_id), extent)
    return repeated


def delete_job(session: Session, asked: Asked, job: DeletableJob, told: Deletion) -> bool:
    """Delete a job whose objects were deleted or kept before."""
    about = about_job(session, job.id)
    if not delete(session, job, told):
        return False
    record(session, asked, ActionKind.DELETE_JOB, about)
    return True


def _if_done(database: Database, asked: Asked, kind: ActionKind, job_id: uuid.UUID, *, done: bool) -> bool:
    if done:
        record(database, asked, kind, about_job(database, job_id))
    return done


def _retried(database: Database, asked: Asked, kind: ActionKind, job_id: uuid.UUID, *, done: bool) -> bool:
    if done:
        step = database.scalar(select(JOBS.c.step).where(JOBS.c.id == job_id))
        credits_ = 1 if step == Step.CALL else 0
        extent = Extent(1, 1, credits_, credits_ * DOLLARS_A_CREDIT)
        record(database, asked, kind, about_job(database, job_id), extent)
    return done
