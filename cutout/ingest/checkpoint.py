"""Checkpoint of an ingest: the `ingests` row that records progress, advanced in the transaction that stores
the jobs.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, func, insert, null, or_, select, text, update
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session

from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.options import IngestOptions
from cutout.ingest.progress import Counts
from cutout.ingest.skipped_files import Skipped
from cutout.models import INGESTS
from cutout.queue.enqueue import create_batch

# A command killed a moment ago still holds the lock until Postgres notices.
WAIT_FOR_LOCK_S = 15.0
POLL_EVERY_S = 0.1

COLUMNS = [INGESTS.c[name] for name in Counts.__slots__]
ADVANCE = (
    update(INGESTS)
    .where(
        INGESTS.c.batch_id == bindparam("batch"),
        INGESTS.c.finished_at.is_(None),
        INGESTS.c.records == bindparam("before"),
    )
    # A reader that advances resets `deaths`: whatever ended the last reader was before this point.
    .values(
        {name: INGESTS.c[name] + bindparam(f"more_{name}") for name in Counts.__slots__}
        | {"deaths": 0, "code": null(), "message": null()}
    )
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An ingest that has not finished, and its progress."""

    batch_id: uuid.UUID
    counts: Counts
    manifest_key: str | None


@contextmanager
def exclusive(connection: Connection, fingerprint: bytes) -> Iterator[None]:
    """Hold the advisory lock of a fingerprint. Raises IngestError if another process holds it for 15 s."""
    key = {"key": int.from_bytes(fingerprint[:8], signed=True)}
    gives_up_at = time.monotonic() + WAIT_FOR_LOCK_S
    while not _is_true(connection, "SELECT pg_try_advisory_lock(:key)", key):
        if time.monotonic() > gives_up_at:
            raise IngestError("another process is ingesting this source; wait until it ends")
        time.sleep(POLL_EVERY_S)
    try:
        yield
    finally:
        # The lock also ends with the connection.
        with suppress(DBAPIError, PendingRollbackError):
            connection.rollback()
            _is_true(connection, "SELECT pg_advisory_unlock(:key)", key)


def _is_true(connection: Connection, statement: str, parameters: dict[str, int]) -> bool:
    result = bool(connection.scalar(text(statement), parameters))
    connection.commit()
    return result


def find_unfinished(connection: Connection, fingerprint: bytes) -> Checkpoint | None:
    """Find the unfinished ingest of a fingerprint, or None."""
    found = connection.execute(
        select(INGESTS.c.batch_id, INGESTS.c.manifest_key, *COLUMNS).where(
            INGESTS.c.fingerprint == fingerprint, INGESTS.c.finished_at.is_(None)
        )
    ).one_or_none()
    connection.commit()
    if found is None:
        return None
    return Checkpoint(found.batch_id, Counts(*found[2:]), found.manifest_key)


def resume(connection: Connection, batch_id: uuid.UUID, fingerprint: bytes, kind: str) -> Checkpoint:
    """Open the checkpoint of a requested ingest, at its start or where it stopped.

    Raises IngestError if the ingest has ended, or if the source changed after part of it was read.
    """
    same = or_(INGESTS.c.records == 0, INGESTS.c.fingerprint == fingerprint)
    found = connection.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id, INGESTS.c.finished_at.is_(None), same)
        .values(fingerprint=fingerprint, kind=kind)
        .returning(INGESTS.c.manifest_key, *COLUMNS)
    ).one_or_none()
    connection.commit()
    if found is None:
        raise IngestError(
            f"the source changed while its reading was interrupted, or the batch {batch_id} was cancelled;"
            " send it as another batch"
        )
    return Checkpoint(batch_id, Counts(*found[1:]), found.manifest_key)


def make_batch(session: Session, options: IngestOptions, source: str | None = None) -> uuid.UUID:
    """Create the batch of an ingest, without jobs, in the caller's transaction.

    `source` is the address of its manifest, if that is on the web.
    """
    batch = create_batch(
        session,
        options.name,
        producer_id=options.producer_id,
        weight=options.weight,
        budget=options.budget,
        reuse=options.reuse,
        webhook_url=options.webhook_url,
        webhook_jobs=options.webhook_jobs,
        renditions=options.outputs.renditions,
        metadata=options.metadata,
        options=options.to_be_shown(source),
    )
    if options.window is not None:
        batch.opens_at, batch.closes_at = options.window.opens_at, options.window.closes_at
    return batch.id


def begin(connection: Connection, options: IngestOptions, fingerprint: bytes, kind: str) -> uuid.UUID:
    """Create the batch and its ingest, in the caller's transaction."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        batch_id = make_batch(session, options)
    connection.execute(
        insert(INGESTS).values(batch_id=batch_id, fingerprint=fingerprint, kind=kind, options=options.as_json)
    )
    return batch_id


def advance(connection: Connection, batch_id: uuid.UUID, before: int, more: Counts) -> None:
    """Count a stored chunk, in the same transaction. Raises IngestError if another process advanced first."""
    parameters = {f"more_{name}": value for name, value in asdict(more).items()}
    advanced = connection.execute(ADVANCE, {"batch": batch_id, "before": before} | parameters)
    if advanced.rowcount != 1:
        raise IngestError(
            f"the batch {batch_id} was cancelled, or another process resumed it; see"
            f" `cutout status {batch_id}`"
        )


def finish(
    connection: Connection,
    batch_id: uuid.UUID,
    manifest_key: str | None,
    rejects_key: str | None,
    *,
    changes: dict[str, int] | None,
    identity: bytes | None,
) -> None:
    """Mark the ingest as finished; the same command creates a new batch from now on."""
    connection.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id)
        .values(
            finished_at=func.now(),
            manifest_key=manifest_key,
            rejects_key=rejects_key,
            changes=changes,
            identity=identity,
            code=null(),
            message=null(),
        )
    )


def record_remarks(connection: Connection, batch_id: uuid.UUID, skipped: Skipped, remarks: list[str]) -> None:
    """Record the skipped files and the remarks on the source."""
    connection.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id)
        .values(skipped=skipped.as_json() or null(), remarks=remarks or null())
    )
