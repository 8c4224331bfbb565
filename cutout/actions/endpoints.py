"""Actions on webhook endpoints, secrets and deliveries, in the caller's transaction, each with its row."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from cutout.enums import ActionKind, Subject
from cutout.models import Delivery, WebhookEndpoint
from cutout.producers.action_record import EVERYTHING, About, Extent, record
from cutout.producers.actors import Asked
from cutout.webhooks import INSTALLATION, deliveries, endpoints, secrets
from cutout.webhooks.endpoints import NewEndpoint
from cutout.webhooks.secrets import SecretState


def add_endpoint(session: Session, asked: Asked, producer_id: uuid.UUID, new: NewEndpoint) -> WebhookEndpoint:
    """Store an endpoint. Raises TooManyEndpointsError."""
    endpoint = endpoints.add_endpoint(session, producer_id, new)
    record(session, asked, ActionKind.ADD_ENDPOINT, about_endpoint(endpoint))
    return endpoint


def change_endpoint(
    session: Session, asked: Asked, endpoint: WebhookEndpoint, changes: dict[str, Any]
) -> None:
    """Change what is given; the row has the names of the fields. Nothing given is no action."""
    endpoints.change_endpoint(session, endpoint, changes)
    if changes:
        options = {"fields": sorted(changes)}
        record(session, asked, ActionKind.CHANGE_ENDPOINT, about_endpoint(endpoint), options=options)


def remove_endpoint(session: Session, asked: Asked, endpoint: WebhookEndpoint) -> None:
    """Remove an endpoint."""
    about = about_endpoint(endpoint)
    endpoints.remove_endpoint(session, endpoint)
    record(session, asked, ActionKind.REMOVE_ENDPOINT, about)


def try_endpoint(session: Session, asked: Asked, endpoint: WebhookEndpoint) -> Delivery:
    """Queue a message of type `webhook.test`."""
    record(session, asked, ActionKind.TEST_ENDPOINT, about_endpoint(endpoint))
    return endpoints.send_test(session, endpoint)


def rotate_secret(session: Session, asked: Asked, about: About, *, at_once: bool) -> SecretState:
    """Sign messages of an endpoint, of a producer, or of no producer with a new secret."""
    owner = INSTALLATION if about.id is None else about.id
    record(session, asked, ActionKind.ROTATE_SECRET, about, options={"at_once": at_once})
    return secrets.rotate(session, owner, at_once=at_once)


def show_secret(session: Session, asked: Asked, about: About) -> SecretState:
    """The version of the secret that a person is shown, which changes nothing, but must be known of."""
    owner = INSTALLATION if about.id is None else about.id
    record(session, asked, ActionKind.SHOW_SECRET, about)
    return secrets.secret_state(session, owner)


def replay_delivery(
    session: Session, asked: Asked, delivery_id: uuid.UUID, *, producer_id: uuid.UUID | None = None
) -> Delivery | None:
    """Send a delivery, of this producer if one is given, again; None if it does not exist."""
    replayed = deliveries.replay(session, delivery_id, producer_id=producer_id)
    if replayed is not None:
        about = About(Subject.DELIVERY, delivery_id, replayed.producer_id)
        record(session, asked, ActionKind.REPLAY_DELIVERY, about)
    return replayed


def replay_given_up(session: Session, asked: Asked, ids: Sequence[uuid.UUID]) -> uuid.UUID:
    """Send locked deliveries again that were given up; one row for all, whose id it returns."""
    owner = asked.by.producer_id
    about = EVERYTHING if owner is None else About(Subject.PRODUCER, owner, owner)
    extent = Extent(deliveries.replay_all(session, ids), len(ids))
    return record(session, asked, ActionKind.REPLAY_DELIVERY, about, extent)


def about_endpoint(endpoint: WebhookEndpoint) -> About:
    """The endpoint as a subject."""
    return About(Subject.ENDPOINT, endpoint.id, endpoint.producer_id)


def about_secret_of(producer_id: uuid.UUID | None) -> About:
    """The producer whose secret is meant as a subject; for None everything, that of no producer."""
    return EVERYTHING if producer_id is None else About(Subject.PRODUCER, producer_id, producer_id)
