"""Accounts at the endpoint: their pauses, probes and remaining credits."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import AttemptOutcome
from cutout.models import ACCOUNTS, ATTEMPTS, Account
from cutout.models.database import Database
from cutout.text import cut

FINGERPRINT_DIGITS = 12
PROBE_AFTER = timedelta(seconds=30)
# A reading may not include the calls that were open while it was made.
LONGEST_USUAL_CALL = timedelta(seconds=120)
BELOW_RESERVE = "CREDITS_BELOW_RESERVE"


def account_name(api_key: str) -> str:
    """The account's name: a fingerprint of its API key that does not reveal the key."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def ensure(database: Database, name: str) -> None:
    """Add the account unless it exists."""
    database.execute(insert(Account).values(name=name).on_conflict_do_nothing())


def open_among(database: Database, names: Sequence[str]) -> list[str]:
    """The accounts among `names` that are not paused."""
    chosen = select(Account.name).where(Account.name.in_(names), Account.paused_at.is_(None))
    return list(database.scalars(chosen))


def pause(database: Database, name: str, *, code: str, message: str) -> bool:
    """Pause the account's calls; the first reason stays until it is resumed. False if already paused."""
    paused = database.scalar(
        update(Account)
        .where(Account.name == name, Account.paused_at.is_(None))
        .values(
            paused_at=func.now(),
            pause_code=code,
            pause_message=cut(message),
            probe_at=func.now() + PROBE_AFTER,
        )
        .returning(Account.name)
    )
    return paused is not None


def due_for_probe(database: Database, names: Sequence[str]) -> list[str]:
    """The paused accounts whose probe is due; schedules the next probe of each."""
    due = (
        update(Account)
        .where(Account.name.in_(names), Account.probe_at <= func.now())
        .values(probe_at=func.now() + PROBE_AFTER)
        .returning(Account.name)
    )
    return list(database.scalars(due))


def resume(database: Database, name: str) -> None:
    """End the account's pause."""
    database.execute(
        update(Account)
        .where(Account.name == name)
        .values(paused_at=None, pause_code=None, pause_message=None, probe_at=None)
    )


def keep_credits(database: Database, name: str, left: float | None) -> None:
    """Store the credits that the endpoint reports for the account; None if it reports none."""
    database.execute(update(Account).where(Account.name == name).values(credits=left, credits_at=func.now()))


def credits_left(database: Database, name: str) -> float | None:
    """The last reading minus calls that were, or may have been, charged since; None without a reading."""
    since = (
        select(func.count())
        .where(
            ATTEMPTS.c.account == ACCOUNTS.c.name,
            ATTEMPTS.c.begun_at >= ACCOUNTS.c.credits_at - LONGEST_USUAL_CALL,
            func.coalesce(ATTEMPTS.c.ended_at, func.now()) >= ACCOUNTS.c.credits_at,
            ATTEMPTS.c.outcome != AttemptOutcome.NOT_CHARGED,
        )
        .scalar_subquery()
    )
    left: float | None = database.scalar(select(ACCOUNTS.c.credits - since).where(ACCOUNTS.c.name == name))
    return left
