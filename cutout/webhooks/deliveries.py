"""Queries of deliveries, and their replay."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, case, cast, func, literal_column, null, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from cutout.enums import DeliveryState
from cutout.models import DELIVERIES, Delivery, constant
from cutout.models.database import Database

# Of a message that is sent again and again.
MOST_ENDS = 20
LAST_END = func.jsonb_build_object(
    *("state", DELIVERIES.c.state, "at", DELIVERIES.c.finished_at, "tries", DELIVERIES.c.tries),
    *("status", DELIVERIES.c.last_status, "error", DELIVERIES.c.last_error, "again_at", func.now()),
)
NO_ENDS = literal_column("'[]'::jsonb", JSONB)
ALL_ENDS = func.coalesce(DELIVERIES.c.past_ends, NO_ENDS).op("||")(LAST_END)
AGAIN: dict[str, Any] = {
    "past_ends": case(
        (DELIVERIES.c.finished_at.is_(None), DELIVERIES.c.past_ends),
        # Without the oldest.
        (func.jsonb_array_length(ALL_ENDS) > MOST_ENDS, ALL_ENDS.op("-")(cast(0, Integer))),
        else_=ALL_ENDS,
    ),
    "state": constant(DeliveryState.WAITING),
    "finished_at": null(),
    "tries": 0,
    "due_at": func.now(),
    "give_up_at": null(),
}


def find_deliveries(
    session: Session,
    *,
    producer_id: uuid.UUID | None = None,
    state: DeliveryState | None = None,
    endpoint_id: uuid.UUID | None = None,
    before: uuid.UUID | None = None,
    limit: int,
) -> Sequence[Delivery]:
    """Deliveries of a producer or of all, the latest first, older than `before`; `limit` at most."""
    found = select(Delivery).order_by(Delivery.id.desc()).limit(limit)
    if producer_id is not None:
        found = found.where(Delivery.producer_id == producer_id)
    if state is not None:
        found = found.where(Delivery.state == constant(state))
    if endpoint_id is not None:
        found = found.where(Delivery.endpoint_id == endpoint_id)
    if before is not None:
        found = found.where(Delivery.id < before)
    return session.scalars(found).all()


def replay(
    session: Session, delivery_id: uuid.UUID, *, producer_id: uuid.UUID | None = None
) -> Delivery | None:
    """Send a delivery again now under the same id, retried for up to a day; None if it does not exist.

    Its state does not matter. The answer to a try that is under way is then not recorded.
    """
    change = update(DELIVERIES).where(DELIVERIES.c.id == delivery_id)
    if producer_id is not None:
        change = change.where(DELIVERIES.c.producer_id == producer_id)
    replayed = session.scalar(change.values(AGAIN).returning(DELIVERIES.c.id))
    return None if replayed is None else session.get_one(Delivery, replayed, populate_existing=True)


def find_given_up(
    database: Database, producer_id: uuid.UUID | None, *, limit: int, lock: bool = False
) -> Sequence[uuid.UUID]:
    """Ids of the oldest deliveries of a producer, or of all, that were given up; locked if `lock`."""
    found = select(DELIVERIES.c.id).where(DELIVERIES.c.state == constant(DeliveryState.GIVEN_UP))
    if producer_id is not None:
        found = found.where(DELIVERIES.c.producer_id == producer_id)
    found = found.order_by(DELIVERIES.c.id).limit(limit)
    return database.scalars(found.with_for_update() if lock else found).all()


def replay_all(database: Database, ids: Sequence[uuid.UUID]) -> int:
    """Send locked deliveries again, as `replay` does; returns how many."""
    again = update(DELIVERIES).where(DELIVERIES.c.id.in_(ids)).values(AGAIN)
    return len(database.scalars(again.returning(DELIVERIES.c.id)).all())
