"""Jobs: enqueue one, look at it, fetch its cutout."""

import uuid
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, BinaryIO

from fastapi import Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from api.authentication import ceilings_of
from api.bodies.strict_json import read_model, validated
from api.bodies.uploads import make_sure_of_upload, meaning_of, store_upload
from api.dependencies import Pace, ProducerId, ServicesDep, Transaction
from api.etag import NOT_MODIFIED, Wait, answer, etag_of, is_news_awaited, require_match
from api.idempotency import begin_effect, keep
from api.media_types import JSON, require_kind
from api.openapi import form_schema_of, problems, schema_of
from api.operations import operations_of
from api.problems import ProblemError
from api.router import v1_router
from api.routes.webhooks import require_own_webhook
from api.schemas import ExplanationView, JobForm, JobOptions, JobRequest, JobView, view_job
from api.schemas.job_views import OutputExplanationView
from api.services import Services
from cutout.administration.source_removal import hold_sources
from cutout.enums import FINAL_STATES, PRIORITIES
from cutout.models import Batch, Job
from cutout.models.database import Database
from cutout.outputs.recipes.output import MOST_OUTPUTS
from cutout.producers.quotas import take_quota
from cutout.queue.enqueue import InvalidJobError, enqueue
from cutout.queue.signals import Signal
from cutout.status.call_rate import CallSettings
from cutout.status.eta import QueueRate
from cutout.status.explain import explain_state
from cutout.status.explain_outputs import explain_outputs
from cutout.status.job_view import JobSnapshot, find_job
from cutout.status.producer_texts import for_producer, output_for_producer
from cutout.status.reachable import unreachable_fault
from cutout.telemetry import logs

router = v1_router("/v1/jobs", "jobs")

LINK_SECONDS = 300
MULTIPART = "multipart/form-data"
UPLOAD_FIELDS = 10 + MOST_OUTPUTS
LONGEST_FIELD_BYTES = 16 * 1024

REQUEST_BODY: dict[str, Any] = {
    **problems(
        "invalid-job",
        "invalid-webhook",
        "no-image",
        "empty-image",
        "image-too-large",
        "quota-reached",
        "unknown-batch",
        "job-exists",
    ),
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": schema_of(JobRequest)},
            MULTIPART: {"schema": form_schema_of(JobForm, file="image")},
        },
    },
}


@router.post("", status_code=HTTPStatus.CREATED, response_model=JobView, openapi_extra=REQUEST_BODY)
async def create_job(
    request: Request, services: ServicesDep, producer_id: ProducerId, pace: Pace
) -> Response:
    """Enqueue one picture: as multipart field `image`, or by its address as JSON `source_url`."""
    if require_kind(request, JSON, MULTIPART) == MULTIPART:
        return await _from_upload(request, services, producer_id, pace)
    asked = await read_model(request, JobRequest)
    if fault := unreachable_fault(services.settings, [asked.source_url]):
        raise InvalidJobError("source_url", fault)
    return await services.threads.run(
        producer_id, _enqueue, request, services, producer_id, asked, asked.source_url, pace=pace
    )


@router.get("/{job_id}", response_model=JobView, responses=NOT_MODIFIED)
async def get_job(
    job_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: ProducerId, wait: Wait = 0
) -> Response:
    """Get a job's state and the reason for it. With `wait`, at the next change or after that many seconds."""
    job = await _look(services, job_id, producer_id)
    if wait and job.state not in FINAL_STATES and is_news_awaited(request, etag_of_job(view_job(job))):
        await services.watch.job_changes(request, producer_id, job_id, job.state, wait)
        job = await _look(services, job_id, producer_id)
    view = view_for(job, producer_id, await services.pace.get(None))
    return answer(request, view.model_dump_json(), etag_of_job(view))


@router.get("/{job_id}/explanation")
def get_explanation(
    job_id: uuid.UUID, session: Transaction, services: ServicesDep, producer_id: ProducerId
) -> ExplanationView:
    """Why a job is not done yet, or what became of it; and why its outputs are not made yet."""
    own_job(session, job_id, producer_id)
    job = session.get_one(Job, job_id)
    why = for_producer(job, explain_state(session, job, CallSettings.of(services.settings)))
    outputs = [output_for_producer(job_id, each) for each in explain_outputs(session, job)]
    return ExplanationView(**asdict(why), outputs=[OutputExplanationView(**asdict(each)) for each in outputs])


async def _from_upload(
    request: Request, services: Services, producer_id: uuid.UUID, pace: QueueRate | None
) -> Response:
    limits = {"max_files": 1, "max_fields": UPLOAD_FIELDS, "max_part_size": LONGEST_FIELD_BYTES}
    async with request.form(**limits) as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "no-image",
                "send the picture as file field `image`",
                field="image",
            )
        fields = operations_of(request.app).at("/v1/jobs", "POST").form
        fields.require_known(name for name, _ in form.multi_items())
        given: dict[str, Any] = {
            name: form.getlist(name) if name in fields.lists else value
            for name, value in form.items()
            if name != "image"
        }
        asked = validated(JobForm, given)
        ceilings_of(request).require_priority(PRIORITIES[asked.priority])
        # The picture goes first: a job never names a source that is not there.
        source = await services.upload_threads.run(
            producer_id, _store, services, asked, image.file, producer_id
        )
        meaning = meaning_of(asked, source, producer_id)
        made = await services.threads.finish(
            producer_id,
            _enqueue,
            request,
            services,
            producer_id,
            asked,
            source,
            pace=pace,
            meaning=meaning,
        )
        await services.upload_threads.finish(
            producer_id, make_sure_of_upload, services.bucket, source, image.file, producer_id
        )
        return made


def _store(services: Services, asked: JobOptions, body: BinaryIO, producer_id: uuid.UUID) -> str:
    require_own_webhook(services.settings, asked.webhook_url)
    most = services.settings.max_source_bytes
    return store_upload(services.bucket, body, max_bytes=most, producer_id=producer_id)


def _enqueue(
    request: Request,
    services: Services,
    producer_id: uuid.UUID,
    asked: JobOptions,
    source: str,
    *,
    pace: QueueRate | None,
    meaning: bytes | None = None,
) -> Response:
    require_own_webhook(services.settings, asked.webhook_url)
    ceilings_of(request).require_priority(PRIORITIES[asked.priority])
    with begin_effect(request, services.engine, meaning=meaning) as session:
        if asked.batch_id is not None:
            require_own_batch(session, asked.batch_id, producer_id)
        if meaning is not None:
            hold_sources(session, producer_id)
        take_quota(session, producer_id, 1)
        job = asked.to_new_job(source, services.settings)
        job_id = enqueue(session, job, batch_id=asked.batch_id, producer_id=producer_id)
        logs.note(job_id=str(job_id))
        made = Response(
            view_for(own_job(session, job_id, producer_id), producer_id, pace).model_dump_json(),
            status_code=HTTPStatus.CREATED,
            media_type=JSON,
            headers={"Location": f"/v1/jobs/{job_id}"},
        )
        keep(request, made)
    services.signals.send(Signal.QUEUED)
    return made


def require_own_batch(session: Session, batch_id: uuid.UUID, producer_id: uuid.UUID) -> None:
    """Raise a problem 404 unless the batch is this producer's."""
    if not session.scalar(select(Batch.id).where(Batch.id == batch_id, Batch.producer_id == producer_id)):
        raise unknown_batch(batch_id)


def unknown_batch(batch_id: uuid.UUID) -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND, "unknown-batch", f"you have no batch {batch_id}", field="batch_id"
    )


def own_job(database: Database, job_id: uuid.UUID, producer_id: uuid.UUID) -> JobSnapshot:
    """The producer's job; raises a problem 404 if there is none such."""
    job = find_job(database, job_id, producer_id)
    if job is None:
        raise unknown_job(job_id)
    return job


def unknown_job(job_id: uuid.UUID) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "unknown-job", f"you have no job {job_id}", field="job_id")


def view_for(job: JobSnapshot, producer_id: uuid.UUID, pace: QueueRate | None) -> JobView:
    """The job's view; the queue's rate says when to look again."""
    return view_job(job, pace.seconds_for(job, producer_id) if pace else None)


def etag_of_job(view: JobView) -> str:
    """The ETag of a job's view, without the guess when to look again."""
    return etag_of(view.model_dump_json(exclude={"poll_after_seconds"}))


def require_job_match(request: Request, session: Session, job_id: uuid.UUID, producer_id: uuid.UUID) -> None:
    """Raise a problem 412 if the request has an `If-Match` and the producer's job is not as that has it.

    The job's row is locked then until the transaction ends.
    """
    if "if-match" not in request.headers:
        return
    job = locked_job(session, job_id, producer_id)
    require_match(request, etag=etag_of_job(view_job(job)))


def locked_job(session: Session, job_id: uuid.UUID, producer_id: uuid.UUID) -> JobSnapshot:
    """The producer's job, which nobody else changes until the transaction ends; raises a problem 404."""
    session.execute(
        select(Job.id).where(Job.id == job_id, Job.producer_id == producer_id).with_for_update()
    ).first()
    return own_job(session, job_id, producer_id)


def nothing_unexpected(job_id: uuid.UUID) -> ProblemError:
    return ProblemError(
        HTTPStatus.CONFLICT, "nothing-unexpected", f"nothing unexpected came for the job {job_id}"
    )


async def _look(services: Services, job_id: uuid.UUID, producer_id: uuid.UUID) -> JobSnapshot:
    return await services.looks.quick(
        lambda connection: own_job(connection, job_id, producer_id), of=producer_id
    )
