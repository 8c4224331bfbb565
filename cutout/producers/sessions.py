"""Sessions of the console: made with a key or by a link that works once, ended with the key.

Only hashes of tokens are stored. A session is valid while its key is, for at most SESSION_LASTS, and ends
after IDLE_FOR without a request.
"""

import hashlib
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    LargeBinary,
    and_,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from cutout.models import PRODUCERS, SESSIONS, SIGN_IN_LINKS, ApiKey
from cutout.models.database import Database

TOKEN_BYTES = 32
SESSION_LASTS = timedelta(days=7)
IDLE_FOR = timedelta(hours=12)
LINK_LASTS = timedelta(minutes=10)
# Written at most this often: an open page is looked up every second.
SEEN_EVERY = timedelta(minutes=1)
MOST_PRUNED = 1000
# A key can be told to sign in again and again; its oldest sessions end.
MOST_OF_A_KEY = 100

_KEY_IS_VALID = and_(
    ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
)
_IS_OPEN = and_(SESSIONS.c.ends_at > func.now(), SESSIONS.c.seen_at > func.now() - IDLE_FOR)
_IS_STALE = SESSIONS.c.seen_at < func.now() - SEEN_EVERY
# One array: an IN of 200 tokens is written and parsed anew each time.
_OPEN = (
    select(SESSIONS.c.token_sha256, _IS_STALE)
    .join(ApiKey, ApiKey.id == SESSIONS.c.key_id)
    .outerjoin(PRODUCERS, PRODUCERS.c.id == ApiKey.producer_id)
    .where(
        SESSIONS.c.token_sha256 == any_(bindparam("tokens", type_=ARRAY(LargeBinary))),
        _IS_OPEN,
        _KEY_IS_VALID,
        PRODUCERS.c.suspended_at.is_(None),
    )
)
_OWNER = (
    select(
        ApiKey.id,
        ApiKey.name,
        ApiKey.producer_id,
        ApiKey.scopes,
        PRODUCERS.c.suspended_at,
        _IS_STALE.label("is_stale"),
    )
    .join(SESSIONS, SESSIONS.c.key_id == ApiKey.id)
    .outerjoin(PRODUCERS, PRODUCERS.c.id == ApiKey.producer_id)
    .where(SESSIONS.c.token_sha256 == bindparam("token"), _IS_OPEN, _KEY_IS_VALID)
)


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """The valid key of a session, and its producer; None for an operator's key."""

    key_id: uuid.UUID
    key_name: str
    producer_id: uuid.UUID | None
    scopes: tuple[str, ...]
    suspended: bool


def new_token() -> str:
    """256 random bits, as text."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """The hash under which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def make_session(database: Database, key_id: uuid.UUID) -> str:
    """Make a session of the key and return its token, which is not stored."""
    token = new_token()
    database.execute(
        insert(SESSIONS).values(
            token_sha256=token_hash(token), key_id=key_id, ends_at=func.now() + SESSION_LASTS
        )
    )
    kept = (
        select(SESSIONS.c.token_sha256)
        .where(SESSIONS.c.key_id == key_id)
        .order_by(SESSIONS.c.made_at.desc())
        .offset(MOST_OF_A_KEY)
    )
    database.execute(delete(SESSIONS).where(SESSIONS.c.token_sha256.in_(kept)))
    return token


def session_owner(database: Database, token_sha256: bytes) -> SessionOwner | None:
    """The key of the session if both are valid now; notes that it was seen."""
    row = database.execute(_OWNER, {"token": token_sha256}).one_or_none()
    if row is None:
        return None
    if row.is_stale:
        seen = update(SESSIONS).where(SESSIONS.c.token_sha256 == token_sha256).values(seen_at=func.now())
        database.execute(seen)
    suspended = row.suspended_at is not None
    return SessionOwner(row.id, row.name, row.producer_id, tuple(row.scopes), suspended=suspended)


def open_sessions(database: Database, token_sha256s: Collection[bytes]) -> set[bytes]:
    """Those of these sessions that are valid now; notes that they were seen."""
    rows = database.execute(_OPEN, {"tokens": list(token_sha256s)}).all()
    if stale := [token for token, is_stale in rows if is_stale]:
        seen = update(SESSIONS).where(SESSIONS.c.token_sha256.in_(stale)).values(seen_at=func.now())
        database.execute(seen)
    return {token for token, _ in rows}


def end_session(database: Database, token_sha256: bytes) -> uuid.UUID | None:
    """End the session and return the id of its key; None if there is none."""
    this = delete(SESSIONS).where(SESSIONS.c.token_sha256 == token_sha256)
    ended: uuid.UUID | None = database.scalar(this.returning(SESSIONS.c.key_id))
    return ended


def make_link(database: Database, key_id: uuid.UUID) -> str:
    """Make a link's token that signs in once as the key, within LINK_LASTS."""
    token = new_token()
    database.execute(
        insert(SIGN_IN_LINKS).values(
            token_sha256=token_hash(token), key_id=key_id, ends_at=func.now() + LINK_LASTS
        )
    )
    return token


def use_link(database: Database, token_sha256: bytes) -> str | None:
    """Use up the link and make the session of its key; None if it was used, is over, or its key is.

    In the caller's transaction: of two that use it at once, one gets None.
    """
    key_id = database.scalar(
        delete(SIGN_IN_LINKS)
        .where(
            SIGN_IN_LINKS.c.token_sha256 == token_sha256,
            SIGN_IN_LINKS.c.ends_at > func.now(),
            SIGN_IN_LINKS.c.key_id.in_(select(ApiKey.id).where(_KEY_IS_VALID)),
        )
        .returning(SIGN_IN_LINKS.c.key_id)
    )
    return None if key_id is None else make_session(database, key_id)


def prune_sessions(database: Database) -> int:
    """Delete sessions and links that are over, at most MOST_PRUNED of each; returns their number."""
    sessions = text(
        "DELETE FROM sessions WHERE token_sha256 IN (SELECT token_sha256 FROM sessions"
        " WHERE ends_at < now() OR seen_at < now() - CAST(:idle AS interval) LIMIT :most)"
    )
    links = text(
        "DELETE FROM sign_in_links WHERE token_sha256 IN"
        " (SELECT token_sha256 FROM sign_in_links WHERE ends_at < now() LIMIT :most)"
    )
    pruned = database.execute(sessions, {"idle": IDLE_FOR, "most": MOST_PRUNED})
    pruned_links = database.execute(links, {"most": MOST_PRUNED})
    return int(pruned.rowcount) + int(pruned_links.rowcount)  # type: ignore[attr-defined]
