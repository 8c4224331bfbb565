"""Accounts at the endpoint: whether calls may go out at all."""

import hashlib
from datetime import timedelta

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert

from jobs.database import Database
from jobs.models import Account

FINGERPRINT_DIGITS = 12
PROBE_AFTER = timedelta(seconds=30)


def account_name(api_key: str) -> str:
    """A name for a key that does not give it away."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def ensure(database: Database, name: str) -> None:
    """Add the account unless it is there."""
    database.execute(insert(Account).values(name=name).on_conflict_do_nothing())


def pause(database: Database, name: str, *, code: str, message: str) -> None:
    """Stop the account's calls; the first reason stands until it is resumed."""
    database.execute(
        update(Account)
        .where(Account.name == name, Account.paused_at.is_(None))
        .values(
            paused_at=func.now(), pause_code=code, pause_message=message, probe_at=func.now() + PROBE_AFTER
        )
    )


def due_for_probe(database: Database, name: str) -> bool:
    """Whether a paused account is to be asked again; puts the next probe off."""
    due = database.scalar(
        update(Account)
        .where(Account.name == name, Account.probe_at <= func.now())
        .values(probe_at=func.now() + PROBE_AFTER)
        .returning(Account.name)
    )
    return due is not None


def resume(database: Database, name: str) -> None:
    """Let the account's calls go out again."""
    database.execute(
        update(Account)
        .where(Account.name == name)
        .values(paused_at=None, pause_code=None, pause_message=None, probe_at=None)
    )
