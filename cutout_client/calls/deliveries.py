"""Deliveries: messages of webhooks, and what became of them."""

from cutout_client.calls.paging import each_of
from cutout_client.decode import view
from cutout_client.route import Route
from cutout_client.steps import Flow, Items
from cutout_client.views.page import Page
from cutout_client.views.webhooks import Delivery

LIST = Route("GET", "/v1/webhooks/deliveries", view(Page))
REPLAY = Route("POST", "/v1/webhooks/deliveries/{delivery_id}/replay", view(Delivery))


def listed(
    *, state: str | None = None, endpoint_id: str | None = None, page_size: int | None = None
) -> Items[Delivery]:
    """Yield the messages to your servers, the latest first; `state` `given_up` are those that you missed."""
    query = {"state": state, "endpoint_id": endpoint_id}
    return each_of(LIST, Delivery, query=query, page_size=page_size)


def replay(delivery_id: str, *, idempotency_key: str | None = None) -> Flow[Delivery]:
    """Send a message again, under its id and with a new signature."""
    return REPLAY.ask(delivery_id, idempotency_key=idempotency_key)
