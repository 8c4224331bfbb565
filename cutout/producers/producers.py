"""Producers: who enqueues over HTTP, each with keys and, if need be, a quota."""

import uuid
from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cutout.enums import USUAL_SCOPES, Scope
from cutout.models import Producer
from cutout.models.database import Database
from cutout.producers.api_keys import find_key, hash_of, make_key


def create_producer(
    session: Session, name: str, *, scopes: Collection[Scope] = USUAL_SCOPES
) -> tuple[Producer, str]:
    """Add a producer with a first key; returns both; the key cannot be shown again."""
    producer = Producer(name=name)
    session.add(producer)
    session.flush()
    return producer, make_key(session, producer.id, name, scopes=scopes)[1]


def find_producer(database: Database, key: str) -> uuid.UUID | None:
    """The producer whose key this is, or None."""
    found = find_key(database, hash_of(key))
    return found.producer_id if found else None


def list_producers(session: Session) -> list[Producer]:
    """All producers, the oldest first."""
    return list(session.scalars(select(Producer).order_by(Producer.id)))


def set_quota(session: Session, producer_id: uuid.UUID, job_quota: int | None) -> bool:
    """Let the producer have so many unfinished jobs, None for any number; False if there is no such one."""
    changed = session.execute(
        update(Producer)
        .where(Producer.id == producer_id)
        # Taken by nobody knows how much so far: the next POST that would pass the quota counts.
        .values(job_quota=job_quota, quota_taken=job_quota or 0, quota_counted_at=None)
        .returning(Producer.id)
    )
    return changed.first() is not None
