"""Quotes: count and price of a retry as they were shown, which is carried out as long as they hold.

A quote is stored, belongs to the actor for whom it was made, and is accepted once, within QUOTE_SECONDS. The
retry never changes more jobs, or makes more calls, than were accepted, whatever fails meanwhile.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, select
from sqlalchemy.orm import Session

from cutout.billing.totals import DOLLARS_A_CREDIT
from cutout.enums import ActionKind
from cutout.models import JOBS, QUOTES, constant
from cutout.models.database import Database
from cutout.producers.action_record import Extent
from cutout.producers.action_rights import require_right
from cutout.producers.actors import Actor, Asked
from cutout.queue.actions import RESULT_IS_FETCHABLE, RETRIABLE
from cutout.queue.batch_actions.portions import CODES, MOST_CALLS, MOST_JOBS
from cutout.queue.batch_actions.request import request_action
from cutout.queue.blocks.approval import NEEDS_APPROVAL

QUOTE_SECONDS = 120
MOST_PRUNED = 1000


class QuoteError(Exception):
    """A quote that cannot be accepted; the text says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class RetryPrice:
    """Jobs that a retry would put back in the queue: `free` have a paid result, `credits` may be called."""

    jobs: int
    free: int

    @property
    def credits(self) -> int:
        """The most credits that it may cost."""
        return self.jobs - self.free

    @property
    def dollars(self) -> float:
        """The price of these credits."""
        return self.credits * DOLLARS_A_CREDIT

    def __str__(self) -> str:
        return f"{self.jobs:,} jobs, up to {self.credits:,} credits (${self.dollars:,.2f})"


@dataclass(frozen=True, slots=True)
class RetryQuote:
    """A price as it was shown, with the id by which it is accepted, until `ends_at`."""

    id: uuid.UUID
    price: RetryPrice
    ends_at: datetime


def price_retry(database: Database, batch_id: uuid.UUID, codes: Sequence[str] | None = None) -> RetryPrice:
    """Count what a retry of the batch would change now, of jobs with one of these codes or of all.

    Jobs that wait for approval are not among them, as in a retry.
    """
    states = [constant(state) for state in RETRIABLE]
    of_batch: list[ColumnElement[bool]] = [
        JOBS.c.batch_id == batch_id,
        JOBS.c.state.in_(states),
        JOBS.c.code != NEEDS_APPROVAL,
        JOBS.c.deleted_at.is_(None),
    ]
    if codes is not None:
        of_batch.append(JOBS.c.code.in_(codes))
    counted = select(func.count(), func.count().filter(RESULT_IS_FETCHABLE)).where(*of_batch)
    return RetryPrice(*database.execute(counted).one())


def quote_retry(
    session: Session, actor: Actor, batch_id: uuid.UUID, codes: Sequence[str] | None = None
) -> RetryQuote | None:
    """Make a quote of a retry of the batch's jobs with one of these codes, or of all; None if there are none.

    In the caller's transaction. Anybody who may look may have one.
    """
    price = price_retry(session, batch_id, codes)
    if not price.jobs:
        return None
    values = {
        "batch_id": batch_id,
        "codes": None if codes is None else sorted(set(codes)),
        "jobs": price.jobs,
        "free": price.free,
        "credits": price.credits,
        "dollars": price.dollars,
    }
    made = session.execute(
        QUOTES.insert().values(values | actor.columns()).returning(QUOTES.c.id, QUOTES.c.made_at)
    ).one()
    return RetryQuote(made.id, price, made.made_at + timedelta(seconds=QUOTE_SECONDS))


def accept_retry(session: Session, asked: Asked, quote_id: uuid.UUID) -> uuid.UUID:
    """Request the retry that was quoted, in the caller's transaction; returns the id of the action.

    A dispatcher carries it out. Raises QuoteError if count or price changed since, or if the quote is too
    old, of somebody else, or accepted already; RightMissingError; BatchIsEndingError.
    """
    quote = _taken(session, asked.by, quote_id)
    require_right(asked.by, ActionKind.RETRY, quote.credits)
    quoted = RetryPrice(quote.jobs, quote.free)
    now = price_retry(session, quote.batch_id, quote.codes)
    if now != quoted:
        raise QuoteError(f"it changed since: now {now}, not {quoted}; look at it again")
    options: dict[str, Any] = {MOST_JOBS: quote.jobs, MOST_CALLS: quote.credits}
    if quote.codes is not None:
        options[CODES] = quote.codes
    extent = Extent(0, quote.jobs, quote.credits, quote.dollars)
    requested = request_action(session, quote.batch_id, ActionKind.RETRY, options, asked=asked, extent=extent)
    if requested is None:
        raise QuoteError("a retry of this batch waits already; ask again once that is through")
    return requested


def prune_quotes(database: Database) -> int:
    """Delete quotes that can no longer be accepted, at most MOST_PRUNED; returns how many."""
    old = select(QUOTES.c.id).where(QUOTES.c.made_at < func.now() - timedelta(seconds=QUOTE_SECONDS))
    pruned = database.execute(
        delete(QUOTES)
        .where(QUOTES.c.id.in_(old.order_by(QUOTES.c.id).limit(MOST_PRUNED)))
        .returning(QUOTES.c.id)
    )
    return len(pruned.all())


def _taken(session: Session, actor: Actor, quote_id: uuid.UUID) -> Row[*tuple[Any, ...]]:
    """Take the quote away from whoever accepts it at the same time; a rollback gives it back."""
    names = ("batch_id", "codes", "jobs", "free", "credits", "dollars")
    age = func.clock_timestamp() - QUOTES.c.made_at
    found = session.execute(
        delete(QUOTES)
        .where(
            QUOTES.c.id == quote_id,
            QUOTES.c.actor_role == actor.role,
            QUOTES.c.actor == actor.shown_name,
            QUOTES.c.actor_key_id.is_not_distinct_from(actor.key_id),
        )
        .returning(*(QUOTES.c[name] for name in names), age.label("age"))
    ).first()
    if found is None:
        raise QuoteError("this price is no longer offered, or was offered to somebody else; look again")
    if found.age > timedelta(seconds=QUOTE_SECONDS):
        raise QuoteError(f"this price was offered for {QUOTE_SECONDS} s, which are over; look again")
    return found
