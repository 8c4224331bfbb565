"""Accounts at the endpoint: whether calls may go out at all."""

import hashlib
from datetime import timedelta

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from jobs.models import Account

FINGERPRINT_DIGITS = 12
PROBE_AFTER = timedelta(seconds=30)


def account_name(api_key: str) -> str:
    """A name for a key that does not give it away."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def ensure(session: Session, name: str) -> None:
    """Add the account unless it is there."""
    session.execute(insert(Account).values(name=name).on_conflict_do_nothing())


def pause(session: Session, name: str, *, code: str, message: str) -> None:
    """Stop the account's calls; the first reason stands until it is resumed."""
    session.execute(
        update(Account)
        .where(Account.name == name, Account.paused_at.is_(None))
        .values(
            paused_at=func.now(), pause_code=code, pause_message=message, probe_at=func.now() + PROBE_AFTER
        )
        .execution_options(synchronize_session=False)
    )


def due_for_probe(session: Session, name: str) -> bool:
    """Whether a paused account is to be asked again; puts the next probe off."""
    due = session.scalar(
        update(Account)
        .where(Account.name == name, Account.probe_at <= func.now())
        .values(probe_at=func.now() + PROBE_AFTER)
        .returning(Account.name)
        .execution_options(synchronize_session=False)
    )
    return due is not None


def resume(session: Session, name: str) -> None:
    """Let the account's calls go out again."""
    session.execute(
        update(Account)
        .where(Account.name == name)
        .values(paused_at=None, pause_code=None, pause_message=None, probe_at=None)
        .execution_options(synchronize_session=False)
    )
