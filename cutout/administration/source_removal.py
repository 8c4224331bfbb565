"""Removal of an uploaded source that no job needs, and the lock that keeps removal and upload apart.

An upload is in the bucket before its job is in the database: between the two nothing shows that the source
is needed. So the enqueuing transaction holds a shared lock until the job is there, then checks the source and
stores it again if it is missing. A removal holds the same lock exclusively, from its query of the jobs until
the bucket has answered.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import Boolean, ColumnElement, Engine, Exists, exists, func, literal_column, or_, select
from sqlalchemy.orm import Session

from cutout.enums import OutputState
from cutout.models import BATCHES, INGESTS, JOBS, OUTPUTS, constant
from cutout.storage import Bucket
from cutout.storage.object_keys import sha256_in_key

# The same text as in the index.
IS_UPLOADED: ColumnElement[bool] = literal_column("source ~ '^s3://[^/]+/sources/'", Boolean)
# While the bucket is slow to delete, the producer's own uploads wait, but no connection for longer than this.
SHORT_LOCK_TIMEOUT = func.set_config("lock_timeout", "2s", literal_column("true"))
IN_USE = "another job of yours has the same source"
TO_BE_RENDERED = "an output of this job is still to be made of it; delete the job again afterwards"
IN_UPLOAD = "a manifest of yours that may contain it is being read; delete the job again afterwards"


@dataclass(frozen=True, slots=True)
class SourceLeft:
    """Result of a removal: the source's key, and the reason why it stays; None if it was removed.

    `old_version`: the bucket keeps it as an old version.
    """

    key: str
    why: str | None = None
    old_version: bool = False


def hold_sources(session: Session, producer_id: uuid.UUID | None) -> None:
    """Prevent removal of the producer's sources until the transaction ends.

    Raises DBAPIError (lock timeout) while a source is being removed.
    """
    session.execute(select(SHORT_LOCK_TIMEOUT, func.pg_advisory_xact_lock_shared(_lock_id(producer_id))))


def uploaded_key(bucket: Bucket, source: str) -> str | None:
    """The key of a source that was uploaded into this bucket; None for any other."""
    key = bucket.key_of(source)
    return key if key and sha256_in_key(key) else None


def remove_source(
    engine: Engine, bucket: Bucket, source: str, *, producer_id: uuid.UUID | None, job_id: uuid.UUID | None
) -> SourceLeft | None:
    """Remove the source of a job that is to be deleted, unless another job has it; None if not uploaded here.

    The transaction stays open while the bucket deletes one object. Raises StorageError.
    """
    key = uploaded_key(bucket, source)
    if key is None:
        return None
    with Session(engine) as session, session.begin():
        session.execute(select(SHORT_LOCK_TIMEOUT, func.pg_advisory_xact_lock(_lock_id(producer_id))))
        others = select(JOBS.c.id).where(JOBS.c.source == source, IS_UPLOADED)
        if job_id is not None:
            others = others.where(JOBS.c.id != job_id)
        if session.scalar(others.limit(1)) is not None:
            return SourceLeft(key, IN_USE)
        if session.scalar(select(_is_to_be_rendered(source))):
            return SourceLeft(key, TO_BE_RENDERED)
        if session.scalar(select(_is_being_read(producer_id))):
            return SourceLeft(key, IN_UPLOAD)
        return SourceLeft(key, old_version=bucket.delete(key))


def _is_to_be_rendered(source: str) -> Exists:
    """A job with this source has an output that no renderer has made yet."""
    return exists().where(
        OUTPUTS.c.job_id == JOBS.c.id,
        OUTPUTS.c.state == constant(OutputState.WAITING),
        JOBS.c.source == source,
        IS_UPLOADED,
    )


def _is_being_read(producer_id: uuid.UUID | None) -> Exists:
    may_hold_it = or_(
        BATCHES.c.producer_id.is_not_distinct_from(producer_id), BATCHES.c.producer_id.is_(None)
    )
    return exists().where(INGESTS.c.batch_id == BATCHES.c.id, INGESTS.c.finished_at.is_(None), may_hold_it)


def _lock_id(producer_id: uuid.UUID | None) -> ColumnElement[int]:
    return func.hashtextextended(f"sources of {producer_id}", 0)
