"""Deleting a job that has ended: its row, what was told of it, and its objects if asked.

Its row stays, emptied of all that a producer gave or got: the ledger's calls belong to it, and its batch
goes on counting it as it ended.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, func, null, select, update
from sqlalchemy.orm import Session

from cutout.administration.source_removal import remove_source, uploaded_key
from cutout.enums import FINAL_STATES, State
from cutout.models import ATTEMPTS, BATCHES, INGESTS, JOBS, RESULTS, RUNS
from cutout.queue.attempts.flags import lose_results_of
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import Unexpected, prefix_of
from cutout.webhooks.deleted_jobs import forget_job

EMPTIED = (
    "producer_id",
    "external_id",
    "source_sha256",
    "details",
    "manifest_source",
    "webhook_url",
    "trace",
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


What = Literal["job", "cutout", "unexpected", "source", "results", "messages", "manifest", "ledger"]

NOT_ASKED = "ask for it with objects=true"
SHARED = "another job of yours was served from it"
BEING_SERVED = "another job of yours is being served from it; it goes with that one"
OLD_VERSION = "the bucket keeps versions, and an old one of it until a rule of the bucket ends it"
WRITTEN_ANEW = "its line goes when the file is written anew, some seconds from now"
IN_MANIFEST = "the manifest that its batch was read from has its row"
IN_REPORT = "its run's report repeats it until the batch has ended"
IN_LEDGER = "what its calls cost, with hashes of what was sent, for the bill"


class Part(NamedTuple):
    """Something of a job: what it is, its key in the bucket if it has one, and what there is to say of it."""

    what: What
    key: str | None = None
    why: str | None = None


@dataclass(slots=True)
class Deletion:
    """What was removed of a job, and what was kept and why."""

    removed: list[Part] = field(default_factory=list)
    kept: list[Part] = field(default_factory=list)

    def remove(self, what: What, key: str | None = None, *, old_version: bool = False) -> None:
        """Note that an object is gone, and whether an old version of it stays."""
        self.removed.append(Part(what, key))
        if old_version:
            self.kept.append(Part(what, key, OLD_VERSION))


class Doomed(NamedTuple):
    """A job as far as there is something of it to delete."""

    id: uuid.UUID
    producer_id: uuid.UUID | None
    batch_id: uuid.UUID | None
    source: str
    key: str | None
    unexpected: dict[str, Any] | None
    created_at: datetime


DOOMED = select(*(JOBS.c[name] for name in Doomed._fields))


def find_doomed(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID | None) -> Doomed | None:
    """The producer's job, if it has ended."""
    row = session.execute(DOOMED.where(_own_and_final(job_id, producer_id))).first()
    return None if row is None else Doomed._make(row)


def delete_objects(engine: Engine, bucket: Bucket, job: Doomed, told: Deletion) -> None:
    """Remove what lies in the bucket for a job that has ended, and say what is kept. Raises StorageError.

    The row still names it all: should this end half way, the same again goes on.
    """
    _delete_cutout(engine, bucket, job, told)
    if job.unexpected is not None:
        # The row names the last of them alone.
        for key in bucket.keys(prefix_of(job.id)):
            told.remove("unexpected", key, old_version=bucket.delete(key))
    left = remove_source(engine, bucket, job.source, producer_id=job.producer_id, job_id=job.id)
    if left and left.why:
        told.kept.append(Part("source", left.key, left.why))
    elif left:
        told.remove("source", left.key, old_version=left.old_version)


def keep_objects(bucket: Bucket, job: Doomed, told: Deletion) -> None:
    """Say which objects a job leaves that is deleted without them."""
    source, found = uploaded_key(bucket, job.source), Unexpected.of(job.unexpected)
    parts: tuple[tuple[What, str | None], ...] = (
        ("cutout", job.key),
        ("unexpected", found.key if found else None),
        ("source", source),
    )
    told.kept.extend(Part(what, key, NOT_ASKED) for what, key in parts if key is not None)


def _delete_cutout(engine: Engine, bucket: Bucket, job: Doomed, told: Deletion) -> None:
    if job.key is None:
        return
    with Session(engine) as session, session.begin():
        key = give_up_cutout(session, job.id, job.producer_id)
    if key is None:
        told.kept.append(Part("cutout", job.key, SHARED))
        return
    with Session(engine) as session:
        if is_being_taken(session, job.id, key):
            told.kept.append(Part("cutout", key, BEING_SERVED))
            return
    told.remove("cutout", key, old_version=bucket.delete(key))


def give_up_cutout(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID | None) -> str | None:
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

    A worker marks its job with the source's hash before it asks what was bought (`acquire`): one
    that found this cutout runs under that mark or has ended with the key. Another producer's job would copy
    it, and finds it gone.
    """
    columns = (JOBS.c.source_sha256, JOBS.c.return_form, JOBS.c.producer_id)
    it = select(*columns).where(JOBS.c.id == job_id).subquery()
    about_to = and_(
        JOBS.c.state == State.RUNNING,
        JOBS.c.source_sha256 == it.c.source_sha256,
        JOBS.c.return_form == it.c.return_form,
        JOBS.c.producer_id.is_not_distinct_from(it.c.producer_id),
    )
    running = select(JOBS.c.id).join(it, about_to).limit(1)
    having = select(JOBS.c.id).where(JOBS.c.key == key, JOBS.c.id != job_id).limit(1)
    return session.scalar(running) is not None or session.scalar(having) is not None


def delete_job(session: Session, job: Doomed, told: Deletion) -> bool:
    """Empty the job's row and forget what was told of it; False if it runs again, or is deleted already."""
    this = _own_and_final(job.id, job.producer_id)
    tells = session.scalar(select(JOBS.c.webhook_url.is_not(None)).where(JOBS.c.id == job.id))
    emptied = (
        update(JOBS)
        .where(this)
        .values(**dict.fromkeys(EMPTIED, null()), source="", deleted_at=func.now())
        .returning(JOBS.c.id)
        .cte("emptied")
    )
    if session.scalar(select(emptied.c.id).add_cte(lose_results_of(this))) is None:
        return False
    told.remove("job")
    session.execute(update(ATTEMPTS).where(ATTEMPTS.c.job_id == job.id).values(raw_answer=null()))
    if tells and forget_job(
        session, job.id, producer_id=job.producer_id, batch_id=job.batch_id, since=job.created_at
    ):
        told.remove("messages")
    if job.batch_id is not None and unwrite_results(session, job.batch_id):
        told.removed.append(Part("results", why=WRITTEN_ANEW))
    elif job.batch_id is not None:
        reports = select(RUNS.c.report_key).where(RUNS.c.batch_id == job.batch_id)
        kept = session.scalars(reports.where(RUNS.c.report_key.is_not(None)))
        told.kept.extend(Part("results", key, IN_REPORT) for key in kept)
    told.kept.extend(_kept_elsewhere(session, job))
    return True


def unwrite_results(session: Session, batch_id: uuid.UUID) -> bool:
    """Have a batch's results, and the reports that repeat them, written anew; False if there are none yet."""
    unwritten = (
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.results_key.is_not(None))
        .values(results_key=null(), results_unwritten_at=func.now())
        .returning(BATCHES.c.id)
    )
    return session.scalar(unwritten) is not None


def _kept_elsewhere(session: Session, job: Doomed) -> list[Part]:
    kept: list[Part] = []
    manifest = session.scalar(select(INGESTS.c.manifest_key).where(INGESTS.c.batch_id == job.batch_id))
    if manifest is not None:
        kept.append(Part("manifest", manifest, IN_MANIFEST))
    if session.scalar(select(exists().where(ATTEMPTS.c.job_id == job.id))):
        kept.append(Part("ledger", why=IN_LEDGER))
    return kept


def _own_and_final(job_id: uuid.UUID, producer_id: uuid.UUID | None) -> ColumnElement[bool]:
    return and_(
        JOBS.c.id == job_id,
        JOBS.c.producer_id.is_not_distinct_from(producer_id),
        JOBS.c.deleted_at.is_(None),
        JOBS.c.state.in_(sorted(FINAL_STATES)),
    )
