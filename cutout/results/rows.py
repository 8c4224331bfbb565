"""Rows of results: jobs with their outcomes and calls, read a page at a time."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, Text, cast, func, null, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from cutout.enums import AttemptOutcome, State
from cutout.models import ATTEMPTS, JOBS, constant
from cutout.queue.job_ids import JobIds, find_ids
from cutout.status.outputs import (
    DELIVERED,
    IDS,
    IS_DELIVERED,
    JobOutput,
    delivered,
    outputs_of_jobs,
    renditions_of_batch,
    score_of,
)
from cutout.status.producer_texts import text_for_producer

ROWS_A_PAGE = 2000


class ResultRow(NamedTuple):
    """A job, the picture that it delivers, the totals of its calls, and its outputs.

    `details` and `metadata` are JSON text. `key` to `size_bytes` are null while the delivered picture is
    waiting, and if it failed; `output_state` to `version` are null if it is what was bought. `score_reasons`
    are joined by semicolons.
    """

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
    output_state: str | None
    factor: float | None
    bought_key: str | None
    derived_from: str | None
    recipe: str | None
    version: int | None
    score: float | None
    score_reasons: str | None
    outputs: tuple[JobOutput, ...]
    details: str | None
    metadata: str | None

    @property
    def renditions(self) -> tuple[JobOutput, ...]:
        """Its outputs beside the delivered picture."""
        return tuple(output for output in self.outputs if output.name != self.return_form)

    def file_of(self, name: str) -> tuple[str, str | None] | None:
        """Key and media type of the rendition of this name, or of the delivered picture by its form.

        None if it is not made.
        """
        if name == self.return_form:
            return (self.key, self.media_type) if self.key else None
        made = next((each for each in self.outputs if each.name == name and each.key), None)
        return (made.key, made.media_type) if made and made.key else None


DELIVERED_COLUMNS = ("key", "media_type", "width", "height", "size_bytes")
OUTPUT_COLUMNS = ("factor", "recipe", "version")


def _rows() -> Select[*tuple[object, ...]]:
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
        .where(ATTEMPTS.c.job_id == IDS)
        .group_by(ATTEMPTS.c.job_id)
        .subquery("calls")
    )
    outputs = outputs_of_jobs()
    columns: dict[str, ColumnElement[Any]] = {
        **{name: delivered(name) for name in DELIVERED_COLUMNS},
        **{name: DELIVERED.c[name] for name in OUTPUT_COLUMNS},
        "sha256": func.encode(delivered("sha256"), "hex"),
        "output_state": DELIVERED.c.state,
        "bought_key": JOBS.c.key,
        "derived_from": func.encode(DELIVERED.c.bought_sha256, "hex"),
        # As JSON; its number and its reasons are taken from it.
        "score": score_of(JOBS),
        "score_reasons": null(),
        "outputs": outputs.c.outputs,
        "credits": func.coalesce(calls.c.credits, 0),
        "attempts": func.coalesce(calls.c.attempts, 0),
        "error_code": JOBS.c.code,
        "error_message": JOBS.c.message,
        "request_id": calls.c.request_id,
        "job_id": cast(JOBS.c.id, Text),
        # As text: they are only written into JSON again.
        "details": cast(JOBS.c.details, Text),
        "metadata": cast(JOBS.c["metadata"], Text),
    }
    return (
        select(
            *((columns[name] if name in columns else JOBS.c[name]).label(name) for name in ResultRow._fields)
        )
        .outerjoin_from(JOBS, calls, calls.c.job_id == JOBS.c.id)
        .outerjoin(DELIVERED, IS_DELIVERED)
        .outerjoin(outputs, outputs.c.job_id == JOBS.c.id)
        .where(JOBS.c.id == IDS)
        .order_by(JOBS.c.id)
    )


ROWS = _rows()


def read_rows(engine: Engine, ids: Sequence[uuid.UUID]) -> list[ResultRow]:
    """The present rows of these jobs, in the order enqueued."""
    with engine.connect() as connection:
        return [_result_row(row._asdict()) for row in connection.execute(ROWS, {"ids": ids})]


def _result_row(values: dict[str, Any]) -> ResultRow:
    found = values["score"]
    if found:
        reasons = "; ".join(reason["text"] for reason in found["reasons"])
        values |= {"score": round(found["score"], 4), "score_reasons": reasons}
    if values["error_message"]:
        values["error_message"] = text_for_producer(values["error_message"])
    values["outputs"] = tuple(map(_for_producer, JobOutput.of(values["outputs"])))
    return ResultRow(**values)


def _for_producer(output: JobOutput) -> JobOutput:
    if not output.note and not output.message:
        return output
    return output._replace(
        note=output.note and text_for_producer(output.note),
        message=output.message and text_for_producer(output.message),
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of a batch's jobs; without states or codes, jobs with any."""

    batch_id: uuid.UUID
    states: tuple[State, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """The rows of selected jobs; each page is read when it is needed.

    `renditions` are the names of the batch's outputs beside the return forms of its jobs.
    """

    engine: Engine
    ids: JobIds
    renditions: tuple[str, ...]

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
    with engine.connect() as connection:
        renditions = renditions_of_batch(connection, wanted.batch_id)
    with find_ids(engine, *where) as ids:
        yield Results(engine, ids, renditions)
