"""Rows of results: jobs with their outcomes and calls, read a page at a time."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ARRAY, Engine, Select, Text, Uuid, any_, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from cutout.enums import AttemptOutcome, State
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.queue.job_ids import JobIds, find_ids
from cutout.status.producer_texts import text_for_producer

ROWS_A_PAGE = 2000


class ResultRow(NamedTuple):
    """A job, its outcome and the totals of its calls; `details` as JSON text."""

    external_id: str | None
    return_form: str
    state: str
    key: str | None
    sha256: str | None
    media_type: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    reused: bool
    credits: int
    attempts: int
    error_code: str | None
    error_message: str | None
    warning: str | None
    request_id: str | None
    job_id: str
    details: str | None


def _rows() -> Select[*tuple[object, ...]]:
    ids = any_(bindparam("ids", type_=ARRAY(Uuid)))
    # Grouped once for the page, not for each row.
    calls = (
        select(
            ATTEMPTS.c.job_id,
            func.count().label("attempts"),
            func.count().filter(ATTEMPTS.c.outcome == constant(AttemptOutcome.CHARGED)).label("credits"),
            func.array_agg(aggregate_order_by(ATTEMPTS.c.request_id, ATTEMPTS.c.number.desc()))[1].label(
                "request_id"
            ),
        )
        .where(ATTEMPTS.c.job_id == ids)
        .group_by(ATTEMPTS.c.job_id)
        .subquery("calls")
    )
    columns = {
        "sha256": func.encode(JOBS.c.sha256, "hex"),
        "credits": func.coalesce(calls.c.credits, 0),
        "attempts": func.coalesce(calls.c.attempts, 0),
        "error_code": JOBS.c.code,
        "error_message": JOBS.c.message,
        "request_id": calls.c.request_id,
        "job_id": cast(JOBS.c.id, Text),
        # As text: it is only written into JSON again.
        "details": cast(JOBS.c.details, Text),
    }
    return (
        select(
            *((columns[name] if name in columns else JOBS.c[name]).label(name) for name in ResultRow._fields)
        )
        .outerjoin_from(JOBS, calls, calls.c.job_id == JOBS.c.id)
        .where(JOBS.c.id == ids)
        .order_by(JOBS.c.id)
    )


ROWS = _rows()


def read_rows(engine: Engine, ids: Sequence[uuid.UUID]) -> list[ResultRow]:
    """The present rows of these jobs, in the order enqueued."""
    with engine.connect() as connection:
        rows = map(ResultRow._make, connection.execute(ROWS, {"ids": ids}))
        return [_for_producer(row) if row.error_message else row for row in rows]


def _for_producer(row: ResultRow) -> ResultRow:
    return row._replace(error_message=text_for_producer(row.error_message or ""))


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of a batch's jobs; without states or codes, jobs with any."""

    batch_id: uuid.UUID
    states: tuple[State, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of selected jobs; each page is read when it is needed."""

    engine: Engine
    ids: JobIds

    @property
    def total(self) -> int:
        return self.ids.total

    def __iter__(self) -> Iterator[list[ResultRow]]:
        return (read_rows(self.engine, page) for page in self.ids.pages(ROWS_A_PAGE))


@contextmanager
def open_results(engine: Engine, wanted: Selection) -> Iterator[Results]:
    """Select the batch's present jobs, in the order enqueued. Memory does not grow with the batch."""
    where = [JOBS.c.batch_id == wanted.batch_id, JOBS.c.deleted_at.is_(None)]
    if wanted.states:
        where.append(JOBS.c.state.in_(wanted.states))
    if wanted.codes:
        where.append(JOBS.c.code.in_(wanted.codes))
    with find_ids(engine, *where) as ids:
        yield Results(engine, ids)
