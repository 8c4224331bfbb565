"""The row that says how far an ingest has come. It moves on in the transaction that stores the jobs."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, func, insert, null, or_, select, text, update
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session

from cutout.ingest.chunks import Counts
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.options import Order
from cutout.ingest.skipped_files import Skipped
from cutout.models import INGESTS
from cutout.queue.enqueue import create_batch

# A command that was killed a moment ago still holds it, until Postgres notices.
WAIT_FOR_LOCK_S = 15.0
LOOK_EVERY_S = 0.1

COLUMNS = [INGESTS.c[name] for name in Counts.__slots__]
MOVE_ON = (
    update(INGESTS)
    .where(
        INGESTS.c.batch_id == bindparam("batch"),
        INGESTS.c.finished_at.is_(None),
        INGESTS.c.records == bindparam("before"),
    )
    # Whoever reads it has come further than the last one, who may have died of it.
    .values(
        {name: INGESTS.c[name] + bindparam(f"more_{name}") for name in Counts.__slots__}
        | {"deaths": 0, "code": null(), "message": null()}
    )
)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An ingest that stopped on its way."""

    batch_id: uuid.UUID
    counts: Counts
    manifest_key: str | None


@contextmanager
def only_one(connection: Connection, fingerprint: bytes) -> Iterator[None]:
    """Keep others from the same ingest; raises IngestError if one has it already."""
    key = {"key": int.from_bytes(fingerprint[:8], signed=True)}
    gives_up_at = time.monotonic() + WAIT_FOR_LOCK_S
    while not _said(connection, "SELECT pg_try_advisory_lock(:key)", key):
        if time.monotonic() > gives_up_at:
            raise IngestError("this very source is being ingested by another process; wait until that ends")
        time.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        # With the connection the lock is gone as well.
        with suppress(DBAPIError, PendingRollbackError):
            connection.rollback()
            _said(connection, "SELECT pg_advisory_unlock(:key)", key)


def _said(connection: Connection, statement: str, parameters: dict[str, int]) -> bool:
    answer = bool(connection.scalar(text(statement), parameters))
    connection.commit()
    return answer


def find_unfinished(connection: Connection, fingerprint: bytes) -> Unfinished | None:
    """The same ingest, if it was begun and has not ended."""
    found = connection.execute(
        select(INGESTS.c.batch_id, INGESTS.c.manifest_key, *COLUMNS).where(
            INGESTS.c.fingerprint == fingerprint, INGESTS.c.finished_at.is_(None)
        )
    ).one_or_none()
    connection.commit()
    if found is None:
        return None
    return Unfinished(found.batch_id, Counts(*found[2:]), found.manifest_key)


def take_up(connection: Connection, batch_id: uuid.UUID, fingerprint: bytes, kind: str) -> Unfinished:
    """A requested ingest, from its begin or from where it stopped.

    Raises IngestError if it has ended, or if its source is not any more what a part was read of.
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
    return Unfinished(batch_id, Counts(*found[1:]), found.manifest_key)


def make_batch(session: Session, order: Order) -> uuid.UUID:
    """The batch that the order is for, without jobs, in the caller's transaction."""
    return create_batch(
        session,
        order.name,
        producer_id=order.producer_id,
        weight=order.weight,
        budget=order.budget,
        reuse=order.reuse,
        webhook_url=order.webhook_url,
        webhook_jobs=order.webhook_jobs,
    ).id


def begin(connection: Connection, order: Order, fingerprint: bytes, kind: str) -> uuid.UUID:
    """Make the batch and its ingest, in the caller's transaction."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        batch_id = make_batch(session, order)
    connection.execute(
        insert(INGESTS).values(batch_id=batch_id, fingerprint=fingerprint, kind=kind, options=order.options)
    )
    return batch_id


def move_on(connection: Connection, batch_id: uuid.UUID, before: int, more: Counts) -> None:
    """Count a chunk, in the transaction that stores it. Raises IngestError if another was faster."""
    parameters = {f"more_{name}": value for name, value in asdict(more).items()}
    moved = connection.execute(MOVE_ON, {"batch": batch_id, "before": before} | parameters)
    if moved.rowcount != 1:
        raise IngestError(
            f"the batch {batch_id} was cancelled, or another process went on with it; see"
            f" `cutout status {batch_id}`"
        )


def finish(
    connection: Connection,
    batch_id: uuid.UUID,
    manifest_key: str | None,
    rejects_key: str | None,
    changes: dict[str, int] | None,
) -> None:
    """Say that all was read; the same command makes a new batch from now on."""
    connection.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id)
        .values(
            finished_at=func.now(),
            manifest_key=manifest_key,
            rejects_key=rejects_key,
            changes=changes,
            code=null(),
            message=null(),
        )
    )


def tell(connection: Connection, batch_id: uuid.UUID, skipped: Skipped, remarks: list[str]) -> None:
    """Write down what is not taken of the source, and what is to be said of it."""
    connection.execute(
        update(INGESTS)
        .where(INGESTS.c.batch_id == batch_id)
        .values(skipped=skipped.as_json() or null(), remarks=remarks or null())
    )
