"""The key and its producer."""

from datetime import datetime

from cutout_client.calls.paging import each_of
from cutout_client.decode import view
from cutout_client.route import Route
from cutout_client.steps import Flow, Items
from cutout_client.views.account import ActionRecord, Identity
from cutout_client.views.page import Page

WHOAMI = Route("GET", "/v1/whoami", view(Identity))
ACTIONS = Route("GET", "/v1/actions", view(Page))


def whoami() -> Flow[Identity]:
    """The producer of this client's key, the scopes of the key, and the producer's limits."""
    return WHOAMI.ask()


def actions(
    *, batch: str | None = None, since: datetime | None = None, page_size: int | None = None
) -> Items[ActionRecord]:
    """Yield changes of what is yours, by your keys or by the operator, the latest first."""
    return each_of(ACTIONS, ActionRecord, query={"batch": batch, "since": since}, page_size=page_size)
