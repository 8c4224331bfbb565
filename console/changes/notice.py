"""Notice on a page that a change leads back to: what was done, and Undo for some seconds."""

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from console.changes.action_text import find_action, is_fresh, is_undoable, notice_text
from console.pages import Asked


@dataclass(frozen=True, slots=True)
class Notice:
    """A change that was just made; `undo` is where a form takes it back, `back` the page after that."""

    text: str
    undo: str | None
    back: str


async def read_notice(asked: Asked, back: str) -> Notice | None:
    """The notice that the address names; None without one, or if it is old."""
    try:
        action_id = uuid.UUID(asked.text("did"))
    except ValueError:
        return None

    def look(connection: Connection) -> Notice | None:
        with Session(connection) as session:
            action = find_action(session, asked.viewer, action_id)
        if action is None or not is_fresh(action):
            return None
        undo = f"/console/actions/{action.id}/undo" if is_undoable(action) else None
        return Notice(notice_text(action), undo, back)

    return await asked.read(look)
