"""Pages of a producer's jobs and batches. A page costs the same wherever it begins.

A page begins at an id: ids grow with time, so no offset is needed. Rows that do not match a filter still have
to be examined: after MOST_EXAMINED rows the page ends, full or not, and the next one continues from there.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, TypeVarTuple

from sqlalchemy import ARRAY, ColumnElement, Select, Subquery, Text, cast, literal, select, union_all

from cutout.enums import BatchState, JobMessages, OutputState, State
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database
from cutout.status.batch_state import STATE
from cutout.status.job_view import SNAPSHOT, JobSnapshot, job_snapshot
from cutout.status.outputs import score_number, states_of

MOST_EXAMINED = 20_000
# The state of each takes some steps in other indexes.
MOST_BATCHES_WITH_STATE = 2_000
MOST_A_PAGE = 200
# An id is made after its transaction began, which is `created_at`; no transaction takes longer than this.
LONGEST_TRANSACTION_S = 3600
# A version 7 UUID begins with its milliseconds since 1970.
MILLISECONDS_SHIFT = 80
LAST_MILLISECOND = 2**48 - 1

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Candidates = Select[*tuple[object, ...]]
EXAMINED = tuple(
    JOBS.c[name] for name in ("id", "state", "code", "created_at", "reused", "sha256", "source_sha256")
)


class Order(StrEnum):
    """Sort order of jobs or batches."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions for listed jobs; an empty or None field is no condition.

    `min_score` selects jobs whose cutout is at least so suspicious, `output_states` those with an output in
    one of these states.
    """

    states: tuple[State, ...] = ()
    batch_id: uuid.UUID | None = None
    external_id: str | None = None
    codes: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    min_score: float | None = None
    output_states: tuple[OutputState, ...] = ()


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
    """A batch without counts of its jobs, which are expensive. Its state takes a few steps in an index."""

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
    weight: float
    reuse: bool
    renditions: dict[str, dict[str, str]] | None
    webhook_url: str | None
    webhook_jobs: JobMessages
    metadata: dict[str, str] | None
    options: dict[str, Any] | None
    state: BatchState


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Conditions for listed batches; an empty or None field is no condition."""

    name: str | None = None
    states: tuple[BatchState, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


LISTED = tuple(field.name for field in fields(ListedBatch))


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
    shown = database.execute(_ordered(SNAPSHOT, JOBS.c.id, page), {"ids": ids[: page.limit]})
    rows = [job_snapshot(row) for row in shown]
    return Page(rows, next_after)


def list_batches(
    database: Database, producer_id: uuid.UUID, wanted: BatchFilter, page: PageRequest
) -> Page[ListedBatch]:
    """A page of the producer's batches that match the filter."""
    within = [BATCHES.c.producer_id == producer_id, *_after(BATCHES.c.id, page)]
    within += _time_bounds(BATCHES.c.id, wanted.created_after, wanted.created_before)
    candidates = _ordered(
        select(BATCHES.c.id, BATCHES.c.name, BATCHES.c.created_at).where(*within), BATCHES.c.id, page
    )
    conditions = _batch_conditions(wanted)
    most = MOST_BATCHES_WITH_STATE if wanted.states else MOST_EXAMINED
    last = candidates.with_only_columns(BATCHES.c.id).offset(most - 1).limit(1)
    end = database.scalar(last) if conditions else None
    if end is not None:
        candidates = candidates.where(_until(BATCHES.c.id, end, page))
    columns = [STATE if name == "state" else BATCHES.c[name] for name in LISTED]
    # The limit also keeps the filters out of the subquery, for which Postgres might choose another index.
    examined = candidates.limit(2 * MOST_EXAMINED).subquery("examined")
    found = select(*columns).join(examined, examined.c.id == BATCHES.c.id).where(*conditions)
    rows = database.execute(_ordered(found, BATCHES.c.id, page).limit(page.limit + 1)).all()
    batches = [ListedBatch(*row) for row in rows[: page.limit]]
    return Page(batches, batches[-1].id if len(rows) > page.limit else end)


def _batch_conditions(wanted: BatchFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.name is not None:
        conditions.append(BATCHES.c.name == wanted.name)
    if wanted.states:
        conditions.append(STATE.in_(wanted.states))
    if wanted.created_after is not None:
        conditions.append(BATCHES.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(BATCHES.c.created_at < wanted.created_before)
    return conditions


def _candidates(producer_id: uuid.UUID, wanted: JobFilter, page: PageRequest) -> Candidates:
    """All jobs from the page's begin on that the index gives, before the filter's other conditions."""
    within = [JOBS.c.producer_id == producer_id, *_after(JOBS.c.id, page)]
    within += _time_bounds(JOBS.c.id, wanted.created_after, wanted.created_before)
    if wanted.batch_id is not None:
        within.append(JOBS.c.batch_id == wanted.batch_id)
    return _ordered(select(*EXAMINED).where(*within), JOBS.c.id, page)


def _last_examined(database: Database, candidates: Candidates) -> uuid.UUID | None:
    """The last id that this page examines, if more may follow it."""
    return database.scalar(candidates.with_only_columns(JOBS.c.id).offset(MOST_EXAMINED - 1).limit(1))


def _up_to(candidates: Candidates, end: uuid.UUID | None, page: PageRequest) -> Subquery:
    if end is not None:
        candidates = candidates.where(_until(JOBS.c.id, end, page))
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
    if wanted.min_score is not None:
        conditions.append(lambda found: score_number(found) >= wanted.min_score)
    if wanted.output_states:
        states = cast(literal(list(wanted.output_states), ARRAY(Text)), ARRAY(Text))
        conditions.append(lambda found: states_of(found).op("&&")(states))
    return conditions


def _after(column: ColumnElement[uuid.UUID], page: PageRequest) -> list[ColumnElement[bool]]:
    if page.after is None:
        return []
    return [column < page.after if page.order is Order.NEWEST else column > page.after]


def _until(column: ColumnElement[uuid.UUID], end: uuid.UUID, page: PageRequest) -> ColumnElement[bool]:
    return column >= end if page.order is Order.NEWEST else column <= end


def _time_bounds(
    column: ColumnElement[uuid.UUID], created_after: datetime | None, created_before: datetime | None
) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if created_after is not None:
        bounds.append(column >= _first_id(created_after))
    if created_before is not None:
        bounds.append(column < _first_id(created_before, LONGEST_TRANSACTION_S))
    return bounds


def _first_id(moment: datetime, later_s: int = 0) -> uuid.UUID:
    milliseconds = min(max(int((moment.timestamp() + later_s) * 1000), 0), LAST_MILLISECOND)
    return uuid.UUID(int=milliseconds << MILLISECONDS_SHIFT)


def _ordered(found: Select[*Ts], column: ColumnElement[uuid.UUID], page: PageRequest) -> Select[*Ts]:
    return found.order_by(column.desc() if page.order is Order.NEWEST else column)
