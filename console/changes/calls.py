"""Buttons of the whole installation: pause all calls, and let them go out again."""

from fastapi import Request, Response
from sqlalchemy import select

from console.changes.carry_out import Done, Sent, back_to, carry_out, refused, stale
from console.pages import viewer_of
from console.screens.operators import require_operator
from console.screens.router import screen_router
from console.viewer import Right
from cutout.actions.batches import pause_all, resume_all
from cutout.models import QUEUE_CLOCK

router = screen_router()

LIMIT = "/console/limit"


@router.post("/console/calls/pause")
async def pause(request: Request) -> Response:
    """Stop all new calls at once."""
    require_operator(viewer_of(request))

    def act(sent: Sent) -> Done:
        action_id = pause_all(sent.session, sent.asked)
        if action_id is None:
            raise refused("All calls were paused already, and nothing was done.")
        return Done(back_to(sent.text("back"), LIMIT), action_id)

    return await carry_out(request, Right.OPERATE, act)


@router.post("/console/calls/resume")
async def resume(request: Request) -> Response:
    """End the pause of all calls that the page showed at once."""
    require_operator(viewer_of(request))

    def act(sent: Sent) -> Done:
        paused_at = sent.session.scalar(select(QUEUE_CLOCK.c.paused_at).with_for_update())
        if paused_at is None:
            raise refused("Calls are not paused, and nothing was done.")
        if paused_at.isoformat() != sent.text("since"):
            raise stale("Calls were paused anew meanwhile")
        return Done(back_to(sent.text("back"), LIMIT), resume_all(sent.session, sent.asked))

    return await carry_out(request, Right.OPERATE, act)
