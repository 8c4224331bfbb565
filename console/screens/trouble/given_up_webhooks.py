"""Webhooks that were given up: their number by producer, and the list."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from console.changes.notice import read_notice
from console.pages import Asked, screen
from console.screens.router import screen_router
from console.screens.trouble.troubled_jobs import A_PAGE, shown
from console.viewer import Viewer
from console.views import View
from cutout.enums import DeliveryState
from cutout.models import DELIVERIES, PRODUCERS, constant

router = screen_router()

# Deliveries that were given up, of which the numbers are counted.
MOST_DELIVERIES = 100_000


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Webhooks of a producer that were given up."""

    producer_id: uuid.UUID | None
    producer: str | None
    deliveries: int
    oldest_at: datetime


@screen(router, "/console/trouble/webhooks")
async def webhooks(asked: Asked) -> View:
    """Webhooks that were given up, with the last answer to each."""
    viewer, before = asked.viewer, asked.after()
    producer_id = viewer.producer_id
    if viewer.is_operator and asked.text("producer"):
        try:
            producer_id = uuid.UUID(asked.text("producer"))
        except ValueError:
            producer_id = None

    def look(connection: Connection) -> list[Any]:
        columns = [
            DELIVERIES.c[name]
            for name in (
                "id",
                "type",
                "host",
                "last_status",
                "last_error",
                "created_at",
                "finished_at",
                "tries",
            )
        ]
        which = [DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP)]
        if producer_id is not None:
            which.append(DELIVERIES.c.producer_id == producer_id)
        if before is not None:
            which.append(DELIVERIES.c.id < before)
        found = select(*columns).where(*which).order_by(DELIVERIES.c.id.desc()).limit(A_PAGE + 1)
        return [
            {**row, "last_error": shown(row["last_error"], viewer)}
            for row in connection.execute(found).mappings()
        ]

    found = await asked.read(look)
    values = {
        "notice": await read_notice(asked, "/console/trouble/webhooks"),
        "deliveries": found[:A_PAGE],
        "producer": producer_id if viewer.is_operator else None,
        "after": before,
        "next": found[A_PAGE - 1]["id"] if len(found) > A_PAGE else None,
        "base_url": asked.base_url,
    }
    return View("given_up.html", "Webhooks given up", values)


def given_up_webhooks(connection: Connection, viewer: Viewer) -> list[GivenUp]:
    which = [DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP)]
    if not viewer.is_operator:
        which.append(DELIVERIES.c.producer_id == viewer.producer_id)
    columns = DELIVERIES.c.producer_id, DELIVERIES.c.created_at
    read = select(*columns).where(*which).limit(MOST_DELIVERIES).subquery("read")
    by_producer = (
        select(
            read.c.producer_id,
            func.count().label("deliveries"),
            func.min(read.c.created_at).label("oldest_at"),
        )
        .group_by(read.c.producer_id)
        .subquery("by_producer")
    )
    rows = connection.execute(
        select(by_producer, PRODUCERS.c.name)
        .outerjoin(PRODUCERS, PRODUCERS.c.id == by_producer.c.producer_id)
        .order_by(by_producer.c.deliveries.desc())
        .limit(A_PAGE)
    )
    return [GivenUp(row.producer_id, row.name, row.deliveries, row.oldest_at) for row in rows]
