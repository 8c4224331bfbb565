"""Webhook endpoints: addresses that receive messages about all of a producer's events."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import SecretStr
from sqlalchemy.orm import Session

from api.authentication import asked_by
from api.bodies.strict_json import read_model
from api.dependencies import AdminId, IdempotentSession, ProducerId, ServicesDep, Transaction
from api.etag import answer, etag_of, require_match
from api.idempotency import begin_effect, keep
from api.live.cursors import Cursor, page_cursor, read_page_cursor
from api.media_types import JSON, require_kind
from api.openapi import MERGE_PATCH, changes_what_was_seen, merge_patch_of, problems
from api.problems import ProblemError
from api.router import v1_router
from api.routes.webhooks import DeliveryView, require_own_webhook, view_delivery
from api.schemas.endpoint_schemas import (
    EndpointList,
    EndpointPatch,
    EndpointRequest,
    EndpointView,
    EndpointWithSecret,
    view_endpoint,
)
from api.services import Services
from cutout.actions import endpoints as actions
from cutout.models import WebhookEndpoint
from cutout.settings import Settings
from cutout.webhooks import endpoints, secret_of
from cutout.webhooks.secrets import FIRST_VERSION

router = v1_router("/v1/webhooks/endpoints", "webhooks")

QUERY = "endpoints"
Limit = Annotated[int, Query(ge=1, le=endpoints.MOST_ENDPOINTS, description="The most that a page holds")]


@router.post(
    "", status_code=HTTPStatus.CREATED, openapi_extra=problems("invalid-webhook", "too-many-endpoints")
)
def create(
    asked: EndpointRequest,
    request: Request,
    session: IdempotentSession,
    services: ServicesDep,
    producer_id: AdminId,
    *,
    response: Response,
) -> EndpointWithSecret:
    """Receive messages about everything that happens from now on. The secret is shown this once."""
    require_own_webhook(services.settings, asked.url, field="url")
    new = endpoints.NewEndpoint(asked.url, asked.events, asked.description)
    try:
        endpoint = actions.add_endpoint(session, asked_by(request), producer_id, new)
    except endpoints.TooManyEndpointsError as error:
        raise ProblemError(HTTPStatus.CONFLICT, "too-many-endpoints", str(error)) from error
    location = f"/v1/webhooks/endpoints/{endpoint.id}"
    response.headers["Location"] = location
    return _with_secret(request, services.settings, endpoint, FIRST_VERSION, location=location)


@router.get("", openapi_extra=problems("wrong-cursor"))
def get_all(
    session: Transaction,
    producer_id: ProducerId,
    limit: Limit = endpoints.MOST_ENDPOINTS,
    cursor: Cursor = None,
) -> EndpointList:
    """Your webhook endpoints, the latest first."""
    after = None if cursor is None else read_page_cursor(cursor, QUERY)
    found = endpoints.list_endpoints(session, producer_id=producer_id, after=after, limit=limit + 1)
    page = found[:limit]
    more = page_cursor(page[-1].id, QUERY) if len(found) > limit else None
    return EndpointList(data=[view_endpoint(endpoint) for endpoint in page], next_cursor=more)


@router.get("/{endpoint_id}", response_model=EndpointView)
def get(endpoint_id: uuid.UUID, request: Request, session: Transaction, producer_id: ProducerId) -> Response:
    """A webhook endpoint, whether it accepts its messages, and if it is disabled, why."""
    endpoint = _own(session, endpoint_id, producer_id)
    view = view_endpoint(endpoint)
    return answer(request, view.model_dump_json(), _etag_of(endpoint))


@router.patch(
    "/{endpoint_id}",
    response_model=EndpointView,
    openapi_extra=merge_patch_of(EndpointPatch) | changes_what_was_seen("invalid-webhook"),
)
async def change(
    endpoint_id: uuid.UUID, request: Request, services: ServicesDep, producer_id: AdminId
) -> Response:
    """Change what is given. Messages that wait go to a new address at their next try."""
    require_kind(request, MERGE_PATCH, JSON)
    asked = await read_model(request, EndpointPatch)
    return await services.threads.run(
        producer_id, _change, request, services, endpoint_id, producer_id, asked
    )


def _change(
    request: Request,
    services: Services,
    endpoint_id: uuid.UUID,
    producer_id: uuid.UUID,
    asked: EndpointPatch,
) -> Response:
    changes = asked.model_dump(exclude_unset=True)
    require_own_webhook(services.settings, changes.get("url"), field="url")
    with begin_effect(request, services.engine) as session:
        endpoint = _locked(request, session, endpoint_id, producer_id)
        actions.change_endpoint(session, asked_by(request), endpoint, changes)
        view = view_endpoint(endpoint).model_dump_json()
        return Response(view, media_type=JSON, headers={"ETag": _etag_of(endpoint)})


@router.delete("/{endpoint_id}", status_code=HTTPStatus.NO_CONTENT, openapi_extra=changes_what_was_seen())
def delete(endpoint_id: uuid.UUID, request: Request, session: Transaction, producer_id: AdminId) -> None:
    """Send it nothing any more. Messages that wait are given up at their next try."""
    endpoint = _locked(request, session, endpoint_id, producer_id)
    actions.remove_endpoint(session, asked_by(request), endpoint)


@router.post(
    "/{endpoint_id}/test",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra=changes_what_was_seen("endpoint-disabled"),
)
def send_test(
    endpoint_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: AdminId
) -> DeliveryView:
    """Send a message of type `webhook.test` now; the delivery says what became of it."""
    endpoint = _locked(request, session, endpoint_id, producer_id)
    if endpoint.disabled_at is not None:
        detail = f"the webhook endpoint {endpoint_id} is disabled; enable it first"
        raise ProblemError(HTTPStatus.CONFLICT, "endpoint-disabled", detail)
    return view_delivery(actions.try_endpoint(session, asked_by(request), endpoint))


@router.post("/{endpoint_id}/rotate-secret", openapi_extra=changes_what_was_seen("invalid-webhook"))
def rotate_secret(
    endpoint_id: uuid.UUID,
    request: Request,
    session: IdempotentSession,
    services: ServicesDep,
    producer_id: AdminId,
    *,
    at_once: Annotated[
        bool, Query(description="The former secret leaked: it signs nothing from now on")
    ] = False,
) -> EndpointWithSecret:
    """Sign with a new secret, which is shown this once, and for 24 hours also with the former one."""
    endpoint = _locked(request, session, endpoint_id, producer_id)
    require_own_webhook(services.settings, endpoint.url, field="url")
    about = actions.about_endpoint(endpoint)
    version = actions.rotate_secret(session, asked_by(request), about, at_once=at_once).version
    return _with_secret(request, services.settings, endpoint, version)


def _own(
    session: Session, endpoint_id: uuid.UUID, producer_id: uuid.UUID, *, lock: bool = False
) -> WebhookEndpoint:
    endpoint = endpoints.find_endpoint(session, producer_id, endpoint_id, lock=lock)
    if endpoint is None:
        detail = f"you have no webhook endpoint {endpoint_id}; see GET /v1/webhooks/endpoints"
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-endpoint", detail, field="endpoint_id")
    return endpoint


def _locked(
    request: Request, session: Session, endpoint_id: uuid.UUID, producer_id: uuid.UUID
) -> WebhookEndpoint:
    """The producer's endpoint until the transaction ends; a problem 412 if it is not as in `If-Match`."""
    endpoint = _own(session, endpoint_id, producer_id, lock=True)
    require_match(request, etag=_etag_of(endpoint))
    return endpoint


def _etag_of(endpoint: WebhookEndpoint) -> str:
    """The tag of all that a change may touch; of the address also the part that is not shown."""
    return etag_of(f"{view_endpoint(endpoint).model_dump_json()} {endpoint.url}")


def _with_secret(
    request: Request,
    settings: Settings,
    endpoint: WebhookEndpoint,
    version: int,
    *,
    location: str | None = None,
) -> EndpointWithSecret:
    """The answer with the secret. What is kept for its Idempotency-Key is without it: no secret is stored."""
    master = settings.webhook_secret or SecretStr("")
    seen = EndpointWithSecret(**view_endpoint(endpoint).model_dump(), secret=None)
    status = HTTPStatus.CREATED if location else HTTPStatus.OK
    headers = {"Location": location} if location else {}
    keep(request, Response(seen.model_dump_json(), status, headers, JSON))
    return seen.model_copy(update={"secret": secret_of(master, endpoint.id, version)})
