"""Deletion of a job that has ended: its data, the messages about it, and its objects on request.

The row stays, without any value that a producer gave or received: the ledger's calls refer to it, and its
batch still counts it in its final state.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Engine,
    Uuid,
    and_,
    any_,
    delete,
    exists,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.orm import Session

from cutout.administration.output_removal import (
    forget_outputs,
    is_shared,
    output_objects,
    withdraw_outputs,
)
from cutout.administration.source_removal import remove_source, uploaded_key
from cutout.enums import FINAL_STATES, State
from cutout.ingest.change_detection import keep_outcomes
from cutout.models import ATTEMPTS, BATCHES, INGESTS, JOBS, RESULTS, RUNS
from cutout.queue.attempts.flags import lose_results_of
from cutout.storage import Bucket
from cutout.storage.unexpected_bytes import Unexpected, prefix_of
from cutout.webhooks.deleted_jobs import forget_job, may_have_told_endpoints

EMPTIED = (
    "producer_id",
    "external_id",
    "source_sha256",
    "details",
    "metadata",
    "natural_key",
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


PartKind = Literal[
    "job", "cutout", "output", "unexpected", "source", "results", "messages", "manifest", "ledger"
]

NOT_REQUESTED = "ask for it with objects=true"
SHARED = "another job of yours uses the same object"
MADE_MEANWHILE = "it was made while its job was deleted"
BEING_REUSED = "another job of yours is reusing it now; delete that job to remove it"
OLD_VERSION = "the bucket keeps old versions: one remains until a lifecycle rule removes it"
TO_BE_REWRITTEN = "its line disappears when the file is rewritten, in a few seconds"
IN_MANIFEST = "the manifest that its batch was read from contains its row"
IN_REPORT = "the report of its run contains it until the batch has ended"
IN_LEDGER = "the cost of its calls and hashes of what was sent are kept for billing"


class Part(NamedTuple):
    """One part of a job's data: its kind, its key in the bucket if it has one, and a remark."""

    what: PartKind
    key: str | None = None
    why: str | None = None


@dataclass(slots=True)
class Deletion:
    """The parts of a job that were removed, and those that were kept, with the reason."""

    removed: list[Part] = field(default_factory=list)
    kept: list[Part] = field(default_factory=list)

    def remove(self, what: PartKind, key: str | None = None, *, old_version: bool = False) -> None:
        """Note that an object is removed, and whether an old version of it remains."""
        self.removed.append(Part(what, key))
        if old_version:
            self.kept.append(Part(what, key, OLD_VERSION))


class DeletableJob(NamedTuple):
    """The columns of a job that its deletion needs."""

    id: uuid.UUID
    producer_id: uuid.UUID | None
    batch_id: uuid.UUID | None
    source: str
    key: str | None
    unexpected: dict[str, Any] | None
    created_at: datetime


DELETABLE = select(*(JOBS.c[name] for name in DeletableJob._fields))


def find_deletable(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID | None) -> DeletableJob | None:
    """The producer's job, if it has ended."""
    row = session.execute(DELETABLE.where(_own_and_final(job_id, producer_id))).first()
    return None if row is None else DeletableJob._make(row)


def delete_objects(engine: Engine, bucket: Bucket, job: DeletableJob, deletion: Deletion) -> None:
    """Remove the objects of a job that has ended, and note those that are kept. Raises StorageError.

    The row still names all of them: if this is interrupted, call it again.
    """
    # The renderer's work ends first: it needs the cutout and the source.
    _delete_outputs(engine, bucket, job, deletion)
    _delete_cutout(engine, bucket, job, deletion)
    if job.unexpected is not None:
        # The row names only the last one.
        for key in bucket.keys(prefix_of(job.id)):
            deletion.remove("unexpected", key, old_version=bucket.delete(key))
    left = remove_source(engine, bucket, job.source, producer_id=job.producer_id, job_id=job.id)
    if left and left.why:
        deletion.kept.append(Part("source", left.key, left.why))
    elif left:
        deletion.remove("source", left.key, old_version=left.old_version)


def keep_objects(engine: Engine, bucket: Bucket, job: DeletableJob, deletion: Deletion) -> None:
    """Note the objects that remain when a job is deleted without them."""
    with Session(engine) as session:
        outputs = output_objects(session, job.id)
    source, found = uploaded_key(bucket, job.source), Unexpected.of(job.unexpected)
    parts: tuple[tuple[PartKind, str | None], ...] = (
        ("cutout", job.key),
        *(("output", output.key) for output in outputs),
        ("unexpected", found.key if found else None),
        ("source", source),
    )
    deletion.kept.extend(Part(kind, key, NOT_REQUESTED) for kind, key in parts if key is not None)


def _delete_outputs(engine: Engine, bucket: Bucket, job: DeletableJob, deletion: Deletion) -> None:
    with Session(engine) as session, session.begin():
        if session.scalar(select(JOBS.c.id).where(_own_and_final(job.id, job.producer_id))) is None:
            return
        outputs = withdraw_outputs(session, job.id)
    for output in outputs:
        if output.key == job.key:
            # It is the bought object, which other jobs may be reusing: see _delete_cutout.
            continue
        with Session(engine) as session:
            shared = is_shared(session, job.id, output.key)
        if shared:
            deletion.kept.append(Part("output", output.key, SHARED))
        else:
            deletion.remove("output", output.key, old_version=bucket.delete(output.key))


def _delete_cutout(engine: Engine, bucket: Bucket, job: DeletableJob, deletion: Deletion) -> None:
    if job.key is None:
        return
    with Session(engine) as session, session.begin():
        key = withdraw_cutout(session, job.id, job.producer_id)
    if key is None:
        deletion.kept.append(Part("cutout", job.key, SHARED))
        return
    with Session(engine) as session:
        if is_being_reused(session, job.id, key):
            deletion.kept.append(Part("cutout", key, BEING_REUSED))
            return
    deletion.remove("cutout", key, old_version=bucket.delete(key))


def withdraw_cutout(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID | None) -> str | None:
    """Let no further job reuse this job's cutout; returns the key of the object that may be deleted.

    None if there is no cutout, or another job has it too. Commit before `is_being_reused` is called.
    """
    job = session.execute(
        select(JOBS.c.key, JOBS.c.source_sha256, JOBS.c.bought_form).where(
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
            RESULTS.c.bought_form == job.bought_form,
            RESULTS.c.key == job.key,
        )
    )
    key: str = job.key
    return key


def is_being_reused(session: Session, job_id: uuid.UUID, key: str) -> bool:
    """Whether another job of the producer reuses this cutout, or is about to.

    A worker writes the source's hash into its job before it looks for a bought cutout (`acquire`): a job that
    found this one is running with that hash, or has ended with the key. Another producer's job copies the
    object and handles its absence.
    """
    columns = (JOBS.c.source_sha256, JOBS.c.bought_form, JOBS.c.producer_id)
    this = select(*columns).where(JOBS.c.id == job_id).subquery()
    about_to = and_(
        JOBS.c.state == State.RUNNING,
        JOBS.c.source_sha256 == this.c.source_sha256,
        JOBS.c.bought_form == this.c.bought_form,
        JOBS.c.producer_id.is_not_distinct_from(this.c.producer_id),
    )
    running = select(JOBS.c.id).join(this, about_to).limit(1)
    with_the_key = select(JOBS.c.id).where(JOBS.c.key == key, JOBS.c.id != job_id).limit(1)
    return session.scalar(running) is not None or session.scalar(with_the_key) is not None


def delete_job(session: Session, job: DeletableJob, deletion: Deletion) -> bool:
    """Empty the job's row and delete its messages; False if it runs again or is already deleted."""
    is_deletable = _own_and_final(job.id, job.producer_id)
    has_webhook = session.scalar(
        select(JOBS.c.webhook_url.is_not(None)).where(is_deletable).with_for_update()
    )
    if has_webhook is None:
        return False
    if job.batch_id is not None:
        keep_outcomes(session, job.batch_id, [job.id])
    empty_rows(session, is_deletable)
    deletion.remove("job")
    noted = {part.key for part in (*deletion.removed, *deletion.kept) if part.what == "output"}
    deletion.kept.extend(
        Part("output", output.key, MADE_MEANWHILE)
        for output in forget_outputs(session, [job.id])
        if output.key not in noted and output.key != job.key
    )
    told = has_webhook or may_have_told_endpoints(session, job.producer_id, job.batch_id, job.created_at)
    if told and forget_job(
        session, job.id, producer_id=job.producer_id, batch_id=job.batch_id, since=job.created_at
    ):
        deletion.remove("messages")
    if job.batch_id is not None and unwrite_results(session, job.batch_id):
        deletion.removed.append(Part("results", why=TO_BE_REWRITTEN))
    elif job.batch_id is not None:
        reports = select(RUNS.c.report_key).where(RUNS.c.batch_id == job.batch_id)
        kept = session.scalars(reports.where(RUNS.c.report_key.is_not(None)))
        deletion.kept.extend(Part("results", key, IN_REPORT) for key in kept)
    deletion.kept.extend(_kept_elsewhere(session, job))
    return True


def empty_rows(session: Session, which: ColumnElement[bool]) -> list[uuid.UUID]:
    """Empty the rows of jobs that have ended and are not deleted; returns their ids.

    What their calls were answered is forgotten, and that they were made is not.
    """
    emptied = (
        update(JOBS)
        .where(which)
        .values(**dict.fromkeys(EMPTIED, null()), source="", deleted_at=func.now())
        .returning(JOBS.c.id)
        .cte("emptied")
    )
    ids = list(session.scalars(select(emptied.c.id).add_cte(lose_results_of(which))))
    if ids:
        its_calls = ATTEMPTS.c.job_id == any_(literal(ids, ARRAY(Uuid)))
        session.execute(update(ATTEMPTS).where(its_calls).values(raw_answer=null()))
    return ids


def unwrite_results(session: Session, batch_id: uuid.UUID) -> bool:
    """Mark a batch's results, and the reports that contain them, to be rewritten; False if there are none."""
    unwritten = (
        update(BATCHES)
        .where(BATCHES.c.id == batch_id, BATCHES.c.results_key.is_not(None))
        .values(results_key=null(), results_unwritten_at=func.now())
        .returning(BATCHES.c.id)
    )
    return session.scalar(unwritten) is not None


def _kept_elsewhere(session: Session, job: DeletableJob) -> list[Part]:
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
