"""Changes of a batch that exists: its name, weight, budget and metadata."""

import uuid
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Double,
    Integer,
    Uuid,
    bindparam,
    case,
    func,
    null,
    select,
    update,
)

from cutout.models import BATCHES, JOBS
from cutout.models.columns import HELD, QUEUED
from cutout.models.database import Database
from cutout.queue.blocks.blocked_jobs import WAITS_FOR_ITS_BATCH
from cutout.queue.blocks.pauses import NEXT_REVISION, set_budget
from cutout.queue.fairness import virtual_time_of

# One statement moves so many jobs in some seconds; those of a larger batch keep their places.
MOST_MOVED = 20_000
# Each job moved is some 600 bytes of WAL, so a batch's jobs are moved once in this time.
MOVED_EVERY = timedelta(minutes=1)


class WeightJustChangedError(RuntimeError):
    """The jobs of the batch were moved less than MOVED_EVERY ago; `seconds` is when they may be again."""

    def __init__(self, batch_id: uuid.UUID, seconds: int) -> None:
        super().__init__(
            f"the weight of batch {batch_id} was changed less than {MOVED_EVERY.seconds} s ago, and its jobs"
            f" that wait were moved; change it again in {seconds} s"
        )
        self.seconds = seconds


class BatchChange(TypedDict, total=False):
    """New values of a batch; a value that is left out stays as it is."""

    name: str
    weight: float
    budget: int | None
    metadata: dict[str, str]


class Changeable(NamedTuple):
    """The present values of a batch that may be changed, and its revision."""

    name: str
    weight: float
    budget: int | None
    metadata: dict[str, str] | None
    revision: int


def lock_batch(database: Database, batch_id: uuid.UUID, producer_id: uuid.UUID) -> Changeable | None:
    """The producer's batch, locked until the caller's transaction ends; None if there is none such."""
    columns = (BATCHES.c[name] for name in Changeable._fields)
    own = select(*columns).where(BATCHES.c.id == batch_id, BATCHES.c.producer_id == producer_id)
    # Not the lock that would wait for jobs being enqueued, which refer to it.
    row = database.execute(own.with_for_update(key_share=True)).first()
    return None if row is None else Changeable(*row)


def find_revision(database: Database, batch_id: uuid.UUID, producer_id: uuid.UUID) -> int | None:
    """The revision of the producer's batch; None if there is none such."""
    own = select(BATCHES.c.revision).where(BATCHES.c.id == batch_id, BATCHES.c.producer_id == producer_id)
    revision: int | None = database.scalar(own)
    return revision


def change_batch(database: Database, batch_id: uuid.UUID, before: Changeable, change: BatchChange) -> None:
    """Change a locked batch in the caller's transaction; its revision rises.

    Jobs that are held for want of budget go on within a higher one: the dispatcher finds them. A weight holds
    for the jobs that wait as well, up to MOST_MOVED of them; if more wait, only for those enqueued from now
    on. Raises WeightJustChangedError for another weight within MOVED_EVERY after jobs were moved.
    """
    values: dict[str, Any] = {name: change[name] for name in ("name", "weight") if name in change}
    if "metadata" in change:
        values["metadata"] = change["metadata"] or null()
    if "budget" in change and change["budget"] != before.budget:
        if before.budget is None:
            # Its calls were not counted until now.
            set_budget(database, batch_id, change["budget"])
        values["budget"] = change["budget"]
    database.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(values | NEXT_REVISION))
    if "weight" in change and change["weight"] != before.weight:
        _space(database, batch_id, before.weight / change["weight"])


BATCH = bindparam("batch", type_=Uuid)
RATIO = bindparam("ratio", type_=Double)
WAITING = (JOBS.c.batch_id == BATCH, JOBS.c.state.in_([QUEUED, HELD]), JOBS.c.queue_state.is_not(None))
IS_LARGE = select(JOBS.c.id).where(*WAITING).offset(MOST_MOVED).limit(1)
# Blocked jobs are spaced from the first of them on, since all are moved on together when they are unblocked.
# The others from the virtual time of their queue on: before it no job is looked for.
FIRST_BLOCKED = (
    select(func.min(JOBS.c.virtual_start))
    .where(JOBS.c.batch_id == BATCH, WAITS_FOR_ITS_BATCH)
    .scalar_subquery()
)
NOW = select(virtual_time_of(BATCHES.c.producer_id)).where(BATCHES.c.id == BATCH).scalar_subquery()


def _spaced(start: ColumnElement[float], since: ColumnElement[float]) -> ColumnElement[float]:
    moved: ColumnElement[float] = since + (start - since) * RATIO
    return case((start > since, moved), else_=start)


# Bounds of the spacing, read before it.
BOUNDS = select(func.coalesce(FIRST_BLOCKED, NOW), NOW, FIRST_BLOCKED)
CHOSEN = select(JOBS.c.id).where(*WAITING).order_by(JOBS.c.id).with_for_update(skip_locked=True).cte("chosen")
SPACE_JOBS = (
    update(JOBS)
    .where(JOBS.c.id == CHOSEN.c.id)
    .values(
        virtual_start=case(
            (WAITS_FOR_ITS_BATCH, _spaced(JOBS.c.virtual_start, bindparam("first_blocked", type_=Double))),
            else_=_spaced(JOBS.c.virtual_start, bindparam("virtual_now", type_=Double)),
        )
    )
)
PAUSE_S = select(
    func.ceil(func.extract("epoch", BATCHES.c.jobs_moved_at + MOVED_EVERY - func.now())).cast(Integer)
).where(BATCHES.c.id == BATCH)
ARE_MOVED = update(BATCHES).where(BATCHES.c.id == BATCH).values(jobs_moved_at=func.now())
SPACE_BATCH = (
    update(BATCHES)
    .where(BATCHES.c.id == BATCH)
    .values(last_virtual_start=_spaced(BATCHES.c.last_virtual_start, bindparam("batch_since", type_=Double)))
)


def _space(database: Database, batch_id: uuid.UUID, ratio: float) -> None:
    """Multiply the distances of the batch's jobs in the queue by the ratio."""
    batch = {"batch": batch_id}
    if (pause_s := database.scalar(PAUSE_S, batch) or 0) > 0:
        raise WeightJustChangedError(batch_id, pause_s)
    if database.scalar(IS_LARGE, batch) is not None:
        return
    since, now, first_blocked = database.execute(BOUNDS, batch).one()
    # No name of a column: the values of a statement's columns are given by their names.
    bounds = {
        "batch_since": since,
        "virtual_now": now,
        "first_blocked": now if first_blocked is None else first_blocked,
    }
    if cast("CursorResult[Any]", database.execute(SPACE_JOBS, batch | bounds | {"ratio": ratio})).rowcount:
        database.execute(ARE_MOVED, batch)
    database.execute(SPACE_BATCH, batch | bounds | {"ratio": ratio})
