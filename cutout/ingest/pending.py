"""Pending ingests: requested by a producer or schedule, claimed by an ingester, ended."""

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
from cutout.ingest.options import STRICT, IngestOptions
from cutout.models import INGESTS, NOBODY, Batch, Ingest
from cutout.producers.ceilings import ceilings_of
from cutout.text import cut

NOT_READ_YET = "not read yet"
# Per producer; ingests that another process reads are skipped.
MOST_PER_PRODUCER = 20
MOST_TRIED = 400
LOCK = "hashtextextended('ingest ' || :batch, 0)"

UNFINISHED = and_(
    INGESTS.c.batch_id == bindparam("batch", type_=INGESTS.c.batch_id.type), INGESTS.c.finished_at.is_(None)
)
# One index step per producer that has any, however many it has. The producer that waited longest comes first.
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
CLAIM = update(INGESTS).where(UNFINISHED).values(deaths=INGESTS.c.deaths + 1)
RECORD_TURN = text("""
    INSERT INTO ingest_turns (asked_by, taken_at) VALUES (:asked_by, clock_timestamp())
    ON CONFLICT (asked_by) DO UPDATE SET taken_at = excluded.taken_at
""").bindparams(bindparam("asked_by", type_=Uuid))
FAIL = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(finished_at=func.now(), error=bindparam("why"), code=bindparam("failure_code"), message=null())
)
# Not reset to 0: a delay is no progress, or a file could end its readers between two delays for ever.
AS_BEFORE = func.least(INGESTS.c.deaths, bindparam("before"))
DELAY = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(
        due_at=func.now() + bindparam("delay", type_=Interval), tries=INGESTS.c.tries + 1, deaths=AS_BEFORE
    )
)
RELEASE = update(INGESTS).where(UNFINISHED).values(deaths=AS_BEFORE)
KEEP_MANIFEST = (
    update(INGESTS).where(UNFINISHED).values(manifest_key=bindparam("key"), to_fetch=False, deaths=0)
)
ENDED = select(INGESTS.c.batch_id).where(
    INGESTS.c.batch_id == func.any(bindparam("batch_ids", type_=ARRAY(Uuid))),
    INGESTS.c.finished_at.is_not(None),
)
UNFINISHED_OF = (
    select(INGESTS.c.batch_id)
    .where(
        # Both values, because the index starts with this column.
        INGESTS.c.to_fetch.in_([False, True]),
        INGESTS.c.asked_by == bindparam("asked_by", type_=Uuid),
        INGESTS.c.source.is_not(None),
        INGESTS.c.finished_at.is_(None),
    )
    .limit(bindparam("most", type_=Integer))
)
# A delay for lack of quota or space is no failure: it may last as long as needed, and `tries` stays.
DELAY_WITHOUT_FAILURE = (
    update(INGESTS)
    .where(UNFINISHED)
    .values(
        due_at=func.now() + bindparam("delay", type_=Interval),
        deaths=AS_BEFORE,
        code=bindparam("why", type_=Text),
        message=bindparam("reason", type_=Text),
    )
)


@dataclass(frozen=True, slots=True)
class PendingIngest:
    """An ingest for an ingester to read, and its batch. `manifest_key` is set once the manifest is in our
    bucket.

    `deaths` counts the processes that died with it since it last advanced.
    """

    batch_id: uuid.UUID
    source: str
    options: IngestOptions
    manifest_key: str | None
    tries: int
    asked_by: uuid.UUID = NOBODY
    to_fetch: bool = False
    deaths: int = 0


def request_ingest(
    session: Session, source: str, options: IngestOptions, *, manifest_key: str | None = None
) -> uuid.UUID:
    """Request an ingest in the caller's transaction; return the id of its batch, which has no jobs yet.

    `source` is what `cutout ingest` takes, or the https URL of a manifest. With `manifest_key` the manifest
    is in the bucket already and `source` says where it came from.
    """
    batch_id = make_batch(session, options, source if is_on_the_web(source) else None)
    session.execute(
        insert(INGESTS).values(
            batch_id=batch_id,
            fingerprint=batch_id.bytes,
            kind=NOT_READ_YET,
            source=source,
            due_at=func.now(),
            manifest_key=manifest_key,
            asked_by=options.producer_id or NOBODY,
            to_fetch=manifest_key is None and is_on_the_web(source),
            options=options.as_json | ({STRICT: True} if options.strict else {}),
        )
    )
    return batch_id


def is_on_the_web(source: str) -> bool:
    """Whether the source is a URL to download."""
    return source.lower().startswith(("https://", "http://"))


@contextmanager
def next_request(
    connection: Connection, *, to_fetch: bool, full: Collection[uuid.UUID] = ()
) -> Iterator[PendingIngest | None]:
    """Claim the next due request for this session and yield it, or None.

    Producers take turns, except those in `full`. A claim counts as a death until the request advances or is
    released, because a process that dies cannot write. Its lock then goes to the next process at once.
    """
    parameters = {"to_fetch": to_fetch, "full": list(full), "each": MOST_PER_PRODUCER, "most": MOST_TRIED}
    for batch_id in connection.scalars(DUE, parameters).all():
        key = {"batch": str(batch_id)}
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})"), key):
            continue
        try:
            # Read again under the lock: the request may have ended meanwhile.
            request = find_request(connection, batch_id)
            if request and request.to_fetch == to_fetch:
                connection.execute(CLAIM, {"batch": batch_id})
                connection.execute(RECORD_TURN, {"asked_by": request.asked_by})
                connection.commit()
                yield request
                return
            connection.commit()
        finally:
            # The lock also ends with the connection.
            with suppress(DBAPIError, PendingRollbackError):
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"), key)
                connection.commit()
    connection.commit()
    yield None


def fail_request(connection: Connection, batch_id: uuid.UUID, why: str, code: str | None = None) -> None:
    """End a request that cannot be carried out; jobs already enqueued continue."""
    connection.execute(FAIL, {"batch": batch_id, "why": cut(why), "failure_code": code})
    connection.commit()


def retry_later(connection: Connection, batch_id: uuid.UUID, seconds: float, deaths: int) -> None:
    """Make a request due again after `seconds`. `deaths` is its value before the claim."""
    delay = {"delay": timedelta(seconds=seconds), "before": deaths}
    connection.execute(DELAY, {"batch": batch_id} | delay)
    connection.commit()


def release(connection: Connection, batch_id: uuid.UUID, deaths: int) -> None:
    """Release a request for another process, without counting a death. `deaths` is its value before the
    claim.
    """
    connection.execute(RELEASE, {"batch": batch_id, "before": deaths})
    connection.commit()


def find_ended(connection: Connection, batch_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Return those of batch_ids requests that have ended; a cancelled batch ends its request."""
    ended = set(connection.scalars(ENDED, {"batch_ids": list(batch_ids)}))
    connection.commit()
    return ended


def delay_without_failure(
    connection: Connection, batch_id: uuid.UUID, seconds: float, deaths: int, *, code: str, message: str
) -> None:
    """Make a request due again after `seconds`, with the reason; `tries` is not counted.

    `deaths` is its value before the claim.
    """
    delay = {"delay": timedelta(seconds=seconds), "before": deaths, "why": code, "reason": message}
    connection.execute(DELAY_WITHOUT_FAILURE, {"batch": batch_id} | delay)
    connection.commit()


def count_unfinished(connection: Connection, asked_by: uuid.UUID, most: int) -> int:
    """Count the unfinished requests of a producer, up to `most`."""
    some = UNFINISHED_OF.subquery()
    values = {"asked_by": asked_by, "most": most}
    counted = connection.scalar(select(func.count()).select_from(some), values) or 0
    connection.commit()
    return counted


def keep_manifest(connection: Connection, batch_id: uuid.UUID, key: str) -> None:
    """Record the key of the downloaded manifest: every later reader takes it from the bucket."""
    connection.execute(KEEP_MANIFEST, {"batch": batch_id, "key": key})
    connection.commit()


def find_request(connection: Connection, batch_id: uuid.UUID) -> PendingIngest | None:
    """Find a request; None if it has ended or was never made."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        ingest = session.get(Ingest, batch_id)
        if ingest is None or ingest.source is None or ingest.finished_at is not None:
            return None
        batch = session.get_one(Batch, batch_id)
        return PendingIngest(
            batch_id,
            ingest.source,
            replace(IngestOptions.of(ingest, batch), ceilings=ceilings_of(session, batch.producer_id)),
            ingest.manifest_key,
            ingest.tries,
            ingest.asked_by,
            ingest.to_fetch,
            ingest.deaths,
        )
