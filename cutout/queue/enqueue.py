"""Enqueueing: a picture's address becomes a durable job with a virtual start in its producer's queue."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double, Update, bindparam, cast, column, func, null, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from cutout.enums import (
    PRIORITIES,
    ActionKind,
    Forms,
    JobMessages,
    Priority,
    QueueState,
    ReturnForm,
    Unique,
)
from cutout.models import JOBS, Batch, Producer
from cutout.network.url_hints import invisible_ends, not_an_address
from cutout.network.url_rules import address_fault
from cutout.outputs.options import OutputOptions, RequestedOutputs
from cutout.producers.ceilings import top_priority_of, weight_within
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.queue.fairness import last_start, start_before, virtual_time_of
from cutout.queue.metadata import Metadata, metadata_fault
from cutout.telemetry import traces
from cutout.text import CONTROL, name_fault
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url

LONGEST_EXTERNAL_ID = 255
LONGEST_SOURCE = 2048
BUCKET_SCHEME = "s3://"
ANOTHER_ADDRESS = re.compile(r"[\s,;|]+(?=(?:https?|s3)://)", re.IGNORECASE)


class InvalidJobError(ValueError):
    """A job cannot be enqueued: `field` is wrong, and the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class JobExistsError(InvalidJobError):
    """A job with this external id and return form exists: `job_id`, None if it was deleted meanwhile."""

    def __init__(self, text: str, job_id: uuid.UUID | None) -> None:
        super().__init__("external_id", text)
        self.job_id = job_id


@dataclass(frozen=True, slots=True)
class NewJob:
    """A picture to be cut out. Raises InvalidJobError for values that can never work.

    `unique` says among which jobs its external id is given once for each return form.
    """

    source: str
    external_id: str | None = None
    return_form: ReturnForm = ReturnForm.RGBA
    priority: Priority = Priority.NORMAL
    webhook_url: str | None = None
    outputs: OutputOptions = field(default_factory=OutputOptions)
    metadata: Metadata | None = None
    unique: Unique = Unique.BATCH

    def __post_init__(self) -> None:
        _check_source(self.source)
        if self.external_id is not None:
            _check_external_id(self.external_id)
        elif self.unique is Unique.PRODUCER:
            raise InvalidJobError("unique", "unique=producer needs an external_id; give the picture one")
        _check_webhook(self.webhook_url)
        check_metadata(self.metadata)

    @property
    def natural_key(self) -> str | None:
        """The value that is unique among the producer's jobs; None unless that is asked for."""
        return f"{self.return_form} {self.external_id}" if self.unique is Unique.PRODUCER else None


def requested_outputs(forms: str | None, *, full_size: bool | None) -> RequestedOutputs:
    """Build the options for outputs from strings. Raises InvalidJobError for unknown `forms`."""
    if forms is not None and forms not in set(Forms):
        raise InvalidJobError("forms", f"{forms!r} is not one of {', '.join(Forms)}")
    return RequestedOutputs(None if forms is None else Forms(forms), full_size)


def new_job(
    source: str, external_id: str | None, return_form: str, priority: str, outputs: OutputOptions
) -> NewJob:
    """Build a NewJob from strings. Raises InvalidJobError for an unknown return form or priority."""
    if return_form not in set(ReturnForm):
        raise InvalidJobError("return_form", f"{return_form!r} is not one of {', '.join(ReturnForm)}")
    if priority not in PRIORITIES:
        raise InvalidJobError("priority", f"{priority!r} is not one of {', '.join(PRIORITIES)}")
    form, rank = ReturnForm(return_form), PRIORITIES[priority]
    return NewJob(source, external_id, form, rank, outputs=outputs)


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
    renditions: Mapping[str, Mapping[str, str]] | None = None,
    metadata: Metadata | None = None,
    options: Mapping[str, Any] | None = None,
) -> Batch:
    """Create a batch without jobs. Raises InvalidJobError for a wrong name or webhook.

    `weight` is its share beside its producer's other batches, bounded by that producer's ceiling. `budget` is
    the most credits that its calls may cost, None for no limit; jobs over it are held. Without `reuse`
    cutouts that were bought before are bought again. `webhook_url` is notified when the batch has ended, and
    about its jobs as `webhook_jobs` says. Each of its jobs gets the `renditions`. `options` are the other
    values that it was requested with, to be shown.
    """
    if fault := name_fault(name):
        raise InvalidJobError("name", f"the batch's name {name!r} {fault}")
    _check_webhook(webhook_url)
    check_metadata(metadata)
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
        renditions={name: dict(each) for name, each in renditions.items()} if renditions else None,
        metadata_=dict(metadata) if metadata else None,
        options=None if options is None else dict(options),
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

    Jobs of a batch belong to the batch's producer. Raises InvalidJobError if the batch was cancelled,
    BatchIsEndingError if it is being deleted, JobExistsError for the first external id that the batch, or the
    producer for jobs that are unique among its jobs, already has in the same return form.
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
        row = update(Batch).where(
            Batch.id == batch_id, Batch.cancelled_at.is_(None), Batch.delete_requested_at.is_(None)
        )
        row = row.values(results_key=None, results_unwritten_at=None)
        flow = _Flow(row, Batch.last_virtual_start, batch.weight, Batch.producer_id)
    taken = _take_virtual_starts(session, flow, len(jobs))
    if taken is None:
        raise _refusal(session, batch_id)
    virtual_starts, ceiling = taken
    if producer_id is None and any(job.natural_key for job in jobs):
        raise InvalidJobError("unique", "a job without a producer cannot be unique among its producer's jobs")
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
            "bought_form": job.outputs.bought_form(job.return_form),
            "full_size": job.outputs.full_size,
            "renditions": job.outputs.as_json(),
            "priority": max(int(job.priority), ceiling),
            "virtual_start": virtual_start,
            "webhook_url": job.webhook_url or webhook_of_batch,
            "metadata": dict(job.metadata) if job.metadata else None,
            "natural_key": job.natural_key,
        }
        for job, virtual_start in zip(jobs, virtual_starts, strict=True)
    ]
    if batch_id is None and not any(job.natural_key for job in jobs):
        # Nothing of them is unique, and a savepoint takes two statements.
        return _insert_jobs(session, rows, common)
    try:
        with session.begin_nested():
            return _insert_jobs(session, rows, common)
    except IntegrityError as error:
        raise _job_exists(session, batch_id, producer_id, jobs) from error


def _job_exists(
    session: Session, batch_id: uuid.UUID | None, producer_id: uuid.UUID | None, jobs: Sequence[NewJob]
) -> JobExistsError:
    """The error for the first of the jobs whose external id and form the batch or the producer has."""
    in_batch: dict[tuple[str | None, str], uuid.UUID] = {}
    # Jobs without a batch share none: they are of many producers.
    if batch_id is not None:
        of_batch = select(JOBS.c.external_id, JOBS.c.return_form, JOBS.c.id).where(
            JOBS.c.batch_id == batch_id, JOBS.c.external_id.in_([job.external_id for job in jobs])
        )
        in_batch = {(row.external_id, row.return_form): row.id for row in session.execute(of_batch)}
    keys = [job.natural_key for job in jobs if job.natural_key is not None]
    of_producer = select(JOBS.c.natural_key, JOBS.c.id).where(
        JOBS.c.producer_id == producer_id, JOBS.c.natural_key.in_(keys)
    )
    by_key = {row.natural_key: row.id for row in session.execute(of_producer)} if keys else {}
    for number, job in enumerate(jobs, start=1):
        found_in_batch = in_batch.get((job.external_id, job.return_form))
        found = found_in_batch or by_key.get(job.natural_key)
        if found is not None:
            owner = f"the batch {batch_id} already has" if found_in_batch else "you already have"
            which = f", which is job {number}" if len(jobs) > 1 else ""
            return JobExistsError(
                f"{owner} {job.external_id!r} as {job.return_form}{which}: it is the job {found}; give each"
                " picture its own id",
                found,
            )
    return JobExistsError(
        "one of these external ids was taken in the same return form a moment ago; send the request again",
        None,
    )


# The columns that each job has of its own; the others are equal for all jobs of one call.
EACH = (
    *("external_id", "source", "return_form", "bought_form", "full_size", "renditions"),
    *("priority", "virtual_start", "webhook_url", "metadata", "natural_key"),
)
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


def _refusal(session: Session, batch_id: uuid.UUID | None) -> Exception:
    """The reason why the batch takes no job."""
    if batch_id is not None and session.scalar(
        select(Batch.delete_requested_at.is_not(None)).where(Batch.id == batch_id)
    ):
        return BatchIsEndingError(batch_id, ActionKind.DELETE)
    return InvalidJobError("batch_id", "the batch was cancelled; enqueue into another one")


def _take_virtual_starts(session: Session, flow: _Flow | None, count: int) -> tuple[list[float], int] | None:
    """Take virtual starts for so many jobs; returns them, and the best priority that the jobs may have.

    None if the batch takes no job.
    """
    if flow is None:
        return _starts_without_producer(session, count), min(Priority)
    last_new = last_start(flow.last_virtual_start, flow.producer_id, count, flow.weight)
    taken = session.execute(
        flow.row.values({flow.last_virtual_start: last_new})
        .returning(flow.last_virtual_start, top_priority_of(flow.producer_id))
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        return None
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
    seen: dict[tuple[str, ReturnForm], int] = {}
    for number, job in enumerate(jobs, start=1):
        if job.external_id is None:
            continue
        pair = (job.external_id, job.return_form)
        if pair in seen:
            raise InvalidJobError(
                "external_id",
                f"{job.external_id!r} comes twice as {job.return_form}, in jobs {seen[pair]} and {number};"
                " give each picture its own id",
            )
        seen[pair] = number


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


def check_metadata(metadata: Metadata | None) -> None:
    """Raise InvalidJobError for metadata with too many pairs, or with one that cannot be kept."""
    if metadata is not None and (fault := metadata_fault(metadata)):
        raise InvalidJobError("metadata", f"metadata {fault}")


def _check_source(value: str) -> None:
    if len(value) > LONGEST_SOURCE:
        raise InvalidJobError(
            "source", f"the source has {len(value)} characters; use at most {LONGEST_SOURCE}"
        )
    if fault := invisible_ends(value):
        raise InvalidJobError("source", f"the source {value[:200]!r} {fault}")
    in_bucket = value.lower().startswith(BUCKET_SCHEME)
    fault = not_an_address(value) or (_bucket_fault(value) if in_bucket else _web_fault(value))
    if fault:
        raise InvalidJobError("source", f"the source {value[:200]!r} {fault}")


def _web_fault(value: str) -> str | None:
    if " " not in value:
        return name_fault(value) or address_fault(value)
    if several := len(ANOTHER_ADDRESS.findall(value)):
        return f"holds {several + 1} addresses; give each picture a job of its own"
    return (
        f"has a blank at position {value.index(' ') + 1}; write %20 for it, or if several addresses are"
        " meant, write each with its https://"
    )


def _bucket_fault(value: str) -> str | None:
    # An object key may have characters that a web address must percent-encode.
    if CONTROL.search(value):
        return "has control characters; rename the object"
    name = value[len(BUCKET_SCHEME) :].partition("/")[0]
    return None if name and "@" not in name else "names no bucket; write s3://bucket/key"
