"""Undo of what a button did a moment ago."""

import uuid

from fastapi import Request, Response

from console.changes.action_text import find_action
from console.changes.carry_out import Done, Sent, back_to, carry_out
from console.changes.schedule import pause_right
from console.screens.router import screen_router
from console.viewer import Right
from cutout.actions.undo import undo
from cutout.enums import Subject

router = screen_router()


@router.post("/console/actions/{action_id}/undo")
async def take_back(action_id: uuid.UUID, request: Request) -> Response:
    """Undo the action, within the seconds in which that is possible."""

    def act(sent: Sent) -> Done:
        action = find_action(sent.session, sent.viewer, action_id)
        if action is not None and action.subject is Subject.SCHEDULE:
            sent.viewer.require(pause_right(sent.viewer))
        undo(sent.session, sent.asked, action_id)
        return Done(back_to(sent.text("back"), "/console"), action_id)

    return await carry_out(request, Right.OPERATE, act)
