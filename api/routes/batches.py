"""Batches: enqueue jobs together."""

import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.access import AtHand, ProducerId, Services
from api.documented import problems
from api.manifests import MEDIA_TYPES, is_manifest, keep_list, keep_upload, request_batch
from api.problems import ProblemError, invalid_request
from api.routes.jobs import LINK_SECONDS, require_own_batch, unknown_batch
from api.routes.webhooks import require_own_webhook
from api.schemas import BatchRequest, BatchView, ManifestQuery, view_batch
from jobs import logs
from jobs.approval import approve
from jobs.batches import batch_status, ingest_status
from jobs.enqueue import create_batch, enqueue_all
from jobs.ingest import Order

router = APIRouter(prefix="/v1/batches", tags=["batches"])


REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": BatchRequest.model_json_schema()},
            **{media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES},
        },
    }
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=BatchView,
    responses={
        **problems(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        202: {"model": BatchView, "description": "A manifest is read; see `ingest`"},
    },
    openapi_extra=REQUEST_BODY,
)
async def create(request: Request, at_hand: AtHand, producer_id: ProducerId) -> Response:
    """Enqueue a batch: a list of jobs, a manifest at an address, or a manifest as the body.

    A list is enqueued at once, all or none; an empty one makes a batch to be filled by POST /v1/jobs. A
    manifest (CSV, TSV, NDJSON, a Shopify or Google Merchant export, a zip of pictures) is kept and then read:
    look at `ingest`. As the body it has its options in the query.
    """
    media_type = request.headers.get("content-type", "application/json")
    try:
        if is_manifest(media_type):
            # Before the body: what cannot be is not sent for nothing.
            given: dict[str, Any] = dict(request.query_params)
            if "return_form" in given:
                given["return_form"] = request.query_params.getlist("return_form")
            order = _order_of_query(ManifestQuery.model_validate(given), producer_id)
            return await run_in_threadpool(_of_upload, at_hand, request, order)
        asked = BatchRequest.model_validate_json(await request.body())
    except ValidationError as error:
        return invalid_request(error.errors())
    return await run_in_threadpool(_of_request, at_hand, asked, producer_id)


def _order_of_query(asked: ManifestQuery, producer_id: uuid.UUID) -> Order:
    return asked.to_order(_columns(asked.columns), producer_id)


def _of_upload(at_hand: Services, request: Request, order: Order) -> Response:
    return _answer(at_hand, request_batch(at_hand, order, manifest_key=keep_upload(at_hand, request)))


def _of_request(at_hand: Services, asked: BatchRequest, producer_id: uuid.UUID) -> Response:
    most = at_hand.settings.max_batch_jobs
    if len(asked.jobs) > most:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "too-many-jobs",
            f"the list has {len(asked.jobs)} jobs, at most {most} are taken; split it, or send a manifest",
            field="jobs",
        )
    require_own_webhook(at_hand.settings, asked.webhook_url)
    if asked.manifest_url is not None:
        if asked.jobs:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "two-sources",
                "there are jobs and a manifest_url; make a batch of each",
                field="manifest_url",
            )
        order = asked.to_order(_columns(asked.columns), producer_id)
        return _answer(at_hand, request_batch(at_hand, order, source=asked.manifest_url))
    jobs = asked.to_new_jobs()
    if asked.plan:
        key = keep_list(at_hand, jobs)
        return _answer(at_hand, request_batch(at_hand, asked.to_order({}, producer_id), manifest_key=key))
    with Session(at_hand.engine) as session, session.begin():
        batch_id = create_batch(
            session,
            asked.name,
            producer_id=producer_id,
            weight=asked.weight,
            budget=asked.budget,
            reuse=asked.reuse,
            webhook_url=asked.webhook_url,
        ).id
        enqueue_all(session, jobs, batch_id=batch_id)
    return _answer(at_hand, batch_id, HTTPStatus.CREATED)


def _columns(read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    try:
        return read()
    except ValueError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"map: {error}", field="map"
        ) from None


def _answer(at_hand: Services, batch_id: uuid.UUID, status: HTTPStatus = HTTPStatus.ACCEPTED) -> Response:
    with Session(at_hand.engine) as session:
        found = batch_status(session, batch_id)
    if found is None:
        raise LookupError(f"batch {batch_id} vanished")
    logs.note(batch_id=str(batch_id))
    return Response(
        view_batch(found).model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers={"Location": f"/v1/batches/{batch_id}"},
    )


@router.post("/{batch_id}/approve", responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def approve_batch(batch_id: uuid.UUID, at_hand: AtHand, producer_id: ProducerId) -> BatchView:
    """Let the jobs of a batch go that was made with `plan`, at the price that its plan says."""
    with Session(at_hand.engine) as session, session.begin():
        require_own_batch(session, batch_id, producer_id)
        if not approve(session, batch_id):
            raise ProblemError(
                HTTPStatus.CONFLICT, "not-awaiting-approval", f"the batch {batch_id} waits for no approval"
            )
    with Session(at_hand.engine) as session:
        return _view(session, batch_id)


@router.get(
    "/{batch_id}/rejects",
    status_code=HTTPStatus.TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def get_rejects(batch_id: uuid.UUID, at_hand: AtHand, producer_id: ProducerId) -> RedirectResponse:
    """Redirect to the rows of the manifest that no job could be made of (CSV), good for five minutes."""
    with Session(at_hand.engine) as session:
        require_own_batch(session, batch_id, producer_id)
        ingest = ingest_status(session, batch_id)
    if ingest is None or ingest.rejects_key is None:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "no-rejects",
            f"the batch {batch_id} has no rejects; they are there once its manifest is read",
        )
    return RedirectResponse(
        at_hand.bucket.presign(ingest.rejects_key, seconds=LINK_SECONDS, public=True),
        headers={"Cache-Control": "no-store"},
    )


def _view(session: Session, batch_id: uuid.UUID) -> BatchView:
    status = batch_status(session, batch_id)
    if status is None:
        raise unknown_batch(batch_id)
    return view_batch(status)
