"""Webhooks: messages sent to a producer's servers, and sending them again."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Request
from pydantic import BaseModel

from api.authentication import asked_by
from api.dependencies import IdempotentSession, ProducerId, Transaction
from api.live.cursors import Cursor, Limit, page_cursor, read_page_cursor
from api.openapi import problems
from api.problems import ProblemError
from api.router import v1_router
from api.schemas.fields import NextCursor
from cutout.actions.endpoints import replay_delivery
from cutout.enums import DeliveryState
from cutout.models import Delivery
from cutout.settings import Settings
from cutout.webhooks import InvalidWebhookError, find_deliveries, require_webhooks

router = v1_router("/v1/webhooks/deliveries", "webhooks")


class DeliveryView(BaseModel):
    """A message as its producer sees it, and the webhook endpoint that it is for, if any.

    `host` is of the address, whose rest may be a secret.
    """

    id: uuid.UUID
    endpoint_id: uuid.UUID | None
    type: str
    host: str
    state: DeliveryState
    tries: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryList(BaseModel):
    """A page of deliveries, the latest first."""

    data: list[DeliveryView]
    next_cursor: NextCursor


@router.get("", openapi_extra=problems("wrong-cursor"))
def find(
    session: Transaction,
    producer_id: ProducerId,
    *,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state")] = None,
    endpoint_id: Annotated[
        uuid.UUID | None, Query(description="Only those to this webhook endpoint, deleted or not")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryList:
    """Messages to your servers, and what became of them. They are kept for some weeks."""
    query = f"deliveries {state} {endpoint_id}"
    found = find_deliveries(
        session,
        producer_id=producer_id,
        state=state,
        endpoint_id=endpoint_id,
        before=None if cursor is None else read_page_cursor(cursor, query),
        limit=limit + 1,
    )
    page = [view_delivery(delivery) for delivery in found[:limit]]
    more = len(found) > limit
    return DeliveryList(data=page, next_cursor=page_cursor(page[-1].id, query) if more else None)


@router.post("/{delivery_id}/replay", status_code=HTTPStatus.ACCEPTED)
def send_again(
    delivery_id: uuid.UUID, request: Request, session: IdempotentSession, producer_id: ProducerId
) -> DeliveryView:
    """Send a message again, under its id and with a new signature, and for a day if need be."""
    replayed = replay_delivery(session, asked_by(request), delivery_id, producer_id=producer_id)
    if replayed is None:
        detail = f"you have no delivery {delivery_id}; see GET /v1/webhooks/deliveries"
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-delivery", detail, field="delivery_id")
    return view_delivery(replayed)


def require_own_webhook(settings: Settings, url: str | None, *, field: str = "webhook_url") -> None:
    """Raise a problem 422 if a webhook's address is given and cannot be used."""
    if url is None:
        return
    try:
        require_webhooks(settings, url)
    except InvalidWebhookError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-webhook", str(error), field=field
        ) from error


def view_delivery(delivery: Delivery) -> DeliveryView:
    """The delivery as it may be shown."""
    waits = delivery.state == DeliveryState.WAITING
    return DeliveryView(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        type=delivery.type,
        host=delivery.host,
        state=DeliveryState(delivery.state),
        tries=delivery.tries,
        due_at=delivery.due_at if waits else None,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )
