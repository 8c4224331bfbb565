"""Producers: the clients that enqueue over HTTP, each with its keys and an optional quota of jobs."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from cutout.enums import USUAL_SCOPES, Scope
from cutout.models import JOBS, PRODUCERS, Producer
from cutout.models.database import Database
from cutout.producers.api_keys import KnownKey, find_key, hash_of, make_key


def create_producer(
    session: Session, name: str, *, scopes: Collection[Scope] = USUAL_SCOPES
) -> tuple[Producer, str]:
    """Add a producer with a first key; returns both. The key cannot be shown again."""
    producer = Producer(name=name)
    session.add(producer)
    session.flush()
    return producer, make_key(session, producer.id, name, scopes=scopes)[1]


def find_producer(database: Database, key: str) -> uuid.UUID | None:
    """The id of the producer that owns this key, or None."""
    found = find_key(database, hash_of(key))
    return found.producer_id if isinstance(found, KnownKey) else None


def list_producers(session: Session) -> list[Producer]:
    """All producers, the oldest first."""
    return list(session.scalars(select(Producer).order_by(Producer.id)))


def set_quota(session: Session, producer_id: uuid.UUID, job_quota: int | None) -> bool:
    """Limit the producer's unfinished jobs to `job_quota`, None for no limit; False if it does not exist."""
    changed = session.execute(
        update(Producer)
        .where(Producer.id == producer_id)
        # The number taken so far is not known: the next POST that would exceed the quota counts it.
        .values(job_quota=job_quota, quota_taken=job_quota or 0, quota_counted_at=None)
        .returning(Producer.id)
    )
    return changed.first() is not None


def is_suspended(producer_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the producer in an outer statement is suspended; false for rows without a producer."""
    producers = PRODUCERS.alias("suspended")
    suspended = select(producers.c.id).where(
        producers.c.id == producer_id, producers.c.suspended_at.is_not(None)
    )
    return suspended.correlate_except(producers).exists()


# Its jobs stay ready and are not dispatched (queue/producer_shares.py); a dispatched job begins no call.
PRODUCER_IS_SUSPENDED = is_suspended(JOBS.c.producer_id)
