"""A producer's jobs and batches, a page at a time. A page costs the same wherever it begins.

A page begins at an id: ids rise with time, so no row is skipped over. What does not fit a filter still has to
be looked at; after MOST_EXAMINED rows the page ends, full or not, and the next one goes on from there.
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
from cutout.status.job_view import SEEN, SeenJob, as_seen

MOST_EXAMINED = 20_000
MOST_A_PAGE = 200
# An id is made after its transaction began, which is what `created_at` says; none takes longer than this.
LONGEST_TRANSACTION_S = 3600
# A version 7 UUID begins with its milliseconds since 1970.
MILLISECONDS_SHIFT = 80
LAST_MILLISECOND = 2**48 - 1

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Walk = Select[uuid.UUID, State, str | None, datetime]
LOOKED_AT = (JOBS.c.id, JOBS.c.state, JOBS.c.code, JOBS.c.created_at)


class Order(StrEnum):
    """Which jobs or batches come first."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are listed; what is empty or None sorts nothing out."""

    states: tuple[State, ...] = ()
    batch_id: uuid.UUID | None = None
    external_id: str | None = None
    codes: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind this id, or at the very begin. It holds at most so many."""

    order: Order = Order.NEWEST
    after: uuid.UUID | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, and the id that the next page begins behind; None when this is the last one.

    It may have fewer rows than were asked for, or none, though more follow.
    """

    rows: Sequence[T]
    next_after: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """A batch without its counts, which would have to be counted."""

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


def list_jobs(database: Database, producer_id: uuid.UUID, wanted: Wanted, place: Place) -> Page[SeenJob]:
    """The producer's jobs that are wanted."""
    fits = _fitting(wanted)
    if wanted.external_id is not None:
        end, found = None, _named(producer_id, wanted.external_id, wanted.batch_id, place)
    else:
        walk = _walk(producer_id, wanted, place)
        # Before what is looked at: jobs that come in between are on this side of it.
        end = _end(database, walk) if fits else None
        found = _up_to(walk, end, place)
    chosen = select(found.c.id).where(*(fit(found) for fit in fits))
    ids = list(database.scalars(_ordered(chosen, found.c.id, place).limit(place.limit + 1)))
    next_after = ids[place.limit - 1] if len(ids) > place.limit else end
    shown = SEEN.where(JOBS.c.id == any_(literal(ids[: place.limit], ARRAY(Uuid))))
    rows = [as_seen(row) for row in database.execute(_ordered(shown, JOBS.c.id, place))]
    return Page(rows, next_after)


def list_batches(database: Database, producer_id: uuid.UUID, place: Place) -> Page[ListedBatch]:
    """The producer's batches."""
    columns = [BATCHES.c[field.name] for field in fields(ListedBatch)]
    found = select(*columns).where(BATCHES.c.producer_id == producer_id, *_behind(BATCHES.c.id, place))
    rows = database.execute(_ordered(found, BATCHES.c.id, place).limit(place.limit + 1)).all()
    batches = [ListedBatch(*row) for row in rows[: place.limit]]
    return Page(batches, batches[-1].id if len(rows) > place.limit else None)


def _walk(producer_id: uuid.UUID, wanted: Wanted, place: Place) -> Walk:
    """All jobs from the page's begin on that an index leads to, whether or not they fit."""
    within = [JOBS.c.producer_id == producer_id, *_behind(JOBS.c.id, place), *_time_bounds(wanted)]
    if wanted.batch_id is not None:
        within.append(JOBS.c.batch_id == wanted.batch_id)
    return _ordered(select(*LOOKED_AT).where(*within), JOBS.c.id, place)


def _end(database: Database, walk: Walk) -> uuid.UUID | None:
    """The last id that this page looks at, if more may follow it."""
    return database.scalar(walk.with_only_columns(JOBS.c.id).offset(MOST_EXAMINED - 1).limit(1))


def _up_to(walk: Walk, end: uuid.UUID | None, place: Place) -> Subquery:
    if end is not None:
        walk = walk.where(JOBS.c.id >= end if place.order is Order.NEWEST else JOBS.c.id <= end)
    # The limit also keeps the filters out of it, for which Postgres might choose another way than the index.
    return walk.limit(2 * MOST_EXAMINED).subquery("looked_at")


def _named(producer_id: uuid.UUID, external_id: str, batch_id: uuid.UUID | None, place: Place) -> Subquery:
    """The jobs of one name, which are few."""
    # By the index of batch and name: a probe for each of the producer's batches, and one for jobs without.
    named = select(*LOOKED_AT).where(
        JOBS.c.external_id == external_id, JOBS.c.producer_id == producer_id, *_behind(JOBS.c.id, place)
    )
    own = BATCHES.c.producer_id == producer_id
    in_batches = named.join(BATCHES, BATCHES.c.id == JOBS.c.batch_id).where(own)
    if batch_id is not None:
        return in_batches.where(BATCHES.c.id == batch_id).subquery("looked_at")
    return union_all(in_batches, named.where(JOBS.c.batch_id.is_(None))).subquery("looked_at")


def _fitting(wanted: Wanted) -> list[Callable[[Subquery], ColumnElement[bool]]]:
    fits: list[Callable[[Subquery], ColumnElement[bool]]] = []
    if wanted.states:
        fits.append(lambda found: found.c.state.in_(wanted.states))
    if wanted.codes:
        fits.append(lambda found: found.c.code.in_(wanted.codes))
    if wanted.created_after is not None:
        fits.append(lambda found: found.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        fits.append(lambda found: found.c.created_at < wanted.created_before)
    return fits


def _behind(column: ColumnElement[uuid.UUID], place: Place) -> list[ColumnElement[bool]]:
    if place.after is None:
        return []
    return [column < place.after if place.order is Order.NEWEST else column > place.after]


def _time_bounds(wanted: Wanted) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if wanted.created_after is not None:
        bounds.append(JOBS.c.id >= _first_id(wanted.created_after))
    if wanted.created_before is not None:
        bounds.append(JOBS.c.id < _first_id(wanted.created_before, LONGEST_TRANSACTION_S))
    return bounds


def _first_id(moment: datetime, later_s: int = 0) -> uuid.UUID:
    milliseconds = min(max(int((moment.timestamp() + later_s) * 1000), 0), LAST_MILLISECOND)
    return uuid.UUID(int=milliseconds << MILLISECONDS_SHIFT)


def _ordered(found: Select[*Ts], column: ColumnElement[uuid.UUID], place: Place) -> Select[*Ts]:
    return found.order_by(column.desc() if place.order is Order.NEWEST else column)
