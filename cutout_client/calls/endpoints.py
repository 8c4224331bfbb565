"""Webhook endpoints: servers of yours that receive messages."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from cutout_client.calls.paging import each_of
from cutout_client.decode import nothing, view
from cutout_client.route import Route
from cutout_client.steps import Flow, Items
from cutout_client.views.page import Page
from cutout_client.views.webhooks import Delivery, Endpoint

PATH = "/v1/webhooks/endpoints"
CREATE = Route("POST", PATH, view(Endpoint))
LIST = Route("GET", PATH, view(Page))
GET = Route("GET", PATH + "/{endpoint_id}", view(Endpoint))
PATCH = Route("PATCH", PATH + "/{endpoint_id}", view(Endpoint))
DELETE = Route("DELETE", PATH + "/{endpoint_id}", nothing, gone_is_done=True)
TEST = Route("POST", PATH + "/{endpoint_id}/test", view(Delivery))
ROTATE_SECRET = Route("POST", PATH + "/{endpoint_id}/rotate-secret", view(Endpoint))


class EndpointChanges(TypedDict, total=False):
    """Changes of an endpoint; what is left out stays. `enabled` begins again after it was disabled."""

    url: str
    events: Sequence[str]
    description: str | None
    enabled: bool


def create(
    url: str,
    events: Sequence[str],
    *,
    description: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Endpoint]:
    """Add a server that receives these events from now on, such as `batch.finished`.

    `*` is every event but those about single jobs, which must be named. Keep the `secret` of the answer,
    which verifies its messages. Needs the scope `admin`.
    """
    asked = {"url": url, "events": list(events)}
    more = {} if description is None else {"description": description}
    return CREATE.ask(json=asked | more, idempotency_key=idempotency_key)


def listed(*, page_size: int | None = None) -> Items[Endpoint]:
    """Yield your endpoints, the latest first."""
    return each_of(LIST, Endpoint, query={}, page_size=page_size)


def get(endpoint_id: str) -> Flow[Endpoint]:
    """An endpoint as it is now, without its secret."""
    return GET.ask(endpoint_id)


def patch(
    endpoint_id: str, *, if_match: str | None = None, **changes: Unpack[EndpointChanges]
) -> Flow[Endpoint]:
    """Change an endpoint."""
    return PATCH.ask(endpoint_id, json=dict(changes), if_match=if_match)


def delete(endpoint_id: str, *, if_match: str | None = None) -> Flow[None]:
    """Remove an endpoint. Its messages that wait are given up."""
    return DELETE.ask(endpoint_id, if_match=if_match)


def send_test(
    endpoint_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
) -> Flow[Delivery]:
    """Send a message of type `webhook.test` to an endpoint; its delivery says what became of it."""
    return TEST.ask(endpoint_id, if_match=if_match, idempotency_key=idempotency_key)


def rotate_secret(
    endpoint_id: str,
    *,
    at_once: bool = False,
    if_match: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Endpoint]:
    """Make a new `secret`, which the answer has. The former one signs too for a day: verify with both.

    `at_once`: the former one leaked and signs nothing from now on.
    """
    return ROTATE_SECRET.ask(
        endpoint_id, query={"at_once": at_once}, if_match=if_match, idempotency_key=idempotency_key
    )
