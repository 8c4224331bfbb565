"""Comparison of the ledger with the endpoint's balance: the credits taken between two readings."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, insert, select

from cutout.enums import AttemptOutcome
from cutout.models import ATTEMPTS, CreditReading
from cutout.models.database import Database

# The balance is that of some moment within these seconds before `read_at`.
LONGEST_READING = timedelta(seconds=5)
# The maximum of CUTOUT_CALL_DEADLINE_SECONDS: a call is charged within it, however late its end is recorded.
LONGEST_CALL = timedelta(hours=1)
# Balances are floats, whose sums have rounding errors. No call costs so little.
TOLERANCE = 0.001


class SlowReadingError(Exception):
    """The balance took too long to read: it may or may not include calls that ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An account's balance in credits, at a moment of the database's clock."""

    account: str
    read_at: datetime
    balance: float


@dataclass(frozen=True, slots=True)
class CallsBetween:
    """Calls in the ledger between two readings, counted.

    `charged`: charged, begun after the first reading and ended before the second. `either`: charged, but open
    while a balance was read, which may or may not include them. `unknown`: may have been charged.
    """

    charged: int = 0
    either: int = 0
    unknown: int = 0

    @property
    def least(self) -> int:
        """The fewest credits that these calls can have taken."""
        return self.charged

    @property
    def most(self) -> int:
        """The most credits that these calls can have taken."""
        return self.charged + self.either + self.unknown


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of a comparison: whether the `spent` credits agree with the ledger, and an explaining text."""

    spent: float
    adds_up: bool
    words: str


def record_reading(database: Database, account: str, balance: float, *, took_s: float = 0.0) -> Reading:
    """Store a balance that the endpoint just reported; the request took `took_s` seconds.

    Raises SlowReadingError, and stores nothing, if that was longer than LONGEST_READING.
    """
    if took_s > LONGEST_READING.total_seconds():
        raise SlowReadingError(
            f"the endpoint took {took_s:.1f} s to report its balance; a comparison with the ledger needs it"
            f" within {LONGEST_READING.total_seconds():.0f} s; try again"
        )
    # The clock, not the transaction's begin, which is before the request.
    read_at = database.scalars(
        insert(CreditReading)
        .values(account=account, balance=balance, read_at=func.clock_timestamp())
        .returning(CreditReading.read_at)
    ).one()
    return Reading(account, read_at, balance)


def last_reading(database: Database, account: str) -> Reading | None:
    """The account's latest reading, or None if there is none."""
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
    surely_between = and_(began >= earlier.read_at, ended <= later.read_at - LONGEST_READING)
    row = database.execute(
        select(
            func.count().filter(charged, surely_between),
            func.count().filter(charged, ~surely_between),
            func.count().filter(ATTEMPTS.c.outcome == AttemptOutcome.UNKNOWN),
        ).where(
            ATTEMPTS.c.account == earlier.account,
            began > earlier.read_at - LONGEST_READING - LONGEST_CALL,
            began < later.read_at,
            func.coalesce(ended, later.read_at) > earlier.read_at - LONGEST_READING,
        )
    ).one()
    return CallsBetween(*row)


def compare(earlier: float, later: float, calls: CallsBetween) -> Comparison:
    """Compare the credits spent with the ledger: they agree from `calls.least` to `calls.most`."""
    spent = earlier - later
    if calls.least - TOLERANCE <= spent <= calls.most + TOLERANCE:
        return Comparison(spent, adds_up=True, words="it adds up")
    if spent > calls.most:
        words = (
            f"the endpoint took {in_credits(spent - calls.most)} more than the ledger has: "
            "is another program using this account?"
        )
    elif spent < -TOLERANCE:
        words = (
            f"the balance rose by {in_credits(-spent)}: credits were added (a top-up), so the cost of the"
            " calls cannot be determined"
        )
    else:
        words = (
            f"the balance fell by {in_credits(calls.least - spent)} less than was charged: credits were"
            " added (a top-up), or the balance lags behind"
        )
    return Comparison(spent, adds_up=False, words=words)


def in_credits(amount: float) -> str:
    """An amount as text, to a thousandth: `1 credit`, `1,234.5 credits`."""
    rounded = round(amount, 3) + 0.0  # no -0
    figure = f"{rounded:,.3f}".rstrip("0").rstrip(".")
    return f"{figure} credit{'' if rounded == 1 else 's'}"
