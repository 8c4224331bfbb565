"""Holding the ledger against the endpoint's own account: what it took between two readings of the balance."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, insert, select

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, CreditReading
from cutout.models.database import Database

# The balance is that of some moment in these seconds before `read_at`.
READING_TAKES = timedelta(seconds=5)
# The most that CUTOUT_CALL_DEADLINE_SECONDS can be: a call is charged within it, however late its end is
# written down.
LONGEST_CALL = timedelta(hours=1)
# Balances are floats, and their sums have crumbs. No call costs so little.
CRUMBS = 0.001


class SlowReadingError(Exception):
    """The balance took too long to read: calls that ended meanwhile cannot be told from those before."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an account had left, in credits, at a moment of the database's clock."""

    account: str
    read_at: datetime
    balance: float


@dataclass(frozen=True, slots=True)
class CallsBetween:
    """What the ledger says of the calls between two readings.

    `charged` began after the one and ended before the other. `either` were charged too, but were out while a
    balance was read, so that it may or may not have them in it. `unknown` may have been charged.
    """

    charged: int = 0
    either: int = 0
    unknown: int = 0

    @property
    def least(self) -> int:
        """The fewest credits that these calls took between the two."""
        return self.charged

    @property
    def most(self) -> int:
        """The most."""
        return self.charged + self.either + self.unknown


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether `spent` credits lie within what the ledger allows for, and if not, what that may mean."""

    spent: float
    adds_up: bool
    words: str


def record_reading(database: Database, account: str, balance: float, *, took_s: float = 0.0) -> Reading:
    """Write down what the endpoint just said an account has left; asking it took so many seconds.

    Raises SlowReadingError, and writes nothing, if that was longer than READING_TAKES.
    """
    if took_s > READING_TAKES.total_seconds():
        raise SlowReadingError(
            f"the endpoint took {took_s:.1f} s to say its balance, longer than the "
            f"{READING_TAKES.total_seconds():.0f} s in which the ledger can be held against it; try again"
        )
    # The clock, not the transaction's beginning: that lies before the asking.
    read_at = database.scalars(
        insert(CreditReading)
        .values(account=account, balance=balance, read_at=func.clock_timestamp())
        .returning(CreditReading.read_at)
    ).one()
    return Reading(account, read_at, balance)


def last_reading(database: Database, account: str) -> Reading | None:
    """The account's latest reading, or None if there is none yet."""
    row = database.execute(
        select(CreditReading.read_at, CreditReading.balance)
        .where(CreditReading.account == account)
        .order_by(CreditReading.read_at.desc(), CreditReading.id.desc())
        .limit(1)
    ).first()
    return Reading(account, row.read_at, row.balance) if row else None


def calls_between(database: Database, earlier: Reading, later: Reading) -> CallsBetween:
    """Count the account's calls that may have been charged between two readings of it."""
    began, ended = ATTEMPTS.c.begun_at, ATTEMPTS.c.ended_at
    charged = ATTEMPTS.c.outcome == AttemptOutcome.CHARGED
    surely_between = and_(began >= earlier.read_at, ended <= later.read_at - READING_TAKES)
    row = database.execute(
        select(
            func.count().filter(charged, surely_between),
            func.count().filter(charged, ~surely_between),
            func.count().filter(ATTEMPTS.c.outcome == AttemptOutcome.UNKNOWN),
        ).where(
            ATTEMPTS.c.account == earlier.account,
            began > earlier.read_at - READING_TAKES - LONGEST_CALL,
            began < later.read_at,
            func.coalesce(ended, later.read_at) > earlier.read_at - READING_TAKES,
        )
    ).one()
    return CallsBetween(*row)


def compare(earlier: float, later: float, calls: CallsBetween) -> Comparison:
    """Hold what left the balance against the ledger: it adds up from `calls.least` to `calls.most`."""
    spent = earlier - later
    if calls.least - CRUMBS <= spent <= calls.most + CRUMBS:
        return Comparison(spent, adds_up=True, words="it adds up")
    if spent > calls.most:
        words = (
            f"the endpoint took {in_credits(spent - calls.most)} more than the ledger knows of: "
            "another program uses this account?"
        )
    elif spent < -CRUMBS:
        words = (
            f"the balance rose by {in_credits(-spent)}: credits were added (a top-up), so that nobody can "
            "tell what the calls took"
        )
    else:
        words = (
            f"{in_credits(calls.least - spent)} fewer are gone than were charged: credits were added "
            "(a top-up), or the balance lags behind"
        )
    return Comparison(spent, adds_up=False, words=words)


def in_credits(amount: float) -> str:
    """An amount in words, to a thousandth: `1 credit`, `1,234.5 credits`."""
    rounded = round(amount, 3) + 0.0  # no -0
    figure = f"{rounded:,.3f}".rstrip("0").rstrip(".")
    return f"{figure} credit{'' if rounded == 1 else 's'}"
