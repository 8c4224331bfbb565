"""A producer's jobs and batches, a page at a time. A page costs the same wherever it begins.

A page begins at an id: ids rise with time, so no row is skipped over. What does not fit a filter still has to
be looked at; after MOST_EXAMINED rows the page ends, full or not, and the next one goes on from there.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar, TypeVarTuple

from sqlalchemy import ARRAY, ColumnElement, Select, Subquery, Uuid, any_, literal, select, union_all

from jobs.database import Database
from jobs.models import BATCHES, JOBS
from jobs.seen import SEEN, SeenJob, as_seen
from jobs.states import State

MOST_EXAMINED = 20_000
MOST_A_PAGE = 200
# An id is made after its transaction began, which is what `created_at` says; none takes longer than this.
LONGEST_TRANSACTION_S = 3600
# A version 7 UUID begins with its milliseconds since 1970.
MILLISECONDS_SHIFT = 80
LAST_MILLISECOND = 2**48 - 1

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

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
    budget: int | None
    results_key: str | None


def list_jobs(database: Database, producer_id: uuid.UUID, wanted: Wanted, place: Place) -> Page[SeenJob]:
    """The producer's jobs that are wanted."""
    looked_at = _looked_at(producer_id, wanted, place)
    chosen = select(looked_at.c.id).where(*_fitting(looked_at, wanted))
    ids = list(database.scalars(_ordered(chosen, looked_at.c.id, place).limit(place.limit + 1)))
    next_after = ids[place.limit - 1] if len(ids) > place.limit else _end(database, looked_at, place)
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


def _looked_at(producer_id: uuid.UUID, wanted: Wanted, place: Place) -> Subquery:
    """The jobs among which those that fit are sought: of one name, or the next MOST_EXAMINED in order."""
    if wanted.external_id is not None:
        return _named(producer_id, wanted.external_id, wanted.batch_id, _behind(JOBS.c.id, place))
    within = [JOBS.c.producer_id == producer_id, *_behind(JOBS.c.id, place), *_time_bounds(wanted)]
    if wanted.batch_id is not None:
        within.append(JOBS.c.batch_id == wanted.batch_id)
    walk = select(*LOOKED_AT).where(*within)
    return _ordered(walk, JOBS.c.id, place).limit(MOST_EXAMINED).subquery("looked_at")


def _named(
    producer_id: uuid.UUID, external_id: str, batch_id: uuid.UUID | None, behind: list[ColumnElement[bool]]
) -> Subquery:
    # By the index of batch and name: a probe for each of the producer's batches, and one for jobs without.
    named = select(*LOOKED_AT).where(
        JOBS.c.external_id == external_id, JOBS.c.producer_id == producer_id, *behind
    )
    own = BATCHES.c.producer_id == producer_id
    in_batches = named.join(BATCHES, BATCHES.c.id == JOBS.c.batch_id).where(own)
    if batch_id is not None:
        return in_batches.where(BATCHES.c.id == batch_id).subquery("looked_at")
    return union_all(in_batches, named.where(JOBS.c.batch_id.is_(None))).subquery("looked_at")


def _fitting(looked_at: Subquery, wanted: Wanted) -> list[ColumnElement[bool]]:
    column = looked_at.c
    fits: list[ColumnElement[bool]] = []
    if wanted.states:
        fits.append(column.state.in_(wanted.states))
    if wanted.codes:
        fits.append(column.code.in_(wanted.codes))
    if wanted.created_after is not None:
        fits.append(column.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        fits.append(column.created_at < wanted.created_before)
    return fits


def _end(database: Database, looked_at: Subquery, place: Place) -> uuid.UUID | None:
    """The last id that was looked at, if more may follow it."""
    ids = _ordered(select(looked_at.c.id), looked_at.c.id, place)
    return database.scalar(ids.offset(MOST_EXAMINED - 1).limit(1))


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
