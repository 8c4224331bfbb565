"""Producers and their API keys. A key is shown once; only its hash is kept."""

import hashlib
import secrets
import uuid

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs.database import Database
from jobs.models import Producer

KEY_PREFIX = "cutout_"
KEY_BYTES = 32


def create_producer(session: Session, name: str) -> tuple[Producer, str]:
    """Add a producer; returns it with its key, which cannot be shown again."""
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    producer = Producer(name=name, key_sha256=_hash(key))
    session.add(producer)
    session.flush()
    return producer, key


def find_producer(database: Database, key: str) -> uuid.UUID | None:
    """The producer whose key this is, or None. The look-up is by hash: its time tells nothing."""
    return database.scalar(
        select(Producer.id).where(Producer.key_sha256 == _hash(key), Producer.revoked_at.is_(None))
    )


def list_producers(session: Session) -> list[Producer]:
    """All producers, the oldest first."""
    return list(session.scalars(select(Producer).order_by(Producer.id)))


def revoke_producer(session: Session, producer_id: uuid.UUID) -> bool:
    """Refuse the producer's key from now on; False if there is no such producer or it is revoked already."""
    revoked = session.execute(
        update(Producer)
        .where(Producer.id == producer_id, Producer.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(Producer.id)
    )
    return revoked.first() is not None


def _hash(key: str) -> bytes:
    # The key has 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(key.encode()).digest()
