"""Webhook endpoints of a producer: add, find, change, remove, test.

A message keeps the address that its endpoint had. A sender that takes it compares the two (`outbox.take`), so
a change here is one row, however many messages wait.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, null, select, update
from sqlalchemy.orm import Session

from cutout.enums import DisabledReason
from cutout.models import DELIVERIES, WEBHOOK_ENDPOINTS, WEBHOOK_SECRETS, Delivery, Producer, WebhookEndpoint
from cutout.webhooks.event_types import TEST, EventType

# Each event may become a message to each of them.
MOST_ENDPOINTS = 20


class TooManyEndpointsError(ValueError):
    """A producer has MOST_ENDPOINTS already."""

    def __init__(self) -> None:
        super().__init__(f"you have {MOST_ENDPOINTS} webhook endpoints, no more are taken; remove one first")


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be added; its address has passed `require_webhooks`."""

    url: str
    events: Sequence[EventType]
    description: str | None = None


def add_endpoint(session: Session, producer_id: uuid.UUID, new: NewEndpoint) -> WebhookEndpoint:
    """Store an endpoint, which receives what happens from now on. Raises TooManyEndpointsError."""
    # Additions at the same time must not pass the limit together.
    session.execute(
        select(Producer.id).where(Producer.id == producer_id).with_for_update(key_share=True)
    ).one()
    counted = select(func.count()).where(WebhookEndpoint.producer_id == producer_id)
    if session.scalars(counted).one() >= MOST_ENDPOINTS:
        raise TooManyEndpointsError
    endpoint = WebhookEndpoint(
        producer_id=producer_id,
        url=new.url,
        events=_without_repetition(new.events),
        description=new.description,
    )
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    return endpoint


def find_endpoint(
    session: Session, producer_id: uuid.UUID, endpoint_id: uuid.UUID, *, lock: bool = False
) -> WebhookEndpoint | None:
    """The producer's endpoint; with `lock` until the transaction ends."""
    found = select(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id, WebhookEndpoint.producer_id == producer_id
    )
    return session.scalar(found.with_for_update(key_share=True) if lock else found)


def list_endpoints(
    session: Session,
    *,
    producer_id: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    limit: int | None = None,
) -> Sequence[WebhookEndpoint]:
    """The endpoints of a producer, or of all, the latest first, older than `after`; `limit` at most."""
    found = select(WebhookEndpoint).order_by(WebhookEndpoint.id.desc()).limit(limit)
    if producer_id is not None:
        found = found.where(WebhookEndpoint.producer_id == producer_id)
    if after is not None:
        found = found.where(WebhookEndpoint.id < after)
    return session.scalars(found).all()


def change_endpoint(session: Session, endpoint: WebhookEndpoint, changes: dict[str, Any]) -> None:
    """Set `url`, `events`, `description` and `enabled`, as far as given.

    A new address, and an endpoint that is enabled, begin without failures.
    """
    values: dict[str, Any] = {name: changes[name] for name in ("url", "description") if name in changes}
    if "events" in changes:
        values["events"] = _without_repetition(changes["events"])
    if "url" in changes or changes.get("enabled"):
        values["failing_since"] = null()
    if changes.get("enabled"):
        values |= {"disabled_at": null(), "disabled_reason": null()}
    elif "enabled" in changes and endpoint.disabled_at is None:
        values |= {"disabled_at": func.now(), "disabled_reason": DisabledReason.BY_PRODUCER}
    if values:
        session.execute(update(WEBHOOK_ENDPOINTS).where(WEBHOOK_ENDPOINTS.c.id == endpoint.id).values(values))
        session.refresh(endpoint)


def remove_endpoint(session: Session, endpoint: WebhookEndpoint) -> None:
    """Remove an endpoint. Its messages that wait are given up when they are next due."""
    session.execute(delete(WEBHOOK_SECRETS).where(WEBHOOK_SECRETS.c.owner == endpoint.id))
    session.delete(endpoint)
    session.flush()


def send_test(session: Session, endpoint: WebhookEndpoint) -> Delivery:
    """Queue a message of type `webhook.test` for an endpoint that is enabled."""
    made = session.scalars(select(func.now())).one()
    payload = {
        "type": TEST,
        "timestamp": made.isoformat(),
        "data": {"endpoint_id": str(endpoint.id), "events": endpoint.events},
    }
    delivery_id = session.scalars(
        insert(DELIVERIES)
        .values(
            producer_id=endpoint.producer_id,
            endpoint_id=endpoint.id,
            url=endpoint.url,
            type=TEST,
            payload=json.dumps(payload),
        )
        .returning(DELIVERIES.c.id)
    ).one()
    return session.get_one(Delivery, delivery_id)


def _without_repetition(events: Sequence[EventType]) -> list[str]:
    return [str(event) for event in dict.fromkeys(events)]
