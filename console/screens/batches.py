"""Batches: the newest first, 25 a page, all or those that are open."""

from enum import StrEnum

from sqlalchemy import Connection

from console.changes.notice import read_notice
from console.pages import Asked, screen
from console.screens.batch_rows import IS_OPEN, BatchRow, counted, read_rows
from console.screens.router import screen_router
from console.views import View
from cutout.models import BATCHES

router = screen_router()

A_PAGE = 25


class Shown(StrEnum):
    """The batches of the list."""

    ALL = "all"
    OPEN = "open"


@screen(router, "/console/batches")
async def batches(asked: Asked) -> View:
    """A page of batches, each with its progress."""
    shown, after = asked.choice("show", Shown) or Shown.ALL, asked.after()

    def look(connection: Connection) -> list[BatchRow]:
        conditions = [IS_OPEN] if shown is Shown.OPEN else []
        if after is not None:
            conditions.append(BATCHES.c.id < after)
        return list(read_rows(connection, asked.viewer, *conditions, limit=A_PAGE + 1))

    found = await asked.read(look)
    rows = await counted(asked, found[:A_PAGE])
    values = {
        "rows": rows,
        "shown": shown,
        "after": after,
        "next": rows[-1].id if len(found) > A_PAGE else None,
        "notice": await read_notice(asked, "/console/batches"),
        "base_url": asked.base_url,
    }
    return View("batches.html", "Batches", values)
