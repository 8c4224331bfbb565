"""Status of batches: their jobs counted by state, their pauses, the progress of their ingest."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.enums import FINAL_STATES, ActionKind, AttemptOutcome, BatchState, JobMessages, State
from cutout.ingest import Counts
from cutout.models import BATCHES, INGESTS, JOBS, Attempt, Batch, Job
from cutout.models.database import Database
from cutout.queue.blocks.pauses import IS_PAUSED
from cutout.status.action_status import ActionStatus, recent_actions
from cutout.status.outputs import NO_OUTPUTS, OutputCounts, count_outputs

UUID_HEX_DIGITS = 32
# What the batch was asked for with, as far as its other columns do not say it.
OF_REQUEST = (
    *("weight", "reuse", "renditions", "webhook_url", "webhook_jobs", "metadata", "options", "revision"),
)
SHOWN = [
    BATCHES.c[name]
    for name in (
        "id",
        "name",
        "created_at",
        "paused_at",
        "paused_by_operator_at",
        "cancelled_at",
        "delete_requested_at",
        "opens_at",
        "closes_at",
        "budget",
        "producer_id",
        "results_key",
        *OF_REQUEST,
    )
]


class IngestState(StrEnum):
    """State of an ingest."""

    READING = "reading"
    """Requested or under way."""
    READ = "read"
    FAILED = "failed"
    """Ended before the whole source was read; the jobs enqueued so far continue."""


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """Progress of a batch's ingest, and the key of its rejects.

    `skipped` lists the files that were not taken: `reason`, `count` and the first `names` of each. `code` and
    `message` say why the ingest waits, if it does.
    """

    kind: str
    counts: Counts
    finished_at: datetime | None
    error: str | None
    rejects_key: str | None
    plan: dict[str, int] | None
    skipped: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    code: str | None = None
    message: str | None = None

    @property
    def state(self) -> IngestState:
        if self.finished_at is None:
            return IngestState.READING
        return IngestState.FAILED if self.error else IngestState.READ


class Pauses(NamedTuple):
    """Times since when its producer and an operator have paused a batch; `rests`: no call may begin now."""

    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    rests: bool
    revision: int


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch with its jobs counted by state; every state is a key of `counts`.

    `outputs` counts the outputs of its jobs but the scores, which are counted apart. `actions` are those that
    are not finished and the last finished ones.
    """

    id: uuid.UUID
    name: str
    created_at: datetime
    counts: dict[State, int]
    finished_at: datetime | None
    rests: bool = False
    paused_at: datetime | None = None
    paused_by_operator_at: datetime | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    budget: int | None = None
    ingest: IngestStatus | None = None
    producer_id: uuid.UUID | None = None
    results_key: str | None = None
    cancelled_at: datetime | None = None
    delete_requested_at: datetime | None = None
    actions: tuple[ActionStatus, ...] = ()
    outputs: OutputCounts = NO_OUTPUTS
    scores: OutputCounts = NO_OUTPUTS
    weight: float = 1.0
    reuse: bool = True
    renditions: dict[str, dict[str, str]] | None = None
    webhook_url: str | None = None
    webhook_jobs: JobMessages = JobMessages.NONE
    metadata: dict[str, str] | None = None
    options: dict[str, Any] | None = None
    revision: int = 1

    @property
    def waiting_outputs(self) -> int:
        """Number of outputs and scores that are still to be made."""
        return self.outputs.waiting + self.scores.waiting

    @property
    def is_rendered(self) -> bool:
        """Whether all jobs are final, and all outputs and scores, and no action is unfinished."""
        return self.finished_at is not None and not self.waiting_outputs and not self.under_way

    @property
    def under_way(self) -> list[ActionStatus]:
        """The actions that are not finished, the latest request first."""
        return [action for action in self.actions if action.finished_at is None]

    @property
    def state(self) -> BatchState:
        if self.delete_requested_at is not None:
            return BatchState.DELETING
        if self.cancelled_at is None:
            return BatchState.FINISHED if self.finished_at else BatchState.ACTIVE
        return BatchState.CANCELLED if self.finished_at else BatchState.CANCELLING

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(self.counts[state] for state in FINAL_STATES)


def batch_status(
    database: Database, batch_id: uuid.UUID, producer_id: uuid.UUID | None = None
) -> BatchStatus | None:
    """The batch with its counts, or None; it is finished once its source is read and all its jobs are final.

    A deleted job counts in its final state. With `producer_id`, a batch of another producer is None.
    """
    if producer_id is not None and not is_batch_of(database, batch_id, producer_id):
        return None
    # The counts come first: jobs that are final in them are final in the later queries as well.
    counts = _counts(database, batch_id)
    batch = database.execute(select(*SHOWN, IS_PAUSED.label("rests")).where(BATCHES.c.id == batch_id)).first()
    if batch is None:
        return None
    actions = recent_actions(database, batch_id)
    ingest = ingest_status(database, batch_id)
    # Outputs are inserted by the transaction in which their job succeeds: those of jobs in `counts` are seen.
    outputs, scores = count_outputs(database, batch_id)
    return BatchStatus(
        counts=counts,
        outputs=outputs,
        scores=scores,
        finished_at=None if changes_states(actions) else _finished_at(database, batch_id, counts, ingest),
        ingest=ingest,
        actions=actions,
        **batch._mapping,  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    )


def changes_states(actions: Collection[ActionStatus]) -> bool:
    """Whether one of these actions may still change the state of a job, so that the batch has not ended."""
    return any(
        action.finished_at is None and action.kind in (ActionKind.CANCEL, ActionKind.RETRY)
        for action in actions
    )


def with_actions(database: Database, status: BatchStatus) -> BatchStatus:
    """The status with its actions, and what their requests change in the batch's row, as they are now."""
    columns = (BATCHES.c.cancelled_at, BATCHES.c.delete_requested_at, BATCHES.c.revision)
    row = database.execute(select(*columns).where(BATCHES.c.id == status.id)).one()
    actions = recent_actions(database, status.id)
    return replace(
        status,
        actions=actions,
        finished_at=None if changes_states(actions) else status.finished_at,
        cancelled_at=row.cancelled_at,
        delete_requested_at=row.delete_requested_at,
        revision=row.revision,
    )


def find_pauses(database: Database, batch_id: uuid.UUID) -> Pauses:
    """The pauses of an existing batch."""
    paused = (BATCHES.c.paused_at, BATCHES.c.paused_by_operator_at, IS_PAUSED.label("rests"))
    columns = (*paused, BATCHES.c.revision)
    return Pauses(*database.execute(select(*columns).where(BATCHES.c.id == batch_id)).one())


def is_batch_of(database: Database, batch_id: uuid.UUID, producer_id: uuid.UUID) -> bool:
    """Whether the batch exists and belongs to the producer."""
    owner = select(BATCHES.c.id).where(BATCHES.c.id == batch_id, BATCHES.c.producer_id == producer_id)
    return database.scalar(owner) is not None


def _counts(database: Database, batch_id: uuid.UUID) -> dict[State, int]:
    # An index-only scan: a million jobs in some 50 ms.
    counted = select(JOBS.c.state, func.count()).where(JOBS.c.batch_id == batch_id).group_by(JOBS.c.state)
    return dict.fromkeys(State, 0) | {State(state): count for state, count in database.execute(counted)}


def _finished_at(
    database: Database, batch_id: uuid.UUID, counts: dict[State, int], ingest: IngestStatus | None
) -> datetime | None:
    if any(count for state, count in counts.items() if state not in FINAL_STATES):
        return None
    if ingest is not None and ingest.finished_at is None:
        return None
    latest = select(JOBS.c.finished_at).where(JOBS.c.batch_id == batch_id, JOBS.c.finished_at.is_not(None))
    ends = [
        database.scalar(latest.order_by(JOBS.c.finished_at.desc()).limit(1)),
        ingest.finished_at if ingest else None,
    ]
    return max((end for end in ends if end is not None), default=None)


def ingest_status(database: Database, batch_id: uuid.UUID) -> IngestStatus | None:
    """The progress of the batch's ingest; None if it has no source."""
    found = database.execute(INGESTS.select().where(INGESTS.c.batch_id == batch_id)).first()
    if found is None:
        return None
    return IngestStatus(
        found.kind,
        Counts(**{name: getattr(found, name) for name in Counts.__slots__}),
        found.finished_at,
        found.error,
        found.rejects_key,
        found.plan,
        found.skipped or [],
        found.remarks or [],
        found.code,
        found.message,
    )


def credits_of(session: Session, job_ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Credits charged so far, for each of these jobs that was charged."""
    rows = session.execute(
        select(Attempt.job_id, func.count())
        .where(Attempt.job_id.in_(job_ids), Attempt.outcome == AttemptOutcome.CHARGED)
        .group_by(Attempt.job_id)
    )
    return {job_id: count for job_id, count in rows}  # noqa: C416 - dict() would not type-check on rows


def find_by_prefix(session: Session, prefix: str) -> list[Batch | Job]:
    """The batches and jobs whose id begins with `prefix` (hex digits and dashes), at most two of each."""
    digits = prefix.replace("-", "").lower()
    if not digits or len(digits) > UUID_HEX_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return []
    first, last = uuid.UUID(digits.ljust(UUID_HEX_DIGITS, "0")), uuid.UUID(digits.ljust(UUID_HEX_DIGITS, "f"))
    found: list[Batch | Job] = []
    for table in (Batch, Job):
        found += session.scalars(
            select(table).where(table.id.between(first, last), table.deleted_at.is_(None)).limit(2)
        )
    return found
