"""Search of jobs and batches by id, external id or a batch's name, without an index of its own."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Text, Uuid, bindparam, func, select, true

from cutout.enums import ReturnForm, State
from cutout.models import BATCHES, JOBS
from cutout.models.database import Database

# A probe of the unique index takes some 20 µs, so these take some 40 ms.
MOST_BATCHES = 2000
MOST_FOUND = 50
# Fewer digits of an id would find anything.
FEWEST_DIGITS = 4
HEX_DIGITS = 32


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch that was found."""

    id: uuid.UUID
    name: str
    producer_id: uuid.UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that was found, and the name of its batch."""

    id: uuid.UUID
    external_id: str | None
    return_form: ReturnForm
    state: State
    batch_id: uuid.UUID | None
    batch_name: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """Findings of a search, the newest first, at most MOST_FOUND of each.

    External ids and names were looked for in the newest `batches_examined` batches; `complete` says that
    there are no others.
    """

    batches: list[FoundBatch]
    jobs: list[FoundJob]
    batches_examined: int
    complete: bool


JOB_COLUMNS = (
    JOBS.c.id,
    JOBS.c.external_id,
    JOBS.c.return_form,
    JOBS.c.state,
    JOBS.c.batch_id,
    BATCHES.c.name.label("batch_name"),
    JOBS.c.created_at,
)
BATCH_COLUMNS = (BATCHES.c.id, BATCHES.c.name, BATCHES.c.producer_id, BATCHES.c.created_at)
TERM = bindparam("term", type_=Text)


def search(database: Database, term: str, producer_id: uuid.UUID | None = None) -> Found:
    """Find what a person means by `term`, among a producer's own or, without one, among all.

    An id may be cut short to its first 4 digits or more. An external id is exact; of a batch's name a part
    suffices, in any case.
    """
    term = term.strip().replace("\0", "")
    if not term:
        return Found([], [], 0, complete=True)
    batches = _batches_by_id(database, term, producer_id)
    jobs = _jobs_by_id(database, term, producer_id)
    newest = _newest(producer_id)
    parameters = {"term": term, "producer": producer_id, "most": MOST_BATCHES}
    batches += [FoundBatch(*row) for row in database.execute(_named(newest), parameters)]
    jobs += [_found_job(row) for row in database.execute(_with_external_id(newest), parameters)]
    counted = select(func.count()).select_from(_newest(producer_id, more=1).subquery())
    known = database.scalar(counted, parameters) or 0
    return Found(
        _distinct(batches), _distinct(jobs), min(known, MOST_BATCHES), complete=known <= MOST_BATCHES
    )


def _newest(producer_id: uuid.UUID | None, more: int = 0) -> Select[*tuple[Any, ...]]:
    return (
        select(*BATCH_COLUMNS)
        .where(BATCHES.c.deleted_at.is_(None), _is_of(BATCHES.c.producer_id, producer_id))
        .order_by(BATCHES.c.id.desc())
        .limit(bindparam("most", type_=Integer) + more)
    )


def _named(newest: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    batch = newest.subquery("batch")
    # It knows no wildcards: a name may hold any character.
    is_named = func.strpos(func.lower(batch.c.name), func.lower(TERM)) > 0
    return select(batch).where(is_named).order_by(batch.c.id.desc()).limit(MOST_FOUND)


def _with_external_id(newest: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """One probe of the unique index of batch and external id for each batch."""
    batch = newest.subquery("batch")
    own = [JOBS.c[c.name] for c in JOB_COLUMNS if c.name != "batch_name"]
    job = (
        select(*own)
        .where(JOBS.c.batch_id == batch.c.id, JOBS.c.external_id == TERM, JOBS.c.deleted_at.is_(None))
        .limit(MOST_FOUND)
        .lateral("job")
    )
    columns = [batch.c.name.label(c.name) if c.name == "batch_name" else job.c[c.name] for c in JOB_COLUMNS]
    return select(*columns).join_from(batch, job, true()).order_by(batch.c.id.desc()).limit(MOST_FOUND)


def _batches_by_id(database: Database, term: str, producer_id: uuid.UUID | None) -> list[FoundBatch]:
    bounds = _bounds(term)
    if bounds is None:
        return []
    found = select(*BATCH_COLUMNS).where(
        BATCHES.c.id.between(*bounds),
        BATCHES.c.deleted_at.is_(None),
        _is_of(BATCHES.c.producer_id, producer_id),
    )
    newest = found.order_by(BATCHES.c.id.desc()).limit(MOST_FOUND)
    return [FoundBatch(*row) for row in database.execute(newest, {"producer": producer_id})]


def _jobs_by_id(database: Database, term: str, producer_id: uuid.UUID | None) -> list[FoundJob]:
    bounds = _bounds(term)
    if bounds is None:
        return []
    found = (
        select(*JOB_COLUMNS)
        .outerjoin_from(JOBS, BATCHES, BATCHES.c.id == JOBS.c.batch_id)
        .where(
            JOBS.c.id.between(*bounds),
            JOBS.c.deleted_at.is_(None),
            _is_of(JOBS.c.producer_id, producer_id),
        )
    )
    rows = database.execute(found.order_by(JOBS.c.id.desc()).limit(MOST_FOUND), {"producer": producer_id})
    return [_found_job(row) for row in rows]


def _bounds(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The first and the last id that begin with these digits; None if it is no beginning of an id."""
    digits = term.replace("-", "").lower()
    if not FEWEST_DIGITS <= len(digits) <= HEX_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    return uuid.UUID(digits.ljust(HEX_DIGITS, "0")), uuid.UUID(digits.ljust(HEX_DIGITS, "f"))


def _is_of(column: ColumnElement[Any], producer_id: uuid.UUID | None) -> ColumnElement[bool]:
    return true() if producer_id is None else column == bindparam("producer", type_=Uuid)


def _found_job(row: Any) -> FoundJob:
    values = row._asdict() | {"return_form": ReturnForm(row.return_form), "state": State(row.state)}
    return FoundJob(**values)


def _distinct(found: list[Any]) -> list[Any]:
    """Without what was found in two ways."""
    return list({each.id: each for each in found}.values())[:MOST_FOUND]
