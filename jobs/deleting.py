"""Deleting a job that has ended, and its cutout if asked.

Its row stays, emptied of all that a producer gave or got: the ledger's calls belong to it, and its batch
goes on counting it as it ended.
"""

import uuid

from sqlalchemy import ColumnElement, and_, delete, func, null, select, update
from sqlalchemy.orm import Session

from jobs.models import ATTEMPTS, JOBS, RESULTS
from jobs.states import FINAL_STATES, State
from jobs.store.losses import lose_results_of

EMPTIED = (
    "producer_id",
    "external_id",
    "source_sha256",
    "details",
    "manifest_source",
    "message",
    "key",
    "sha256",
    "media_type",
    "size_bytes",
    "width",
    "height",
    "result_url",
    "result_expires_at",
    "lifeboat_key",
    "unexpected",
    "warning",
)


def give_up_cutout(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID) -> str | None:
    """Let no job be served from this job's cutout any more; returns the key of an object that may go.

    None if there is no cutout, or another job has it too. To be committed before `is_being_taken` is asked.
    """
    job = session.execute(
        select(JOBS.c.key, JOBS.c.source_sha256, JOBS.c.return_form).where(
            _own_and_final(job_id, producer_id)
        )
    ).first()
    if job is None or job.key is None:
        return None
    others = select(JOBS.c.id).where(JOBS.c.key == job.key, JOBS.c.id != job_id).limit(1)
    if session.scalar(others) is not None:
        return None
    session.execute(
        delete(RESULTS).where(
            RESULTS.c.source_sha256 == job.source_sha256,
            RESULTS.c.return_form == job.return_form,
            RESULTS.c.key == job.key,
        )
    )
    key: str = job.key
    return key


def is_being_taken(session: Session, job_id: uuid.UUID, key: str) -> bool:
    """Whether a job that was served from this cutout just now has it, or is about to.

    A worker marks its job with the source's hash before it asks what was bought (`jobs/store/reuse.py`): one
    that found this cutout runs under that mark or has ended with the key.
    """
    it = select(JOBS.c.source_sha256, JOBS.c.return_form).where(JOBS.c.id == job_id).subquery()
    about_to = and_(
        JOBS.c.state == State.RUNNING,
        JOBS.c.source_sha256 == it.c.source_sha256,
        JOBS.c.return_form == it.c.return_form,
    )
    running = select(JOBS.c.id).join(it, about_to).limit(1)
    having = select(JOBS.c.id).where(JOBS.c.key == key, JOBS.c.id != job_id).limit(1)
    return session.scalar(running) is not None or session.scalar(having) is not None


def delete_job(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID) -> bool:
    """Empty the producer's job; False unless there is one that has ended."""
    this = _own_and_final(job_id, producer_id)
    emptied = (
        update(JOBS)
        .where(this)
        .values(**dict.fromkeys(EMPTIED, null()), source="", deleted_at=func.now())
        .returning(JOBS.c.id)
        .cte("emptied")
    )
    deleted: uuid.UUID | None = session.scalar(select(emptied.c.id).add_cte(lose_results_of(this)))
    if deleted is not None:
        session.execute(update(ATTEMPTS).where(ATTEMPTS.c.job_id == deleted).values(raw_answer=null()))
    return deleted is not None


def _own_and_final(job_id: uuid.UUID, producer_id: uuid.UUID) -> ColumnElement[bool]:
    return and_(
        JOBS.c.id == job_id, JOBS.c.producer_id == producer_id, JOBS.c.state.in_(sorted(FINAL_STATES))
    )
