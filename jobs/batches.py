"""Looking jobs and batches up: what a producer or an operator sees of them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs.ingest import Counts
from jobs.models import Attempt, Batch, Ingest, Job
from jobs.states import FINAL_STATES, AttemptOutcome, State

UUID_HEX_DIGITS = 32


class IngestState(StrEnum):
    """How the reading of a manifest stands."""

    READING = "reading"
    """Asked for or under way."""
    READ = "read"
    FAILED = "failed"
    """Ended before all was read; what was enqueued goes on."""


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """How far the reading of a batch's source is, and where its rejects are."""

    kind: str
    counts: Counts
    finished_at: datetime | None
    error: str | None
    rejects_key: str | None
    plan: dict[str, int] | None

    @property
    def state(self) -> IngestState:
        if self.finished_at is None:
            return IngestState.READING
        return IngestState.FAILED if self.error else IngestState.READ


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
    ingest: IngestStatus | None = None

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
    ingest = ingest_status(session, batch_id)
    ends = [latest for _, _, latest in rows if latest]
    if ingest and ingest.finished_at:
        ends.append(ingest.finished_at)
    still_read = ingest is not None and ingest.finished_at is None
    unfinished = still_read or not ends or any(state not in FINAL_STATES for state, _, _ in rows)
    return BatchStatus(
        batch.id,
        batch.name,
        batch.created_at,
        counts,
        None if unfinished else max(ends),
        batch.paused_at,
        batch.budget,
        ingest,
    )


def ingest_status(session: Session, batch_id: uuid.UUID) -> IngestStatus | None:
    """How far the batch's source is read; None if it was made of none."""
    found = session.get(Ingest, batch_id)
    if found is None:
        return None
    return IngestStatus(
        found.kind,
        Counts(**{name: getattr(found, name) for name in Counts.__slots__}),
        found.finished_at,
        found.error,
        found.rejects_key,
        found.plan,
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
