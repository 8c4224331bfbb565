"""API keys of producers and of operators, with their scopes. A key is shown once; its hash is stored."""

import hashlib
import secrets
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from cutout.enums import OPERATOR_SCOPES, USUAL_SCOPES, OperatorScope, Scope
from cutout.models import ApiKey, Producer
from cutout.models.database import Database
from cutout.producers.ceilings import UNBOUNDED, Ceilings

KEY_PREFIX = "cutout_"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A producer's valid key: name, scopes and end, the producer's ceilings, whether that is suspended."""

    id: uuid.UUID
    producer_id: uuid.UUID
    name: str
    scopes: tuple[str, ...]
    ceilings: Ceilings = UNBOUNDED
    suspended: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """An operator's valid key, with the operator's name, its scopes and its end."""

    id: uuid.UUID
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None


def make_key(
    session: Session,
    producer_id: uuid.UUID,
    name: str,
    *,
    scopes: Collection[Scope] = USUAL_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key to a producer; returns the row and the key's text, which cannot be shown again."""
    return _make(session, producer_id, name, scopes, expires_at)


def make_operator_key(
    session: Session,
    name: str,
    *,
    scopes: Collection[OperatorScope] = OPERATOR_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key of the operator of this name; returns the row and the key's text, as `make_key` does."""
    return _make(session, None, name, scopes, expires_at)


def _make(
    session: Session,
    producer_id: uuid.UUID | None,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
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


def find_key(database: Database, key_sha256: bytes) -> KnownKey | OperatorKey | None:
    """The valid key with this hash, a producer's or an operator's, or None.

    The lookup by hash takes no time that reveals the key.
    """
    row = database.execute(
        select(
            ApiKey.id,
            ApiKey.producer_id,
            ApiKey.name,
            ApiKey.scopes,
            ApiKey.expires_at,
            Producer.top_priority,
            Producer.most_weight,
            Producer.suspended_at,
        )
        .outerjoin(Producer, Producer.id == ApiKey.producer_id)
        .where(
            ApiKey.key_sha256 == key_sha256,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
    ).one_or_none()
    if row is None:
        return None
    if row.producer_id is None:
        return OperatorKey(row.id, row.name, tuple(row.scopes), row.expires_at)
    ceilings = Ceilings.of(row.top_priority, row.most_weight)
    suspended = row.suspended_at is not None
    return KnownKey(
        row.id,
        row.producer_id,
        row.name,
        tuple(row.scopes),
        ceilings,
        suspended=suspended,
        expires_at=row.expires_at,
    )


def list_keys(session: Session) -> Sequence[tuple[ApiKey, Producer | None]]:
    """All keys with their producers, the oldest first; an operator's has none."""
    rows = session.execute(
        select(ApiKey, Producer).outerjoin(Producer, Producer.id == ApiKey.producer_id).order_by(ApiKey.id)
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
    former = session.scalars(
        select(ApiKey).where(ApiKey.name == name, ApiKey.producer_id.is_not(None)).order_by(ApiKey.id)
    ).all()
    for key in former:
        revoke_keys(session, key.id)
    if former and former[-1].producer_id is not None:
        return make_key(session, former[-1].producer_id, name, scopes=scopes)
    producer = Producer(name=producer_name)
    session.add(producer)
    session.flush()
    return make_key(session, producer.id, name, scopes=scopes)


def renew_operator_key(session: Session, name: str) -> tuple[ApiKey, str]:
    """Replace all operators' keys of this name by a new one with every scope."""
    former = select(ApiKey.id).where(ApiKey.name == name, ApiKey.producer_id.is_(None))
    for key_id in session.scalars(former).all():
        revoke_keys(session, key_id)
    return make_operator_key(session, name)


def hash_of(text: str) -> bytes:
    """The SHA-256 of a key, the only form in which it is stored."""
    # The key has 256 random bits: a fast hash is as good as a slow one.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
