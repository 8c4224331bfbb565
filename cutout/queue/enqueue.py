"""Enqueueing: a picture's address becomes a durable job with a virtual start in its producer's queue."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double, Update, bindparam, cast, column, func, null, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from cutout.enums import PRIORITIES, JobMessages, Priority, QueueState, ReturnForm
from cutout.models import JOBS, Batch, Producer
from cutout.network.url_hints import invisible_ends, not_an_address
from cutout.network.url_rules import address_fault
from cutout.producers.ceilings import top_priority_of, weight_within
from cutout.queue.fairness import last_start, start_before, virtual_time_of
from cutout.telemetry import traces
from cutout.text import CONTROL, find_unusable, name_fault
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url

LONGEST_EXTERNAL_ID = 255
LONGEST_SOURCE = 2048
BUCKET_SCHEME = "s3://"


class InvalidJobError(ValueError):
    """A job cannot be enqueued: `field` is wrong, and the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class NewJob:
    """A picture to be cut out. Raises InvalidJobError for values that can never work."""

    source: str
    external_id: str | None = None
    return_form: ReturnForm = ReturnForm.RGBA
    priority: Priority = Priority.NORMAL
    webhook_url: str | None = None

    def __post_init__(self) -> None:
        _check_source(self.source)
        if self.external_id is not None:
            _check_external_id(self.external_id)
        _check_webhook(self.webhook_url)


def new_job(source: str, external_id: str | None, return_form: str, priority: str) -> NewJob:
    """Build a NewJob from strings. Raises InvalidJobError for an unknown return form or priority."""
    if return_form not in set(ReturnForm):
        raise InvalidJobError("return_form", f"{return_form!r} is not one of {', '.join(ReturnForm)}")
    if priority not in PRIORITIES:
        raise InvalidJobError("priority", f"{priority!r} is not one of {', '.join(PRIORITIES)}")
    return NewJob(source, external_id, ReturnForm(return_form), PRIORITIES[priority])


def create_batch(
    session: Session,
    name: str,
    *,
    producer_id: uuid.UUID | None = None,
    weight: float = 1.0,
    budget: int | None = None,
    reuse: bool = True,
    webhook_url: str | None = None,
    webhook_jobs: JobMessages = JobMessages.NONE,
) -> Batch:
    """Create a batch without jobs. Raises InvalidJobError for a wrong name or webhook.

    `weight` is its share beside its producer's other batches, bounded by that producer's ceiling. `budget` is
    the most credits that its calls may cost, None for no limit; jobs over it are held. Without `reuse`
    cutouts that were bought before are bought again. `webhook_url` is notified when the batch has ended, and
    about its jobs as `webhook_jobs` says.
    """
    if fault := name_fault(name):
        raise InvalidJobError("name", f"the batch's name {name!r} {fault}")
    _check_webhook(webhook_url)
    if webhook_url is None and webhook_jobs is not JobMessages.NONE:
        raise InvalidJobError("webhook_jobs", "webhook_jobs is given without a webhook_url; give both")
    batch = Batch(
        name=name,
        producer_id=producer_id,
        weight=weight if producer_id is None else weight_within(producer_id, weight),
        budget=budget,
        reuse=reuse,
        webhook_url=webhook_url,
        webhook_jobs=webhook_jobs,
    )
    session.add(batch)
    session.flush()
    return batch


def enqueue(
    session: Session, job: NewJob, *, batch_id: uuid.UUID | None = None, producer_id: uuid.UUID | None = None
) -> uuid.UUID:
    """Enqueue one job in the caller's transaction; returns its id. The job exists once that commits."""
    return enqueue_all(session, [job], batch_id=batch_id, producer_id=producer_id)[0]


def enqueue_all(
    session: Session,
    jobs: Sequence[NewJob],
    *,
    batch_id: uuid.UUID | None = None,
    producer_id: uuid.UUID | None = None,
) -> list[uuid.UUID]:
    """Enqueue jobs in order, all or none; returns their ids in the same order.

    Jobs of a batch belong to the batch's producer. Raises InvalidJobError if the batch was cancelled, or
    already has one of the external ids in the same return form.
    """
    if not jobs:
        return []
    _refuse_duplicates(jobs)
    webhook_of_batch = None
    if batch_id is None:
        flow = _producer_flow(producer_id)
    else:
        batch = session.execute(
            select(Batch.weight, Batch.producer_id, Batch.webhook_url, Batch.webhook_jobs).where(
                Batch.id == batch_id
            )
        ).one()
        producer_id = batch.producer_id
        webhook_of_batch = None if batch.webhook_jobs == JobMessages.NONE else batch.webhook_url
        # If the batch had ended, its results must be written again.
        row = update(Batch).where(Batch.id == batch_id, Batch.cancelled_at.is_(None))
        row = row.values(results_key=None, results_unwritten_at=None)
        flow = _Flow(row, Batch.last_virtual_start, batch.weight, Batch.producer_id)
    virtual_starts, ceiling = _take_virtual_starts(session, flow, len(jobs))
    common = {
        "batch_id": batch_id,
        "producer_id": producer_id,
        "queue_state": QueueState.READY,
        "trace": traces.present(),
    }
    rows = [
        {
            "external_id": job.external_id,
            "source": job.source,
            "return_form": job.return_form,
            "priority": max(int(job.priority), ceiling),
            "virtual_start": virtual_start,
            "webhook_url": job.webhook_url or webhook_of_batch,
        }
        for job, virtual_start in zip(jobs, virtual_starts, strict=True)
    ]
    try:
        with session.begin_nested():
            return _insert_jobs(session, rows, common)
    except IntegrityError as error:
        raise InvalidJobError(
            "external_id",
            f"the batch {batch_id} already has one of these external ids in the same return form",
        ) from error


# The columns that each job has of its own; the others are equal for all jobs of one call.
EACH = ("external_id", "source", "return_form", "priority", "virtual_start", "webhook_url")
ALL = ("batch_id", "producer_id", "queue_state", "trace")

_GIVEN = (
    func.unnest(*(bindparam(name, type_=ARRAY(JOBS.c[name].type)) for name in EACH))
    .table_valued(*(column(name, JOBS.c[name].type) for name in EACH), with_ordinality="n", name="given")
    .render_derived()
)
# One statement for any number of jobs. SQLAlchemy's own insert would ask for each id by itself.
_INSERT = (
    insert(JOBS)
    .from_select(
        [*EACH, *ALL],
        select(
            *(_GIVEN.c[name] for name in EACH),
            *(bindparam(name, type_=JOBS.c[name].type) for name in ALL),
        ).order_by(_GIVEN.c.n),
        include_defaults=False,
    )
    .returning(JOBS.c.id)
)


def _insert_jobs(
    session: Session, rows: Sequence[Mapping[str, Any]], common: Mapping[str, Any]
) -> list[uuid.UUID]:
    """Insert jobs with the columns EACH of their own and ALL in common; returns their ids in the same order.

    Rows are made in the order given, and a session's ids (UUIDv7) only grow.
    """
    given = {name: [row[name] for row in rows] for name in EACH}
    return sorted(session.scalars(_INSERT, given | dict(common)))


# Jobs without a producer start this much behind the virtual time. All of it is far less than the cost of one
# job, and a second still makes a difference at a virtual time of 100,000.
VIRTUAL_TIME_BEGINS_AT_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
VIRTUAL_TIME_A_SECOND = 1e-10
VIRTUAL_TIME_A_JOB = 1e-8


@dataclass(frozen=True, slots=True)
class _Flow:
    """A flow of fair queueing: the row that keeps its last virtual start, and its weight."""

    row: Update
    last_virtual_start: InstrumentedAttribute[float]
    weight: float
    producer_id: InstrumentedAttribute[uuid.UUID | None] | InstrumentedAttribute[uuid.UUID]


def _producer_flow(producer_id: uuid.UUID | None) -> _Flow | None:
    if producer_id is None:
        return None
    return _Flow(
        update(Producer).where(Producer.id == producer_id), Producer.last_virtual_start, 1.0, Producer.id
    )


def _take_virtual_starts(session: Session, flow: _Flow | None, count: int) -> tuple[list[float], int]:
    """Take virtual starts for so many jobs; returns them, and the best priority that the jobs may have."""
    if flow is None:
        return _starts_without_producer(session, count), min(Priority)
    last_new = last_start(flow.last_virtual_start, flow.producer_id, count, flow.weight)
    taken = session.execute(
        flow.row.values({flow.last_virtual_start: last_new})
        .returning(flow.last_virtual_start, top_priority_of(flow.producer_id))
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        raise InvalidJobError("batch_id", "the batch was cancelled; enqueue into another one")
    last, ceiling = taken
    return [start_before(last, count - 1 - n, flow.weight) for n in range(count)], ceiling


def _starts_without_producer(session: Session, count: int) -> list[float]:
    """Virtual starts of jobs without a producer and batch, for which no row could be locked.

    They lie right behind the virtual time, each different, by the time of enqueueing: with many equal values
    a watermark could not say where the reading of the queue begins.
    """
    seconds = cast(func.extract("epoch", func.clock_timestamp()), Double) - VIRTUAL_TIME_BEGINS_AT_S
    offset = func.greatest(seconds, 0.0) * VIRTUAL_TIME_A_SECOND
    first = session.scalars(select(virtual_time_of(null()) + offset)).one()
    return [first + n * VIRTUAL_TIME_A_JOB for n in range(count)]


def _refuse_duplicates(jobs: Sequence[NewJob]) -> None:
    seen: set[tuple[str, ReturnForm]] = set()
    for job in jobs:
        if job.external_id is None:
            continue
        pair = (job.external_id, job.return_form)
        if pair in seen:
            raise InvalidJobError(
                "external_id",
                f"{job.external_id!r} comes twice as {job.return_form}; give each picture its own id",
            )
        seen.add(pair)


def _check_external_id(value: str) -> None:
    if not 1 <= len(value) <= LONGEST_EXTERNAL_ID:
        raise InvalidJobError(
            "external_id", f"external_id has {len(value)} characters; use 1 to {LONGEST_EXTERNAL_ID}"
        )
    if fault := name_fault(value):
        raise InvalidJobError("external_id", f"external_id {value!r} {fault}")


def _check_webhook(url: str | None) -> None:
    if url is None:
        return
    try:
        check_webhook_url(url)
    except InvalidWebhookError as error:
        raise InvalidJobError("webhook_url", str(error)) from error


def _check_source(value: str) -> None:
    if len(value) > LONGEST_SOURCE:
        raise InvalidJobError(
            "source", f"the source has {len(value)} characters; use at most {LONGEST_SOURCE}"
        )
    if fault := invisible_ends(value):
        raise InvalidJobError("source", f"the source {value[:200]!r} {fault}")
    in_bucket = value.lower().startswith(BUCKET_SCHEME)
    # An object key may have characters that a web address must percent-encode.
    if " " in value or (CONTROL.search(value) if in_bucket else find_unusable(value)):
        raise InvalidJobError(
            "source", f"the source {value!r} has blanks, control or invisible characters; percent-encode them"
        )
    if fault := not_an_address(value) or (_bucket_fault(value) if in_bucket else address_fault(value)):
        raise InvalidJobError("source", f"the source {value[:200]!r} {fault}")


def _bucket_fault(value: str) -> str | None:
    name = value[len(BUCKET_SCHEME) :].partition("/")[0]
    return None if name and "@" not in name else "names no bucket; write s3://bucket/key"
