"""Pages of a producer's jobs and batches. A page costs the same wherever it begins.

A page begins at an id: ids grow with time, so no offset is needed. Rows that do not match a filter still have
to be examined: after MOST_EXAMINED rows the page ends, full or not, and the next one continues from there.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar, TypeVarTuple

from sqlalchemy import ARRAY, ColumnElement, Select, Subquery, Uuid, any_, literal, select, union_all

from cutout.enums import State
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.status.job_view import SNAPSHOT, JobSnapshot, job_snapshot

MOST_EXAMINED = 20_000
MOST_A_PAGE = 200
# An id is made after its transaction began, which is `created_at`; no transaction takes longer than this.
LONGEST_TRANSACTION_S = 3600
# A version 7 UUID begins with its milliseconds since 1970.
MILLISECONDS_SHIFT = 80
LAST_MILLISECOND = 2**48 - 1

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Candidates = Select[uuid.UUID, State, str | None, datetime]
EXAMINED = (JOBS.c.id, JOBS.c.state, JOBS.c.code, JOBS.c.created_at)


class Order(StrEnum):
    """Sort order of jobs or batches."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions for listed jobs; an empty or None field is no condition."""

    states: tuple[State, ...] = ()
    batch_id: uuid.UUID | None = None
    external_id: str | None = None
    codes: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page: its order, the id it begins after (None for the first page), and its most rows."""

    order: Order = Order.NEWEST
    after: uuid.UUID | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, and the id after which the next page begins; None if this is the last page.

    A page may have fewer rows than requested, or none, although more follow.
    """

    rows: Sequence[T]
    next_after: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """A batch without counts of its jobs, which are expensive."""

    id: uuid.UUID
    name: str
    created_at: datetime
    paused_at: datetime | None
    paused_by_operator_at: datetime | None
    opens_at: datetime | None
    closes_at: datetime | None
    budget: int | None
    results_key: str | None
    cancelled_at: datetime | None


def list_jobs(
    database: Database, producer_id: uuid.UUID, wanted: JobFilter, page: PageRequest
) -> Page[JobSnapshot]:
    """A page of the producer's jobs that match the filter."""
    conditions = _conditions(wanted)
    if wanted.external_id is not None:
        end, found = None, _with_external_id(producer_id, wanted.external_id, wanted.batch_id, page)
    else:
        candidates = _candidates(producer_id, wanted, page)
        # Read before the rows: jobs that are inserted in between are on this side of it.
        end = _last_examined(database, candidates) if conditions else None
        found = _up_to(candidates, end, page)
    chosen = select(found.c.id).where(*(condition(found) for condition in conditions))
    ids = list(database.scalars(_ordered(chosen, found.c.id, page).limit(page.limit + 1)))
    next_after = ids[page.limit - 1] if len(ids) > page.limit else end
    shown = SNAPSHOT.where(JOBS.c.id == any_(literal(ids[: page.limit], ARRAY(Uuid))))
    rows = [job_snapshot(row) for row in database.execute(_ordered(shown, JOBS.c.id, page))]
    return Page(rows, next_after)


def list_batches(database: Database, producer_id: uuid.UUID, page: PageRequest) -> Page[ListedBatch]:
    """A page of the producer's batches."""
    columns = [BATCHES.c[field.name] for field in fields(ListedBatch)]
    found = select(*columns).where(BATCHES.c.producer_id == producer_id, *_after(BATCHES.c.id, page))
    rows = database.execute(_ordered(found, BATCHES.c.id, page).limit(page.limit + 1)).all()
    batches = [ListedBatch(*row) for row in rows[: page.limit]]
    return Page(batches, batches[-1].id if len(rows) > page.limit else None)


def _candidates(producer_id: uuid.UUID, wanted: JobFilter, page: PageRequest) -> Candidates:
    """All jobs from the page's begin on that the index gives, before the filter's other conditions."""
    within = [JOBS.c.producer_id == producer_id, *_after(JOBS.c.id, page), *_time_bounds(wanted)]
    if wanted.batch_id is not None:
        within.append(JOBS.c.batch_id == wanted.batch_id)
    return _ordered(select(*EXAMINED).where(*within), JOBS.c.id, page)


def _last_examined(database: Database, candidates: Candidates) -> uuid.UUID | None:
    """The last id that this page examines, if more may follow it."""
    return database.scalar(candidates.with_only_columns(JOBS.c.id).offset(MOST_EXAMINED - 1).limit(1))


def _up_to(candidates: Candidates, end: uuid.UUID | None, page: PageRequest) -> Subquery:
    if end is not None:
        candidates = candidates.where(JOBS.c.id >= end if page.order is Order.NEWEST else JOBS.c.id <= end)
    # The limit also keeps the filters out of the subquery, for which Postgres might choose another index.
    return candidates.limit(2 * MOST_EXAMINED).subquery("examined")


def _with_external_id(
    producer_id: uuid.UUID, external_id: str, batch_id: uuid.UUID | None, page: PageRequest
) -> Subquery:
    """The jobs with one external id, which are few."""
    # By the index of batch and external id: a probe for each batch of the producer, and one for jobs without.
    named = select(*EXAMINED).where(
        JOBS.c.external_id == external_id, JOBS.c.producer_id == producer_id, *_after(JOBS.c.id, page)
    )
    own = BATCHES.c.producer_id == producer_id
    in_batches = named.join(BATCHES, BATCHES.c.id == JOBS.c.batch_id).where(own)
    if batch_id is not None:
        return in_batches.where(BATCHES.c.id == batch_id).subquery("examined")
    return union_all(in_batches, named.where(JOBS.c.batch_id.is_(None))).subquery("examined")


def _conditions(wanted: JobFilter) -> list[Callable[[Subquery], ColumnElement[bool]]]:
    conditions: list[Callable[[Subquery], ColumnElement[bool]]] = []
    if wanted.states:
        conditions.append(lambda found: found.c.state.in_(wanted.states))
    if wanted.codes:
        conditions.append(lambda found: found.c.code.in_(wanted.codes))
    if wanted.created_after is not None:
        conditions.append(lambda found: found.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(lambda found: found.c.created_at < wanted.created_before)
    return conditions


def _after(column: ColumnElement[uuid.UUID], page: PageRequest) -> list[ColumnElement[bool]]:
    if page.after is None:
        return []
    return [column < page.after if page.order is Order.NEWEST else column > page.after]


def _time_bounds(wanted: JobFilter) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if wanted.created_after is not None:
        bounds.append(JOBS.c.id >= _first_id(wanted.created_after))
    if wanted.created_before is not None:
        bounds.append(JOBS.c.id < _first_id(wanted.created_before, LONGEST_TRANSACTION_S))
    return bounds


def _first_id(moment: datetime, later_s: int = 0) -> uuid.UUID:
    milliseconds = min(max(int((moment.timestamp() + later_s) * 1000), 0), LAST_MILLISECOND)
    return uuid.UUID(int=milliseconds << MILLISECONDS_SHIFT)


def _ordered(found: Select[*Ts], column: ColumnElement[uuid.UUID], page: PageRequest) -> Select[*Ts]:
    return found.order_by(column.desc() if page.order is Order.NEWEST else column)
