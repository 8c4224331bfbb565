"""API keys of producers, each with its scopes. A key is shown once; only its hash is stored."""

import hashlib
import secrets
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from cutout.enums import USUAL_SCOPES, Scope
from cutout.models import ApiKey, Producer
from cutout.models.database import Database
from cutout.producers.ceilings import UNBOUNDED, Ceilings

KEY_PREFIX = "cutout_"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key: its producer and scopes, the producer's ceilings, and whether that is suspended."""

    id: uuid.UUID
    producer_id: uuid.UUID
    scopes: tuple[str, ...]
    ceilings: Ceilings = UNBOUNDED
    suspended: bool = False


def make_key(
    session: Session,
    producer_id: uuid.UUID,
    name: str,
    *,
    scopes: Collection[Scope] = USUAL_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key to a producer; returns the row and the key's text, which cannot be shown again."""
    text = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key = ApiKey(
        producer_id=producer_id,
        name=name,
        key_sha256=hash_of(text),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return key, text


def find_key(database: Database, key_sha256: bytes) -> KnownKey | None:
    """The valid key with this hash, or None. The lookup by hash takes no time that reveals the key."""
    row = database.execute(
        select(
            ApiKey.id,
            ApiKey.producer_id,
            ApiKey.scopes,
            Producer.top_priority,
            Producer.most_weight,
            Producer.suspended_at,
        )
        .join(Producer, Producer.id == ApiKey.producer_id)
        .where(
            ApiKey.key_sha256 == key_sha256,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
    ).one_or_none()
    if row is None:
        return None
    ceilings = Ceilings.of(row.top_priority, row.most_weight)
    suspended = row.suspended_at is not None
    return KnownKey(row.id, row.producer_id, tuple(row.scopes), ceilings, suspended=suspended)


def list_keys(session: Session) -> Sequence[tuple[ApiKey, Producer]]:
    """All keys with their producers, the oldest first."""
    rows = session.execute(
        select(ApiKey, Producer).join(Producer, Producer.id == ApiKey.producer_id).order_by(ApiKey.id)
    )
    return [(row.ApiKey, row.Producer) for row in rows]


def revoke_keys(session: Session, key_or_producer_id: uuid.UUID) -> int:
    """Revoke a key, or all keys of a producer; returns how many were valid until now."""
    revoked = session.execute(
        update(ApiKey)
        .where(
            or_(ApiKey.id == key_or_producer_id, ApiKey.producer_id == key_or_producer_id),
            ApiKey.revoked_at.is_(None),
        )
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    return len(revoked.all())


def note_use(session: Session, key_ids: Collection[uuid.UUID]) -> None:
    """Record that these keys were used now."""
    session.execute(update(ApiKey).where(ApiKey.id.in_(key_ids)).values(last_used_at=func.now()))


def renew_key(
    session: Session, producer_name: str, name: str, *, scopes: Collection[Scope]
) -> tuple[ApiKey, str]:
    """Replace all keys of this name by a new one, for the same producer if there was one."""
    former = session.scalars(select(ApiKey).where(ApiKey.name == name).order_by(ApiKey.id)).all()
    for key in former:
        revoke_keys(session, key.id)
    if former:
        return make_key(session, former[-1].producer_id, name, scopes=scopes)
    producer = Producer(name=producer_name)
    session.add(producer)
    session.flush()
    return make_key(session, producer.id, name, scopes=scopes)


def hash_of(text: str) -> bytes:
    """The SHA-256 of a key, the only form in which it is stored."""
    # The key has 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
