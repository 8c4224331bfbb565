"""Batches that somebody adds, each with its row in the transaction that makes it."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from cutout.ingest import IngestOptions
from cutout.ingest.added_work import SourceSort, record_added
from cutout.ingest.checkpoint import make_batch
from cutout.ingest.pending import request_ingest
from cutout.producers.actors import Asked
from cutout.queue.enqueue import NewJob, enqueue_all


def add_jobs(session: Session, asked: Asked, options: IngestOptions, jobs: Sequence[NewJob]) -> uuid.UUID:
    """Make a batch of these jobs, in the caller's transaction; returns its id. Raises InvalidJobError."""
    batch_id = make_batch(session, options)
    enqueue_all(session, jobs, batch_id=batch_id)
    record_added(session, asked, batch_id, SourceSort.LIST, len(jobs))
    return batch_id


def add_source(
    session: Session, asked: Asked, source: str, options: IngestOptions, *, manifest_key: str | None = None
) -> uuid.UUID:
    """Request the ingest of a source as `request_ingest` does; its row counts the jobs once it is read."""
    batch_id = request_ingest(session, source, options, manifest_key=manifest_key)
    record_added(session, asked, batch_id, SourceSort.of(source, is_uploaded=manifest_key is not None))
    return batch_id


def added_by(asked: Asked, source: str) -> Callable[[Connection, uuid.UUID], object]:
    """A function that records the batch of an ingest that this process reads itself, as it is made."""
    return lambda connection, batch_id: record_added(connection, asked, batch_id, SourceSort.of(source))
