"""Enqueueing: from a picture's address to a durable job with a place in line."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Double, Update, cast, func, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from cutout.enums import PRIORITIES, JobMessages, Priority, ReturnForm, Standing
from cutout.models import Batch, Producer
from cutout.network.url_hints import invisible_ends, not_an_address
from cutout.network.url_rules import address_fault
from cutout.producers.ceilings import top_priority_of, weight_within
from cutout.queue.insert_jobs import insert_jobs
from cutout.queue.producer_shares import present_of
from cutout.telemetry import traces
from cutout.text import CONTROL, find_unusable, name_fault
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url

LONGEST_EXTERNAL_ID = 255
LONGEST_SOURCE = 2048
BUCKET_SCHEME = "s3://"


class InvalidJobError(ValueError):
    """A job cannot be enqueued as it stands: `field` is at fault, the text says why and what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class NewJob:
    """A picture to be cut out. Raises InvalidJobError for what can never work."""

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
    """The same from plain words. Raises InvalidJobError for one that is none of ours."""
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
    """A batch without jobs. `weight` is its share beside its producer's other batches, bounded by that
    producer's ceiling; `budget` the most credits that its calls may cost, None without a bound: jobs over it
    are held. Without `reuse` cutouts
    that were bought before are bought again. `webhook_url` is told when the batch has ended, and of
    its jobs what `webhook_jobs` says.
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
    """Enqueue one job in the caller's transaction; it exists once that commits. Returns its id."""
    return enqueue_all(session, [job], batch_id=batch_id, producer_id=producer_id)[0]


def enqueue_all(
    session: Session,
    jobs: Sequence[NewJob],
    *,
    batch_id: uuid.UUID | None = None,
    producer_id: uuid.UUID | None = None,
) -> list[uuid.UUID]:
    """Enqueue jobs in order, all or none; returns their ids in the same order.

    A batch's jobs are its producer's. Raises InvalidJobError if the batch was cancelled, or has one of the
    external ids in the same return form already.
    """
    if not jobs:
        return []
    _refuse_duplicates(jobs)
    tells = None
    if batch_id is None:
        flow = _producer_flow(producer_id)
    else:
        batch = session.execute(
            select(Batch.weight, Batch.producer_id, Batch.webhook_url, Batch.webhook_jobs).where(
                Batch.id == batch_id
            )
        ).one()
        producer_id = batch.producer_id
        tells = None if batch.webhook_jobs == JobMessages.NONE else batch.webhook_url
        # Its results, if it had ended, are to be written anew.
        row = update(Batch).where(Batch.id == batch_id, Batch.cancelled_at.is_(None))
        row = row.values(results_key=None, results_unwritten_at=None)
        flow = _Flow(row, Batch.last_place, 1.0 / batch.weight, Batch.producer_id)
    places, ceiling = _take_places(session, flow, len(jobs))
    same = {
        "batch_id": batch_id,
        "producer_id": producer_id,
        "standing": Standing.IN_LINE,
        "trace": traces.present(),
    }
    rows = [
        {
            "external_id": job.external_id,
            "source": job.source,
            "return_form": job.return_form,
            "priority": max(int(job.priority), ceiling),
            "place": place,
            "webhook_url": job.webhook_url or tells,
        }
        for job, place in zip(jobs, places, strict=True)
    ]
    try:
        with session.begin_nested():
            return insert_jobs(session, rows, same)
    except IntegrityError as error:
        raise InvalidJobError(
            "external_id",
            f"the batch {batch_id} already has one of these external ids in the same return form",
        ) from error


# Far less than one place in all, and told apart by the second in a line that is 100,000 places on.
PLACES_BEGIN_AT_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
PLACES_A_SECOND = 1e-10
PLACES_A_JOB = 1e-8


@dataclass(frozen=True, slots=True)
class _Flow:
    """Who shares a producer's line with whom: a row that keeps its last place, and the room one job takes."""

    row: Update
    last_place: InstrumentedAttribute[float]
    share: float
    producer_id: InstrumentedAttribute[uuid.UUID | None] | InstrumentedAttribute[uuid.UUID]


def _producer_flow(producer_id: uuid.UUID | None) -> _Flow | None:
    if producer_id is None:
        return None
    return _Flow(update(Producer).where(Producer.id == producer_id), Producer.last_place, 1.0, Producer.id)


def _take_places(session: Session, flow: _Flow | None, count: int) -> tuple[list[float], int]:
    """Places, and the best priority that the producer's jobs may have.

    Start-time fair queueing: a flow's next job stands one share behind its last or the present of the
    producer's line.
    """
    if flow is None:
        return _places_of_nobody(session, count), min(Priority)
    place = func.greatest(flow.last_place, present_of(flow.producer_id)) + flow.share * count
    taken = session.execute(
        flow.row.values({flow.last_place: place})
        .returning(flow.last_place, top_priority_of(flow.producer_id))
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        raise InvalidJobError("batch_id", "the batch was cancelled; enqueue into another one")
    last, ceiling = taken
    return [last - flow.share * (count - 1 - n) for n in range(count)], ceiling


def _places_of_nobody(session: Session, count: int) -> list[float]:
    """Places of single jobs without a producer, for which no row could be locked: right behind the present.

    Each has one of its own, by when it was enqueued: where many are the same, one cannot say from where on a
    line is to be looked at.
    """
    seconds = cast(func.extract("epoch", func.clock_timestamp()), Double) - PLACES_BEGIN_AT_S
    behind = func.greatest(seconds, 0.0) * PLACES_A_SECOND
    first = session.scalars(select(present_of(null()) + behind)).one()
    return [first + n * PLACES_A_JOB for n in range(count)]


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
    # A key may have what an address of the web has percent-encoded.
    if " " in value or (CONTROL.search(value) if in_bucket else find_unusable(value)):
        raise InvalidJobError(
            "source", f"the source {value!r} has blanks, control or invisible characters; percent-encode them"
        )
    if fault := not_an_address(value) or (_bucket_fault(value) if in_bucket else address_fault(value)):
        raise InvalidJobError("source", f"the source {value[:200]!r} {fault}")


def _bucket_fault(value: str) -> str | None:
    name = value[len(BUCKET_SCHEME) :].partition("/")[0]
    return None if name and "@" not in name else "names no bucket; write s3://bucket/key"
