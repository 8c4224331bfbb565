"""An account's remaining credits, computed each second by counting only the calls of the last minutes."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime, Select, bindparam, func, select

from cutout.billing.accounts import LONGEST_USUAL_CALL
from cutout.enums import AttemptOutcome
from cutout.models import ACCOUNTS, ATTEMPTS
from cutout.models.database import Database

# By then nearly every call has its outcome; one that turns out free stays counted until the next reading.
SETTLED_AFTER = timedelta(minutes=3)
COUNT_EVERY = timedelta(minutes=1)

READING = select(ACCOUNTS.c.credits, ACCOUNTS.c.credits_at, func.now().label("now")).where(
    ACCOUNTS.c.name == bindparam("account"), ACCOUNTS.c.credits.is_not(None)
)


def _charged() -> Select[int]:
    begun_from, begun_before, read_at = (
        bindparam(name, type_=DateTime(timezone=True)) for name in ("begun_from", "begun_before", "read_at")
    )
    return select(func.count()).where(
        ATTEMPTS.c.account == bindparam("account"),
        ATTEMPTS.c.begun_at >= begun_from,
        ATTEMPTS.c.begun_at < begun_before,
        func.coalesce(ATTEMPTS.c.ended_at, func.now()) >= read_at,
        ATTEMPTS.c.outcome != AttemptOutcome.NOT_CHARGED,
    )


CHARGED = _charged()
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class CreditsLeft:
    """Remaining credits of one account: the last reading minus calls that may have been charged since."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._read_at: datetime | None = None
        self._counted_to = END_OF_TIME
        self._counted = 0

    def look(self, database: Database) -> float | None:
        """The credits now; None without a reading. The first time after a reading counts all calls since."""
        reading = database.execute(READING, {"account": self._name}).first()
        if reading is None:
            return None
        if reading.credits_at != self._read_at:
            self._read_at = reading.credits_at
            self._counted, self._counted_to = 0, reading.credits_at - LONGEST_USUAL_CALL
        settled = reading.now - SETTLED_AFTER
        if settled - self._counted_to >= COUNT_EVERY:
            self._counted += self._charged(database, settled)
            self._counted_to = settled
        left: float = reading.credits - self._counted - self._charged(database, END_OF_TIME)
        return left

    def _charged(self, database: Database, before: datetime) -> int:
        between = {"begun_from": self._counted_to, "begun_before": before, "read_at": self._read_at}
        return database.scalars(CHARGED, {"account": self._name} | between).one()
