"""Batches: enqueue jobs together."""

import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.authentication import asked_by, ceilings_of
from api.bodies.manifests import MEDIA_TYPES, keep_list, keep_upload
from api.bodies.strict_json import read_model, validated
from api.dependencies import AdminId, IdempotentSession, ProducerId, ServicesDep, Turn
from api.etag import require_match
from api.idempotency import begin_effect, hold_alike, keep
from api.limits.sizes import USUAL_BYTES
from api.live.batch_cache import CountedBatch
from api.media_types import JSON, require_kind
from api.openapi import BINARY, changes_what_was_seen, problems, query_of, schema_of
from api.operations import operations_of
from api.problems import ProblemError
from api.router import v1_router
from api.routes.jobs import LINK_SECONDS, require_own_batch, unknown_batch
from api.routes.webhooks import require_own_webhook
from api.schemas import BatchRequest, BatchView, ManifestQuery
from api.schemas.batch_requests import BatchOptions
from api.services import Services
from cutout.actions import batches as actions
from cutout.actions.adding import add_jobs, add_source
from cutout.enums import PRIORITIES
from cutout.ingest import IngestOptions
from cutout.ingest.uploads import UPLOADED, left_behind
from cutout.producers.quotas import take_quota
from cutout.queue.batch_changes import lock_batch
from cutout.queue.enqueue import InvalidJobError
from cutout.status.batch_status import batch_status, ingest_status
from cutout.status.poll_pause import SOONEST_S
from cutout.status.reachable import unreachable_fault
from cutout.telemetry import logs

router = v1_router("/v1/batches", "batches")


REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": schema_of(BatchRequest)},
            **{kind: {"schema": BINARY} for kind in sorted(MEDIA_TYPES)},
        },
    },
    "parameters": query_of(ManifestQuery, "Of a manifest that is the body: "),
    **problems(
        "invalid-job",
        "above-ceiling",
        "invalid-webhook",
        "too-many-jobs",
        "two-sources",
        "nothing-to-plan",
        "empty-manifest",
        "quota-reached",
    ),
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=BatchView,
    responses={
        202: {"model": BatchView, "description": "A manifest is read; see `ingest`"},
    },
    openapi_extra=REQUEST_BODY,
)
async def create(request: Request, services: ServicesDep, producer_id: ProducerId) -> Response:
    """Enqueue a batch: a list of jobs, a manifest at an address, or a manifest as the body.

    A list is enqueued at once, all or none; an empty one makes a batch to be filled by POST /v1/jobs. A
    manifest (CSV, TSV, NDJSON, a Shopify or Google Merchant export, a zip of pictures) is kept and then read:
    look at `ingest`. As the body it has its options in the query.
    """
    if require_kind(request, JSON, *sorted(MEDIA_TYPES)) != JSON:
        # Before the body: what cannot be is not sent for nothing.
        given: dict[str, Any] = dict(request.query_params)
        for name in operations_of(request.app).at("/v1/batches", "POST").query.lists:
            if name in given:
                given[name] = request.query_params.getlist(name)
        asked_of = validated(ManifestQuery, given)
        order = asked_of.to_order(_columns(asked_of.columns), producer_id, services.settings)
        _require_within(request, asked_of)
        return await _of_upload(services, request, order, producer_id)
    if request.query_params:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "the query is for a manifest as the body; put the options of a list into the list",
            field=next(iter(request.query_params)),
        )
    asked = await read_model(request, BatchRequest)
    body = await request.body()
    return await services.threads.run(producer_id, _of_request, services, request, asked, producer_id, body)


async def _of_upload(
    services: Services, request: Request, order: IngestOptions, producer_id: uuid.UUID
) -> Response:
    # However slowly the body comes, it holds none of the threads that other requests need.
    key = await services.upload_threads.run(producer_id, keep_upload, services, request)
    return await services.threads.finish(producer_id, _ask, services, request, order, manifest_key=key)


def _of_request(
    services: Services, request: Request, asked: BatchRequest, producer_id: uuid.UUID, body: bytes
) -> Response:
    require_own_webhook(services.settings, asked.webhook_url)
    _require_within(request, asked)
    if asked.manifest_url is not None:
        if asked.jobs:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "two-sources",
                "there are jobs and a manifest_url; make a batch of each",
                field="manifest_url",
            )
        if fault := unreachable_fault(services.settings, [asked.manifest_url]):
            raise InvalidJobError("manifest_url", fault)
        order = asked.to_order(_columns(asked.columns), producer_id, services.settings)
        return _ask(services, request, order, source=asked.manifest_url)
    if fault := unreachable_fault(services.settings, (job.source_url for job in asked.jobs)):
        raise InvalidJobError("source_url", fault)
    jobs = asked.to_new_jobs(services.settings)
    if asked.plan:
        if not jobs:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "nothing-to-plan",
                "there are no jobs whose price could be told; send them with `plan`, or a manifest_url",
                field="plan",
            )
        order = asked.to_order({}, producer_id, services.settings)
        return _ask(services, request, order, manifest_key=keep_list(services, jobs))
    with begin_effect(request, services.engine) as session:
        if len(body) > USUAL_BYTES:
            hold_alike(request, session, body)
        take_quota(session, producer_id, len(jobs))
        order = asked.to_order({}, producer_id, services.settings)
        batch_id = add_jobs(session, asked_by(request), order, jobs)
        return _answer(request, session, batch_id, HTTPStatus.CREATED)


def _require_within(request: Request, asked: BatchOptions) -> None:
    ceilings = ceilings_of(request)
    ceilings.require_priority(PRIORITIES[asked.priority])
    ceilings.require_weight(asked.weight)


def _ask(
    services: Services,
    request: Request,
    order: IngestOptions,
    *,
    source: str = UPLOADED,
    manifest_key: str | None = None,
) -> Response:
    """Ask for the batch; it is there at once, its jobs come as the manifest is read."""
    with (
        left_behind(services.bucket, manifest_key),
        begin_effect(request, services.engine) as session,
    ):
        if order.producer_id is not None:
            # The number of its jobs is not known yet: there must be room for one.
            take_quota(session, order.producer_id, 1)
        batch_id = add_source(session, asked_by(request), source, order, manifest_key=manifest_key)
        return _answer(request, session, batch_id, HTTPStatus.ACCEPTED)


def _columns(read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    try:
        return read()
    except ValueError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"map: {error}", field="map"
        ) from None


def _answer(request: Request, session: Session, batch_id: uuid.UUID, status: HTTPStatus) -> Response:
    logs.note(batch_id=str(batch_id))
    answer = Response(
        _view(session, batch_id).model_dump_json(),
        status_code=status,
        media_type=JSON,
        headers={"Location": f"/v1/batches/{batch_id}"},
    )
    keep(request, answer)
    return answer


@router.post("/{batch_id}/approve", openapi_extra=changes_what_was_seen("not-awaiting-approval"))
def approve_batch(
    batch_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    services: ServicesDep,
    producer_id: AdminId,
) -> BatchView:
    """Let the jobs of a batch go that was made with `plan`, at the price that its plan says."""
    locked = lock_batch(session, batch_id, producer_id)
    if locked is None:
        raise unknown_batch(batch_id)
    require_match(request, revision=locked.revision)
    if actions.approve_batch(session, asked_by(request), batch_id) is None:
        raise ProblemError(
            HTTPStatus.CONFLICT, "not-awaiting-approval", f"the batch {batch_id} waits for no approval"
        )
    services.counting.release(batch_id)
    return _view(session, batch_id).model_copy(update={"poll_after_seconds": SOONEST_S})


@router.get(
    "/{batch_id}/rejects",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    openapi_extra=problems("no-rejects"),
)
def get_rejects(
    batch_id: uuid.UUID, services: ServicesDep, producer_id: ProducerId, _turn: Turn
) -> RedirectResponse:
    """Redirect to the rows of the manifest that no job could be made of (CSV), good for five minutes."""
    with Session(services.engine) as session:
        require_own_batch(session, batch_id, producer_id)
        ingest = ingest_status(session, batch_id)
    if ingest is None or ingest.rejects_key is None:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no-rejects",
            f"the batch {batch_id} has no rejects; they are there once its manifest is read",
        )
    return RedirectResponse(
        services.bucket.presign_public(ingest.rejects_key, seconds=LINK_SECONDS),
        headers={"Cache-Control": "no-store"},
    )


def _view(session: Session, batch_id: uuid.UUID) -> BatchView:
    status = batch_status(session, batch_id)
    if status is None:
        raise unknown_batch(batch_id)
    return CountedBatch(status, credits=0, eta_seconds=None).view()
