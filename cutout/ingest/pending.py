"""Ingests that somebody asked for and an ingester carries out: requested, taken up, ended."""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Interval,
    Text,
    Uuid,
    and_,
    bindparam,
    func,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Session

from cutout.ingest.checkpoint import make_batch
from cutout.ingest.options import STRICT, Order
from cutout.models import INGESTS, NOBODY, Batch, Ingest
from cutout.producers.ceilings import ceilings_of
from cutout.text import cut

NOT_READ_YET = "not read yet"
# Of one producer; those that are being read by others are passed over.
MOST_LOOKED_AT = 20
MOST_TRIED = 400
LOCK = "hashtextextended('ingest ' || :batch, 0)"

UNFINISHED = and_(
    INGESTS.c.batch_id == bindparam("batch", type_=INGESTS.c.batch_id.type), INGESTS.c.finished_at.is_(None)
)
# A step of the index for each producer that has any, however many it has; the one that waited longest for a
# turn comes first.
DUE = text("""
    WITH RECURSIVE waiting (asked_by) AS (
        (
            SELECT asked_by FROM ingests
            WHERE source IS NOT NULL AND finished_at IS NULL AND to_fetch = :to_fetch
            ORDER BY asked_by LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT i.asked_by FROM ingests i
            WHERE i.source IS NOT NULL AND i.finished_at IS NULL AND i.to_fetch = :to_fetch
            AND i.asked_by > w.asked_by
            ORDER BY i.asked_by LIMIT 1
        )
        FROM waiting w WHERE w.asked_by IS NOT NULL
    )
    SELECT due.batch_id FROM waiting w
    LEFT JOIN ingest_turns t ON t.asked_by = w.asked_by
    CROSS JOIN LATERAL (
        SELECT i.batch_id, i.due_at FROM ingests i
        WHERE i.source IS NOT NULL AND i.finished_at IS NULL AND i.to_fetch = :to_fetch
        AND i.asked_by = w.asked_by AND i.due_at <= now()
        ORDER BY i.due_at LIMIT :each
    ) due
    WHERE w.asked_by <> ALL (:full)
    AND NOT EXISTS (SELECT FROM producers p WHERE p.id = w.asked_by AND p.suspended_at IS NOT NULL)
    ORDER BY t.taken_at NULLS FIRST, due.due_at LIMIT :most
""").bindparams(bindparam("full", type_=ARRAY(Uuid)))
TAKE_UP = update(INGESTS).where(UNFINISHED).values(deaths=INGESTS.c.deaths + 1)
TAKE_TURN = text("""
    INSERT INTO ingest_turns (asked_by, taken_at) VALUES (:asked_by, clock_timestamp())
    ON CONFLICT (asked_by) DO UPDATE SET taken_at = excluded.taken_at
""").bindparams(bindparam("asked_by", type_=Uuid))
FAIL = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(finished_at=func.now(), error=bindparam("why"), code=bindparam("its_code"), message=null())
)
# Not none: to rest is not to come any further, or a file could end its readers between two rests for ever.
AS_BEFORE = func.least(INGESTS.c.deaths, bindparam("before"))
REST = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(
        due_at=func.now() + bindparam("rest", type_=Interval), tries=INGESTS.c.tries + 1, deaths=AS_BEFORE
    )
)
PUT_DOWN = update(INGESTS).where(UNFINISHED).values(deaths=AS_BEFORE)
KEEP_MANIFEST = (
    update(INGESTS).where(UNFINISHED).values(manifest_key=bindparam("key"), to_fetch=False, deaths=0)
)
ENDED = select(INGESTS.c.batch_id).where(
    INGESTS.c.batch_id == func.any(bindparam("these", type_=ARRAY(Uuid))), INGESTS.c.finished_at.is_not(None)
)
UNFINISHED_OF = (
    select(INGESTS.c.batch_id)
    .where(
        # Both, for the index begins with it.
        INGESTS.c.to_fetch.in_([False, True]),
        INGESTS.c.asked_by == bindparam("asked_by", type_=Uuid),
        INGESTS.c.source.is_not(None),
        INGESTS.c.finished_at.is_(None),
    )
    .limit(bindparam("most", type_=Integer))
)
# To rest for want of room is no trouble: it may be for as long as it takes.
REST_FOR_ROOM = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(
        due_at=func.now() + bindparam("rest", type_=Interval),
        deaths=AS_BEFORE,
        code=bindparam("why", type_=Text),
        message=bindparam("words", type_=Text),
    )
)


@dataclass(frozen=True, slots=True)
class Request:
    """What an ingester is to read, and into which batch. `manifest_key` once it lies in our bucket.

    `deaths` says how many processes that had taken it up have died since it last came any further.
    """

    batch_id: uuid.UUID
    source: str
    order: Order
    manifest_key: str | None
    tries: int
    asked_by: uuid.UUID = NOBODY
    to_fetch: bool = False
    deaths: int = 0


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
            asked_by=order.producer_id or NOBODY,
            to_fetch=manifest_key is None and is_on_the_web(source),
            options=order.options | ({STRICT: True} if order.strict else {}),
        )
    )
    return batch_id


def is_on_the_web(source: str) -> bool:
    """Whether it is to be downloaded."""
    return source.lower().startswith(("https://", "http://"))


@contextmanager
def next_request(
    connection: Connection, *, to_fetch: bool, full: Collection[uuid.UUID] = ()
) -> Iterator[Request | None]:
    """The due request whose turn it is, None if there is none; it is this session's meanwhile.

    Producers take turns, but for those that are `full`. To be taken up counts as a death until it comes any
    further or is put down: whoever dies of it writes nothing. Whoever dies loses it at once to the next.
    """
    looked = {"to_fetch": to_fetch, "full": list(full), "each": MOST_LOOKED_AT, "most": MOST_TRIED}
    for batch_id in connection.scalars(DUE, looked).all():
        key = {"batch": str(batch_id)}
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})"), key):
            continue
        try:
            # Looked up under the lock: it may have ended meanwhile.
            request = find_request(connection, batch_id)
            if request and request.to_fetch == to_fetch:
                connection.execute(TAKE_UP, {"batch": batch_id})
                connection.execute(TAKE_TURN, {"asked_by": request.asked_by})
                connection.commit()
                yield request
                return
            connection.commit()
        finally:
            # With the connection the lock is gone as well.
            with suppress(DBAPIError, PendingRollbackError):
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"), key)
                connection.commit()
    connection.commit()
    yield None


def fail_request(connection: Connection, batch_id: uuid.UUID, why: str, code: str | None = None) -> None:
    """End a request that cannot be carried out; what is enqueued of it goes on."""
    connection.execute(FAIL, {"batch": batch_id, "why": cut(why), "its_code": code})
    connection.commit()


def rest_request(connection: Connection, batch_id: uuid.UUID, seconds: float, deaths: int) -> None:
    """Let a request be taken up again later. `deaths` is as it was."""
    rest = {"rest": timedelta(seconds=seconds), "before": deaths}
    connection.execute(REST, {"batch": batch_id} | rest)
    connection.commit()


def put_down(connection: Connection, batch_id: uuid.UUID, deaths: int) -> None:
    """Let another go on with a request: that its reader ended is no fault of it. `deaths` is as it was."""
    connection.execute(PUT_DOWN, {"batch": batch_id, "before": deaths})
    connection.commit()


def ended_of(connection: Connection, batch_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these requests that have ended, as one does whose batch is cancelled."""
    ended = set(connection.scalars(ENDED, {"these": list(batch_ids)}))
    connection.commit()
    return ended


def rest_for_room(
    connection: Connection, batch_id: uuid.UUID, seconds: float, deaths: int, *, code: str, message: str
) -> None:
    """Let a request be looked at again later, with the reason why it rests; its tries are left to it.

    `deaths` is as it was.
    """
    rest = {"rest": timedelta(seconds=seconds), "before": deaths, "why": code, "words": message}
    connection.execute(REST_FOR_ROOM, {"batch": batch_id} | rest)
    connection.commit()


def count_unfinished(connection: Connection, asked_by: uuid.UUID, most: int) -> int:
    """How many requests somebody has that have not ended, counted as far as `most`."""
    some = UNFINISHED_OF.subquery()
    values = {"asked_by": asked_by, "most": most}
    counted = connection.scalar(select(func.count()).select_from(some), values) or 0
    connection.commit()
    return counted


def keep_manifest(connection: Connection, batch_id: uuid.UUID, key: str) -> None:
    """Say where in the bucket the manifest lies now: it is read from there, also by whoever goes on."""
    connection.execute(KEEP_MANIFEST, {"batch": batch_id, "key": key})
    connection.commit()


def find_request(connection: Connection, batch_id: uuid.UUID) -> Request | None:
    """The request as it stands; None if it has ended, or was never made."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        ingest = session.get(Ingest, batch_id)
        if ingest is None or ingest.source is None or ingest.finished_at is not None:
            return None
        batch = session.get_one(Batch, batch_id)
        return Request(
            batch_id,
            ingest.source,
            replace(Order.of(ingest, batch), ceilings=ceilings_of(session, batch.producer_id)),
            ingest.manifest_key,
            ingest.tries,
            ingest.asked_by,
            ingest.to_fetch,
            ingest.deaths,
        )
