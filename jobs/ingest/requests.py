"""Ingests that somebody asked for and an ingester carries out: requested, taken up, ended."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import (
    Connection,
    Interval,
    Text,
    and_,
    bindparam,
    func,
    insert,
    not_,
    null,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session

from jobs.blocking import is_suspended
from jobs.ceilings import ceilings_of
from jobs.ingest.ledger import make_batch
from jobs.ingest.orders import STRICT, Order
from jobs.models import BATCHES, INGESTS, Batch, Ingest
from jobs.store.words import cut

NOT_READ_YET = "not read yet"
# One that is being read by another is passed over.
MOST_LOOKED_AT = 20
LOCK = "hashtextextended('ingest ' || :batch, 0)"

UNFINISHED = and_(
    INGESTS.c.batch_id == bindparam("batch", type_=INGESTS.c.batch_id.type), INGESTS.c.finished_at.is_(None)
)
DUE = (
    select(INGESTS.c.batch_id)
    .join(BATCHES, BATCHES.c.id == INGESTS.c.batch_id)
    .where(
        INGESTS.c.source.is_not(None),
        INGESTS.c.finished_at.is_(None),
        INGESTS.c.due_at <= func.now(),
        not_(is_suspended(BATCHES.c.producer_id)),
    )
    .order_by(INGESTS.c.due_at)
    .limit(MOST_LOOKED_AT)
)
FAIL = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(finished_at=func.now(), error=bindparam("why"), code=null(), message=null())
)
REST = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(due_at=func.now() + bindparam("rest", type_=Interval), tries=INGESTS.c.tries + 1)
)
# To rest for want of room is no trouble: it may be for as long as it takes.
REST_FOR_ROOM = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(
        due_at=func.now() + bindparam("rest", type_=Interval),
        code=bindparam("why", type_=Text),
        message=bindparam("words", type_=Text),
    )
)
KEEP_MANIFEST = update(INGESTS).where(UNFINISHED).values(manifest_key=bindparam("key"))


@dataclass(frozen=True, slots=True)
class Request:
    """What an ingester is to read, and into which batch. `manifest_key` once it lies in our bucket."""

    batch_id: uuid.UUID
    source: str
    order: Order
    manifest_key: str | None
    tries: int


def request_ingest(
    session: Session, source: str, order: Order, *, manifest_key: str | None = None
) -> uuid.UUID:
    """Ask for an ingest in the caller's transaction; returns the id of its batch, which has no jobs yet.

    `source` is what `cutout ingest` takes, or the https address of a manifest. With `manifest_key` the
    manifest lies in the bucket already and `source` says where it came from.
    """
    batch_id = make_batch(session, order)
    session.execute(
        insert(INGESTS).values(
            batch_id=batch_id,
            fingerprint=batch_id.bytes,
            kind=NOT_READ_YET,
            source=source,
            due_at=func.now(),
            manifest_key=manifest_key,
            options=order.options | ({STRICT: True} if order.strict else {}),
        )
    )
    return batch_id


@contextmanager
def next_request(connection: Connection) -> Iterator[Request | None]:
    """The first due request that nobody is at, None if there is none; it is this session's meanwhile.

    Whoever dies loses it at once to the next.
    """
    for batch_id in connection.scalars(DUE).all():
        key = {"batch": str(batch_id)}
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})"), key):
            continue
        try:
            # Looked up under the lock: it may have ended meanwhile.
            request = _find(connection, batch_id)
            connection.commit()
            if request:
                yield request
                return
        finally:
            # With the connection the lock is gone as well.
            with suppress(DBAPIError, PendingRollbackError):
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"), key)
                connection.commit()
    connection.commit()
    yield None


def fail_request(connection: Connection, batch_id: uuid.UUID, why: str) -> None:
    """End a request that cannot be carried out; what is enqueued of it goes on."""
    connection.execute(FAIL, {"batch": batch_id, "why": cut(why)})
    connection.commit()


def rest_request(connection: Connection, batch_id: uuid.UUID, seconds: float) -> None:
    """Let a request be taken up again later."""
    connection.execute(REST, {"batch": batch_id, "rest": timedelta(seconds=seconds)})
    connection.commit()


def rest_for_room(
    connection: Connection, batch_id: uuid.UUID, seconds: float, code: str, message: str
) -> None:
    """Let a request be looked at again later, with the reason why it rests; its tries are left to it."""
    rest = {"rest": timedelta(seconds=seconds), "why": code, "words": message}
    connection.execute(REST_FOR_ROOM, {"batch": batch_id} | rest)
    connection.commit()


def keep_manifest(connection: Connection, batch_id: uuid.UUID, key: str) -> None:
    """Say where in the bucket the manifest lies now: it is read from there, also by whoever goes on."""
    connection.execute(KEEP_MANIFEST, {"batch": batch_id, "key": key})
    connection.commit()


def _find(connection: Connection, batch_id: uuid.UUID) -> Request | None:
    with Session(connection, join_transaction_mode="rollback_only") as session:
        ingest = session.get(Ingest, batch_id)
        if ingest is None or ingest.source is None or ingest.finished_at is not None:
            return None
        batch = session.get_one(Batch, batch_id)
        order = replace(Order.of(ingest, batch), ceilings=ceilings_of(session, batch.producer_id))
        return Request(batch_id, ingest.source, order, ingest.manifest_key, ingest.tries)
