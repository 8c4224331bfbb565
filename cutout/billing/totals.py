"""The ledger's totals: calls, their cost and savings by reuse, by job, batch, producer or day."""

import uuid
from collections.abc import Generator
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Select,
    Subquery,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)

from cutout.enums import AttemptOutcome, ReturnForm, State
from cutout.models import ATTEMPTS, JOBS, Batch, Producer, constant
from cutout.models.database import Database

ROWS_A_ROUND_TRIP = 1000


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of calls. A charged call costs one credit; `begun` is the sum of the four fields after it.

    `unknown`: given up without an answer, at unknown cost. `out`: not ended yet. `lost`: charged calls whose
    result expired before it was stored. `saved` counts jobs, not calls: those that succeeded without a
    charged call of their own.
    """

    begun: int = 0
    charged: int = 0
    not_charged: int = 0
    unknown: int = 0
    out: int = 0
    lost: int = 0
    saved: int = 0


@dataclass(frozen=True, slots=True)
class JobTotals:
    """A job and its totals."""

    job_id: uuid.UUID
    external_id: str | None
    return_form: ReturnForm
    totals: Totals


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """A batch and its totals; without id and name, all jobs that have no batch."""

    batch_id: uuid.UUID | None
    name: str | None
    totals: Totals


@dataclass(frozen=True, slots=True)
class ProducerTotals:
    """A producer and its totals; without id and name, jobs that have none: operators' and deleted ones."""

    producer_id: uuid.UUID | None
    name: str | None
    totals: Totals


@dataclass(frozen=True, slots=True)
class DayTotals:
    """A day (UTC) and its totals: calls begun on it, and savings by jobs that finished on it."""

    day: date
    totals: Totals


DayRows = Select[*tuple[Any, ...]]

COUNTED = [field.name for field in fields(Totals)]
UNANSWERED = ATTEMPTS.c.outcome == constant(AttemptOutcome.UNKNOWN)
SUCCEEDED = JOBS.c.state == constant(State.SUCCEEDED)
CHARGED = func.count().filter(ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED))
CALLS = {
    "begun": func.count(ATTEMPTS.c.id),
    "charged": CHARGED,
    "not_charged": func.count().filter(ATTEMPTS.c.outcome == constant(AttemptOutcome.NOT_CHARGED)),
    "unknown": func.count().filter(UNANSWERED, ATTEMPTS.c.ended_at.is_not(None)),
    "out": func.count().filter(UNANSWERED, ATTEMPTS.c.ended_at.is_(None)),
    "lost": func.count().filter(ATTEMPTS.c.lost_at.is_not(None)),
}


def totals(database: Database, batch_id: uuid.UUID | None = None) -> Totals:
    """The totals of a batch, or of all batches."""
    return _totals(database.execute(select(*_sums(_jobs(batch_id)))).one())


def by_job(database: Database, batch_id: uuid.UUID | None = None) -> Generator[JobTotals, None, None]:
    """Yield every job that has called, of a batch or of all batches, in the order enqueued."""
    job = _jobs(batch_id)
    rows = select(job).where(job.c.begun > 0).order_by(job.c.id)
    with database.execute(rows.execution_options(yield_per=ROWS_A_ROUND_TRIP)) as found:
        for row in found:
            yield JobTotals(row.id, row.external_id, ReturnForm(row.return_form), _totals(row))


def by_batch(
    database: Database, batch_id: uuid.UUID | None = None, producer_id: uuid.UUID | None = None
) -> Generator[BatchTotals, None, None]:
    """Yield every batch that has called or saved, of a producer or the given one, the newest first."""
    job = _jobs(batch_id, producer_id)
    batch = select(job.c.batch_id, *_sums(job)).group_by(job.c.batch_id).subquery()
    rows = (
        select(batch, Batch.name)
        .outerjoin_from(batch, Batch, Batch.id == batch.c.batch_id)
        .where(or_(batch.c.begun > 0, batch.c.saved > 0))
        .order_by(batch.c.batch_id.desc().nulls_last())
    )
    with database.execute(rows.execution_options(yield_per=ROWS_A_ROUND_TRIP)) as found:
        for row in found:
            yield BatchTotals(row.batch_id, row.name, _totals(row))


def by_producer(
    database: Database, batch_id: uuid.UUID | None = None
) -> Generator[ProducerTotals, None, None]:
    """Yield every producer that has called or saved, by name; last of all what has no producer."""
    job = _jobs(batch_id)
    producer = select(job.c.producer_id, *_sums(job)).group_by(job.c.producer_id).subquery()
    rows = (
        select(producer, Producer.name)
        .outerjoin_from(producer, Producer, Producer.id == producer.c.producer_id)
        .where(or_(producer.c.begun > 0, producer.c.saved > 0))
        .order_by(Producer.name.nulls_last(), producer.c.producer_id)
    )
    with database.execute(rows.execution_options(yield_per=ROWS_A_ROUND_TRIP)) as found:
        for row in found:
            yield ProducerTotals(row.producer_id, row.name, _totals(row))


def by_day(
    database: Database,
    days: int,
    batch_id: uuid.UUID | None = None,
    producer_id: uuid.UUID | None = None,
) -> list[DayTotals]:
    """The last `days` days with today, of a batch, a producer or all; the newest first, no empty days."""
    since = func.date_trunc("day", func.now(), "UTC") - timedelta(days=days - 1)
    within = _within(batch_id, producer_id)
    counted: dict[date, dict[str, int]] = {}
    for statement in (_calls_by_day(since, within), _saved_by_day(since, within)):
        for row in database.execute(statement).mappings():
            counted.setdefault(row["day"], {}).update({name: row[name] for name in COUNTED if name in row})
    return [DayTotals(day, Totals(**counted[day])) for day in sorted(counted, reverse=True)]


def _jobs(batch_id: uuid.UUID | None, producer_id: uuid.UUID | None = None) -> Subquery:
    """Each job with its own counts, as a subquery."""
    saved = case((and_(SUCCEEDED, CHARGED == 0), 1), else_=0)
    return (
        select(
            JOBS.c.id,
            JOBS.c.batch_id,
            JOBS.c.producer_id,
            JOBS.c.external_id,
            JOBS.c.return_form,
            *[count.label(name) for name, count in CALLS.items()],
            saved.label("saved"),
        )
        .outerjoin_from(JOBS, ATTEMPTS, ATTEMPTS.c.job_id == JOBS.c.id)
        .where(*_within(batch_id, producer_id))
        .group_by(JOBS.c.id)
        .subquery()
    )


def _sums(job: Subquery) -> list[ColumnElement[int]]:
    return [func.coalesce(func.sum(job.c[name]), 0).label(name) for name in COUNTED]


def _calls_by_day(since: ColumnElement[Any], within: list[ColumnElement[bool]]) -> DayRows:
    day = _day(ATTEMPTS.c.begun_at)
    counts = [count.label(name) for name, count in CALLS.items()]
    calls = select(day, *counts).where(ATTEMPTS.c.begun_at >= since).group_by(day)
    return calls.where(ATTEMPTS.c.job_id == JOBS.c.id, *within) if within else calls


def _saved_by_day(since: ColumnElement[Any], within: list[ColumnElement[bool]]) -> DayRows:
    day = _day(JOBS.c.finished_at)
    charged = select(ATTEMPTS.c.id).where(
        ATTEMPTS.c.job_id == JOBS.c.id, ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED)
    )
    jobs = select(day, func.count().label("saved"))
    return jobs.where(SUCCEEDED, JOBS.c.finished_at >= since, ~charged.exists(), *within).group_by(day)


def _within(batch_id: uuid.UUID | None, producer_id: uuid.UUID | None) -> list[ColumnElement[bool]]:
    """The conditions for jobs of a batch and of a producer, none for all."""
    columns = {JOBS.c.batch_id: batch_id, JOBS.c.producer_id: producer_id}
    return [column == value for column, value in columns.items() if value is not None]


def _day(moment: ColumnElement[Any]) -> ColumnElement[date]:
    return cast(func.timezone("UTC", moment), Date).label("day")


def _totals(row: Any) -> Totals:
    return Totals(**{name: int(getattr(row, name)) for name in COUNTED})


# The price in the smallest pack of credits; larger packs cost less per credit.
DOLLARS_A_CREDIT = 0.0030
