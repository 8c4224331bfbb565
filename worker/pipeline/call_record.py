"""The end of a paid call, as it is written to the ledger: at once, or later from the spool."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from cutout import queue
from cutout.models import ATTEMPTS
from cutout.models.database import Database
from cutout.queue.attempts.attempts import Answer
from cutout.queue.claims import Fence, PaidResult


class AnswerNotWrittenError(Exception):
    """Postgres refuses the end of a call. The spool has it; the job must not be called again meanwhile."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CallRecord(Fence):
    """The end of one call: its attempt, the answer, the result that was paid for, and when the answer came.

    `lifetime` is how long the result's URL works after the answer. `answered_at` is by this machine's clock,
    which may be wrong; `answered_after` is the time since the call was begun, if the process knew it.
    """

    attempt_id: int
    answer: Answer
    paid: PaidResult | None
    lifetime: timedelta
    answered_at: datetime = field(default_factory=_now)
    answered_after: timedelta | None = None

    def is_of(self, database: Database) -> bool:
        """Whether the call is in this database: two installations may have been given one spool."""
        found = select(ATTEMPTS.c.id).where(
            ATTEMPTS.c.id == self.attempt_id, ATTEMPTS.c.job_id == self.job_id
        )
        return database.scalar(found) is not None

    def age(self) -> timedelta:
        """Age of the answer by this machine's clock, if the ledger cannot tell it."""
        return (
            timedelta(0) if self.answered_after is not None else max(_now() - self.answered_at, timedelta(0))
        )


def write_call(database: Database, record: CallRecord) -> PaidResult | None:
    """Write the record to the ledger; safe to repeat. Returns the paid result with its expiry."""
    if record.paid is None:
        queue.end_attempt(database, record.attempt_id, record.answer)
        return None
    return queue.record_result(
        database,
        record,
        record.attempt_id,
        record.answer,
        url=record.paid.url,
        lifetime=record.lifetime - record.age(),
        answered_after=record.answered_after,
        sent=(record.paid.sent_width, record.paid.sent_height),
    )
