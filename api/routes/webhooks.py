"""Webhooks: messages sent to a producer's servers, and sending them again."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from api.dependencies import IdempotentSession, ProducerId, Transaction
from api.problems import ProblemError
from api.router import v1_router
from cutout.enums import DeliveryState
from cutout.models import Delivery
from cutout.settings import Settings
from cutout.webhooks import InvalidWebhookError, find_deliveries, replay, require_webhooks

router = v1_router("/v1/webhooks/deliveries", "webhooks")

LONGEST_PAGE = 100


class DeliveryView(BaseModel):
    """A message as its producer sees it. `host` is of the address, whose rest may be a secret."""

    id: uuid.UUID
    type: str
    host: str
    state: DeliveryState
    tries: int
    due_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


class DeliveryPage(BaseModel):
    """The latest first. `next` continues from here as the parameter `before`; null at the end."""

    deliveries: list[DeliveryView]
    next: uuid.UUID | None


@router.get("")
def find(
    session: Transaction,
    producer_id: ProducerId,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state")] = None,
    before: Annotated[uuid.UUID | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = LONGEST_PAGE,
) -> DeliveryPage:
    """Messages to your servers, and what became of them. They are kept for some weeks."""
    found = find_deliveries(session, producer_id=producer_id, state=state, before=before, limit=limit + 1)
    page = [_view(delivery) for delivery in found[:limit]]
    return DeliveryPage(deliveries=page, next=page[-1].id if len(found) > limit else None)


@router.post("/{delivery_id}/replay", status_code=HTTPStatus.ACCEPTED)
def send_again(delivery_id: uuid.UUID, session: IdempotentSession, producer_id: ProducerId) -> DeliveryView:
    """Send a message again, under its id and with a new signature, and for a day if need be."""
    replayed = replay(session, delivery_id, producer_id=producer_id)
    if replayed is None:
        detail = f"you have no delivery {delivery_id}; see GET /v1/webhooks/deliveries"
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-delivery", detail, field="delivery_id")
    return _view(replayed)


def require_own_webhook(settings: Settings, url: str | None) -> None:
    """Raise a problem 422 if a webhook's address is given and cannot be used."""
    if url is None:
        return
    try:
        require_webhooks(settings, url)
    except InvalidWebhookError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-webhook", str(error), field="webhook_url"
        ) from error


def _view(delivery: Delivery) -> DeliveryView:
    """The delivery as it may be shown."""
    waits = delivery.state == DeliveryState.WAITING
    return DeliveryView(
        id=delivery.id,
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
