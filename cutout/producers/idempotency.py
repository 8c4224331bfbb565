"""Responses kept under the producer's idempotency keys: a repeated POST receives the first response."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cutout.models import IdempotencyKey
from cutout.models.database import Database

KEPT_FOR = "24 hours"
MOST_PRUNED = 1000


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The response to the request with this hash, and when it was kept; the database says when."""

    request_sha256: bytes
    status: int
    media_type: str | None
    location: str | None
    body: bytes
    kept_at: datetime | None = None


def lock_key(session: Session, producer_id: uuid.UUID, key: str) -> bool:
    """Lock the key until the transaction ends; False, without waiting, if another transaction holds it.

    Two keys with the same hashes exclude each other for that time, which does no harm.
    """
    return bool(
        session.scalar(
            select(func.pg_try_advisory_xact_lock(func.hashtext(str(producer_id)), func.hashtext(key)))
        )
    )


def find_answer(session: Session, producer_id: uuid.UUID, key: str) -> KeptAnswer | None:
    """The response kept under the key, if any. Call it after `lock_key`: then no request is under way."""
    row = session.execute(
        select(
            IdempotencyKey.request_sha256,
            IdempotencyKey.status,
            IdempotencyKey.media_type,
            IdempotencyKey.location,
            IdempotencyKey.body,
            IdempotencyKey.created_at,
        ).where(IdempotencyKey.producer_id == producer_id, IdempotencyKey.key == key)
    ).one_or_none()
    return KeptAnswer(*row) if row else None


def keep_answer(session: Session, producer_id: uuid.UUID, key: str, answer: KeptAnswer) -> None:
    """Keep a response, in the transaction of the change that it reports."""
    session.add(
        IdempotencyKey(
            producer_id=producer_id,
            key=key,
            request_sha256=answer.request_sha256,
            status=answer.status,
            media_type=answer.media_type,
            location=answer.location,
            body=answer.body,
        )
    )
    session.flush()


def prune_answers(database: Database) -> int:
    """Delete responses older than 24 hours, at most MOST_PRUNED; returns their number."""
    pruned = database.execute(
        text(
            "DELETE FROM idempotency_keys WHERE (producer_id, key) IN (SELECT producer_id, key"
            " FROM idempotency_keys WHERE created_at < now() - CAST(:age AS interval)"
            " ORDER BY created_at LIMIT :most)"
        ),
        {"age": KEPT_FOR, "most": MOST_PRUNED},
    )
    return int(pruned.rowcount)  # type: ignore[attr-defined]
