"""Removal of an uploaded source that no job needs any more, and the lock that keeps it from what is uploaded.

An upload lies in the bucket before its job does in the database: between the two nobody could see that the
source is needed. So whoever enqueues it holds a lock until the job is there, looks for the source after that
and stores it again if need be; whoever removes it holds the same lock alone, from the look at the jobs until
the bucket has answered.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import Boolean, ColumnElement, Engine, Exists, exists, func, literal_column, or_, select
from sqlalchemy.orm import Session

from cutout.models import BATCHES, INGESTS, JOBS
from cutout.storage import Bucket
from cutout.storage.object_keys import sha256_in_key

# As its index has it.
IS_UPLOADED: ColumnElement[bool] = literal_column("source ~ '^s3://[^/]+/sources/'", Boolean)
# A bucket that is slow to delete keeps the producer's own uploads waiting, and no connection for long.
SOON = func.set_config("lock_timeout", "2s", literal_column("true"))
IN_USE = "another job of yours has the same source"
IN_UPLOAD = "a manifest of yours that may hold it is being read; delete it again afterwards"


@dataclass(frozen=True, slots=True)
class SourceLeft:
    """What became of a source: its key, and why it stays; None if it is removed.

    `old_version`: the bucket keeps versions, and this one among them.
    """

    key: str
    why: str | None = None
    old_version: bool = False


def hold_sources(session: Session, producer_id: uuid.UUID | None) -> None:
    """Let no source of the producer be removed until the transaction ends.

    Raises DBAPIError, for a lock that was not to be had in time, while one is being removed.
    """
    session.execute(select(SOON, func.pg_advisory_xact_lock_shared(_lock_of(producer_id))))


def uploaded_key(bucket: Bucket, source: str) -> str | None:
    """The key of a source that was uploaded into this bucket; None for any other."""
    key = bucket.key_of(source)
    return key if key and sha256_in_key(key) else None


def remove_source(
    engine: Engine, bucket: Bucket, source: str, *, producer_id: uuid.UUID | None, job_id: uuid.UUID | None
) -> SourceLeft | None:
    """Remove the source of a job that is to be deleted, unless another one has it; None if it is not ours.

    The transaction is open while the bucket is asked, for the length of one deletion. Raises StorageError.
    """
    key = uploaded_key(bucket, source)
    if key is None:
        return None
    with Session(engine) as session, session.begin():
        session.execute(select(SOON, func.pg_advisory_xact_lock(_lock_of(producer_id))))
        others = select(JOBS.c.id).where(JOBS.c.source == source, IS_UPLOADED)
        if job_id is not None:
            others = others.where(JOBS.c.id != job_id)
        if session.scalar(others.limit(1)) is not None:
            return SourceLeft(key, IN_USE)
        if session.scalar(select(_is_being_read(producer_id))):
            return SourceLeft(key, IN_UPLOAD)
        return SourceLeft(key, old_version=bucket.delete(key))


def _is_being_read(producer_id: uuid.UUID | None) -> Exists:
    its = or_(BATCHES.c.producer_id.is_not_distinct_from(producer_id), BATCHES.c.producer_id.is_(None))
    return exists().where(INGESTS.c.batch_id == BATCHES.c.id, INGESTS.c.finished_at.is_(None), its)


def _lock_of(producer_id: uuid.UUID | None) -> ColumnElement[int]:
    return func.hashtextextended(f"sources of {producer_id}", 0)
