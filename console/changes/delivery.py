"""Buttons of webhooks that were given up: send one again at once, or all of a receiver's producer."""

import uuid
from collections.abc import Sequence

from fastapi import Request, Response
from sqlalchemy import Connection, select

from console.changes.asked_first import asked_first
from console.changes.carry_out import Done, Sent, back_to, carry_out, refused, stale, unusable
from console.changes.confirmation import Confirmation
from console.console import console_of
from console.faults import not_found
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.templates import address_with
from console.viewer import Right, Viewer
from cutout.actions.endpoints import replay_delivery, replay_given_up
from cutout.enums import DeliveryState
from cutout.models import DELIVERIES
from cutout.webhooks.deliveries import find_given_up

router = screen_router()

GIVEN_UP = "/console/trouble/webhooks"
MOST_AT_ONCE = 1000


@router.post("/console/deliveries/{delivery_id}/replay")
async def replay(delivery_id: uuid.UUID, request: Request) -> Response:
    """Send a message again that was given up."""

    def act(sent: Sent) -> Done:
        this = select(DELIVERIES.c.state).where(DELIVERIES.c.id == delivery_id)
        if not sent.viewer.is_operator:
            this = this.where(DELIVERIES.c.producer_id == sent.viewer.producer_id)
        # Whoever presses at the same time waits here, and finds it sent again.
        state = sent.session.scalar(this.with_for_update())
        if state is None:
            raise not_found("such message")
        if state != DeliveryState.GIVEN_UP:
            raise refused("It is not given up any more: it was sent again already. Nothing was done.")
        replay_delivery(sent.session, sent.asked, delivery_id)
        return Done(back_to(sent.text("back"), GIVEN_UP), subject_id=delivery_id)

    return await carry_out(request, Right.OPERATE, act)


def replay_all(sent: Sent) -> Done:
    """Send as many messages again as were shown."""
    owner = _owner(sent.viewer, sent.text("producer"))
    ids = find_given_up(sent.session, owner, limit=MOST_AT_ONCE, lock=True)
    if not ids:
        raise refused("No message is given up any more.")
    if (sent.text("messages"), sent.text("last")) != (str(len(ids)), str(ids[-1])):
        raise stale("Other messages are given up than the page showed")
    return Done(GIVEN_UP, replay_given_up(sent.session, sent.asked, ids))


async def ask_replay_all(request: Request) -> Confirmation:
    """Ask whether they are to be sent again, and say how many."""
    viewer = viewer_of(request)
    given = request.query_params if request.method == "GET" else await small_form(request)
    owner = _owner(viewer, given.get("producer", ""))

    def look(connection: Connection) -> Sequence[uuid.UUID]:
        return find_given_up(connection, owner, limit=MOST_AT_ONCE)

    ids = await console_of(request).pool.read(look, of=viewer.producer_id)
    if not ids:
        raise refused("No message is given up any more.")
    number = "1 message" if len(ids) == 1 else f"{len(ids):,} messages"
    lines = ["Each goes to its receiver again, under the id that it had, for up to a day."]
    if len(ids) == MOST_AT_ONCE:
        lines.append(f"These are the oldest {MOST_AT_ONCE:,}.")
    of = given.get("producer", "") if viewer.is_operator else ""
    fields = {"producer": of, "messages": str(len(ids)), "last": str(ids[-1])}
    back = address_with(GIVEN_UP, producer=of or None)
    return Confirmation(
        f"Send {number} again?", lines, f"{GIVEN_UP}/replay", f"Send {number} again", back, fields
    )


def _owner(viewer: Viewer, given: str) -> uuid.UUID | None:
    """The producer whose messages are meant; None for those of all, which operators may see."""
    if not viewer.is_operator or not given:
        return viewer.producer_id
    try:
        return uuid.UUID(given)
    except ValueError:
        raise unusable("This form is not complete") from None


asked_first(router, f"{GIVEN_UP}/replay", Right.OPERATE, ask=ask_replay_all, act=replay_all)
