"""The end of a paid call, as the ledger gets it: at once, or from the spool when Postgres is back."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from cutout import queue
from cutout.enums import ReturnForm, Step
from cutout.models import ATTEMPTS
from cutout.models.database import Database
from cutout.queue.attempts.attempts import Answer
from cutout.queue.claims import Claim


class AnswerNotWrittenError(Exception):
    """Postgres refuses the end of a call. The spool has it; the job must not be called anew meanwhile."""


@dataclass(frozen=True, slots=True)
class Paid:
    """What the call brought: a URL, which is a secret and dies `lifetime` after the answer.

    The size of the picture sent is in pixels.
    """

    url: str = field(repr=False)
    lifetime: timedelta
    sent_width: int
    sent_height: int


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CallEnd:
    """Which call ended, how, and when its answer came: by this machine's clock, which somebody may set, and
    how long after the call was begun. Files of an older version do not say the latter.
    """

    job_id: uuid.UUID
    fence: int
    worker_id: uuid.UUID
    attempt_id: int
    answer: Answer
    paid: Paid | None = None
    answered_at: datetime = field(default_factory=_now)
    answered_after: timedelta | None = None

    def write(self, database: Database, claim: Claim | None = None) -> Claim:
        """Write it down; safe to repeat. Returns the claim that goes on, with what was paid for."""
        claim = claim or self._bare_claim()
        if self.paid is None:
            queue.end_attempt(database, self.attempt_id, self.answer)
            return claim
        return queue.record_result(
            database,
            claim,
            self.attempt_id,
            self.answer,
            url=self.paid.url,
            lifetime=self.paid.lifetime - self._age(),
            answered_after=self.answered_after,
            sent=(self.paid.sent_width, self.paid.sent_height),
        )

    def _age(self) -> timedelta:
        """Of the answer, where nothing else tells it."""
        return (
            timedelta(0) if self.answered_after is not None else max(_now() - self.answered_at, timedelta(0))
        )

    def is_of(self, database: Database) -> bool:
        """Whether the call is in this database: two systems may have been given one spool."""
        found = select(ATTEMPTS.c.id).where(
            ATTEMPTS.c.id == self.attempt_id, ATTEMPTS.c.job_id == self.job_id
        )
        return database.scalar(found) is not None

    def _bare_claim(self) -> Claim:
        return Claim(
            job_id=self.job_id,
            fence=self.fence,
            worker_id=self.worker_id,
            batch_id=None,
            external_id=None,
            source="",
            return_form=ReturnForm.RGBA,
            step=Step.CALL,
            tries=0,
            attempts=0,
            calls=0,
            result=None,
        )
