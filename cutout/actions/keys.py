"""Actions on API keys and producers, in the caller's transaction, each with its row."""

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from cutout.administration import suspend as suspending
from cutout.enums import ActionKind, OperatorScope, Scope, Subject
from cutout.models import ApiKey
from cutout.producers import api_keys, ceilings, producers
from cutout.producers.action_record import About, Extent, record
from cutout.producers.actors import Asked


def make_key(
    session: Session,
    asked: Asked,
    producer_id: uuid.UUID,
    name: str,
    *,
    scopes: Collection[Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key to a producer; returns the row and the key's text."""
    key, text = api_keys.make_key(session, producer_id, name, scopes=scopes, expires_at=expires_at)
    _record_made(session, asked, key)
    return key, text


def make_operator_key(
    session: Session,
    asked: Asked,
    name: str,
    *,
    scopes: Collection[OperatorScope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key of an operator; returns the row and the key's text."""
    key, text = api_keys.make_operator_key(session, name, scopes=scopes, expires_at=expires_at)
    _record_made(session, asked, key)
    return key, text


def renew_key(
    session: Session, asked: Asked, producer_name: str, name: str, *, scopes: Collection[Scope]
) -> tuple[ApiKey, str]:
    """Replace all producers' keys of this name by a new one; returns its row and its text."""
    key, text = api_keys.renew_key(session, producer_name, name, scopes=scopes)
    _record_made(session, asked, key)
    return key, text


def renew_operator_key(session: Session, asked: Asked, name: str) -> tuple[ApiKey, str]:
    """Replace all operators' keys of this name by a new one with every scope; its row and its text."""
    key, text = api_keys.renew_operator_key(session, name)
    _record_made(session, asked, key)
    return key, text


def revoke_keys(session: Session, asked: Asked, key_or_producer_id: uuid.UUID) -> int:
    """Revoke a key, or all keys of a producer; returns how many were valid until now."""
    revoked = api_keys.revoke_keys(session, key_or_producer_id)
    if revoked:
        key = session.get(ApiKey, key_or_producer_id)
        about = (
            About(Subject.PRODUCER, key_or_producer_id, key_or_producer_id)
            if key is None
            else About(Subject.KEY, key.id, key.producer_id)
        )
        record(session, asked, ActionKind.REVOKE_KEY, about, Extent(revoked))
    return revoked


def limit_producer(session: Session, asked: Asked, producer_id: uuid.UUID, **limits: float | None) -> bool:
    """Set `job_quota`, `top_priority`, `most_weight` or `share`; False if there is no such producer."""
    given = dict(limits)
    exists = True
    if "job_quota" in given:
        quota = given.pop("job_quota")
        exists = producers.set_quota(session, producer_id, None if quota is None else int(quota))
    if given:
        exists = ceilings.set_ceilings(session, producer_id, **given)
    if exists:
        about = About(Subject.PRODUCER, producer_id, producer_id)
        record(session, asked, ActionKind.LIMIT_PRODUCER, about, options=limits)
    return exists


def suspend_producer(session: Session, asked: Asked, producer_id: uuid.UUID) -> bool:
    """Refuse the producer's keys and stop its work; False if it is suspended already."""
    if not suspending.suspend(session, producer_id):
        return False
    about = About(Subject.PRODUCER, producer_id, producer_id)
    record(session, asked, ActionKind.SUSPEND_PRODUCER, about)
    return True


def resume_producer(session: Session, asked: Asked, producer_id: uuid.UUID) -> bool:
    """Let the producer's work continue; False if it is not suspended."""
    if not suspending.resume(session, producer_id):
        return False
    about = About(Subject.PRODUCER, producer_id, producer_id)
    record(session, asked, ActionKind.RESUME_PRODUCER, about)
    return True


def _record_made(session: Session, asked: Asked, key: ApiKey) -> None:
    about = About(Subject.KEY, key.id, key.producer_id)
    record(session, asked, ActionKind.MAKE_KEY, about, options={"name": key.name, "scopes": key.scopes})
