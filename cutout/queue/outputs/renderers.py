"""Heartbeats of renderers, from which the hours of their backlog are computed."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection, delete, func, update
from sqlalchemy.dialects.postgresql import insert

from cutout.models import RENDERERS

FORGOTTEN_AFTER = timedelta(days=1)


def beat(
    connection: Connection, renderer_id: uuid.UUID, *, host: str, processes: int, made: int, busy_s: float
) -> None:
    """Write a heartbeat: the outputs made since the last one, and the seconds spent on them."""
    row = insert(RENDERERS).values(
        id=renderer_id, host=host, processes=processes, made=made, busy_seconds=busy_s
    )
    with connection.begin():
        connection.execute(
            row.on_conflict_do_update(
                index_elements=["id"],
                set_={
                    "seen_at": func.now(),
                    "made": RENDERERS.c.made + row.excluded.made,
                    "busy_seconds": RENDERERS.c.busy_seconds + row.excluded.busy_seconds,
                },
            )
        )
        connection.execute(delete(RENDERERS).where(RENDERERS.c.seen_at < func.now() - FORGOTTEN_AFTER))


def leave(connection: Connection, renderer_id: uuid.UUID) -> None:
    """Record that a renderer stops; its figures count for the estimates of another day."""
    with connection.begin():
        connection.execute(update(RENDERERS).where(RENDERERS.c.id == renderer_id).values(processes=0))
