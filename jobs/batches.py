"""Looking jobs and batches up: what a producer or an operator sees of them."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.models import Attempt, Batch, Job
from jobs.states import FINAL_STATES, AttemptOutcome, State

UUID_HEX_DIGITS = 32


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch and its jobs counted by state; every state is a key of `counts`."""

    id: uuid.UUID
    name: str
    created_at: datetime
    counts: dict[State, int]
    finished_at: datetime | None
    paused_at: datetime | None = None
    budget: int | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(self.counts[state] for state in FINAL_STATES)


def batch_status(session: Session, batch_id: uuid.UUID) -> BatchStatus | None:
    """The batch with its counts, or None; finished once it has jobs and all of them are final."""
    batch = session.get(Batch, batch_id)
    if batch is None:
        return None
    rows = session.execute(
        select(Job.state, func.count(), func.max(Job.finished_at))
        .where(Job.batch_id == batch_id)
        .group_by(Job.state)
    ).all()
    counts = dict.fromkeys(State, 0) | {State(state): count for state, count, _ in rows}
    unfinished = not rows or any(state not in FINAL_STATES for state, _, _ in rows)
    finished_at = None if unfinished else max(latest for _, _, latest in rows if latest)
    return BatchStatus(
        batch.id, batch.name, batch.created_at, counts, finished_at, batch.paused_at, batch.budget
    )


def credits_of(session: Session, job_ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Credits charged so far for each of these jobs that cost any."""
    rows = session.execute(
        select(Attempt.job_id, func.count())
        .where(Attempt.job_id.in_(job_ids), Attempt.outcome == AttemptOutcome.CHARGED)
        .group_by(Attempt.job_id)
    )
    return {job_id: count for job_id, count in rows}  # noqa: C416 - dict() would not type-check on rows


def credits_of_batch(session: Session, batch_id: uuid.UUID) -> int:
    """Credits charged so far for all jobs of the batch."""
    charged = (
        select(func.count())
        .select_from(Attempt)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id, Attempt.outcome == AttemptOutcome.CHARGED)
    )
    return session.scalars(charged).one()


def find_by_prefix(session: Session, prefix: str) -> list[Batch | Job]:
    """The batches and jobs whose id begins with `prefix` (hex digits and dashes), at most two of each."""
    digits = prefix.replace("-", "").lower()
    if not digits or len(digits) > UUID_HEX_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return []
    first, last = uuid.UUID(digits.ljust(UUID_HEX_DIGITS, "0")), uuid.UUID(digits.ljust(UUID_HEX_DIGITS, "f"))
    found: list[Batch | Job] = []
    for table in (Batch, Job):
        found += session.scalars(select(table).where(table.id.between(first, last)).limit(2))
    return found
